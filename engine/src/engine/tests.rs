//! What only the inside shows: memory that is given back, and damage that `check` finds.

use super::*;
use crate::{Claim, Name, Owner, Path, SessionKey, Wait};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn key(id: &str) -> LockKey {
    LockKey {
        namespace: name("default"),
        owner: Owner::Named(name("o")),
        id: name(id),
    }
}

/// `L1` is held with a lease, `L2` queued behind it with a deadline, and `L3` has ended.
fn engine() -> Engine {
    let mut engine = Engine::new(EngineConfig::default());
    let wants = |id: &str, path: &str, ttl: Option<u32>, wait: Wait| Command::Acquire {
        lock: key(id),
        claims: vec![Claim::write(Path::parse(path).unwrap())],
        ttl: ttl.map(DurationMs::from_secs),
        wait,
    };
    let release = Command::Release {
        lock: key("L3"),
        token: Token(2),
    };
    for command in [
        wants("L1", "a", Some(10), Wait::Forever),
        wants("L2", "a", None, Wait::For(DurationMs::from_secs(5))),
        wants("L3", "b", None, Wait::No),
        release,
        Command::OpenSession {
            session: SessionKey {
                namespace: name("default"),
                session: name("s1"),
            },
            abandon: DurationMs::from_secs(1),
        },
    ] {
        let done = engine.apply(TimeMs::ZERO, &command, &mut Vec::new());
        done.expect("the world is as the tests want it");
    }
    engine.check();
    engine
}

fn id_of(engine: &Engine, id: &str) -> RequestId {
    engine.find(&key(id)).expect("it is live or remembered")
}

#[test]
fn what_is_emptied_keeps_room_for_a_thousand_and_no_more() {
    for (room, kept) in [(KEPT_ROOM, KEPT_ROOM), (KEPT_ROOM + 1, 0)] {
        let mut engine = Engine::new(EngineConfig::default());
        engine.forget = VecDeque::with_capacity(room);
        assert_eq!(engine.forget.capacity(), room);
        engine.forget_due();
        assert_eq!(engine.forget.capacity(), kept);

        let mut engine = self::engine();
        engine.freed = Vec::with_capacity(room);
        assert_eq!(engine.freed.capacity(), room);
        // One that has ended in the meantime is not granted.
        engine.freed.push(id_of(&engine, "L3"));
        engine.grant_freed(&mut Vec::new());
        assert!(engine.freed.is_empty());
        assert_eq!(engine.freed.capacity(), kept);
    }
}

#[test]
#[should_panic(expected = "freed.is_empty")]
fn check_finds_one_who_was_set_free_and_not_granted() {
    let mut engine = engine();
    engine.freed.push(id_of(&engine, "L2"));
    engine.check();
}

#[test]
#[should_panic(expected = "who is free is granted")]
fn check_finds_a_queued_request_that_nothing_blocks() {
    let mut engine = engine();
    let id = id_of(&engine, "L2");
    engine.requests[id].blocked = 0;
    engine.check();
}

#[test]
#[should_panic(expected = "what is due has happened")]
fn check_finds_a_deadline_that_was_passed_over() {
    let mut engine = engine();
    engine.now = TimeMs::new(5000).unwrap();
    engine.check();
}

#[test]
#[should_panic(expected = "every alarm is for something")]
fn check_finds_an_alarm_for_nothing() {
    let mut engine = engine();
    let id = id_of(&engine, "L3");
    let at = (TimeMs::LATEST, Rank::Request(Arrival(99)));
    engine.due.insert(at, Subject::Request(id));
    engine.check();
}

#[test]
#[should_panic(expected = "contains_key")]
fn check_finds_a_deadline_without_an_alarm() {
    let mut engine = engine();
    engine.unschedule(id_of(&engine, "L2"));
    engine.check();
}

#[test]
#[should_panic(expected = "every request can be named")]
fn check_finds_a_request_that_nobody_can_name() {
    let mut engine = engine();
    let id = id_of(&engine, "L3");
    engine.by_id.remove(id, &engine.requests);
    engine.check();
}
