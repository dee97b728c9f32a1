//! `lockwright end-session`: ends a session of another client.

use super::{agreement, ls};
use crate::{
    cli::{Format, Operator, Target, name},
    exit::{Exit, Failure},
    http::{Api, LockFacts, Owner, in_path, pages, understood},
    output,
};
use lockwright_client::Name;
use serde_json::Value;

/// End a session of another client, and with it all that it holds and waits for.
///
/// Its client is told, and gets nothing any more with this session; a `lockwright lock` ends its
/// command. The next in the queues get the locks at once, while the client may still be at work: make
/// sure that it is not, or that what the locks protect checks tokens.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,

    #[command(flatten)]
    operator: Operator,

    /// The session, as `lockwright sessions` shows it
    #[arg(value_parser = name)]
    session: Name,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

const EXAMPLES: &str = "\
Examples:
  lockwright sessions
  lockwright end-session GxW0_NLPcLU --yes

Exit codes: 0 it has ended; 1 refused (unauthorized, unknown_session), or the answer was no; 2 usage; 69 no server.";

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let token = args.operator.admin_token_file.as_deref();
    let api = Api::new(&args.target, args.format.json).for_operator(token)?;
    if !args.yes && !confirmed(args, &api)? {
        return Err(Failure::new(Exit::REFUSED, "no session was ended"));
    }
    let session = in_path(args.session.as_str()).replace('/', "%2F");
    let told = api.try_end(&format!("/v1/sessions/{session}"))?;
    if told.is_done_before(&["unknown_session"], "ended the session", args.format.json)? {
        return Ok(Exit::DONE);
    }
    let answer = api.accept(told)?;
    said(args, &answer).map_err(|failure| failure.but_done("the session was ended"))?;
    Ok(Exit::DONE)
}

fn said(args: &Args, answer: &Value) -> Result<(), Failure> {
    if args.format.json {
        return output::say(&answer.to_string());
    }
    let locks: Vec<LockFacts> = understood(&answer["locks"])?;
    let label = answer["label"].as_str();
    let label = label.map_or_else(String::new, |label| format!(" ({label})"));
    let ended = format!("ended: session {}{label}", args.session);
    output::say(&output::printable(&ended))?;
    let told = u64::try_from(locks.len()).unwrap_or(u64::MAX);
    for lock in locks {
        let claims = lock.claims();
        output::say(&match lock.token {
            Some(token) => format!("ended: {claims}, held with the token {token}"),
            None => format!("ended: {claims}, waited for"),
        })?;
    }
    // A server of before says no number, and tells of all.
    let others = answer["requests"].as_u64().unwrap_or(told);
    if others > told {
        output::say(&format!("ended: {} more", others - told))?;
    }
    Ok(())
}

/// Shows what it has, and asks.
fn confirmed(args: &Args, api: &Api) -> Result<bool, Failure> {
    agreement::need_terminal("session")?;
    let owner = Owner::Session(args.session.to_string());
    let mut table = ls::table(true);
    pages(api, "/v1/locks", &[], "locks", |lock| {
        let lock: LockFacts = understood(lock)?;
        if lock.owner == owner {
            ls::add(&mut table, &lock, true);
        }
        Ok(())
    })?;
    // What cannot be seen cannot be agreed to.
    table.print().map_err(|_| {
        let what = "what it has cannot be shown, so nothing was ended: give --yes to end it";
        Failure::new(Exit::NOT_WRITTEN, what)
    })?;
    let question = format!("End the session {}", args.session);
    Ok(agreement::is_given(&question))
}
