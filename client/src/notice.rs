//! What a client is told of its locks.

use crate::Refused;
use lockwright_engine::{EndReason, Token};
use std::{fmt, time::Duration};

/// Something happened to a lock. There are at most three: it was queued, it was granted, and it is
/// over ([`is_last`](Notice::is_last)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// It waits.
    Queued,
    /// It is held.
    Granted {
        /// Its fencing token.
        token: Token,
        /// Until when the client believes in it, on its own monotonic clock, if nothing more is
        /// heard: news from the server and renewals move it. It may have passed already.
        deadline: Duration,
    },
    /// It was refused, and nothing is left of it.
    Refused(Refused),
    /// It has ended, says the server.
    Ended(EndReason),
    /// The client must no longer believe in it, although the server has not said that it ended.
    Lost(Lost),
}

impl Notice {
    /// Whether it is the last of its lock.
    #[must_use]
    pub fn is_last(&self) -> bool {
        match self {
            Notice::Queued | Notice::Granted { .. } => false,
            Notice::Refused(_) | Notice::Ended(_) | Notice::Lost(_) => true,
        }
    }
}

/// Why a client no longer believes in a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lost {
    /// Its lease has run out on the client's own count.
    LeaseOver,
    /// The server has not been heard of for so long that it may have ended the session.
    OutOfTouch,
    /// The client was away, and when it came back the lock was gone.
    GoneMeanwhile,
    /// The session is over, or the server has forgotten it.
    SessionOver,
    /// The client was closed.
    Closed,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lost::LeaseOver => "its lease has run out",
            Lost::OutOfTouch => "the server was not heard of for too long",
            Lost::GoneMeanwhile => "it ended while the client was away",
            Lost::SessionOver => "the session is over, or the server has forgotten it",
            Lost::Closed => "the client was closed",
        })
    }
}
