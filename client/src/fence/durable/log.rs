//! The file of a durable fence: a header, and marks one after the other.
//!
//! ```text
//! header  "LWFENCE1"  salt: 16 bytes  check: 8 bytes
//! mark    check: 8 bytes  length of the key: u16  kind: u8  token: u64  key: UTF-8
//! ```
//!
//! Numbers are little-endian. A check is SipHash-2-4 of its bytes and of their place in the file, with
//! the salt as key: what is left of an older file, or what somebody has put into a key to look like a
//! mark, does not pass for one.

use super::OpenFenceError;
use crate::fence::{Access, Mark};
use lockwright_engine::Token;
use lockwright_env::{Directory, DiskFile};
use siphasher::sip::SipHasher24;
use std::{hash::Hasher as _, io};

/// No key is longer: its length has two bytes.
pub(super) const KEY_BYTES_MAX: usize = u16::MAX as usize;

const MAGIC: [u8; 8] = *b"LWFENCE1";
const SALT_LEN: usize = 16;
const CHECK_LEN: usize = 8;
const HEADER_LEN: usize = MAGIC.len() + SALT_LEN + CHECK_LEN;
/// Length of the key, kind, token.
const FIXED_LEN: usize = 2 + 1 + 8;

const KIND_READ: u8 = b'r';
const KIND_WRITE: u8 = b'w';
const KIND_FLOOR: u8 = b'f';

/// The open file.
#[derive(Debug)]
pub(super) struct Log<F> {
    file: F,
    salt: [u8; SALT_LEN],
    /// Where the next mark goes.
    len: u64,
    /// How long it was when it was written anew.
    len_when_new: u64,
}

impl<F: DiskFile> Log<F> {
    /// Creates the file with these marks, in the place of one that may be there: there is the old
    /// file or the new one, whole, whenever the power goes.
    pub(super) fn create<D: Directory<File = F>>(
        directory: &D,
        name: &str,
        marks: impl IntoIterator<Item = Mark>,
    ) -> io::Result<Log<F>> {
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        let mut bytes = [&MAGIC[..], &salt].concat();
        bytes.extend(check(&salt, 0, &bytes));
        for mark in marks {
            let at = bytes.len();
            bytes.extend(encode(&salt, at as u64, &mark));
        }
        let new_name = format!("{name}.new");
        let file = directory.create(&new_name)?;
        file.write(0, &bytes)?;
        file.sync()?;
        directory.rename(&new_name, name)?;
        let len = bytes.len() as u64;
        Ok(Log {
            file,
            salt,
            len,
            len_when_new: len,
        })
    }

    /// Opens the file and reads its marks.
    pub(super) fn open<D: Directory<File = F>>(
        directory: &D,
        name: &str,
    ) -> Result<(Log<F>, Vec<Mark>), OpenFenceError> {
        let file = directory.open(name)?;
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        file.read(0, &mut bytes)?;
        let salt = salt_of(&bytes).ok_or_else(|| OpenFenceError::Foreign {
            name: name.to_owned(),
        })?;
        let (mut at, mut marks) = (HEADER_LEN, Vec::new());
        while let Some((mark, length)) = decode(&salt, at, &bytes) {
            marks.push(mark);
            at += length;
        }
        if at < len {
            // Marks are synced one by one, so only the last can be torn.
            if (at + 1..len).any(|later| decode(&salt, later, &bytes).is_some()) {
                return Err(OpenFenceError::Damaged {
                    name: name.to_owned(),
                    at: at as u64,
                });
            }
            file.set_len(at as u64)?;
        }
        // A program that was killed may have written what it did not sync. It is believed from now
        // on, so it must stay.
        file.sync()?;
        let len = at as u64;
        let log = Log {
            file,
            salt,
            len,
            len_when_new: HEADER_LEN as u64,
        };
        Ok((log, marks))
    }

    /// Appends a mark; when it returns, the mark is durable.
    pub(super) fn append(&mut self, mark: &Mark) -> io::Result<()> {
        let bytes = encode(&self.salt, self.len, mark);
        self.file.write(self.len, &bytes)?;
        self.file.sync()?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How long it was when it was written anew, in bytes.
    pub(super) fn len_when_new(&self) -> u64 {
        self.len_when_new
    }
}

/// The salt of a whole header; none if there is none.
fn salt_of(bytes: &[u8]) -> Option<[u8; SALT_LEN]> {
    let (magic, rest) = bytes.split_first_chunk::<{ MAGIC.len() }>()?;
    let (salt, rest) = rest.split_first_chunk::<SALT_LEN>()?;
    let head = &bytes[..MAGIC.len() + SALT_LEN];
    let is_whole = *magic == MAGIC && rest.starts_with(&check(salt, 0, head));
    is_whole.then_some(*salt)
}

fn encode(salt: &[u8; SALT_LEN], at: u64, mark: &Mark) -> Vec<u8> {
    let (kind, token, key) = match mark {
        Mark::Seen { key, token, access } => {
            let kind = match access {
                Access::Read => KIND_READ,
                Access::Write => KIND_WRITE,
            };
            (kind, token, &**key)
        }
        Mark::Floor(token) => (KIND_FLOOR, token, ""),
    };
    let key_len = u16::try_from(key.len()).expect("who appends has looked at the key's length");
    let mut body = Vec::with_capacity(FIXED_LEN + key.len());
    body.extend(key_len.to_le_bytes());
    body.push(kind);
    body.extend(token.0.to_le_bytes());
    body.extend(key.as_bytes());
    [&check(salt, at, &body)[..], &body].concat()
}

/// The mark at `at`, and how long it is; none when there is no whole one.
fn decode(salt: &[u8; SALT_LEN], at: usize, bytes: &[u8]) -> Option<(Mark, usize)> {
    let (found, body) = bytes.get(at..)?.split_first_chunk::<CHECK_LEN>()?;
    let (key_len, _) = body.split_first_chunk()?;
    let body = body.get(..FIXED_LEN + usize::from(u16::from_le_bytes(*key_len)))?;
    if *found != check(salt, at as u64, body) {
        return None;
    }
    let (token, key) = body[3..].split_first_chunk()?;
    let (token, key) = (Token(u64::from_le_bytes(*token)), str::from_utf8(key).ok()?);
    let seen = |access| Mark::Seen {
        key: key.into(),
        token,
        access,
    };
    let mark = match body[2] {
        KIND_READ => seen(Access::Read),
        KIND_WRITE => seen(Access::Write),
        KIND_FLOOR => Mark::Floor(token),
        _ => return None,
    };
    Some((mark, CHECK_LEN + body.len()))
}

fn check(salt: &[u8; SALT_LEN], at: u64, body: &[u8]) -> [u8; CHECK_LEN] {
    let mut hasher = SipHasher24::new_with_key(salt);
    hasher.write(&at.to_le_bytes());
    hasher.write(body);
    hasher.finish().to_le_bytes()
}
