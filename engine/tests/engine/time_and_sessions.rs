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
