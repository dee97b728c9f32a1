//! Hash tables that come in many parts when they are large: one that grows, or gives memory back, hashes what it
//! has again, and nothing else waits for more than a part of all.

use hashbrown::{HashTable, hash_table::Entry};

/// Places by hash. It is never iterated: no result depends on the hash.
#[derive(Debug, Clone)]
pub(crate) struct Parts<P> {
    /// One, or [`PARTS`].
    parts: Vec<HashTable<P>>,
    len: usize,
}

/// How many tables there are once it is large.
const PARTS: usize = 256;

/// With more than so many places it is large, until it is empty: to hash so many again takes no time to speak of.
const SMALL: usize = 4096;

/// A table with room for at most so many keeps its memory, if it is the only one,
const KEPT_ROOM: usize = 1024;

/// and if it is one of many.
const KEPT_ROOM_OF_PART: usize = 28;

impl<P> Default for Parts<P> {
    fn default() -> Parts<P> {
        Parts {
            parts: vec![HashTable::new()],
            len: 0,
        }
    }
}

impl<P> Parts<P> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.parts.iter().map(HashTable::capacity).sum()
    }

    /// The part that has, or would have, a place with this hash. The tables themselves use the lowest bits, and the
    /// highest ones.
    fn part_of(&self, hash: u64) -> usize {
        (hash >> 48) as usize & (self.parts.len() - 1)
    }

    fn kept_room(&self) -> usize {
        match self.parts.len() {
            1 => KEPT_ROOM,
            _ => KEPT_ROOM_OF_PART,
        }
    }

    /// Makes room for about so many more.
    pub(crate) fn reserve(&mut self, more: usize, hash_of: impl Fn(&P) -> u64) {
        self.split_if_large(more, &hash_of);
        // They do not fall on all parts alike.
        let parts = self.parts.len();
        let each = more / parts + more / parts / 8;
        for part in &mut self.parts {
            part.reserve(each, &hash_of);
        }
    }

    /// Becomes many tables when it is to have so many more places and is large then.
    fn split_if_large(&mut self, more: usize, hash_of: &impl Fn(&P) -> u64) {
        if self.parts.len() > 1 || self.len + more <= SMALL {
            return;
        }
        let parts = std::iter::repeat_with(HashTable::new).take(PARTS);
        let whole = std::mem::replace(&mut self.parts, parts.collect());
        for place in whole.into_iter().flatten() {
            let hash = hash_of(&place);
            let part = self.part_of(hash);
            self.parts[part].insert_unique(hash, place, hash_of);
        }
    }

    /// The place with this hash for which `is_it` holds.
    pub(crate) fn find(&self, hash: u64, is_it: impl FnMut(&P) -> bool) -> Option<&P> {
        self.parts[self.part_of(hash)].find(hash, is_it)
    }

    /// The same, to be changed. Its hash stays what it is.
    pub(crate) fn find_mut(&mut self, hash: u64, is_it: impl FnMut(&P) -> bool) -> Option<&mut P> {
        let part = self.part_of(hash);
        self.parts[part].find_mut(hash, is_it)
    }

    /// Adds one that is not there.
    pub(crate) fn insert(&mut self, hash: u64, place: P, hash_of: impl Fn(&P) -> u64) {
        self.split_if_large(1, &hash_of);
        self.len += 1;
        let part = self.part_of(hash);
        self.parts[part].insert_unique(hash, place, hash_of);
    }

    /// The place with this hash for which `is_it` holds, or where it would be; with how many there are, for
    /// who puts it there.
    pub(crate) fn entry(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&P) -> bool,
        hash_of: impl Fn(&P) -> u64,
    ) -> (Entry<'_, P>, &mut usize) {
        self.split_if_large(1, &hash_of);
        let part = self.part_of(hash);
        let entry = self.parts[part].entry(hash, is_it, hash_of);
        (entry, &mut self.len)
    }

    /// Takes out the place with this hash for which `is_it` holds; false if there is none.
    pub(crate) fn remove(&mut self, hash: u64, is_it: impl FnMut(&P) -> bool) -> bool {
        let (part, kept) = (self.part_of(hash), self.kept_room());
        let part = &mut self.parts[part];
        let Ok(entry) = part.find_entry(hash, is_it) else {
            return false;
        };
        entry.remove();
        self.len -= 1;
        if part.is_empty() && part.capacity() > kept {
            *part = HashTable::new();
        }
        if self.len == 0 && self.parts.len() > 1 {
            *self = Parts::default();
        }
        true
    }

    /// Gives memory back of the part in which this hash is, if it has room for `sparse` times as many as it has.
    pub(crate) fn give_back(&mut self, hash: u64, sparse: usize, hash_of: impl Fn(&P) -> u64) {
        let (part, kept) = (self.part_of(hash), self.kept_room());
        let part = &mut self.parts[part];
        let (len, room) = (part.len(), part.capacity());
        if room > kept && len * sparse < room {
            part.shrink_to(2 * len, hash_of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of one part, or spread over all (the multiplier is that of Knuth's multiplicative hashing).
    const HASHES: [fn(&u64) -> u64; 2] = [|n| *n, |n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15)];

    #[test]
    fn what_was_put_there_is_found_until_it_is_taken_out() {
        for hash_of in HASHES {
            let mut parts = Parts::default();
            for n in 0..10_000 {
                parts.insert(hash_of(&n), n, hash_of);
            }
            assert!(!parts.remove(hash_of(&10_000), |n| *n == 10_000));
            for n in (0..10_000).step_by(2) {
                assert!(parts.remove(hash_of(&n), |other| *other == n));
            }
            assert_eq!(parts.len(), 5_000);
            for n in 0..10_000 {
                let found = parts.find(hash_of(&n), |other| *other == n).copied();
                assert_eq!(found, (n % 2 == 1).then_some(n));
            }
        }
    }

    #[test]
    fn an_emptied_part_keeps_a_little_room_and_no_more() {
        for hash_of in HASHES {
            for many in [1, 1000, 100_000] {
                let mut parts = Parts::default();
                for n in 0..many {
                    parts.insert(hash_of(&n), n, hash_of);
                }
                for n in 0..many {
                    parts.remove(hash_of(&n), |other| *other == n);
                }
                // Of a small one nothing can be said: places where something was may not count as room.
                let room = if many < 100_000 { KEPT_ROOM } else { 0 };
                assert!(parts.len() == 0 && parts.capacity() <= 2 * room);
                assert_eq!(parts.parts.len(), 1);
            }
        }
    }

    #[test]
    fn all_is_found_before_and_after_it_becomes_many_parts() {
        for hash_of in HASHES {
            let mut parts = Parts::default();
            for n in 0..=SMALL as u64 {
                assert_eq!(parts.parts.len(), 1, "with {n}");
                parts.insert(hash_of(&n), n, hash_of);
            }
            assert_eq!((parts.parts.len(), parts.len()), (PARTS, SMALL + 1));
            let last = SMALL as u64 + 1;
            match parts.entry(hash_of(&last), |n| *n == last, hash_of) {
                (Entry::Vacant(vacant), len) => {
                    vacant.insert(last);
                    *len += 1;
                }
                (Entry::Occupied(_), _) => panic!("it is not there"),
            }
            for n in 0..=last {
                assert_eq!(parts.find(hash_of(&n), |other| *other == n), Some(&n));
                let (entry, _) = parts.entry(hash_of(&n), |other| *other == n, hash_of);
                assert!(matches!(entry, Entry::Occupied(_)));
            }
        }
    }

    #[test]
    fn memory_is_given_back_when_few_are_left() {
        let [hash_of, _] = HASHES;
        let mut parts = Parts::default();
        for n in 0..10_000 {
            parts.insert(hash_of(&n), n, hash_of);
        }
        for n in 10..10_000 {
            parts.remove(hash_of(&n), |other| *other == n);
            parts.give_back(hash_of(&n), 64, hash_of);
        }
        assert!(parts.capacity() < 200, "{}", parts.capacity());
        for n in 0..10 {
            assert!(parts.find(hash_of(&n), |other| *other == n).is_some());
        }
    }

    #[test]
    fn room_is_made_at_once() {
        let [_, hash_of] = HASHES;
        let mut parts = Parts::default();
        parts.reserve(100_000, hash_of);
        let room = parts.capacity();
        for n in 0..100_000 {
            parts.insert(hash_of(&n), n, hash_of);
        }
        assert_eq!(parts.capacity(), room);
    }
}
