//! What comes out: the lines of a script's output, which are also what the engine and the
//! reference model are compared by, and what the oracles of the engine profile see.

use crate::op::{OpOwner, Text};
use std::sync::Arc;

/// Full identity of a lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineLock {
    /// Its namespace.
    pub namespace: Text,
    /// Its owner.
    pub owner: OpOwner,
    /// Its request id; the only part that a script's output shows.
    pub id: Text,
}

/// What an error line is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// `"id"`
    Lock(Text),
    /// `"session"`
    Session(Text),
    /// `"path"`
    Path(Text),
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When, in ms: an event's own time.
    pub at: u64,
    /// What.
    pub what: What,
}

/// What a [`Line`] says. Error codes, end reasons and session states are those of the engine's
/// `ErrorCode::as_str`, `EndReason::as_str` and `SessionChange::as_str`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A request was granted.
    Granted {
        /// Which.
        lock: LineLock,
        /// Its token.
        token: u64,
    },
    /// A request was queued.
    Queued {
        /// Which.
        lock: LineLock,
    },
    /// A request was refused.
    Refused {
        /// Which.
        lock: LineLock,
        /// The error code.
        error: &'static str,
    },
    /// A request ended.
    Ended {
        /// Which.
        lock: LineLock,
        /// Why.
        reason: &'static str,
    },
    /// A lease was renewed.
    Renewed {
        /// Which.
        lock: LineLock,
        /// Its new end.
        expires: u64,
    },
    /// A session changed.
    Session {
        /// Its namespace; not shown.
        namespace: Text,
        /// Its name.
        session: Text,
        /// Its state.
        state: &'static str,
    },
    /// The live requests that overlap a path, in arrival order.
    Inspect {
        /// The path.
        path: Text,
        /// Ids of the held ones.
        held: Vec<Text>,
        /// Ids of the queued ones.
        queued: Vec<Text>,
    },
    /// An op other than an acquire was refused.
    Error {
        /// The op's name.
        op: &'static str,
        /// What it was about.
        subject: Subject,
        /// The error code.
        error: &'static str,
    },
}

/// A list of lines, shared.
pub type Lines = Arc<[Line]>;
