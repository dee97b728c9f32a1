//! What watchers are told.

use lockwright_engine::{Claim, EventKind, LockInfo, TimeMs};
use lockwright_protocol::Label;
use std::sync::Arc;

/// Events that may wait for a watcher. One that reads so slowly that more wait is cut off.
pub(crate) const WAITING_MAX: usize = 1024;

/// What watchers are told.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// Something happened.
    Sighting(Arc<Sighting>),
    /// Something happened that is not told: what they know is worth nothing any more.
    Missed,
}

/// Something that happened to a lock.
#[derive(Debug)]
pub(crate) struct Sighting {
    /// The place in the log of what let it happen.
    pub(crate) index: u64,
    pub(crate) at: TimeMs,
    pub(crate) kind: EventKind,
    /// What the request claims, when it has just arrived. It may have ended since.
    pub(crate) arrived: Option<Vec<Claim>>,
    /// The request as it is now; without claims once it has ended.
    pub(crate) lock: Option<LockInfo>,
    /// What people are told of it; none once it has ended.
    pub(crate) label: Option<Label>,
}
