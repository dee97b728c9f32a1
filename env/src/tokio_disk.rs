//! Directories and files of the real world, and where the work on them is done.

use crate::{Directory, DirectoryError, DiskFile, Worker};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::mpsc::UnboundedReceiver;

/// Which process has a directory is decided by a lock on this file in it.
const LOCK_NAME: &str = "lockwright.lock";

/// A directory of the file system.
#[derive(Debug)]
pub struct TokioDirectory {
    path: PathBuf,
    /// Its lock is given back when it is closed, however the process ends.
    _lock: File,
}

impl TokioDirectory {
    /// Creates the directory if it is not there, and locks it.
    pub(crate) fn open(path: &Path) -> Result<TokioDirectory, DirectoryError> {
        create(path).map_err(DirectoryError::Io)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK_NAME))
            .map_err(DirectoryError::Io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DirectoryError::Locked),
            Err(TryLockError::Error(error)) => return Err(DirectoryError::Io(error)),
        }
        sync_names(path).map_err(DirectoryError::Io)?;
        Ok(TokioDirectory {
            path: path.to_owned(),
            _lock: lock,
        })
    }
}

/// Creates a directory, and those it is in, if they are not there.
fn create(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let parent = parent.unwrap_or(Path::new("."));
    create(parent)?;
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_names(parent),
    }
}

/// A name is in its directory, not in its file.
fn sync_names(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

impl Directory for TokioDirectory {
    type File = TokioFile;

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.path.join(name).try_exists()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<TokioFile> {
        let mut file = OpenOptions::new();
        file.read(true).write(true);
        file.open(self.path.join(name)).map(TokioFile)
    }

    fn create(&self, name: &str) -> io::Result<TokioFile> {
        let mut file = OpenOptions::new();
        file.read(true).write(true).create(true).truncate(true);
        file.open(self.path.join(name)).map(TokioFile)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))?;
        sync_names(&self.path)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }
}

/// A file of the file system.
#[derive(Debug)]
pub struct TokioFile(File);

impl DiskFile for TokioFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Runs a worker until nobody can give it a job any more.
pub(crate) fn spawn_worker<W: Worker>(
    worker: W,
    jobs: UnboundedReceiver<W::Job>,
) -> io::Result<()> {
    if W::IS_USUALLY_QUICK {
        tokio::spawn(run_nearby(worker, jobs));
        Ok(())
    } else {
        spawn_thread(worker, jobs)
    }
}

fn spawn_thread<W: Worker>(mut worker: W, mut jobs: UnboundedReceiver<W::Job>) -> io::Result<()> {
    let work = move || {
        let mut batch = Vec::new();
        while jobs.blocking_recv_many(&mut batch, usize::MAX) > 0 {
            let done = worker.work(&mut batch);
            assert!(batch.is_empty(), "a worker takes all its jobs");
            worker.finish(done);
        }
    };
    let name = "disk".to_owned();
    thread::Builder::new().name(name).spawn(work).map(drop)
}

/// Runs a worker in a task, which waits for the disk itself while that is quick.
///
/// To hand a batch to another thread and to be woken by it takes about as long as a sync of a good
/// disk. Meanwhile others of the runtime could go on; but what they do comes together in the next
/// batch either way.
async fn run_nearby<W: Worker>(mut worker: W, mut jobs: UnboundedReceiver<W::Job>) {
    let mut pace = Pace::default();
    let mut batch = Vec::new();
    while jobs.recv_many(&mut batch, usize::MAX).await > 0 {
        let work = move || {
            let begin = Instant::now();
            let done = worker.work(&mut batch);
            assert!(batch.is_empty(), "a worker takes all its jobs");
            (worker, batch, done, begin.elapsed())
        };
        let worked = if pace.is_quick() {
            Ok(work())
        } else {
            tokio::task::spawn_blocking(work).await
        };
        let (done, took);
        (worker, batch, done, took) = match worked {
            Ok(worked) => worked,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is being shut down.
                Err(_) => return,
            },
        };
        pace.saw(took);
        worker.finish(done);
    }
}

/// Whether a disk is so quick that it may be waited for.
#[derive(Debug, Default)]
struct Pace {
    /// How many more batches must be quick before it is believed again.
    doubt: u32,
}

impl Pace {
    /// Others may be held up for so long, once.
    const QUICK: Duration = Duration::from_millis(1);
    /// A disk that hesitates now and then holds them up once in so many batches at most.
    const DOUBT: u32 = 100;

    fn is_quick(&self) -> bool {
        self.doubt == 0
    }

    fn saw(&mut self, took: Duration) {
        self.doubt = match took <= Pace::QUICK {
            true => self.doubt.saturating_sub(1),
            false => Pace::DOUBT,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn scratch(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("lockwright-env-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_directory_belongs_to_one_at_a_time() {
        let path = scratch("one");
        let first = TokioDirectory::open(&path).unwrap();
        assert!(matches!(
            TokioDirectory::open(&path),
            Err(DirectoryError::Locked)
        ));
        drop(first);
        TokioDirectory::open(&path).unwrap();
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_file_keeps_what_is_written_and_its_new_name() {
        let path = scratch("file");
        let directory = TokioDirectory::open(&path).unwrap();
        let file = directory.create("new").unwrap();
        file.set_len(4).unwrap();
        file.write(2, b"hello").unwrap();
        file.sync().unwrap();
        directory.rename("new", "old").unwrap();
        assert!(!directory.exists("new").unwrap());
        let file = directory.open("old").unwrap();
        assert_eq!(file.len().unwrap(), 7);
        let mut got = [1; 7];
        file.read(0, &mut got).unwrap();
        assert_eq!(&got, b"\0\0hello");
        assert!(file.read(1, &mut got).is_err(), "it ends before");
        assert!(directory.open("none").is_err());
        let mut names = directory.names().unwrap();
        names.sort();
        assert_eq!(names, [LOCK_NAME, "old"]);
        directory.remove("old").unwrap();
        assert_eq!(directory.names().unwrap(), [LOCK_NAME]);
        assert!(directory.remove("old").is_err());
        std::fs::remove_dir_all(path).unwrap();
    }

    struct Adder(mpsc::Sender<(usize, u64)>);

    impl Worker for Adder {
        type Job = u64;
        type Done = (usize, u64);

        fn work(&mut self, jobs: &mut Vec<u64>) -> (usize, u64) {
            (jobs.len(), jobs.drain(..).sum())
        }

        fn finish(&mut self, done: (usize, u64)) {
            self.0.send(done).unwrap();
        }
    }

    /// As [`Adder`], which takes so many ms for a job.
    struct Nearby(Adder);

    impl Worker for Nearby {
        type Job = u64;
        type Done = (usize, u64);

        const IS_USUALLY_QUICK: bool = true;

        fn work(&mut self, jobs: &mut Vec<u64>) -> (usize, u64) {
            thread::sleep(Duration::from_millis(jobs[0]));
            self.0.work(jobs)
        }

        fn finish(&mut self, done: (usize, u64)) {
            self.0.finish(done);
        }
    }

    #[tokio::test]
    async fn what_holds_up_others_is_done_elsewhere_the_next_time() {
        let (jobs_in, jobs) = tokio::sync::mpsc::unbounded_channel();
        let (sums_in, sums) = mpsc::channel();
        spawn_worker(Nearby(Adder(sums_in)), jobs).unwrap();
        let mut ticks = Vec::new();
        for job in [20, 20] {
            jobs_in.send(job).unwrap();
            let mut waited = 0_u32;
            while sums.try_recv().is_err() {
                waited += 1;
                tokio::task::yield_now().await;
            }
            ticks.push(waited);
        }
        assert!(
            ticks[0] <= 2,
            "it is done where it was asked for: {ticks:?}"
        );
        assert!(ticks[1] > 2, "others go on meanwhile: {ticks:?}");
        drop(jobs_in);
        while sums.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_disk_is_believed_again_when_it_has_been_quick_for_long() {
        let mut pace = Pace::default();
        assert!(pace.is_quick());
        pace.saw(Duration::from_millis(2));
        for _ in 0..Pace::DOUBT {
            assert!(!pace.is_quick());
            pace.saw(Duration::from_micros(100));
        }
        assert!(pace.is_quick());
    }

    #[test]
    fn a_worker_does_all_that_waits_at_once_and_ends_with_its_jobs() {
        let (jobs_in, jobs) = tokio::sync::mpsc::unbounded_channel();
        let (sums_in, sums) = mpsc::channel();
        for job in 1..=4 {
            jobs_in.send(job).unwrap();
        }
        spawn_worker(Adder(sums_in), jobs).unwrap();
        assert_eq!(sums.recv().unwrap(), (4, 10));
        drop(jobs_in);
        assert!(sums.recv().is_err(), "the worker has gone");
    }
}
