//! What a client says.

use crate::{ClaimText, Secret, WaitMs};
use lockwright_engine::{DurationMs, Name, Token};
use serde::{Deserialize, Deserializer, Serialize};

/// Ids that one [`Done`](Request::Done) may have.
pub const DONE_IDS_MAX: usize = 1000;

/// A field that is there has a value: `null` is not as if it were missing.
pub(crate) fn there<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    field: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

/// What a client asks. Each is answered, once, with a message that bears its seq.
///
/// The first on a connection is [`Open`](Request::Open) or [`Resume`](Request::Resume); the
/// others are about that session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Opens a session, or attaches to it when it is open with the same secret (so that it can be
    /// asked again after a lost answer). Answered `opened`.
    Open {
        /// The session's namespace.
        namespace: Name,
        /// Its name, drawn at random by the client.
        session: Name,
        /// Its secret, drawn at random by the client.
        secret: Secret,
        /// How long it lives without a connection, in ms; the server's default when left out, which
        /// `opened` then tells.
        #[serde(skip_serializing_if = "Option::is_none")]
        abandon_ms: Option<DurationMs>,
        /// What people are told of it: at most 256 bytes, without control characters. That of the
        /// first `open` counts.
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
    /// Attaches to a session that is open, in place of the connection that it had. Answered
    /// `resumed`, or `unknown_session` when it is over, or never was, or has another secret.
    Resume {
        /// The session's namespace.
        namespace: Name,
        /// Its name.
        session: Name,
        /// Its secret.
        secret: Secret,
    },
    /// Asks for locks. Answered `granted` or `queued`; a push tells what comes later. With an id
    /// that was asked with before, nothing is done: the answer says how that request stands,
    /// which may be `ended`.
    Acquire {
        /// Names the request within the session.
        id: Name,
        /// What is asked for: `r` or `w`, a space, and a path.
        claims: Vec<ClaimText>,
        /// The lease in ms, counted from the grant; without it the lock has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl_ms: Option<DurationMs>,
        /// How long to wait: `"no"`, `"forever"` (as without it), or milliseconds.
        wait: WaitMs,
        /// What people are told of it, instead of the label of its session. That of the first
        /// `acquire` with the id counts.
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
    /// Gives up a queued request. Answered `done`.
    Cancel {
        /// Which request.
        id: Name,
    },
    /// Ends a held lock. Answered `done`.
    Release {
        /// Which lock.
        id: Name,
        /// The token of its grant.
        token: Token,
    },
    /// Sets the end of a held lock's lease to now plus `ttl_ms`. Answered `renewed`.
    Renew {
        /// Which lock.
        id: Name,
        /// The token of its grant.
        token: Token,
        /// The new lease in ms.
        ttl_ms: DurationMs,
    },
    /// Of requests that have ended: the client will never ask with these ids again, and the server forgets
    /// how they ended. Answered `done`, also for ids that are not known; refused when one has not ended.
    Done {
        /// Which requests: at most [`DONE_IDS_MAX`].
        ids: Vec<Name>,
    },
    /// A sign of life, when there is nothing else to say. Answered `done`.
    KeepAlive {},
    /// Ends the session and all its locks. Answered `done`; then the server closes the connection.
    Close {},
}
