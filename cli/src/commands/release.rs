//! `lockwright release`: a lock given back.

use crate::{
    cli::{Format, Target, name},
    exit::{Exit, Failure},
    http::{Api, Asked, Patience},
    output, units,
};
use lockwright_client::Name;
use serde_json::{Map, Value, json};

/// Give a lock back.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,

    /// What is locked; of several keys any
    key: String,

    /// The token of the lock
    #[arg(long, value_name = "N", value_parser = units::number(0..=u64::MAX))]
    token: u64,

    /// Who holds it
    #[arg(long, value_name = "NAME", value_parser = name)]
    holder: Option<Name>,
}

const EXAMPLES: &str = "\
Example:
  lockwright release printer --token \"$token\"

Exit codes: 0 released; 1 refused (not_held, stale_token, ...); 2 usage; 69 no server.";

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let mut body = Map::new();
    body.insert("key".to_owned(), json!(args.key));
    body.insert("token".to_owned(), json!(args.token));
    if let Some(holder) = &args.holder {
        body.insert("holder".to_owned(), json!(holder.as_str()));
    }
    let api = Api::new(&args.target, args.format.json);
    let told = api.try_post("/v1/release", body, Asked::Again, Patience::default())?;
    // It may be another's lock by now.
    let over = ["not_held", "stale_token"];
    if told.is_done_before(&over, "released the lock", args.format.json)? {
        return Ok(Exit::DONE);
    }
    let answer = api.accept(told)?;
    if args.format.json {
        said(&answer)?;
    }
    Ok(Exit::DONE)
}

fn said(answer: &Value) -> Result<(), Failure> {
    let said = output::say(&answer.to_string());
    said.map_err(|failure| failure.but_done("the lock is released"))
}
