//! What watchers are told.

use axum::body::Bytes;
use lockwright_engine::{Claim, EventKind, TimeMs};
use lockwright_protocol::Label;
use std::sync::{
    Arc, OnceLock,
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

/// What an entry of the log did, as watchers are told of it.
#[derive(Debug, Clone)]
pub(crate) enum Sightings {
    /// All of it.
    These(Vec<Arc<Sighting>>),
    /// It is too much.
    TooMany,
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
    /// As it is told to watchers, once it was to one of them: it is the same for all.
    pub(crate) line: OnceLock<Bytes>,
    /// Its part of what all may have.
    #[expect(dead_code, reason = "it is held for what its drop does")]
    pub(crate) room: Room,
}

/// Bytes of what all sightings say that are not told to all watchers yet.
const BYTES_MAX: usize = 64 << 20;

/// Bytes that a sighting and each of its claims has beside its texts.
const BYTES_EACH: usize = 256;

/// Those who watch. As long as there are some, sightings are made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watchers(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    watchers: AtomicUsize,
    /// Of sightings.
    bytes: AtomicUsize,
}

impl Watchers {
    /// One more, until what this gives is dropped. It is shown all that is applied from now on.
    pub(crate) fn begin(&self) -> Watching {
        self.0.watchers.fetch_add(1, SeqCst);
        Watching(self.0.clone())
    }

    /// Whether there are any.
    pub(crate) fn are_there(&self) -> bool {
        self.0.watchers.load(SeqCst) > 0
    }

    /// How many bytes sightings may have yet.
    pub(crate) fn bytes_left(&self) -> usize {
        BYTES_MAX.saturating_sub(self.0.bytes.load(SeqCst))
    }

    /// Room for a sighting of such a request; none if there is no more.
    pub(crate) fn room(&self, claims: &[Claim], label: Option<&Label>) -> Option<Room> {
        let paths: usize = claims.iter().map(|claim| claim.path.as_str().len()).sum();
        let label = label.map_or(0, |label| label.as_str().len());
        // Once as they are, and once as a line.
        let bytes = 2 * (paths + label) + BYTES_EACH * (claims.len() + 1);
        let before = self.0.bytes.fetch_add(bytes, SeqCst);
        let counts = self.0.clone();
        let room = Room { bytes, counts };
        (before + bytes <= BYTES_MAX).then_some(room)
    }
}

/// Room of a sighting, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: usize,
    counts: Arc<Counts>,
}

impl Drop for Room {
    fn drop(&mut self) {
        let before = self.counts.bytes.fetch_sub(self.bytes, SeqCst);
        assert!(before >= self.bytes, "each that goes was counted");
    }
}

/// One that watches.
#[derive(Debug)]
pub(crate) struct Watching(Arc<Counts>);

impl Drop for Watching {
    fn drop(&mut self) {
        let before = self.0.watchers.fetch_sub(1, SeqCst);
        assert!(before > 0, "each that goes was counted");
    }
}
