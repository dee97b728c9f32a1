//! How fast the engine is, beside the floor: a hash map from which the three nodes of a path of
//! depth three are inserted and removed. Read the ratios of one run, not the single figures.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lockwright_engine::*;
use siphasher::sip::SipHasher13;
use std::{collections::BTreeMap, hash::Hasher, hint::black_box};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn key(id: &str) -> LockKey {
    LockKey {
        namespace: name("default"),
        owner: Owner::Named(name("owner")),
        id: name(id),
    }
}

fn acquire(id: &str, claims: Vec<Claim>) -> Command {
    Command::Acquire {
        lock: key(id),
        claims,
        ttl: None,
        wait: Wait::Forever,
    }
}

fn write(path: &str) -> Claim {
    Claim::write(Path::parse(path).unwrap())
}

/// An engine in use (the owner has a lock elsewhere), which forgets at once, so that a benchmark
/// that repeats an id measures new requests.
fn engine() -> Engine {
    let limits = Limits {
        retention: DurationMs::ZERO,
        locks_per_owner: u32::MAX,
        ..Limits::default()
    };
    let mut engine = Engine::new(EngineConfig {
        limits,
        ..EngineConfig::default()
    });
    apply(
        &mut engine,
        &acquire("elsewhere", vec![write("elsewhere")]),
        &mut Vec::new(),
    );
    engine
}

fn apply(engine: &mut Engine, command: &Command, events: &mut Vec<Event>) -> Reply {
    events.clear();
    engine.apply(TimeMs::ZERO, command, events).unwrap()
}

fn token(reply: Reply) -> Token {
    match reply {
        Reply::Acquired {
            state: LockState::Held { token, .. },
            ..
        } => token,
        other => panic!("not granted: {other:?}"),
    }
}

const MILLION: u64 = 1_000_000;

/// The path of the `n`th of up to a million locks: all of depth three, and all different.
fn spread_path(n: u64) -> String {
    format!("{}/{}/{n}", n % 100, n % 10_000)
}

/// The request for the `n`th lock; every tenth has a lease.
fn hold(n: u64) -> Command {
    Command::Acquire {
        lock: key(&n.to_string()),
        claims: vec![write(&spread_path(n))],
        ttl: n.is_multiple_of(10).then(|| DurationMs::from_secs(60)),
        wait: Wait::Forever,
    }
}

/// An engine in which so many locks are held; the first has token 2.
fn holding(count: u64) -> Engine {
    let mut engine = engine();
    let mut events = Vec::new();
    for n in 0..count {
        apply(&mut engine, &hold(n), &mut events);
    }
    engine
}

fn floor(c: &mut Criterion) {
    let hash = |path: &str| {
        let mut hasher = SipHasher13::new_with_keys(1, 2);
        hasher.write(path.as_bytes());
        hasher.finish()
    };
    c.bench_function("floor/three_nodes_in_and_out", |b| {
        let mut map = hashbrown::HashTable::<u64>::new();
        b.iter(|| {
            let hashes = ["a", "a/b", "a/b/c"].map(|path| hash(black_box(path)));
            for hash in hashes {
                map.insert_unique(hash, hash, |hash| *hash);
            }
            for hash in hashes {
                map.find_entry(hash, |found| *found == hash)
                    .unwrap()
                    .remove();
            }
        });
    });
}

fn pair(c: &mut Criterion, title: &str, claims: &[Claim], mut engine: Engine) {
    let mut events = Vec::new();
    let command = acquire("L", claims.to_vec());
    let lock = key("L");
    c.bench_function(title, |b| {
        b.iter(|| {
            let token = token(apply(&mut engine, &command, &mut events));
            apply(
                &mut engine,
                &Command::Release {
                    lock: lock.clone(),
                    token,
                },
                &mut events,
            )
        });
    });
}

fn uncontended(c: &mut Criterion) {
    pair(c, "pair/one_claim", &[write("a/b/c")], engine());
    let mixed = [
        write("a/b/c"),
        Claim::read(Path::parse("a/x").unwrap()),
        write("d/e/f"),
    ];
    pair(c, "pair/three_claims", &mixed, engine());
    for held in [1_000, MILLION] {
        let title = format!("pair/beside_{held}_held");
        pair(c, &title, &[write("a/b/c")], holding(held));
    }
    for held in [1_000, MILLION] {
        pair_on_new_paths(c, held);
    }
    for held in [1_000, MILLION] {
        pair_anywhere(c, held);
    }
}

/// Takes and gives back a lock on a path that was not in use, each time another one of many.
fn pair_on_new_paths(c: &mut Criterion, held: u64) {
    let mut engine = holding(held);
    let mut events = Vec::new();
    let commands: Vec<Command> = (held..held + 10_000).map(hold).collect();
    let mut n = 0;
    c.bench_function(&format!("pair/new_path_beside_{held}_held"), |b| {
        b.iter(|| {
            n = (n + 1) % commands.len();
            let token = token(apply(&mut engine, &commands[n], &mut events));
            let lock = lock_of(&commands[n]).clone();
            apply(&mut engine, &Command::Release { lock, token }, &mut events);
        });
    });
}

fn lock_of(command: &Command) -> &LockKey {
    match command {
        Command::Acquire { lock, .. } => lock,
        other => panic!("{other:?} asks for no lock"),
    }
}

/// Gives back one lock of many and takes it again, each time another one: what a cache has of the
/// engine is of no use.
fn pair_anywhere(c: &mut Criterion, held: u64) {
    let mut engine = holding(held);
    let mut events = Vec::new();
    let commands: Vec<Command> = (0..held).map(hold).collect();
    let mut tokens: Vec<Token> = (0..held).map(|n| Token(n + 2)).collect();
    // A stride without a common factor with the number of locks visits them all.
    let mut n = 0;
    c.bench_function(&format!("pair/anywhere_of_{held}_held"), |b| {
        b.iter(|| {
            n = (n + 382_909) % tokens.len();
            let release = Command::Release {
                lock: lock_of(&commands[n]).clone(),
                token: tokens[n],
            };
            apply(&mut engine, &release, &mut events);
            tokens[n] = token(apply(&mut engine, &commands[n], &mut events));
        });
    });
}

fn hand_off(c: &mut Criterion) {
    let mut group = c.benchmark_group("hand_off");
    for waiters in [2, 64, 100_000] {
        let mut engine = engine();
        let mut events = Vec::new();
        let ids: Vec<String> = (0..=waiters).map(|n| n.to_string()).collect();
        let commands: Vec<Command> = ids
            .iter()
            .map(|id| acquire(id, vec![write("a/b/c")]))
            .collect();
        let mut tokens = BTreeMap::new();
        for command in &commands {
            apply(&mut engine, command, &mut events);
        }
        tokens.insert(0, Token(2));
        let mut holder = 0;
        group.bench_function(BenchmarkId::from_parameter(waiters), |b| {
            b.iter(|| {
                let token = tokens
                    .remove(&holder)
                    .expect("the head of the queue holds the lock");
                apply(
                    &mut engine,
                    &Command::Release {
                        lock: key(&ids[holder]),
                        token,
                    },
                    &mut events,
                );
                let granted = match events.last().map(|event| &event.kind) {
                    Some(EventKind::Granted { token, .. }) => *token,
                    other => panic!("nobody was granted: {other:?}"),
                };
                apply(&mut engine, &commands[holder], &mut events);
                holder = (holder + 1) % ids.len();
                tokens.insert(holder, granted);
            });
        });
    }
}

fn readers_behind_a_writer(c: &mut Criterion) {
    let mut group = c.benchmark_group("readers_behind_a_writer");
    group.sample_size(10);
    for readers in [1_000, 100_000] {
        let read = vec![Claim::read(Path::parse("a/b").unwrap())];
        let commands: Vec<Command> = (0..readers)
            .map(|n| acquire(&n.to_string(), read.clone()))
            .collect();
        let queued = || {
            let (mut engine, mut events) = (engine(), Vec::new());
            let token = token(apply(
                &mut engine,
                &acquire("w", vec![write("a")]),
                &mut events,
            ));
            for command in &commands {
                apply(&mut engine, command, &mut events);
            }
            (
                engine,
                Command::Release {
                    lock: key("w"),
                    token,
                },
                events,
            )
        };
        group.throughput(Throughput::Elements(readers));
        group.bench_function(BenchmarkId::new("queue", readers), |b| {
            b.iter_with_large_drop(queued);
        });
        group.bench_function(BenchmarkId::new("grant", readers), |b| {
            b.iter_batched(
                queued,
                |(mut engine, release, mut events)| {
                    apply(&mut engine, &release, &mut events);
                    (engine, events)
                },
                BatchSize::PerIteration,
            );
        });
    }
}

/// A million leases that run out one by one (told every millisecond), and all at one instant.
fn expiries(c: &mut Criterion) {
    let mut group = c.benchmark_group("expiry");
    group.sample_size(10);
    group.throughput(Throughput::Elements(MILLION));
    for (title, spread) in [("one_by_one", 1), ("all_at_once", 0)] {
        let leased = || {
            let mut engine = engine();
            let mut events = Vec::new();
            for n in 0..MILLION {
                let command = Command::Acquire {
                    lock: key(&n.to_string()),
                    claims: vec![write(&spread_path(n))],
                    ttl: Some(DurationMs::new(1 + n * spread).unwrap()),
                    wait: Wait::Forever,
                };
                apply(&mut engine, &command, &mut events);
            }
            engine
        };
        group.bench_function(title, |b| {
            b.iter_batched(
                leased,
                |mut engine| {
                    let mut events = Vec::new();
                    while let Some(at) = engine.next_deadline() {
                        events.clear();
                        engine.apply(at, &Command::Tick, &mut events).unwrap();
                    }
                    assert_eq!(
                        engine.usage().live_requests,
                        1,
                        "only the lock elsewhere is left"
                    );
                    engine
                },
                BatchSize::PerIteration,
            );
        });
    }
}

/// A million locks, a tenth of them with a lease, saved as bytes and brought back.
fn snapshots(c: &mut Criterion) {
    let mut group = c.benchmark_group("snapshot");
    group.sample_size(10);
    let engine = holding(MILLION);
    let save = |engine: &Engine| postcard::to_allocvec(&engine.snapshot()).unwrap();
    let bring_back = |bytes: &[u8]| {
        let snapshot: Snapshot = postcard::from_bytes(bytes).unwrap();
        Engine::restore(&snapshot, HashKey([3, 4])).unwrap()
    };
    let bytes = save(&engine);
    assert_eq!(
        bring_back(&bytes),
        engine,
        "what is brought back is what was saved"
    );
    group.bench_function("write_a_million", |b| {
        b.iter_with_large_drop(|| save(&engine));
    });
    group.bench_function("read_a_million", |b| {
        b.iter_with_large_drop(|| bring_back(&bytes));
    });
}

criterion_group!(
    benches,
    floor,
    uncontended,
    hand_off,
    readers_behind_a_writer,
    expiries,
    snapshots
);
criterion_main!(benches);
