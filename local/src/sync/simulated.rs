//! Shuttle's threads, and a clock that stands still until the test moves it.

use lockwright_engine::TimeMs;
use shuttle::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard},
    thread::{Thread, current},
};
use std::{
    io,
    time::{Duration, Instant},
};

pub(crate) fn spawn(_name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::spawn(run);
    Ok(())
}

#[derive(Debug)]
pub(crate) struct Clock {
    now_ms: AtomicU64,
    origin: Instant,
    /// Who sleeps in [`Clock::park`] with a time to wake at.
    sleepers: Mutex<Vec<Thread>>,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock {
            now_ms: AtomicU64::new(0),
            origin: Instant::now(),
            sleepers: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::SeqCst))
    }

    pub(crate) fn instant(&self, at: TimeMs) -> Option<Instant> {
        Some(self.origin + Duration::from_millis(at.as_ms()))
    }

    /// Time passes only in [`Clock::advance`], whose caller notifies the condvar.
    pub(crate) fn wait<'a, T>(
        &self,
        condvar: &Condvar,
        guard: MutexGuard<'a, T>,
        _until: Option<TimeMs>,
    ) -> Option<MutexGuard<'a, T>> {
        condvar.wait(guard).ok()
    }

    pub(crate) fn park(&self, until: Option<TimeMs>) {
        if let Some(at) = until {
            self.sleepers.lock().unwrap().push(thread::current());
            if self.elapsed() >= Duration::from_millis(at.as_ms()) {
                return;
            }
        }
        thread::park();
    }

    pub(crate) fn advance(&self, by_ms: u64) {
        self.now_ms.fetch_add(by_ms, Ordering::SeqCst);
        let sleepers = std::mem::take(&mut *self.sleepers.lock().unwrap());
        for sleeper in sleepers {
            sleeper.unpark();
        }
    }
}
