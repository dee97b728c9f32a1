//! Every order of things between threads and tasks, as far as shuttle gets: random ones, ones with
//! few but well-aimed preemptions (PCT), and for the small scenarios all of them.
//!
//! A scenario fails when one of its assertions does, or when nobody can go on: a lost wake-up, a
//! lock that nobody releases, a timer thread that does not end.

pub(crate) mod planted;

use crate::{LocalLocks, LockError, LockGuard, Locking, read, write};
use lockwright_engine::EndReason;
use planted::{Bug, finds};
use shuttle::{
    future,
    scheduler::{DfsScheduler, PctScheduler, RandomScheduler},
    sync::atomic::{AtomicIsize, Ordering},
    thread,
};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

/// Runs a scenario in many orders.
fn explore(scenario: fn()) {
    shuttle::Runner::new(RandomScheduler::new(2_000), quiet()).run(scenario);
    shuttle::Runner::new(PctScheduler::new(3, 2_000), quiet()).run(scenario);
}

/// Runs a small scenario in all orders, but for more than this many.
fn exhaust(scenario: fn()) {
    shuttle::Runner::new(DfsScheduler::new(Some(3_000), false), quiet()).run(scenario);
}

fn quiet() -> shuttle::Config {
    let mut config = shuttle::Config::new();
    config.failure_persistence = shuttle::FailurePersistence::None;
    config
}

const MS: Duration = Duration::from_millis(1);

/// Polls a future so many times, with a waker that does nothing.
fn poll_times(future: &mut Locking, times: usize) -> Option<Result<LockGuard, LockError>> {
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..times {
        if let Poll::Ready(outcome) = Pin::new(&mut *future).poll(&mut context) {
            return Some(outcome);
        }
        thread::yield_now();
    }
    None
}

/// A future is dropped after `polls` polls, between one who holds and one who waits behind it.
fn drop_after(polls: usize) {
    let locks = LocalLocks::new();
    let held = locks.try_lock(write("a")).unwrap();
    let dropper = {
        let locks = locks.clone();
        thread::spawn(move || {
            let mut future = locks.lock(write("a/b"));
            drop(poll_times(&mut future, polls));
            drop(future);
        })
    };
    let behind = {
        let locks = locks.clone();
        thread::spawn(move || drop(locks.lock_blocking(read("a/b/c")).unwrap()))
    };
    drop(held);
    dropper.join().unwrap();
    behind.join().unwrap();
    assert!(
        locks.usage().is_zero(),
        "nothing is left: {:?}",
        locks.usage()
    );
}

fn dropped_before_its_first_poll() {
    drop_after(0);
}

fn dropped_after_one_poll() {
    drop_after(1);
}

fn dropped_after_two_polls() {
    drop_after(2);
}

#[test]
fn a_future_that_is_dropped_at_any_point_is_in_nobodys_way() {
    for scenario in [
        dropped_before_its_first_poll,
        dropped_after_one_poll,
        dropped_after_two_polls,
    ] {
        explore(scenario);
        exhaust(scenario);
    }
}

/// The holder never goes: who waits only for the dropped future is granted all the same.
fn whoever_waits_only_for_the_dropped_one() {
    let locks = LocalLocks::new();
    let _held = locks.try_lock(write("a")).unwrap();
    let mut future = locks.lock([write("a"), write("b")]);
    assert!(poll_times(&mut future, 1).is_none(), "it waits for a");
    let behind = {
        let locks = locks.clone();
        thread::spawn(move || drop(locks.lock_blocking(write("b")).unwrap()))
    };
    drop(future);
    behind.join().unwrap();
}

#[test]
fn whoever_waits_only_for_a_dropped_future_is_granted_at_once() {
    explore(whoever_waits_only_for_the_dropped_one);
    exhaust(whoever_waits_only_for_the_dropped_one);
}

/// Counts who is inside: readers up, a writer down to -1.
#[derive(Default)]
struct Inside(AtomicIsize);

impl Inside {
    fn read(&self) {
        assert!(
            self.0.fetch_add(1, Ordering::SeqCst) >= 0,
            "no writer is inside"
        );
        thread::yield_now();
        self.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn write(&self) {
        assert_eq!(self.0.swap(-1, Ordering::SeqCst), 0, "nobody is inside");
        thread::yield_now();
        self.0.store(0, Ordering::SeqCst);
    }
}

/// Threads and tasks with overlapping claims, readers and writers, one and many at once.
fn threads_and_tasks() {
    let locks = LocalLocks::new();
    let inside = Arc::new([Inside::default(), Inside::default()]);
    let spawn = |run: fn(&LocalLocks, &[Inside; 2])| {
        let (locks, inside) = (locks.clone(), Arc::clone(&inside));
        thread::spawn(move || run(&locks, &inside))
    };
    let all = [
        spawn(|locks, inside| {
            let _guard = locks.lock_blocking([write("a/x"), write("b")]).unwrap();
            inside[0].write();
            inside[1].write();
        }),
        spawn(|locks, inside| {
            let _guard = locks.lock_blocking([read("b"), read("a")]).unwrap();
            inside[0].read();
            inside[1].read();
        }),
        spawn(|locks, inside| {
            future::block_on(async {
                let _guard = locks.lock(write("/")).await.unwrap();
                inside[0].write();
                inside[1].write();
            });
        }),
        spawn(|locks, inside| {
            let task = locks.lock(read("a/x/y"));
            future::block_on(async {
                let _guard = task.await.unwrap();
                inside[0].read();
            });
            if let Ok(_guard) = locks.try_lock(write("b/z")) {
                inside[1].write();
            }
        }),
    ];
    for thread in all {
        thread.join().unwrap();
    }
    assert!(locks.usage().is_zero());
}

#[test]
fn no_two_conflicting_locks_are_held_at_once_and_no_wake_up_is_lost() {
    explore(threads_and_tasks);
}

/// A future is polled in one task and awaited in another.
fn moved_between_tasks() {
    let locks = LocalLocks::new();
    let held = locks.try_lock(write("a")).unwrap();
    let mut future = locks.lock(write("a"));
    assert!(poll_times(&mut future, 1).is_none());
    let other = thread::spawn(move || drop(future::block_on(future).unwrap()));
    drop(held);
    other.join().unwrap();
    assert!(locks.usage().is_zero());
}

#[test]
fn a_future_may_move_to_another_task_while_it_waits() {
    explore(moved_between_tasks);
    exhaust(moved_between_tasks);
}

/// Time passes while the holder goes: each who waits gets the lock or hears that time is up.
fn time_outs_and_grants() {
    let locks = LocalLocks::new();
    let held = locks.try_lock(write("a")).unwrap();
    let thread_waits = {
        let locks = locks.clone();
        thread::spawn(move || locks.lock_timeout_blocking(write("a/b"), 5 * MS).map(drop))
    };
    let task_waits = {
        let locks = locks.clone();
        thread::spawn(move || future::block_on(locks.lock_timeout(write("a"), 5 * MS)).map(drop))
    };
    let patient = {
        let locks = locks.clone();
        thread::spawn(move || drop(locks.lock_blocking(write("a/b")).unwrap()))
    };
    let clock = {
        let locks = locks.clone();
        thread::spawn(move || (0..2).for_each(|_| locks.advance(3)))
    };
    thread::yield_now();
    drop(held);
    for outcome in [thread_waits.join().unwrap(), task_waits.join().unwrap()] {
        let late = LockError::TimedOut { after: 5 * MS };
        assert!(outcome.is_ok() || outcome == Err(late));
    }
    patient.join().unwrap();
    clock.join().unwrap();
    assert!(locks.usage().is_zero());
}

#[test]
fn a_time_out_that_races_with_a_grant_loses_neither() {
    explore(time_outs_and_grants);
}

/// Nobody releases; only time can end the waits.
fn time_outs_alone() {
    let locks = LocalLocks::new();
    let _held = locks.try_lock(write("a")).unwrap();
    let waits = [true, false].map(|blocking| {
        let locks = locks.clone();
        thread::spawn(move || {
            if blocking {
                locks.lock_timeout_blocking(write("a"), 5 * MS).map(drop)
            } else {
                future::block_on(locks.lock_timeout(write("a"), 7 * MS)).map(drop)
            }
        })
    });
    // Until both have asked: a wait begins then, and time must be left to pass.
    while locks.usage().live_requests < 3 {
        thread::yield_now();
    }
    locks.advance(6);
    locks.advance(2);
    for wait in waits {
        assert!(matches!(
            wait.join().unwrap(),
            Err(LockError::TimedOut { .. })
        ));
    }
}

#[test]
fn a_wait_ends_when_its_time_is_up_without_anybody_elses_doing() {
    explore(time_outs_alone);
}

/// Leases of a holder who forgets to go, a longer one first: those behind are granted in time.
fn leases() {
    let locks = LocalLocks::new();
    let long = locks.request(write("b")).ttl(100 * MS).try_lock().unwrap();
    let short = locks.request(write("a")).ttl(10 * MS).try_lock().unwrap();
    let behind = {
        let locks = locks.clone();
        thread::spawn(move || drop(locks.lock_blocking(write("a")).unwrap()))
    };
    let told = thread::spawn(move || {
        assert_eq!(future::block_on(short.lost()), EndReason::Expired);
        assert!(!short.is_held());
        assert!(short.release().is_err());
    });
    locks.advance(9);
    locks.advance(1);
    behind.join().unwrap();
    told.join().unwrap();
    assert!(long.is_held());
    long.release().unwrap();
    assert!(locks.usage().is_zero());
}

#[test]
fn a_lease_runs_out_and_everybody_is_told() {
    explore(leases);
}

/// A renewal races with the end of the lease: either it comes in time or is told that it did not.
fn renewals() {
    let locks = LocalLocks::new();
    let guard = locks.request(write("a")).ttl(10 * MS).try_lock().unwrap();
    let holder = thread::spawn(move || {
        let renewed = guard.renew(1000 * MS).is_ok();
        assert_eq!(guard.is_held(), renewed);
        assert_eq!(guard.release().is_ok(), renewed);
    });
    locks.advance(10);
    drop(locks.lock_blocking(read("a")).unwrap());
    holder.join().unwrap();
}

#[test]
fn a_renewal_that_races_with_the_end_of_the_lease_knows_who_won() {
    explore(renewals);
}

/// A waker that asks the lock space for something when it is called.
struct Asks(LocalLocks);

impl Wake for Asks {
    fn wake(self: Arc<Self>) {
        drop(self.0.try_lock(read("elsewhere")).unwrap());
    }
}

fn wakers_that_ask() {
    let locks = LocalLocks::new();
    let held = locks.try_lock(write("a")).unwrap();
    let mut future = locks.lock(write("a"));
    let waker = Waker::from(Arc::new(Asks(locks.clone())));
    let mut context = Context::from_waker(&waker);
    assert!(Pin::new(&mut future).poll(&mut context).is_pending());
    let releases = thread::spawn(move || drop(held));
    let granted = match Pin::new(&mut future).poll(&mut context) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => future::block_on(future),
    };
    releases.join().unwrap();
    drop(granted.unwrap());
}

/// A waker that releases something when it is dropped, as an executor's may that is the last to
/// know of a task with a guard in it.
struct Holds(#[expect(dead_code, reason = "held until it is dropped")] LockGuard);

impl Wake for Holds {
    fn wake(self: Arc<Self>) {}
}

fn wakers_that_release() {
    let locks = LocalLocks::new();
    let held = locks.try_lock(write("a")).unwrap();
    let mut future = locks.lock(write("a"));
    for path in ["b", "c", "d"] {
        let guard = locks.try_lock(write(path)).unwrap();
        let waker = Waker::from(Arc::new(Holds(guard)));
        let mut context = Context::from_waker(&waker);
        assert!(Pin::new(&mut future).poll(&mut context).is_pending());
    }
    let releases = thread::spawn(move || drop(held));
    drop(future);
    releases.join().unwrap();
    let all = locks.try_lock(write("/"));
    assert!(all.is_ok(), "{all:?}");
}

#[test]
fn a_waker_may_use_the_lock_space_itself() {
    explore(wakers_that_ask);
    explore(wakers_that_release);
}

#[test]
fn planted_bugs_are_found() {
    assert!(finds(Bug::RacedGrantKept, || explore(
        dropped_after_one_poll
    )));
    assert!(finds(Bug::QueuedKept, || explore(
        whoever_waits_only_for_the_dropped_one
    )));
    assert!(finds(Bug::NoSecondLook, || explore(threads_and_tasks)));
    assert!(finds(Bug::WakeWithin, || explore(wakers_that_ask)));
    assert!(finds(Bug::TimerNotTold, || explore(leases)));
}
