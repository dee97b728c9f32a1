//! Files that survive the program, and the work that waits for them.

use std::{fmt, io};

/// A directory that this process has for itself as long as the value lives. The names in it are
/// plain file names.
pub trait Directory: fmt::Debug + Send + Sync + 'static {
    /// Its files.
    type File: DiskFile;

    /// What was found and changed when it was opened that its operator should know, a sentence each.
    fn notices(&self) -> &[String] {
        &[]
    }

    /// Whether there is a file of this name.
    ///
    /// # Errors
    /// When the disk cannot tell.
    fn exists(&self, name: &str) -> io::Result<bool>;

    /// The names of all its files, in no particular order.
    ///
    /// # Errors
    /// When the disk cannot tell.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Opens a file that is there, to be read and written.
    ///
    /// # Errors
    /// When it is not there, or must not be read and written.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Creates a file, empty, in the place of one that may be there. A loss of power may undo it,
    /// even when the file is synced, until it is [renamed](Directory::rename).
    ///
    /// # Errors
    /// When the directory must not be written to, or the disk is full.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name, in the place of one that may be there. When this has returned,
    /// a loss of power does not undo it.
    ///
    /// # Errors
    /// When it is not there, or the directory must not be written to.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Takes a file away. A loss of power may bring it back, unless a [`rename`](Directory::rename)
    /// has returned since.
    ///
    /// # Errors
    /// When it is not there, or the directory must not be written to.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A file that is read and written at any place. All calls block.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Its length in bytes.
    ///
    /// # Errors
    /// When the disk cannot tell.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// When the disk cannot tell.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` from the bytes at `offset`.
    ///
    /// # Errors
    /// When the file ends before `out` is full, or the disk fails.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset`. A loss of power may undo it, whole or in part, until
    /// [`sync`](DiskFile::sync) has returned.
    ///
    /// # Errors
    /// When the disk is full or fails.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes the file shorter, or longer by zeros.
    ///
    /// # Errors
    /// When the disk is full or fails.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// When this has returned, a loss of power does not undo what was written before.
    ///
    /// # Errors
    /// When the disk fails: then nobody knows what of it will be there.
    fn sync(&self) -> io::Result<()>;
}

/// Why a [`Directory`] cannot be had.
#[derive(Debug)]
pub enum DirectoryError {
    /// Another process has it.
    Locked,
    /// The system says no. The error says to what, and why.
    Io(io::Error),
}

/// Work on a disk, which blocks, for a place where blocking does no harm: see
/// [`Env::spawn_worker`](crate::Env::spawn_worker).
pub trait Worker: Send + 'static {
    /// What it is given.
    type Job: Send + 'static;
    /// What it makes of it.
    type Done: Send + 'static;

    /// Whether its work is usually over in less time than it takes to have another thread do it, so
    /// that it may be done where it was started for as long as the disk is quick.
    const IS_USUALLY_QUICK: bool = false;

    /// Does all that has come, and takes it out of `jobs`. It may block on the disk.
    fn work(&mut self, jobs: &mut Vec<Self::Job>) -> Self::Done;

    /// Says that it is done. Called once the disk has done what [`work`](Worker::work) asked of it.
    fn finish(&mut self, done: Self::Done);
}
