//! Leases, deadlines, sessions (SEMANTICS sections 3 and 4).

use crate::common::*;
use lockwright_engine::*;

#[test]
fn a_lease_ends_at_its_end_and_not_before() {
    let mut world = World::new();
    world.leases(0, "L1", "w a", 1000);
    world.wants(0, "L2", "w a");
    assert!(world.tick(999).is_empty());
    assert_eq!(world.engine.next_deadline(), Some(ms(1000)));
    assert_eq!(
        world.release(1000, "L1"),
        ["1000 expired L1", "1000 granted L2 2", "1000 not_held"]
    );
    assert_eq!(world.engine.next_deadline(), None);
}

#[test]
fn a_lease_is_counted_from_the_grant() {
    let mut world = World::new();
    world.wants(0, "L1", "w a");
    world.leases(0, "L2", "w a", 10);
    world.release(500, "L1");
    assert!(world.tick(509).is_empty());
    assert_eq!(world.tick(600), ["510 expired L2"]);
}

#[test]
fn how_often_the_engine_is_told_the_time_changes_nothing() {
    let run = |ticks: &[u64]| {
        let mut world = World::new();
        world.leases(0, "L1", "w a", 10);
        world.leases(0, "L2", "w a", 10);
        world.apply(0, &acquire("L3", "w a", None, Wait::For(span(15))));
        let mut told = Vec::new();
        for at in ticks {
            told.extend(world.tick(*at));
        }
        (told, world.engine)
    };
    let (once, engine) = run(&[100]);
    let (often, same) = run(&[1, 10, 11, 15, 20, 50, 100]);
    assert_eq!(
        once,
        [
            "10 expired L1",
            "10 granted L2 2",
            "15 timed_out L3",
            "20 expired L2"
        ]
    );
    assert_eq!(once, often);
    assert!(engine == same);
}

#[test]
fn the_grant_comes_first_when_the_holder_is_the_earlier_to_arrive() {
    let mut world = World::new();
    world.leases(0, "L1", "w a", 10);
    world.apply(0, &acquire("L2", "w a", None, Wait::For(span(10))));
    assert_eq!(world.tick(10), ["10 expired L1", "10 granted L2 2"]);
    assert!(world.tick(1000).is_empty());
}

#[test]
fn renewal_needs_the_token_and_moves_the_end() {
    let mut world = World::new();
    world.leases(0, "L1", "w a", 10);
    let renew = |token, ttl| Command::Renew {
        lock: key("L1"),
        token: Token(token),
        ttl: span(ttl),
    };
    assert_eq!(world.apply(9, &renew(2, 50)), ["9 stale_token"]);
    assert_eq!(world.apply(9, &renew(1, 0)), ["9 invalid_request"]);
    assert_eq!(world.apply(9, &renew(1, 50)), ["9 renewed L1 59"]);
    assert_eq!(world.apply(58, &renew(1, 1)), ["58 renewed L1 59"]);
    assert_eq!(
        world.apply(59, &renew(1, 50)),
        ["59 expired L1", "59 not_held"]
    );
}

#[test]
fn renewal_gives_a_lease_to_a_lock_without_one() {
    let mut world = World::new();
    world.wants(0, "L1", "w a");
    let renew = Command::Renew {
        lock: key("L1"),
        token: Token(1),
        ttl: span(5),
    };
    assert_eq!(world.apply(3, &renew), ["3 renewed L1 8"]);
    assert_eq!(world.tick(8), ["8 expired L1"]);
}

#[test]
fn time_never_goes_back() {
    let mut world = World::new();
    world.tick(100);
    world.leases(50, "L1", "w a", 10);
    assert_eq!(world.engine.now(), ms(100));
    assert!(world.tick(109).is_empty());
    assert_eq!(world.tick(110), ["110 expired L1"]);
}

#[test]
fn a_sessions_end_ends_all_that_it_has_before_others_are_granted() {
    let mut world = World::new();
    world.open(0, "s1", 10);
    world.wants(0, "s1:L1", "w a");
    world.wants(0, "L2", "w a");
    world.wants(0, "s1:L3", "w a");
    world.wants(0, "L4", "w a");
    let detach = Command::Detach {
        session: session("s1"),
    };
    assert_eq!(world.apply(1, &detach), ["1 session s1 detached"]);
    assert_eq!(world.apply(5, &detach), ["5 session s1 detached"]);
    assert!(world.tick(10).is_empty());
    let told = world.tick(11);
    assert_eq!(
        told,
        [
            "11 session_ended L1",
            "11 session_ended L3",
            "11 session s1 ended",
            "11 granted L2 2"
        ]
    );
    assert_eq!(world.wants(12, "s1:L5", "r z"), ["12 unknown_session"]);
}

#[test]
fn a_return_or_a_sign_of_life_keeps_a_session() {
    let mut world = World::new();
    world.open(0, "s1", 10);
    let command = |of: fn(SessionKey) -> Command| of(session("s1"));
    world.apply(0, &command(|session| Command::Detach { session }));
    world.apply(9, &command(|session| Command::KeepAlive { session }));
    assert!(world.tick(18).is_empty());
    world.apply(18, &command(|session| Command::Attach { session }));
    assert!(world.tick(1000).is_empty());
    world.apply(1000, &command(|session| Command::Detach { session }));
    assert_eq!(world.tick(1010), ["1010 session s1 ended"]);
    assert_eq!(world.open(1011, "s1", 10), ["1011 session s1 open"]);
    assert_eq!(world.open(1011, "s1", 10), ["1011 invalid_request"]);
}

#[test]
fn an_abandon_timeout_of_zero_ends_with_the_connection() {
    let mut world = World::new();
    world.open(0, "s1", 0);
    world.wants(0, "s1:L1", "w a");
    let told = world.apply(
        7,
        &Command::Detach {
            session: session("s1"),
        },
    );
    assert_eq!(
        told,
        [
            "7 session s1 detached",
            "7 session_ended L1",
            "7 session s1 ended"
        ]
    );
}

#[test]
fn at_equal_times_sessions_end_after_leases() {
    let mut world = World::new();
    world.open(0, "s1", 10);
    world.wants(0, "s1:L1", "w a");
    world.apply(
        0,
        &Command::Detach {
            session: session("s1"),
        },
    );
    world.leases(0, "L2", "w b", 10);
    assert_eq!(
        world.tick(10),
        [
            "10 expired L2",
            "10 session_ended L1",
            "10 session s1 ended"
        ]
    );
}

#[test]
fn a_sessions_requests_are_remembered_while_it_lives() {
    let mut world = World::new();
    world.open(0, "s1", 10);
    world.wants(0, "s1:L1", "w a");
    world.release(1, "s1:L1");
    assert!(world.wants(1_000_000, "s1:L1", "w a").is_empty());
    assert_eq!(world.engine.usage().remembered_requests, 1);
    world.apply(
        1_000_001,
        &Command::CloseSession {
            session: session("s1"),
        },
    );
    assert!(world.engine.usage().is_zero());
}

/// What `s1` says of requests that it will not ask for again.
fn done(ids: &[&str]) -> Command {
    Command::Done {
        session: session("s1"),
        ids: ids.iter().map(|id| name(id)).collect(),
    }
}

#[test]
fn what_a_session_is_done_with_is_forgotten_at_once() {
    let mut world = World::new();
    world.open(0, "s1", 10);
    world.open(0, "s2", 10);
    for id in ["s1:L1", "s1:L2", "s1:L3", "s2:L1"] {
        world.wants(0, id, "w a");
        world.release(1, id);
    }
    // Two by the retention, one beyond it, one that is named twice, and one that never was.
    assert!(world.apply(2, &done(&["L1", "L9", "L1"])).is_empty());
    assert!(world.apply(1_000_000, &done(&["L3"])).is_empty());
    world.engine.check();
    assert_eq!(world.engine.usage().remembered_requests, 2);
    assert!(world.engine.lock(&key("s1:L1")).is_none());
    assert!(world.engine.lock(&key("s1:L2")).is_some());
    assert!(world.engine.lock(&key("s1:L3")).is_none());
    assert!(
        world.engine.lock(&key("s2:L1")).is_some(),
        "another session's"
    );
    // Again, as after a lost answer; and the ids are free.
    assert!(world.apply(1_000_000, &done(&["L1", "L3"])).is_empty());
    assert_eq!(
        world.wants(1_000_001, "s1:L1", "w b"),
        ["1000001 granted L1 5"]
    );
    let saved = world.engine.snapshot();
    assert_eq!(Engine::restore(&saved, HashKey([7, 7])), Ok(world.engine));
}

#[test]
fn a_session_is_done_with_what_it_keeps_though_the_retention_was_raised() {
    let mut world = World::new();
    world.open(0, "s1", 10);
    for id in ["s1:L1", "s1:L2"] {
        world.wants(0, id, "w a");
        world.release(1, id);
    }
    world.tick(60_001);
    let raised = Limits {
        retention: span(600_000),
        ..Limits::default()
    };
    let snapshot = world.engine.snapshot().with_limits(raised);
    world.engine = Engine::restore(&snapshot, HashKey([5, 6])).expect("it was an engine");
    world.apply(60_002, &done(&["L1"]));
    world.engine.check();
    assert_eq!(world.engine.usage().remembered_requests, 1);
    let saved = world.engine.snapshot();
    assert_eq!(
        Engine::restore(&saved, HashKey([7, 7])),
        Ok(world.engine.clone())
    );
    let session = session("s1");
    world.apply(60_003, &Command::CloseSession { session });
    world.engine.check();
    assert!(world.engine.usage().is_zero());
}

#[test]
fn a_session_cannot_be_done_with_what_has_not_ended() {
    let mut world = World::new();
    world.open(0, "s1", 10);
    world.wants(0, "s1:L1", "w a");
    world.wants(0, "s1:L2", "w a");
    world.wants(0, "s1:L3", "w b");
    world.release(1, "s1:L3");
    let before = world.engine.clone();
    for live in ["L1", "L2"] {
        assert_eq!(world.apply(1, &done(&["L3", live])), ["1 invalid_request"]);
        assert_eq!(world.engine, before, "nothing has changed");
    }
    world.apply(
        2,
        &Command::CloseSession {
            session: session("s1"),
        },
    );
    assert_eq!(world.apply(2, &done(&["L3"])), ["2 unknown_session"]);
}

#[test]
fn a_grant_tells_when_its_request_arrived() {
    let mut world = World::new();
    world.leases(3, "L1", "w a", 10);
    world.wants(5, "L2", "w a");
    let mut events = Vec::new();
    let tick = world.engine.apply(ms(20), &Command::Tick, &mut events);
    assert_eq!(tick, Ok(Reply::Done));
    let arrivals = events.iter().filter_map(|event| match event.kind {
        EventKind::Granted { arrived_at, .. } => Some((event.at, arrived_at)),
        _ => None,
    });
    assert_eq!(arrivals.collect::<Vec<_>>(), [(ms(13), ms(5))]);
}

#[test]
fn nothing_is_left_when_all_has_ended_and_is_forgotten() {
    let mut world = World::new();
    world.open(0, "s1", 10);
    for at in 0..50 {
        let id = format!("L{at}");
        world.leases(at, &id, "w a/b, r c/d/e", 7);
        world.wants(at, &format!("s1:{id}"), "r a");
    }
    assert!(!world.engine.usage().is_zero());
    world.apply(
        100,
        &Command::CloseSession {
            session: session("s1"),
        },
    );
    world.tick(1_000_000);
    assert!(world.engine.usage().is_zero());
}
