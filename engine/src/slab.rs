//! A store of records that are addressed by small typed ids, with reuse of freed places.

use std::{fmt, marker::PhantomData, num::NonZeroU32, sync::Arc};

/// The place of a `T` in its [`Slab`]. Four bytes, also when optional.
pub(crate) struct Id<T> {
    /// Never zero, so that `Option<Id>` is not larger than `Id`.
    place: NonZeroU32,
    of: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    fn from_index(index: usize) -> Id<T> {
        let place = u32::try_from(index).ok().and_then(NonZeroU32::new);
        Id {
            place: place.expect("a slab holds fewer than 2^32 - 1 records, from 1 on"),
            of: PhantomData,
        }
    }

    /// The place as an index, smaller than the slab's number of [`places`](Slab::places).
    pub(crate) fn index(self) -> usize {
        self.place.get() as usize
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

/// So many places lie together, and are copied together. Fewer would make a [copy](Slab::share) of a
/// large slab slower; more would make the first change of each part after it slower.
const CHUNK: usize = 128;

/// Places that lie together.
#[derive(Debug, Clone)]
#[expect(
    clippy::redundant_allocation,
    reason = "they become shared, and are not any more, without being moved"
)]
enum Chunk<T> {
    /// Of this slab alone.
    Own(Box<[Place<T>; CHUNK]>),
    /// Of this slab and its copies: it is copied before it is changed, unless they have gone.
    Shared(Arc<Box<[Place<T>; CHUNK]>>),
    /// While it becomes one of the others.
    Between,
}

impl<T> Chunk<T> {
    fn new() -> Chunk<T> {
        let free = || Place::Free { next: None };
        let places: Box<[_]> = std::iter::repeat_with(free).take(CHUNK).collect();
        match places.try_into() {
            Ok(places) => Chunk::Own(places),
            Err(_) => unreachable!("there are so many"),
        }
    }

    #[inline]
    fn places(&self) -> &[Place<T>; CHUNK] {
        match self {
            Chunk::Own(places) => places,
            Chunk::Shared(places) => places,
            Chunk::Between => unreachable!("it is one of the others"),
        }
    }

    fn share(&mut self) -> Chunk<T> {
        let places = match std::mem::replace(self, Chunk::Between) {
            Chunk::Own(places) => Arc::new(places),
            Chunk::Shared(places) => places,
            Chunk::Between => unreachable!("it is one of the others"),
        };
        *self = Chunk::Shared(Arc::clone(&places));
        Chunk::Shared(places)
    }
}

impl<T: Clone> Chunk<T> {
    #[inline]
    fn places_mut(&mut self) -> &mut [Place<T>; CHUNK] {
        if !matches!(self, Chunk::Own(_)) {
            self.make_own();
        }
        match self {
            Chunk::Own(places) => places,
            Chunk::Shared(_) | Chunk::Between => unreachable!("it has just been made its own"),
        }
    }

    #[cold]
    #[inline(never)]
    fn make_own(&mut self) {
        if let Chunk::Shared(shared) = std::mem::replace(self, Chunk::Between) {
            let places = Arc::try_unwrap(shared).unwrap_or_else(|shared| (*shared).clone());
            *self = Chunk::Own(places);
        }
    }
}

/// Records by id. A freed place is reused by the next insertion; an emptied slab gives its memory
/// back once it is large, so that what was idle costs nothing.
///
/// It grows without moving what it has, and a copy shares it until one of the two changes: both cost
/// much less than one look at each record.
#[derive(Debug, Clone)]
pub(crate) struct Slab<T> {
    /// The first place is never used: no id has its index.
    chunks: Vec<Chunk<T>>,
    /// The index of the next new place.
    places: usize,
    free: Option<Id<T>>,
    used: usize,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Slab<T> {
        Slab {
            chunks: Vec::new(),
            places: 1,
            free: None,
            used: 0,
        }
    }

    /// The number of records.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// More than the index of any id: one more than there are places, in use or not.
    pub(crate) fn places(&self) -> usize {
        self.places
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// What one place takes.
    #[cfg(test)]
    pub(crate) const PLACE_BYTES: usize = std::mem::size_of::<Place<T>>();

    /// A copy that shares the records with this slab until either changes them. Cost: linear in the
    /// places, but for each few hundred of them no more than for one.
    pub(crate) fn share(&mut self) -> Slab<T> {
        Slab {
            chunks: self.chunks.iter_mut().map(Chunk::share).collect(),
            ..*self
        }
    }

    /// The record at `id`, if there is one.
    pub(crate) fn get(&self, id: Id<T>) -> Option<&T> {
        let chunk = self.chunks.get(id.index() / CHUNK)?;
        match &chunk.places()[id.index() % CHUNK] {
            Place::Used(record) => Some(record),
            _ => None,
        }
    }

    /// Every record, in the order of places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        let places = self.chunks.iter().flat_map(Chunk::places).enumerate();
        let places = places.take(self.places);
        places.filter_map(|(index, place)| match place {
            Place::Used(record) => Some((Id::from_index(index), record)),
            Place::Free { .. } => None,
        })
    }
}

impl<T: Clone> Slab<T> {
    fn place_mut(&mut self, id: Id<T>) -> &mut Place<T> {
        &mut self.chunks[id.index() / CHUNK].places_mut()[id.index() % CHUNK]
    }

    pub(crate) fn insert(&mut self, record: T) -> Id<T> {
        self.used += 1;
        let Some(id) = self.free else {
            return self.push(record);
        };
        let place = self.place_mut(id);
        let next = match place {
            Place::Free { next } => *next,
            Place::Used(_) => unreachable!("place {id:?} is on the free list and in use"),
        };
        *place = Place::Used(record);
        self.free = next;
        id
    }

    fn push(&mut self, record: T) -> Id<T> {
        let id = Id::from_index(self.places);
        if self.places / CHUNK == self.chunks.len() {
            self.chunks.push(Chunk::new());
        }
        self.places += 1;
        *self.place_mut(id) = Place::Used(record);
        id
    }

    pub(crate) fn remove(&mut self, id: Id<T>) -> T {
        let next = self.free;
        let freed = std::mem::replace(self.place_mut(id), Place::Free { next });
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

    /// Keeps the memory of a few places, so that a few locks that come and go do not allocate.
    fn reset(&mut self) {
        self.free = None;
        self.places = 1;
        self.chunks.truncate(1);
        self.chunks.shrink_to(1);
    }
}

impl<T> std::ops::Index<Id<T>> for Slab<T> {
    type Output = T;
    #[inline]
    fn index(&self, id: Id<T>) -> &T {
        match &self.chunks[id.index() / CHUNK].places()[id.index() % CHUNK] {
            Place::Used(record) => record,
            Place::Free { .. } => panic!("place {id:?} is not in use"),
        }
    }
}

impl<T: Clone> std::ops::IndexMut<Id<T>> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        match self.place_mut(id) {
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
    fn an_emptied_slab_keeps_room_for_a_few_and_no_more() {
        for records in [1, CHUNK, CHUNK + 1, 10 * CHUNK] {
            let mut slab = Slab::new();
            let ids: Vec<_> = (0..records).map(|n| slab.insert(n)).collect();
            assert!(slab.capacity() >= records);
            for id in ids {
                slab.remove(id);
            }
            assert_eq!(slab.capacity(), CHUNK, "of {records}");
            assert_eq!((slab.len(), slab.places()), (0, 1));
        }
    }

    #[test]
    fn what_a_slab_has_does_not_move_while_it_grows() {
        let mut slab = Slab::new();
        let first = slab.insert([0; 4]);
        for n in 1..CHUNK {
            slab.insert([n; 4]);
        }
        let at = std::ptr::from_ref(&slab[first]);
        for n in CHUNK..10 * CHUNK {
            slab.insert([n; 4]);
        }
        assert_eq!(std::ptr::from_ref(&slab[first]), at);
        assert_eq!(slab.places(), 10 * CHUNK + 1);
    }

    #[test]
    fn a_copy_and_its_slab_change_apart() {
        let mut slab = Slab::new();
        let ids: Vec<_> = (0..3 * CHUNK / 2).map(|n| slab.insert(n)).collect();
        slab.remove(ids[7]);
        let before: Vec<_> = slab.iter().map(|(id, n)| (id, *n)).collect();
        let mut copy = slab.share();
        let seen = |slab: &Slab<usize>| slab.iter().map(|(id, n)| (id, *n)).collect::<Vec<_>>();
        assert_eq!(seen(&copy), before);

        slab[ids[3]] = 1000;
        assert_eq!(slab.insert(1001), ids[7], "the free place is known");
        let last = slab.insert(1002);
        slab.remove(ids[CHUNK + 1]);
        assert_eq!(seen(&copy), before, "the copy has none of it");
        assert_eq!((copy.len(), copy.get(last)), (before.len(), None));

        copy[ids[4]] = 2000;
        assert_eq!(copy.insert(2001), ids[7]);
        assert_eq!(copy.insert(2002), last, "it grows on its own");
        assert_eq!((slab[ids[4]], slab[ids[7]], slab[last]), (4, 1001, 1002));
        assert_eq!((slab[ids[3]], copy[ids[3]], copy[last]), (1000, 3, 2002));
    }

    #[test]
    fn what_is_shared_with_nothing_any_more_is_not_copied() {
        let mut slab = Slab::new();
        let id = slab.insert([1; 4]);
        let at = std::ptr::from_ref(&slab[id]);
        drop(slab.share());
        slab[id] = [2; 4];
        assert_eq!(std::ptr::from_ref(&slab[id]), at);
        let copy = slab.share();
        slab[id] = [3; 4];
        assert_ne!(std::ptr::from_ref(&slab[id]), at);
        assert_eq!((copy[id], slab[id]), ([2; 4], [3; 4]));
    }

    #[test]
    fn a_slab_that_is_emptied_while_it_is_shared_begins_anew() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert(1), slab.insert(2));
        let copy = slab.share();
        slab.remove(a);
        slab.remove(b);
        assert_eq!((slab.len(), slab.insert(3)), (0, a));
        let again = slab.share();
        slab.remove(a);
        assert_eq!((copy[a], copy[b], again[a], slab.get(a)), (1, 2, 3, None));
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
