//! Hash tables from client-chosen names to ids.
//!
//! Names from clients are hostile, so the hash is keyed (SipHash-1-3). The tables are never
//! iterated: no result depends on the key.

use crate::{
    Name, Owner,
    slab::{Id, Slab},
};
use hashbrown::{HashTable, hash_table::Entry};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// The secret key of an engine's hash tables; see [`EngineConfig`](crate::EngineConfig).
#[derive(Debug, Clone, Copy, Default)]
pub struct HashKey(pub [u64; 2]);

impl HashKey {
    fn hasher(self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0[0], self.0[1])
    }

    /// Hashes a name.
    pub(crate) fn of_name(self, name: &Name) -> u64 {
        self.hasher().hash(name.as_str().as_bytes())
    }

    /// Hashes a segment of a path and the number of the node above it.
    pub(crate) fn of_segment(self, parent: u32, segment: &str) -> u64 {
        let mut hasher = self.hasher();
        hasher.write_u32(parent);
        hasher.write(segment.as_bytes());
        hasher.finish()
    }

    /// Hashes an owner with its namespace.
    pub(crate) fn of_owner(self, namespace: &Name, owner: &Owner) -> OwnerHash {
        let mut hasher = self.hasher();
        hasher.write(namespace.as_str().as_bytes());
        // Names have no control characters, so this separates them.
        hasher.write_u8(u8::from(owner.is_session()));
        hasher.write(owner.name().as_str().as_bytes());
        OwnerHash(hasher)
    }
}

/// The hash of an owner, which those of its requests go on from.
#[derive(Clone)]
pub(crate) struct OwnerHash(SipHasher13);

impl OwnerHash {
    pub(crate) fn finish(&self) -> u64 {
        self.0.finish()
    }

    /// The hash of the owner's request of this id.
    pub(crate) fn of_request(mut self, id: &Name) -> u64 {
        self.0.write_u8(0);
        self.0.write(id.as_str().as_bytes());
        self.0.finish()
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

    /// Makes room for so many more ids.
    pub(crate) fn reserve(&mut self, more: usize, slab: &Slab<T>) {
        self.ids.reserve(more, |id| slab[*id].hash());
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

    /// The id of the record with this hash for which `is_it` holds, or that of the one which
    /// `make` makes if there is none.
    pub(crate) fn find_or_add(
        &mut self,
        hash: u64,
        slab: &mut Slab<T>,
        mut is_it: impl FnMut(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> Id<T> {
        let entry = self
            .ids
            .entry(hash, |id| is_it(&slab[*id]), |id| slab[*id].hash());
        match entry {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(vacant) => {
                let id = slab.insert(make());
                vacant.insert(id);
                id
            }
        }
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
