//! What a replica keeps: the log in files that only grow, and records and snapshots in a database.
//!
//! [`Store`] is both as the rest of the server sees them: it takes [`Change`]s and [`LogChange`]s
//! and says when they are durable, and gives back what it has. All changes of the log that wait are
//! written with one sync (`log_writer`, `journal`), and all others with one transaction of the
//! database (`committer`). What they mean is decided in `raft`. The log is only read when it is
//! opened: who writes it remembers what is not purged.
//!
//! `open` finds out whether there is anything and whose it is, `file` puts redb on the disk of
//! the [`Env`](lockwright_env::Env), `tables` is the layout, `error` what can go wrong.

mod committer;
mod error;
mod file;
mod journal;
mod log_writer;
mod open;
mod tables;
#[cfg(test)]
pub(crate) mod tests;

pub use error::StoreError;
pub(crate) use journal::{EntryRow, LogChange};

use committer::{Committer, Job};
use log_writer::LogJob;
use redb::{Database, ReadableDatabase, TableError};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};
use tables::{META, SNAPSHOT};
use tokio::sync::{mpsc, oneshot, watch};

/// A change of what is kept beside the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
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
    /// All other parts of snapshots go.
    KeepSnapshot {
        /// The number of the one that stays.
        snapshot: u64,
        /// How many parts it has. A crash may have left others under its number.
        parts: u32,
    },
}

/// Is told whether changes are durable.
pub(crate) type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What is kept. Clones are the same store.
#[derive(Clone)]
pub(crate) struct Store {
    database: Arc<Database>,
    place: Place,
    log: LogPlace,
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

/// Where the log is.
#[derive(Clone)]
enum LogPlace {
    /// In files. They are opened when it is known which snapshot there is.
    Files(Arc<dyn LogFiles>),
    /// Nowhere: who wrote it remembers it.
    Nowhere,
}

/// The log's files, whatever disk they are on.
trait LogFiles: Send + Sync {
    /// Opens them, once. Entries before `needed` are in a snapshot.
    fn open(&self, needed: u64) -> Result<VecDeque<EntryRow>, StoreError>;

    /// Asks for a change.
    fn change(&self, job: LogJob) -> Result<(), LogJob>;
}

/// Notes a failure, if it is the first.
fn fail(failure: &watch::Sender<Option<StoreError>>, error: &StoreError) {
    failure.send_if_modified(|failure| {
        let is_first = failure.is_none();
        failure.get_or_insert_with(|| error.clone());
        is_first
    });
}

impl Store {
    /// Opens the log, once, and gives its entries. Those before `needed` are in a snapshot.
    pub(crate) fn open_log(&self, needed: u64) -> Result<VecDeque<EntryRow>, StoreError> {
        match &self.log {
            LogPlace::Files(files) => files.open(needed),
            LogPlace::Nowhere => Ok(VecDeque::new()),
        }
    }

    /// Whether what is kept is lost when the process ends.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.log, LogPlace::Nowhere)
    }

    /// Asks for a change of the log, after those that were asked for before. `done` is told when a
    /// loss of power does not undo it any more.
    pub(crate) fn change_log(&self, change: LogChange, done: Done) {
        let job = LogJob { change, done };
        let refused = match &self.log {
            LogPlace::Files(files) => files.change(job),
            LogPlace::Nowhere => return (job.done)(Ok(())),
        };
        if let Err(job) = refused {
            (job.done)(Err(StoreError::stopped()));
        }
    }

    /// Makes a change of the log, and waits until it is durable.
    ///
    /// # Errors
    /// [`StoreError`] when it is not, or nobody knows.
    pub(crate) async fn make_log(&self, change: LogChange) -> Result<(), StoreError> {
        let (told, result) = oneshot::channel();
        // Nobody waits any more when the server stops.
        self.change_log(change, Box::new(|result| drop(told.send(result))));
        result.await.unwrap_or_else(|_| Err(StoreError::stopped()))
    }

    /// Asks for changes, all of them or none, after those that were asked for before. `done` is
    /// told when a loss of power does not undo them any more.
    pub(crate) fn change(&self, changes: Vec<Change>, done: Done) {
        if let Err(Job::Change { done, .. }) = self.give(Job::Change { changes, done }) {
            done(Err(StoreError::stopped()));
        }
    }

    /// Does work that takes long where it holds up nobody, if there is such a place.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] when it is not done.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (told, result) = oneshot::channel();
        // Nobody waits any more when the server stops.
        let work = Box::new(|| drop(told.send(work())));
        // What is refused is dropped, and that is told.
        let _ = self.give(Job::Compute(work));
        result.await.map_err(|_| StoreError::stopped())
    }

    /// Gives the job back when nobody takes it any more.
    fn give(&self, job: Job) -> Result<(), Job> {
        match &self.place {
            Place::Worker(jobs) => jobs.send(job).map_err(|refused| refused.0),
            Place::Here(committer) => {
                let mut committer = committer.lock().expect("a commit does not panic");
                committer.do_at_once(job);
                Ok(())
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
