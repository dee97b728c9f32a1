//! Profile `service` as its users have it: what its plans cover, that they survive being written
//! down, and that the shipped server and clients break no rule in them.

use lockwright_sim::plan::{
    self, BreakerDeed, BreakerPlan, FaultKind, Knock, Place, Plan, Profile, RunOptions,
    ServicePlan, WatcherPlan, generate,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn service_plan(seed: u64) -> ServicePlan {
    match generate(Profile::Service, seed) {
        Plan::Service(plan) => plan,
        other => panic!("profile `service` drew {other:?}"),
    }
}

#[test]
fn every_kind_of_trouble_is_drawn() {
    let mut kinds = BTreeSet::new();
    let mut knocks = BTreeSet::new();
    let (mut drifts, mut jumps, mut few_connections, mut shorter_renewals) = (0, 0, 0, 0);
    let (mut disks, mut watched, mut watched_below) = (0, 0, 0);
    let (mut breakers, mut intruders, mut asks_again, mut broken) = (0, 0, 0, BTreeSet::new());
    let (mut http, mut impatient, mut retries, mut twice, mut forgotten) = (0, 0, 0, 0, 0);
    let (mut by_path, mut hangs_up, mut mistakes) = (0, 0, 0);
    let (mut slow_ends, mut at_defaults) = (0, 0);
    for plan in (0..200).map(service_plan) {
        kinds.extend(plan.faults.iter().map(|fault| match fault.kind {
            FaultKind::Cut {
                to_server,
                from_server,
                ..
            } => format!("cut {to_server} {from_server}"),
            FaultKind::Hold { .. } => "hold".to_owned(),
            FaultKind::Slow { .. } => "slow".to_owned(),
            FaultKind::Reset { place } => format!("reset {}", place == Place::Server),
            FaultKind::Crash { place } => format!("crash {}", place == Place::Server),
            FaultKind::Pause { place } => format!("pause {}", place == Place::Server),
            FaultKind::PowerLoss => "power loss".to_owned(),
            FaultKind::DiskFull => "full".to_owned(),
            FaultKind::DiskFails => "fails".to_owned(),
            FaultKind::DiskSlow { .. } => "slow disk".to_owned(),
            FaultKind::LogLoss { kept } => format!("log loss {}", kept.is_some()),
            FaultKind::Drain => "drain".to_owned(),
        }));
        knocks.extend(plan.strangers.iter().map(|stranger| match stranger.what {
            Knock::Resume => "resume",
            Knock::Acquire => "acquire",
            Knock::Garbage => "garbage",
            Knock::Silence => "silence",
            Knock::Page => "page",
            Knock::Rebound => "rebound",
            Knock::Operator => "operator",
            Knock::Guess => "guess",
            Knock::Node => "node",
        }));
        let mut clocks = plan.hosts.iter().chain([&plan.server.clock]);
        drifts += usize::from(clocks.clone().any(|clock| clock.drift_ppm != 0));
        jumps += usize::from(clocks.any(|clock| !clock.jumps.is_empty()));
        disks += usize::from(plan.server.disk.is_some());
        few_connections += usize::from(plan.server.connections_max.is_some());
        http += usize::from(!plan.http.is_empty());
        watched += usize::from(!plan.watchers.is_empty());
        let is_below = |watcher: &WatcherPlan| &*watcher.prefix != "/";
        watched_below += usize::from(plan.watchers.iter().any(is_below));
        match plan.server.limits.session_ends_per_ms {
            Some(_) => slow_ends += 1,
            None => at_defaults += 1,
        }
        breakers += usize::from(!plan.breakers.is_empty());
        broken.extend(plan.breakers.iter().map(|one| one.deed));
        let is_intruder = |one: &BreakerPlan| !one.credentials.is_right();
        intruders += usize::from(plan.breakers.iter().any(is_intruder));
        let is_again = |one: &BreakerPlan| one.again_ms.is_some() || one.retries > 0;
        asks_again += usize::from(plan.breakers.iter().any(is_again));
        let mut over_http = plan.http.iter();
        impatient += usize::from(over_http.clone().any(|attempt| attempt.patience_ms < 100));
        retries += usize::from(over_http.clone().any(|attempt| attempt.retries > 0));
        twice += usize::from(over_http.clone().any(|attempt| attempt.twice));
        hangs_up += usize::from(over_http.clone().any(|attempt| attempt.hangs_up));
        by_path += usize::from(over_http.clone().any(|attempt| attempt.by_path));
        mistakes += usize::from(
            over_http
                .clone()
                .any(|attempt| !attempt.mistakes.is_empty()),
        );
        forgotten += usize::from(over_http.any(|attempt| attempt.hold_ms.is_none()));
        let mut attempts = plan.clients.iter().flat_map(|client| &client.attempts);
        shorter_renewals += usize::from(attempts.any(|attempt| {
            let renewed = attempt.renew.map(|renew| renew.ttl_ms);
            renewed < attempt.ttl_ms && renewed.is_some()
        }));
    }
    // Three ways to cut, two places each to reset, crash and pause, a hold and a slow link; three
    // troubles of the disk, no power, two ways to lose the end of the log, and a stop that waits.
    assert_eq!(kinds.len(), 18, "{kinds:?}");
    assert_eq!(knocks.len(), 9, "{knocks:?}");
    let counts = [
        drifts,
        jumps,
        few_connections,
        shorter_renewals,
        disks,
        watched,
        watched_below,
        breakers,
        intruders,
        asks_again,
        slow_ends,
        at_defaults,
    ];
    assert_eq!(broken, BTreeSet::from(BreakerDeed::ALL));
    let over_http = [
        http, impatient, retries, twice, by_path, hangs_up, forgotten,
    ];
    assert!(
        mistakes >= 10,
        "one in twenty plans has mistakes, got {mistakes} of 200"
    );
    for count in counts.into_iter().chain(over_http) {
        assert!(count >= 20, "one in ten plans has it, got {count} of 200");
    }
}

#[test]
fn a_plan_comes_out_of_json_as_it_went_in() {
    for seed in 0..100 {
        let plan = generate(Profile::Service, seed);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}

#[test]
fn a_plan_of_before_there_were_strangers_can_be_read() {
    let text = r#"{"service":{"seed":1,"active_ms":1,
        "latency":{"min_ms":1,"max_ms":1,"curve_tenths":10},
        "server":{"idle_timeout_ms":500},"hosts":[{}],"clients":[]}}"#;
    assert!(serde_json::from_str::<Plan>(text).is_ok());
}

/// How the sessions of a history ended whose end took more than a millisecond.
fn slow_ends(history: &[String]) -> BTreeSet<&'static str> {
    let mut sessions: BTreeMap<String, String> = BTreeMap::new();
    let mut closed: BTreeMap<String, &'static str> = BTreeMap::new();
    let mut unwanted: BTreeSet<&str> = BTreeSet::new();
    let mut times: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    for line in history {
        if let Some((_, asked)) = line.split_once(", an operator, asks to end the session ") {
            unwanted.extend(asked.split(' ').next());
        }
        let json = line.strip_prefix("#> ").unwrap_or(line);
        let Ok(json) = serde_json::from_str::<Value>(json) else {
            continue;
        };
        if json["op"] == "acquire" {
            sessions.insert(text(&json, "id"), text(&json, "session"));
        }
        if json["op"] == "close_session" {
            let session = text(&json, "session");
            let is_unwanted = unwanted.contains(session.as_str());
            let by = if is_unwanted { "operator" } else { "client" };
            closed.entry(session).or_insert(by);
        }
        if json["reason"] == "session_ended" {
            let at = json["at"].as_u64().expect("every event has a time");
            if let Some(session) = sessions.get(&text(&json, "id")) {
                times.entry(session.clone()).or_default().insert(at);
            }
        }
    }
    let slow = times.iter().filter(|(_, times)| times.len() > 1);
    slow.map(|(session, _)| closed.get(session).copied().unwrap_or("abandoned"))
        .collect()
}

/// Without this nothing that a server and its clients do while a session ends would be judged.
#[test]
fn the_end_of_a_session_takes_its_time_whoever_ends_it() {
    let mut missing = BTreeSet::from(["abandoned", "client", "operator"]);
    for seed in 0..150 {
        let plan = service_plan(seed);
        let is_slow = plan.server.limits.session_ends_per_ms.is_some();
        // The costly ones show no more.
        if !is_slow || plan.active_ms > 4_000 {
            continue;
        }
        let keep = RunOptions { keep_history: true };
        let outcome = plan::run(&Plan::Service(plan), keep);
        assert_eq!(outcome.violation, None, "seed {seed}");
        let history = outcome.history.expect("it was to be kept");
        for way in slow_ends(&history) {
            missing.remove(way);
        }
        if missing.is_empty() {
            break;
        }
    }
    assert!(missing.is_empty(), "never took its time: {missing:?}");
}

/// Also what the clients are told, all together, is everything that there is to be told.
#[test]
fn no_rule_is_broken_and_everything_happens() {
    const TOLD: [&str; 40] = [
        " watches ",
        " is told that ",
        " is over: it has seen enough",
        ", an operator, asks to break what is held at",
        ", an operator, asks to end all requests of",
        ", an operator, asks to end the session",
        ", no operator, asks to",
        "is answered: broken: ",
        "that waits",
        "is answered: ended, with",
        "is answered: 401 unauthorized",
        "is answered: 409 not_held",
        "is answered: 409 stale_token",
        "is answered: 409 unknown_lock",
        "is answered: none",
        "is told: ended: broken",
        "is told: ended: session_ended",
        "is told: queued",
        "is told: granted",
        "is told: refused: busy",
        "is told: refused: limit_exceeded",
        "is told: ended: released",
        "is told: ended: expired",
        "is told: ended: cancelled",
        "is told: ended: timed_out",
        "is told: lost: its lease has run out",
        "is told: lost: the server was not heard of",
        "is told: lost: the session is over",
        "is answered: renew done",
        "a stranger tries: resume",
        "asks over HTTP",
        "is answered: granted with token",
        "is answered: refused: busy",
        "is answered: refused: timed_out",
        "has no answer, and hangs up",
        "calls renew with token",
        ": done",
        ": not_held",
        ": stale_token",
        "calls release with token",
    ];
    let mut missing = BTreeSet::from(TOLD);
    for seed in 0..30 {
        let plan = generate(Profile::Service, seed);
        let keep = RunOptions { keep_history: true };
        let outcome = plan::run(&plan, keep);
        assert_eq!(outcome.violation, None, "seed {seed}");
        let history = outcome.history.unwrap();
        missing.retain(|what| !history.iter().any(|line| line.contains(what)));
        // The hunts go on from here, optimized.
        if missing.is_empty() {
            break;
        }
    }
    assert!(missing.is_empty(), "never happened: {missing:?}");
}
