//! One file of the log.
//!
//! It begins with a header, then come records, then zeros. Its file is longer than what is written
//! by up to [`AHEAD_BYTES`] of zeros that are on the disk already: so a sync has only to write
//! the records, and not where they are.
//!
//! A new segment is written under another name, and renamed when it is on the disk: under its own
//! name its header is whole.

use super::{
    super::StoreError,
    mark::Place,
    record::{self, Record},
};
use lockwright_env::{Directory, DiskFile};
use std::path::{Path, PathBuf};

/// The name of a segment that is being made.
pub(super) const NEW_NAME: &str = "lockwright.log.new";

/// Bytes of a header: magic, format, number of the segment, first index, CRC-32C of these.
pub(super) const HEADER_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"lockwlog";
const FORMAT: u32 = 1;

/// Bytes of zeros that are written at once.
const AHEAD_BYTES: u64 = 1 << 20;

/// The name of a segment.
pub(super) fn name(number: u64) -> String {
    format!("lockwright-{number:016x}.log")
}

/// The number of the segment that has this name; none if no segment has.
pub(super) fn number(of: &str) -> Option<u64> {
    let digits = of.strip_prefix("lockwright-")?.strip_suffix(".log")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (name(number) == of).then_some(number)
}

/// A segment that is written to.
#[derive(Debug)]
pub(super) struct Segment<F> {
    file: F,
    number: u64,
    /// Where the next record goes.
    end: u64,
    /// How long the file is. What is after the end is zeros.
    len: u64,
    /// No more zeros are written ahead than this.
    bytes: u64,
}

impl<F: DiskFile> Segment<F> {
    /// Makes a segment that has no record, for entries from `first` on.
    pub(super) fn create<D: Directory<File = F>>(
        directory: &D,
        path: &Path,
        number: u64,
        first: u64,
        bytes: u64,
    ) -> Result<Segment<F>, StoreError> {
        let in_directory = |error| StoreError::directory(path.to_owned(), error);
        let file = directory.create(NEW_NAME).map_err(in_directory)?;
        let end = HEADER_BYTES as u64;
        let mut segment = Segment {
            file,
            number,
            end: 0,
            len: 0,
            bytes,
        };
        segment.write(&header(number, first), end)?;
        let renamed = directory.rename(NEW_NAME, &name(number));
        renamed.map_err(in_directory)?;
        Ok(segment)
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Where the next record goes.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Where its records end, when the entry `next` is to come.
    pub(super) fn place(&self, next: u64) -> Place {
        Place {
            segment: self.number,
            byte: self.end,
            next,
        }
    }

    /// Writes a group of records at the end, with one sync.
    pub(super) fn append(&mut self, records: &[u8]) -> Result<(), StoreError> {
        self.write(records, self.end + records.len() as u64)
    }

    fn write(&mut self, bytes: &[u8], end: u64) -> Result<(), StoreError> {
        let wrote = self.file.write(self.end, bytes);
        wrote.map_err(StoreError::disk)?;
        if end > self.len {
            let len = (end + AHEAD_BYTES).min(self.bytes.max(end));
            let zeros = vec![0; usize::try_from(len - end).expect("small")];
            let wrote = self.file.write(end, &zeros);
            wrote.map_err(StoreError::disk)?;
            self.len = len;
        }
        self.file.sync().map_err(StoreError::disk)?;
        self.end = end;
        Ok(())
    }
}

fn header(number: u64, first: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    header[12..20].copy_from_slice(&number.to_le_bytes());
    header[20..28].copy_from_slice(&first.to_le_bytes());
    let crc = crc32c::crc32c(&header[..28]);
    header[28..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// A segment as it was found.
#[derive(Debug)]
pub(super) struct Found<F> {
    file: F,
    path: PathBuf,
    number: u64,
    /// The index of the first entry that was to come when it was made.
    pub(super) first: u64,
    bytes: Vec<u8>,
}

impl<F: DiskFile> Found<F> {
    /// Reads a segment, and its header.
    pub(super) fn read<D: Directory<File = F>>(
        directory: &D,
        path: &Path,
        number: u64,
    ) -> Result<Found<F>, StoreError> {
        let file = directory.open(&name(number));
        let path = path.join(name(number));
        let file = file.map_err(|error| StoreError::directory(path.clone(), error))?;
        let len = file.len().map_err(StoreError::disk)?;
        let len = usize::try_from(len).ok().filter(|len| *len < 1 << 32);
        let len = len.ok_or_else(|| damaged(&path, "it is too long"))?;
        let mut bytes = vec![0; len];
        file.read(0, &mut bytes).map_err(StoreError::disk)?;
        let first = check_header(&bytes, number, &path)?;
        Ok(Found {
            file,
            path,
            number,
            first,
            bytes,
        })
    }

    /// Hands out its records in order, and says where they end.
    pub(super) fn records<'a>(
        &'a self,
        mut each: impl FnMut(Record<'a>) -> Result<(), String>,
    ) -> Result<usize, StoreError> {
        let mut at = HEADER_BYTES;
        while let Some(record) = record::read(&self.bytes, self.number, at) {
            each(record).map_err(|what| damaged(&self.path, &format!("at byte {at} {what}")))?;
            at += record.bytes();
        }
        Ok(at)
    }

    /// Checks that what follows the records of a segment that another one follows is nothing: it was
    /// on the disk before that one was made.
    pub(super) fn is_closed_at(&self, end: usize) -> Result<(), StoreError> {
        match self.bytes[end..].iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(self.broken_at(end)),
        }
    }

    /// Goes on writing where the records end.
    ///
    /// What follows them may be the last group that was written, torn by a crash: nobody was told
    /// that it is there, and it is cut off. If a record follows whose group begins later, then what
    /// is broken was on the disk once, and the log is damaged.
    pub(super) fn go_on(self, end: usize, bytes: u64) -> Result<Segment<F>, StoreError> {
        let rest = &self.bytes[end..];
        let torn = rest.iter().rposition(|byte| *byte != 0);
        if let Some(torn) = torn {
            let is_later = |at| {
                let record = record::read(&self.bytes, self.number, at);
                record.is_some_and(|record| u64::from(record.group) > end as u64)
            };
            if (end..=end + torn).any(is_later) {
                return Err(self.broken_at(end));
            }
            // What is torn must not be taken for what is written later.
            let zeros = vec![0; torn + 1];
            let wrote = self.file.write(end as u64, &zeros);
            wrote.map_err(StoreError::disk)?;
        }
        // A server that was killed may have written what it did not sync. It is believed from now
        // on, and others follow it, so it must stay.
        self.file.sync().map_err(StoreError::disk)?;
        Ok(Segment {
            number: self.number,
            end: end as u64,
            len: self.bytes.len() as u64,
            bytes,
            file: self.file,
        })
    }

    fn broken_at(&self, end: usize) -> StoreError {
        damaged(&self.path, &format!("the record at byte {end} is broken"))
    }

    pub(super) fn damaged(&self, what: &str) -> StoreError {
        damaged(&self.path, what)
    }
}

fn damaged(path: &Path, what: &str) -> StoreError {
    StoreError::damaged(format!("`{}`: {what}", path.display()))
}

/// The first index of a segment.
fn check_header(bytes: &[u8], expected: u64, path: &Path) -> Result<u64, StoreError> {
    let foreign = |what: String| StoreError::Foreign {
        path: path.to_owned(),
        what,
    };
    let Some(header) = bytes.get(..HEADER_BYTES) else {
        return Err(foreign(format!("it has {} bytes", bytes.len())));
    };
    if header[..8] != MAGIC {
        let begins = header[..8].escape_ascii();
        return Err(foreign(format!("it begins with {begins}")));
    }
    let four = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let eight = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    if crc32c::crc32c(&header[..28]) != four(28) {
        return Err(damaged(path, "its header is broken"));
    }
    if four(8) != FORMAT {
        return Err(StoreError::Version {
            path: path.to_owned(),
            got: format!("log {}", four(8)),
            expected: format!("log {FORMAT}"),
        });
    }
    if eight(12) != expected {
        let what = format!("it is the segment {}", eight(12));
        return Err(damaged(path, &what));
    }
    Ok(eight(20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_known_by_their_names() {
        assert_eq!(number(&name(0x1f)), Some(0x1f));
        assert_eq!(name(0x1f), "lockwright-000000000000001f.log");
        for other in [
            "lockwright.redb",
            NEW_NAME,
            "lockwright-1f.log",
            "lockwright-000000000000001F.log",
            "lockwright-+00000000000001f.log",
            "lockwright-000000000000001f.log.bak",
        ] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
