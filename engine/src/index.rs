//! The requests that can be named, live and remembered ones, by the hash of their keys.

use crate::{
    ended::{Ended, EndedId},
    owners::Owners,
    parts::Parts,
    requests::{Request, RequestId},
    slab::{Id, Slab},
};

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

/// Requests by the hash of their keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    places: Parts<Place>,
}

/// An index with room for so many times as many as it has gives memory back. That takes time for each
/// that is left: few of those that there were.
pub(crate) const SPARSE: usize = 64;

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.places.capacity()
    }

    /// Makes room for about so many more.
    pub(crate) fn reserve(&mut self, more: usize, hashes: &Hashes<'_>) {
        self.places
            .reserve(more, |place| hashes.of(Known::from(*place)));
    }

    /// The request with this hash for which `is_it` holds.
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(Known) -> bool) -> Option<Known> {
        let found = self.places.find(hash, |place| is_it(Known::from(*place)));
        found.copied().map(Known::from)
    }

    /// Adds one that is not there.
    pub(crate) fn insert(&mut self, hash: u64, known: Known, hashes: &Hashes<'_>) {
        self.places.insert(hash, Place::from(known), |place| {
            hashes.of(Known::from(*place))
        });
    }

    /// What was found at `from` is found at `to` from now on. Nothing is there.
    pub(crate) fn replace(&mut self, hash: u64, from: Known, to: Known) {
        let (from, to) = (Place::from(from), Place::from(to));
        let place = self.places.find_mut(hash, |place| *place == from);
        *place.expect("a request that is known is in the index") = to;
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, hash: u64, known: Known) {
        let wanted = Place::from(known);
        let was_there = self.places.remove(hash, |place| *place == wanted);
        assert!(was_there, "{known:?} is not in the index");
    }

    /// Gives memory back of the part in which this hash is, if there is far too much.
    pub(crate) fn give_back(&mut self, hash: u64, hashes: &Hashes<'_>) {
        self.places
            .give_back(hash, SPARSE, |place| hashes.of(Known::from(*place)));
    }
}
