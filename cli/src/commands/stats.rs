//! `lockwright stats`: how much the server has in hand.

use crate::{
    cli::{Format, Target},
    exit::{Exit, Failure},
    http::{Api, Table},
    output,
};
use serde_json::Value;

/// Show how much the server has in hand.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let answer = Api::of_all(&args.target, args.format.json).get("/v1/stats", &[])?;
    if args.format.json {
        output::say(&answer.to_string())?;
        return Ok(Exit::DONE);
    }
    let mut table = Table::new(&["COUNT", "VALUE"]);
    add(&mut table, "", &answer);
    table.print()?;
    Ok(Exit::DONE)
}

/// Adds counts, also those within others, each with its whole name.
fn add(table: &mut Table, above: &str, counts: &Value) {
    match counts.as_object() {
        Some(counts) => {
            for (name, value) in counts {
                let dot = if above.is_empty() { "" } else { "." };
                add(table, &format!("{above}{dot}{name}"), value);
            }
        }
        None => table.row(vec![above.to_owned(), counts.to_string()]),
    }
}
