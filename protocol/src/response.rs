//! What a server says.

use crate::ClaimText;
use lockwright_engine::{DurationMs, EndReason, ErrorCode, LimitName, Name, Token};
use serde::{Deserialize, Serialize};

/// What a server says: the answer to a request when it bears a seq, a push when it does not.
/// Answers and pushes of a connection come in the order in which the server applied what they
/// tell of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// The session is open and attached to this connection.
    Opened {
        /// The server lets go of the connection when nothing came for this long, in ms.
        idle_timeout_ms: DurationMs,
        /// How long the session lives without a connection, in ms, when `open` named no time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        abandon_ms: Option<DurationMs>,
    },
    /// The session is attached to this connection.
    Resumed {
        /// As in `opened`.
        idle_timeout_ms: DurationMs,
        /// All live locks of the session, held or queued, in the order of their arrival. A request
        /// that is not among them has ended, or never arrived.
        locks: Vec<LockStatus>,
        /// Whether there are more, in a message of the same kind and seq that follows; left out in the last
        /// one, which most often is the only one.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        more: bool,
    },
    /// A request was granted: a push when it was queued before, else the answer to `acquire`.
    Granted {
        /// Which.
        id: Name,
        /// Its fencing token.
        token: Token,
        /// In a push, the lease from the grant on; in an answer, what was left of it when the
        /// server answered, which is all of it when the lock is new. In ms; left out when the
        /// lock has no lease.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lease_ms: Option<DurationMs>,
        /// The time of the grant minus the time of the request's arrival, in ms.
        waited_ms: DurationMs,
    },
    /// A request is queued: the answer to `acquire`.
    Queued {
        /// Which.
        id: Name,
    },
    /// A request is over: a push, or the answer to an `acquire` that was asked before.
    Ended {
        /// Which.
        id: Name,
        /// How it ended.
        reason: EndReason,
    },
    /// A lease was set anew: the answer to `renew`.
    Renewed {
        /// Which.
        id: Name,
        /// The lease from now on, in ms: what was asked for.
        lease_ms: DurationMs,
    },
    /// It was done: the answer to `cancel`, `release`, `keep_alive` and `close`.
    Done {},
    /// It was refused, and changed nothing. Without a seq when the message was so malformed that
    /// its seq could not be read.
    Error {
        /// The code, to act on.
        error: ErrorCode,
        /// What was got, and what was expected, for people.
        message: String,
        /// With `limit_exceeded`, which limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<LimitName>,
        /// With `request_mismatch`, what the first request with the id asked for; left out when it
        /// has ended, since that is not remembered.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        claims: Vec<ClaimText>,
        /// With `request_mismatch`, how many more claims it has, with paths too long to name them all;
        /// left out when there are none.
        #[serde(default, skip_serializing_if = "crate::is_zero")]
        claims_left_out: usize,
        /// With `request_mismatch`, how the first request with the id ended; left out while it is
        /// queued or held.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended: Option<EndReason>,
    },
}

/// How a live lock stands, in [`Message::Resumed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LockStatus {
    /// It waits.
    Queued {
        /// Which.
        id: Name,
        /// How long it has waited so far, in ms.
        waited_ms: DurationMs,
    },
    /// It is held.
    Held {
        /// Which.
        id: Name,
        /// Its fencing token.
        token: Token,
        /// What is left of its lease, in ms; left out when it has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lease_ms: Option<DurationMs>,
        /// The time of the grant minus the time of the request's arrival, in ms.
        waited_ms: DurationMs,
    },
}

impl LockStatus {
    /// Which lock it is about.
    #[must_use]
    pub fn id(&self) -> &Name {
        match self {
            LockStatus::Queued { id, .. } | LockStatus::Held { id, .. } => id,
        }
    }
}
