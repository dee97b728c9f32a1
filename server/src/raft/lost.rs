//! Noticing that a node has lost entries that it had acknowledged.
//!
//! As long as one node leads, what another has acknowledged to it stays in the other's log: so a
//! node that says that it does not have such an entry has lost it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

/// What other nodes have acknowledged. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Lost(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// The term of the leader, and the last entry that the node has acknowledged to it.
    acknowledged: BTreeMap<u64, (u64, u64)>,
    found: Vec<u64>,
}

impl Lost {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        let locked = self.0.lock();
        locked.expect("nobody panics while it is locked")
    }

    /// A node has acknowledged all entries up to `last` to the leader of `term`.
    pub(super) fn acknowledged(&self, node: u64, term: u64, last: u64) {
        let mut inner = self.inner();
        let known = inner.acknowledged.entry(node).or_default();
        *known = (*known).max((term, last));
    }

    /// A node says that it does not have the entry `index` of the log of the leader of `term`.
    pub(super) fn misses(&self, node: u64, term: u64, index: u64) {
        let mut inner = self.inner();
        let known = inner.acknowledged.get(&node);
        if known.is_some_and(|(of, last)| *of == term && *last >= index) {
            inner.acknowledged.remove(&node);
            inner.found.push(node);
        }
    }

    /// A node that has lost something.
    pub(super) fn take(&self) -> Option<u64> {
        self.inner().found.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_misses_what_it_had_acknowledged_is_found() {
        let lost = Lost::default();
        lost.acknowledged(2, 1, 7);
        lost.misses(2, 1, 8);
        lost.misses(3, 1, 7);
        assert_eq!(lost.take(), None, "it never had them");
        lost.misses(2, 2, 7);
        assert_eq!(lost.take(), None, "another leader may have taken it back");
        lost.misses(2, 1, 7);
        assert_eq!(lost.take(), Some(2));
        lost.misses(2, 1, 7);
        assert_eq!(lost.take(), None, "it is told once");
    }
}
