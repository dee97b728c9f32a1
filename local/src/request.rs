//! A request in the making.

use crate::{
    Claims, LockError, LockGuard, Locking,
    space::{Ask, Patience, Space},
    waiting::{self, Asked, Waiter},
};
use lockwright_engine::{Name, NameError};
use std::{future::IntoFuture, sync::Arc, time::Duration};

/// A request that can still be given a lease, an owner and a limit to its patience. It is in
/// nobody's way before [`lock_blocking`](Request::lock_blocking) or
/// [`try_lock`](Request::try_lock), or before the future is polled first.
///
/// ```
/// use lockwright_local::{LocalLocks, write};
/// use std::time::Duration;
///
/// # pollster::block_on(async {
/// let locks = LocalLocks::new();
/// let guard = locks
///     .request(write("printer/2"))
///     .owner("monthly report")
///     .ttl(Duration::from_secs(30))
///     .timeout(Duration::from_secs(5))
///     .await?;
/// assert!(guard.deadline().is_some());
/// # Ok::<(), lockwright_local::LockError>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
#[must_use = "a request does nothing before it is awaited or one of its lock methods is called"]
pub struct Request {
    space: Arc<Space>,
    claims: Claims,
    owner: Option<Result<Name, NameError>>,
    ttl: Option<Duration>,
    timeout: Option<Duration>,
}

impl Request {
    pub(crate) fn new(space: Arc<Space>, claims: Claims) -> Request {
        Request {
            space,
            claims,
            owner: None,
            ttl: None,
            timeout: None,
        }
    }

    /// Gives the lock a lease: it ends by itself when this time has passed since the *grant*,
    /// unless it is [renewed](LockGuard::renew). In whole milliseconds, rounded up, on a clock that
    /// counts whole milliseconds: the lease may end up to 1 ms sooner than that.
    /// [`LockGuard::deadline`] has the instant. Zero is refused.
    pub fn ttl(mut self, ttl: Duration) -> Request {
        self.ttl = Some(ttl);
        self
    }

    /// Waits no longer than this for the grant, and no shorter. Zero is not waiting at all.
    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.timeout = Some(timeout);
        self
    }

    /// Whose request it is, in 1 to 255 bytes without control characters: for whoever
    /// [inspects](crate::LocalLocks::inspect) a program that hangs, and for the limit `locks_per_owner`. Requests of one owner conflict like any
    /// others.
    pub fn owner(mut self, owner: impl AsRef<str>) -> Request {
        self.owner = Some(Name::new(owner.as_ref()));
        self
    }

    /// Waits for the locks in a task.
    pub fn lock(self) -> Locking {
        Locking::new(self)
    }

    /// Waits for the locks in this thread.
    ///
    /// # Errors
    /// [`LockError`], but for [`Busy`](LockError::Busy) unless the timeout is zero.
    pub fn lock_blocking(self) -> Result<LockGuard, LockError> {
        match self.enter(Waiter::Thread)? {
            Asked::Granted(guard) => Ok(guard),
            Asked::Queued(waiting) => waiting.block(),
        }
    }

    /// Takes the locks if nobody is in the way, whatever the timeout.
    ///
    /// # Errors
    /// [`LockError`], but for [`TimedOut`](LockError::TimedOut) and
    /// [`Expired`](LockError::Expired).
    pub fn try_lock(self) -> Result<LockGuard, LockError> {
        match self.timeout(Duration::ZERO).enter(Waiter::Thread)? {
            Asked::Granted(guard) => Ok(guard),
            Asked::Queued(_) => unreachable!("who will not wait is not queued"),
        }
    }

    pub(crate) fn enter(self, waiter: Waiter) -> Result<Asked, LockError> {
        let ask = Ask {
            claims: self.claims.into_result()?,
            owner: self.owner.transpose().map_err(LockError::InvalidOwner)?,
            ttl: self.ttl,
            patience: match self.timeout {
                None => Patience::Forever,
                Some(Duration::ZERO) => Patience::No,
                Some(timeout) => Patience::For(timeout),
            },
        };
        waiting::ask(self.space, ask, waiter)
    }
}

impl IntoFuture for Request {
    type Output = Result<LockGuard, LockError>;
    type IntoFuture = Locking;

    fn into_future(self) -> Locking {
        self.lock()
    }
}
