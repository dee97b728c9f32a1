//! `lockwright watch`: what happens to locks.

use crate::{
    cli::{Format, Target},
    exit::{Exit, Failure},
    http::Api,
    output,
};
use serde_json::Value;

/// Show what happens to locks, as it happens: a line for each grant, end, renewal, and for each
/// request that has to wait.
///
/// It goes on until Ctrl-C, or until the server ends it, because it shuts down or because its
/// lines are read too slowly.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,

    /// Only what is at this path or below it
    prefix: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  lockwright watch deploy
  lockwright watch --json | jq -r 'select(.event == \"ended\") | .reason'

Exit codes: 0 the server has ended; 1 refused, or cut off; 2 usage; 69 no server.";

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let api = Api::new(&args.target, args.format.json);
    let prefix = args
        .prefix
        .as_ref()
        .map(|prefix| ("prefix", prefix.clone()));
    let query: Vec<(&str, String)> = prefix.into_iter().collect();
    let mut cut_off = None;
    api.lines("/v1/watch", &query, |line| {
        let event: Value = serde_json::from_str(line).unwrap_or(Value::Null);
        if event["error"].is_string() {
            cut_off = Some(event.clone());
        }
        if args.format.json {
            output::say(line)
        } else {
            output::say(&told(&event, line))
        }
    })?;
    match cut_off {
        None => Ok(Exit::DONE),
        Some(_) => Err(Failure::Silent(Exit::REFUSED)),
    }
}

/// An event as a line for people.
fn told(event: &Value, line: &str) -> String {
    let Some(name) = event["event"].as_str() else {
        return line.to_owned();
    };
    let lock = event.get("lock").unwrap_or(event);
    let mut told = format!("{name:<8}");
    for claim in lock["claims"].as_array().into_iter().flatten() {
        let part = |name: &str| claim[name].as_str().unwrap_or("?").to_owned();
        told.push_str(&format!(" {} {}", part("mode"), part("path")));
    }
    for (name, owner) in lock["owner"].as_object().into_iter().flatten() {
        told.push_str(&format!("  {name} {}", owner.as_str().unwrap_or("?")));
    }
    for fact in ["token", "reason", "lease_remaining_ms"] {
        match lock.get(fact).or_else(|| event.get(fact)) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => told.push_str(&format!("  {fact} {text}")),
            Some(value) => told.push_str(&format!("  {fact} {value}")),
        }
    }
    told
}
