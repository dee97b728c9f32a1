//! `lockwright inspect`: who holds a path, and who waits for it.

use super::ls;
use crate::{
    cli::{Format, Target},
    exit::{Exit, Failure},
    http::{Api, LockFacts, in_path, understood},
    output,
};
use serde_json::Value;

/// Show who holds a path, and who waits for it.
///
/// Also whoever has locked something above it or below it: all that could be in each other's way
/// there, in the order in which they asked.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,

    /// The path
    path: String,
}

const EXAMPLES: &str = "\
Example:
  lockwright inspect deploy/web

Exit codes: 0 done, also when nobody is there; 1 refused; 2 usage; 69 no server.";

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let api = Api::new(&args.target, args.format.json);
    let answer = look(&api, &args.path)?;
    if args.format.json {
        output::say(&answer.to_string())?;
        return Ok(Exit::DONE);
    }
    let mut table = ls::table(true);
    for list in ["held", "queued"] {
        let locks: Vec<LockFacts> = understood(&answer[list])?;
        for lock in &locks {
            ls::add(&mut table, lock, true);
        }
    }
    table.print()?;
    say_if_cut(&answer)?;
    Ok(Exit::DONE)
}

/// Says that not all that is there is shown, if it is so.
pub(crate) fn say_if_cut(answer: &Value) -> Result<(), Failure> {
    match answer["truncated"] == true {
        true => output::say(
            "... and more: only the earliest thousand are shown; `lockwright ls PATH --queued` lists all",
        ),
        false => Ok(()),
    }
}

const EMPTY_PATH: &str = "invalid_path: `` is no path: a path must not be empty: write `/` for the whole \
                          namespace";

/// What overlaps a path.
pub(crate) fn look(api: &Api, path: &str) -> Result<Value, Failure> {
    let path = match path {
        // The whole namespace is a path too, and must not look like none.
        "/" => "%2F".to_owned(),
        // What stands for no path is asked for at another route, which is not there.
        "" => return Err(Failure::new(Exit::REFUSED, EMPTY_PATH)),
        path => in_path(path),
    };
    api.get(&format!("/v1/locks/{path}"), &[])
}
