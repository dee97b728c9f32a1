//! Profile `cluster` as its users have it: what its plans cover, that they survive being written down,
//! and that the shipped servers and clients break no rule in them.

use lockwright_sim::plan::{
    self, ClusterFaultKind, ClusterPlan, End, Plan, Profile, RunOptions, ServicePlan, Who, generate,
};
use std::collections::BTreeSet;

fn cluster_plan(seed: u64) -> ServicePlan {
    match generate(Profile::Cluster, seed) {
        Plan::Cluster(plan) => plan,
        other => panic!("profile `cluster` drew {other:?}"),
    }
}

fn cluster(plan: &ServicePlan) -> &ClusterPlan {
    plan.cluster.as_ref().expect("the profile has nodes")
}

#[test]
fn every_kind_of_trouble_is_drawn() {
    let mut kinds = BTreeSet::new();
    let mut sizes = BTreeSet::new();
    let (mut undisturbed, mut leaders, mut jumps, mut http, mut to_hosts) = (0, 0, 0, 0, 0);
    for plan in (0..200).map(cluster_plan) {
        let cluster = cluster(&plan);
        sizes.insert(cluster.nodes.len());
        let faults = || cluster.faults.iter().map(|fault| &fault.kind);
        kinds.extend(faults().map(|kind| match kind {
            ClusterFaultKind::Cut { .. } => "cut".to_owned(),
            ClusterFaultKind::Hold { .. } => "hold".to_owned(),
            ClusterFaultKind::Slow { .. } => "slow".to_owned(),
            ClusterFaultKind::Isolate { to, from, .. } => format!("isolate {to} {from}"),
            ClusterFaultKind::DiskSlow { .. } => "slow disk".to_owned(),
            other => {
                let name = format!("{other:?}");
                name.split(' ').next().unwrap_or_default().to_owned()
            }
        }));
        undisturbed += usize::from(cluster.faults.is_empty());
        leaders += usize::from(faults().any(|kind| kind.who() == Some(Who::Leader)));
        jumps += usize::from(
            cluster
                .nodes
                .iter()
                .any(|node| !node.clock.jumps.is_empty()),
        );
        http += usize::from(!plan.http.is_empty());
        to_hosts += usize::from(faults().any(|kind| {
            matches!(kind, ClusterFaultKind::Cut { ways }
                if ways.iter().any(|way| matches!(way.from, End::Host(_))))
        }));
    }
    assert_eq!(sizes, BTreeSet::from([1, 3, 5]));
    // Three ways to isolate a node, and eleven others.
    assert_eq!(kinds.len(), 14, "{kinds:?}");
    for count in [undisturbed, leaders, jumps, http, to_hosts] {
        assert!(
            count >= 15,
            "one in a dozen plans has it, got {count} of 200"
        );
    }
}

/// Partitions of the shapes that clusters are known to break at.
#[test]
fn partitions_have_every_shape() {
    let mut shapes = BTreeSet::new();
    for plan in (0..300).map(cluster_plan) {
        let nodes = cluster(&plan).nodes.len();
        for fault in &cluster(&plan).faults {
            let ClusterFaultKind::Cut { ways } = &fault.kind else {
                continue;
            };
            let cut = |a: usize, b: usize| {
                let is_this = |from: End, to: End| from == End::Node(a) && to == End::Node(b);
                ways.iter().any(|way| is_this(way.from, way.to))
            };
            let alone = |node: usize| {
                let others = (0..nodes).filter(|other| *other != node);
                others.clone().count() > 0 && others.clone().all(|other| cut(node, other))
            };
            let bridge = |node: usize| {
                let others = || (0..nodes).filter(|other| *other != node);
                others().all(|other| !cut(node, other) && !cut(other, node))
                    && others().all(|a| others().all(|b| a == b || cut(a, b)))
            };
            let one_way = (0..nodes).any(|a| (0..nodes).any(|b| cut(a, b) && !cut(b, a)));
            if (0..nodes).any(alone) {
                shapes.insert("a node that nobody hears");
            }
            if nodes >= 3 && (0..nodes).any(bridge) {
                shapes.insert("all that are left hear only one: a bridge");
            }
            if one_way {
                shapes.insert("one direction only");
            }
        }
    }
    assert_eq!(shapes.len(), 3, "{shapes:?}");
}

#[test]
fn a_plan_comes_out_of_json_as_it_went_in() {
    for seed in 0..100 {
        let plan = generate(Profile::Cluster, seed);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}

#[test]
fn a_plan_of_another_profile_is_refused() {
    let Plan::Service(plan) = generate(Profile::Service, 1) else {
        panic!("profile `service` draws its own plans");
    };
    let text = serde_json::to_string(&Plan::Cluster(plan)).unwrap();
    assert!(serde_json::from_str::<Plan>(&text).is_err());
    for plan in [
        Plan::Service(cluster_plan(1)),
        Plan::Fencing(cluster_plan(1)),
    ] {
        let text = serde_json::to_string(&plan).unwrap();
        assert!(serde_json::from_str::<Plan>(&text).is_err());
    }
}

#[test]
fn no_rule_is_broken_and_everything_happens() {
    const SEEN: [&str; 8] = [
        "is told: granted",
        "is told: ended: expired",
        "is answered: granted with token",
        "Leads",
        "Truncated",
        "is down; its disk stays",
        "with which a leader begins, as all",
        "the server ends",
    ];
    let mut missing = BTreeSet::from(SEEN);
    for seed in 8..28 {
        let plan = generate(Profile::Cluster, seed);
        let keep = RunOptions { keep_history: true };
        let outcome = plan::run(&plan, keep);
        assert_eq!(outcome.violation, None, "seed {seed}");
        let history = outcome.history.unwrap();
        missing.retain(|what| !history.iter().any(|line| line.contains(what)));
    }
    assert!(missing.is_empty(), "never happened: {missing:?}");
}
