//! Bytes as commands: the engine against the reference model.

use super::bytes::Bytes;
use crate::driver::EngineDriver;
use crate::line::Line;
use crate::model::{Model, ModelLimits};
use crate::op::Op;
use lockwright_engine::{Engine, EngineConfig, Limits};

/// Reads the bytes as limits and commands; the engine must say what the reference model says, and
/// keep its invariants.
///
/// # Panics
/// When it does not.
pub fn commands(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let limits = bytes.limits();
    let ops = bytes.ops();
    let mut model = Model::new(ModelLimits::from(&limits));
    let mut driver = driver_with(limits);
    let (mut expected, mut lines) = (Vec::new(), Vec::new());
    for (index, op) in ops.iter().enumerate() {
        expected.clear();
        lines.clear();
        model.step(op, &mut expected);
        driver.step(op, &mut lines);
        driver.engine().check();
        assert!(
            lines == expected,
            "engine and model differ after\n{}\nmodel:\n{}engine:\n{}",
            script(&ops[..=index]),
            text(&expected),
            text(&lines)
        );
    }
}

/// An engine with these limits, driven by ops.
pub(super) fn driver_with(limits: Limits) -> EngineDriver {
    EngineDriver::new(Engine::new(EngineConfig {
        limits,
        ..EngineConfig::default()
    }))
}

fn script(ops: &[Op]) -> String {
    let line = |op| serde_json::to_string(op).unwrap_or_else(|error| error.to_string());
    ops.iter().map(|op| line(op) + "\n").collect()
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}
