//! Locking and unlocking for ever takes no more memory than doing it once.
#![cfg(target_os = "linux")]

use lockwright_local::{LocalLocks, read, write};
use std::{fs, time::Duration};

/// The memory of this process that is in use, in KiB.
fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn cycles(locks: &LocalLocks, count: usize) {
    let claims = [write("a/b/c"), read("config")].into();
    for n in 0..count {
        let request = match n % 4 {
            0 => locks.request(&claims).ttl(Duration::from_secs(3600)),
            1 => locks.request(write(format!("only/once/{n}"))),
            2 => locks.request(read("a")).owner(format!("owner {n}")),
            _ => locks.request(&claims),
        };
        let guard = request.lock_blocking().unwrap();
        if n % 8 < 4 {
            drop(guard);
        } else {
            guard.release().unwrap();
        }
    }
}

#[test]
fn memory_does_not_grow_with_the_number_of_locks_that_were() {
    // Ten million where they take seconds.
    let count = if cfg!(debug_assertions) {
        200_000
    } else {
        10_000_000
    };
    let locks = LocalLocks::new();
    cycles(&locks, 20_000);
    let before = resident_kib();
    cycles(&locks, count);
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 1024, "{count} locks have left {grown} KiB behind");
    assert!(locks.usage().is_zero(), "{:?}", locks.usage());
}
