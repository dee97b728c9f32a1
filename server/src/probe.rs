//! Watching what a server does.

use lockwright_engine::{Command, Engine, Event, Refusal, Reply, TimeMs, Token};

/// Is told of what the server's engine does, in the order in which it does it. Every method does
/// nothing unless it is overridden. They run in the server's own tasks: they must be quick.
///
/// Entries of the log are numbered by an index. A server that starts with what an earlier one left
/// goes through its log again: what it applied before comes again with the same index.
pub trait Probe: Send + Sync + 'static {
    /// The entry `index` says that a server begins to lead, with this engine: the entries before are
    /// applied. The first token is this one if none was given yet.
    fn began(&self, index: u64, engine: &Engine, first_token: Token) {
        let _ = (index, engine, first_token);
    }

    /// The server leads: from this moment on, its time goes on from `at`.
    fn leads(&self, at: TimeMs) {
        let _ = at;
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

/// A probe that looks at nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NoProbe;

impl Probe for NoProbe {}
