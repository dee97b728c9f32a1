//! What watchers are told.

use lockwright_engine::{EventKind, LockInfo, TimeMs};
use lockwright_protocol::Label;

/// Events that may wait for a watcher. One that reads so slowly that more wait is cut off.
pub(crate) const WAITING_MAX: usize = 1024;

/// Something that happened to a lock.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) at: TimeMs,
    pub(crate) kind: EventKind,
    /// The request as it is now; without claims once it has ended.
    pub(crate) lock: Option<LockInfo>,
    /// What people are told of it; none once it has ended.
    pub(crate) label: Option<Label>,
}
