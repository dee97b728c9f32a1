//! `lockwright renew`: the end of a lease, set anew.

use crate::{
    cli::{Format, Target, name},
    exit::{Exit, Failure},
    http::{Api, Asked, Patience},
    output, units,
};
use lockwright_client::{DurationMs, Name};
use serde_json::{Map, json};

/// Set the end of a lock's lease anew: to now and --ttl.
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

    /// How long it lasts from now on
    #[arg(long, value_name = "D", value_parser = units::duration_above_zero)]
    ttl: DurationMs,

    /// Who holds it
    #[arg(long, value_name = "NAME", value_parser = name)]
    holder: Option<Name>,
}

const EXAMPLES: &str = "\
Example:
  lockwright renew printer --token \"$token\" --ttl 10m

Exit codes: 0 renewed; 1 refused (not_held, stale_token, ...); 2 usage; 69 no server.";

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let mut body = Map::new();
    body.insert("key".to_owned(), json!(args.key));
    body.insert("token".to_owned(), json!(args.token));
    body.insert("ttl_ms".to_owned(), json!(args.ttl.as_ms()));
    if let Some(holder) = &args.holder {
        body.insert("holder".to_owned(), json!(holder.as_str()));
    }
    let api = Api::new(&args.target, args.format.json);
    let answer = api.post("/v1/renew", body, Asked::Again, Patience::default())?;
    if args.format.json {
        output::say(&answer.to_string())
            .map_err(|failure| failure.but_done("the lock was renewed"))?;
    }
    Ok(Exit::DONE)
}
