//! What was asked of the server and is not answered.

use super::{CallId, LockId};
use lockwright_engine::{DurationMs, Name, Token};
use std::time::Duration;

/// A message that is not answered, or not even sent.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) ask: Ask,
    /// When it was sent on this connection; none if it was not.
    pub(super) sent: Option<Duration>,
    /// How often it was sent, over all connections.
    pub(super) sends: u32,
}

impl Pending {
    pub(super) fn new(ask: Ask) -> Pending {
        Pending {
            ask,
            sent: None,
            sends: 0,
        }
    }
}

/// What is asked. It stands by itself: the lock may be over before the answer comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    Acquire {
        lock: LockId,
    },
    Cancel {
        lock: LockId,
        id: Name,
        /// None when nobody waits for it.
        call: Option<CallId>,
    },
    Release {
        lock: LockId,
        id: Name,
        token: Token,
        /// None when nobody waits for it.
        call: Option<CallId>,
    },
    Renew {
        lock: LockId,
        id: Name,
        token: Token,
        ttl: DurationMs,
        call: CallId,
    },
    Done {
        ids: Vec<Name>,
    },
    KeepAlive,
    Close {
        call: Option<CallId>,
    },
}
