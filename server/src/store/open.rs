//! Opening a database: whose it is, and whether it is whole.
//!
//! A new database is made under another name and renamed when all of it is on the disk: under its
//! own name there is a whole one or none, however the server ends.

use super::{
    Place, Store, StoreError,
    committer::Committer,
    file::Backend,
    tables::{FORMAT, FORMAT_KEY, META},
};
use lockwright_env::{Directory, DirectoryError, DiskFile, Env};
use redb::{Database, ReadableDatabase, TableError};
use std::{
    path::Path,
    sync::{Arc, Mutex},
};
use tokio::sync::{mpsc, watch};

/// The database's file.
pub(super) const NAME: &str = "lockwright.redb";
/// The file of a database that is being made.
pub(super) const NEW_NAME: &str = "lockwright.redb.new";

/// The bytes that a file of redb begins with.
const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";

/// How much of a file is kept in memory, in bytes. Reads are rare: the log's end is in memory.
const CACHE_BYTES: usize = 16 << 20;

impl Store {
    /// Opens what is kept in a directory; an empty store if there is nothing yet.
    pub(crate) fn open<E: Env>(env: &E, path: &Path) -> Result<Store, StoreError> {
        let directory = env.open_directory(path).map_err(|error| match error {
            DirectoryError::Locked => StoreError::Locked {
                path: path.to_owned(),
            },
            DirectoryError::Io(error) => StoreError::directory(path.to_owned(), error),
        })?;
        let directory = Arc::new(directory);
        let in_directory = |error| StoreError::directory(path.to_owned(), error);
        if !directory.exists(NAME).map_err(in_directory)? {
            create(&directory, path)?;
        }
        let file = directory.open(NAME).map_err(in_directory)?;
        let path = path.join(NAME);
        check_magic(&file, &path)?;
        let (told_open, open) = watch::channel(());
        let database = redb(file, directory, Some(told_open))?;
        check_format(&database, &path)?;
        let database = Arc::new(database);
        let (told, failure) = watch::channel(None);
        let (jobs_in, jobs) = mpsc::unbounded_channel();
        env.spawn_worker(Committer::new(database.clone(), told), jobs)
            .map_err(StoreError::disk)?;
        Ok(Store {
            database,
            place: Place::Worker(jobs_in),
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
            failure,
            // Memory is nobody else's.
            open: watch::channel(()).1,
        })
    }
}

/// Makes an empty database.
fn create<D: Directory>(directory: &Arc<D>, path: &Path) -> Result<(), StoreError> {
    let in_directory = |error| StoreError::directory(path.to_owned(), error);
    let file = directory.create(NEW_NAME).map_err(in_directory)?;
    let database = redb(file, directory.clone(), None)?;
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
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
