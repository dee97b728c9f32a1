//! A map of which a copy costs little.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

/// How many parts there are: a copy costs as much as so many references, and the first change of a part after
/// it as much as the part.
const PARTS: usize = 1024;

/// A map in parts, which a copy shares until one of the two changes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SharedMap<K, V> {
    parts: Vec<Arc<BTreeMap<K, V>>>,
    len: usize,
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> SharedMap<K, V> {
        SharedMap {
            // All are the same one until something is put into them.
            parts: vec![Arc::default(); PARTS],
            len: 0,
        }
    }
}

/// The part that has a key, if any has it. The same in each process: this hasher has no key of its own.
fn part_of(key: &impl Hash) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % PARTS as u64).expect("there are few parts")
}

impl<K: Hash + Ord + Clone, V: Clone> SharedMap<K, V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        if self.is_empty() {
            return None;
        }
        self.parts[part_of(key)].get(key)
    }

    /// The value of a key, to be changed: then its part is copied if it is shared.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let part = &mut self.parts[part_of(key)];
        match part.contains_key(key) {
            true => Arc::make_mut(part).get_mut(key),
            false => None,
        }
    }

    /// Gives the value that the key had before.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let part = Arc::make_mut(&mut self.parts[part_of(&key)]);
        let before = part.insert(key, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// The value of a key, made here if there is none.
    pub(super) fn or_default(&mut self, key: &K) -> &mut V
    where
        V: Default,
    {
        let part = Arc::make_mut(&mut self.parts[part_of(key)]);
        match part.entry(key.clone()) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(vacant) => {
                self.len += 1;
                vacant.insert(V::default())
            }
        }
    }

    /// Gives the value that the key had.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        if self.is_empty() {
            return None;
        }
        let part = &mut self.parts[part_of(key)];
        if !part.contains_key(key) {
            return None;
        }
        self.len -= 1;
        Arc::make_mut(part).remove(key)
    }

    /// All, in an order that is the same for equal maps.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    /// All in the order of the keys.
    pub(super) fn sorted(&self) -> Vec<(&K, &V)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }
}

impl<K: Hash + Ord + Clone, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> SharedMap<K, V> {
        let mut map = SharedMap::default();
        for (key, value) in pairs {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_map_like_any_other() {
        let (mut map, mut other) = (SharedMap::default(), BTreeMap::new());
        // A generator of numbers by Marsaglia (xorshift).
        let mut random = 88_172_645_463_325_252_u64;
        for step in 0..20_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let key = random % 1000;
            match random >> 32 & 3 {
                0 => assert_eq!(map.insert(key, step), other.insert(key, step)),
                1 => assert_eq!(map.remove(&key), other.remove(&key)),
                2 => assert_eq!(map.get_mut(&key), other.get_mut(&key)),
                _ => assert_eq!(map.or_default(&key), other.entry(key).or_default()),
            }
            assert_eq!((map.len(), map.get(&key)), (other.len(), other.get(&key)));
        }
        assert!(map.sorted().into_iter().eq(&other));
        assert_eq!(other.into_iter().collect::<SharedMap<_, _>>(), map);
    }

    #[test]
    fn a_copy_and_its_map_change_apart() {
        let mut map: SharedMap<u32, u32> = (0..10_000).map(|n| (n, n)).collect();
        let mut copy = map.clone();
        map.remove(&1);
        *map.get_mut(&2).unwrap() = 0;
        copy.insert(3, 0);
        assert_eq!(copy.len(), 10_000);
        let seen = |map: &SharedMap<u32, u32>| [1, 2, 3].map(|key| map.get(&key).copied());
        assert_eq!(seen(&map), [None, Some(0), Some(3)]);
        assert_eq!(seen(&copy), [Some(1), Some(2), Some(0)]);
    }

    #[test]
    fn what_is_only_looked_for_is_not_copied() {
        let mut map: SharedMap<u32, u32> = (0..10_000).map(|n| (n, n)).collect();
        let copy = map.clone();
        map.remove(&10_000);
        map.get_mut(&10_000);
        map.get(&1);
        for (own, shared) in map.parts.iter().zip(&copy.parts) {
            assert!(Arc::ptr_eq(own, shared));
        }
    }
}
