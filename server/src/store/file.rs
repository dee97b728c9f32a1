//! redb on the files of an `Env`.

use lockwright_env::{Directory, DiskFile};
use redb::StorageBackend;
use std::{io, sync::Arc};
use tokio::sync::watch;

/// A file of a directory, as redb sees it. It holds the directory, and with it the lock: as long as
/// the database is open nobody else has it.
#[derive(Debug)]
pub(super) struct Backend<D: Directory> {
    pub(super) file: D::File,
    #[expect(dead_code, reason = "it is held for what its drop does")]
    pub(super) directory: Arc<D>,
    #[expect(dead_code, reason = "it is held for what its drop tells")]
    pub(super) open: Option<watch::Sender<()>>,
}

impl<D: Directory> StorageBackend for Backend<D> {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
}
