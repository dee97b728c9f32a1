//! How far the log is on the disk, written down beside it.
//!
//! The end of a log does not say that there was more: a segment that was cut, or is gone, looks like
//! one whose server crashed. So a file of its own says up to where the log was written *and synced*.
//! A start that finds less says that the log is damaged.
//!
//! It is written after the sync of what it tells of, and not synced itself on the way of requests:
//! a loss of power may leave an earlier mark, which asks for less, and never a later one. Two records
//! take turns. The first is written with a sync: when a segment begins, at a start and when the
//! server stops. The second is written after each group, without. A torn one leaves the other.

use super::super::StoreError;
use lockwright_env::{Directory, DiskFile};
use std::path::Path;

/// The file of the mark.
pub(in super::super) const NAME: &str = "lockwright.mark";
/// The file of a mark that is being made.
const NEW_NAME: &str = "lockwright.mark.new";

/// Bytes of a record: magic, format, segment, byte, next index, CRC-32C of these.
const RECORD_BYTES: usize = 40;
const MAGIC: [u8; 8] = *b"lockmark";
const FORMAT: u32 = 1;

/// Where the record is that is synced.
const SURE: u64 = 0;
/// Where the record is that is not: in a page of its own.
const RECENT: u64 = 4096;

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The number of a segment.
    pub(super) segment: u64,
    /// Where in it records end, in bytes.
    pub(super) byte: u64,
    /// The index of the next entry.
    pub(super) next: u64,
}

/// The mark of a log.
#[derive(Debug)]
pub(super) struct Mark<F> {
    file: F,
}

/// Whether a directory has a mark.
pub(in super::super) fn is_there<D: Directory>(directory: &D) -> Result<bool, StoreError> {
    directory.exists(NAME).map_err(StoreError::disk)
}

/// Whether a directory has a mark that can be read: then its other files are ours, or were.
pub(in super::super) fn is_whole<D: Directory>(directory: &D, path: &Path) -> bool {
    Mark::open(directory, path).is_ok_and(|mark| mark.is_some())
}

impl<F: DiskFile> Mark<F> {
    /// Makes the mark of a log that is on the disk up to `place`.
    pub(super) fn create<D: Directory<File = F>>(
        directory: &D,
        path: &Path,
        place: Place,
    ) -> Result<Mark<F>, StoreError> {
        let in_directory = |error| StoreError::directory(path.to_owned(), error);
        let file = directory.create(NEW_NAME).map_err(in_directory)?;
        let mut mark = Mark { file };
        mark.write(RECENT, place)?;
        mark.keep(place)?;
        let renamed = directory.rename(NEW_NAME, NAME);
        renamed.map_err(in_directory)?;
        Ok(mark)
    }

    /// The mark of a directory, and what it says; none if there is none.
    pub(super) fn open<D: Directory<File = F>>(
        directory: &D,
        path: &Path,
    ) -> Result<Option<(Mark<F>, Place)>, StoreError> {
        if !is_there(directory)? {
            return Ok(None);
        }
        let path = path.join(NAME);
        let file = directory.open(NAME);
        let file = file.map_err(|error| StoreError::directory(path.clone(), error))?;
        let len = file.len().map_err(StoreError::disk)?;
        let mut latest = None;
        for at in [SURE, RECENT] {
            let mut bytes = [0; RECORD_BYTES];
            if len >= at + RECORD_BYTES as u64 {
                file.read(at, &mut bytes).map_err(StoreError::disk)?;
            }
            latest = latest.max(read(&bytes, &path)?);
        }
        let place = latest.ok_or_else(|| {
            StoreError::damaged(format!(
                "`{}` has {len} bytes, and neither of its two records is whole",
                path.display()
            ))
        })?;
        Ok(Some((Mark { file }, place)))
    }

    /// Notes that the log is on the disk up to a place. A loss of power may undo it.
    pub(super) fn note(&mut self, place: Place) -> Result<(), StoreError> {
        self.write(RECENT, place)
    }

    /// As [`note`](Mark::note), and no loss of power undoes it.
    pub(super) fn keep(&mut self, place: Place) -> Result<(), StoreError> {
        self.write(SURE, place)?;
        self.file.sync().map_err(StoreError::disk)
    }

    fn write(&mut self, at: u64, place: Place) -> Result<(), StoreError> {
        let wrote = self.file.write(at, &record(place));
        wrote.map_err(StoreError::disk)
    }
}

fn record(place: Place) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(&MAGIC);
    record[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    record[12..20].copy_from_slice(&place.segment.to_le_bytes());
    record[20..28].copy_from_slice(&place.byte.to_le_bytes());
    record[28..36].copy_from_slice(&place.next.to_le_bytes());
    let crc = crc32c::crc32c(&record[..36]);
    record[36..].copy_from_slice(&crc.to_le_bytes());
    record
}

/// What a record says; none if it is not whole.
fn read(record: &[u8; RECORD_BYTES], path: &Path) -> Result<Option<Place>, StoreError> {
    let four = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().expect("four bytes"));
    let eight = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().expect("eight bytes"));
    if record[..8] != MAGIC || crc32c::crc32c(&record[..36]) != four(36) {
        return Ok(None);
    }
    if four(8) != FORMAT {
        return Err(StoreError::Version {
            path: path.to_owned(),
            got: format!("mark {}", four(8)),
            expected: format!("mark {FORMAT}"),
        });
    }
    Ok(Some(Place {
        segment: eight(12),
        byte: eight(20),
        next: eight(28),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        segment: 3,
        byte: 0x0102,
        next: 77,
    };

    #[test]
    fn a_record_is_read_when_all_of_it_is_there() {
        let path = Path::new(NAME);
        let whole = record(PLACE);
        assert_eq!(read(&whole, path).unwrap(), Some(PLACE));
        for at in 0..RECORD_BYTES {
            let mut broken = whole;
            broken[at] ^= 0x10;
            assert_eq!(read(&broken, path).unwrap(), None, "byte {at}");
        }
    }

    /// A change of these bytes is a change of the format.
    #[test]
    fn a_record_is_written_as_ever() {
        let text: Vec<String> = record(PLACE)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let expected = "6c6f636b6d61726b01000000030000000000000002010000000000004d00000000000000";
        assert_eq!(text[..36].join(""), expected);
    }

    #[test]
    fn places_are_in_the_order_in_which_they_are_written() {
        let later = |segment, byte, next| Place {
            segment,
            byte,
            next,
        };
        // Entries that are taken back make the log no shorter.
        assert!(later(3, 0x0103, 5) > PLACE);
        assert!(later(4, 32, 5) > PLACE);
    }
}
