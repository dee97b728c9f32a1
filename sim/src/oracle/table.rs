//! A hash table with a fixed key that is looked things up in and never iterated.

use siphasher::sip::SipHasher13;
use std::{borrow::Borrow, hash::BuildHasherDefault, hash::Hash};

/// A map without an order that anyone could see.
#[derive(Debug, Clone)]
pub(super) struct Table<K, V>(hashbrown::HashMap<K, V, BuildHasherDefault<SipHasher13>>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Table(hashbrown::HashMap::default())
    }
}

impl<K: Hash + Eq, V> Table<K, V> {
    /// What `key` has.
    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    /// Gives `key` something else.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.0.insert(key, value);
    }
}
