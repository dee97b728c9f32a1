//! Who is granted, and when (SEMANTICS section 2).

use crate::common::*;
use lockwright_engine::*;

#[test]
fn a_subtree_is_locked_with_its_root() {
    let mut world = World::new();
    assert_eq!(world.wants(0, "L1", "w a"), ["0 granted L1 1"]);
    assert_eq!(world.wants(0, "L2", "w a/b/c"), ["0 queued L2"]);
    assert_eq!(world.wants(0, "L3", "w ab"), ["0 granted L3 2"]);
    assert_eq!(world.release(1, "L1"), ["1 released L1", "1 granted L2 3"]);
    assert_eq!(world.wants(1, "L4", "r /"), ["1 queued L4"]);
}

#[test]
fn reader_does_not_pass_queued_writer() {
    let mut world = World::new();
    world.wants(0, "L1", "r a");
    assert_eq!(world.wants(0, "L2", "w a"), ["0 queued L2"]);
    assert_eq!(world.wants(0, "L3", "r a"), ["0 queued L3"]);
    assert_eq!(world.release(1, "L1"), ["1 released L1", "1 granted L2 2"]);
    assert_eq!(world.release(2, "L2"), ["2 released L2", "2 granted L3 3"]);
}

#[test]
fn a_request_waits_for_nothing_that_it_does_not_conflict_with() {
    let mut world = World::new();
    world.wants(0, "L1", "w a/1");
    assert_eq!(world.wants(0, "L2", "r a"), ["0 queued L2"]);
    assert_eq!(world.wants(0, "L3", "r a/2"), ["0 granted L3 2"]);
    let mut world = World::new();
    world.wants(0, "L1", "r a/1");
    world.wants(0, "L2", "w a/2");
    assert_eq!(world.wants(0, "L3", "r a"), ["0 queued L3"]);
    assert_eq!(world.release(1, "L2"), ["1 released L2", "1 granted L3 3"]);
}

#[test]
fn a_cancelled_waiter_holds_nobody_back() {
    let mut world = World::new();
    world.wants(0, "A", "r q");
    world.wants(0, "B", "w q");
    world.wants(0, "C", "r q");
    assert_eq!(world.cancel(1, "B"), ["1 cancelled B", "1 granted C 2"]);
    assert_eq!(world.cancel(1, "C"), ["1 not_queued"]);
    assert_eq!(world.cancel(1, "D"), ["1 unknown_lock"]);
}

#[test]
fn a_group_is_granted_whole_or_not_at_all() {
    let mut world = World::new();
    world.wants(0, "L1", "w a");
    world.wants(0, "L2", "w b");
    assert_eq!(world.wants(0, "L3", "w a, w b, r c"), ["0 queued L3"]);
    assert_eq!(world.wants(0, "L4", "w c"), ["0 queued L4"]);
    assert_eq!(world.release(1, "L1"), ["1 released L1"]);
    assert_eq!(world.release(2, "L2"), ["2 released L2", "2 granted L3 3"]);
    assert_eq!(world.release(3, "L3"), ["3 released L3", "3 granted L4 4"]);
}

#[test]
fn claims_of_one_request_never_conflict_with_each_other() {
    let mut world = World::new();
    world.wants(0, "L1", "r a, w a/b, w a/b, r a/b/c, r /");
    let held = world.engine.lock(&key("L1")).unwrap();
    assert_eq!(held.claims, claims("r /, w a/b"));
    world.release(0, "L1");
    world.wants(0, "L2", "w x/y, w x, r x/y/z, r x");
    assert_eq!(world.engine.lock(&key("L2")).unwrap().claims, claims("w x"));
    world.release(0, "L2");
    assert_eq!(world.engine.usage().nodes, 0);
}

#[test]
fn a_refused_request_leaves_no_trace_and_takes_no_token() {
    let mut world = World::new();
    world.wants(0, "L1", "w a");
    let before = world.engine.clone();
    assert_eq!(
        world.apply(0, &acquire("L2", "w a/b, w c", None, Wait::No)),
        ["0 busy"]
    );
    assert_eq!(
        world.apply(0, &acquire("L2", "w a", None, Wait::For(span(0)))),
        ["0 busy"]
    );
    assert!(world.engine == before);
    assert_eq!(world.wants(0, "L2", "w c"), ["0 granted L2 2"]);
}

#[test]
fn a_writer_of_the_whole_namespace_waits_for_all_and_holds_all_back() {
    let mut world = World::new();
    world.wants(0, "L1", "r a/b/c");
    world.wants(0, "L2", "r d");
    assert_eq!(world.wants(0, "L3", "w /"), ["0 queued L3"]);
    assert_eq!(world.wants(0, "L4", "r e"), ["0 queued L4"]);
    world.release(1, "L2");
    assert_eq!(world.release(2, "L1"), ["2 released L1", "2 granted L3 3"]);
    assert_eq!(world.release(3, "L3"), ["3 released L3", "3 granted L4 4"]);
}

#[test]
fn a_repeated_id_is_answered_with_the_state_of_the_first() {
    let mut world = World::new();
    world.wants(0, "L1", "w a");
    assert!(world.leases(5, "L1", "w a", 7).is_empty());
    let mut events = Vec::new();
    let again = world
        .engine
        .apply(ms(6), &acquire("L1", "w a", None, Wait::No), &mut events);
    let state = LockState::Held {
        token: Token(1),
        granted_at: ms(0),
        expires: None,
    };
    assert_eq!(
        again,
        Ok(Reply::Acquired {
            state,
            fresh: false
        })
    );
    world.release(10, "L1");
    assert!(world.wants(60_009, "L1", "w a").is_empty());
    assert_eq!(world.wants(60_010, "L1", "w a"), ["60010 granted L1 2"]);
}

#[test]
fn breaking_is_guarded_by_a_token_when_one_is_given() {
    let mut world = World::new();
    world.wants(0, "L1", "w a");
    world.wants(0, "L2", "w a");
    world.wants(0, "L3", "w a");
    let break_lock = |id, token: Option<u64>| Command::Break {
        lock: key(id),
        token: token.map(Token),
    };
    assert_eq!(
        world.apply(1, &break_lock("L1", Some(9))),
        ["1 stale_token"]
    );
    assert_eq!(
        world.apply(1, &break_lock("L2", Some(9))),
        ["1 stale_token"]
    );
    assert_eq!(world.apply(1, &break_lock("L2", None)), ["1 broken L2"]);
    assert_eq!(
        world.apply(1, &break_lock("L1", Some(1))),
        ["1 broken L1", "1 granted L3 2"]
    );
    assert_eq!(world.apply(1, &break_lock("L1", None)), ["1 not_held"]);
    assert_eq!(
        world.apply(1, &break_lock("nobody", None)),
        ["1 unknown_lock"]
    );
}

#[test]
fn every_limit_refuses_by_name_and_changes_nothing() {
    let limits = Limits {
        claims_per_request: 2,
        segments_per_path: 3,
        bytes_per_segment: 4,
        queued_requests_per_path: 1,
        locks_per_owner: 3,
        sessions: 1,
        namespaces: 1,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    world.open(0, "s1", 10);
    world.wants(0, "L1", "w a");
    world.wants(0, "L2", "w a");
    let before = world.engine.clone();
    let mut refused = |command: &Command| {
        let refusal = world
            .engine
            .apply(ms(0), command, &mut Vec::new())
            .unwrap_err();
        assert!(world.engine == before);
        match refusal {
            Refusal::LimitExceeded { limit, .. } => limit,
            other => panic!("{other}"),
        }
    };
    let wants = |id, wanted| acquire(id, wanted, None, Wait::Forever);
    assert_eq!(
        refused(&wants("L3", "r a, r a, r a")),
        LimitName::ClaimsPerRequest
    );
    assert_eq!(
        refused(&wants("L3", "r a/b/c/d")),
        LimitName::SegmentsPerPath
    );
    assert_eq!(refused(&wants("L3", "r abcde")), LimitName::BytesPerSegment);
    assert_eq!(
        refused(&wants("L3", "r a")),
        LimitName::QueuedRequestsPerPath
    );
    let open = Command::OpenSession {
        session: session("s2"),
        abandon: span(1),
    };
    assert_eq!(refused(&open), LimitName::Sessions);
    let mut elsewhere = key("L3");
    elsewhere.namespace = name("other");
    let elsewhere = Command::Acquire {
        lock: elsewhere,
        claims: claims("r a"),
        ttl: None,
        wait: Wait::Forever,
    };
    assert_eq!(refused(&elsewhere), LimitName::Namespaces);
    world.wants(0, "L3", "w b");
    let refusal = world
        .engine
        .apply(ms(0), &wants("L4", "w c"), &mut Vec::new());
    let limit = LimitName::LocksPerOwner;
    assert_eq!(
        refusal,
        Err(Refusal::LimitExceeded {
            limit,
            max: 3,
            got: 4
        })
    );
}
