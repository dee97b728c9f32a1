//! The state of a machine as it is kept, and bringing it back.

use super::{
    Machine, SessionRecord, Setup, digests::Digests, labels::Labels, named, named::Named,
    nodes::NodeRecord, random_hash_key, shared_map::SharedMap,
};
use lockwright_engine::{
    Engine, EngineCopy, LockKey, LockState, SessionKey, Snapshot, SnapshotError,
};
use lockwright_protocol::Label;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The whole state of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    engine: Snapshot,
    sessions: Vec<(SessionKey, SessionRecord)>,
    nodes: BTreeMap<u64, NodeRecord>,
    waiting: BTreeMap<LockKey, BTreeSet<u64>>,
    /// Of live requests that have one of their own.
    labels: BTreeMap<LockKey, Label>,
    /// The last entry that was applied, and the digest after it.
    digest: Option<(u64, u64)>,
}

/// Why a saved state is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error(transparent)]
    Engine(#[from] SnapshotError),
    #[error("the snapshot has other sessions than its engine")]
    Sessions,
    #[error("somebody waits for a request that is not queued")]
    Waiting,
    #[error("a request that has ended has a label")]
    Labels,
}

/// The state of a machine as it was when [`Machine::copy`] made this. It shares what it has with the machine,
/// and goes to another thread.
pub(crate) struct MachineCopy {
    engine: EngineCopy,
    sessions: SharedMap<SessionKey, SessionRecord>,
    nodes: BTreeMap<u64, NodeRecord>,
    waiting: SharedMap<LockKey, BTreeSet<u64>>,
    labels: SharedMap<LockKey, Label>,
    digest: Option<(u64, u64)>,
}

impl MachineCopy {
    /// The whole state. Cost: linear in what is in use.
    pub(crate) fn save(&self) -> Saved {
        Saved {
            engine: self.engine.snapshot(),
            sessions: owned(&self.sessions),
            nodes: self.nodes.clone(),
            waiting: owned(&self.waiting),
            labels: owned(&self.labels),
            digest: self.digest,
        }
    }
}

/// All pairs, in the order of the keys.
fn owned<K, V, All>(map: &SharedMap<K, V>) -> All
where
    K: std::hash::Hash + Ord + Clone,
    V: Clone,
    All: FromIterator<(K, V)>,
{
    let pairs = map.sorted().into_iter();
    pairs
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

impl Machine {
    /// A copy of the state as it is now. Cost: that of [`Engine::copy`].
    pub(crate) fn copy(&mut self) -> MachineCopy {
        MachineCopy {
            engine: self.engine.copy(),
            sessions: self.sessions.clone(),
            nodes: self.nodes.clone(),
            waiting: self.waiting.clone(),
            labels: self.labels.requests().clone(),
            digest: self.digests.now(),
        }
    }

    /// The machine of a saved state.
    pub(crate) fn restore(saved: Saved, setup: Setup) -> Result<Machine, RestoreError> {
        let engine = Engine::restore(&saved.engine, random_hash_key())?;
        let sessions: SharedMap<SessionKey, SessionRecord> = saved.sessions.into_iter().collect();
        let of_engine: BTreeSet<SessionKey> = engine.sessions_to_end().collect();
        let known = sessions.sorted().into_iter();
        if !known.map(|(key, _)| key).eq(&of_engine) {
            return Err(RestoreError::Sessions);
        }
        let queued = named::latest_waiting(&engine);
        let queued: BTreeSet<&LockKey> = queued.iter().collect();
        if !saved.waiting.keys().all(|lock| queued.contains(lock)) {
            return Err(RestoreError::Waiting);
        }
        let is_live = |lock| {
            let info = engine.lock(lock);
            info.is_some_and(|info| !matches!(info.state, LockState::Ended { .. }))
        };
        if !saved.labels.keys().all(is_live) {
            return Err(RestoreError::Labels);
        }
        let of_sessions = sessions
            .iter()
            .filter_map(|(_, record)| record.label.as_ref());
        Ok(Machine {
            labels: Labels::new(saved.labels.into_iter().collect(), of_sessions),
            named: Named::of(&engine),
            engine,
            sessions,
            nodes: saved.nodes,
            waiting: saved.waiting.into_iter().collect(),
            digests: Digests::from(saved.digest),
            diverged: None,
            locks_per_message: setup.locks_per_message,
            watchers: setup.watchers,
            probe: setup.probe,
        })
    }
}
