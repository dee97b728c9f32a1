//! The handle of a lock space.

use crate::{
    Claims, LockError, LockGuard, Locking, Request,
    space::{Clocked, Space},
};
use lockwright_engine::{Limits, Usage};
use std::{sync::Arc, time::Duration};

/// A lock space for the threads and tasks of this process. Clones are handles of the same one.
///
/// ```
/// use lockwright_local::{LocalLocks, LockError, read, write};
///
/// let locks = LocalLocks::new();
/// let tree = locks.lock_blocking(read("reports"))?;
/// // Readers share; who writes below has to wait until the last of them goes.
/// let leaf = locks.try_lock(read("reports/2026/may"))?;
/// assert_eq!(locks.try_lock(write("reports/2026")).unwrap_err(), LockError::Busy);
/// drop((tree, leaf));
/// let guard = locks.try_lock([write("reports/2026"), write("index")])?;
/// assert_eq!(guard.token().0, 3);
/// # Ok::<(), LockError>(())
/// ```
///
/// Locks are not re-entrant: a thread or task that asks for what it holds waits for itself.
#[derive(Debug, Clone)]
pub struct LocalLocks {
    pub(crate) space: Arc<Space>,
}

impl Default for LocalLocks {
    fn default() -> LocalLocks {
        LocalLocks::new()
    }
}

impl LocalLocks {
    /// An empty lock space with the engine's default limits, and none on the locks of an owner.
    #[must_use]
    pub fn new() -> LocalLocks {
        LocalLocks::with_limits(Limits {
            locks_per_owner: u32::MAX,
            ..Limits::default()
        })
    }

    /// An empty lock space with these limits. Requests that name no owner count as one owner's.
    /// `retention` is taken as zero, and `sessions` and `namespaces` have no meaning here.
    #[must_use]
    pub fn with_limits(limits: Limits) -> LocalLocks {
        LocalLocks {
            space: Arc::new(Space::new(limits)),
        }
    }

    /// A request that can be given a lease, an owner and a timeout before it is made.
    pub fn request(&self, claims: impl Into<Claims>) -> Request {
        Request::new(Arc::clone(&self.space), claims.into())
    }

    /// Waits for the locks in a task, for as long as it takes.
    ///
    /// # Errors
    /// The future ends with a [`LockError`] when a path is malformed, there are no claims, or a
    /// limit would be exceeded.
    pub fn lock(&self, claims: impl Into<Claims>) -> Locking {
        self.request(claims).lock()
    }

    /// Waits for the locks in a task, at most for `timeout`.
    ///
    /// # Errors
    /// As [`lock`](LocalLocks::lock), and [`TimedOut`](LockError::TimedOut); with a timeout of zero
    /// [`Busy`](LockError::Busy).
    pub fn lock_timeout(&self, claims: impl Into<Claims>, timeout: Duration) -> Locking {
        self.request(claims).timeout(timeout).lock()
    }

    /// Waits for the locks in this thread, for as long as it takes.
    ///
    /// # Errors
    /// As [`lock`](LocalLocks::lock).
    pub fn lock_blocking(&self, claims: impl Into<Claims>) -> Result<LockGuard, LockError> {
        self.request(claims).lock_blocking()
    }

    /// Waits for the locks in this thread, at most for `timeout`.
    ///
    /// # Errors
    /// As [`lock_timeout`](LocalLocks::lock_timeout).
    pub fn lock_timeout_blocking(
        &self,
        claims: impl Into<Claims>,
        timeout: Duration,
    ) -> Result<LockGuard, LockError> {
        self.request(claims).timeout(timeout).lock_blocking()
    }

    /// Takes the locks if nobody is in the way.
    ///
    /// # Errors
    /// [`Busy`](LockError::Busy) if somebody is, and as [`lock`](LocalLocks::lock).
    pub fn try_lock(&self, claims: impl Into<Claims>) -> Result<LockGuard, LockError> {
        self.request(claims).try_lock()
    }

    /// How much is in use: all zero when there are no guards and nobody waits.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.space.core().turn(Clocked::IfTimed).usage()
    }
}

#[cfg(test)]
impl LocalLocks {
    pub(crate) fn advance(&self, by_ms: u64) {
        self.space.advance(by_ms);
    }
}
