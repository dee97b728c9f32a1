//! Real threads with random claims, watched by a checker that knows no locks.

use lockwright_local::*;
use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The leaves of the tree, and the paths that cover them.
const LEAVES: [&str; 6] = ["a/x/1", "a/x/2", "a/y/1", "b/x/1", "b/x/2", "b/y/1"];
const PATHS: [&str; 12] = [
    "/", "a", "b", "a/x", "a/y", "b/x", "a/x/1", "a/x/2", "a/y/1", "b/x/1", "b/x/2", "b/y/1",
];

/// What is protected: it notices whoever comes when they must not.
#[derive(Default)]
struct Leaf {
    /// How many read; -1 while somebody writes.
    inside: AtomicI64,
    /// The largest token that has written.
    token: AtomicU64,
}

impl Leaf {
    fn enter(&self, mode: Mode, token: Token) {
        match mode {
            Mode::Read => {
                assert!(
                    self.inside.fetch_add(1, Ordering::SeqCst) >= 0,
                    "no writer is here"
                );
            }
            Mode::Write => {
                assert_eq!(self.inside.swap(-1, Ordering::SeqCst), 0, "nobody is here");
                let before = self.token.swap(token.0, Ordering::SeqCst);
                assert!(before < token.0, "tokens increase");
            }
        }
    }

    fn leave(&self, mode: Mode) {
        match mode {
            Mode::Read => self.inside.fetch_sub(1, Ordering::SeqCst),
            Mode::Write => self.inside.swap(0, Ordering::SeqCst),
        };
    }
}

/// The strongest mode in which claims cover a leaf: worked out from the text alone.
fn mode_of(leaf: &str, claims: &[(Mode, &str)]) -> Option<Mode> {
    let covers = |path: &str| {
        path == "/"
            || leaf == path
            || leaf
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    let covering = claims.iter().filter(|(_, path)| covers(path));
    covering.map(|(mode, _)| *mode).max()
}

/// A small generator of numbers, each thread's its own.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

fn ask(locks: &LocalLocks, draw: &mut Draw, claims: Claims) -> Result<LockGuard, LockError> {
    let short = Duration::from_micros(300);
    let request = locks.request(claims);
    match draw.below(7) {
        0 => request.try_lock(),
        1 => request.timeout(short).lock_blocking(),
        2 => pollster::block_on(request.timeout(short).lock()),
        3 => pollster::block_on(request.lock()),
        // Given up after a poll or two.
        4 => pollster::block_on(async {
            let mut future = request.lock();
            match futures::poll!(&mut future) {
                std::task::Poll::Ready(outcome) => outcome,
                std::task::Poll::Pending => Err(LockError::Busy),
            }
        }),
        5 => request.ttl(Duration::from_secs(600)).lock_blocking(),
        _ => request.lock_blocking(),
    }
}

fn work(locks: &LocalLocks, leaves: &[Leaf; 6], seed: u64, until: Instant) -> u64 {
    let mut draw = Draw(seed);
    let mut granted = 0;
    while Instant::now() < until {
        let wanted: Vec<(Mode, &str)> = (0..=draw.below(3))
            .map(|_| {
                let mode = [Mode::Read, Mode::Read, Mode::Write][draw.below(3)];
                (mode, PATHS[draw.below(PATHS.len())])
            })
            .collect();
        let claims = wanted.iter().map(|(mode, path)| match mode {
            Mode::Read => read(*path),
            Mode::Write => write(*path),
        });
        match ask(locks, &mut draw, claims.collect()) {
            Ok(guard) => {
                granted += 1;
                let mine = LEAVES
                    .iter()
                    .zip(leaves)
                    .filter_map(|(name, leaf)| mode_of(name, &wanted).map(|mode| (leaf, mode)));
                let mine: Vec<(&Leaf, Mode)> = mine.collect();
                mine.iter()
                    .for_each(|(leaf, mode)| leaf.enter(*mode, guard.token()));
                if draw.below(4) == 0 {
                    thread::yield_now();
                }
                mine.iter().for_each(|(leaf, mode)| leaf.leave(*mode));
            }
            Err(LockError::Busy | LockError::TimedOut { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    granted
}

#[test]
fn conflicting_locks_are_never_held_at_once_by_real_threads() {
    let locks = LocalLocks::new();
    let leaves: [Leaf; 6] = Default::default();
    let until = Instant::now() + Duration::from_secs(2);
    let granted: u64 = thread::scope(|scope| {
        let (locks, leaves) = (&locks, &leaves);
        let workers: Vec<_> = (1..=6)
            .map(|seed| scope.spawn(move || work(locks, leaves, seed * 0x9E37_79B9, until)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum()
    });
    assert!(granted > 100, "only {granted} locks were granted");
    assert!(locks.usage().is_zero(), "{:?}", locks.usage());
}
