//! What a record holds and takes, and lists that records leave early.

use super::*;
use std::mem::size_of;

fn owner() -> OwnerId {
    Id::from_raw(1).unwrap()
}

fn ended(number: usize) -> Ended {
    let at = TimeMs::new(u64::try_from(number).unwrap()).unwrap();
    let id = Name::new(format!("L{number}")).unwrap();
    Ended::new(owner(), id, (EndReason::Released, at, Some(Token(1))), 7)
}

#[test]
fn a_record_takes_48_bytes_and_one_more_word_in_its_list() {
    assert_eq!(size_of::<Ended>(), 48);
    assert_eq!(Slab::<Ended>::PLACE_BYTES, 48, "a free place needs no more");
    assert_eq!(size_of::<EndedId>(), 4);
}

#[test]
fn a_record_gives_back_what_it_was_made_of() {
    for (number, reason) in REASONS.into_iter().enumerate() {
        assert_eq!(number_of(reason), u64::try_from(number).unwrap());
        for at in [TimeMs::ZERO, TimeMs::LATEST] {
            for token in [None, Some(Token(1)), Some(Token(u64::MAX))] {
                let id = Name::new("L").unwrap();
                let mut ended = Ended::new(owner(), id, (reason, at, token), 0);
                for is_done in [false, true] {
                    assert_eq!(ended.state(), LockState::Ended { reason, at, token });
                    assert_eq!(ended.is_done(), is_done);
                    ended.end |= IS_DONE;
                }
            }
        }
    }
}

/// A list of so many records.
fn world(count: usize) -> (Slab<Ended>, Ends, Vec<EndedId>) {
    let (mut records, mut list) = (Slab::new(), Ends::default());
    let ids: Vec<EndedId> = (0..count).map(|n| records.insert(ended(n))).collect();
    for id in &ids {
        list.push(*id);
    }
    (records, list, ids)
}

#[test]
fn what_is_done_with_is_passed_over_and_its_place_is_freed_on_the_way() {
    let (mut records, mut list, ids) = world(5);
    for done in [0, 1, 3] {
        list.done_with(ids[done], &mut records);
    }
    assert_eq!(list.len(), 2);
    assert_eq!(list.iter(&records).collect::<Vec<_>>(), [ids[2], ids[4]]);
    assert_eq!(records.len(), 5);
    assert_eq!(list.first(&mut records), Some(ids[2]));
    assert_eq!(records.len(), 3);
    list.pop();
    assert_eq!(list.first(&mut records), Some(ids[4]));
    list.pop();
    assert_eq!((list.first(&mut records), list.len()), (None, 0));
}

#[test]
fn those_that_are_done_with_are_swept_out_when_they_are_the_most() {
    for others in [DONE_MAX, DONE_MAX + 1] {
        let (mut records, mut list, ids) = world(DONE_MAX + 1 + others);
        for id in &ids[..DONE_MAX] {
            list.done_with(*id, &mut records);
        }
        assert_eq!(records.len(), ids.len(), "a few are let be");
        list.done_with(ids[DONE_MAX], &mut records);
        let left = if others > DONE_MAX { ids.len() } else { others };
        assert_eq!((records.len(), list.len()), (left, others));
        assert_eq!(list.first(&mut records), Some(ids[DONE_MAX + 1]));
    }
}

#[test]
fn a_list_gives_its_memory_back() {
    let (mut records, mut list, ids) = world(10_000);
    for id in ids {
        list.done_with(id, &mut records);
    }
    assert!(list.capacity() <= KEPT_ROOM, "{}", list.capacity());
    assert!(list.len() == 0 && records.len() <= DONE_MAX);
    let mut empty = Ends::with_capacity(KEPT_ROOM);
    empty.push(records.insert(ended(1)));
    empty.pop();
    assert_eq!(empty.capacity(), KEPT_ROOM);
}

#[test]
fn records_move_in_order_and_what_is_done_with_stays_behind() {
    let (mut records, mut list, ids) = world(3);
    list.done_with(ids[0], &mut records);
    let (mut to, mut moves) = (Slab::new(), Vec::new());
    list.move_to(&mut records, &mut to, |before, after| {
        moves.push((before, after));
    });
    assert_eq!((records.len(), to.len()), (0, 2));
    let before: Vec<EndedId> = moves.iter().map(|(before, _)| *before).collect();
    assert_eq!(before, ids[1..]);
    let after: Vec<&str> = list.iter(&to).map(|id| to[id].id.as_str()).collect();
    assert_eq!(after, ["L1", "L2"]);
}

#[test]
#[should_panic(expected = "it is done with once")]
fn being_done_with_twice_is_noticed() {
    let (mut records, mut list, ids) = world(2);
    list.done_with(ids[0], &mut records);
    list.done_with(ids[0], &mut records);
}
