//! A configuration that is read all the time and now and then replaced: readers share, and the
//! writer is not starved by them, since it waits its turn and no longer.
//!
//! `cargo run -p lockwright-local --example configuration`

use lockwright_local::{LocalLocks, LockError, read, write};
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Two settings that must fit together. They are separate on purpose: only the lock makes one of
/// them.
#[derive(Default)]
struct Configuration {
    version: AtomicU64,
    checksum: AtomicU64,
}

impl Configuration {
    fn replace(&self, version: u64) {
        self.version.store(version, Ordering::Relaxed);
        thread::sleep(Duration::from_micros(100));
        self.checksum.store(version * 7919, Ordering::Relaxed);
    }

    fn version(&self) -> u64 {
        let (version, checksum) = (&self.version, &self.checksum);
        let (version, checksum) = (
            version.load(Ordering::Relaxed),
            checksum.load(Ordering::Relaxed),
        );
        assert_eq!(
            checksum,
            version * 7919,
            "half of a new configuration was read"
        );
        version
    }
}

fn main() -> Result<(), LockError> {
    let (locks, configuration) = (LocalLocks::new(), Configuration::default());
    let done = AtomicBool::new(false);
    // Read once, lent for each lock: no path is read anew.
    let (to_read, to_write) = (read("config"), write("config"));
    let (reads, waits) = thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut reads = 0_u64;
                    while !done.load(Ordering::Relaxed) {
                        let _guard = locks.lock_blocking(&to_read)?;
                        configuration.version();
                        reads += 1;
                    }
                    Ok::<u64, LockError>(reads)
                })
            })
            .collect();
        let replaced: Result<Vec<Duration>, LockError> = (1..=100)
            .map(|version| {
                thread::sleep(Duration::from_millis(2));
                let asked = Instant::now();
                let _guard = locks.lock_blocking(&to_write)?;
                let waited = asked.elapsed();
                configuration.replace(version);
                Ok(waited)
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        let mut reads = 0;
        for reader in readers {
            reads += reader.join().expect("no reader panics")?;
        }
        Ok::<_, LockError>((reads, replaced?))
    })?;
    let mut waits = waits;
    waits.sort_unstable();
    let (usual, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!("4 readers read {reads} times, always a whole configuration");
    println!(
        "{} times it was replaced; half of the writer's waits were below {usual:?}, the longest {longest:?}",
        waits.len()
    );
    Ok(())
}
