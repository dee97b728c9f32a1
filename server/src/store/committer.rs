//! Carries changes out, all that wait in one transaction.

use super::{
    Change, Done, StoreError,
    tables::{META, SNAPSHOT},
};
use lockwright_env::Worker;
use redb::{Database, Durability, WriteTransaction};
use std::sync::Arc;
use tokio::sync::watch;

/// What the writer of the database is given.
pub(super) enum Job {
    /// Changes, and who is to be told.
    Change { changes: Vec<Change>, done: Done },
    /// Work that would hold up others elsewhere.
    Compute(Box<dyn FnOnce() + Send>),
}

/// The one writer of a database.
pub(super) struct Committer {
    database: Arc<Database>,
    failure: watch::Sender<Option<StoreError>>,
}

/// What a group of jobs came to.
pub(super) struct Committed {
    dones: Vec<Done>,
    result: Result<(), StoreError>,
}

impl Committer {
    pub(super) fn new(
        database: Arc<Database>,
        failure: watch::Sender<Option<StoreError>>,
    ) -> Committer {
        Committer { database, failure }
    }

    pub(super) fn do_at_once(&mut self, job: Job) {
        let committed = self.work(&mut vec![job]);
        self.finish(committed);
    }

    fn commit(&self, jobs: &[Vec<Change>]) -> Result<(), StoreError> {
        // What failed once is not tried again: nobody knows what of it is on the disk.
        if let Some(failure) = &*self.failure.borrow() {
            return Err(failure.clone());
        }
        let mut transaction = self.database.begin_write()?;
        transaction
            .set_durability(Durability::Immediate)
            .expect("no savepoint is ever made");
        for changes in jobs {
            write(&transaction, changes)?;
        }
        Ok(transaction.commit()?)
    }
}

impl Worker for Committer {
    type Job = Job;
    type Done = Committed;

    fn work(&mut self, jobs: &mut Vec<Job>) -> Committed {
        let (mut all, mut dones) = (Vec::new(), Vec::new());
        for job in jobs.drain(..) {
            match job {
                Job::Change { changes, done } => {
                    all.push(changes);
                    dones.push(done);
                }
                Job::Compute(work) => work(),
            }
        }
        let result = match all.is_empty() {
            true => Ok(()),
            false => self.commit(&all),
        };
        Committed { dones, result }
    }

    fn finish(&mut self, committed: Committed) {
        if let Err(error) = &committed.result {
            super::fail(&self.failure, error);
        }
        for done in committed.dones {
            done(committed.result.clone());
        }
    }
}

/// Writes changes in their order. A table is open for as long as changes of it follow each other.
fn write(transaction: &WriteTransaction, changes: &[Change]) -> Result<(), StoreError> {
    let mut rest = changes;
    while let Some(first) = rest.first() {
        let table = table_of(first);
        let count = rest.iter().take_while(|change| table_of(change) == table);
        let (now, later) = rest.split_at(count.count());
        match table {
            Table::Meta => write_meta(transaction, now)?,
            Table::Snapshot => write_snapshot(transaction, now)?,
        }
        rest = later;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Meta,
    Snapshot,
}

fn table_of(change: &Change) -> Table {
    match change {
        Change::PutMeta { .. } => Table::Meta,
        Change::PutPart { .. } | Change::KeepSnapshot { .. } => Table::Snapshot,
    }
}

fn write_meta(transaction: &WriteTransaction, changes: &[Change]) -> Result<(), StoreError> {
    let mut meta = transaction.open_table(META)?;
    for change in changes {
        let Change::PutMeta { key, bytes } = change else {
            unreachable!("a change of another table")
        };
        meta.insert(key, bytes.as_slice())?;
    }
    Ok(())
}

fn write_snapshot(transaction: &WriteTransaction, changes: &[Change]) -> Result<(), StoreError> {
    let mut parts = transaction.open_table(SNAPSHOT)?;
    for change in changes {
        match change {
            Change::PutPart {
                snapshot,
                part,
                bytes,
            } => {
                parts.insert((*snapshot, *part), bytes.as_slice())?;
            }
            Change::KeepSnapshot {
                snapshot,
                parts: count,
            } => {
                parts.retain(|(other, part), _| other == *snapshot && part < *count)?;
            }
            _ => unreachable!("a change of another table"),
        }
    }
    Ok(())
}
