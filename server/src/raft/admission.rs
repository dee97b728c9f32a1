//! Whether a node may vote, and ask for votes.
//!
//! A node that got an empty disk has forgotten what it promised under its number, so it was removed, and
//! is added again. What it is sent then begins long ago: with configurations in which it voted, perhaps
//! alone. By these it could help somebody who is far behind to lead, or lead itself, while the others,
//! who know better, have another leader. So it takes no part in elections until its log says that it
//! has joined with the disk that it has now: from there on the log knows that it was removed.

use super::types::Entry;
use crate::{
    machine::NodeRecord,
    proposal::{Action, DiskId},
};
use openraft::EntryPayload;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether one node may. Clones are the same.
#[derive(Clone)]
pub(super) struct Admission {
    node: u64,
    disk: DiskId,
    /// Whether it does not form the cluster, and waits to be added.
    is_newcomer: bool,
    /// Whether its log has said so.
    has_joined: Arc<AtomicBool>,
}

impl Admission {
    /// Of a node with this disk.
    pub(super) fn new(node: u64, disk: DiskId, is_newcomer: bool) -> Admission {
        Admission {
            node,
            disk,
            is_newcomer,
            has_joined: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Which node it is of.
    pub(super) fn node(&self) -> u64 {
        self.node
    }

    /// Whether the node does not form the cluster, and waits to be added.
    pub(super) fn is_newcomer(&self) -> bool {
        self.is_newcomer
    }

    /// An entry is in the log of the node.
    pub(super) fn note(&self, entry: &Entry) {
        let EntryPayload::Normal(proposal) = &entry.payload else {
            return;
        };
        if let Action::Join { disk } = *proposal.action
            && disk == self.disk
            && proposal
                .origin
                .is_some_and(|origin| origin.node == self.node)
        {
            self.has_joined.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it may; `own` is what the log, as far as it is applied, says of the node itself.
    pub(super) fn is_given(&self, own: Option<NodeRecord>) -> bool {
        self.has_joined.load(Ordering::Relaxed)
            || match own {
                Some(record) => record.disk == self.disk,
                None => !self.is_newcomer,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(disk: u64) -> Option<NodeRecord> {
        Some(NodeRecord {
            disk: DiskId(disk),
            acknowledged: 0,
            life: None,
        })
    }

    #[test]
    fn who_is_known_with_another_disk_waits() {
        for is_newcomer in [false, true] {
            let admission = Admission::new(1, DiskId(7), is_newcomer);
            assert!(!admission.is_given(record(6)));
            assert!(admission.is_given(record(7)));
        }
    }

    #[test]
    fn who_forms_the_cluster_need_not_wait_and_who_is_added_must() {
        assert!(Admission::new(1, DiskId(7), false).is_given(None));
        assert!(!Admission::new(1, DiskId(7), true).is_given(None));
    }
}
