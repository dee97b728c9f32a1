//! A fence that survives its owner.

mod log;
#[cfg(test)]
mod tests;

use super::{Access, Fence, Stale};
use lockwright_engine::Token;
use lockwright_env::Directory;
use log::Log;
use std::{fmt, io, sync::Arc};

/// A [`Fence`] whose marks are on the disk before a check returns.
///
/// It appends to one file of a [`Directory`], which may have other files of the same owner in it, and
/// syncs. That costs one sync for each new token of a key, so at most one for each grant, and none for
/// the writes that follow with the same token. Calls block: in a server they belong where its other
/// writes to the disk are, for example in a [`Worker`](lockwright_env::Worker).
///
/// When a loss of power tears the last mark, its check has not returned, so nobody has acted on it:
/// the next [`open`](DurableFence::open) drops it. Damage anywhere else is refused.
///
/// After an error of the disk nobody knows what is on it. The fence then refuses everything: drop it,
/// and open it again.
#[derive(Debug)]
pub struct DurableFence<D: Directory> {
    directory: Arc<D>,
    name: String,
    fence: Fence,
    log: Log<D::File>,
    /// Above this length the file is written anew, with only what still counts.
    compact_above: u64,
    broken: bool,
}

/// A file below this length, in bytes, is never written anew, unless another one was set.
const COMPACT_ABOVE: u64 = 1 << 20;

/// Why a check did not pass. The write must not be done.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// The lock is over.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// The key is too long for the file: its length in bytes, and the largest allowed.
    #[error("the key has {got} bytes, expected at most {max}")]
    KeyTooLong {
        /// Its length.
        got: usize,
        /// The largest allowed.
        max: usize,
    },
    /// The disk failed, now or at an earlier check; open the fence again.
    #[error("the mark could not be made durable, open the fence again: {0}")]
    Disk(io::Error),
}

/// Why a fence could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFenceError {
    /// The disk failed.
    #[error("the fence cannot be read or written: {0}")]
    Disk(#[from] io::Error),
    /// The file is not one that a fence has written.
    #[error("`{name}` is not the file of a fence, or of a version that this one does not know")]
    Foreign {
        /// Its name.
        name: String,
    },
    /// A mark in the midst of the file was changed by somebody else: tokens that were seen may be
    /// missing, so stale writes could pass.
    #[error(
        "`{name}` is damaged at byte {at}: marks before it may be missing; bring it back from a copy, \
         or start a new one with a floor above every token that was ever granted"
    )]
    Damaged {
        /// Its name.
        name: String,
        /// Where.
        at: u64,
    },
}

impl<D: Directory> DurableFence<D> {
    /// Opens the fence in the file `name`, or creates it. It also uses the name with `.new` behind it.
    ///
    /// # Errors
    /// [`OpenFenceError`] when the disk fails or the file is damaged.
    pub fn open(directory: Arc<D>, name: &str) -> Result<DurableFence<D>, OpenFenceError> {
        let (log, marks) = if directory.exists(name)? {
            Log::open(&*directory, name)?
        } else {
            let log = Log::create(&*directory, name, [])?;
            (log, Vec::new())
        };
        Ok(DurableFence {
            directory,
            name: name.to_owned(),
            fence: marks.into_iter().collect(),
            log,
            compact_above: COMPACT_ABOVE,
            broken: false,
        })
    }

    /// Lets the file grow to at least `bytes` before it is written anew. Default 1 MiB.
    #[must_use]
    pub fn compact_above(mut self, bytes: u64) -> DurableFence<D> {
        self.compact_above = bytes;
        self
    }

    /// As [`Fence::check`]; when it returns, the token is on the disk.
    ///
    /// # Errors
    /// [`FenceError`]: the write must not be done.
    pub fn check(&mut self, key: &str, token: Token) -> Result<(), FenceError> {
        self.pass(Access::Write, key, token)
    }

    /// As [`Fence::check_read`]; when it returns, the token is on the disk.
    ///
    /// # Errors
    /// [`FenceError`]: the read must not be done.
    pub fn check_read(&mut self, key: &str, token: Token) -> Result<(), FenceError> {
        self.pass(Access::Read, key, token)
    }

    /// As [`Fence::raise_floor`], and writes the file anew.
    ///
    /// # Errors
    /// [`FenceError::Disk`].
    pub fn raise_floor(&mut self, floor: Token) -> Result<(), FenceError> {
        self.unless_broken()?;
        if floor <= self.fence.floor() {
            return Ok(());
        }
        let mut fence = self.fence.clone();
        fence.raise_floor(floor);
        self.write_anew(fence)
    }

    /// What it remembers.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    fn pass(&mut self, access: Access, key: &str, token: Token) -> Result<(), FenceError> {
        self.unless_broken()?;
        let Some(mark) = self.fence.examine(access, key, token)? else {
            return Ok(());
        };
        if key.len() > log::KEY_BYTES_MAX {
            return Err(FenceError::KeyTooLong {
                got: key.len(),
                max: log::KEY_BYTES_MAX,
            });
        }
        let appended = self.log.append(&mark);
        self.settle(appended)?;
        self.fence.remember(mark);
        if self.log.len() > self.compact_above.max(2 * self.log.len_when_new()) {
            self.write_anew(self.fence.clone())?;
        }
        Ok(())
    }

    /// Puts a new file in the place of the old, and `fence` in the place of what is remembered.
    fn write_anew(&mut self, fence: Fence) -> Result<(), FenceError> {
        let written = Log::create(&*self.directory, &self.name, fence.marks());
        self.log = self.settle(written)?;
        self.fence = fence;
        Ok(())
    }

    fn unless_broken(&self) -> Result<(), FenceError> {
        if self.broken {
            return Err(FenceError::Disk(io::Error::other("it failed before")));
        }
        Ok(())
    }

    /// Whoever does not know what is on the disk trusts it no more.
    fn settle<T>(&mut self, done: io::Result<T>) -> Result<T, FenceError> {
        done.map_err(|error| {
            self.broken = true;
            FenceError::Disk(error)
        })
    }
}

impl<D: Directory> fmt::Display for DurableFence<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keys, bytes) = (self.fence.len(), self.log.len());
        write!(f, "{keys} keys in {bytes} bytes of `{}`", self.name)
    }
}
