//! Profile `cluster` as its users have it: what its plans cover, that they survive being written down,
//! and that the shipped servers and clients break no rule in them.

use lockwright_sim::plan::{
    self, ClusterFaultKind, ClusterPlan, End, OperatorDeed, OperatorPlan, OperatorStep, Plan,
    Profile, RunOptions, ServicePlan, Who, generate,
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
    let (mut watched, mut breakers, mut slow_ends) = (0, 0, 0);
    for plan in (0..200).map(cluster_plan) {
        let cluster = cluster(&plan);
        sizes.insert(cluster.founders());
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
        watched += usize::from(!plan.watchers.is_empty());
        breakers += usize::from(!plan.breakers.is_empty());
        slow_ends += usize::from(plan.server.limits.session_ends_per_ms.is_some());
        to_hosts += usize::from(faults().any(|kind| {
            matches!(kind, ClusterFaultKind::Cut { ways }
                if ways.iter().any(|way| matches!(way.from, End::Host(_))))
        }));
    }
    assert_eq!(sizes, BTreeSet::from([1, 3, 5]));
    // Three ways to isolate a node, and eleven others.
    assert_eq!(kinds.len(), 14, "{kinds:?}");
    assert!(watched >= 110, "two of three have watchers, got {watched}");
    assert!(breakers >= 45, "one of three has breakers, got {breakers}");
    for count in [undisturbed, leaders, jumps, http, to_hosts, slow_ends] {
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
    const SEEN: [&str; 9] = [
        " is told that ",
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
        // The hunts go on from here, optimized.
        if missing.is_empty() {
            break;
        }
    }
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

#[test]
fn operators_of_every_kind_are_drawn() {
    let (mut operators, mut grow, mut shrink) = (0, 0, 0);
    let mut deeds = [0; 4];
    for plan in (0..300).map(cluster_plan) {
        let Some(operator) = &cluster(&plan).operator else {
            continue;
        };
        operators += 1;
        let of = |deed: &OperatorDeed| match deed {
            OperatorDeed::Transfer { .. } => 0,
            OperatorDeed::Remove { .. } => 1,
            OperatorDeed::Add { .. } => 2,
            OperatorDeed::Rebuild { .. } => 3,
        };
        let mut here = [0; 4];
        for step in &operator.steps {
            here[of(&step.deed)] += 1;
        }
        let (founders, all) = (cluster(&plan).founders(), plan.nodes());
        grow += usize::from((founders, all) == (3, 5) && here[2] >= 2);
        shrink += usize::from(founders == 5 && here[1] >= 2);
        for (all, here) in deeds.iter_mut().zip(here) {
            *all += usize::from(here > 0);
        }
    }
    assert!(
        (80..=120).contains(&operators),
        "a third, got {operators} of 300"
    );
    assert!(deeds.iter().all(|count| *count >= 20), "{deeds:?}");
    assert!(grow >= 5 && shrink >= 5, "{grow} grow, {shrink} shrink");
}

/// A plan without faults, of so many nodes, of which the last ones wait to be added.
fn operated(seed: u64, nodes: usize, newcomers: usize, deeds: &[OperatorDeed]) -> Plan {
    let mut plan = (seed..)
        .map(cluster_plan)
        .find(|plan| plan.nodes() >= 3)
        .expect("most have");
    plan.faults.clear();
    let from = plan.active_ms / 2;
    let cluster = plan.cluster.as_mut().expect("the profile has nodes");
    cluster.faults.clear();
    let one = cluster.nodes[0].clone();
    cluster.nodes.resize(nodes, one);
    let step = |deed: &OperatorDeed| OperatorStep {
        at_ms: from,
        for_ms: 60_000,
        deed: *deed,
    };
    cluster.operator = Some(OperatorPlan {
        host: 0,
        newcomers,
        steps: deeds.iter().map(step).collect(),
    });
    for reader in &mut cluster.readers {
        reader.node = 0;
    }
    Plan::Cluster(plan)
}

/// The history of a plan in which no rule is broken and every step of the operator is done.
fn done(plan: &Plan) -> Vec<String> {
    let outcome = plan::run(plan, RunOptions { keep_history: true });
    assert_eq!(outcome.violation, None);
    let history = outcome.history.expect("it is kept");
    let Plan::Cluster(plan) = plan else {
        panic!("it is of profile `cluster`")
    };
    let operator = cluster(plan).operator.as_ref().expect("there is one");
    for number in 0..operator.steps.len() {
        let line = format!("the operator's step {number} is done");
        assert!(history.iter().any(|one| one.contains(&line)), "{line}");
    }
    history
}

/// Where something happens in a history, from a place on.
fn place(history: &[String], from: usize, what: &str) -> usize {
    let found = history[from..].iter().position(|line| line.contains(what));
    from + found.unwrap_or_else(|| panic!("`{what}` never happens"))
}

#[test]
fn a_transfer_moves_the_lead_to_each_node() {
    let nodes = [0, 1, 2, 0];
    let deeds = nodes.map(|node| OperatorDeed::Transfer { node });
    let history = done(&operated(1, 3, 0, &deeds));
    for (number, node) in nodes.iter().enumerate() {
        let over = format!("the operator's step {number} is done");
        let until = place(&history, 0, &over);
        let led = history[..until]
            .iter()
            .rev()
            .find(|line| line.contains("Leads"));
        let led = led.expect("somebody leads");
        assert!(
            led.contains(&format!("node {node}: ")),
            "{led}, then {over}"
        );
    }
}

#[test]
fn a_node_that_was_rebuilt_votes_and_leads() {
    let deeds = [
        OperatorDeed::Rebuild { node: 2 },
        // Of two nodes it takes both to agree on anything.
        OperatorDeed::Remove {
            node: 0,
            linger_ms: 0,
        },
        OperatorDeed::Transfer { node: 2 },
    ];
    let history = done(&operated(3, 3, 0, &deeds));
    let empty = place(&history, 0, "node 2 has an empty disk");
    let votes = place(&history, empty, "node 2: Vote");
    place(&history, votes, "node 2: Leads");
}

#[test]
fn a_cluster_grows_from_one_node_to_five_and_shrinks_to_others() {
    let mut deeds: Vec<OperatorDeed> = (1..5).map(|node| OperatorDeed::Add { node }).collect();
    deeds.extend((0..3).map(|node| OperatorDeed::Remove { node, linger_ms: 7 }));
    deeds.push(OperatorDeed::Add { node: 1 });
    let history = done(&operated(5, 5, 4, &deeds));
    let five = place(&history, 0, "done; ids 1 2 3 4 5");
    let two = place(&history, five, "done; ids 4 5");
    place(&history, two, "done; ids 2 4 5");
}

#[test]
fn operators_get_done_what_they_want_under_faults() {
    let mut done = [0; 4];
    let names = ["let node", "remove node", "add node", "rebuild node"];
    let operated = (0..).filter(|seed| cluster(&cluster_plan(*seed)).operator.is_some());
    for seed in operated.take(12) {
        let plan = generate(Profile::Cluster, seed);
        let outcome = plan::run(&plan, RunOptions { keep_history: true });
        assert_eq!(outcome.violation, None, "seed {seed}");
        for line in outcome.history.expect("it is kept") {
            let step = line.split_once(" is done: ").map(|(_, what)| what);
            for (count, name) in done.iter_mut().zip(names) {
                *count += usize::from(step.is_some_and(|step| step.starts_with(name)));
            }
        }
        // The hunts go on from here, optimized.
        if done.iter().all(|count| *count >= 2) {
            break;
        }
    }
    assert!(
        done.iter().all(|count| *count >= 2),
        "{done:?} of {names:?}"
    );
}
