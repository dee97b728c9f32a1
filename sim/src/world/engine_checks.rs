//! What the world of profile `engine` checks beside the oracles of the stream.

use crate::{
    driver::EngineDriver,
    line::Line,
    memory,
    op::Op,
    oracle::bounded::{self, Checkpoint},
    outcome::Violation,
};
use lockwright_engine::{Command, Engine, HashKey, MAX_MS, Path, Reply};

/// After how many rounds the memory is looked at. Twice as many each time, since a table that
/// grows does so by doubling.
const CHECKPOINTS: [u32; 4] = [1, 2, 4, 8];

/// An idle engine holds nothing.
pub(super) fn nothing_left(engine: &Engine) -> Result<(), Violation> {
    let at = engine.now().as_ms();
    let usage = engine.usage();
    let left: Option<&dyn std::fmt::Debug> = (!usage.is_zero()).then_some(&usage);
    bounded::nothing_left(at, left)?;
    let deadline = engine.next_deadline();
    let left = deadline
        .as_ref()
        .map(|deadline| deadline as &dyn std::fmt::Debug);
    bounded::nothing_left(at, left)
}

/// The same commands again and again need no more memory. Without a counting allocator there is
/// nothing to see.
pub(super) fn no_leak(driver: &mut EngineDriver, ops: &[Op]) -> Result<(), Violation> {
    if memory::allocated().is_none() {
        return Ok(());
    }
    let mut ops = ops.to_vec();
    let latest = ops.iter().map(|op| op.at).max().unwrap_or(0);
    let mut lines = Vec::new();
    let mut checkpoints = Vec::with_capacity(CHECKPOINTS.len());
    let mut start = 0;
    for round in 1..=CHECKPOINTS[CHECKPOINTS.len() - 1] {
        let now = driver.engine().now().as_ms();
        let shift = now - start;
        start = now;
        if now + latest > MAX_MS / 2 {
            return Ok(());
        }
        for op in &mut ops {
            op.at += shift;
            lines.clear();
            driver.step(op, &mut lines);
        }
        end_everything(driver.engine_mut());
        nothing_left(driver.engine())?;
        if CHECKPOINTS.contains(&round) {
            lines = Vec::new();
            checkpoints.push(Checkpoint {
                rounds: round,
                allocated: memory::allocated().unwrap_or(0),
            });
        }
    }
    bounded::no_leak(driver.engine().now().as_ms(), &checkpoints)
}

/// Ends all requests and sessions of an engine, and lets them be forgotten.
fn end_everything(engine: &mut Engine) {
    let now = engine.now();
    let mut events = Vec::new();
    let locks = engine.namespaces().into_iter().flat_map(|namespace| {
        let live = engine.overlapping(&namespace, &Path::root());
        live.into_iter().map(|info| Command::Break {
            lock: info.key,
            token: None,
        })
    });
    let sessions = engine
        .sessions()
        .map(|info| Command::CloseSession { session: info.key });
    let ends: Vec<Command> = locks.chain(sessions).collect();
    for end in ends {
        let ended = engine.apply(now, &end, &mut events);
        assert_eq!(ended, Ok(Reply::Done), "what is live or open can be ended");
    }
    let forgotten = now.after(engine.limits().retention);
    let ticked = engine.apply(forgotten, &Command::Tick, &mut events);
    assert_eq!(ticked, Ok(Reply::Done), "a tick is never refused");
}

/// Two engines that were told the same say the same.
pub(super) fn same_lines(
    at_ms: u64,
    op: &Op,
    lines: &[Line],
    twin: &[Line],
) -> Result<(), Violation> {
    if lines == twin {
        return Ok(());
    }
    let op = serde_json::to_string(op).unwrap_or_else(|error| error.to_string());
    Err(differs(
        at_ms,
        format!("after {op} one engine says {lines:?}, and one with another hash key {twin:?}"),
    ))
}

/// Puts the engine into a snapshot and brings it back from there, with another hash key; it must
/// be the same.
pub(super) fn survives_restore(engine: &mut Engine, hash_key: HashKey) -> Result<(), Violation> {
    let at = engine.now().as_ms();
    let broken = |what: &str| differs(at, what.to_owned());
    let snapshot = engine.snapshot();
    let bytes = serde_json::to_vec(&snapshot)
        .map_err(|error| differs(at, format!("the engine has no snapshot in JSON: {error}")))?;
    let clone = engine.clone();
    if clone != *engine {
        return Err(broken("the engine is not equal to its clone"));
    }
    if serde_json::to_vec(&clone.snapshot()).ok().as_ref() != Some(&bytes) {
        return Err(broken(
            "the snapshots of the engine and of its clone differ",
        ));
    }
    let read = serde_json::from_slice(&bytes)
        .map_err(|error| differs(at, format!("the engine's snapshot cannot be read: {error}")))?;
    let restored = Engine::restore(&read, hash_key)
        .map_err(|error| differs(at, format!("the engine's snapshot is refused: {error}")))?;
    restored.check();
    if restored != *engine {
        return Err(broken(
            "the engine is not equal to the one restored from its snapshot",
        ));
    }
    *engine = restored;
    Ok(())
}

fn differs(at_ms: u64, message: String) -> Violation {
    Violation {
        oracle: "same_engine".to_owned(),
        rule: "DESIGN 2: two engines that have applied the same commands are equal and serialize \
               to the same bytes"
            .to_owned(),
        at_ms,
        message,
    }
}
