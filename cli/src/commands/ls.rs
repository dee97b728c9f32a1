//! `lockwright ls`: locks.

use crate::{
    cli::{Format, Target},
    exit::{Exit, Failure},
    http::{Api, LockFacts, Table, pages},
    output, units,
};

/// List locks.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,

    /// Only what is at this path or below it
    prefix: Option<String>,

    /// Tell also how old each is, how long it lasts, the id of its request, and its label
    #[arg(short, long)]
    long: bool,

    /// List those who wait, too
    #[arg(long)]
    queued: bool,
}

const EXAMPLES: &str = "\
Examples:
  lockwright ls
  lockwright ls deploy --long --queued
  lockwright ls --json | jq -r 'select(.lease_remaining_ms == null) | .token'

CLAIMS are `write` or `read` and a path; LEFT is what is left of the lease, or of the wait.

Exit codes: 0 done; 1 refused; 2 usage; 69 no server.";

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let api = Api::new(&args.target, args.format.json);
    let mut query = Vec::new();
    if let Some(prefix) = &args.prefix {
        query.push(("prefix", prefix.clone()));
    }
    if !args.queued {
        query.push(("state", "held".to_owned()));
    }
    let mut table = table(args.long);
    pages(&api, "/v1/locks", &query, "locks", |lock| {
        if args.format.json {
            return output::say(&lock.to_string());
        }
        let lock: LockFacts = crate::http::understood(lock)?;
        add(&mut table, &lock, args.long);
        Ok(())
    })?;
    table.print()?;
    Ok(Exit::DONE)
}

/// The columns of a list of locks.
pub(crate) fn table(long: bool) -> Table {
    if long {
        Table::new(&[
            "STATE", "TOKEN", "AGE", "LEFT", "OWNER", "ID", "CLAIMS", "LABEL",
        ])
    } else {
        Table::new(&["STATE", "TOKEN", "OWNER", "CLAIMS"])
    }
}

/// Adds a lock to the list.
pub(crate) fn add(table: &mut Table, lock: &LockFacts, long: bool) {
    let mut cells = vec![lock.state.clone(), lock.token()];
    if long {
        cells.extend([units::short_span(lock.age_ms), lock.remaining()]);
    }
    cells.push(lock.owner.to_string());
    if long {
        cells.push(lock.id.clone());
    }
    cells.push(lock.claims());
    if long {
        cells.push(lock.label());
    }
    table.row(cells);
}
