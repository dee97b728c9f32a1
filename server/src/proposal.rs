//! What the log is made of.

use lockwright_engine::{Command, DurationMs, Limits, SessionKey, TimeMs, Token};
use lockwright_protocol::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Something to be done at a time: an entry of the log. Whoever applies the same proposals in the
/// same order gets the same [`Machine`](crate::machine::Machine).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposal {
    /// When, by the clock of the leader that made it; later ones are never earlier.
    pub(crate) at: TimeMs,
    /// What.
    pub(crate) action: Action,
}

/// What is to be done. The order of the variants is part of the format of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    /// A server begins to lead: no connection of before is there any more. Its time does not count.
    Begin {
        /// The limits from now on.
        limits: Limits,
        /// The first token, if none was given yet.
        first_token: Token,
    },
    /// A connection opens a session, or comes back to it.
    Open {
        /// Which.
        session: SessionKey,
        /// What proves that a connection may speak for it.
        secret: SecretHash,
        /// How long it lives without a connection.
        abandon: DurationMs,
    },
    /// A connection comes back to a session.
    Resume {
        /// Which.
        session: SessionKey,
        /// What proves that the connection may speak for it.
        secret: SecretHash,
    },
    /// A connection has gone.
    Detach {
        /// Whose.
        session: SessionKey,
        /// How it was attached: a later connection is left alone.
        attachment: Attachment,
    },
    /// The connection of a session has a request.
    Ask {
        /// Whose.
        session: SessionKey,
        /// How it is attached: what a replaced connection still says does not count.
        attachment: Attachment,
        /// What it asks for.
        command: Command,
    },
    /// Nothing but the time.
    Tick,
}

/// Which connection a session has: the index of the log entry that attached it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Attachment(pub(crate) u64);

/// The SHA-256 of a session's secret: what is kept and sent to others proves nothing to anybody.
/// Secrets are drawn at random by clients and long, so they cannot be guessed from it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretHash([u8; 32]);

impl SecretHash {
    pub(crate) fn of(secret: Secret) -> SecretHash {
        SecretHash(Sha256::digest(String::from(secret).as_bytes()).into())
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} ms", self.action, self.at.as_ms())
    }
}
