//! The log on the disk: records appended to segments, one after the other.
//!
//! A record is durable when the sync has returned that follows its write, and then a loss of power
//! leaves it as it is; only the group that was being written can be torn. `segment` tells how that is
//! told from damage. When a segment is full the next one begins. Those whose entries are all purged
//! go, and a loss of power may bring some of them back: what a snapshot has, the log may have in part.
//! `mark` tells a log that has lost its end from one that never had more.
//!
//! The format is ours, in the manner of the write-ahead logs of SQLite and etcd: checksums over
//! records of known length, and zeros where nothing was written yet.

pub(super) mod mark;
mod record;
mod segment;
#[cfg(test)]
mod tests;

use super::StoreError;
use lockwright_env::{Directory, DiskFile};
use mark::{Mark, Place};
use record::Kind;
use segment::{Found, Segment};
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
};

/// An entry of the log: its index and its bytes.
pub(crate) type EntryRow = (u64, Vec<u8>);

/// A change of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogChange {
    /// Entries are added. The first follows the last that there is, or that was purged.
    Append(Vec<EntryRow>),
    /// The log ends before this index.
    Truncate {
        /// The first index that goes.
        from: u64,
    },
    /// The log begins after this index, which it may not have reached.
    Purge {
        /// The last index that goes.
        up_to: u64,
    },
}

/// The log of a directory.
#[derive(Debug)]
pub(super) struct Journal<D: Directory> {
    directory: Arc<D>,
    path: PathBuf,
    /// How long a segment is when the next one begins.
    segment_bytes: u64,
    /// The segments: number and first index. The last one is written to.
    segments: VecDeque<(u64, u64)>,
    last: Segment<D::File>,
    /// Says how far it is on the disk.
    mark: Mark<D::File>,
    /// The index of the next entry.
    next: u64,
    /// What is written next.
    group: Vec<u8>,
    /// Whether nothing was written since it was closed.
    is_closed: bool,
}

/// A log that was found, and its entries.
pub(super) struct Opened<D: Directory> {
    pub(super) journal: Journal<D>,
    pub(super) entries: VecDeque<EntryRow>,
}

/// Whether a directory has a log.
pub(super) fn is_there<D: Directory>(directory: &D) -> Result<bool, StoreError> {
    Ok(!numbers(directory)?.is_empty())
}

/// The numbers of the segments, in order.
fn numbers<D: Directory>(directory: &D) -> Result<Vec<u64>, StoreError> {
    let names = directory.names().map_err(StoreError::disk)?;
    let numbers = names.iter().filter_map(|name| segment::number(name));
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    Ok(numbers)
}

impl<D: Directory> Journal<D> {
    /// Makes an empty log in a directory, of which `path` is the name.
    pub(super) fn create(
        directory: Arc<D>,
        path: &Path,
        segment_bytes: u64,
    ) -> Result<Journal<D>, StoreError> {
        let last = Segment::create(&*directory, path, 1, 0, segment_bytes)?;
        let mark = Mark::create(&*directory, path, last.place(0))?;
        Ok(Journal {
            directory,
            path: path.to_owned(),
            segment_bytes,
            segments: VecDeque::from([(1, 0)]),
            last,
            mark,
            next: 0,
            group: Vec::new(),
            is_closed: false,
        })
    }

    /// Opens the log of a directory, of which `path` is the name. Entries before `needed` are in a
    /// snapshot: the log need not have them. Unless its `mark_is_due`, as where
    /// the first start was interrupted, a log without a mark gets one.
    pub(super) fn open(
        directory: Arc<D>,
        path: &Path,
        segment_bytes: u64,
        needed: u64,
        mark_is_due: bool,
    ) -> Result<Opened<D>, StoreError> {
        let numbers = numbers(&*directory)?;
        let marked = Mark::open(&*directory, path)?;
        if marked.is_none() && mark_is_due {
            let file = path.join(mark::NAME);
            return Err(StoreError::damaged(format!(
                "`{}` is gone, which says how far the log was written: put it back if it was moved \
                 away",
                file.display()
            )));
        }
        let expected = marked.as_ref().map(|(_, place)| *place);
        let mut segments = VecDeque::new();
        let mut entries: VecDeque<EntryRow> = VecDeque::new();
        let mut next = None;
        let mut last = None;
        for (place, number) in numbers.iter().enumerate() {
            let found = Found::read(&*directory, path, *number);
            let found = found.map_err(|error| was_ours(error, *number, expected))?;
            check_follows(&found, *number, segments.back(), next, needed)?;
            if next != Some(found.first) {
                entries.clear();
            }
            segments.push_back((*number, found.first));
            let (after, end) = replay(&found, &mut entries)?;
            next = Some(after);
            if place + 1 < numbers.len() {
                found.is_closed_at(end)?;
            } else {
                check_reaches(&found, path, (*number, end, after), expected)?;
                last = Some(found.go_on(end, segment_bytes)?);
            }
        }
        let (Some(last), Some(next)) = (last, next) else {
            return Err(gone(path, expected));
        };
        let mark = match marked {
            Some((mut mark, _)) => {
                mark.keep(last.place(next))?;
                mark
            }
            None => Mark::create(&*directory, path, last.place(next))?,
        };
        let mut journal = Journal {
            directory,
            path: path.to_owned(),
            segment_bytes,
            segments,
            last,
            mark,
            next,
            group: Vec::new(),
            is_closed: false,
        };
        // A snapshot can be of entries that never came: then the log begins after it.
        if needed > 0 {
            journal.purge(needed - 1)?;
        }
        while entries.front().is_some_and(|(index, _)| *index < needed) {
            entries.pop_front();
        }
        Ok(Opened { journal, entries })
    }

    /// Makes changes, in order. What can be written at once is written at once, with one sync.
    pub(super) fn make<'a>(
        &mut self,
        changes: impl Iterator<Item = &'a LogChange>,
    ) -> Result<(), StoreError> {
        for change in changes {
            match change {
                LogChange::Append(entries) => {
                    for (index, bytes) in entries {
                        assert_eq!(*index, self.next, "an entry follows the one before");
                        self.next += 1;
                        self.add(Kind::Entry, *index, bytes);
                    }
                }
                LogChange::Truncate { from } => {
                    self.next = self.next.min(*from);
                    self.add(Kind::Truncate, self.next, &[]);
                }
                LogChange::Purge { up_to } => {
                    self.write()?;
                    self.purge(*up_to)?;
                }
            }
        }
        self.write()
    }

    /// Notes that all that was written is there, so that the next start can tell damage from what a
    /// crash leaves.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        if self.is_closed {
            return Ok(());
        }
        self.add(Kind::Close, self.next.saturating_sub(1), &[]);
        self.write()?;
        self.mark.keep(self.last.place(self.next))?;
        self.is_closed = true;
        Ok(())
    }

    fn add(&mut self, kind: Kind, index: u64, text: &[u8]) {
        let group = u32::try_from(self.last.end()).expect("a segment is smaller than 4 GiB");
        record::write(
            &mut self.group,
            self.last.number(),
            group,
            kind,
            index,
            text,
        );
    }

    fn write(&mut self) -> Result<(), StoreError> {
        if self.group.is_empty() {
            return Ok(());
        }
        self.last.append(&self.group)?;
        self.group.clear();
        self.is_closed = false;
        if self.last.end() >= self.segment_bytes {
            self.begin_segment()
        } else {
            self.mark.note(self.last.place(self.next))
        }
    }

    fn begin_segment(&mut self) -> Result<(), StoreError> {
        let number = self.last.number() + 1;
        let (directory, path) = (&*self.directory, &self.path);
        self.last = Segment::create(directory, path, number, self.next, self.segment_bytes)?;
        self.segments.push_back((number, self.next));
        self.mark.keep(self.last.place(self.next))
    }

    /// Goes on with a later entry: those between are in a snapshot.
    fn skip_to(&mut self, index: u64) -> Result<(), StoreError> {
        self.next = index;
        self.begin_segment()
    }

    fn purge(&mut self, up_to: u64) -> Result<(), StoreError> {
        assert!(
            self.group.is_empty(),
            "what is to be written is written first"
        );
        if self.next <= up_to {
            self.skip_to(up_to + 1)?;
        }
        // All entries of a segment are before the first of the next.
        while let [(number, _), (_, first), ..] = *self.segments.make_contiguous() {
            if first > up_to + 1 {
                break;
            }
            let removed = self.directory.remove(&segment::name(number));
            removed.map_err(StoreError::disk)?;
            self.segments.pop_front();
        }
        Ok(())
    }
}

/// Checks that a segment follows the one before, or that what is missing is not needed.
fn check_follows<F: DiskFile>(
    found: &Found<F>,
    number: u64,
    before: Option<&(u64, u64)>,
    next: Option<u64>,
    needed: u64,
) -> Result<(), StoreError> {
    // What was purged may be there in part. Only what begins later than that must have no hole.
    let follows = found.first <= needed && next.is_none_or(|next| next <= found.first)
        || before.is_some_and(|(before, _)| before + 1 == number) && next == Some(found.first);
    if follows {
        return Ok(());
    }
    let first = found.first;
    Err(found.damaged(&match next {
        None => format!("it begins with the entry {first}, and {needed} is needed"),
        Some(next) => format!("it begins with the entry {first}, and {next} was to come"),
    }))
}

/// Checks that the log ends where the mark says, or later. The last segment has this number, its
/// records end at this byte, and this is the index of the next entry.
fn check_reaches<F: DiskFile>(
    found: &Found<F>,
    path: &Path,
    (segment, end, next): (u64, usize, u64),
    expected: Option<Place>,
) -> Result<(), StoreError> {
    let byte = end as u64;
    let place = Place {
        segment,
        byte,
        next,
    };
    match expected {
        Some(expected) if expected.segment > segment => Err(gone(path, Some(expected))),
        Some(expected) if expected > place => Err(found.damaged(&format!(
            "its records end at byte {byte}, with the entry {next} to come, and it was written up to \
             byte {}, with the entry {} to come: its end was cut off or overwritten",
            expected.byte, expected.next
        ))),
        _ => Ok(()),
    }
}

/// What is said of a log whose last segment is gone, and of which this is known.
fn gone(path: &Path, expected: Option<Place>) -> StoreError {
    let Some(expected) = expected else {
        return StoreError::damaged(format!("the log of `{}` is gone", path.display()));
    };
    let file = path.join(segment::name(expected.segment));
    StoreError::damaged(format!(
        "`{}` is gone: it was written up to byte {}, with the entry {} to come. Put it back if it \
         was moved away",
        file.display(),
        expected.byte,
        expected.next
    ))
}

/// What the mark says was a segment was one, whatever is in its file now.
fn was_ours(error: StoreError, number: u64, expected: Option<Place>) -> StoreError {
    match error {
        StoreError::Foreign { path, what }
            if expected.is_some_and(|expected| number <= expected.segment) =>
        {
            StoreError::damaged(format!(
                "`{}`: {what}, and it was a segment of the log",
                path.display()
            ))
        }
        other => other,
    }
}

/// Adds the entries of a segment. Gives the index of the next one, and where the records end.
fn replay<F: DiskFile>(
    found: &Found<F>,
    entries: &mut VecDeque<EntryRow>,
) -> Result<(u64, usize), StoreError> {
    let mut next = found.first;
    let end = found.records(|record| {
        match record.kind {
            Kind::Entry if record.index == next => {
                entries.push_back((next, record.text.to_vec()));
                next += 1;
            }
            Kind::Truncate if record.index <= next => {
                next = record.index;
                while entries.pop_back_if(|(index, _)| *index >= next).is_some() {}
            }
            Kind::Close if record.index == next.saturating_sub(1) => {}
            kind => {
                let index = record.index;
                return Err(format!("{kind:?} {index} is written where {next} is next"));
            }
        }
        Ok(())
    })?;
    Ok((next, end))
}
