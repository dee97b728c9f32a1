//! Bugs put in on purpose: each must be found by one of the scenarios, or they prove nothing.

use crate::Locking;
use crate::{locking::Stage, slots::Phase};
use std::cell::Cell;

/// A bug of the kind that only some interleavings show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A grant that came just before its future was dropped is not released.
    RacedGrantKept,
    /// A dropped future stays in the queue.
    QueuedKept,
    /// A task does not look again whether it was granted while its waker was cloned.
    NoSecondLook,
    /// Wakers are called while the mutex is held.
    WakeWithin,
    /// The timer thread is not told of a deadline that comes before those it knows.
    TimerNotTold,
}

thread_local! {
    /// Shuttle runs all threads of a test in the one that started it.
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

pub(crate) fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Runs a check with a bug in place, and says whether it was found.
pub(super) fn finds(bug: Bug, check: impl FnOnce() + std::panic::UnwindSafe) -> bool {
    PLANTED.set(Some(bug));
    let found = std::panic::catch_unwind(check).is_err();
    PLANTED.set(None);
    found
}

impl Drop for Locking {
    fn drop(&mut self) {
        let Stage::Queued(waiting) = &self.0 else {
            return;
        };
        let kept = match waiting.phase() {
            Phase::Held { .. } => planted(Bug::RacedGrantKept),
            Phase::Queued => planted(Bug::QueuedKept),
            Phase::Ended(_) | Phase::Free => false,
        };
        if kept {
            std::mem::forget(std::mem::replace(&mut self.0, Stage::Over));
        }
    }
}
