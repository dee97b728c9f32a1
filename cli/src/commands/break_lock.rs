//! `lockwright break`: somebody else's lock, ended.

use super::{inspect, ls};
use crate::{
    cli::{Format, Target},
    exit::{Exit, Failure},
    http::{Api, Asked, LockFacts, Patience, understood},
    output,
};
use serde_json::{Map, Value, json};
use std::io::{IsTerminal, Write, stderr, stdin};

/// End somebody else's lock.
///
/// All that is held exactly at the path is ended, or with --token one of it. The next in the queue
/// gets the lock at once, while the holder may still be at work: make sure that it is not, or that
/// what the lock protects checks tokens.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,

    /// The path
    path: String,

    /// Only the lock with this token
    #[arg(long, value_name = "N")]
    token: Option<u64>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

const EXAMPLES: &str = "\
Examples:
  lockwright break deploy/web
  lockwright break deploy/web --token 42 --yes

Exit codes: 0 broken; 1 refused (not_held, stale_token), or the answer was no; 2 usage; 69 no server.";

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let api = Api::new(&args.target, args.format.json);
    if !args.yes && !confirmed(args, &api)? {
        return Err(Failure::new(Exit::REFUSED, "nothing was broken"));
    }
    let mut body = Map::new();
    body.insert("key".to_owned(), json!(args.path));
    if let Some(token) = args.token {
        body.insert("token".to_owned(), json!(token));
    }
    // Without a token it would be the next holder's lock that is broken the second time.
    let asked = match args.token {
        Some(_) => Asked::Again,
        None => Asked::Once,
    };
    // A server does not break very many at once.
    loop {
        let answer = api.post("/v1/break", body.clone(), asked, Patience::default())?;
        said(args, &answer).map_err(|failure| failure.but_done("the lock was broken"))?;
        if answer["more"] != true {
            return Ok(Exit::DONE);
        }
    }
}

fn said(args: &Args, answer: &Value) -> Result<(), Failure> {
    if args.format.json {
        return output::say(&answer.to_string());
    }
    let broken: Vec<LockFacts> = understood(&answer["broken"])?;
    for lock in broken {
        output::say(&format!(
            "broken: {}, held by {}, token {}",
            lock.claims(),
            lock.owner,
            lock.token()
        ))?;
    }
    Ok(())
}

/// Shows what is there, and asks.
fn confirmed(args: &Args, api: &Api) -> Result<bool, Failure> {
    if !stdin().is_terminal() {
        return Err(Failure::usage(
            "this ends somebody else's lock, and there is no terminal to ask on: give --yes",
        ));
    }
    let there = inspect::look(api, &args.path)?;
    let held: Vec<LockFacts> = understood(&there["held"])?;
    let mut table = ls::table(true);
    for lock in &held {
        ls::add(&mut table, lock, true);
    }
    // Nobody can agree to what cannot be seen.
    table.print().map_err(|_| {
        let what = "what is held cannot be shown, so nothing was broken: give --yes to break it";
        Failure::new(Exit::NOT_WRITTEN, what)
    })?;
    inspect::say_if_cut(&there)?;
    let what = match args.token {
        Some(token) => format!("the lock with token {token}"),
        None => format!("what is held at `{}`", args.path),
    };
    // What cannot be asked is not agreed to.
    let asked = write!(stderr(), "Break {what}? [y/N] ");
    if asked.is_err() {
        return Ok(false);
    }
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}
