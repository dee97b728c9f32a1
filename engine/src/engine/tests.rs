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
    match engine.find(&key(id)) {
        Some(Known::Live(id)) => id,
        other => panic!("{id} is {other:?}, and not live"),
    }
}

/// The place of a request that there is none of any more.
fn ended_id(engine: &mut Engine) -> RequestId {
    let id = engine
        .requests
        .insert(engine.requests[id_of(engine, "L1")].clone());
    engine.requests.remove(id);
    id
}

#[test]
fn what_is_emptied_keeps_room_for_a_thousand_and_no_more() {
    for (room, kept) in [(KEPT_ROOM, KEPT_ROOM), (KEPT_ROOM + 1, 0)] {
        let mut engine = self::engine();
        engine.freed = Vec::with_capacity(room);
        assert_eq!(engine.freed.capacity(), room);
        // One that has ended in the meantime is not granted.
        let ended = ended_id(&mut engine);
        engine.freed.push(ended);
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
    let id = ended_id(&mut engine);
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
    let known = engine.find(&key("L3")).unwrap();
    let Known::Ended(id) = known else {
        panic!("L3 is {known:?}");
    };
    let hash = engine.owners.hash_of_ended(&engine.ended[id]);
    engine.by_id.remove(hash, known);
    engine.check();
}

#[test]
#[should_panic(expected = "what has ended is in one list")]
fn check_finds_a_request_that_will_never_be_forgotten() {
    let mut engine = engine();
    engine.forget = Ends::default();
    engine.check();
}

/// So many requests of a session, of which each is released at once, at one time.
fn pairs(engine: &mut Engine, session: &str, count: usize, at: TimeMs) {
    for n in 0..count {
        let lock = LockKey {
            owner: Owner::Session(name(session)),
            ..key(&format!("P{at}-{n}"))
        };
        let token = engine.next_token;
        let acquire = Command::Acquire {
            lock: lock.clone(),
            claims: vec![Claim::write(Path::parse("p").unwrap())],
            ttl: None,
            wait: Wait::No,
        };
        for command in [acquire, Command::Release { lock, token }] {
            engine.apply(at, &command, &mut Vec::new()).unwrap();
        }
    }
}

#[test]
fn memory_is_given_back_though_a_few_stay() {
    let mut engine = engine();
    let limits = &mut engine.limits;
    limits.retention = DurationMs::from_secs(1);
    // Two are kept by the session, which lives.
    pairs(&mut engine, "s1", 2, TimeMs::ZERO);
    let keep = engine.ended.len();
    let lock = |n| key(&format!("N{n}"));
    for n in 0..20_000 {
        let token = engine.next_token;
        let acquire = Command::Acquire {
            lock: lock(n),
            claims: vec![Claim::write(Path::parse("p").unwrap())],
            ttl: None,
            wait: Wait::No,
        };
        let release = Command::Release {
            lock: lock(n),
            token,
        };
        for command in [acquire, release] {
            engine
                .apply(TimeMs::ZERO, &command, &mut Vec::new())
                .unwrap();
        }
    }
    assert!(engine.ended.places() > 20_000 && engine.by_id.capacity() > 20_000);
    let later = TimeMs::new(1000).unwrap();
    engine
        .apply(later, &Command::Tick, &mut Vec::new())
        .unwrap();
    engine.check();
    // `L3` is forgotten, too, and what was kept can be found where it is now.
    assert_eq!(engine.ended.len(), keep - 1);
    assert!(engine.ended.places() < KEPT_ROOM && engine.by_id.capacity() < KEPT_ROOM);
    for n in 0..2 {
        let lock = LockKey {
            owner: Owner::Session(name("s1")),
            ..key(&format!("P0 ms-{n}"))
        };
        assert!(engine.lock(&lock).is_some(), "{n}");
    }
    assert_eq!(
        Engine::restore(&engine.snapshot(), HashKey::default()),
        Ok(engine)
    );
}

#[test]
fn a_session_that_is_done_with_its_requests_leaves_little_behind() {
    let mut engine = engine();
    for round in 0..100 {
        let at = TimeMs::new(round * 50).unwrap();
        pairs(&mut engine, "s1", 100, at);
        let done = Command::Done {
            session: SessionKey {
                namespace: name("default"),
                session: name("s1"),
            },
            ids: (0..100).map(|n| name(&format!("P{at}-{n}"))).collect(),
        };
        engine.apply(at, &done, &mut Vec::new()).unwrap();
        engine.check();
    }
    // `L3`, and a few that nothing can see.
    assert_eq!(engine.usage().remembered_requests, 1);
    assert!(engine.ended.len() < 300, "{}", engine.ended.len());
}

#[test]
fn what_ended_requests_claimed_is_told_if_it_is_asked_for() {
    let claims = |paths: &[&str]| -> Vec<Claim> {
        let paths = paths.iter().map(|path| Path::parse(*path).unwrap());
        paths.map(Claim::write).collect()
    };
    let mut engine = Engine::new(EngineConfig::default());
    let run = |engine: &mut Engine, at, command: Command| {
        let mut events = Vec::new();
        let done = engine.apply(TimeMs::new(at).unwrap(), &command, &mut events);
        done.expect("the world is as the test wants it");
        let ends = events.iter();
        let ends = ends.filter(|event| matches!(event.kind, EventKind::Ended { .. }));
        (ends.count(), engine.take_ended_claims())
    };
    let wants = |id: &str, paths: &[&str], ttl: u64| Command::Acquire {
        lock: key(id),
        claims: claims(paths),
        ttl: DurationMs::new(ttl).ok(),
        wait: Wait::Forever,
    };
    run(&mut engine, 0, wants("L1", &["a"], 10));
    assert_eq!(
        run(&mut engine, 20, Command::Tick),
        (1, None),
        "nobody asked for it"
    );
    engine.keep_ended_claims(Some(1 << 10));
    run(&mut engine, 20, wants("L2", &["a/b", "c", "a"], 10));
    run(&mut engine, 20, wants("L3", &["c/d"], 10));
    // The second is granted when the first one ends, and ends within the same step.
    let ends = [claims(&["a", "c"]), claims(&["c/d"])];
    assert_eq!(
        run(&mut engine, 50, Command::Tick),
        (2, Some(ends.to_vec()))
    );
    // One of them is not too much, but both are.
    engine.keep_ended_claims(Some(200));
    run(&mut engine, 50, wants("L4", &["a"], 10));
    run(&mut engine, 50, wants("L5", &["b"], 10));
    assert_eq!(run(&mut engine, 80, Command::Tick), (2, None));
    run(&mut engine, 80, wants("L6", &["a"], 10));
    let end = Some(vec![claims(&["a"])]);
    assert_eq!(run(&mut engine, 100, Command::Tick), (1, end));
    engine.keep_ended_claims(None);
    run(&mut engine, 100, wants("L7", &["a"], 10));
    assert_eq!(run(&mut engine, 200, Command::Tick), (1, None));
    engine.check();
}
