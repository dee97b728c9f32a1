//! What can go wrong, one type for each thing that is asked.

use lockwright_engine::{
    EndReason, ErrorCode, InvalidRequest, LimitName, NameError, PathError, Refusal,
};
use std::{io, sync::Arc, time::Duration};

/// Why a request was not granted. It left nothing behind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// It would have to wait, and may not.
    #[error(
        "busy: a conflicting request is held or queued, and this one may not wait; \
         try again later, or wait with `lock` or `lock_timeout`"
    )]
    Busy,
    /// It was not granted in time.
    #[error(
        "timed out: not granted within {after:?}, as a conflicting request was held or queued \
         before it all the while; wait longer, give the others a ttl, or ask `inspect` who they are"
    )]
    TimedOut {
        /// How long it was to wait.
        after: Duration,
    },
    /// It was granted, but its lease ran out before whoever had asked looked at it.
    #[error(
        "expired: it was granted, but its lease ran out before its future was polled or its thread \
         ran again; take a longer ttl, or do not keep the future from being polled"
    )]
    Expired,
    /// A path of a claim is malformed.
    #[error("`{path}` is not a path: {reason}")]
    InvalidPath {
        /// The text that was given.
        path: Arc<str>,
        /// What is wrong with it.
        reason: PathError,
    },
    /// The owner's name is malformed.
    #[error("the owner has no proper name: {0}")]
    InvalidOwner(NameError),
    /// The request is malformed.
    #[error("{0}")]
    InvalidRequest(InvalidRequest),
    /// A limit would be exceeded.
    #[error("the limit {limit} is {max}, and this would be {got}; see `LocalLocks::with_limits`")]
    LimitExceeded {
        /// Which limit.
        limit: LimitName,
        /// Its value.
        max: u32,
        /// What the request would have made it.
        got: u64,
    },
    /// The system would not start the timer thread, without which nobody would end the lease or
    /// the wait.
    #[error("the timer thread cannot be started ({0}): lock without ttl and timeout, or try again")]
    NoTimer(io::ErrorKind),
}

impl LockError {
    /// The error's code, where it is one that the service has too.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            LockError::Busy => Some(ErrorCode::Busy),
            LockError::InvalidPath { .. } => Some(ErrorCode::InvalidPath),
            LockError::InvalidOwner(_) | LockError::InvalidRequest(_) => {
                Some(ErrorCode::InvalidRequest)
            }
            LockError::LimitExceeded { .. } => Some(ErrorCode::LimitExceeded),
            LockError::TimedOut { .. } | LockError::Expired | LockError::NoTimer(_) => None,
        }
    }
}

impl From<Refusal> for LockError {
    fn from(refusal: Refusal) -> LockError {
        match refusal {
            Refusal::Busy => LockError::Busy,
            Refusal::InvalidRequest(what) => LockError::InvalidRequest(what),
            Refusal::LimitExceeded { limit, max, got } => {
                LockError::LimitExceeded { limit, max, got }
            }
            Refusal::NotHeld
            | Refusal::StaleToken { .. }
            | Refusal::NotQueued
            | Refusal::UnknownLock
            | Refusal::UnknownSession
            | Refusal::RequestMismatch(_) => {
                unreachable!("asking for a lock is not refused as {refusal}")
            }
        }
    }
}

/// The lock had ended before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the lock is not held any more ({reason}): somebody else may hold it by now, so what was done \
     since its deadline was not protected; take a longer ttl, or renew in time"
)]
pub struct NotHeld {
    /// How it ended.
    pub reason: EndReason,
}

/// Why a lease was not renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenewError {
    /// The lock had ended before.
    #[error(transparent)]
    NotHeld(NotHeld),
    /// A ttl of zero; the lease is as it was.
    #[error("a ttl must not be zero: release the lock instead")]
    ZeroTtl,
    /// The system would not start the timer thread; the lock is still without a lease.
    #[error("the timer thread cannot be started ({0}): go on without a lease, or try again")]
    NoTimer(io::ErrorKind),
}
