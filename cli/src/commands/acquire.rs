//! `lockwright acquire`: a lock by hand.

use crate::{
    cli::{Format, Target, name},
    exit::{Exit, Failure},
    http::{Api, Asked, Patience},
    label, output, units,
};
use lockwright_client::{DurationMs, Name};
use serde_json::{Map, Value, json};
use std::{ffi::OsStr, io};

/// Take a lock by hand, and print its token.
///
/// Nothing renews it, and nobody watches it: it lasts for --ttl, or until it is released or broken.
/// To run a command under a lock, use `lockwright lock`. Of several keys all are locked, or none.
/// Ctrl-C leaves the queue.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,

    /// What to lock: segments joined by /
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,

    /// Share the lock with others who only read
    #[arg(long)]
    read: bool,

    /// Who holds it
    #[arg(long, value_name = "NAME", default_value = "cli", value_parser = name)]
    holder: Name,

    /// How long it lasts
    #[arg(long, value_name = "D", value_parser = units::duration_above_zero)]
    ttl: Option<DurationMs>,

    /// How long to wait for it: a duration, or forever [default: not at all]
    #[arg(long, value_name = "D", value_parser = wait)]
    wait: Option<Waiting>,

    /// What others are told of it: up to 256 bytes [default: user, host, process and this command line];
    /// empty for nothing
    #[arg(long, value_name = "TEXT", value_parser = label::given)]
    label: Option<label::Given>,

    /// Names the request: asking again for the same with the same id is answered with the same lock,
    /// and asking for something else is refused. Without it, another server is asked only if the one
    /// before it was not reached
    #[arg(long, value_name = "ID", value_parser = name)]
    request_id: Option<Name>,
}

const EXAMPLES: &str = "\
Examples:
  token=$(lockwright acquire printer --holder alice --ttl 10m)
  lockwright acquire seat/7 seat/8 --wait 30s --ttl 1m --json
  lockwright release printer --token \"$token\"

Exit codes: 0 it is held; 1 it is not (busy, timed_out, request_mismatch, ...); 2 usage; 69 no server;
74 the token could not be printed: the lock was released again, or stderr has the token.";

/// How long to wait.
#[derive(Debug, Clone, Copy)]
enum Waiting {
    For(DurationMs),
    Forever,
}

fn wait(text: &str) -> Result<Waiting, String> {
    if text == "forever" {
        return Ok(Waiting::Forever);
    }
    let wait = units::duration(text).map(Waiting::For);
    wait.map_err(|error| format!("{error}, or forever"))
}

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let mode = if args.read { "read" } else { "write" };
    let mut body = Map::new();
    match args.keys.as_slice() {
        [key] => {
            body.insert("key".to_owned(), json!(key));
            body.insert("mode".to_owned(), json!(mode));
        }
        keys => {
            let claims = keys.iter().map(|key| json!({"mode": mode, "path": key}));
            body.insert("claims".to_owned(), Value::Array(claims.collect()));
        }
    }
    body.insert("holder".to_owned(), json!(args.holder.as_str()));
    if let Some(ttl) = args.ttl {
        body.insert("ttl_ms".to_owned(), json!(ttl.as_ms()));
    }
    match args.wait {
        Some(Waiting::For(wait)) => {
            body.insert("wait_ms".to_owned(), json!(wait.as_ms()));
        }
        Some(Waiting::Forever) => {
            body.insert("wait_ms".to_owned(), json!("forever"));
        }
        None => {}
    }
    let program = Some(OsStr::new("lockwright acquire"));
    if let Some(label) = label::label(args.label.as_ref(), program) {
        body.insert("label".to_owned(), json!(label.as_str()));
    }
    if let Some(id) = &args.request_id {
        body.insert("request_id".to_owned(), json!(id.as_str()));
    }
    let patience = match args.wait {
        Some(Waiting::For(wait)) => Patience::For(units::std(wait)),
        Some(Waiting::Forever) => Patience::Forever,
        None => Patience::default(),
    };
    // Without an id a second request is another lock.
    let asked = match args.request_id {
        Some(_) => Asked::Again,
        None => Asked::Once,
    };
    let api = Api::new(&args.target, args.format.json);
    let answer = api.post("/v1/acquire", body, asked, patience)?;
    let line = if args.format.json {
        answer.to_string()
    } else {
        answer["token"].to_string()
    };
    match output::write_line(&line) {
        Ok(()) => Ok(Exit::DONE),
        Err(error) => Err(unsaid(args, &answer["token"], &error)),
    }
}

/// The lock is held, and its token could not be said: without it the lock cannot be given back.
fn unsaid(args: &Args, token: &Value, error: &io::Error) -> Failure {
    if args.request_id.is_some() {
        // An earlier call with this id may have said it, and its caller rely on the lock.
        let meaning = format!(
            "; the lock is held, with the token {token}: ask again with the same --request-id, or \
             release it"
        );
        return Failure::not_written(error, &meaning);
    }
    let key = &args.keys[0];
    let mut body = Map::new();
    body.insert("key".to_owned(), json!(key));
    body.insert("token".to_owned(), token.clone());
    let api = Api::new(&args.target, false);
    let released = api.post("/v1/release", body, Asked::Again, Patience::default());
    let meaning = match released {
        Ok(_) => "; the lock was released again".to_owned(),
        Err(failure) => format!(
            "; the lock is held, with the token {token}, and could not be released: {}",
            failure.message().unwrap_or_default()
        ),
    };
    Failure::not_written(error, &meaning)
}
