//! Noticing that a node has lost entries that it had acknowledged.
//!
//! As long as one node leads, what another has acknowledged to it stays in the other's log: so a
//! node that says that it does not have such an entry has lost it. One that was removed, and added again
//! with another disk, has acknowledged nothing.

use crate::proposal::DiskId;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

/// What other nodes have acknowledged. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Lost(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// The disk of each node, the term of the leader, and the last entry that the node has
    /// acknowledged to it.
    acknowledged: BTreeMap<u64, (DiskId, (u64, u64))>,
    found: Vec<(u64, DiskId)>,
}

impl Lost {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        let locked = self.0.lock();
        locked.expect("nobody panics while it is locked")
    }

    /// A node with this disk has acknowledged all entries up to the second number to the leader of
    /// the term that is the first.
    pub(super) fn acknowledged(&self, node: u64, disk: DiskId, last: (u64, u64)) {
        let mut inner = self.inner();
        let known = inner.acknowledged.entry(node).or_insert((disk, last));
        *known = match *known {
            (of, before) if of == disk => (disk, before.max(last)),
            _ => (disk, last),
        };
    }

    /// A node with this disk says that it does not have the entry `index` of the log of the leader
    /// of `term`.
    pub(super) fn misses(&self, node: u64, disk: DiskId, (term, index): (u64, u64)) {
        let mut inner = self.inner();
        let known = inner.acknowledged.get(&node);
        if known.is_some_and(|(on, (of, last))| *on == disk && *of == term && *last >= index) {
            inner.acknowledged.remove(&node);
            inner.found.push((node, disk));
        }
    }

    /// A node that has lost something, and the disk that has.
    pub(super) fn take(&self) -> Option<(u64, DiskId)> {
        self.inner().found.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: DiskId = DiskId(7);

    #[test]
    fn who_misses_what_it_had_acknowledged_is_found() {
        let lost = Lost::default();
        lost.acknowledged(2, DISK, (1, 7));
        lost.misses(2, DISK, (1, 8));
        lost.misses(3, DISK, (1, 7));
        assert_eq!(lost.take(), None, "it never had them");
        lost.misses(2, DISK, (2, 7));
        assert_eq!(lost.take(), None, "another leader may have taken it back");
        lost.misses(2, DISK, (1, 7));
        assert_eq!(lost.take(), Some((2, DISK)));
        lost.misses(2, DISK, (1, 7));
        assert_eq!(lost.take(), None, "it is told once");
    }

    #[test]
    fn who_came_with_another_disk_has_acknowledged_nothing() {
        let lost = Lost::default();
        lost.acknowledged(2, DISK, (1, 7));
        let other = DiskId(8);
        lost.misses(2, other, (1, 3));
        lost.acknowledged(2, other, (1, 4));
        lost.misses(2, other, (1, 5));
        assert_eq!(lost.take(), None);
        lost.misses(2, other, (1, 4));
        assert_eq!(lost.take(), Some((2, other)));
    }
}
