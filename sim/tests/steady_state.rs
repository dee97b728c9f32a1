//! In the steady state the engine allocates nothing: locks come and go, and memory stays.

use lockwright_engine::*;
use lockwright_sim::memory::{CountingAllocator, allocations};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn key(id: &str) -> LockKey {
    LockKey {
        namespace: Name::new("default").unwrap(),
        owner: Owner::Named(Name::new("owner").unwrap()),
        id: Name::new(id).unwrap(),
    }
}

fn acquire(id: &str, claims: &[Claim]) -> Command {
    Command::Acquire {
        lock: key(id),
        claims: claims.to_vec(),
        ttl: Some(DurationMs::from_secs(1)),
        wait: Wait::For(DurationMs::from_secs(1)),
    }
}

fn claim(mode: Mode, path: &str) -> Claim {
    Claim {
        path: Path::parse(path).unwrap(),
        mode,
    }
}

/// An engine that forgets at once, so that what a repeated id is answered with is not remembered.
fn engine() -> Engine {
    Engine::new(EngineConfig {
        limits: Limits {
            retention: DurationMs::ZERO,
            ..Limits::default()
        },
        ..EngineConfig::default()
    })
}

/// How often `cycle` allocates in a thousand times, after a hundred to warm up.
fn allocations_of(mut cycle: impl FnMut()) -> u64 {
    let counted = || allocations().expect("the allocator counts");
    for _ in 0..100 {
        cycle();
    }
    let before = counted();
    for _ in 0..1000 {
        cycle();
    }
    // Whether somebody counts is found out with an allocation.
    counted() - before - 1
}

#[test]
fn who_allocates_is_seen() {
    assert_eq!(allocations_of(|| drop(Box::new(1))), 1000);
}

#[test]
fn acquire_and_release_allocate_nothing() {
    let one = [claim(Mode::Write, "a/b/c")];
    let three = [
        claim(Mode::Write, "a/b/c"),
        claim(Mode::Read, "a/x"),
        claim(Mode::Write, "d/e/f"),
    ];
    for claims in [&one[..], &three[..]] {
        let mut engine = engine();
        let mut events = Vec::new();
        let command = acquire("L", claims);
        let mut release = Command::Release {
            lock: key("L"),
            token: Token(0),
        };
        let mut now = TimeMs::ZERO;
        let allocations = allocations_of(|| {
            events.clear();
            now = now.after(DurationMs::new(1).unwrap());
            engine.apply(now, &command, &mut events).unwrap();
            if let Command::Release { token, .. } = &mut release {
                *token = Token(engine.next_token().0 - 1);
            }
            engine.apply(now, &release, &mut events).unwrap();
        });
        assert_eq!(allocations, 0, "with {} claims", claims.len());
    }
}

#[test]
fn handing_on_allocates_nothing() {
    let mut engine = engine();
    let mut events = Vec::new();
    let ids = ["A", "B", "C"];
    let claims = [claim(Mode::Write, "a/b/c")];
    let acquires = ids.map(|id| acquire(id, &claims));
    let mut releases = ids.map(|id| Command::Release {
        lock: key(id),
        token: Token(0),
    });
    for command in &acquires {
        engine.apply(TimeMs::ZERO, command, &mut events).unwrap();
    }
    let mut holder = 0;
    let allocations = allocations_of(|| {
        events.clear();
        if let Command::Release { token, .. } = &mut releases[holder] {
            *token = Token(engine.next_token().0 - 1);
        }
        engine
            .apply(TimeMs::ZERO, &releases[holder], &mut events)
            .unwrap();
        engine
            .apply(TimeMs::ZERO, &acquires[holder], &mut events)
            .unwrap();
        holder = (holder + 1) % ids.len();
    });
    assert_eq!(allocations, 0);
}
