//! Directories and files of the real world, and where the work on them is done.

use crate::{Directory, DirectoryError, DiskFile, Worker};
use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{
        DirBuilderExt as _, FileExt, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::mpsc::UnboundedReceiver;

/// Versions that do not lock the directory itself lock this file in it.
const LOCK_NAME: &str = "lockwright.lock";

/// What the names of our files begin with.
const OURS: [&str; 2] = ["lockwright.", "lockwright-"];

/// Only its user may read, write and search a directory.
const DIRECTORY_MODE: u32 = 0o700;
/// Only its user may read and write a file.
const FILE_MODE: u32 = 0o600;
/// What others than the user may do.
const OTHERS: u32 = 0o077;

/// A directory of the file system.
#[derive(Debug)]
pub struct TokioDirectory {
    path: PathBuf,
    notices: Vec<String>,
    /// Its locks are given back when they are closed, however the process ends.
    _locks: Vec<File>,
}

impl TokioDirectory {
    /// Creates the directory if it is not there, locks it, and makes it private.
    pub(crate) fn open(path: &Path) -> Result<TokioDirectory, DirectoryError> {
        create(path).map_err(DirectoryError::Io)?;
        let mut notices = Vec::new();
        let locks = lock(path, &mut notices)?;
        make_private(path, &mut notices).map_err(DirectoryError::Io)?;
        let synced = sync_names(path).map_err(|error| saying("sync", path, &error));
        synced.map_err(DirectoryError::Io)?;
        Ok(TokioDirectory {
            path: path.to_owned(),
            notices,
            _locks: locks,
        })
    }
}

/// Locks a directory for this process.
///
/// The lock is on the directory itself: it cannot be removed while its files are in it, and a file
/// that is made for the lock can. That file is locked too, since earlier versions know no other lock.
fn lock(path: &Path, notices: &mut Vec<String>) -> Result<Vec<File>, DirectoryError> {
    let mut locks = Vec::new();
    let io = |error| DirectoryError::Io(saying("open", path, &error));
    let directory = File::open(path).map_err(io)?;
    match directory.try_lock() {
        Ok(()) => locks.push(directory),
        Err(TryLockError::WouldBlock) => return Err(DirectoryError::Locked),
        Err(TryLockError::Error(error)) => notices.push(format!(
            "the file system of `{}` cannot lock a directory ({error}): `{LOCK_NAME}` in it is all \
             that keeps a second server away, and must not be removed",
            path.display()
        )),
    }
    let name = path.join(LOCK_NAME);
    let mut file = OpenOptions::new();
    file.write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE);
    let io = |error| DirectoryError::Io(saying("make", &name, &error));
    let file = file.open(&name).map_err(io)?;
    match file.try_lock() {
        Ok(()) => locks.push(file),
        Err(TryLockError::WouldBlock) => return Err(DirectoryError::Locked),
        Err(TryLockError::Error(error)) => {
            return Err(DirectoryError::Io(saying("lock", &name, &error)));
        }
    }
    Ok(locks)
}

/// Takes from others what they may do with our files, and with the directory if nothing else is in
/// it.
fn make_private(path: &Path, notices: &mut Vec<String>) -> io::Result<()> {
    let fault = |error| saying("look into", path, &error);
    let mut only_ours = true;
    for entry in std::fs::read_dir(path).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let name = entry.file_name();
        let is_ours = OURS
            .iter()
            .any(|ours| name.as_encoded_bytes().starts_with(ours.as_bytes()));
        only_ours &= is_ours;
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            notices.extend(tighten(&entry.path()).map_err(fault)?);
        }
    }
    if only_ours {
        notices.extend(tighten(path).map_err(fault)?);
        return Ok(());
    }
    let mode = std::fs::metadata(path).map_err(fault)?.mode();
    if mode & OTHERS != 0 {
        notices.push(format!(
            "others may use `{}` (mode {:04o}), which is left as it is, since other files are in it: \
             give the server a directory of its own, or take their rights away (chmod 0700)",
            path.display(),
            mode & 0o7777
        ));
    }
    Ok(())
}

/// Takes from others what they may do with a file or a directory. Says so if there was something to
/// take.
fn tighten(path: &Path) -> io::Result<Option<String>> {
    let mode = std::fs::metadata(path)?.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(None);
    }
    let path_text = path.display();
    let private = mode & !OTHERS;
    let changed = std::fs::set_permissions(path, Permissions::from_mode(private));
    Ok(Some(match changed {
        Ok(()) => format!(
            "others could use `{path_text}` (mode {mode:04o}), which only the server needs: it is \
             {private:04o} now"
        ),
        Err(error) => format!(
            "others may use `{path_text}` (mode {mode:04o}), and it cannot be changed ({error}): \
             have its owner take their rights away"
        ),
    }))
}

/// Creates a directory, and those it is in, if they are not there. Only this user may use them.
fn create(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if path.exists() {
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("`{}` is a file, and a directory is needed", path.display()),
        ));
    }
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let parent = parent.unwrap_or(Path::new("."));
    create(parent)?;
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(saying("make the directory", path, &error))
        }
        _ => sync_names(parent).map_err(|error| saying("sync", parent, &error)),
    }
}

/// An error that says what could not be done to what.
fn saying(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot {what} `{}`: {error}", path.display()),
    )
}

/// A name is in its directory, not in its file.
fn sync_names(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

impl Directory for TokioDirectory {
    type File = TokioFile;

    fn notices(&self) -> &[String] {
        &self.notices
    }

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
        file.mode(FILE_MODE);
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
    fn a_directory_is_taken_even_when_the_lock_file_is_removed() {
        let path = scratch("removed");
        let first = TokioDirectory::open(&path).unwrap();
        std::fs::remove_file(path.join(LOCK_NAME)).unwrap();
        let second = TokioDirectory::open(&path);
        assert!(matches!(second, Err(DirectoryError::Locked)), "{second:?}");
        let moved = scratch("moved");
        std::fs::rename(&path, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &path).unwrap();
        let second = TokioDirectory::open(&path);
        assert!(matches!(second, Err(DirectoryError::Locked)), "{second:?}");
        drop(first);
        TokioDirectory::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        std::fs::remove_dir_all(moved).unwrap();
    }

    #[test]
    fn who_knows_only_the_lock_file_is_kept_away_too() {
        let path = scratch("file-lock");
        std::fs::create_dir(&path).unwrap();
        let earlier = File::create(path.join(LOCK_NAME)).unwrap();
        earlier.try_lock().unwrap();
        let second = TokioDirectory::open(&path);
        assert!(matches!(second, Err(DirectoryError::Locked)), "{second:?}");
        drop(earlier);
        let first = TokioDirectory::open(&path).unwrap();
        let earlier = File::open(path.join(LOCK_NAME)).unwrap();
        assert!(matches!(earlier.try_lock(), Err(TryLockError::WouldBlock)));
        drop(first);
        std::fs::remove_dir_all(path).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn allow(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// The umask is of the process, and takes away: what is asked for is what is tested.
    #[test]
    fn what_is_made_is_for_its_user_alone() {
        let top = scratch("made");
        let path = top.join("a/b");
        let directory = TokioDirectory::open(&path).unwrap();
        directory.create("lockwright.redb.new").unwrap();
        directory
            .rename("lockwright.redb.new", "lockwright.redb")
            .unwrap();
        assert_eq!(directory.notices(), [] as [String; 0]);
        for made in [&*top, &top.join("a"), &path] {
            assert_eq!(mode(made), 0o700, "{}", made.display());
        }
        for name in [LOCK_NAME, "lockwright.redb"] {
            assert_eq!(mode(&path.join(name)), 0o600, "{name}");
        }
        std::fs::remove_dir_all(top).unwrap();
    }

    #[test]
    fn what_others_could_use_is_taken_from_them_and_told() {
        for (of_directory, of_file, expected, told) in [
            (0o755, 0o644, (0o700, 0o600), 2),
            (0o2777, 0o666, (0o2700, 0o600), 2),
            (0o700, 0o640, (0o700, 0o600), 1),
            (0o711, 0o600, (0o700, 0o600), 1),
            (0o700, 0o600, (0o700, 0o600), 0),
        ] {
            let path = scratch("tightened");
            std::fs::create_dir(&path).unwrap();
            let file = path.join("lockwright-0000000000000001.log");
            std::fs::write(&file, b"log").unwrap();
            allow(&file, of_file);
            allow(&path, of_directory);
            let directory = TokioDirectory::open(&path).unwrap();
            let notices = directory.notices();
            assert_eq!((mode(&path), mode(&file)), expected, "{notices:?}");
            assert_eq!(notices.len(), told, "{notices:?}");
            drop(directory);
            let again = TokioDirectory::open(&path).unwrap();
            assert_eq!(again.notices(), [] as [String; 0], "it is told once");
            std::fs::remove_dir_all(path).unwrap();
        }
    }

    /// A directory that was named by mistake, such as `/tmp`, stays usable for others.
    #[test]
    fn what_is_not_ours_is_left_alone_and_told() {
        let path = scratch("shared");
        std::fs::create_dir(&path).unwrap();
        let (other, ours) = (path.join("other"), path.join("lockwright.redb"));
        std::fs::write(&other, b"").unwrap();
        std::fs::write(&ours, b"").unwrap();
        allow(&other, 0o644);
        allow(&ours, 0o644);
        allow(&path, 0o1777);
        let directory = TokioDirectory::open(&path).unwrap();
        assert_eq!(mode(&path), 0o1777);
        assert_eq!((mode(&other), mode(&ours)), (0o644, 0o600));
        let notices = directory.notices();
        assert!(
            notices.len() == 2 && notices[1].contains("1777"),
            "{notices:?}"
        );
        std::fs::remove_dir_all(path).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_cannot_be_made_is_named_with_the_reason() {
        let top = scratch("refused");
        std::fs::create_dir(&top).unwrap();
        let file = top.join("file");
        std::fs::write(&file, b"").unwrap();
        for (path, kind, expected) in [
            (
                PathBuf::from("/proc/x"),
                io::ErrorKind::NotFound,
                "cannot make the directory `/proc/x`",
            ),
            (
                PathBuf::from("/proc/x/y"),
                io::ErrorKind::NotFound,
                "cannot make the directory `/proc/x`",
            ),
            (file.clone(), io::ErrorKind::NotADirectory, "is a file"),
            (
                file.join("below"),
                io::ErrorKind::NotADirectory,
                "is a file",
            ),
        ] {
            let Err(DirectoryError::Io(error)) = TokioDirectory::open(&path) else {
                panic!("{} is opened", path.display());
            };
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        }
        std::fs::remove_dir_all(top).unwrap();
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
