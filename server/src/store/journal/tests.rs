//! The log on real files, as it was left by crashes, damage and other programs.

#![expect(
    clippy::disallowed_methods,
    reason = "these tests run on the real disk, and not in the simulator"
)]

use super::{
    super::{
        StoreError,
        tests::{Scratch, row},
    },
    EntryRow, Journal, LogChange, is_there, mark, record,
    segment::{self, HEADER_BYTES},
};
use lockwright_env::{DirectoryError, Env, TokioDirectory, TokioEnv};
use std::{path::PathBuf, sync::Arc};

/// So small that a few entries fill it.
const SEGMENT_BYTES: u64 = 1024;

/// Bytes of a record of [`row`].
const RECORD: usize = record::HEADER_BYTES + 100;

/// A log in a directory of its own.
struct Place(Scratch);

impl Place {
    fn new() -> Place {
        Place(Scratch::new())
    }

    fn directory(&self) -> Arc<TokioDirectory> {
        match TokioEnv.open_directory(self.0.path()) {
            Ok(directory) => Arc::new(directory),
            Err(DirectoryError::Io(error)) => panic!("{error}"),
            Err(DirectoryError::Locked) => panic!("the log before is still there"),
        }
    }

    fn create(&self, bytes: u64) -> Journal<TokioDirectory> {
        Journal::create(self.directory(), self.0.path(), bytes).unwrap()
    }

    fn try_open(&self, needed: u64) -> Result<(Journal<TokioDirectory>, Vec<u64>), StoreError> {
        let opened = Journal::open(self.directory(), self.0.path(), SEGMENT_BYTES, needed, true)?;
        let is_right = |(index, bytes): EntryRow| {
            assert_eq!((index, bytes), row(index));
            index
        };
        let entries = opened.entries.into_iter().map(is_right).collect();
        Ok((opened.journal, entries))
    }

    fn open(&self, needed: u64) -> (Journal<TokioDirectory>, Vec<u64>) {
        self.try_open(needed).unwrap()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.0.path().join(segment::name(number))
    }

    fn read(&self, number: u64) -> Vec<u8> {
        std::fs::read(self.path(number)).unwrap()
    }

    fn write(&self, number: u64, bytes: &[u8]) {
        std::fs::write(self.path(number), bytes).unwrap();
    }

    fn mark(&self) -> Vec<u8> {
        std::fs::read(self.0.path().join(mark::NAME)).unwrap()
    }

    fn write_mark(&self, bytes: &[u8]) {
        std::fs::write(self.0.path().join(mark::NAME), bytes).unwrap();
    }

    /// What opening says, and that it has changed nothing.
    fn refused(&self, needed: u64) -> StoreError {
        let files = || {
            let numbers = (1..100).filter(|number| self.path(*number).exists());
            let files: Vec<_> = numbers.map(|number| (number, self.read(number))).collect();
            files
        };
        let before = files();
        let Err(error) = self.try_open(needed) else {
            panic!("it is opened");
        };
        assert_eq!(files(), before, "nothing is changed");
        error
    }
}

fn append(indices: impl IntoIterator<Item = u64>) -> LogChange {
    LogChange::Append(indices.into_iter().map(row).collect())
}

/// Makes changes, each with a sync of its own.
fn make(journal: &mut Journal<TokioDirectory>, changes: impl IntoIterator<Item = LogChange>) {
    for change in changes {
        journal.make([change].iter()).unwrap();
    }
}

fn is_damaged(error: &StoreError) -> bool {
    matches!(error, StoreError::Damaged { .. })
}

#[test]
fn segments_follow_each_other_and_go_when_they_are_purged() {
    let place = Place::new();
    assert!(!is_there(&*place.directory()).unwrap());
    let mut journal = place.create(SEGMENT_BYTES);
    make(&mut journal, (0..40).map(|index| append([index])));
    assert!(journal.segments.len() > 3);
    drop(journal);
    let (mut journal, entries) = place.open(0);
    assert_eq!(entries, Vec::from_iter(0..40));
    make(&mut journal, [LogChange::Purge { up_to: 30 }]);
    assert!(!place.path(1).exists());
    let first = journal.segments[0].1;
    assert!((1..=31).contains(&first), "{first}");
    drop(journal);
    let (mut journal, entries) = place.open(31);
    assert_eq!(entries, Vec::from_iter(31..40));
    make(&mut journal, [append([40])]);
    drop(journal);
    let error = place.refused(0);
    assert!(is_damaged(&error), "entry 0 is needed and purged: {error}");
}

#[test]
fn what_is_truncated_is_written_anew() {
    let place = Place::new();
    let mut journal = place.create(SEGMENT_BYTES);
    make(&mut journal, [append(0..9), append(9..20)]);
    make(&mut journal, [LogChange::Truncate { from: 5 }]);
    drop(journal);
    let (mut journal, entries) = place.open(0);
    assert_eq!(entries, [0, 1, 2, 3, 4]);
    make(
        &mut journal,
        [append(5..7), LogChange::Truncate { from: 6 }],
    );
    make(&mut journal, [append(6..9)]);
    drop(journal);
    assert_eq!(place.open(0).1, Vec::from_iter(0..9));
}

#[test]
fn a_log_goes_on_after_a_snapshot_of_entries_that_never_came() {
    let place = Place::new();
    let mut journal = place.create(SEGMENT_BYTES);
    make(&mut journal, [append(0..4), LogChange::Purge { up_to: 99 }]);
    make(&mut journal, [append(100..103)]);
    drop(journal);
    assert_eq!(place.open(100).1, [100, 101, 102]);
    // The snapshot is there, and the purge was lost.
    let (journal, entries) = place.open(200);
    assert_eq!(entries, [] as [u64; 0]);
    drop(journal);
    let (mut journal, _) = place.open(200);
    make(&mut journal, [append([200])]);
    drop(journal);
    assert_eq!(place.open(200).1, [200]);
}

/// Whatever part of the last group is on the disk, all before it is there, and what is written next
/// is not mixed with what is left of it.
#[test]
fn a_torn_end_is_cut_off() {
    let place = Place::new();
    let mut journal = place.create(1 << 16);
    make(&mut journal, [append(0..3)]);
    // The mark is of a group that is synced: the last one is not.
    let (whole, mark) = (place.read(1), place.mark());
    make(&mut journal, [append(3..6)]);
    drop(journal);
    let last = place.read(1);
    let begin = HEADER_BYTES + 3 * RECORD;
    let end = begin + 3 * RECORD;
    for lost in (begin..end).step_by(7) {
        for part in [lost..end, begin..lost, lost..lost + 1] {
            let mut torn = last.clone();
            torn[part.clone()].copy_from_slice(&whole[part]);
            if torn == last {
                continue;
            }
            place.write(1, &torn);
            place.write_mark(&mark);
            let (mut journal, entries) = place.open(0);
            assert!(entries.len() >= 3 && entries.len() < 6, "{entries:?}");
            let next = entries.len() as u64;
            make(&mut journal, [append([next])]);
            drop(journal);
            assert_eq!(
                place.open(0).1,
                Vec::from_iter(0..=next),
                "lost from {lost}"
            );
        }
    }
}

/// What a later group follows was on the disk: it cannot be lost by a crash.
#[test]
fn damage_before_the_last_group_is_refused() {
    let place = Place::new();
    let mut journal = place.create(1 << 16);
    make(&mut journal, [append(0..3), append(3..6), append(6..7)]);
    drop(journal);
    let whole = place.read(1);
    let last_group = HEADER_BYTES + 6 * RECORD;
    for at in (0..last_group).step_by(3) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        place.write(1, &damaged);
        let error = place.refused(0);
        let is_foreign = matches!(error, StoreError::Foreign { .. });
        assert!(
            is_damaged(&error) || at < 8 && is_foreign,
            "byte {at}: {error}"
        );
    }
}

#[test]
fn all_damage_of_a_closed_log_is_refused() {
    let place = Place::new();
    let mut journal = place.create(1 << 16);
    make(&mut journal, [append(0..3)]);
    journal.close().unwrap();
    journal.close().unwrap();
    drop(journal);
    let whole = place.read(1);
    for at in (HEADER_BYTES..HEADER_BYTES + 3 * RECORD).step_by(5) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        place.write(1, &damaged);
        assert!(is_damaged(&place.refused(0)), "byte {at}");
    }
    place.write(1, &whole);
    let (mut journal, entries) = place.open(0);
    assert_eq!(entries, [0, 1, 2]);
    make(&mut journal, [append([3])]);
    drop(journal);
    assert_eq!(place.open(0).1, [0, 1, 2, 3]);
}

#[test]
fn damage_of_a_segment_that_another_follows_is_refused() {
    let place = Place::new();
    let mut journal = place.create(SEGMENT_BYTES);
    make(&mut journal, (0..40).map(|index| append([index])));
    drop(journal);
    for number in [1, 2] {
        let whole = place.read(number);
        let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
        for at in [HEADER_BYTES, used - 1, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            place.write(number, &damaged);
            assert!(is_damaged(&place.refused(0)), "segment {number}, byte {at}");
        }
        place.write(number, &whole);
    }
    let second = place.read(2);
    std::fs::remove_file(place.path(2)).unwrap();
    assert!(is_damaged(&place.refused(0)), "a hole");
    place.write(2, &place.read(3));
    assert!(is_damaged(&place.refused(0)), "one in the place of another");
    place.write(2, &second);
    place.open(0);
}

#[test]
fn what_was_purged_may_come_back_in_part() {
    let place = Place::new();
    let mut journal = place.create(SEGMENT_BYTES);
    make(&mut journal, (0..40).map(|index| append([index])));
    let back = place.read(2);
    make(&mut journal, [LogChange::Purge { up_to: 29 }]);
    assert!(!place.path(1).exists() && !place.path(3).exists());
    drop(journal);
    place.write(2, &back);
    let error = place.refused(20);
    assert!(is_damaged(&error), "a hole in what is needed: {error}");
    assert_eq!(place.open(30).1, Vec::from_iter(30..40));
    assert!(!place.path(2).exists(), "it is purged again");
    assert_eq!(place.open(30).1, Vec::from_iter(30..40));
}

#[test]
fn a_file_of_another_program_or_version_is_refused() {
    for foreign in [&b"short"[..], &[7; 10_000], b""] {
        let place = Place::new();
        drop(place.create(SEGMENT_BYTES));
        place.write(2, foreign);
        let error = place.refused(0);
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    }
    let place = Place::new();
    drop(place.create(SEGMENT_BYTES));
    let mut newer = place.read(1);
    newer[8] = 99;
    let crc = crc32c::crc32c(&newer[..28]);
    newer[28..32].copy_from_slice(&crc.to_le_bytes());
    place.write(1, &newer);
    let error = place.refused(0);
    assert!(matches!(error, StoreError::Version { .. }), "{error}");
}

#[test]
fn what_an_interrupted_rotation_left_is_made_anew() {
    let place = Place::new();
    let mut journal = place.create(SEGMENT_BYTES);
    make(&mut journal, [append(0..5)]);
    drop(journal);
    std::fs::write(place.0.path().join(segment::NEW_NAME), b"half").unwrap();
    let (mut journal, _) = place.open(0);
    make(&mut journal, (5..40).map(|index| append([index])));
    drop(journal);
    assert_eq!(place.open(0).1, Vec::from_iter(0..40));
}

/// How a server ends, and what it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It was told to stop.
    Stopped,
    /// Its process was killed: what it wrote and did not sync is in the system's memory.
    Killed,
}

/// A log of forty entries, in several segments, whose server has ended. Gives the number of the last.
fn ended(end: End) -> (Place, u64) {
    let place = Place::new();
    let mut journal = place.create(SEGMENT_BYTES);
    make(&mut journal, (0..40).map(|index| append([index])));
    if end == End::Stopped {
        journal.close().unwrap();
    }
    let last = journal.last.number();
    assert!(last > 3);
    (place, last)
}

#[test]
fn a_log_that_lost_its_end_is_refused() {
    for end in [End::Stopped, End::Killed] {
        let (place, last) = ended(end);
        let whole = place.read(last);
        let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for cut in 0..used {
            place.write(last, &whole[..cut]);
            let error = place.refused(0);
            assert!(is_damaged(&error), "{end:?}, cut at {cut}: {error}");
            let mut zeroed = whole.clone();
            zeroed[cut..].fill(0);
            place.write(last, &zeroed);
            let error = place.refused(0);
            assert!(is_damaged(&error), "{end:?}, zeros from {cut}: {error}");
        }
        // What was written ahead is not missed.
        place.write(last, &whole[..used]);
        assert_eq!(place.open(0).1, Vec::from_iter(0..40), "{end:?}");
    }
}

#[test]
fn a_log_that_lost_a_segment_is_refused() {
    for end in [End::Stopped, End::Killed] {
        let (_, last) = ended(end);
        for first in 1..=last {
            for lost in [first..=first, first..=last] {
                let (place, _) = ended(end);
                for number in lost.clone() {
                    std::fs::remove_file(place.path(number)).unwrap();
                }
                let error = place.refused(0);
                assert!(is_damaged(&error), "{end:?}, {lost:?}: {error}");
            }
        }
        let (place, _) = ended(end);
        let (one, other) = (place.read(last - 1), place.read(last));
        place.write(last - 1, &other);
        place.write(last, &one);
        let error = place.refused(0);
        assert!(is_damaged(&error), "{end:?}, swapped: {error}");
        // A snapshot does not replace what came after it, nor does it hide that the rest is gone.
        let (place, _) = ended(end);
        std::fs::remove_file(place.path(last)).unwrap();
        let error = place.refused(90);
        assert!(is_damaged(&error), "{end:?}, with a snapshot: {error}");
    }
}

#[test]
fn what_is_gone_is_named_with_what_is_known_of_it() {
    let (place, last) = ended(End::Stopped);
    let whole = place.read(last);
    place.write(last, &whole[..HEADER_BYTES]);
    let error = place.refused(0).to_string();
    let file = segment::name(last);
    for expected in [
        &file,
        "end at byte 32,",
        "up to byte",
        "the entry 40 to come",
        "copy",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    std::fs::remove_file(place.path(last)).unwrap();
    let error = place.refused(0).to_string();
    for expected in [&file, "is gone", "the entry 40 to come", "Put it back"] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    place.write(last, &whole);
    place.open(0);
}

#[test]
fn a_mark_that_is_gone_or_broken_is_missed() {
    let (place, _) = ended(End::Stopped);
    let whole = place.mark();
    for broken in [&[][..], &whole[..39], &vec![0; whole.len()]] {
        place.write_mark(broken);
        let error = place.refused(0);
        assert!(is_damaged(&error), "{error}");
    }
    // One of its records can be torn, since they are not written at once.
    for torn in [0, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[torn] ^= 1;
        place.write_mark(&bytes);
        assert_eq!(place.open(0).1, Vec::from_iter(0..40));
    }
    std::fs::remove_file(place.0.path().join(mark::NAME)).unwrap();
    let error = place.refused(0);
    assert!(is_damaged(&error), "{error}");
    assert!(error.to_string().contains(mark::NAME), "{error}");
}

#[test]
fn the_log_of_a_first_start_that_was_interrupted_gets_a_mark() {
    let (place, last) = ended(End::Stopped);
    std::fs::remove_file(place.0.path().join(mark::NAME)).unwrap();
    let opened = Journal::open(place.directory(), place.0.path(), SEGMENT_BYTES, 0, false);
    drop(opened.unwrap());
    assert_eq!(place.open(0).1, Vec::from_iter(0..40));
    std::fs::remove_file(place.path(last)).unwrap();
    assert!(is_damaged(&place.refused(0)));
}
