//! The world with servers that are not what the plan asks for: they must be found out.

use super::{World, env::SimEnv, host::Host, server_host, stage::Stage};
use crate::plan::{ClockPlan, Plan, Profile, generate};
use std::{sync::Arc, time::Duration};

/// The oracle that speaks first when the seeds' worlds have this server; none if none does.
fn found<P>(
    seeds: u64,
    program: impl Fn(Arc<Stage>, usize) -> P + Clone + 'static,
) -> Option<String>
where
    P: Future<Output = turmoil::Result> + 'static,
{
    (0..seeds).find_map(|seed| {
        let Plan::Service(plan) = generate(Profile::Service, seed) else {
            panic!("profile `service` draws its own plans");
        };
        let stage = Stage::new(plan, false);
        let mut elapsed = Duration::default();
        World::with_server(&stage, program.clone()).play(&mut elapsed);
        let violation = stage.finish().violation;
        violation.map(|violation| violation.oracle)
    })
}

#[test]
fn the_shipped_server_is_not_accused() {
    assert_eq!(found(5, server_host::run), None);
}

#[test]
fn a_server_that_looks_at_another_clock_is_found() {
    let other_clock = |stage: Arc<Stage>, node: usize| async move {
        let clock = ClockPlan {
            drift_ppm: 3_000,
            ..stage.plan.server.clock.clone()
        };
        let env = SimEnv::new(Host::new(&clock));
        server_host::serve(&stage, node, env, server_host::config(&stage, node)).await
    };
    assert_eq!(found(5, other_clock).as_deref(), Some("stamps"));
}

#[test]
fn a_server_with_limits_of_its_own_is_found() {
    let other_limits = |stage: Arc<Stage>, node: usize| async move {
        let mut config = server_host::config(&stage, node);
        config.limits.locks_per_owner = 1;
        server_host::serve(
            &stage,
            node,
            SimEnv::new(stage.nodes[node].host.clone()),
            config,
        )
        .await
    };
    assert_eq!(found(5, other_limits).as_deref(), Some("exact_grants"));
}

#[test]
fn a_server_that_breaks_connections_for_no_reason_is_found() {
    let restless = |stage: Arc<Stage>, node: usize| async move {
        let env = SimEnv::new(stage.nodes[node].host.clone());
        let serving = server_host::serve(&stage, node, env, server_host::config(&stage, node));
        let breaking = async {
            loop {
                tokio::time::sleep(Duration::from_millis(500)).await;
                stage.nodes[node].host.reset_connections();
            }
        };
        tokio::select! {
            biased;
            served = serving => served,
            () = breaking => unreachable!("it goes on for ever"),
        }
    };
    assert_eq!(found(20, restless).as_deref(), Some("connections"));
}
