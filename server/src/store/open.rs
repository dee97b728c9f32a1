//! Opening a database: whose it is, and whether it is whole.
//!
//! A new database is made under another name and renamed when all of it is on the disk: under its
//! own name there is a whole one or none, however the server ends. The log is made before it: where
//! there is a database there is a log.

use super::{
    EntryRow, LogFiles, LogPlace, Place, Store, StoreError,
    committer::Committer,
    file::Backend,
    journal::{self, Journal},
    log_writer::{LogJob, LogWriter},
    tables::{FORMAT, FORMAT_KEY, META},
};
use lockwright_env::{Directory, DirectoryError, DiskFile, Env};
use redb::{Database, ReadableDatabase, TableError};
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};
use tokio::sync::{mpsc, watch};
use tracing::warn;

/// The database's file.
pub(super) const NAME: &str = "lockwright.redb";
/// The file of a database that is being made.
pub(super) const NEW_NAME: &str = "lockwright.redb.new";

/// The bytes that a file of redb begins with.
const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";

/// How much of a file is kept in memory, in bytes. Reads are rare: the log's end is in memory.
const CACHE_BYTES: usize = 16 << 20;

impl Store {
    /// Opens what is kept in a directory; an empty store if there is nothing yet. A segment of the
    /// log ends after `segment_bytes`.
    pub(crate) fn open<E: Env>(
        env: &E,
        path: &Path,
        segment_bytes: u64,
    ) -> Result<Store, StoreError> {
        let directory = env.open_directory(path).map_err(|error| match error {
            DirectoryError::Locked => StoreError::Locked {
                path: path.to_owned(),
            },
            DirectoryError::Io(error) => StoreError::directory(path.to_owned(), error),
        })?;
        for notice in directory.notices() {
            warn!("{notice}");
        }
        let directory = Arc::new(directory);
        let in_directory = |error| StoreError::directory(path.to_owned(), error);
        if !directory.exists(NAME).map_err(in_directory)? {
            create(&directory, path, segment_bytes)?;
        }
        let file = directory.open(NAME).map_err(in_directory)?;
        check_magic(&file, &path.join(NAME))
            .map_err(|error| was_ours(error, || journal::mark::is_whole(&*directory, path)))?;
        // A server that was killed may have written what it did not sync. It is believed from now
        // on, so it must stay.
        file.sync().map_err(StoreError::disk)?;
        let (told_open, open) = watch::channel(());
        let database = redb(file, directory.clone(), Some(told_open.clone()))?;
        check_format(&database, &path.join(NAME))?;
        let database = Arc::new(database);
        let (told, failure) = watch::channel(None);
        let (jobs_in, jobs) = mpsc::unbounded_channel();
        env.spawn_worker(Committer::new(database.clone(), told.clone()), jobs)
            .map_err(StoreError::disk)?;
        Ok(Store {
            place: Place::Worker(jobs_in),
            log: LogPlace::Files(Arc::new(Files {
                env: env.clone(),
                directory,
                path: path.to_owned(),
                segment_bytes,
                failure: told,
                told_open,
                jobs: OnceLock::new(),
            })),
            database,
            failure,
            open,
        })
    }

    /// An empty store in memory.
    pub(crate) fn in_memory() -> Result<Store, StoreError> {
        let backend = redb::backends::InMemoryBackend::new();
        let database = Database::builder().create_with_backend(backend)?;
        let database = Arc::new(database);
        let (told, failure) = watch::channel(None);
        let committer = Committer::new(database.clone(), told);
        Ok(Store {
            database,
            place: Place::Here(Arc::new(Mutex::new(committer))),
            log: LogPlace::Nowhere,
            failure,
            // Memory is nobody else's.
            open: watch::channel(()).1,
        })
    }
}

/// The files of a log on a disk.
struct Files<E: Env> {
    env: E,
    directory: Arc<E::Directory>,
    path: PathBuf,
    segment_bytes: u64,
    failure: watch::Sender<Option<StoreError>>,
    told_open: watch::Sender<()>,
    /// Goes to the writer, when the log is open.
    jobs: OnceLock<mpsc::UnboundedSender<LogJob>>,
}

impl<E: Env> LogFiles for Files<E> {
    fn open(&self, needed: u64) -> Result<VecDeque<EntryRow>, StoreError> {
        let (directory, bytes) = (self.directory.clone(), self.segment_bytes);
        // The database is made after the mark.
        let opened = Journal::open(directory, &self.path, bytes, needed, true)?;
        let writer = LogWriter {
            journal: opened.journal,
            failure: self.failure.clone(),
            open: self.told_open.clone(),
        };
        let (jobs_in, jobs) = mpsc::unbounded_channel();
        assert!(self.jobs.set(jobs_in).is_ok(), "the log is opened once");
        let spawned = self.env.spawn_worker(writer, jobs);
        spawned.map_err(StoreError::disk)?;
        Ok(opened.entries)
    }

    fn change(&self, job: LogJob) -> Result<(), LogJob> {
        let jobs = self.jobs.get().expect("the log is opened first");
        jobs.send(job).map_err(|refused| refused.0)
    }
}

/// Makes an empty log and an empty database.
fn create<D: Directory>(
    directory: &Arc<D>,
    path: &Path,
    segment_bytes: u64,
) -> Result<(), StoreError> {
    let in_directory = |error| StoreError::directory(path.to_owned(), error);
    if journal::is_there(&**directory)? {
        // A first start was interrupted, or the database was taken away.
        let left = Journal::open(directory.clone(), path, segment_bytes, 0, false)?;
        if !left.entries.is_empty() {
            return Err(StoreError::damaged(format!(
                "`{}` is gone, and its log is there: put it back if it was moved away",
                path.join(NAME).display()
            )));
        }
    } else if journal::mark::is_there(&**directory)? {
        // The mark is made after the log.
        return Err(StoreError::damaged(format!(
            "`{}` is there, and the log and the database that it belongs to are gone",
            path.join(journal::mark::NAME).display()
        )));
    } else {
        Journal::create(directory.clone(), path, segment_bytes)?;
    }
    let file = directory.create(NEW_NAME).map_err(in_directory)?;
    let database = redb(file, directory.clone(), None)?;
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(FORMAT_KEY, FORMAT)?;
    }
    transaction.commit()?;
    database.close()?;
    directory.rename(NEW_NAME, NAME).map_err(in_directory)
}

fn redb<D: Directory>(
    file: D::File,
    directory: Arc<D>,
    open: Option<watch::Sender<()>>,
) -> Result<Database, StoreError> {
    let mut builder = Database::builder();
    // The whole file is read once at the start, so that damage is found then and not on the way.
    builder
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true);
    Ok(builder.create_with_backend(Backend {
        file,
        directory,
        open,
    })?)
}

/// A file beside the mark of a log was its database, whatever is in it now.
fn was_ours(error: StoreError, has_mark: impl FnOnce() -> bool) -> StoreError {
    match error {
        StoreError::Foreign { path, what } if has_mark() => StoreError::damaged(format!(
            "`{}`: {what}, and it was the database of a log that is there",
            path.display()
        )),
        other => other,
    }
}

fn check_magic<F: DiskFile>(file: &F, path: &Path) -> Result<(), StoreError> {
    let foreign = |what: String| StoreError::Foreign {
        path: path.to_owned(),
        what,
    };
    let len = file.len().map_err(StoreError::disk)?;
    let mut begins = MAGIC;
    if len < begins.len() as u64 {
        return Err(foreign(format!("it has {len} bytes")));
    }
    file.read(0, &mut begins).map_err(StoreError::disk)?;
    if begins != MAGIC {
        return Err(foreign(format!("it begins with {}", begins.escape_ascii())));
    }
    Ok(())
}

fn check_format(database: &Database, path: &Path) -> Result<(), StoreError> {
    let read = database.begin_read()?;
    let foreign = |what: &str| StoreError::Foreign {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let table = match read.open_table(META) {
        Ok(table) => table,
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Err(foreign("it is a database of another program")),
    };
    let format = table.get(FORMAT_KEY)?;
    let format = format.ok_or_else(|| foreign("it is a database without a format"))?;
    if format.value() != FORMAT {
        return Err(StoreError::Version {
            path: path.to_owned(),
            got: format.value().escape_ascii().to_string(),
            expected: FORMAT.escape_ascii().to_string(),
        });
    }
    Ok(())
}
