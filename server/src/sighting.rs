//! What watchers are told.

use lockwright_engine::{Claim, EventKind, TimeMs};
use lockwright_protocol::Label;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

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

/// Something that happened to a lock, with all that watchers are told of the request. Each is made as it happens, of
/// the state of that moment: a watcher keeps nothing.
#[derive(Debug)]
pub(crate) struct Sighting {
    /// The place in the log of what let it happen.
    pub(crate) index: u64,
    pub(crate) at: TimeMs,
    pub(crate) kind: EventKind,
    /// What the request claims, or claimed until it ended.
    pub(crate) claims: Vec<Claim>,
    /// What people are told of the request.
    pub(crate) label: Option<Label>,
}

/// How many watch. As long as there are some, sightings are made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watchers(Arc<AtomicUsize>);

impl Watchers {
    /// One more, until what this gives is dropped. It is shown all that is applied from now on.
    pub(crate) fn begin(&self) -> Watching {
        self.0.fetch_add(1, SeqCst);
        Watching(self.0.clone())
    }

    /// Whether there are any.
    pub(crate) fn are_there(&self) -> bool {
        self.0.load(SeqCst) > 0
    }
}

/// One that watches.
#[derive(Debug)]
pub(crate) struct Watching(Arc<AtomicUsize>);

impl Drop for Watching {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, SeqCst);
        assert!(before > 0, "each that goes was counted");
    }
}
