//! What can go wrong with a call.

use crate::Lost;
use lockwright_engine::{EndReason, ErrorCode, LimitName};
use lockwright_protocol::ClaimText;
use std::fmt;

/// The server (or the client, on its behalf) refused something; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The code, to act on.
    pub code: ErrorCode,
    /// What was got and what was expected, for people.
    pub message: String,
    /// With [`ErrorCode::LimitExceeded`], which limit.
    pub limit: Option<LimitName>,
    /// With [`ErrorCode::RequestMismatch`], what the first request with the id asked for; empty when
    /// it has ended, since that is not remembered.
    pub claims: Vec<ClaimText>,
    /// With [`ErrorCode::RequestMismatch`], how many more claims it has, with paths too long to name
    /// them all.
    pub claims_left_out: usize,
    /// With [`ErrorCode::RequestMismatch`], how the first request with the id ended; none while it is
    /// queued or held.
    pub ended: Option<EndReason>,
}

impl Refused {
    pub(crate) fn new(code: ErrorCode, message: &str) -> Refused {
        Refused {
            code,
            message: message.to_owned(),
            limit: None,
            claims: Vec::new(),
            claims_left_out: 0,
            ended: None,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refused {}

/// Why a release, renewal, cancellation or close did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It was refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The lock is no longer this client's.
    #[error("the lock is lost: {0}")]
    Lost(Lost),
    /// The server did not answer in time, and the client gives up: the session ends by itself
    /// when its abandon timeout has passed.
    #[error("the server did not answer; the session ends by its abandon timeout")]
    Unanswered,
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

/// Why a lock was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcquireError {
    /// It was refused; `busy` when it would have had to wait and may not.
    #[error(transparent)]
    Refused(Refused),
    /// The request ended, for example because its wait deadline passed.
    #[error("the request ended: {0}")]
    Ended(EndReason),
    /// The session was lost while the request was under way.
    #[error("the request is lost: {0}")]
    Lost(Lost),
}
