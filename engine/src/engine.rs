//! The state machine.

use crate::{Command, Event, Limits, Refusal, Reply, TimeMs};

/// The lock engine.
#[derive(Debug, Clone)]
pub struct Engine {
    now: TimeMs,
}

/// The secret key of the engine's hash tables; see [`Engine::new`].
#[derive(Debug, Clone, Copy, Default)]
pub struct HashKey(pub [u64; 2]);

impl Engine {
    /// An empty engine at time zero. Its hash tables are keyed with `key`, which should be drawn at random by
    /// whoever serves clients that it does not trust; no result depends on it.
    #[must_use]
    pub fn new(_limits: Limits, _key: HashKey) -> Engine {
        Engine { now: TimeMs::ZERO }
    }

    /// Applies `command` at time `at`.
    pub fn apply(
        &mut self,
        _at: TimeMs,
        _command: &Command,
        _events: &mut Vec<Event>,
    ) -> Result<Reply, Refusal> {
        unimplemented!()
    }

    /// The engine's latest time.
    #[must_use]
    pub fn now(&self) -> TimeMs {
        self.now
    }

    /// When something is due next; none if nothing is.
    #[must_use]
    pub fn next_deadline(&self) -> Option<TimeMs> {
        unimplemented!()
    }
}
