//! Room that is made at once: nobody outside can see it.

use super::*;
use crate::{Claim, Command, Event, LockKey, Name, Path, SessionKey, Wait};

fn name(text: String) -> Name {
    Name::new(text).unwrap()
}

fn apply(engine: &mut Engine, at: u64, command: &Command) -> Vec<Event> {
    let mut events = Vec::new();
    let at = TimeMs::new(at).unwrap();
    engine.apply(at, command, &mut events).unwrap();
    events
}

/// A session's requests, each with two claims: as many as given are kept beyond their retention,
/// then as many are remembered, then as many are live.
fn engine(kept: usize, remembered: usize, live: usize) -> Engine {
    let mut engine = Engine::new(EngineConfig::default());
    let session = SessionKey {
        namespace: name("default".to_owned()),
        session: name("s".to_owned()),
    };
    let open = Command::OpenSession {
        session,
        abandon: DurationMs::ZERO,
    };
    apply(&mut engine, 0, &open);
    let mut number = 0;
    for (at, count, ends) in [
        (0, kept, true),
        (100_000, remembered, true),
        (100_001, live, false),
    ] {
        for _ in 0..count {
            number += 1;
            let lock = LockKey {
                namespace: name("default".to_owned()),
                owner: Owner::Session(name("s".to_owned())),
                id: name(format!("L{number}")),
            };
            let claim = |last| Claim::write(Path::parse(format!("{number}/{last}")).unwrap());
            let acquire = Command::Acquire {
                lock: lock.clone(),
                claims: vec![claim("x"), claim("y")],
                ttl: None,
                wait: Wait::No,
            };
            let token = Token(number);
            apply(&mut engine, at, &acquire);
            if ends {
                apply(&mut engine, at, &Command::Release { lock, token });
            }
        }
    }
    engine
}

#[test]
fn room_for_all_that_comes_back_is_made_at_once() {
    let snapshot = engine(20, 300, 4000).snapshot();
    assert_eq!(snapshot.sessions[0].kept.len(), 20);
    assert_eq!(snapshot.remembered.len(), 300);
    assert_eq!(snapshot.live.len(), 4000);
    let engine = restore(&snapshot, HashKey::default()).unwrap();
    assert_eq!(engine.requests.len(), 4000);
    assert_eq!(engine.ended.len(), 320);
    assert!(engine.by_id.capacity() >= 4320);
}
