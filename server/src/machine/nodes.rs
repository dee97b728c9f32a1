//! The nodes whose proposals the log is made of: which lives they have begun, and what ends with
//! them.

use super::{Machine, Step, named};
use crate::proposal::{Action, DiskId, Diverged, Ignored, Origin, Proposal};
use lockwright_engine::{Command, LockKey, LockState, Reply, SessionKey};
use serde::{Deserialize, Serialize};

/// What is known of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    /// The disk that it keeps its vote and its log on.
    pub(crate) disk: DiskId,
    /// The last entry that it is known to have acknowledged with this disk. With a log that ends
    /// earlier it has lost some; no log is long enough for one that was found to have done so.
    pub(crate) acknowledged: u64,
    /// The life that it is in; none when it was taken for dead.
    pub(crate) life: Option<Life>,
}

/// A life of a node, between two moments at which it lost its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    pub(crate) incarnation: u64,
    /// The number of the last proposal that was applied.
    pub(crate) last: u64,
}

impl Machine {
    /// The nodes that have begun a life, and what is known of them.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (u64, NodeRecord)> {
        self.nodes.iter().map(|(node, record)| (*node, *record))
    }

    /// What is known of a node.
    pub(crate) fn node(&self, node: u64) -> Option<NodeRecord> {
        self.nodes.get(&node).copied()
    }

    /// The leader has come so far, and these nodes too.
    pub(super) fn witness(&mut self, index: u64, digest: u64, acknowledged: &[(u64, u64)]) {
        if self.digests.after(index).is_some_and(|own| own != digest) {
            self.diverged.get_or_insert(Diverged { index });
        }
        for (node, last) in acknowledged {
            if let Some(record) = self.nodes.get_mut(node) {
                record.acknowledged = record.acknowledged.max(*last);
            }
        }
    }

    /// A node has lost what it had acknowledged: it is not listened to any more.
    pub(super) fn witness_all_of(&mut self, node: u64) {
        if let Some(record) = self.nodes.get_mut(&node) {
            record.acknowledged = u64::MAX;
        }
    }

    /// Whether a proposal counts; from then on it is applied.
    pub(super) fn admit(&mut self, term: u64, proposal: &Proposal) -> Result<(), Ignored> {
        if proposal.term != term {
            return Err(Ignored::OldTerm);
        }
        let Some(origin) = proposal.origin else {
            return Ok(());
        };
        let life = self.nodes.get_mut(&origin.node);
        let life = life.and_then(|record| record.life.as_mut());
        if let Action::Join { .. } = *proposal.action {
            return match life {
                Some(life) if life.incarnation == origin.incarnation => Err(Ignored::Repeated),
                _ => Ok(()),
            };
        }
        match life {
            Some(life) if life.incarnation == origin.incarnation => {
                if origin.number <= life.last {
                    return Err(Ignored::Repeated);
                }
                if origin.number != life.last + 1 {
                    return Err(Ignored::OutOfOrder);
                }
                life.last = origin.number;
                Ok(())
            }
            _ => Err(Ignored::OtherLife),
        }
    }
}

impl Step<'_> {
    /// The node that wants this.
    pub(super) fn node(&self) -> u64 {
        let origin = self.origin.as_ref();
        origin
            .expect("what has to do with connections is wanted by a node")
            .node
    }

    /// A node begins a life.
    pub(super) fn join(&mut self, disk: DiskId) {
        let Origin {
            node, incarnation, ..
        } = self.origin.expect("a node joins by itself");
        self.lose_connections(node);
        let life = Some(Life {
            incarnation,
            last: 0,
        });
        let before = self.machine.nodes.get(&node);
        let before = before.filter(|record| record.disk == disk);
        let acknowledged = before.map_or(0, |record| record.acknowledged);
        let record = NodeRecord {
            disk,
            acknowledged,
            life,
        };
        self.machine.nodes.insert(node, record);
    }

    /// A life of a node has ended, as the leader says. With `forget` and the incarnation 0 whatever life it
    /// is in.
    pub(super) fn gone(&mut self, node: u64, incarnation: u64, forget: bool) {
        let Some(record) = self.machine.nodes.get_mut(&node) else {
            return;
        };
        let is_meant = record
            .life
            .is_none_or(|life| life.incarnation == incarnation);
        let is_any = forget && incarnation == 0;
        if !is_meant && !is_any {
            return;
        }
        record.life = None;
        if forget {
            self.machine.nodes.remove(&node);
        }
        self.lose_connections(node);
    }

    /// Somebody waits at this node for a request, if it is queued.
    pub(super) fn note_waiting(&mut self, lock: &LockKey) {
        let node = self.node();
        let state = self.machine.engine.lock(lock).map(|lock| lock.state);
        if matches!(state, Some(LockState::Queued { .. })) {
            let nodes = self.machine.waiting.or_default(lock);
            nodes.insert(node);
        }
    }

    /// Nobody waits at this node for a request any more. Whether somebody does at another.
    pub(super) fn is_waited_for_elsewhere(&mut self, lock: &LockKey) -> bool {
        let node = self.node();
        let Some(nodes) = self.machine.waiting.get_mut(lock) else {
            return false;
        };
        nodes.remove(&node);
        let is_waited_for = !nodes.is_empty();
        if !is_waited_for {
            self.machine.waiting.remove(lock);
        }
        is_waited_for
    }

    /// No caller waits at a node any more. Gives what is waited for nowhere now, in the order of the
    /// keys.
    fn stop_waiting(&mut self, node: u64) -> Vec<LockKey> {
        let waiting = &mut self.machine.waiting;
        let at_node = waiting.sorted().into_iter();
        let at_node: Vec<LockKey> = at_node
            .filter(|(_, nodes)| nodes.contains(&node))
            .map(|(lock, _)| lock.clone())
            .collect();
        let is_lost = |lock: &LockKey| {
            let nodes = waiting.get_mut(lock).expect("it was there just now");
            nodes.remove(&node);
            let is_lost = nodes.is_empty();
            if is_lost {
                waiting.remove(lock);
            }
            is_lost
        };
        at_node.into_iter().filter(is_lost).collect()
    }

    /// The sessions of a node's connections are detached, and what only its callers waited for is
    /// given up.
    fn lose_connections(&mut self, node: u64) {
        // What is due before may grant what waits: that is held then, as if its caller had just been
        // told so.
        self.pass_time();
        let lost = self.stop_waiting(node);
        if !lost.is_empty() {
            // Nobody's end must grant another's request, which nobody would hear of. For the same
            // reason this comes before sessions are detached, which may end some.
            for lock in named::latest_waiting(&self.machine.engine) {
                if lost.binary_search(&lock).is_ok() {
                    let cancelled = self.run(&Command::Cancel { lock });
                    assert_eq!(cancelled, Ok(Reply::Done), "what waits can be given up");
                }
            }
        }
        let attached = self.machine.sessions.sorted().into_iter();
        let attached: Vec<SessionKey> = attached
            .filter(|(_, record)| record.attached.is_some_and(|(_, of)| of == node))
            .map(|(key, _)| key.clone())
            .collect();
        for session in attached {
            self.take_off(&session);
        }
    }
}
