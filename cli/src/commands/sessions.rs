//! `lockwright sessions`: who has a session.

use crate::{
    cli::{Format, Target},
    exit::{Exit, Failure},
    http::{Api, Table, pages, understood},
    output, units,
};
use serde::Deserialize;

/// List sessions: whether each is connected, when it ends if it stays without a connection, and how
/// many locks it holds or waits for. `lockwright end-session` ends one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

/// A session, as the server tells of it.
#[derive(Deserialize)]
struct Session {
    session: String,
    attached: bool,
    ends_in_ms: Option<u64>,
    locks: u64,
    label: Option<String>,
}

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let api = Api::new(&args.target, args.format.json);
    let mut table = Table::new(&["SESSION", "CONNECTED", "ENDS IN", "LOCKS", "LABEL"]);
    pages(&api, "/v1/sessions", &[], "sessions", |session| {
        if args.format.json {
            return output::say(&session.to_string());
        }
        let session: Session = understood(session)?;
        table.row(vec![
            session.session,
            if session.attached { "yes" } else { "no" }.to_owned(),
            session
                .ends_in_ms
                .map_or_else(|| "-".to_owned(), units::short_span),
            session.locks.to_string(),
            session.label.unwrap_or_else(|| "-".to_owned()),
        ]);
        Ok(())
    })?;
    table.print()?;
    Ok(Exit::DONE)
}
