//! What a node says that it waits for, by what its parts have written down.

use super::*;
use lockwright_protocol::cluster::{NodeState, Waiting};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

/// Node 3 of a cluster of nodes 1 to 3, with a clock that is set by hand.
struct Node {
    notes: Notes,
    clock: Arc<AtomicU64>,
    facts: Facts,
}

impl Node {
    fn new() -> Node {
        let clock = Arc::new(AtomicU64::new(1_000));
        let notes = {
            let clock = clock.clone();
            Notes::new(move || Duration::from_millis(clock.load(Ordering::Relaxed)))
        };
        let facts = Facts {
            now: notes.now(),
            id: 3,
            is_alone: false,
            is_newcomer: false,
            may_elect: true,
            election_timeout: Duration::from_millis(400),
            stopped: None,
            term: 7,
            leader: None,
            is_candidate: false,
            voters: vec![BTreeSet::from([1, 2, 3])],
            members: BTreeSet::from([1, 2, 3]),
            last_entry: 0,
            applied: 0,
            matched: BTreeMap::new(),
            noted: notes.read(),
        };
        Node {
            notes,
            clock,
            facts,
        }
    }

    fn pass(&self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    fn tell(&self, way: Way, is_joined: bool) {
        self.notes.tell(Told {
            way,
            is_joined,
            oldest: None,
            knows_leader: way != Way::None,
        });
    }

    /// It follows node 1, which it hears of, and is welcome or not.
    fn follow(&mut self, is_welcome: bool, is_joined: bool) {
        self.facts.leader = Some(1);
        let leader = 1;
        self.tell(Way::Following { leader, is_welcome }, is_joined);
        self.hear(0);
    }

    fn hear(&self, committed: u64) {
        self.notes.heard(1, committed, self.facts.applied);
    }

    fn state(&mut self) -> NodeState {
        self.facts.now = self.notes.now();
        self.facts.noted = self.notes.read();
        self.facts.state()
    }

    fn waits(&mut self, reason: Waiting, for_ms: u64, parts: &[&str]) {
        let state = self.state();
        assert_eq!(state.reason, Some(reason), "{state:?}");
        assert!(!state.ready);
        assert_eq!(state.for_ms, for_ms, "{state:?}");
        for part in parts {
            assert!(state.text.contains(part), "{part}: {}", state.text);
        }
    }

    fn serves(&mut self) -> NodeState {
        let state = self.state();
        assert!(state.ready && state.reason.is_none(), "{state:?}");
        state
    }
}

#[test]
fn a_node_that_follows_and_has_joined_serves_and_each_loss_is_told_and_ends() {
    let mut node = Node::new();
    node.pass(200);
    node.waits(Waiting::NoLeader, 200, &["knows of no leader", "term 7"]);
    node.follow(true, true);
    node.pass(300);
    let state = node.serves();
    assert_eq!((state.for_ms, state.behind), (300, 0));
    assert_eq!(state.text, "serves: follows node 1 in term 7");
    // The leader is silent: named as before, and not heard of.
    node.pass(100);
    node.waits(
        Waiting::NoLeader,
        400,
        &["takes node 1 for the leader of term 7, and has not heard of it for 400 ms"],
    );
    node.hear(0);
    node.serves();
    // Its link breaks.
    node.notes.link_asked(1);
    node.notes.link_opened(1);
    node.notes.link_failed(1, &"broken pipe");
    node.follow(false, true);
    node.pass(150);
    let parts = [
        "its link to it is not open",
        "ended 150 ms ago: broken pipe",
    ];
    node.waits(Waiting::LinkDown, 150, &parts);
    node.notes.link_opened(1);
    node.waits(
        Waiting::NotWelcome,
        150,
        &["does not take its proposals yet"],
    );
    node.follow(true, true);
    node.serves();
    // Its life is over, and another one has to begin.
    node.follow(true, false);
    node.pass(50);
    node.waits(Waiting::NotJoined, 50, &["has not joined for 50 ms"]);
    node.follow(true, true);
    assert_eq!(node.serves().for_ms, 0);
}

#[test]
fn a_rebuilt_node_says_how_far_behind_it_is_and_since_when() {
    let mut node = Node::new();
    node.facts.is_newcomer = true;
    node.facts.may_elect = false;
    node.facts.voters = vec![BTreeSet::from([1, 2])];
    node.facts.members.clear();
    node.waits(Waiting::NotMember, 0, &["waits to be added"]);
    node.facts.members = BTreeSet::from([1, 2, 3]);
    node.follow(true, false);
    node.facts.applied = 12;
    node.facts.last_entry = 20;
    node.hear(900);
    node.pass(36_000);
    node.hear(948);
    node.waits(
        Waiting::VoteGate,
        36_000,
        &[
            "behind by 936 entries for 36 s: 12 of 948 applied, its log ends at 20",
            "is a learner",
            "takes no part in elections before it has joined",
        ],
    );
    assert_eq!(node.state().behind, 936);
    // It goes on: what it waits for is an entry that it has heard of later.
    node.facts.applied = 900;
    node.pass(100);
    node.hear(950);
    node.pass(100);
    let text = node.state().text;
    assert!(text.contains("behind by 50 entries for 100 ms"), "{text}");
    node.facts.applied = 950;
    node.hear(950);
    assert_eq!(node.state().behind, 0);
    assert!(!node.state().text.contains("behind"));
    node.facts.may_elect = true;
    node.follow(true, true);
    let text = node.serves().text;
    assert_eq!(text, "serves: follows node 1 in term 7; is a learner");
}

#[test]
fn a_leader_without_a_majority_does_not_serve() {
    let mut node = Node::new();
    node.facts.leader = Some(3);
    node.facts.last_entry = 9;
    node.facts.matched = BTreeMap::from([(1, Some(9)), (2, None)]);
    node.notes.answered(1);
    node.tell(Way::Preparing, true);
    node.pass(20);
    node.waits(Waiting::Preparing, 20, &["begins is not applied"]);
    node.tell(Way::Leading, true);
    let parts = [
        "serves: leads in term 7",
        "node 2: is not known to have any",
    ];
    let text = node.serves().text;
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    node.notes.asks(1);
    node.pass(1_600);
    node.notes.failed(2, &"connection refused");
    node.waits(
        Waiting::NoMajority,
        1_620,
        &[
            "hears of no majority",
            "node 1: has entry 9 of 9, asked 1600 ms ago, answered 1620 ms ago",
            "node 2: is not known to have any entry, failed 0 ms ago: connection refused, \
             never answered",
        ],
    );
    // One of two others is enough, and of both sets while they change.
    node.notes.answered(2);
    node.serves();
    node.facts.voters.push(BTreeSet::from([3, 4]));
    // Node 4 has never answered: it counts from when this node began to serve.
    node.waits(Waiting::NoMajority, 1_600, &[]);
    node.notes.answered(4);
    node.serves();
}

#[test]
fn a_node_is_up_while_it_is_heard_of_and_down_when_it_is_missed() {
    let node = Node::new();
    let patience = Duration::from_millis(400);
    let is = |id: u64, up: Option<bool>, heard_ms: Option<u64>| {
        let sign = node.notes.read().sign_of(id, patience, node.notes.now());
        assert_eq!(sign, Sign { up, heard_ms }, "node {id}");
    };
    is(1, None, None);
    node.notes.heard(1, 0, 0);
    node.notes.asks(2);
    node.pass(399);
    is(1, Some(true), Some(399));
    is(2, None, None);
    node.pass(1);
    is(1, Some(false), Some(400));
    is(2, Some(false), None);
    node.notes.answered(2);
    is(2, Some(true), Some(0));
    node.pass(400);
    // It is not asked any more.
    is(2, None, Some(400));
    node.notes.failed(2, &"connection refused");
    is(2, Some(false), Some(400));
    node.notes.answered(1);
    is(1, Some(true), Some(0));
}

#[test]
fn a_snapshot_is_told_until_it_is_installed_or_given_up() {
    let mut node = Node::new();
    node.follow(true, false);
    let former = node.notes.snapshot(10);
    let receiving = node.notes.snapshot(300);
    receiving.has(100);
    former.has(9);
    drop(former);
    node.pass(70);
    node.waits(Waiting::Snapshot, 70, &["for 70 ms: 100 of 300 bytes"]);
    receiving.installs();
    node.pass(30);
    node.waits(Waiting::Snapshot, 30, &["installs a snapshot of 300 bytes"]);
    drop(receiving);
    node.waits(Waiting::NotJoined, 100, &[]);
}

#[test]
fn an_election_is_told_with_what_each_node_answered() {
    let mut node = Node::new();
    node.facts.is_candidate = true;
    node.notes.asks(1);
    node.notes.answered(1);
    node.notes.voted(1, "refused its vote".to_owned());
    node.notes.failed(2, &"timed out");
    node.pass(500);
    node.waits(
        Waiting::NoLeader,
        500,
        &[
            "stands for election",
            "node 1: refused its vote 500 ms ago, answered 500 ms ago",
            "node 2: failed 500 ms ago: timed out, never answered",
        ],
    );
}

#[test]
fn a_cluster_that_is_not_formed_says_which_member_does_not_answer() {
    let mut node = Node::new();
    node.facts.members.clear();
    node.notes
        .unformed(Some((2, "connection refused".to_owned())));
    node.pass(12_000);
    let text = "the cluster is not formed for 12 s: node 2: connection refused";
    node.waits(Waiting::NotFormed, 12_000, &[text]);
    node.notes.unformed(None);
    assert!(!node.state().text.contains("refused"));
}

#[test]
fn a_node_that_was_removed_or_has_ended_says_so() {
    let mut node = Node::new();
    node.follow(true, true);
    node.serves();
    node.facts.members = BTreeSet::from([1, 2]);
    node.follow(false, true);
    node.pass(10);
    node.waits(Waiting::NotMember, 10, &["(removed, or not added yet)"]);
    node.facts.stopped = Some("the disk is full".to_owned());
    node.waits(Waiting::Stopped, 10, &["has ended: the disk is full"]);
}

#[test]
fn a_proposal_that_waits_for_long_is_told() {
    let mut node = Node::new();
    node.follow(true, true);
    let now = node.notes.now();
    let told = Told {
        way: Way::Following {
            leader: 1,
            is_welcome: true,
        },
        is_joined: true,
        oldest: Some(now),
        knows_leader: true,
    };
    node.notes.tell(told);
    node.pass(799);
    node.hear(0);
    node.serves();
    node.pass(1);
    node.waits(Waiting::NothingAgreed, 800, &["not agreed on for 800 ms"]);
    let oldest = None;
    node.notes.tell(Told { oldest, ..told });
    node.serves();
}

#[test]
fn a_server_that_is_alone_waits_for_nothing_but_its_own_life() {
    let mut node = Node::new();
    node.facts.is_alone = true;
    node.facts.election_timeout = Duration::ZERO;
    assert_eq!(node.state().reason, Some(Waiting::NotJoined));
    node.tell(Way::Leading, true);
    assert_eq!(node.serves().text, "serves: leads in term 7");
}
