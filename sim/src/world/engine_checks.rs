//! What the world of profile `engine` checks beside the oracles of the stream.

use crate::{
    driver::EngineDriver,
    line::Line,
    memory,
    op::{Action, Op, OpOwner, Text},
    oracle::bounded::{self, Checkpoint},
    outcome::Violation,
};
use lockwright_engine::{
    Claim, Command, Engine, EngineCopy, HashKey, Limits, LockKey, MAX_MS, Name, Owner, Path, Reply,
    Snapshot, Wait,
};
use std::fmt::Debug;

/// After how many rounds the memory is looked at. Twice as many each time, since a table that
/// grows does so by doubling.
const CHECKPOINTS: [u32; 4] = [1, 2, 4, 8];

/// An idle engine holds nothing.
pub(super) fn nothing_left(engine: &Engine) -> Result<(), Violation> {
    let at = engine.now().as_ms();
    let usage = engine.usage();
    let left: Option<&dyn Debug> = (!usage.is_zero()).then_some(&usage);
    bounded::nothing_left(at, left)?;
    let deadline = engine.next_deadline();
    let left = deadline.as_ref().map(|deadline| deadline as &dyn Debug);
    bounded::nothing_left(at, left)
}

/// The same commands again and again need no more memory, while an old lock is held all the time:
/// what is only cleaned up when the whole engine falls idle is a leak in a busy one. Without a
/// counting allocator there is nothing to see.
pub(super) fn no_leak(driver: &mut EngineDriver, ops: &[Op]) -> Result<(), Violation> {
    if memory::allocated().is_none() {
        return Ok(());
    }
    let old = hold_old_lock(driver.engine_mut());
    let idle = driver.engine().usage();
    let latest = ops.iter().map(|op| op.at).max().unwrap_or(0);
    let mut checkpoints = Vec::with_capacity(CHECKPOINTS.len());
    for round in 1..=CHECKPOINTS[CHECKPOINTS.len() - 1] {
        let start = driver.engine().now().as_ms();
        if start + latest > MAX_MS / 2 {
            return Ok(());
        }
        play_round(driver, ops, start);
        end_everything(driver.engine_mut(), old.as_ref());
        let usage = driver.engine().usage();
        let left: Option<&dyn Debug> = (usage != idle).then_some(&usage);
        bounded::nothing_left(driver.engine().now().as_ms(), left)?;
        if CHECKPOINTS.contains(&round) {
            checkpoints.push(Checkpoint {
                rounds: round,
                allocated: memory::allocated().unwrap_or(0),
            });
        }
    }
    bounded::no_leak(driver.engine().now().as_ms(), &checkpoints)?;
    end_everything(driver.engine_mut(), None);
    nothing_left(driver.engine())
}

/// Carries out the commands, `start` ms later than they say. Their texts are copied each time, as
/// those of real clients are: one that somebody holds on to is a leak.
fn play_round(driver: &mut EngineDriver, ops: &[Op], start: u64) {
    let mut lines = Vec::new();
    for op in ops {
        let mut op = op.clone();
        op.at += start;
        for_each_text(&mut op, |text| *text = Text::from(&**text));
        lines.clear();
        driver.step(&op, &mut lines);
    }
}

/// Takes a lock that no plan uses, unless a limit forbids it.
fn hold_old_lock(engine: &mut Engine) -> Option<LockKey> {
    let name = |text: &str| Name::new(text).unwrap_or_else(|_| unreachable!("it is a name"));
    let lock = LockKey {
        namespace: name("old"),
        owner: Owner::Named(name("old")),
        id: name("old"),
    };
    let acquire = Command::Acquire {
        lock: lock.clone(),
        claims: vec![Claim::write(Path::root())],
        ttl: None,
        wait: Wait::No,
    };
    let asked = engine.apply(engine.now(), &acquire, &mut Vec::new());
    asked.is_ok().then_some(lock)
}

/// Ends all requests but `old` and all sessions of an engine, and lets them be forgotten.
fn end_everything(engine: &mut Engine, old: Option<&LockKey>) {
    let now = engine.now();
    let mut events = Vec::new();
    let locks = engine.namespaces().into_iter().flat_map(|namespace| {
        let live = engine.overlapping(&namespace, &Path::root());
        let others = live.into_iter().filter(|info| Some(&info.key) != old);
        others.map(|info| Command::Break {
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
    // The end of a session with many requests goes on for a while.
    while let Some(due) = engine.next_deadline() {
        let ticked = engine.apply(due, &Command::Tick, &mut events);
        assert_eq!(ticked, Ok(Reply::Done), "a tick is never refused");
    }
    let forgotten = engine.now().after(engine.limits().retention);
    let ticked = engine.apply(forgotten, &Command::Tick, &mut events);
    assert_eq!(ticked, Ok(Reply::Done), "a tick is never refused");
}

/// Calls `change` with every text of an op.
fn for_each_text(op: &mut Op, mut change: impl FnMut(&mut Text)) {
    op.namespace.iter_mut().for_each(&mut change);
    let (id, owner) = match &mut op.action {
        Action::Acquire {
            id, owner, claims, ..
        } => {
            claims.iter_mut().for_each(|claim| change(&mut claim.path));
            (id, Some(owner))
        }
        Action::Release { lock, .. }
        | Action::Renew { lock, .. }
        | Action::Cancel { lock }
        | Action::Break { lock, .. } => (&mut lock.id, lock.owner.as_mut()),
        Action::OpenSession { session: text, .. }
        | Action::Attach { session: text }
        | Action::Detach { session: text }
        | Action::KeepAlive { session: text }
        | Action::CloseSession { session: text }
        | Action::Inspect { path: text } => (text, None),
        Action::Done { session, ids } => {
            ids.iter_mut().for_each(&mut change);
            (session, None)
        }
        Action::Tick => return,
    };
    change(id);
    if let Some(OpOwner::Named(name) | OpOwner::Session(name)) = owner {
        change(name);
    }
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

/// A copy of an engine, and what it was when it was made.
pub(super) struct Copied {
    copy: EngineCopy,
    snapshot: Snapshot,
}

impl Copied {
    pub(super) fn new(engine: &mut Engine) -> Copied {
        Copied {
            copy: engine.copy(),
            snapshot: engine.snapshot(),
        }
    }

    /// The copy is what it was, though its engine has gone on until `at_ms`.
    pub(super) fn check(&self, at_ms: u64) -> Result<(), Violation> {
        if self.copy.snapshot() == self.snapshot {
            return Ok(());
        }
        let what = "a copy of the engine has changed with the engine";
        Err(differs(at_ms, what.to_owned()))
    }
}

/// Gives the engine other limits, as a server does that is started with others. Nothing else changes: what
/// is beyond them stays.
pub(super) fn relimit(
    engine: &mut Engine,
    limits: &Limits,
    hash_key: HashKey,
) -> Result<(), Violation> {
    let at = engine.now().as_ms();
    let before = engine.snapshot();
    let restored = Engine::restore(&before.clone().with_limits(limits.clone()), hash_key)
        .map_err(|error| differs(at, format!("the engine is refused other limits: {error}")))?;
    restored.check();
    if restored.limits() != limits {
        return Err(differs(
            at,
            "the engine has not the limits that it was given".to_owned(),
        ));
    }
    if restored.snapshot().with_limits(engine.limits().clone()) != before {
        let what = "the engine with other limits differs from the one before in more than these";
        return Err(differs(at, what.to_owned()));
    }
    *engine = restored;
    Ok(())
}

fn differs(at_ms: u64, message: String) -> Violation {
    Violation {
        oracle: "same_engine".to_owned(),
        rule:
            "determinism: two engines that have applied the same commands are equal and serialize \
               to the same bytes"
                .to_owned(),
        at_ms,
        message,
    }
}
