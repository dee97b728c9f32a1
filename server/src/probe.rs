//! Watching what a server does.

use lockwright_engine::{Command, Event, Refusal, Reply, TimeMs, Token};

/// Is told of what the server's engine does, in the order in which it does it. Every method does
/// nothing unless it is overridden. They run in the server's own task: they must be quick.
pub trait Probe: Send + Sync + 'static {
    /// The engine has started, empty; its first grant will take `first_token`.
    fn started(&self, first_token: Token) {
        let _ = first_token;
    }

    /// The engine has applied `command` at `at`; `events` are in the order in which they happened.
    fn applied(
        &self,
        at: TimeMs,
        command: &Command,
        result: &Result<Reply, Refusal>,
        events: &[Event],
    ) {
        let _ = (at, command, result, events);
    }
}

/// A probe that looks at nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NoProbe;

impl Probe for NoProbe {}
