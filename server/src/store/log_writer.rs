//! Writes the log, all that waits with one sync.

use super::{
    Done, StoreError,
    journal::{Journal, LogChange},
};
use lockwright_env::{Directory, Worker};
use tokio::sync::watch;

/// A change of the log, and who is to be told.
pub(super) struct LogJob {
    pub(super) change: LogChange,
    pub(super) done: Done,
}

/// The one writer of a log.
pub(super) struct LogWriter<D: Directory> {
    pub(super) journal: Journal<D>,
    pub(super) failure: watch::Sender<Option<StoreError>>,
    #[expect(dead_code, reason = "it is held for what its drop tells")]
    pub(super) open: watch::Sender<()>,
}

/// What a group of jobs came to.
pub(super) struct Written {
    dones: Vec<Done>,
    result: Result<(), StoreError>,
}

impl<D: Directory> LogWriter<D> {
    fn write(&mut self, jobs: &[LogJob]) -> Result<(), StoreError> {
        // What failed once is not tried again: nobody knows what of it is on the disk.
        if let Some(failure) = &*self.failure.borrow() {
            return Err(failure.clone());
        }
        self.journal.make(jobs.iter().map(|job| &job.change))
    }
}

impl<D: Directory> Worker for LogWriter<D> {
    type Job = LogJob;
    type Done = Written;

    const IS_USUALLY_QUICK: bool = true;

    fn work(&mut self, jobs: &mut Vec<LogJob>) -> Written {
        let result = self.write(jobs);
        Written {
            dones: jobs.drain(..).map(|job| job.done).collect(),
            result,
        }
    }

    fn finish(&mut self, written: Written) {
        if let Err(error) = &written.result {
            super::fail(&self.failure, error);
        }
        for done in written.dones {
            done(written.result.clone());
        }
    }
}

impl<D: Directory> Drop for LogWriter<D> {
    fn drop(&mut self) {
        if self.failure.borrow().is_none() {
            // Without it the next start takes more for a crash than was one.
            let _ = self.journal.close();
        }
    }
}
