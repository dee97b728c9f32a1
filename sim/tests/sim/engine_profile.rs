//! Profile `engine` through its public interface: what the generator draws, that it is clean, that
//! it is the same each time, and that findings become small.

use lockwright_engine::{Engine, EngineConfig};
use lockwright_sim::{
    driver::EngineDriver,
    line::{Line, LineLock, What},
    memory::{self, CountingAllocator},
    op::{Action, Op, OpOwner},
    plan::{self, EnginePlan, Plan, Profile, RunOptions},
};
use std::collections::BTreeMap;

/// The leak check needs it.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Enough for every kind of world, and little enough for a build without optimization.
const SEEDS: std::ops::Range<u64> = 0..100;

/// Long worlds are left to the finder.
const COMMANDS_MAX: usize = 3000;

fn engine_plan(seed: u64) -> EnginePlan {
    match plan::generate(Profile::Engine, seed) {
        Plan::Engine(plan) => plan,
        other => panic!("profile `engine` gave {other:?}"),
    }
}

fn plans() -> impl Iterator<Item = (u64, EnginePlan)> {
    let plans = SEEDS.map(|seed| (seed, engine_plan(seed)));
    plans.filter(|(_, plan)| plan.ops.len() <= COMMANDS_MAX)
}

/// What the engine says to the commands of a plan.
fn story(plan: &EnginePlan) -> Vec<(&Op, Vec<Line>)> {
    let mut driver = EngineDriver::new(Engine::new(EngineConfig {
        limits: plan.limits.to_limits(),
        ..EngineConfig::default()
    }));
    let step = |op| {
        let mut lines = Vec::new();
        driver.step(op, &mut lines);
        (op, lines)
    };
    plan.ops.iter().map(step).collect()
}

#[test]
fn many_worlds_are_clean() {
    assert!(memory::allocated().is_some(), "the leak check is on");
    let (mut leak_checks, mut relimits) = (0, 0);
    for (seed, plan) in plans() {
        leak_checks += u32::from(plan.checks.leak);
        relimits += plan.relimits.len();
        let outcome = plan::run(&Plan::Engine(plan), RunOptions::default());
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
    assert!(leak_checks > 0, "some of these worlds look for leaks");
    assert!(relimits > 0, "in some of these worlds the limits change");
}

#[test]
fn a_seed_gives_one_plan_and_a_plan_one_history() {
    for (seed, plan) in plans().take(20) {
        let plan = Plan::Engine(plan);
        assert_eq!(plan, plan::generate(Profile::Engine, seed));
        let first = plan::run(&plan, RunOptions::default());
        let second = plan::run(&plan, RunOptions { keep_history: true });
        assert_eq!(first.history_hash, second.history_hash, "seed {seed}");
        let history = second.history.expect("it was asked for");
        assert!(history.len() as u64 >= second.commands);
    }
}

#[test]
fn a_plan_survives_json() {
    for (seed, plan) in plans().take(40) {
        let plan = Plan::Engine(plan);
        let text = serde_json::to_string(&plan).unwrap();
        let read: Plan = serde_json::from_str(&text).unwrap();
        // The default namespace is left out when an op is written.
        assert_eq!(serde_json::to_string(&read).unwrap(), text, "seed {seed}");
        assert_eq!(
            plan::run(&read, RunOptions::default()).commands,
            plan::run(&plan, RunOptions::default()).commands,
            "seed {seed}"
        );
    }
}

#[test]
fn swarm_draws_every_profile() {
    let drawn: Vec<Profile> = (0..64).map(|seed| Profile::Swarm.of_seed(seed)).collect();
    for profile in [
        Profile::Engine,
        Profile::Service,
        Profile::Fencing,
        Profile::Cluster,
    ] {
        assert!(drawn.contains(&profile), "{profile:?}");
    }
    assert!(!drawn.contains(&Profile::Swarm));
}

/// Of a thousand commands of the generator, so many have each effect at least and at most. A
/// kind of effect that dies out, or takes over, is a generator that no longer finds bugs.
#[test]
fn the_generator_reaches_every_kind_of_effect() {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut commands = 0;
    for (_, plan) in plans() {
        for (op, lines) in story(&plan) {
            commands += 1;
            *seen.entry(op.action.name().to_owned()).or_default() += 1;
            for (index, line) in lines.iter().enumerate() {
                let is_answer = index + 1 == lines.len();
                *seen.entry(effect(op, line, is_answer)).or_default() += 1;
            }
        }
    }
    let expected = [
        ("acquire", 300, 700),
        ("release", 80, 400),
        ("renew", 5, 100),
        ("cancel", 10, 150),
        ("break", 5, 200),
        ("tick", 5, 100),
        ("inspect", 1, 50),
        ("done", 5, 100),
        ("open_session", 5, 150),
        ("detach", 5, 150),
        ("granted at once", 80, 400),
        ("granted later", 30, 300),
        ("queued", 80, 400),
        ("refused busy", 2, 100),
        ("refused limit_exceeded", 1, 100),
        ("refused unknown_session", 1, 50),
        ("refused invalid_request", 1, 20),
        ("refused invalid_path", 0, 20),
        ("ended released", 50, 400),
        ("ended expired", 30, 300),
        ("ended cancelled", 5, 150),
        ("ended timed_out", 5, 150),
        ("ended session_ended", 5, 150),
        ("ended broken", 2, 150),
        ("renewed", 2, 100),
        ("session ended", 5, 100),
        ("release: stale_token", 1, 50),
        ("release: not_held", 5, 200),
        ("release: unknown_lock", 1, 100),
        ("renew: stale_token", 0, 20),
        ("cancel: not_queued", 1, 100),
        ("open_session: invalid_request", 1, 50),
        ("detach: unknown_session", 1, 50),
        ("done: invalid_request", 0, 20),
        ("done: unknown_session", 0, 20),
    ];
    for (what, least, most) in expected {
        let count = seen.get(what).copied().unwrap_or(0);
        let permille = count * 1000 / commands;
        assert!(
            count > 0 && (least..=most).contains(&permille),
            "{permille} of 1000 commands are or have `{what}`, expected {least} to {most}"
        );
    }
}

fn effect(op: &Op, line: &Line, is_answer: bool) -> String {
    match &line.what {
        What::Granted { .. } if is_answer && matches!(op.action, Action::Acquire { .. }) => {
            "granted at once".to_owned()
        }
        What::Granted { .. } => "granted later".to_owned(),
        What::Refused { error, .. } => format!("refused {error}"),
        What::Ended { reason, .. } => format!("ended {reason}"),
        What::Session { state, .. } => format!("session {state}"),
        What::Error { op, error, .. } => format!("{op}: {error}"),
        other => other.name().to_owned(),
    }
}

/// The shrinker's loop: takes the first reduction that still fails, until none does.
fn shrink(plan: Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    assert!(fails(&plan));
    let mut best = plan;
    loop {
        let smaller = best.reductions().find(|candidate| fails(candidate));
        match smaller {
            Some(smaller) => best = smaller,
            None => return best,
        }
    }
}

#[test]
fn what_always_fails_shrinks_to_nothing() {
    let smallest = shrink(Plan::Engine(engine_plan(3)), |_| true);
    assert_eq!(smallest.size().commands, 0);
    let text = serde_json::to_string(&smallest).unwrap();
    assert_eq!(text, r#"{"engine":{"ops":[]}}"#);
}

/// As if this broke a rule: a request of several claims that waited for a lease to run out.
fn a_group_waits_for_a_lease(plan: &Plan) -> bool {
    let Plan::Engine(plan) = plan else {
        return false;
    };
    let mut groups = Vec::new();
    story(plan).iter().any(|(op, lines)| {
        if let Action::Acquire { id, claims, .. } = &op.action
            && claims.len() > 1
        {
            groups.push(id.clone());
        }
        let is_asking = matches!(op.action, Action::Acquire { .. });
        !is_asking
            && lines.windows(2).any(|pair| {
                let expired = matches!(
                    pair[0].what,
                    What::Ended {
                        reason: "expired",
                        ..
                    }
                );
                let granted = |lock: &LineLock| groups.contains(&lock.id);
                expired && matches!(&pair[1].what, What::Granted { lock, .. } if granted(lock))
            })
    })
}

#[test]
fn a_finding_shrinks_to_a_handful_of_commands() {
    let (_, plan) = plans()
        .find(|(_, plan)| a_group_waits_for_a_lease(&Plan::Engine(plan.clone())))
        .expect("one of the seeds has it");
    assert!(plan.ops.len() > 100);
    let smallest = shrink(Plan::Engine(plan), a_group_waits_for_a_lease);
    let text = serde_json::to_string(&smallest).unwrap();
    // One more than needed where the lease came with a renewal.
    assert!((3..=4).contains(&smallest.size().commands), "{text}");
    assert!(text.len() < 400, "{text}");
}

/// As if this broke a rule: a session is done with a request that has ended.
fn a_session_is_done_with_what_has_ended(plan: &Plan) -> bool {
    let Plan::Engine(plan) = plan else {
        return false;
    };
    let mut ended = Vec::new();
    story(plan).iter().any(|(op, lines)| {
        for line in lines {
            if let What::Ended { lock, .. } = &line.what {
                ended.push(lock.clone());
            }
        }
        let refused = lines
            .iter()
            .any(|line| matches!(line.what, What::Error { .. }));
        let Action::Done { session, ids } = &op.action else {
            return false;
        };
        let is_its = |lock: &LineLock| {
            lock.owner == OpOwner::Session(session.clone()) && ids.contains(&lock.id)
        };
        !refused && ended.iter().any(is_its)
    })
}

#[test]
fn what_a_session_is_done_with_shrinks_to_one_id() {
    let long_list = |plan: &EnginePlan| {
        let mut ops = plan.ops.iter();
        ops.any(|op| matches!(&op.action, Action::Done { ids, .. } if ids.len() > 8))
    };
    let (_, plan) = plans()
        .find(|(_, plan)| {
            long_list(plan) && a_session_is_done_with_what_has_ended(&Plan::Engine(plan.clone()))
        })
        .expect("one of the seeds has it");
    let smallest = shrink(Plan::Engine(plan), a_session_is_done_with_what_has_ended);
    let text = serde_json::to_string(&smallest).unwrap();
    // The session opens, its request comes and perhaps must be ended, and the session is done with it.
    assert!((3..=4).contains(&smallest.size().commands), "{text}");
    let Plan::Engine(smallest) = smallest else {
        panic!("{text}");
    };
    let last = smallest.ops.last().map(|op| &op.action);
    assert!(
        matches!(last, Some(Action::Done { ids, .. }) if ids.len() == 1),
        "{text}"
    );
}

/// As if this broke a rule: the limits change twice after a request was released.
fn limits_change_after_a_release(plan: &Plan) -> bool {
    let Plan::Engine(plan) = plan else {
        return false;
    };
    let releases = |op: &Op| matches!(op.action, Action::Release { .. });
    let after = |place: usize| usize::try_from(plan.relimits[place].after).unwrap();
    let is_after = |place: usize| plan.ops.iter().take(after(place)).any(releases);
    plan.relimits.len() > 1
        && after(plan.relimits.len() - 1) <= plan.ops.len()
        && (0..2).all(is_after)
}

#[test]
fn changes_of_the_limits_shrink_with_the_commands_before_them() {
    let (_, plan) = plans()
        .find(|(_, plan)| limits_change_after_a_release(&Plan::Engine(plan.clone())))
        .expect("one of the seeds has it");
    let smallest = shrink(Plan::Engine(plan), limits_change_after_a_release);
    let text = serde_json::to_string(&smallest).unwrap();
    assert_eq!(smallest.size().commands, 1, "{text}");
    assert!(
        text.contains(r#""relimits":[{"after":1},{"after":1}]"#),
        "{text}"
    );
}
