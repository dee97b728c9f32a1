//! A hash table with a fixed hash that is looked things up in and never iterated.

use std::{
    borrow::Borrow,
    hash::{BuildHasherDefault, Hash, Hasher},
};

/// A map without an order that anyone could see.
#[derive(Debug, Clone)]
pub(crate) struct Table<K, V>(hashbrown::HashMap<K, V, BuildHasherDefault<Quick>>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Table(hashbrown::HashMap::default())
    }
}

impl<K: Hash + Eq, V> Table<K, V> {
    /// What `key` has.
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    /// What `key` has, to be changed.
    pub(crate) fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.0.get_mut(key)
    }

    /// `key` has nothing any more.
    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.0.remove(key);
    }

    /// Gives `key` something else.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.0.insert(key, value);
    }
}

/// Folds eight bytes at a time by multiplication. The keys are the names of a plan, which wish
/// nobody ill, and every command looks several up: a keyed hash would be a tenth of a run's time.
#[derive(Debug, Clone, Copy, Default)]
struct Quick(u64);

impl Quick {
    fn fold(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            // The length keeps `a` apart from `a` and a zero byte.
            self.fold(u64::from_le_bytes(word).wrapping_add((chunk.len() as u64) << 59));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.fold(u64::from(number) | 1 << 32);
    }

    fn write_u32(&mut self, number: u32) {
        self.fold(u64::from(number) | 1 << 33);
    }

    /// Spread once more: the table takes its tags from the highest bits.
    fn finish(&self) -> u64 {
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}
