//! The timer thread, in a process of its own, so that its threads can be counted.
#![cfg(target_os = "linux")]

use lockwright_local::{LocalLocks, write};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// How many threads of this process are timer threads. The system keeps 15 bytes of a name.
fn timer_threads() -> usize {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let names = threads.filter_map(|thread| {
        // A thread may end while we look.
        fs::read_to_string(thread.unwrap().path().join("comm")).ok()
    });
    names
        .filter(|name| name.trim() == "lockwright-time")
        .count()
}

fn soon(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10), "not yet: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn one_thread_serves_all_deadlines_and_goes_with_the_last_guard() {
    let minute = Duration::from_secs(60);
    let locks = LocalLocks::new();
    let plain = locks.try_lock(write("plain")).unwrap();
    let refused = locks.lock_timeout_blocking(write("plain"), Duration::from_millis(5));
    assert!(refused.is_err());
    assert_eq!(timer_threads(), 0, "a thread keeps its own deadline");

    let guards: Vec<_> = (0..100)
        .map(|n| {
            locks
                .request(write(format!("leased/{n}")))
                .ttl(minute)
                .try_lock()
                .unwrap()
        })
        .collect();
    soon("it has its name", || timer_threads() == 1);
    drop(guards);
    drop(locks);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(timer_threads(), 1, "a guard is left");
    drop(plain);
    soon("it ends", || timer_threads() == 0);
}
