use super::*;
use crate::{
    op::OpWait,
    oracle::service::{Wanted, calm},
    plan::{ClockJump, Way, Who},
};

const LEADER: Who = Who::Node(0);

/// When the leader's fault begins, in ms.
const AT: u64 = 100_000;

/// A plan with three nodes, whose first fault is this one, at [`AT`], for as long as all needs.
fn plan(kind: ClusterFaultKind) -> ServicePlan {
    let mut plan = (*calm::tests::plan(Vec::new())).clone();
    let node = serde_json::json!({
        "disk": {"sync_us_min": 1, "sync_us_max": 1_000, "snapshot_entries": 10},
    });
    let cluster = serde_json::from_value(serde_json::json!({
        "nodes": [node, node, node],
        "heartbeat_ms": 20, "election_timeout_ms": 60, "node_timeout_ms": 60,
    }));
    let mut cluster: ClusterPlan = cluster.unwrap();
    cluster.faults = vec![fault(AT, 10_000, kind)];
    plan.cluster = Some(cluster);
    plan
}

fn fault(at_ms: u64, for_ms: u64, kind: ClusterFaultKind) -> ClusterFault {
    ClusterFault {
        at_ms,
        for_ms,
        kind,
    }
}

fn crash() -> ServicePlan {
    plan(ClusterFaultKind::Crash { node: LEADER })
}

fn with(other: ClusterFault) -> ServicePlan {
    let mut plan = crash();
    plan.cluster.as_mut().unwrap().faults.push(other);
    plan
}

struct Story(Failover);

impl Story {
    /// Node 0 leads in term 1 for long.
    fn of(plan: ServicePlan) -> Story {
        let plan = Arc::new(plan);
        let mut story = Story(Failover::new(&plan, plan.cluster.as_ref().unwrap()));
        story.leads(1_000, 0, 1);
        story
    }

    /// And then its fault begins.
    fn begin(plan: ServicePlan) -> Story {
        let mut story = Story::of(plan);
        story.see(AT, &Happening::Struck { fault: 0, node: 0 });
        story
    }

    fn try_see(&mut self, ms: u64, happening: &Happening) -> Verdict {
        self.0.see(Duration::from_millis(ms), happening)
    }

    fn see(&mut self, ms: u64, happening: &Happening) {
        assert_eq!(self.try_see(ms, happening), Ok(()));
    }

    fn tries(&mut self, ms: u64, node: usize, term: u64) {
        let event = RaftEvent::Vote {
            term,
            node: u64::try_from(node).unwrap() + 1,
            is_committed: false,
        };
        self.see(ms, &Happening::Raft { node, event });
    }

    fn leads(&mut self, ms: u64, node: usize, term: u64) {
        for event in [
            RaftEvent::Leads { term },
            RaftEvent::Applies { index: term, term },
        ] {
            self.see(ms, &Happening::Raft { node, event });
        }
    }

    fn asks(&mut self, ms: u64, node: usize) {
        let asked = Happening::HttpAsked {
            id: "h1".into(),
            host: 0,
            node,
            since: Duration::from_millis(ms - 1),
            holder: "alice".into(),
            wanted: wanted(),
        };
        self.see(ms, &asked);
    }

    fn at(&mut self, ms: u64) -> Verdict {
        self.try_see(ms, &Happening::StoreUp { keys: 0 })
    }

    fn tried_by(&self) -> u64 {
        AT + self.0.bounds.first
    }
}

fn wanted() -> Wanted {
    Wanted {
        namespace: "default".into(),
        claims: Vec::new(),
        ttl: None,
        wait: OpWait::Forever,
    }
}

#[test]
fn nobody_who_leads_is_seen() {
    let taken_away = [
        ClusterFaultKind::Crash { node: LEADER },
        ClusterFaultKind::PowerLoss { node: Who::Leader },
        ClusterFaultKind::Pause { node: LEADER },
        ClusterFaultKind::Isolate {
            node: LEADER,
            to: true,
            from: true,
        },
    ];
    for kind in taken_away {
        let mut story = Story::begin(plan(kind));
        story.see(AT, &Happening::NodeDown { node: 0 });
        let until = story.tried_by();
        assert_eq!(story.at(until), Ok(()));
        let told = story.at(until + 1).unwrap_err();
        assert!(told.contains("none of them leads"), "{told}");
    }
}

#[test]
fn who_is_elected_and_applies_nothing_does_not_lead() {
    let mut story = Story::begin(crash());
    let event = RaftEvent::Leads { term: 2 };
    story.see(AT + 200, &Happening::Raft { node: 1, event });
    let late = story.tried_by() + 1;
    assert!(story.at(late).is_err());
    let mut story = Story::begin(crash());
    story.leads(AT + 200, 1, 2);
    let late = story.tried_by() + 1;
    assert_eq!(story.at(late), Ok(()));
}

#[test]
fn whoever_tries_leads_or_somebody_tries_again() {
    let mut story = Story::begin(crash());
    let again = story.0.bounds.again;
    let first = story.tried_by();
    story.tries(first, 1, 2);
    story.tries(first + again, 2, 3);
    assert_eq!(story.at(first + 2 * again), Ok(()));
    assert!(story.at(first + 2 * again + 1).is_err());
    // A vote for another, or in a term that is over, is no try.
    let mut story = Story::begin(crash());
    story.tries(first, 1, 1);
    let event = RaftEvent::Vote {
        term: 2,
        node: 2,
        is_committed: false,
    };
    story.see(first, &Happening::Raft { node: 2, event });
    assert!(story.at(first + 1).is_err());
}

#[test]
fn trying_for_ever_is_seen() {
    let mut story = Story::begin(crash());
    let again = story.0.bounds.again;
    let mut now = AT;
    for term in 2..TRIES + 5 {
        now += again / 4;
        story.tries(now, 1, term.into());
    }
    let told = story.at(now + again).unwrap_err();
    assert!(told.contains("12 have tried"), "{told}");
}

#[test]
fn the_bounds_are_far_below_that_of_healing() {
    let story = Story::of(crash());
    let healing = story.0.cluster().recovery_ms();
    let Bounds { first, again, .. } = story.0.bounds;
    assert!(3 * first < healing, "{first}, {healing}");
    assert!(3 * again < healing, "{again}, {healing}");
}

#[test]
fn anything_else_that_is_wrong_is_an_excuse() {
    let judged = |plan| {
        let mut story = Story::begin(plan);
        let late = story.tried_by() + 1;
        story.at(late).is_err()
    };
    assert!(judged(crash()));
    let way = |from, to| ClusterFaultKind::Cut {
        ways: vec![Way { from, to }],
    };
    let of_nodes = way(End::Node(1), End::Node(2));
    assert!(!judged(with(fault(AT + 300, 10, of_nodes.clone()))));
    assert!(!judged(with(fault(AT - 50, 10, of_nodes.clone()))));
    assert!(judged(with(fault(AT - 1_000, 10, of_nodes))));
    assert!(judged(with(fault(AT, 10, way(End::Host(1), End::Node(2))))));
    let node = Who::Leader;
    assert!(!judged(with(fault(
        AT + 300,
        1,
        ClusterFaultKind::Reset { node }
    ))));
    let short = |kind| {
        let mut short = plan(kind);
        short.cluster.as_mut().unwrap().faults[0].for_ms = 100;
        short
    };
    let node = LEADER;
    assert!(
        !judged(short(ClusterFaultKind::Pause { node })),
        "it leads on"
    );
    assert!(
        judged(short(ClusterFaultKind::Crash { node })),
        "it follows"
    );
    let mut leaps = crash();
    let clock = &mut leaps.cluster.as_mut().unwrap().nodes[2].clock;
    clock.jumps.push(ClockJump {
        at_ms: AT + 10,
        by_ms: 1,
    });
    assert!(!judged(leaps));
    let node = LEADER;
    assert!(!judged(plan(ClusterFaultKind::DiskFull { node })));
}

#[test]
fn a_fault_of_another_node_or_with_another_one_down_is_not_judged() {
    let mut story = Story::of(crash());
    story.see(AT, &Happening::Struck { fault: 0, node: 1 });
    let late = story.tried_by() + 1;
    assert_eq!(story.at(late), Ok(()));
    let mut story = Story::of(crash());
    story.see(AT - 10, &Happening::NodeDown { node: 2 });
    story.see(AT, &Happening::Struck { fault: 0, node: 0 });
    assert_eq!(story.at(late), Ok(()));
    let mut story = Story::begin(crash());
    story.see(AT + 1, &Happening::NodeDown { node: 2 });
    assert_eq!(story.at(late), Ok(()));
    // What else strikes the leader that is gone changes nothing for the others.
    let node = Who::Leader;
    let again = fault(AT + 50, 10, ClusterFaultKind::PowerLoss { node });
    let mut story = Story::begin(with(again));
    story.see(AT + 50, &Happening::Struck { fault: 1, node: 0 });
    assert!(story.at(late).is_err());
}

#[test]
fn a_request_that_is_not_heard_after_a_failover_is_seen() {
    let waits_at = |node| {
        let mut story = Story::begin(crash());
        story.asks(AT + 10, node);
        story.leads(AT + 200, 1, 2);
        story
    };
    let late = AT + 200 + waits_at(1).0.bounds.served + 1;
    let told = waits_at(2).at(late).unwrap_err();
    assert!(told.contains("not in the log"), "{told}");
    assert_eq!(waits_at(0).at(late), Ok(()));
    let mut heard = waits_at(2);
    let applied = Happening::HttpApplied {
        id: "h1".into(),
        holder: "alice".into(),
        wanted: wanted(),
    };
    heard.see(late - 1, &applied);
    assert_eq!(heard.at(late), Ok(()));
    let mut later = Story::begin(crash());
    later.leads(AT + 200, 1, 2);
    later.asks(AT + 300, 1);
    assert_eq!(later.at(late + 99), Ok(()));
    assert!(later.at(late + 101).is_err());
}

#[test]
fn what_was_asked_at_a_node_that_died_since_is_not_waited_for() {
    let late = |asks_again| {
        let mut story = Story::of(crash());
        story.asks(2_000, 2);
        story.see(2_100, &Happening::NodeDown { node: 2 });
        if asks_again {
            story.asks(2_200, 2);
        }
        story.see(AT, &Happening::Struck { fault: 0, node: 0 });
        story.leads(AT + 200, 1, 2);
        let served = story.0.bounds.served;
        story.at(AT + 200 + served + 1)
    };
    assert_eq!(late(false), Ok(()));
    assert!(late(true).is_err());
}

#[test]
fn a_caller_that_is_disturbed_is_not_waited_for() {
    let judged = |plan: ServicePlan| {
        let mut story = Story::begin(plan);
        story.asks(AT + 10, 2);
        story.leads(AT + 200, 1, 2);
        story.at(AT + 5_000).is_err()
    };
    assert!(judged(crash()));
    let mut cut = crash();
    cut.faults
        .push(calm::tests::fault(AT, 50, calm::tests::CUT));
    assert!(!judged(cut));
    let (a, b) = (End::Host(0), End::Node(2));
    assert!(!judged(with(fault(
        AT,
        50,
        ClusterFaultKind::Hold { a, b }
    ))));
    let b = End::Node(1);
    assert!(judged(with(fault(AT, 50, ClusterFaultKind::Hold { a, b }))));
}
