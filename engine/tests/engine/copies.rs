//! Copies of the state, which stay what they were.

use crate::common::*;
use lockwright_engine::*;

/// An engine with some hundred locks, of a session and of others, many of them ended.
fn busy_world() -> World {
    let mut world = World::new();
    world.open(0, "s1", 10);
    for n in 0..400 {
        world.wants(n, &format!("s1:L{n}"), &format!("w a/{n}, r b"));
        world.leases(n, &format!("N{n}"), &format!("w c/{n}/d"), 1000 + n);
    }
    for n in (0..400).step_by(3) {
        world.release(400 + n, &format!("s1:L{n}"));
    }
    world
}

#[test]
fn a_copy_is_what_the_engine_was_whatever_happens_then() {
    let mut world = busy_world();
    let before = world.engine.snapshot();
    let copy = world.engine.copy();
    assert_eq!(copy.snapshot(), before);
    let later: Vec<_> = (0..4)
        .map(|round| {
            let at = 900 + 300 * round;
            for n in 0..100 {
                world.wants(at, &format!("s1:M{round}-{n}"), &format!("w a/{n}, r b"));
            }
            world.release(at, "s1:L1");
            world.tick(at + 200);
            world.engine.check();
            (world.engine.snapshot(), world.engine.copy())
        })
        .collect();
    world.apply(
        3000,
        &Command::CloseSession {
            session: session("s1"),
        },
    );
    world.tick(100_000);
    assert_eq!(world.engine.usage().live_requests, 0);
    assert_eq!(copy.snapshot(), before);
    for (snapshot, copy) in later {
        assert_eq!(copy.snapshot(), snapshot);
    }
}

#[test]
fn an_engine_goes_on_from_a_copy_that_is_gone_as_if_there_had_been_none() {
    let (mut copied, mut other) = (busy_world(), busy_world());
    for at in 1000..1500 {
        if at % 7 == 0 {
            drop(copied.engine.copy());
        }
        assert_eq!(copied.tick(at), other.tick(at));
    }
    assert!(copied.engine == other.engine);
    copied.engine.check();
}

#[test]
fn a_copy_can_go_to_another_thread() {
    fn can_go<T: Send + Sync + 'static>(_: &T) {}
    let mut world = busy_world();
    can_go(&world.engine.copy());
    can_go(&world.engine.session_copy(&session("s1")));
}

#[test]
fn the_locks_of_a_session_are_copied_with_what_they_were() {
    let mut world = busy_world();
    assert!(world.engine.session_copy(&session("s2")).is_none());
    let before: Vec<_> = world.engine.session_requests(&session("s1")).collect();
    let s1 = session("s1");
    let locks = world.engine.session_locks(&s1);
    let known = |lock: LockInfo| (lock.key.id, lock.state, lock.arrived_at);
    let requests = before.iter().cloned();
    let requests = requests.map(|one| (one.id, one.state, one.arrived_at));
    assert!(locks.map(known).eq(requests));
    let copy = world.engine.session_copy(&session("s1")).unwrap();
    world.apply(
        1000,
        &Command::CloseSession {
            session: session("s1"),
        },
    );
    world.wants(1000, "L", "w /");
    assert!(world.engine.session_copy(&session("s1")).is_none());
    assert_eq!(world.engine.session_requests(&session("s1")).count(), 0);
    assert_eq!(before.len(), 400 - 134);
    assert!(copy.requests().eq(before));
}
