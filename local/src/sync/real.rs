//! The standard library's threads, and the system's monotonic clock.

use lockwright_engine::TimeMs;
use std::{
    io, thread,
    time::{Duration, Instant},
};
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard},
    thread::{Thread, current},
};

/// Starts a thread that nobody joins.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map(drop)
}

/// The time since the lock space was made.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock {
            origin: Instant::now(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The instant of an engine time; none when it is beyond what the system can express.
    pub(crate) fn instant(&self, at: TimeMs) -> Option<Instant> {
        self.origin.checked_add(Duration::from_millis(at.as_ms()))
    }

    fn left_until(&self, at: TimeMs) -> Duration {
        Duration::from_millis(at.as_ms()).saturating_sub(self.elapsed())
    }

    /// Waits until `condvar` is notified or the time has come; may return earlier. None when the
    /// mutex is poisoned.
    pub(crate) fn wait<'a, T>(
        &self,
        condvar: &Condvar,
        guard: MutexGuard<'a, T>,
        until: Option<TimeMs>,
    ) -> Option<MutexGuard<'a, T>> {
        match until {
            None => condvar.wait(guard).ok(),
            Some(at) => condvar
                .wait_timeout(guard, self.left_until(at))
                .ok()
                .map(|(guard, _)| guard),
        }
    }

    /// Parks this thread until it is unparked or the time has come; may return earlier.
    pub(crate) fn park(&self, until: Option<TimeMs>) {
        match until {
            None => thread::park(),
            Some(at) => thread::park_timeout(self.left_until(at)),
        }
    }
}
