//! Carries changes out, all that wait in one transaction.

use super::{
    Change, Done, StoreError,
    tables::{LOG, META, SNAPSHOT},
};
use lockwright_env::Worker;
use redb::{Database, Durability, WriteTransaction};
use std::sync::Arc;
use tokio::sync::watch;

/// Changes, and who is to be told.
pub(super) struct Job {
    pub(super) changes: Vec<Change>,
    pub(super) done: Done,
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

    fn commit(&self, jobs: &[Job]) -> Result<(), StoreError> {
        // What failed once is not tried again: nobody knows what of it is on the disk.
        if let Some(failure) = &*self.failure.borrow() {
            return Err(failure.clone());
        }
        let mut transaction = self.database.begin_write()?;
        transaction
            .set_durability(Durability::Immediate)
            .expect("no savepoint is ever made");
        for job in jobs {
            write(&transaction, &job.changes)?;
        }
        Ok(transaction.commit()?)
    }
}

impl Worker for Committer {
    type Job = Job;
    type Done = Committed;

    fn work(&mut self, jobs: &mut Vec<Job>) -> Committed {
        let result = self.commit(jobs);
        Committed {
            dones: jobs.drain(..).map(|job| job.done).collect(),
            result,
        }
    }

    fn finish(&mut self, committed: Committed) {
        if let Err(error) = &committed.result {
            self.failure.send_if_modified(|failure| {
                let is_first = failure.is_none();
                failure.get_or_insert(error.clone());
                is_first
            });
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
            Table::Log => write_log(transaction, now)?,
            Table::Meta => write_meta(transaction, now)?,
            Table::Snapshot => write_snapshot(transaction, now)?,
        }
        rest = later;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Log,
    Meta,
    Snapshot,
}

fn table_of(change: &Change) -> Table {
    match change {
        Change::PutEntry { .. } | Change::TruncateLog { .. } | Change::PurgeLog { .. } => {
            Table::Log
        }
        Change::PutMeta { .. } => Table::Meta,
        Change::PutPart { .. } | Change::KeepSnapshot { .. } => Table::Snapshot,
    }
}

fn write_log(transaction: &WriteTransaction, changes: &[Change]) -> Result<(), StoreError> {
    let mut log = transaction.open_table(LOG)?;
    for change in changes {
        match change {
            Change::PutEntry { index, bytes } => {
                log.insert(index, bytes.as_slice())?;
            }
            Change::TruncateLog { from } => log.retain_in(*from.., |_, _| false)?,
            Change::PurgeLog { up_to } => log.retain_in(..=*up_to, |_, _| false)?,
            _ => unreachable!("a change of another table"),
        }
    }
    Ok(())
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
            Change::KeepSnapshot { snapshot } => {
                parts.retain(|(other, _), _| other == *snapshot)?;
            }
            _ => unreachable!("a change of another table"),
        }
    }
    Ok(())
}
