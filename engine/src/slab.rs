//! A store of records that are addressed by small typed ids, with reuse of freed places.

use std::{fmt, marker::PhantomData, num::NonZeroU32};

/// The place of a `T` in its [`Slab`]. Four bytes, also when optional.
pub(crate) struct Id<T> {
    /// The index plus one, so that `Option<Id>` is not larger than `Id`.
    place: NonZeroU32,
    of: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    fn from_index(index: usize) -> Id<T> {
        let place = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
        Id {
            place: place.expect("a slab holds fewer than 2^32 - 1 records"),
            of: PhantomData,
        }
    }

    /// The place as an index, smaller than the slab's number of [`places`](Slab::places).
    pub(crate) fn index(self) -> usize {
        self.place.get() as usize - 1
    }

    /// The id as a number, for hashing and for cursors.
    pub(crate) fn raw(self) -> u32 {
        self.place.get()
    }

    /// The id of a number that [`Id::raw`] gave; zero is none.
    pub(crate) fn from_raw(raw: u32) -> Option<Id<T>> {
        NonZeroU32::new(raw).map(|place| Id {
            place,
            of: PhantomData,
        })
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Id<T> {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Id<T>) -> bool {
        self.place == other.place
    }
}

impl<T> Eq for Id<T> {}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.place)
    }
}

#[derive(Debug, Clone)]
enum Place<T> {
    Used(T),
    Free { next: Option<Id<T>> },
}

/// Records by id. A freed place is reused by the next insertion; an emptied slab gives its memory
/// back once it is large, so that what was idle costs nothing.
#[derive(Debug, Clone)]
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Option<Id<T>>,
    used: usize,
}

/// An emptied slab of at most this many places keeps its memory, so that a few locks that come
/// and go do not allocate.
const KEPT_PLACES: usize = 1024;

impl<T> Slab<T> {
    pub(crate) const fn new() -> Slab<T> {
        Slab {
            places: Vec::new(),
            free: None,
            used: 0,
        }
    }

    /// The number of records.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Makes room for so many more records.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.places.reserve(more);
    }

    /// How many places there are, in use or not: more than the index of any id.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.places.capacity()
    }

    /// What one place takes.
    #[cfg(test)]
    pub(crate) const PLACE_BYTES: usize = std::mem::size_of::<Place<T>>();

    pub(crate) fn insert(&mut self, record: T) -> Id<T> {
        self.used += 1;
        let Some(id) = self.free else {
            let id = Id::from_index(self.places.len());
            self.places.push(Place::Used(record));
            return id;
        };
        let place = &mut self.places[id.index()];
        match place {
            Place::Free { next } => self.free = *next,
            Place::Used(_) => unreachable!("place {id:?} is on the free list and in use"),
        }
        *place = Place::Used(record);
        id
    }

    pub(crate) fn remove(&mut self, id: Id<T>) -> T {
        let place = &mut self.places[id.index()];
        let freed = std::mem::replace(place, Place::Free { next: self.free });
        let Place::Used(record) = freed else {
            panic!("place {id:?} is freed twice")
        };
        self.free = Some(id);
        self.used -= 1;
        if self.used == 0 {
            self.reset();
        }
        record
    }

    fn reset(&mut self) {
        self.free = None;
        if self.places.capacity() > KEPT_PLACES {
            self.places = Vec::new();
        } else {
            self.places.clear();
        }
    }

    /// The record at `id`, if there is one.
    pub(crate) fn get(&self, id: Id<T>) -> Option<&T> {
        match self.places.get(id.index()) {
            Some(Place::Used(record)) => Some(record),
            _ => None,
        }
    }

    /// Every record, in the order of places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        self.places
            .iter()
            .enumerate()
            .filter_map(|(index, place)| match place {
                Place::Used(record) => Some((Id::from_index(index), record)),
                Place::Free { .. } => None,
            })
    }
}

impl<T> std::ops::Index<Id<T>> for Slab<T> {
    type Output = T;
    fn index(&self, id: Id<T>) -> &T {
        match &self.places[id.index()] {
            Place::Used(record) => record,
            Place::Free { .. } => panic!("place {id:?} is not in use"),
        }
    }
}

impl<T> std::ops::IndexMut<Id<T>> for Slab<T> {
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        match &mut self.places[id.index()] {
            Place::Used(record) => record,
            Place::Free { .. } => panic!("place {id:?} is not in use"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_places_are_reused_and_nothing_else_moves() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert("a"), slab.insert("b"));
        assert_eq!(slab.remove(a), "a");
        assert_eq!(slab.get(a), None);
        let c = slab.insert("c");
        assert_eq!((c, slab[b], slab[c], slab.len()), (a, "b", "c", 2));
    }

    #[test]
    fn an_emptied_large_slab_gives_its_memory_back() {
        let mut slab = Slab::new();
        let ids: Vec<_> = (0..10 * KEPT_PLACES).map(|n| slab.insert(n)).collect();
        for id in ids {
            slab.remove(id);
        }
        assert_eq!((slab.len(), slab.places.capacity()), (0, 0));
    }

    #[test]
    fn an_emptied_slab_keeps_room_for_a_thousand_and_no_more() {
        for (room, kept) in [(KEPT_PLACES, KEPT_PLACES), (KEPT_PLACES + 1, 0)] {
            let mut slab = Slab::new();
            slab.reserve(room);
            assert_eq!(slab.places.capacity(), room, "room is made at once");
            let id = slab.insert(());
            slab.remove(id);
            assert_eq!(slab.places.capacity(), kept);
        }
    }

    #[test]
    fn an_id_and_its_number_stand_for_each_other_and_zero_for_none() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert("a"), slab.insert("b"));
        assert_ne!(a.raw(), b.raw());
        for id in [a, b] {
            assert_eq!(Id::from_raw(id.raw()), Some(id));
        }
        assert_eq!(Id::<&str>::from_raw(0), None);
    }

    #[test]
    #[should_panic(expected = "place #1 is freed twice")]
    fn freeing_twice_is_noticed() {
        let mut slab = Slab::new();
        let (a, _b) = (slab.insert(1), slab.insert(2));
        slab.remove(a);
        slab.remove(a);
    }
}
