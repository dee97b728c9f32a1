//! Scripts in which nothing happens prove nothing: those that are drawn have every kind of effect.

use super::script::{Script, scripts};
use lockwright_engine::{Engine, EngineConfig};
use lockwright_sim::driver::EngineDriver;
use lockwright_sim::line::What;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use std::collections::BTreeMap;

const SCRIPTS: usize = 300;

/// Effects, and of how many lines in 10,000 each must be at least.
const EXPECTED: [(&str, usize); 22] = [
    ("granted", 800),
    ("queued", 500),
    ("renewed", 30),
    ("session open", 200),
    ("session ended", 100),
    ("ended released", 60),
    ("ended expired", 200),
    ("ended cancelled", 40),
    ("ended timed_out", 50),
    ("ended session_ended", 50),
    ("ended broken", 20),
    ("refused busy", 50),
    ("refused unknown_session", 50),
    ("refused invalid_path", 20),
    ("refused invalid_request", 50),
    ("refused limit_exceeded", 50),
    ("refused request_mismatch", 100),
    ("error not_held", 50),
    ("error not_queued", 20),
    ("error stale_token", 10),
    ("error unknown_lock", 50),
    ("error unknown_session", 50),
];

#[test]
fn scripts_have_every_kind_of_effect() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut all = 0;
    for _ in 0..SCRIPTS {
        let script = scripts()
            .new_tree(&mut runner)
            .expect("nothing is filtered out");
        for effect in effects(&script.current()) {
            *seen.entry(effect).or_default() += 1;
            all += 1;
        }
    }
    for (effect, least) in EXPECTED {
        let got = seen.get(effect).copied().unwrap_or(0) * 10_000 / all;
        assert!(
            got >= least,
            "{got} of 10,000 lines say `{effect}`, expected {least}: {seen:?}"
        );
    }
}

fn effects(script: &Script) -> Vec<String> {
    let mut driver = EngineDriver::new(Engine::new(EngineConfig {
        limits: script.limits.clone(),
        ..EngineConfig::default()
    }));
    let mut lines = Vec::new();
    for op in &script.ops {
        driver.step(op, &mut lines);
    }
    let effect = |what: &What| match what {
        What::Ended { reason, .. } => format!("ended {reason}"),
        What::Refused { error, .. } => format!("refused {error}"),
        What::Session { state, .. } => format!("session {state}"),
        What::Error { error, .. } => format!("error {error}"),
        other => other.name().to_owned(),
    };
    lines.iter().map(|line| effect(&line.what)).collect()
}
