//! What the model drives: the engine, or, in tests, an engine that is made wrong.

use lockwright_engine::{Command, Engine, EngineConfig, Event, Limits, Refusal, Reply, TimeMs};

/// Something that takes commands as an [`Engine`] does.
pub trait Machine: Clone + Send + Sync + 'static {
    /// One that has done nothing yet.
    fn new(limits: Limits) -> Self;

    /// As [`Engine::apply`].
    ///
    /// # Errors
    /// As [`Engine::apply`].
    fn apply(
        &mut self,
        at: TimeMs,
        command: &Command,
        events: &mut Vec<Event>,
    ) -> Result<Reply, Refusal>;

    /// The engine that answers questions.
    fn engine(&self) -> &Engine;
}

impl Machine for Engine {
    fn new(limits: Limits) -> Engine {
        Engine::new(EngineConfig {
            limits,
            ..EngineConfig::default()
        })
    }

    fn apply(
        &mut self,
        at: TimeMs,
        command: &Command,
        events: &mut Vec<Event>,
    ) -> Result<Reply, Refusal> {
        Engine::apply(self, at, command, events)
    }

    fn engine(&self) -> &Engine {
        self
    }
}
