//! Hashes that collide, and memory that is given back.

use super::*;
use crate::HashKey;

/// Live requests need no owners to be hashed.
struct World {
    requests: Slab<Request>,
    ended: Slab<Ended>,
    owners: Owners,
}

impl World {
    fn new() -> World {
        World {
            requests: Slab::new(),
            ended: Slab::new(),
            owners: Owners::new(HashKey::default()),
        }
    }

    fn hashes(&self) -> Hashes<'_> {
        Hashes {
            requests: &self.requests,
            ended: &self.ended,
            owners: &self.owners,
        }
    }
}

fn live(raw: u32) -> Known {
    Known::Live(Id::from_raw(raw).unwrap())
}

fn ended(raw: u32) -> Known {
    Known::Ended(Id::from_raw(raw).unwrap())
}

#[test]
fn a_place_stands_for_what_it_was_made_of() {
    for known in [live(1), ended(1), live((1 << 31) - 1), ended((1 << 31) - 1)] {
        assert_eq!(Known::from(Place::from(known)), known);
    }
}

#[test]
#[should_panic(expected = "fewer than 2^31")]
fn a_place_that_does_not_fit_is_noticed() {
    let _ = Place::from(live(1 << 31));
}

#[test]
fn those_whose_hashes_collide_are_told_apart() {
    let (world, mut index) = (World::new(), Index::default());
    for known in [live(1), ended(1), live(2)] {
        index.insert(7, known, &world.hashes());
    }
    index.replace(7, live(2), ended(2));
    index.remove(7, ended(1));
    assert_eq!(index.len(), 2);
    assert_eq!(index.find(7, |known| known == ended(2)), Some(ended(2)));
    let mut seen = Vec::new();
    index.find(7, |known| {
        seen.push(known);
        false
    });
    seen.sort_by_key(|known| Place::from(*known).0);
    assert_eq!(seen, [live(1), ended(2)]);
}

#[test]
#[should_panic(expected = "is not in the index")]
fn taking_out_what_is_not_there_is_noticed() {
    let (world, mut index) = (World::new(), Index::default());
    index.insert(7, live(1), &world.hashes());
    index.remove(7, ended(1));
}

#[test]
fn one_may_move_to_where_another_one_was_once_all_are_taken_out() {
    let (world, mut index) = (World::new(), Index::default());
    index.insert(7, ended(5), &world.hashes());
    index.insert(7, ended(1), &world.hashes());
    for before in [5, 1] {
        index.remove(7, ended(before));
    }
    for after in [1, 2] {
        index.insert(7, ended(after), &world.hashes());
    }
    for known in [ended(1), ended(2)] {
        assert_eq!(index.find(7, |found| found == known), Some(known));
    }
    assert_eq!(index.len(), 2);
}
