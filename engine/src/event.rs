//! What the engine says: the reply to a command, and events.

use crate::{Claim, LimitName, LockKey, NameError, PathError, SessionKey, TimeMs, Token};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a request ended. There is exactly one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Its owner released it.
    Released,
    /// Its lease ran out.
    Expired,
    /// It was given up while queued.
    Cancelled,
    /// Its wait deadline passed while it was queued.
    TimedOut,
    /// Its session ended.
    SessionEnded,
    /// An operator broke it.
    Broken,
}

impl EndReason {
    /// The reason as scripts and protocols write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            EndReason::Released => "released",
            EndReason::Expired => "expired",
            EndReason::Cancelled => "cancelled",
            EndReason::TimedOut => "timed_out",
            EndReason::SessionEnded => "session_ended",
            EndReason::Broken => "broken",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a request is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockState {
    /// It waits.
    Queued {
        /// When it gives up; none if it waits for ever.
        deadline: Option<TimeMs>,
    },
    /// It is granted.
    Held {
        /// The token of the grant.
        token: Token,
        /// When it was granted.
        granted_at: TimeMs,
        /// When the lease runs out; none if it has no lease.
        expires: Option<TimeMs>,
    },
    /// It is over.
    Ended {
        /// How.
        reason: EndReason,
        /// When.
        at: TimeMs,
        /// The token it had, if it was ever granted.
        token: Option<Token>,
    },
}

/// What became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionChange {
    /// It was opened, and is attached.
    Open,
    /// A connection came (or came back).
    Attached,
    /// Its connection went.
    Detached,
    /// It gave a sign of life.
    Alive,
    /// It is over, and nothing of it is live.
    Ended,
}

impl SessionChange {
    /// The change as scripts and protocols write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            SessionChange::Open => "open",
            SessionChange::Attached => "attached",
            SessionChange::Detached => "detached",
            SessionChange::Alive => "alive",
            SessionChange::Ended => "ended",
        }
    }
}

/// Something that happened, at its own time, which may be earlier than the command's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened.
    pub at: TimeMs,
    /// What happened.
    pub kind: EventKind,
}

/// What an [`Event`] says. Every change of a lock or session is an event, the command's own too;
/// they come in the order in which they happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A request was queued.
    Queued {
        /// Which.
        lock: LockKey,
    },
    /// A request was granted.
    Granted {
        /// Which.
        lock: LockKey,
        /// The token of the grant.
        token: Token,
        /// When the lease runs out; none if it has no lease.
        expires: Option<TimeMs>,
        /// When the request arrived.
        arrived_at: TimeMs,
    },
    /// A held lock's lease was set anew.
    Renewed {
        /// Which.
        lock: LockKey,
        /// When the lease runs out now.
        expires: TimeMs,
    },
    /// A request ended.
    Ended {
        /// Which.
        lock: LockKey,
        /// How.
        reason: EndReason,
    },
    /// A session changed. Its end comes after the ends of its requests and before the grants
    /// that the last of them set free.
    Session {
        /// Which.
        session: SessionKey,
        /// How.
        change: SessionChange,
    },
}

impl EventKind {
    /// The request that it is about; none if it is about a session.
    #[must_use]
    pub const fn lock(&self) -> Option<&LockKey> {
        match self {
            EventKind::Queued { lock }
            | EventKind::Granted { lock, .. }
            | EventKind::Renewed { lock, .. }
            | EventKind::Ended { lock, .. } => Some(lock),
            EventKind::Session { .. } => None,
        }
    }
}

/// The answer to a command that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To an acquire: where the request is now.
    Acquired {
        /// Its state.
        state: LockState,
        /// Whether this is the first time this id was seen. If not, nothing was done, and the
        /// claims are those of the first time.
        fresh: bool,
    },
    /// To a renewal: when the lease runs out now.
    Renewed {
        /// The new end of the lease.
        expires: TimeMs,
    },
    /// To every other command: it was done.
    Done,
}

/// Why a command was refused. A refused command changes nothing (apart from the time).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It would have to wait and may not.
    #[error("the request would have to wait, and says that it will not")]
    Busy,
    /// The lock is not held: it is queued or has ended.
    #[error("the lock is not held: it still waits, or has ended")]
    NotHeld,
    /// The token is not that of the lock's grant.
    #[error("the token {given} is not that of the lock")]
    StaleToken {
        /// The token that came with the command.
        given: Token,
    },
    /// The request is not queued: it is held or has ended.
    #[error("the request is not queued: it was granted, or has ended")]
    NotQueued,
    /// There never was such a request, or it is forgotten.
    #[error("there is no request with this id, or it ended so long ago that it is forgotten")]
    UnknownLock,
    /// No such session is open; the end of one may not be complete yet.
    #[error("no such session is open: it never was, or has ended")]
    UnknownSession,
    /// The command is malformed.
    #[error("{0}")]
    InvalidRequest(InvalidRequest),
    /// A limit would be exceeded.
    #[error("the limit {limit} is {max}, and this would be {got}")]
    LimitExceeded {
        /// Which limit.
        limit: LimitName,
        /// Its value.
        max: u32,
        /// What the command would have made it.
        got: u64,
    },
    /// The id is that of an earlier request of the owner, live or remembered, for other claims.
    #[error("{0}")]
    RequestMismatch(Box<FirstRequest>),
}

/// The request that has the id of one that is refused as `request_mismatch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstRequest {
    /// What it asked for, without duplicates and covered claims; empty once it has ended, since that
    /// is not remembered.
    pub claims: Vec<Claim>,
    /// How many of its claims are not in `claims`: of long paths there are only as many as fit in
    /// [`FirstRequest::PATH_BYTES_MAX`], so that a short request gets no long answer.
    pub left_out: usize,
    /// How it ended; none while it is queued or held.
    pub ended: Option<EndReason>,
}

impl FirstRequest {
    /// How many bytes of paths are named, unless the first path alone is longer.
    pub const PATH_BYTES_MAX: usize = 1024;

    /// A request that is queued or held, and asked for `claims`, of which there is at least one.
    #[must_use]
    pub fn live(mut claims: Vec<Claim>) -> FirstRequest {
        let mut bytes = 0;
        let named = claims.iter().take_while(|claim| {
            let is_first = bytes == 0;
            // With the mode, and what is between them.
            bytes += claim.path.as_str().len() + 2;
            is_first || bytes <= FirstRequest::PATH_BYTES_MAX
        });
        let named = named.count();
        let left_out = claims.len() - named;
        claims.truncate(named);
        FirstRequest {
            claims,
            left_out,
            ended: None,
        }
    }

    /// A request that has ended, and whose claims are not remembered.
    #[must_use]
    pub fn over(reason: EndReason) -> FirstRequest {
        FirstRequest {
            claims: Vec::new(),
            left_out: 0,
            ended: Some(reason),
        }
    }
}

impl fmt::Display for FirstRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id is that of an earlier request, for ")?;
        if self.claims.is_empty() {
            f.write_str("other claims")?;
        }
        for (place, claim) in self.claims.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{claim}")?;
        }
        if self.left_out > 0 {
            write!(f, " and {} more", self.left_out)?;
        }
        if let Some(reason) = self.ended {
            write!(f, ", which ended as {reason}")?;
        }
        f.write_str(": another request needs another id")
    }
}

/// What is malformed in a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum InvalidRequest {
    /// A request without claims.
    #[error("a request needs at least one claim")]
    NoClaims,
    /// A ttl of zero.
    #[error("a ttl must be at least 1 ms; leave it out for a lock without a lease")]
    ZeroTtl,
    /// The session to be opened is open, or its end is not complete.
    #[error("the session is open already, or about to be over: attach to it instead, or wait")]
    SessionOpen,
    /// A request that a session says it is done with has not ended.
    #[error("a request that has not ended cannot be done with: cancel or release it first")]
    NotOver,
}

/// The error codes, the same in the engine, scripts, HTTP and WebSocket (SEMANTICS section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Would have to wait and may not.
    Busy,
    /// Not held.
    NotHeld,
    /// Another token than the lock's.
    StaleToken,
    /// Not queued.
    NotQueued,
    /// No such request.
    UnknownLock,
    /// No such session.
    UnknownSession,
    /// A text that is no path.
    InvalidPath,
    /// A malformed command.
    InvalidRequest,
    /// A limit would be exceeded.
    LimitExceeded,
    /// An id that comes again for other claims.
    RequestMismatch,
}

impl ErrorCode {
    /// The code as scripts and protocols write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorCode::Busy => "busy",
            ErrorCode::NotHeld => "not_held",
            ErrorCode::StaleToken => "stale_token",
            ErrorCode::NotQueued => "not_queued",
            ErrorCode::UnknownLock => "unknown_lock",
            ErrorCode::UnknownSession => "unknown_session",
            ErrorCode::InvalidPath => "invalid_path",
            ErrorCode::InvalidRequest => "invalid_request",
            ErrorCode::LimitExceeded => "limit_exceeded",
            ErrorCode::RequestMismatch => "request_mismatch",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Refusal {
    /// The error's code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Refusal::Busy => ErrorCode::Busy,
            Refusal::NotHeld => ErrorCode::NotHeld,
            Refusal::StaleToken { .. } => ErrorCode::StaleToken,
            Refusal::NotQueued => ErrorCode::NotQueued,
            Refusal::UnknownLock => ErrorCode::UnknownLock,
            Refusal::UnknownSession => ErrorCode::UnknownSession,
            Refusal::InvalidRequest(_) => ErrorCode::InvalidRequest,
            Refusal::LimitExceeded { .. } => ErrorCode::LimitExceeded,
            Refusal::RequestMismatch(_) => ErrorCode::RequestMismatch,
        }
    }
}

impl From<PathError> for ErrorCode {
    fn from(_: PathError) -> ErrorCode {
        ErrorCode::InvalidPath
    }
}

impl From<NameError> for ErrorCode {
    fn from(_: NameError) -> ErrorCode {
        ErrorCode::InvalidRequest
    }
}
