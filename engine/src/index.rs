//! The requests that can be named, live and remembered ones, by the hash of their keys.

use crate::{
    ended::{Ended, EndedId},
    owners::Owners,
    requests::{Request, RequestId},
    slab::{Id, Slab},
};
use hashbrown::HashTable;

#[cfg(test)]
mod tests;

/// A request that can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is held or queued.
    Live(RequestId),
    /// It has ended.
    Ended(EndedId),
}

/// The same in four bytes: twice the number of its place, and one more once it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place(u32);

impl From<Known> for Place {
    fn from(known: Known) -> Place {
        let (raw, last) = match known {
            Known::Live(id) => (id.raw(), 0),
            Known::Ended(id) => (id.raw(), 1),
        };
        assert!(raw < 1 << 31, "there are fewer than 2^31 requests");
        Place(raw << 1 | last)
    }
}

impl From<Place> for Known {
    fn from(place: Place) -> Known {
        let raw = place.0 >> 1;
        match place.0 & 1 {
            0 => Known::Live(Id::from_raw(raw).expect("places are numbered from 1")),
            _ => Known::Ended(Id::from_raw(raw).expect("places are numbered from 1")),
        }
    }
}

/// Tells the hash of the key of each request.
pub(crate) struct Hashes<'a> {
    pub(crate) requests: &'a Slab<Request>,
    pub(crate) ended: &'a Slab<Ended>,
    pub(crate) owners: &'a Owners,
}

impl Hashes<'_> {
    fn of(&self, known: Known) -> u64 {
        match known {
            Known::Live(id) => self.requests[id].hash,
            // Eight bytes more for each would be felt, and this is seldom asked.
            Known::Ended(id) => self.owners.hash_of_ended(&self.ended[id]),
        }
    }
}

/// Requests by the hash of their keys, in many tables: one that grows, or gives memory back, hashes what it has
/// again, and nothing else waits for more than a part of all.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    parts: Vec<HashTable<Place>>,
    len: usize,
}

/// How many tables there are. Not more, since an empty engine has them, too.
const PARTS: usize = 256;

/// A part with room for at most this many keeps its memory.
const KEPT_ROOM: usize = 28;

/// An index with room for so many times as many as it has gives memory back. That takes time for each
/// that is left: few of those that there were.
pub(crate) const SPARSE: usize = 64;

/// The tables themselves use the lowest bits, and the highest ones.
fn part_of(hash: u64) -> usize {
    (hash >> 48) as usize % PARTS
}

impl Default for Index {
    fn default() -> Index {
        Index {
            parts: vec![HashTable::new(); PARTS],
            len: 0,
        }
    }
}

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.parts.iter().map(HashTable::capacity).sum()
    }

    /// Makes room for about so many more.
    pub(crate) fn reserve(&mut self, more: usize, hashes: &Hashes<'_>) {
        // They do not fall on all parts alike.
        let each = more / PARTS + more / PARTS / 8;
        for part in &mut self.parts {
            part.reserve(each, |place| hashes.of(Known::from(*place)));
        }
    }

    /// The request with this hash for which `is_it` holds.
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(Known) -> bool) -> Option<Known> {
        let part = &self.parts[part_of(hash)];
        let found = part.find(hash, |place| is_it(Known::from(*place)));
        found.copied().map(Known::from)
    }

    /// Adds one that is not there.
    pub(crate) fn insert(&mut self, hash: u64, known: Known, hashes: &Hashes<'_>) {
        self.len += 1;
        self.parts[part_of(hash)].insert_unique(hash, Place::from(known), |place| {
            hashes.of(Known::from(*place))
        });
    }

    /// What was found at `from` is found at `to` from now on. Nothing is there.
    pub(crate) fn replace(&mut self, hash: u64, from: Known, to: Known) {
        let (from, to) = (Place::from(from), Place::from(to));
        let part = &mut self.parts[part_of(hash)];
        let place = part.find_mut(hash, |place| *place == from);
        *place.expect("a request that is known is in the index") = to;
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, hash: u64, known: Known) {
        let wanted = Place::from(known);
        let part = &mut self.parts[part_of(hash)];
        let Ok(entry) = part.find_entry(hash, |place| *place == wanted) else {
            panic!("{known:?} is not in the index");
        };
        entry.remove();
        self.len -= 1;
        if part.is_empty() && part.capacity() > KEPT_ROOM {
            *part = HashTable::new();
        }
    }

    /// Gives memory back of the part in which this hash is, if there is far too much.
    pub(crate) fn give_back(&mut self, hash: u64, hashes: &Hashes<'_>) {
        let part = &mut self.parts[part_of(hash)];
        let (len, room) = (part.len(), part.capacity());
        if room > KEPT_ROOM && len * SPARSE < room {
            part.shrink_to(2 * len, |place| hashes.of(Known::from(*place)));
        }
    }
}
