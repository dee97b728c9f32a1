//! A script as a whole: drawn at once, printed as text, and as the commands that the engine gets.

use super::draw;
use lockwright_engine::{
    Command, Engine, EngineConfig, Event, HashKey, Limits, Refusal, Reply, TimeMs,
};
use lockwright_sim::driver::EngineDriver;
use lockwright_sim::op::{Action, Op};
use proptest::prelude::*;
use std::fmt;

/// Commands under some limits.
pub(crate) struct Script {
    pub(crate) limits: Limits,
    pub(crate) ops: Vec<Op>,
}

/// A command with everything filled in, and its time.
pub(crate) type Timed = (TimeMs, Command);

/// All that an engine says to a command.
#[derive(Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) reply: Result<Reply, Refusal>,
    pub(crate) events: Vec<Event>,
}

/// Scripts of up to 80 commands.
pub(crate) fn scripts() -> impl Strategy<Value = Script> {
    let ops = proptest::collection::vec(draw::op_after(0), 1..=80);
    (draw::limits(), ops).prop_map(|(limits, mut ops)| {
        let mut latest = 0;
        for op in &mut ops {
            // What was drawn is how much later it comes.
            latest += op.at;
            op.at = latest;
        }
        Script { limits, ops }
    })
}

impl Script {
    pub(crate) fn engine(&self, hash_key: HashKey) -> Engine {
        Engine::new(EngineConfig {
            limits: self.limits.clone(),
            hash_key,
            ..EngineConfig::default()
        })
    }

    /// The engine's commands. Which owner and token an op means that leaves them out depends on
    /// what came before, so an engine is asked.
    pub(crate) fn commands(&self) -> Vec<Timed> {
        let mut driver = EngineDriver::new(self.engine(HashKey::default()));
        let mut lines = Vec::new();
        let mut commands = Vec::new();
        for op in &self.ops {
            // The grant whose token is meant may be among what is due before the op.
            let tick = Op {
                at: op.at,
                namespace: None,
                action: Action::Tick,
            };
            driver.step(&tick, &mut lines);
            if let Ok(command) = driver.command_of(op) {
                let at = TimeMs::new(op.at).expect("scripts are short");
                commands.push((at, command));
            }
            driver.step(op, &mut lines);
        }
        commands
    }
}

/// The lines that `bug-finder script` runs.
impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", limits_line(&self.limits))?;
        for op in &self.ops {
            writeln!(f, "{}", op_line(op))?;
        }
        Ok(())
    }
}

pub(crate) fn op_line(op: &Op) -> String {
    serde_json::to_string(op).expect("an op is JSON")
}

pub(crate) fn limits_line(limits: &Limits) -> String {
    let limits = serde_json::to_value(limits).expect("limits are JSON");
    let settings = limits.as_object().expect("with a name each");
    let settings = settings
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    format!("#! limit {}", settings.collect::<Vec<_>>().join(" "))
}

pub(crate) fn apply(engine: &mut Engine, (at, command): &Timed) -> Said {
    let mut events = Vec::new();
    let reply = engine.apply(*at, command, &mut events);
    engine.check();
    Said { reply, events }
}

pub(crate) fn bytes(engine: &Engine) -> String {
    serde_json::to_string(&engine.snapshot()).expect("a snapshot is JSON")
}
