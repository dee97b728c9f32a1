//! What a lock costs: beside the engine alone, and beside mutexes that do much less. Read the
//! ratios of one run, not the single figures.

use criterion::{Criterion, criterion_group, criterion_main};
use lockwright_engine::{
    Command, DurationMs, Engine, EngineConfig, LockKey, LockState, Name, Owner, Path, Reply,
    TimeMs, Wait,
};
use lockwright_local::{Claim, Claims, Limits, LocalLocks, read, write};
use std::{
    collections::HashMap,
    hint::black_box,
    sync::{Arc, Barrier, Mutex},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

/// The usual way to have a lock for each name: a map of mutexes, in which nothing is ever removed.
#[derive(Default)]
struct MapOfMutexes(parking_lot::Mutex<HashMap<String, Arc<parking_lot::Mutex<()>>>>);

impl MapOfMutexes {
    fn of(&self, name: &str) -> Arc<parking_lot::Mutex<()>> {
        let mut map = self.0.lock();
        if let Some(mutex) = map.get(name) {
            return Arc::clone(mutex);
        }
        Arc::clone(map.entry(name.to_owned()).or_default())
    }
}

/// What a future that is ready at once ends with.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nobody is in the way"),
    }
}

/// Acquire and release by hand: an owner that comes and goes, as in an idle lock space.
fn engine_alone() -> impl FnMut() {
    let limits = Limits {
        retention: DurationMs::ZERO,
        ..Limits::default()
    };
    let mut engine = Engine::new(EngineConfig {
        limits,
        ..EngineConfig::default()
    });
    let name = |text: &str| Name::new(text).unwrap();
    let lock = LockKey {
        namespace: name("default"),
        owner: Owner::Named(name("owner")),
        id: name("id"),
    };
    let acquire = Command::Acquire {
        lock: lock.clone(),
        claims: vec![Claim::write(Path::parse("a/b/c").unwrap())],
        ttl: None,
        wait: Wait::Forever,
    };
    let mut events = Vec::new();
    move || {
        let reply = engine.apply(TimeMs::ZERO, black_box(&acquire), &mut events);
        let Ok(Reply::Acquired {
            state: LockState::Held { token, .. },
            ..
        }) = reply
        else {
            panic!("not granted: {reply:?}")
        };
        let release = Command::Release {
            lock: lock.clone(),
            token,
        };
        engine.apply(TimeMs::ZERO, &release, &mut events).unwrap();
        events.clear();
    }
}

fn uncontended(c: &mut Criterion) {
    let mut group = c.benchmark_group("uncontended");
    let mut cycle = engine_alone();
    group.bench_function("engine_alone", |b| b.iter(&mut cycle));
    let locks = LocalLocks::new();
    let one: Claims = write("a/b/c");
    let three: Claims = [write("a/b/c"), write("a/b/d"), read("e")].into();
    group.bench_function("local/blocking", |b| {
        b.iter(|| drop(locks.lock_blocking(black_box(&one))));
    });
    group.bench_function("local/async", |b| {
        b.iter(|| drop(ready(locks.lock(black_box(&one)))));
    });
    let elsewhere = locks.lock_blocking(write("elsewhere"));
    group.bench_function("local/beside_another_lock", |b| {
        b.iter(|| drop(locks.lock_blocking(black_box(&one))));
    });
    drop(elsewhere);
    group.bench_function("local/path_read_each_time", |b| {
        b.iter(|| drop(locks.lock_blocking(write(black_box("a/b/c")))));
    });
    group.bench_function("local/three_claims", |b| {
        b.iter(|| drop(locks.lock_blocking(black_box(&three))));
    });
    group.bench_function("local/with_ttl", |b| {
        let minute = Duration::from_secs(60);
        b.iter(|| drop(locks.request(black_box(&one)).ttl(minute).lock_blocking()));
    });
    let mutex = Mutex::new(());
    group.bench_function("std_mutex", |b| b.iter(|| drop(black_box(&mutex).lock())));
    let mutex = parking_lot::Mutex::new(());
    group.bench_function("parking_lot_mutex", |b| {
        b.iter(|| drop(black_box(&mutex).lock()));
    });
    let mutex = tokio::sync::Mutex::new(());
    group.bench_function("tokio_mutex", |b| {
        b.iter(|| drop(ready(black_box(&mutex).lock())));
    });
    let map = MapOfMutexes::default();
    group.bench_function("map_of_mutexes", |b| {
        b.iter(|| drop(map.of(black_box("a/b/c")).lock()));
    });
    group.finish();
}

/// The time for two threads to go through `cycle` so many times in all; each is told which it is.
fn two_threads(cycles: u64, cycle: impl Fn(usize) + Sync) -> Duration {
    let barrier = Barrier::new(3);
    thread::scope(|scope| {
        for which in 0..2 {
            let (barrier, cycle) = (&barrier, &cycle);
            scope.spawn(move || {
                barrier.wait();
                for _ in 0..cycles.div_ceil(2) {
                    cycle(which);
                }
                barrier.wait();
            });
        }
        barrier.wait();
        let begun = Instant::now();
        barrier.wait();
        begun.elapsed()
    })
}

/// Holds something while the processor is free for another thread.
fn yielding<T>(held: T) {
    thread::yield_now();
    drop(held);
}

/// Both want the same, and yield the processor while they have it, so that the other one comes to
/// want it: with a fair lock each cycle is a hand-off, most of them to a thread that sleeps.
fn same_resource(c: &mut Criterion) {
    let mut group = c.benchmark_group("two_threads_one_resource");
    let locks = LocalLocks::new();
    let claims = write("a/b/c");
    group.bench_function("local/blocking", |b| {
        b.iter_custom(|n| two_threads(n, |_| yielding(locks.lock_blocking(&claims))));
    });
    group.bench_function("local/async", |b| {
        b.iter_custom(|n| two_threads(n, |_| yielding(pollster::block_on(locks.lock(&claims)))));
    });
    let mutex = tokio::sync::Mutex::new(());
    group.bench_function("tokio_mutex", |b| {
        b.iter_custom(|n| two_threads(n, |_| yielding(pollster::block_on(mutex.lock()))));
    });
    let mutex = Mutex::new(());
    group.bench_function("std_mutex", |b| {
        b.iter_custom(|n| two_threads(n, |_| yielding(black_box(&mutex).lock())));
    });
    let mutex = parking_lot::Mutex::new(());
    group.bench_function("parking_lot_mutex", |b| {
        b.iter_custom(|n| two_threads(n, |_| yielding(black_box(&mutex).lock())));
    });
    group.bench_function("parking_lot_mutex_fair", |b| {
        b.iter_custom(|n| {
            two_threads(n, |_| {
                let guard = black_box(&mutex).lock();
                thread::yield_now();
                parking_lot::MutexGuard::unlock_fair(guard);
            })
        });
    });
    let map = MapOfMutexes::default();
    group.bench_function("map_of_mutexes", |b| {
        b.iter_custom(|n| two_threads(n, |_| yielding(map.of("a/b/c").lock())));
    });
    group.finish();
}

/// Each has its own: nobody ever waits for a lock, only for what is inside of it.
fn own_resources(c: &mut Criterion) {
    let mut group = c.benchmark_group("two_threads_two_resources");
    let locks = LocalLocks::new();
    let claims = [write("a/b/c"), write("a/b/d")];
    group.bench_function("local/blocking", |b| {
        b.iter_custom(|n| two_threads(n, |which| drop(locks.lock_blocking(&claims[which]))));
    });
    let mutexes = [(); 2].map(|()| tokio::sync::Mutex::new(()));
    group.bench_function("tokio_mutex", |b| {
        b.iter_custom(|n| two_threads(n, |which| drop(ready(mutexes[which].lock()))));
    });
    let map = MapOfMutexes::default();
    group.bench_function("map_of_mutexes", |b| {
        b.iter_custom(|n| two_threads(n, |which| drop(map.of(["a/b/c", "a/b/d"][which]).lock())));
    });
    group.finish();
}

/// A hand-off without threads: two futures of one task take turns, each queued behind the other.
fn hand_off(c: &mut Criterion) {
    let mut group = c.benchmark_group("hand_off_in_one_thread");
    let mut context = Context::from_waker(Waker::noop());
    let locks = LocalLocks::new();
    let claims = write("a/b/c");
    group.bench_function("local", |b| {
        let mut held = Some(locks.try_lock(&claims).unwrap());
        b.iter(|| {
            let mut next = Box::pin(locks.lock(&claims));
            assert!(next.as_mut().poll(&mut context).is_pending());
            held = None;
            held = Some(ready(next).unwrap());
        });
        drop(held);
    });
    let mutex = tokio::sync::Mutex::new(());
    group.bench_function("tokio_mutex", |b| {
        let mut held = Some(mutex.try_lock().unwrap());
        b.iter(|| {
            let mut next = Box::pin(mutex.lock());
            assert!(next.as_mut().poll(&mut context).is_pending());
            held = None;
            held = Some(ready(next));
        });
        drop(held);
    });
    group.finish();
}

criterion_group!(benches, uncontended, hand_off, same_resource, own_resources);
criterion_main!(benches);
