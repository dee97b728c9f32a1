//! What a replica keeps: rows of a database in one file, written in groups.
//!
//! [`Store`] is the database as the rest of the server sees it: it takes [`Change`]s and says when
//! they are durable, and gives back what it has. Everything that waits goes into one transaction,
//! with one sync of the disk (`committer`). What the rows mean is decided in `raft`.
//!
//! `open` finds out whether there is a database and whose it is, `file` puts redb on the disk of
//! the [`Env`](lockwright_env::Env), `tables` is the layout, `error` what can go wrong.

mod committer;
mod error;
mod file;
mod open;
mod tables;
#[cfg(test)]
pub(crate) mod tests;

pub use error::StoreError;

use committer::{Committer, Job};
use redb::{Database, ReadableDatabase, ReadableTable, TableError};
use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex},
};
use tables::{LOG, META, SNAPSHOT};
use tokio::sync::{mpsc, oneshot, watch};

/// A change of what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// An entry of the log.
    PutEntry {
        /// Its place.
        index: u64,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// The log ends before this index.
    TruncateLog {
        /// The first index that goes.
        from: u64,
    },
    /// The log begins after this index.
    PurgeLog {
        /// The last index that goes.
        up_to: u64,
    },
    /// A record of which there is one.
    PutMeta {
        /// Its name.
        key: &'static str,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A part of a snapshot.
    PutPart {
        /// The snapshot's number.
        snapshot: u64,
        /// The part's place in it.
        part: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// The parts of all other snapshots go.
    KeepSnapshot {
        /// The number of the one that stays.
        snapshot: u64,
    },
}

/// Is told whether changes are durable.
pub(crate) type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What is kept. Clones are the same store.
#[derive(Clone)]
pub(crate) struct Store {
    database: Arc<Database>,
    place: Place,
    /// The first failure; from then on nothing is kept any more.
    failure: watch::Receiver<Option<StoreError>>,
    /// Its sender goes when the file is closed.
    open: watch::Receiver<()>,
}

/// Where changes are carried out.
#[derive(Clone)]
enum Place {
    /// By a worker that may block, for a disk.
    Worker(mpsc::UnboundedSender<Job>),
    /// At once, for memory.
    Here(Arc<Mutex<Committer>>),
}

impl Store {
    /// Asks for changes, all of them or none, after those that were asked for before. `done` is
    /// told when a loss of power does not undo them any more.
    pub(crate) fn change(&self, changes: Vec<Change>, done: Done) {
        let job = Job { changes, done };
        match &self.place {
            Place::Worker(jobs) => {
                if let Err(mpsc::error::SendError(job)) = jobs.send(job) {
                    (job.done)(Err(StoreError::stopped()));
                }
            }
            Place::Here(committer) => {
                let mut committer = committer.lock().expect("a commit does not panic");
                committer.do_at_once(job);
            }
        }
    }

    /// Makes changes, and waits until they are durable.
    ///
    /// # Errors
    /// [`StoreError`] when they are not, or nobody knows.
    pub(crate) async fn make(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (told, result) = oneshot::channel();
        // Nobody waits any more when the server stops.
        self.change(changes, Box::new(|result| drop(told.send(result))));
        result.await.unwrap_or_else(|_| Err(StoreError::stopped()))
    }

    /// The first failure to keep something, when there is one.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<StoreError>> {
        self.failure.clone()
    }

    /// Lets go of the store, and waits until all others have too and its file is closed.
    pub(crate) async fn closed(self) {
        let mut open = self.open.clone();
        drop(self);
        // Nothing is ever sent.
        while open.changed().await.is_ok() {}
    }

    /// The entries of the log with these indices, in order, as far as they are durable.
    pub(crate) fn entries(
        &self,
        range: RangeInclusive<u64>,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let read = self.database.begin_read()?;
        let Some(table) = there(read.open_table(LOG))? else {
            return Ok(Vec::new());
        };
        let mut entries = Vec::new();
        for row in table.range(range)? {
            let (index, bytes) = row?;
            entries.push((index.value(), bytes.value().to_vec()));
        }
        Ok(entries)
    }

    /// The last entry of the log.
    pub(crate) fn last_entry(&self) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let read = self.database.begin_read()?;
        let Some(table) = there(read.open_table(LOG))? else {
            return Ok(None);
        };
        let last = table.last()?;
        Ok(last.map(|(index, bytes)| (index.value(), bytes.value().to_vec())))
    }

    /// A record of which there is one.
    pub(crate) fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.database.begin_read()?;
        let Some(table) = there(read.open_table(META))? else {
            return Ok(None);
        };
        let bytes = table.get(key)?;
        Ok(bytes.map(|bytes| bytes.value().to_vec()))
    }

    /// The parts of a snapshot, joined.
    pub(crate) fn snapshot(&self, snapshot: u64) -> Result<Vec<u8>, StoreError> {
        let read = self.database.begin_read()?;
        let Some(table) = there(read.open_table(SNAPSHOT))? else {
            return Ok(Vec::new());
        };
        let mut joined = Vec::new();
        for row in table.range((snapshot, 0)..=(snapshot, u32::MAX))? {
            let (_, bytes) = row?;
            joined.extend_from_slice(bytes.value());
        }
        Ok(joined)
    }
}

/// A table that may not have been made yet.
fn there<T>(opened: Result<T, TableError>) -> Result<Option<T>, StoreError> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
