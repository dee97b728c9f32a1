//! Profile `fencing` as its users have it: what its plans cover, that the shipped fence holds in them,
//! and that a store without one is found out.

use lockwright_sim::plan::{
    self, Plan, Profile, RunOptions, ServicePlan, StoreFaultKind, StorePlan, generate,
};
use std::collections::BTreeSet;

fn fencing_plan(seed: u64) -> ServicePlan {
    match generate(Profile::Fencing, seed) {
        Plan::Fencing(plan) => plan,
        other => panic!("profile `fencing` drew {other:?}"),
    }
}

fn store(plan: &ServicePlan) -> &StorePlan {
    plan.store.as_ref().expect("the profile has a store")
}

#[test]
fn every_kind_of_trouble_is_drawn() {
    let mut kinds = BTreeSet::new();
    let (mut reads, mut below, mut thinking) = (0, 0, 0);
    for plan in (0..200).map(fencing_plan) {
        assert!(store(&plan).checked);
        kinds.extend(store(&plan).faults.iter().map(|fault| match fault.kind {
            StoreFaultKind::Cut {
                to_store,
                from_store,
                ..
            } => format!("cut {to_store} {from_store}"),
            StoreFaultKind::Hold { .. } => "hold".to_owned(),
            StoreFaultKind::Slow { .. } => "slow".to_owned(),
            StoreFaultKind::DiskSlow { .. } => "slow disk".to_owned(),
            other => format!("{other:?}"),
        }));
        let attempts = plan.clients.iter().flat_map(|client| &client.attempts);
        for attempt in attempts {
            let claims = |path: &str| attempt.claims.iter().any(|claim| claim.path == path);
            for access in &attempt.accesses {
                reads += usize::from(access.reads);
                below += usize::from(!claims(&access.key));
                thinking += usize::from(attempt.ttl_ms.is_some_and(|ttl| ttl < access.think_ms));
            }
        }
    }
    // Three ways to cut, and nine others.
    assert_eq!(kinds.len(), 12, "{kinds:?}");
    for count in [reads, below, thinking] {
        assert!(count >= 200, "one in each plan, got {count} of 200");
    }
}

#[test]
fn a_plan_comes_out_of_json_as_it_went_in() {
    for seed in 0..100 {
        let plan = generate(Profile::Fencing, seed);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}

#[test]
fn a_plan_without_a_store_is_refused() {
    let Plan::Service(plan) = generate(Profile::Service, 1) else {
        panic!("profile `service` draws its own plans");
    };
    let text = serde_json::to_string(&Plan::Fencing(plan)).unwrap();
    assert!(serde_json::from_str::<Plan>(&text).is_err());
    let plan = Plan::Service(fencing_plan(1));
    let text = serde_json::to_string(&plan).unwrap();
    assert!(serde_json::from_str::<Plan>(&text).is_err());
}

#[test]
fn the_fence_holds_and_everything_happens() {
    const SEEN: [&str; 6] = [
        " write ",
        " read ",
        "the store lets",
        "the store does not let",
        "the store ends",
        "the store is there, and knows of 1",
    ];
    let mut missing = BTreeSet::from(SEEN);
    let (mut fresh, mut expected) = (0, 0);
    for seed in 0..12 {
        let plan = generate(Profile::Fencing, seed);
        let keep = RunOptions { keep_history: true };
        let outcome = plan::run(&plan, keep);
        assert_eq!(outcome.violation, None, "seed {seed}");
        let history = outcome.history.unwrap();
        missing.retain(|what| !history.iter().any(|line| line.contains(what)));
        // Who came last came to a store that had seen everybody.
        let healed = history
            .iter()
            .position(|line| line.contains("all faults are over"));
        let Some(healed) = healed else {
            panic!("seed {seed}: the faults never end");
        };
        let after = &history[healed..];
        expected += 1;
        fresh += usize::from(after.iter().any(|line| line.contains("the store lets")));
    }
    assert!(missing.is_empty(), "never happened: {missing:?}");
    assert!(
        fresh * 10 >= expected * 9,
        "{fresh} of {expected} let somebody in when all was well"
    );
}

#[test]
fn a_store_that_does_not_check_is_found_out() {
    let found = (0..20).find_map(|seed| {
        let plan = generate(Profile::Fencing, seed).with_unchecked_store();
        plan::run(&plan, RunOptions::default()).violation
    });
    let violation = found.expect("one of twenty worlds has a stale write in it");
    assert_eq!(violation.oracle, "fencing", "{violation:?}");
}
