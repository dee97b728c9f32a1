//! `lockwright break`: ends a lock, or a request that waits, of another owner.

use super::{agreement, inspect, ls};
use crate::{
    cli::{Format, Operator, Target, name},
    exit::{Exit, Failure},
    http::{Api, Asked, LockFacts, Owner, Patience, owner, understood},
    output, units,
};
use lockwright_client::Name;
use serde_json::{Map, Value, json};

/// End a lock of another owner, or a request that waits.
///
/// All that is held exactly at the path is ended, or with --token one of it. With --owner what that
/// owner holds or waits for there is ended, or with --id one request of it: `lockwright inspect PATH`
/// shows both. The next in the queue
/// gets the lock at once, while the holder may still be at work: make sure that it is not, or that
/// what the lock protects checks tokens.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,

    #[command(flatten)]
    operator: Operator,

    /// The path
    path: String,

    /// Only the lock with this token
    #[arg(long, value_name = "N", value_parser = units::number(0..=u64::MAX))]
    token: Option<u64>,

    /// Only requests of this owner, those that wait too: a name, or session: and the name of a session
    #[arg(long, value_name = "OWNER", value_parser = owner)]
    owner: Option<Owner>,

    /// Only the request of --owner with this id
    #[arg(long, value_name = "ID", value_parser = name, requires = "owner")]
    id: Option<Name>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

const EXAMPLES: &str = "\
Examples:
  lockwright break deploy/web
  lockwright break deploy/web --token 42 --yes
  lockwright break deploy/web --owner alice --id 7            # also when it waits
  lockwright break deploy/web --owner session:GxW0_NLPcLU

Exit codes: 0 broken; 1 refused (unauthorized, not_held, stale_token, unknown_lock), or the answer was no; 2 usage;
69 no server.";

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let token = args.operator.admin_token_file.as_deref();
    let api = Api::new(&args.target, args.format.json).for_operator(token)?;
    if !args.yes && !confirmed(args, &api)? {
        return Err(Failure::new(Exit::REFUSED, "nothing was broken"));
    }
    let mut body = Map::new();
    body.insert("key".to_owned(), json!(args.path));
    if let Some(token) = args.token {
        body.insert("token".to_owned(), json!(token));
    }
    if let Some(owner) = &args.owner {
        body.insert("owner".to_owned(), json!(owner));
    }
    if let Some(id) = &args.id {
        body.insert("id".to_owned(), json!(id.as_str()));
    }
    // Without a token it would be the next holder's lock that is broken the second time.
    let asked = match (args.token, &args.id) {
        (Some(_), _) | (_, Some(_)) => Asked::Again,
        (None, None) => Asked::Once,
    };
    let told = api.try_post("/v1/break", body, asked, Patience::default())?;
    let over = ["not_held", "stale_token", "unknown_lock"];
    if told.is_done_before(&over, "broken the lock", args.format.json)? {
        return Ok(Exit::DONE);
    }
    let answer = api.accept(told)?;
    said(args, &answer).map_err(|failure| failure.but_done("the lock was broken"))?;
    if answer["more"] == true {
        // Not again by itself: what has been granted meanwhile would be broken, too.
        return Err(Failure::new(
            Exit::REFUSED,
            "a server does not break more locks at once, and more are held there: break again",
        ));
    }
    Ok(Exit::DONE)
}

fn said(args: &Args, answer: &Value) -> Result<(), Failure> {
    if args.format.json {
        return output::say(&answer.to_string());
    }
    let broken: Vec<LockFacts> = understood(&answer["broken"])?;
    for lock in broken {
        let (claims, owner) = (lock.claims(), lock.owner_in_words());
        output::say(&match lock.token {
            Some(token) => format!("broken: {claims}, held by {owner}, token {token}"),
            None => format!("broken: {claims}, waited for by {owner}, id {}", lock.id),
        })?;
    }
    Ok(())
}

/// Shows what is there, and asks.
fn confirmed(args: &Args, api: &Api) -> Result<bool, Failure> {
    agreement::need_terminal("lock")?;
    let there = inspect::look(api, &args.path)?;
    let held: Vec<LockFacts> = understood(&there["held"])?;
    let mut table = ls::table(true);
    let queued: Vec<LockFacts> = match &args.owner {
        Some(_) => understood(&there["queued"])?,
        None => Vec::new(),
    };
    let is_meant = |lock: &&LockFacts| args.owner.as_ref().is_none_or(|owner| lock.owner == *owner);
    for lock in held.iter().chain(&queued).filter(is_meant) {
        ls::add(&mut table, lock, true);
    }
    // What cannot be seen cannot be agreed to.
    table.print().map_err(|_| {
        let what = "what is held cannot be shown, so nothing was broken: give --yes to break it";
        Failure::new(Exit::NOT_WRITTEN, what)
    })?;
    inspect::say_if_cut(&there)?;
    let what = match (args.token, &args.owner, &args.id) {
        (Some(token), _, _) => format!("the lock with token {token}"),
        (None, Some(owner), Some(id)) => format!("the request {id} of {owner}"),
        (None, Some(owner), None) => {
            format!("what {owner} holds and waits for at `{}`", args.path)
        }
        (None, None, _) => format!("what is held at `{}`", args.path),
    };
    Ok(agreement::is_given(&format!("Break {what}")))
}
