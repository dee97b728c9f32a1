//! Hash tables from client-chosen names to ids.
//!
//! Names from clients are hostile, so the hash is keyed (SipHash-1-3). The tables are never
//! iterated: no result depends on the key.

use crate::slab::{Id, Slab};
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// The secret key of an engine's hash tables; see [`EngineConfig`](crate::EngineConfig).
#[derive(Debug, Clone, Copy, Default)]
pub struct HashKey(pub [u64; 2]);

impl HashKey {
    /// Hashes a number (of a parent record) and a text.
    pub(crate) fn hash(self, number: u32, text: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.0[0], self.0[1]);
        hasher.write_u32(number);
        hasher.write(text.as_bytes());
        hasher.finish()
    }
}

/// A record that remembers the hash under which it is tabled.
pub(crate) trait Hashed {
    fn hash(&self) -> u64;
}

/// Ids of the records of one slab, found by hash and a comparison.
#[derive(Debug, Clone)]
pub(crate) struct Table<T> {
    ids: HashTable<Id<T>>,
}

/// An emptied table with room for at most this many ids keeps its memory.
const KEPT_ROOM: usize = 1024;

impl<T: Hashed> Table<T> {
    pub(crate) const fn new() -> Table<T> {
        Table {
            ids: HashTable::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The id of the record with this hash for which `is_it` holds.
    pub(crate) fn find(
        &self,
        hash: u64,
        slab: &Slab<T>,
        mut is_it: impl FnMut(&T) -> bool,
    ) -> Option<Id<T>> {
        self.ids.find(hash, |id| is_it(&slab[*id])).copied()
    }

    /// Tables a record that is in the slab and not in the table.
    pub(crate) fn insert(&mut self, id: Id<T>, slab: &Slab<T>) {
        self.ids
            .insert_unique(slab[id].hash(), id, |id| slab[*id].hash());
    }

    /// Takes a record that is still in the slab out of the table.
    pub(crate) fn remove(&mut self, id: Id<T>, slab: &Slab<T>) {
        let Ok(entry) = self.ids.find_entry(slab[id].hash(), |found| *found == id) else {
            panic!("record {id:?} is not in its table");
        };
        entry.remove();
        if self.ids.is_empty() && self.ids.capacity() > KEPT_ROOM {
            self.ids = HashTable::new();
        }
    }
}
