//! The world with servers that are not what the plan asks for: they must be found out.

mod panics;

use super::{World, env::SimEnv, host::Host, run_with_server, server_host, stage::Stage};
use crate::plan::{
    ClockPlan, ClusterFault, ClusterFaultKind, Plan, Profile, ServicePlan, Who, generate,
};
use std::{sync::Arc, time::Duration};

/// The oracle that speaks first when the seeds' worlds have this server; none if none does.
fn found<P>(
    seeds: u64,
    program: impl Fn(Arc<Stage>, usize) -> P + Clone + 'static,
) -> Option<String>
where
    P: Future<Output = turmoil::Result> + 'static,
{
    found_in(Profile::Service, seeds, program)
}

/// As [`found`], in worlds of this profile.
fn found_in<P>(
    profile: Profile,
    seeds: u64,
    program: impl Fn(Arc<Stage>, usize) -> P + Clone + 'static,
) -> Option<String>
where
    P: Future<Output = turmoil::Result> + 'static,
{
    (0..seeds).find_map(|seed| {
        let (Plan::Service(plan) | Plan::Cluster(plan)) = generate(profile, seed) else {
            panic!("the profile draws its own plans");
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

#[test]
fn nodes_that_do_not_know_each_other_are_found() {
    let strangers = |stage: Arc<Stage>, node: usize| async move {
        let mut config = server_host::config(&stage, node);
        config.cluster = None;
        let env = server_host::env(&stage, node);
        server_host::serve(&stage, node, env, config).await
    };
    let found = found_in(Profile::Cluster, 5, strangers);
    assert_eq!(found.as_deref(), Some("raft_invariants"));
}

#[test]
fn a_node_that_decides_otherwise_than_the_others_is_found() {
    let otherwise = |stage: Arc<Stage>, node: usize| async move {
        let mut config = server_host::config(&stage, node);
        if node == 1 {
            config.limits.locks_per_owner = 1;
        }
        let env = server_host::env(&stage, node);
        server_host::serve(&stage, node, env, config).await
    };
    let found = found_in(Profile::Cluster, 20, otherwise);
    assert!(
        ["replica_agreement", "exact_grants"].contains(&found.as_deref().unwrap_or_default()),
        "{found:?}"
    );
}

#[test]
fn a_cluster_whose_clocks_are_others_is_found() {
    let other_clock = |stage: Arc<Stage>, node: usize| async move {
        let cluster = stage.plan.cluster.as_ref().expect("it is a cluster");
        let clock = ClockPlan {
            drift_ppm: -cluster.nodes[node].clock.drift_ppm,
            ..cluster.nodes[node].clock.clone()
        };
        let disk = stage.nodes[node].disk.clone().expect("nodes have disks");
        let env = SimEnv::with_disk(Host::new(&clock), disk);
        let config = server_host::config(&stage, node);
        server_host::serve(&stage, node, env, config).await
    };
    let found = found_in(Profile::Cluster, 5, other_clock);
    assert_eq!(found.as_deref(), Some("stamps"));
}

/// A plan in which nothing goes wrong but that the leader dies, long after it began to lead and for
/// good, while callers come and go.
fn with_a_dead_leader(seed: u64) -> Option<ServicePlan> {
    let Plan::Cluster(mut plan) = generate(Profile::Cluster, seed) else {
        panic!("the profile draws its own plans");
    };
    plan.faults.clear();
    plan.hosts.iter_mut().for_each(|clock| clock.jumps.clear());
    let cluster = plan.cluster.as_mut()?;
    for node in &mut cluster.nodes {
        node.clock.jumps.clear();
    }
    if cluster.nodes.len() < 3 || cluster.election_timeout_ms > 300 || plan.http.is_empty() {
        return None;
    }
    let dies_ms = 60 * cluster.election_timeout_ms;
    cluster.faults = vec![ClusterFault {
        at_ms: dies_ms,
        for_ms: 100_000,
        kind: ClusterFaultKind::Crash { node: Who::Leader },
    }];
    let callers = u64::try_from(plan.http.len()).ok()?;
    for (attempt, place) in plan.http.iter_mut().zip(0..) {
        attempt.at_ms = dies_ms + place * dies_ms / callers;
    }
    plan.active_ms = plan.active_ms.max(2 * dies_ms);
    Some(plan)
}

/// The oracle that speaks first when the leader of a few worlds dies, and they have this server.
fn found_when_the_leader_dies<P>(
    program: impl Fn(Arc<Stage>, usize) -> P + Clone + 'static,
) -> Option<String>
where
    P: Future<Output = turmoil::Result> + 'static,
{
    let plans = (0..).filter_map(with_a_dead_leader).take(3);
    plans.into_iter().find_map(|plan| {
        let stage = Stage::new(plan, false);
        let mut elapsed = Duration::default();
        World::with_server(&stage, program.clone()).play(&mut elapsed);
        stage.finish().violation.map(|violation| violation.oracle)
    })
}

#[test]
fn a_cluster_whose_leader_dies_is_not_accused() {
    assert_eq!(found_when_the_leader_dies(server_host::run), None);
}

#[test]
fn a_cluster_that_is_slow_to_elect_another_leader_is_found() {
    let slow = |stage: Arc<Stage>, node: usize| async move {
        let mut config = server_host::config(&stage, node);
        let cluster = config.cluster.as_mut().expect("it is a cluster");
        cluster.election_timeout *= 8;
        cluster.node_timeout *= 8;
        let env = server_host::env(&stage, node);
        server_host::serve(&stage, node, env, config).await
    };
    let found = found_when_the_leader_dies(slow);
    assert_eq!(found.as_deref(), Some("failover"));
}

/// What `liveness` says of a cluster of three whose last node is of another cluster by its name, so
/// that it is never formed.
fn stall_of_a_cluster_that_is_not_formed() -> String {
    let program = |stage: Arc<Stage>, node: usize| async move {
        let mut config = server_host::config(&stage, node);
        if node == 2 {
            let cluster = config.cluster.as_mut().expect("it is a cluster");
            cluster.name = "another".to_owned();
        }
        let env = server_host::env(&stage, node);
        server_host::serve(&stage, node, env, config).await
    };
    let plan = (0..).find_map(|seed| match generate(Profile::Cluster, seed) {
        Plan::Cluster(plan) => {
            let cluster = plan.cluster.as_ref()?;
            let is_small = cluster.nodes.len() == 3 && cluster.operator.is_none();
            (is_small && !plan.http.is_empty()).then_some(plan)
        }
        _ => None,
    });
    let mut plan = plan.expect("most are like this");
    plan.faults.clear();
    let cluster = plan.cluster.as_mut().expect("it is a cluster");
    cluster.faults.clear();
    let stage = Stage::new(plan, false);
    let mut elapsed = Duration::default();
    World::with_server(&stage, program).play(&mut elapsed);
    let violation = stage.finish().violation.expect("nothing can be granted");
    assert_eq!(violation.oracle, "liveness");
    violation.message
}

#[test]
fn a_run_that_stalls_says_what_each_node_waits_for() {
    let message = stall_of_a_cluster_that_is_not_formed();
    let states: Vec<&str> = message.split(" | ").skip(1).collect();
    assert_eq!(states.len(), 3, "{message}");
    for (index, state) in states.iter().enumerate() {
        let begins = format!(
            "node{index} (node {}): its log is empty, and the cluster is not formed for ",
            index + 1
        );
        assert!(state.starts_with(&begins), "{state}");
    }
    let why =
        "node 3: node 3 refuses: it is of the cluster `lockwright`, and this node of `another`";
    assert!(states[0].contains(why), "{message}");
    let again = stall_of_a_cluster_that_is_not_formed();
    assert_eq!(message, again, "it is a function of the plan");
}
