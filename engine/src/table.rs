//! Hash tables from client-chosen names to ids.
//!
//! Names from clients are hostile, so the hash is keyed (SipHash-1-3). The tables are never
//! iterated: no result depends on the key.

use crate::{
    Name, Owner,
    parts::Parts,
    slab::{Id, Slab},
};
use hashbrown::hash_table::Entry;
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
        OwnerHash {
            key: self,
            hash: hasher.finish(),
        }
    }
}

/// The hash of an owner, which those of its requests are made with.
#[derive(Clone, Copy)]
pub(crate) struct OwnerHash {
    key: HashKey,
    hash: u64,
}

impl OwnerHash {
    /// That of an owner which was hashed before.
    pub(crate) fn of(key: HashKey, hash: u64) -> OwnerHash {
        OwnerHash { key, hash }
    }

    pub(crate) fn finish(self) -> u64 {
        self.hash
    }

    /// The hash of the owner's request of this id.
    pub(crate) fn of_request(self, id: &Name) -> u64 {
        let mut hasher = self.key.hasher();
        hasher.write_u64(self.hash);
        hasher.write(id.as_str().as_bytes());
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
    ids: Parts<Id<T>>,
}

impl<T: Hashed> Table<T> {
    pub(crate) fn new() -> Table<T> {
        Table {
            ids: Parts::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.ids.capacity()
    }

    /// Makes room for about so many more ids.
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
        self.ids.insert(slab[id].hash(), id, |id| slab[*id].hash());
    }

    /// The id of the record with this hash for which `is_it` holds, or that of the one which
    /// `make` makes if there is none.
    pub(crate) fn find_or_add(
        &mut self,
        hash: u64,
        slab: &mut Slab<T>,
        mut is_it: impl FnMut(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> Id<T>
    where
        T: Clone,
    {
        let entry = self
            .ids
            .entry(hash, |id| is_it(&slab[*id]), |id| slab[*id].hash());
        match entry {
            (Entry::Occupied(found), _) => *found.get(),
            (Entry::Vacant(vacant), len) => {
                let id = slab.insert(make());
                vacant.insert(id);
                *len += 1;
                id
            }
        }
    }

    /// Takes a record that is still in the slab out of the table.
    pub(crate) fn remove(&mut self, id: Id<T>, slab: &Slab<T>) {
        let was_there = self.ids.remove(slab[id].hash(), |found| *found == id);
        assert!(was_there, "record {id:?} is not in its table");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[derive(Clone)]
    struct Record(u64);

    impl Hashed for Record {
        fn hash(&self) -> u64 {
            self.0
        }
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn hashes_differ_with_the_key_and_with_every_part() {
        let mut hashes = BTreeSet::new();
        for key in [HashKey([0, 0]), HashKey([0, 1]), HashKey([1, 0])] {
            for text in ["a", "b"] {
                hashes.insert(key.of_name(&name(text)));
                for other in ["a", "b"] {
                    for owner in [Owner::Named(name(other)), Owner::Session(name(other))] {
                        let hash = key.of_owner(&name(text), &owner);
                        hashes.insert(hash.finish());
                        hashes.insert(hash.of_request(&name("L1")));
                        hashes.insert(hash.of_request(&name("L2")));
                    }
                }
                for parent in [1, 2] {
                    hashes.insert(key.of_segment(parent, text));
                }
            }
        }
        // Names, owners with their requests, and segments.
        assert_eq!(hashes.len(), 3 * (2 + 2 * 2 * 2 * 3 + 2 * 2));
    }

    #[test]
    fn records_whose_hashes_collide_are_told_apart() {
        let (mut slab, mut table) = (Slab::new(), Table::new());
        let ids: Vec<_> = (0..3).map(|_| slab.insert(Record(7))).collect();
        for id in &ids {
            table.insert(*id, &slab);
        }
        table.remove(ids[1], &slab);
        assert_eq!(table.len(), 2);
        let mut seen = Vec::new();
        let found = table.find(7, &slab, |record| {
            seen.push(record.0);
            false
        });
        assert_eq!((found, seen), (None, vec![7, 7]));
    }
}
