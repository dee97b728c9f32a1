//! Hash tables in many parts: one that grows, or gives memory back, hashes what it has again, and nothing
//! else waits for more than a part of all.

use hashbrown::{HashTable, hash_table::Entry};

/// Places by hash. It is never iterated: no result depends on the hash.
#[derive(Debug, Clone)]
pub(crate) struct Parts<P> {
    parts: Vec<HashTable<P>>,
    len: usize,
}

/// How many tables there are. Not more, since an empty engine has them, too.
const PARTS: usize = 256;

/// A part with room for at most this many keeps its memory.
const KEPT_ROOM: usize = 28;

/// The tables themselves use the lowest bits, and the highest ones.
fn part_of(hash: u64) -> usize {
    (hash >> 48) as usize % PARTS
}

impl<P: Clone> Default for Parts<P> {
    fn default() -> Parts<P> {
        Parts {
            parts: vec![HashTable::new(); PARTS],
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

    /// Makes room for about so many more.
    pub(crate) fn reserve(&mut self, more: usize, hash_of: impl Fn(&P) -> u64) {
        // They do not fall on all parts alike.
        let each = more / PARTS + more / PARTS / 8;
        for part in &mut self.parts {
            part.reserve(each, &hash_of);
        }
    }

    /// The place with this hash for which `is_it` holds.
    pub(crate) fn find(&self, hash: u64, is_it: impl FnMut(&P) -> bool) -> Option<&P> {
        self.parts[part_of(hash)].find(hash, is_it)
    }

    /// The same, to be changed. Its hash stays what it is.
    pub(crate) fn find_mut(&mut self, hash: u64, is_it: impl FnMut(&P) -> bool) -> Option<&mut P> {
        self.parts[part_of(hash)].find_mut(hash, is_it)
    }

    /// Adds one that is not there.
    pub(crate) fn insert(&mut self, hash: u64, place: P, hash_of: impl Fn(&P) -> u64) {
        self.len += 1;
        self.parts[part_of(hash)].insert_unique(hash, place, hash_of);
    }

    /// The place with this hash for which `is_it` holds, or where it would be; with how many there are, for
    /// who puts it there.
    pub(crate) fn entry(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&P) -> bool,
        hash_of: impl Fn(&P) -> u64,
    ) -> (Entry<'_, P>, &mut usize) {
        let entry = self.parts[part_of(hash)].entry(hash, is_it, hash_of);
        (entry, &mut self.len)
    }

    /// Takes out the place with this hash for which `is_it` holds; false if there is none.
    pub(crate) fn remove(&mut self, hash: u64, is_it: impl FnMut(&P) -> bool) -> bool {
        let part = &mut self.parts[part_of(hash)];
        let Ok(entry) = part.find_entry(hash, is_it) else {
            return false;
        };
        entry.remove();
        self.len -= 1;
        if part.is_empty() && part.capacity() > KEPT_ROOM {
            *part = HashTable::new();
        }
        true
    }

    /// Gives memory back of the part in which this hash is, if it has room for `sparse` times as many as it has.
    pub(crate) fn give_back(&mut self, hash: u64, sparse: usize, hash_of: impl Fn(&P) -> u64) {
        let part = &mut self.parts[part_of(hash)];
        let (len, room) = (part.len(), part.capacity());
        if room > KEPT_ROOM && len * sparse < room {
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
            for many in [1, 100_000] {
                let mut parts = Parts::default();
                for n in 0..many {
                    parts.insert(hash_of(&n), n, hash_of);
                }
                let room = parts.capacity();
                for n in 0..many {
                    parts.remove(hash_of(&n), |other| *other == n);
                }
                let kept = if many == 1 { room } else { 0 };
                assert_eq!((parts.len(), parts.capacity()), (0, kept));
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
