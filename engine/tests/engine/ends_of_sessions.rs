//! The end of a session takes a millisecond for each so many requests (SEMANTICS section 4).

use crate::common::*;
use lockwright_engine::*;
use std::num::NonZeroU32;

/// An engine in which so many requests of an ending session end in one millisecond.
fn world(session_ends_per_ms: u32) -> World {
    World::with(limits(session_ends_per_ms))
}

fn limits(session_ends_per_ms: u32) -> Limits {
    Limits {
        session_ends_per_ms: NonZeroU32::new(session_ends_per_ms).unwrap(),
        ..Limits::default()
    }
}

fn close(text: &str) -> Command {
    Command::CloseSession {
        session: session(text),
    }
}

fn detach(text: &str) -> Command {
    Command::Detach {
        session: session(text),
    }
}

/// Session `s1` with locks of `a`, `b`, ..., so many, which are called `L1`, `L2`, ...
fn with_locks(ends_per_ms: u32, count: u8) -> World {
    let mut world = world(ends_per_ms);
    world.open(0, "s1", 10);
    for number in 0..count {
        let path = char::from(b'a' + number);
        world.wants(0, &format!("s1:L{}", number + 1), &format!("w {path}"));
    }
    world
}

/// Brings the engine back from its own snapshot.
fn restored(world: &World) -> World {
    let snapshot = serde_json::to_string(&world.engine.snapshot()).unwrap();
    let snapshot = serde_json::from_str(&snapshot).unwrap();
    let engine = Engine::restore(&snapshot, HashKey([5, 6])).unwrap();
    engine.check();
    assert!(engine == world.engine, "the restored engine is the same");
    World { engine }
}

#[test]
fn so_many_requests_end_in_each_millisecond_and_the_session_with_the_last() {
    let mut world = with_locks(2, 5);
    assert_eq!(
        world.apply(7, &close("s1")),
        ["7 session_ended L1", "7 session_ended L2"]
    );
    assert_eq!(world.engine.next_deadline(), Some(ms(8)));
    assert_eq!(world.tick(8), ["8 session_ended L3", "8 session_ended L4"]);
    assert_eq!(world.engine.next_deadline(), Some(ms(9)));
    assert_eq!(world.tick(20), ["9 session_ended L5", "9 session s1 ended"]);
    assert_eq!(world.engine.next_deadline(), None);
}

#[test]
fn a_session_with_no_more_than_go_in_a_millisecond_ends_at_once() {
    for (count, ends_per_ms) in [(0, 1), (1, 1), (3, 3), (3, 4)] {
        let mut world = with_locks(ends_per_ms, count);
        let told = world.apply(7, &close("s1"));
        assert_eq!(told.len(), usize::from(count) + 1);
        assert_eq!(told.last().unwrap(), "7 session s1 ended");
        assert_eq!(world.open(7, "s1", 10), ["7 session s1 open"]);
    }
}

#[test]
fn an_abandoned_session_ends_as_slowly() {
    let mut world = with_locks(1, 2);
    world.apply(3, &detach("s1"));
    assert!(world.tick(12).is_empty());
    assert_eq!(world.tick(13), ["13 session_ended L1"]);
    assert_eq!(
        world.tick(14),
        ["14 session_ended L2", "14 session s1 ended"]
    );
}

#[test]
fn what_a_slice_sets_free_is_granted_in_it() {
    let mut world = with_locks(1, 3);
    world.wants(1, "M2", "w b");
    world.wants(1, "M1", "w a");
    world.wants(1, "M3", "w c, w a/x");
    assert_eq!(
        world.apply(5, &close("s1")),
        ["5 session_ended L1", "5 granted M1 4"]
    );
    assert_eq!(world.tick(6), ["6 session_ended L2", "6 granted M2 5"]);
    assert_eq!(world.tick(7), ["7 session_ended L3", "7 session s1 ended"]);
    assert_eq!(world.release(8, "M1"), ["8 released M1", "8 granted M3 6"]);
}

#[test]
fn no_request_of_an_ending_session_is_granted_and_it_stays_in_the_way() {
    let mut world = world(1);
    world.open(0, "s1", 10);
    world.wants(0, "s1:L1", "w a");
    world.wants(0, "s1:L2", "w b");
    world.wants(0, "s1:L3", "w a");
    world.wants(0, "M", "w a");
    // The first slice unblocks L3, which waits for its own.
    assert_eq!(world.apply(5, &close("s1")), ["5 session_ended L1"]);
    assert_eq!(
        world.engine.lock(&key("s1:L3")).unwrap().state,
        LockState::Queued { deadline: None }
    );
    assert_eq!(world.tick(6), ["6 session_ended L2"]);
    assert_eq!(
        world.tick(7),
        ["7 session_ended L3", "7 session s1 ended", "7 granted M 3"]
    );
}

#[test]
fn a_request_of_an_ending_session_is_not_granted_when_another_frees_it_either() {
    let mut world = world(1);
    world.open(0, "s1", 10);
    world.wants(0, "s1:L1", "w b");
    world.wants(0, "O", "w a");
    world.wants(0, "s1:L2", "w a");
    assert_eq!(world.apply(5, &close("s1")), ["5 session_ended L1"]);
    assert_eq!(world.release(5, "O"), ["5 released O"]);
    // It waits for nothing, and nobody passes it.
    assert_eq!(world.wants(5, "M", "w a"), ["5 queued M"]);
    assert_eq!(
        world.tick(6),
        ["6 session_ended L2", "6 session s1 ended", "6 granted M 3"]
    );
}

#[test]
fn what_has_not_had_its_slice_can_still_end_by_other_means() {
    let mut world = world(1);
    world.open(0, "s1", 10);
    world.wants(0, "O", "w q");
    for (number, path) in (1..=6).zip(["a", "b", "c", "d", "e", "f"]) {
        world.wants(0, &format!("s1:L{number}"), &format!("w {path}"));
    }
    world.apply(0, &acquire("s1:T", "w q", None, Wait::For(span(9))));
    world.leases(0, "s1:E", "w g", 8);
    world.wants(0, "s1:L7", "w h");
    assert_eq!(world.apply(5, &close("s1")), ["5 session_ended L1"]);
    assert_eq!(world.release(5, "s1:L3"), ["5 released L3"]);
    let break_it = Command::Break {
        lock: key("s1:L4"),
        token: None,
    };
    assert_eq!(world.apply(5, &break_it), ["5 broken L4"]);
    // Each slice ends the first that are live then; of one time it comes after leases and waits.
    assert_eq!(
        world.tick(9),
        [
            "6 session_ended L2",
            "7 session_ended L5",
            "8 expired E",
            "8 session_ended L6",
            "9 timed_out T",
            "9 session_ended L7",
            "9 session s1 ended"
        ]
    );
}

#[test]
fn a_session_of_which_the_rest_ends_otherwise_ends_with_its_next_slice() {
    let mut world = with_locks(1, 2);
    assert_eq!(world.apply(5, &close("s1")), ["5 session_ended L1"]);
    assert_eq!(world.release(5, "s1:L2"), ["5 released L2"]);
    assert_eq!(world.engine.usage().sessions, 1);
    assert_eq!(world.tick(6), ["6 session s1 ended"]);
}

#[test]
fn a_lock_of_an_ending_session_can_be_renewed_for_what_is_left_to_it() {
    let mut world = with_locks(1, 2);
    world.apply(5, &close("s1"));
    let renew = Command::Renew {
        lock: key("s1:L2"),
        token: Token(2),
        ttl: span(100),
    };
    assert_eq!(world.apply(5, &renew), ["5 renewed L2 105"]);
    assert_eq!(
        world.tick(200),
        ["6 session_ended L2", "6 session s1 ended"]
    );
}

#[test]
fn an_ending_session_is_over_for_all_who_name_it() {
    let mut world = with_locks(1, 3);
    world.apply(5, &close("s1"));
    let of = |make: fn(SessionKey) -> Command| make(session("s1"));
    for command in [
        of(|session| Command::Attach { session }),
        of(|session| Command::Detach { session }),
        of(|session| Command::KeepAlive { session }),
        of(|session| Command::CloseSession { session }),
        of(|session| Command::Done {
            session,
            ids: vec![name("L1")],
        }),
        acquire("s1:L9", "w z", None, Wait::Forever),
    ] {
        assert_eq!(world.apply(5, &command), ["5 unknown_session"]);
    }
    let (engine, key) = (&world.engine, session("s1"));
    assert_eq!(engine.session_info(&key), None);
    assert!(!engine.session_holds(&key));
    // What it has yet is there for those who look, and for those who break locks.
    let left = engine.session_locks(&key).map(|lock| lock.key.id);
    assert_eq!(left.collect::<Vec<_>>(), [name("L2"), name("L3")]);
    assert_eq!(engine.sessions().next(), None);
    assert_eq!(engine.sessions_to_end().collect::<Vec<_>>(), [key]);
    // The id of a request that is there is known, live or ended.
    let state = |world: &mut World, id| match world.engine.apply(
        ms(5),
        &acquire(
            id,
            if id == "s1:L1" { "w a" } else { "w b" },
            None,
            Wait::No,
        ),
        &mut Vec::new(),
    ) {
        Ok(Reply::Acquired { state, fresh }) => {
            assert!(!fresh);
            state
        }
        other => panic!("{other:?}"),
    };
    assert!(matches!(
        state(&mut world, "s1:L1"),
        LockState::Ended {
            reason: EndReason::SessionEnded,
            ..
        }
    ));
    assert!(matches!(state(&mut world, "s1:L2"), LockState::Held { .. }));
}

#[test]
fn an_ending_session_counts_and_keeps_its_name_until_its_end_is_complete() {
    let mut world = World::with(Limits {
        sessions: 1,
        ..limits(1)
    });
    world.open(0, "s1", 10);
    world.wants(0, "s1:L1", "w a");
    world.wants(0, "s1:L2", "w b");
    world.apply(5, &close("s1"));
    assert_eq!(world.engine.usage().sessions, 1);
    assert_eq!(world.open(5, "s1", 10), ["5 invalid_request"]);
    assert_eq!(world.open(5, "s2", 10), ["5 limit_exceeded"]);
    assert_eq!(
        world.open(6, "s1", 10),
        [
            "6 session_ended L2",
            "6 session s1 ended",
            "6 session s1 open"
        ]
    );
}

#[test]
fn sessions_that_end_at_the_same_time_take_turns_in_the_order_of_their_opening() {
    let mut world = world(1);
    world.open(0, "s2", 5);
    world.open(0, "s1", 5);
    for (id, path) in [
        ("s1:L1", "w a"),
        ("s2:L2", "w b"),
        ("s1:L3", "w c"),
        ("s2:L4", "w d"),
    ] {
        world.wants(0, id, path);
    }
    world.apply(0, &detach("s1"));
    world.apply(0, &detach("s2"));
    assert_eq!(
        world.tick(9),
        [
            "5 session_ended L2",
            "5 session_ended L1",
            "6 session_ended L4",
            "6 session s2 ended",
            "6 session_ended L3",
            "6 session s1 ended"
        ]
    );
}

#[test]
fn how_often_the_engine_is_told_the_time_changes_no_end() {
    let run = |ticks: &[u64]| {
        let mut world = World::with(Limits {
            retention: span(3),
            ..limits(2)
        });
        world.open(0, "s1", 10);
        // These are past their retention at 10, and L5 is not.
        for (at, id) in [
            (1, "s1:L1"),
            (2, "s1:L2"),
            (7, "s1:L3"),
            (8, "s1:L4"),
            (8, "s1:L5"),
        ] {
            world.leases(at.min(3), id, &format!("w {id}"), at.max(4));
        }
        world.leases(3, "s1:L6", "w f", 6);
        world.wants(3, "s1:L7", "w g");
        world.wants(3, "s1:L8", "w h");
        world.wants(3, "s1:L9", "w i");
        world.wants(3, "M", "w h");
        world.apply(3, &detach("s1"));
        let mut told = Vec::new();
        for at in ticks {
            told.extend(world.tick(*at));
        }
        (told, world.engine)
    };
    let (once, engine) = run(&[30]);
    let every: Vec<u64> = (4..=30).collect();
    for ticks in [&every[..], &[12, 30], &[13, 14, 30], &[9, 10, 15, 30]] {
        let (often, same) = run(ticks);
        assert_eq!(once, often);
        assert!(engine == same);
    }
    assert!(once.iter().any(|told| told.ends_with("session s1 ended")));
}

/// A session `s1` that has kept so many ended requests beyond their retention at 20, `K1` and so on.
fn with_kept(ends_per_ms: u32, count: u32) -> World {
    let mut world = World::with(Limits {
        retention: span(5),
        ..limits(ends_per_ms)
    });
    world.open(0, "s1", 10);
    for number in 1..=count {
        let id = format!("s1:K{number}");
        world.wants(0, &id, "w k");
        world.release(0, &id);
    }
    world.tick(20);
    assert_eq!(world.engine.usage().remembered_requests, count as usize);
    world
}

#[test]
fn what_a_session_kept_is_forgotten_at_once_and_given_back_in_its_time() {
    let mut world = with_kept(2, 5);
    world.wants(20, "s1:L", "w l");
    // One live request and one of the five; two; two.
    assert_eq!(
        world.apply(21, &close("s1")),
        ["21 session_ended L", "21 session s1 ended"]
    );
    assert_eq!(world.engine.usage().remembered_requests, 1);
    assert_eq!(world.engine.lock(&key("s1:K5")), None);
    assert_eq!(
        world.wants(21, "s1:K5", "w k"),
        ["21 unknown_session"],
        "its id is free, and nobody there to use it"
    );
    let give_up = Command::Cancel { lock: key("s1:K5") };
    assert_eq!(world.apply(21, &give_up), ["21 unknown_lock"]);
    // The session has ended, but it counts, and has its name.
    assert_eq!(world.engine.sessions_to_end().next(), None);
    assert!(world.tick(22).is_empty());
    assert_eq!(world.engine.usage().sessions, 1);
    assert_eq!(world.engine.next_deadline(), Some(ms(23)));
    assert_eq!(world.open(22, "s1", 10), ["22 invalid_request"]);
    assert!(world.tick(23).is_empty());
    assert_eq!(world.engine.next_deadline(), None);
    assert_eq!(world.engine.usage().sessions, 0);
    // What ended with it is remembered for its own time.
    assert!(world.engine.lock(&key("s1:L")).is_some());
    world.tick(26);
    assert!(world.engine.usage().is_zero());
}

#[test]
fn what_a_session_kept_comes_after_what_is_live() {
    let mut world = with_kept(2, 2);
    for id in ["s1:L1", "s1:L2", "s1:L3"] {
        world.wants(20, id, &format!("w {id}"));
    }
    let told = world.apply(21, &close("s1"));
    assert_eq!(told, ["21 session_ended L1", "21 session_ended L2"]);
    let told = world.tick(22);
    assert_eq!(told, ["22 session_ended L3", "22 session s1 ended"]);
    assert_eq!(world.open(22, "s1", 10), ["22 invalid_request"]);
    assert_eq!(world.open(23, "s1", 10), ["23 session s1 open"]);
    // What it kept does not come back with its name.
    assert_eq!(world.wants(23, "s1:K1", "w k"), ["23 granted K1 6"]);
}

#[test]
fn a_few_that_a_session_kept_do_not_hold_up_its_name() {
    let mut world = with_kept(3, 2);
    world.wants(20, "s1:L", "w l");
    assert_eq!(
        world.apply(21, &close("s1")),
        ["21 session_ended L", "21 session s1 ended"]
    );
    assert_eq!(world.open(21, "s1", 10), ["21 session s1 open"]);
}

#[test]
fn what_ends_while_its_session_does_is_remembered_for_no_more_than_its_retention() {
    let mut world = World::with(Limits {
        retention: span(2),
        ..limits(1)
    });
    world.open(0, "s1", 10);
    for number in 1..=5 {
        world.wants(0, &format!("s1:L{number}"), &format!("w {number}"));
    }
    world.apply(5, &close("s1"));
    world.tick(6);
    assert!(world.engine.lock(&key("s1:L1")).is_some());
    world.tick(7);
    assert_eq!(world.engine.lock(&key("s1:L1")), None);
    assert!(world.engine.lock(&key("s1:L2")).is_some());
    // Nor does the next opening of its name keep what is past that.
    world.tick(9);
    world.open(9, "s1", 10);
    assert_eq!(world.wants(9, "s1:L3", "w 3"), ["9 granted L3 6"]);
}

#[test]
fn an_engine_restored_amid_the_end_of_a_session_goes_on_equally() {
    let mut world = with_kept(2, 4);
    for (id, path) in [("s1:L1", "w a"), ("s1:L2", "w b"), ("s1:L3", "w a")] {
        world.wants(20, id, path);
    }
    world.wants(20, "M", "w a");
    world.wants(20, "N", "w b");
    assert_eq!(
        world.apply(25, &close("s1")),
        [
            "25 session_ended L1",
            "25 session_ended L2",
            "25 granted N 7"
        ]
    );
    let mut again = restored(&world);
    assert_eq!(again.engine.next_deadline(), Some(ms(26)));
    assert_eq!(again.engine.sessions_to_end().count(), 1);
    assert_eq!(again.engine.session_info(&session("s1")), None);
    assert_eq!(again.engine.usage(), world.engine.usage());
    assert_eq!(again.engine.lock(&key("s1:K2")), None);
    // Not granted by the restoring, though it waits for nothing.
    assert!(matches!(
        again.engine.lock(&key("s1:L3")).unwrap().state,
        LockState::Queued { .. }
    ));
    for at in 26..=28 {
        assert_eq!(
            again.engine.sessions_to_end().count(),
            usize::from(at == 26)
        );
        assert_eq!(again.tick(at), world.tick(at));
        assert!(again.engine == world.engine);
        again = restored(&again);
    }
    assert_eq!(again.engine.usage().sessions, 0);
    assert_eq!(again.tick(40), world.tick(40));
    assert!(again.engine == world.engine);
}

#[test]
fn other_limits_hold_from_the_next_slice_on() {
    let mut world = with_locks(1, 6);
    assert_eq!(world.apply(5, &close("s1")), ["5 session_ended L1"]);
    let snapshot = world.engine.snapshot().with_limits(limits(3));
    let engine = Engine::restore(&snapshot, HashKey::default()).unwrap();
    let mut world = World { engine };
    let told = world.tick(6);
    assert_eq!(
        told,
        [
            "6 session_ended L2",
            "6 session_ended L3",
            "6 session_ended L4"
        ]
    );
    let told = world.tick(7);
    assert_eq!(told.len(), 3);
    assert_eq!(told[2], "7 session s1 ended");
}

#[test]
fn at_the_latest_time_nothing_more_comes() {
    let mut world = with_locks(1, 2);
    let told = world.apply(MAX_MS, &close("s1"));
    assert_eq!(told, [format!("{MAX_MS} session_ended L1")]);
    assert!(world.tick(MAX_MS).is_empty());
    restored(&world);
}
