//! Watching what a server does.

use lockwright_engine::{Command, Engine, Event, Refusal, Reply, TimeMs, Token};
use std::collections::BTreeSet;

/// Is told of what the server's engine does, in the order in which it does it. Every method does
/// nothing unless it is overridden. They run in the server's own tasks: they must be quick.
///
/// Entries of the log are numbered by an index. A server that starts with what an earlier one left
/// goes through its log again: what it applied before comes again with the same index.
pub trait Probe: Send + Sync + 'static {
    /// The entry `index` says that a server begins to lead, with this engine: the entries before are
    /// applied. No grant takes a smaller
    /// token than this from then on.
    fn began(&self, index: u64, engine: &Engine, first_token: Token) {
        let _ = (index, engine, first_token);
    }

    /// The server leads: from this moment on, its time goes on from `at`.
    fn leads(&self, at: TimeMs) {
        let _ = at;
    }

    /// The replica has done something in Raft. A replica that starts goes through `Applies` of what
    /// it has in its log again, and tells nothing of the log that it found.
    fn raft(&self, event: RaftEvent) {
        let _ = event;
    }

    /// The entry `index` of `term`, which the replica has appended to its log, says which nodes the
    /// cluster has from there on. What is agreed on needs a majority of each of the sets `voters`:
    /// there are two of them while they change.
    fn members(&self, index: u64, term: u64, voters: &[BTreeSet<u64>], learners: &BTreeSet<u64>) {
        let _ = (index, term, voters, learners);
    }

    /// A stop that waits for locks has come so far.
    fn drains(&self, event: DrainEvent) {
        let _ = event;
    }

    /// A proposal has got the time `at`, which is the present.
    fn stamped(&self, at: TimeMs) {
        let _ = at;
    }

    /// The engine has applied `command`, which is of the entry `index`, at `at`; `events` are in
    /// the order in which they happened.
    fn applied(
        &self,
        index: u64,
        at: TimeMs,
        command: &Command,
        result: &Result<Reply, Refusal>,
        events: &[Event],
    ) {
        let _ = (index, at, command, result, events);
    }
}

/// How far a stop that waits for locks has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainEvent {
    /// It has begun: what is asked for from now on is not granted.
    Begins,
    /// What waited has been given up: nothing is granted any more.
    GrantsNothing,
    /// It waits for locks no longer: there are none, or another node has them, or the time is up.
    Over,
    /// It was told to stop at once.
    CutShort,
}

/// What a replica does in Raft. A vote and the end of a log are told when the disk has them, and before
/// anything is done because of them. An append is told when it is in memory, and is durable only later:
/// so the log is never longer than was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaftEvent {
    /// It has voted in `term` for `node`, and with `is_committed` it knows that this one leads. It
    /// remembers that after a crash: a replica that starts tells of the vote that it found.
    Vote {
        /// The term.
        term: u64,
        /// The candidate.
        node: u64,
        /// Whether a majority has voted for the candidate.
        is_committed: bool,
    },
    /// It has begun to lead: a majority has voted for it.
    Leads {
        /// The term.
        term: u64,
    },
    /// It has appended an entry to its log.
    Appended {
        /// The entry's place in the log.
        index: u64,
        /// The term of the leader that made it.
        term: u64,
    },
    /// Its log ends before `from` now, on the disk too.
    Truncated {
        /// The first index that went.
        from: u64,
    },
    /// It applies the entry `index`: it knows that a majority has it.
    Applies {
        /// The entry's place in the log.
        index: u64,
        /// The term of the leader that made it.
        term: u64,
    },
    /// It goes on from a snapshot: one that it got from another node, or that it found as it started.
    Installed {
        /// The last entry that the snapshot has.
        index: u64,
        /// The term of that entry.
        term: u64,
    },
}

/// A probe that looks at nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NoProbe;

impl Probe for NoProbe {}
