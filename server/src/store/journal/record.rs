//! Records of a segment: how they are written, and how they are found again.
//!
//! A record is a header and a text. The header has, in little-endian order,
//!
//! | bytes | what |
//! |---:|---|
//! | 4 | CRC-32C of the number of the segment, the rest of the header, and the text |
//! | 4 | how long the text is |
//! | 8 | an index of the log |
//! | 4 | where in the segment the group begins that the record was written in |
//! | 1 | its kind |
//!
//! A group is what was written before one sync, so a record says more than it holds: what comes
//! before its group was on the disk before it was written.

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 21;

/// What a record means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The entry at its index.
    Entry,
    /// The log ends before its index.
    Truncate,
    /// The log was closed in peace; its index is the last one, or 0.
    Close,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Kind::Entry => 1,
            Kind::Truncate => 2,
            Kind::Close => 3,
        }
    }

    fn of(code: u8) -> Option<Kind> {
        match code {
            1 => Some(Kind::Entry),
            2 => Some(Kind::Truncate),
            3 => Some(Kind::Close),
            _ => None,
        }
    }
}

/// A record as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    pub(super) index: u64,
    /// Where its group begins.
    pub(super) group: u32,
    pub(super) text: &'a [u8],
}

impl Record<'_> {
    /// How many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        HEADER_BYTES + self.text.len()
    }
}

/// Adds a record of a segment to what is written.
pub(super) fn write(
    out: &mut Vec<u8>,
    segment: u64,
    group: u32,
    kind: Kind,
    index: u64,
    text: &[u8],
) {
    let begin = out.len();
    let len = u32::try_from(text.len()).expect("a record is smaller than 4 GiB");
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(&group.to_le_bytes());
    out.push(kind.code());
    out.extend_from_slice(text);
    let crc = checksum(segment, &out[begin + 4..]);
    out[begin..begin + 4].copy_from_slice(&crc.to_le_bytes());
}

/// The record at a place of a segment's bytes; none if there is none that is whole.
pub(super) fn read(bytes: &[u8], segment: u64, at: usize) -> Option<Record<'_>> {
    let header = bytes.get(at..)?.get(..HEADER_BYTES)?;
    let number = |from: usize| {
        let four = header[from..from + 4].try_into().expect("four bytes");
        u32::from_le_bytes(four)
    };
    let len = usize::try_from(number(4)).ok()?;
    let group = number(16);
    let kind = Kind::of(header[20])?;
    if usize::try_from(group).ok()? > at {
        return None;
    }
    let checked = bytes[at + 4..].get(..HEADER_BYTES - 4 + len)?;
    if checksum(segment, checked) != number(0) {
        return None;
    }
    let index = header[8..16].try_into().expect("eight bytes");
    Some(Record {
        kind,
        index: u64::from_le_bytes(index),
        group,
        text: &checked[HEADER_BYTES - 4..],
    })
}

fn checksum(segment: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let mut bytes = vec![7; 10];
        write(&mut bytes, 3, 10, Kind::Entry, 5, b"text");
        let record = read(&bytes, 3, 10).unwrap();
        let expected = Record {
            kind: Kind::Entry,
            index: 5,
            group: 10,
            text: b"text",
        };
        assert_eq!(record, expected);
        assert_eq!(10 + record.bytes(), bytes.len());
        assert_eq!(read(&bytes, 4, 10), None, "it is of another segment");
        for at in (0..bytes.len() + 2).filter(|at| *at != 10) {
            assert_eq!(read(&bytes, 3, at), None, "nothing begins at {at}");
        }
        for at in 10..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(read(&damaged, 3, 10), None, "bit {bit} of byte {at}");
            }
        }
    }

    /// A change of these bytes is a change of the format.
    #[test]
    fn records_are_written_as_ever() {
        let mut bytes = Vec::new();
        write(&mut bytes, 1, 0, Kind::Entry, 2, b"a");
        write(&mut bytes, 1, 22, Kind::Truncate, 2, b"");
        write(&mut bytes, 1, 43, Kind::Close, 1, b"");
        let text: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text.join(""), include_str!("records.txt").trim_end());
    }
}
