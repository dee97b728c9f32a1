//! `lockwright namespaces`: which are in use.

use crate::{
    cli::{Format, Target},
    exit::{Exit, Failure},
    http::Api,
    output,
};

/// List the namespaces in use.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let api = Api::of_all(&args.target, args.format.json);
    let answer = api.get("/v1/namespaces", &[])?;
    for namespace in answer["namespaces"].as_array().into_iter().flatten() {
        match namespace.as_str() {
            Some(name) if !args.format.json => output::say(name)?,
            _ => output::say(&namespace.to_string())?,
        }
    }
    Ok(Exit::DONE)
}
