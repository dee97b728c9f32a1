//! `lockwright watch`: what happens to locks.

use crate::{
    cli::{Format, Target},
    exit::{Exit, Failure},
    http::{Api, LinesEnd, pages},
    output, units,
};
use lockwright_env::{Env, TokioEnv};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

/// Show what happens to locks, as it happens: first a line for each that is held or queued, then
/// one for each grant, end, renewal, and for each request that has to wait.
///
/// It goes on until Ctrl-C. When its server ends, it goes on at the next one of --server, and shows
/// again what is held and queued, since what has happened meanwhile is not known; so it does when its
/// server has missed something itself. Times are those
/// of this machine when it was told.
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

With --json each line has `at_unix_ms`, and `event`: `initial` for what is there already, whose
`state` is `held` or `queued`; `queued`, `granted`, `renewed` or `ended` for what happens.

Exit codes: 1 refused, or cut off because the lines were read too slowly; 2 usage; 69 no server, or
it has ended and there is no other.";

/// A server that ends sooner than this is not asked again at once.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let api = Api::new(&args.target, args.format.json);
    loop {
        let start = Instant::now();
        let (LinesEnd { server, why }, missed) = watch(args, &api)?;
        if missed {
            output::tell(&format!(
                "lockwright: {server} has missed something itself; it is asked anew, and what happens until then \
                 is not shown"
            ));
            thread::sleep(PAUSE.saturating_sub(start.elapsed()));
            continue;
        }
        let gone = format!("{server} tells no more: {why}");
        if !api.pass_over_last() {
            let message = format!("{gone}; what happens from here on is not known");
            return Err(Failure::new(Exit::UNREACHABLE, message));
        }
        output::tell(&format!(
            "lockwright: {gone}; the next server is asked, and what happens until then is not shown"
        ));
        thread::sleep(PAUSE.saturating_sub(start.elapsed()));
    }
}

/// Shows what one server tells, until it tells no more. Whether that is because it has missed something.
fn watch(args: &Args, api: &Api) -> Result<(LinesEnd, bool), Failure> {
    let prefix = args.prefix.iter();
    let query: Vec<(&str, String)> = prefix.map(|prefix| ("prefix", prefix.clone())).collect();
    let shown = std::cell::RefCell::new(Shown::default());
    let opened = || {
        pages(api, "/v1/locks", &query, "locks", |lock| {
            let mut event = lock.clone();
            event["event"] = json!("initial");
            shown.borrow_mut().note(lock);
            say(args, event)
        })
    };
    let mut missed = false;
    let end = api.lines("/v1/watch", &query, opened, |line| {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            return output::say(line);
        };
        if shown.borrow_mut().has(&event) {
            return Ok(());
        }
        if event["error"] == "events_missed" {
            missed = true;
            return Ok(());
        }
        let cut_off = event["error"].is_string();
        say(args, event)?;
        match cut_off {
            true => Err(Failure::Silent(Exit::REFUSED)),
            false => Ok(()),
        }
    })?;
    Ok((end, missed))
}

/// What was shown as being there already. It was asked for after the first events could have
/// happened, which are not told again.
#[derive(Default)]
struct Shown {
    /// By owner and id; with the token, of those that are held.
    initial: BTreeMap<(String, String), Option<u64>>,
}

impl Shown {
    fn key(lock: &Value) -> (String, String) {
        (lock["owner"].to_string(), lock["id"].to_string())
    }

    fn note(&mut self, lock: &Value) {
        self.initial
            .insert(Shown::key(lock), lock["token"].as_u64());
    }

    fn has(&mut self, event: &Value) -> bool {
        let key = Shown::key(event);
        let Some(token) = self.initial.get(&key).copied() else {
            return false;
        };
        let is_old = match event["event"].as_str() {
            Some("queued") => true,
            Some("granted") => token.is_some() && event["token"].as_u64() == token,
            _ => false,
        };
        if !is_old {
            self.initial.remove(&key);
        }
        is_old
    }
}

fn say(args: &Args, mut event: Value) -> Result<(), Failure> {
    let at = TokioEnv.wall_unix_ms();
    if args.format.json {
        event["at_unix_ms"] = json!(at);
        return output::say(&event.to_string());
    }
    let told = output::printable(&told(&event));
    output::say(&format!("{} {told}", units::utc(at)))
}

/// An event as a line for people.
fn told(event: &Value) -> String {
    let name = match event["event"].as_str() {
        Some("initial") => event["state"].as_str(),
        name => name,
    };
    let Some(name) = name else {
        return event.to_string();
    };
    let mut told = format!("{name:<8}");
    for claim in event["claims"].as_array().into_iter().flatten() {
        let part = |name: &str| claim[name].as_str().unwrap_or("?").to_owned();
        told.push_str(&format!(" {} {}", part("mode"), part("path")));
    }
    for (name, owner) in event["owner"].as_object().into_iter().flatten() {
        told.push_str(&format!("  {name} {}", owner.as_str().unwrap_or("?")));
    }
    if let Some(label) = event["label"].as_str() {
        told.push_str(&format!(" ({label})"));
    }
    for fact in ["token", "reason"] {
        match event.get(fact) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => told.push_str(&format!("  {fact} {text}")),
            Some(value) => told.push_str(&format!("  {fact} {value}")),
        }
    }
    for (fact, shown) in [
        ("age_ms", "for"),
        ("lease_remaining_ms", "lease"),
        ("wait_remaining_ms", "waits"),
    ] {
        if let Some(ms) = event[fact].as_u64() {
            told.push_str(&format!("  {shown} {}", units::short_span(ms)));
        }
    }
    told
}
