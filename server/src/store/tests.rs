//! The store on real files, and on a disk that says no.

#![expect(
    clippy::disallowed_methods,
    reason = "these tests run on the real disk, and not in the simulator"
)]

use super::{
    Change, EntryRow, LogChange, Store, StoreError,
    journal::mark::NAME as MARK_NAME,
    open::{NAME, NEW_NAME},
};
use lockwright_env::{
    Directory, DirectoryError, DiskFile, Env, TokioDirectory, TokioEnv, TokioFile, TokioListener,
    Worker,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, sync::mpsc::UnboundedReceiver};

/// So small that a few entries fill it.
const SEGMENT_BYTES: u64 = 4096;

/// A directory that goes when this does.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lockwright-store-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        Scratch(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open(&TokioEnv, &self.0, SEGMENT_BYTES)
    }

    /// Opens it as soon as the store before has let go of it.
    async fn reopen(&self) -> Result<Store, StoreError> {
        loop {
            match self.open() {
                Err(StoreError::Locked { .. }) => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                other => return other,
            }
        }
    }

    /// The names of the files of the log, in order.
    fn segments(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut segments: Vec<String> = names.filter(|name| name.ends_with(".log")).collect();
        segments.sort();
        segments
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.0.join(NAME)).unwrap()
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::create_dir_all(&self.0).unwrap();
        std::fs::write(self.0.join(name), bytes).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn row(index: u64) -> EntryRow {
    let bytes = vec![u8::try_from(index % 251).unwrap(); 100];
    (index, bytes)
}

fn append(indices: impl IntoIterator<Item = u64>) -> LogChange {
    LogChange::Append(indices.into_iter().map(row).collect())
}

/// The indices of the entries of a log from `needed` on.
fn entries_of(store: &Store, needed: u64) -> Vec<u64> {
    let rows = store.open_log(needed).unwrap();
    let is_right = |(index, bytes): EntryRow| {
        assert_eq!((index, bytes), row(index));
        index
    };
    rows.into_iter().map(is_right).collect()
}

fn meta(key: &'static str, bytes: Vec<u8>) -> Change {
    Change::PutMeta { key, bytes }
}

#[tokio::test]
async fn what_was_made_is_there_when_it_is_opened_again() {
    let scratch = Scratch::new();
    let store = scratch.open().unwrap();
    assert_eq!(entries_of(&store, 0), Vec::<u64>::new());
    store.make_log(append(0..10)).await.unwrap();
    store.make(vec![meta("k", vec![7])]).await.unwrap();
    for change in [LogChange::Truncate { from: 8 }, append(8..9)] {
        store.make_log(change).await.unwrap();
    }
    let purge = LogChange::Purge { up_to: 2 };
    store.make_log(purge).await.unwrap();
    store.closed().await;
    let store = scratch.reopen().await.unwrap();
    assert_eq!(entries_of(&store, 3), [3, 4, 5, 6, 7, 8]);
    assert_eq!(store.meta("k").unwrap(), Some(vec![7]));
    assert_eq!(store.meta("none").unwrap(), None);
}

#[tokio::test]
async fn a_log_without_its_database_or_the_other_way_round_is_damage() {
    let scratch = Scratch::new();
    let store = scratch.open().unwrap();
    store.open_log(0).unwrap();
    store.make_log(append(0..10)).await.unwrap();
    store.closed().await;
    let away = scratch.path().join("away");
    std::fs::rename(scratch.path().join(NAME), &away).unwrap();
    let error = scratch.reopen().await.err().unwrap();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    std::fs::rename(&away, scratch.path().join(NAME)).unwrap();
    for name in scratch.segments() {
        std::fs::remove_file(scratch.path().join(name)).unwrap();
    }
    let store = scratch.reopen().await.unwrap();
    let error = store.open_log(0).err().unwrap();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

/// A directory with a log, a snapshot's parts and records, whose server has stopped.
async fn stopped() -> Scratch {
    let scratch = Scratch::new();
    let store = scratch.open().unwrap();
    store.open_log(0).unwrap();
    store.make_log(append(0..60)).await.unwrap();
    let part = Change::PutPart {
        snapshot: 1,
        part: 0,
        bytes: vec![7; 30_000],
    };
    store.make(vec![part, meta("k", vec![7])]).await.unwrap();
    store.closed().await;
    scratch
}

/// What a start says; none when all is there.
async fn start(scratch: &Scratch) -> Option<StoreError> {
    match scratch.reopen().await {
        Err(error) => Some(error),
        Ok(store) => store.open_log(0).err(),
    }
}

/// Whatever single file is gone, emptied or cut, a start says so and makes nothing anew.
#[tokio::test]
async fn a_directory_that_has_lost_something_is_refused() {
    let names = || {
        let mut names = vec![NAME.to_owned(), MARK_NAME.to_owned()];
        names.extend(["lockwright-0000000000000001.log".to_owned()]);
        names
    };
    assert_eq!(
        start(&stopped().await).await.map(|error| error.to_string()),
        None
    );
    for name in names() {
        let scratch = stopped().await;
        assert!(scratch.segments().contains(&name) || !name.ends_with(".log"));
        let path = scratch.path().join(&name);
        let whole = std::fs::read(&path).unwrap();
        let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for kept in [None, Some(0), Some(5), Some(used / 2), Some(used - 1)] {
            match kept {
                None => std::fs::remove_file(&path).unwrap(),
                Some(kept) => std::fs::write(&path, &whole[..kept]).unwrap(),
            }
            let error = start(&scratch).await;
            // Of the mark one record is enough.
            let may_start = name == MARK_NAME && kept.is_some_and(|kept| kept >= used / 2);
            match error {
                None => assert!(may_start, "{name}, {kept:?} bytes of {used}"),
                Some(error) => {
                    let is_damage = matches!(error, StoreError::Damaged { .. });
                    assert!(is_damage, "{name}, {kept:?} bytes of {used}: {error}");
                }
            }
            std::fs::write(&path, &whole).unwrap();
        }
    }
    for name in names() {
        let scratch = stopped().await;
        for other in names().iter().filter(|other| **other != name) {
            std::fs::remove_file(scratch.path().join(other)).unwrap();
        }
        let error = start(&scratch).await.unwrap();
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "only {name}: {error}"
        );
    }
}

#[tokio::test]
async fn of_two_snapshots_the_kept_one_stays() {
    let store = Store::in_memory().unwrap();
    // One that was being written when the server died had the number, and more parts.
    for (snapshot, part, byte) in [(1, 0, 1), (2, 2, 9), (2, 0, 2), (2, 1, 3)] {
        let bytes = vec![byte; 2];
        let part = Change::PutPart {
            snapshot,
            part,
            bytes,
        };
        store.make(vec![part]).await.unwrap();
    }
    store
        .make(vec![Change::KeepSnapshot {
            snapshot: 2,
            parts: 2,
        }])
        .await
        .unwrap();
    assert_eq!(store.snapshot(1).unwrap(), Vec::<u8>::new());
    assert_eq!(store.snapshot(2).unwrap(), [2, 2, 3, 3]);
}

#[tokio::test]
async fn a_second_server_is_refused() {
    let scratch = Scratch::new();
    let _first = scratch.open().unwrap();
    let error = scratch.open().err().unwrap();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("stop it"), "{error}");
}

#[tokio::test]
async fn a_foreign_file_is_refused_and_left_alone() {
    for foreign in [&b"short"[..], &[7; 100_000], b""] {
        let scratch = Scratch::new();
        scratch.put(NAME, foreign);
        let error = scratch.open().err().unwrap();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        assert_eq!(scratch.bytes(), foreign);
    }
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    const OTHER: redb::TableDefinition<'static, u64, u64> = redb::TableDefinition::new("other");
    let scratch = Scratch::new();
    std::fs::create_dir_all(scratch.path()).unwrap();
    let database = redb::Database::create(scratch.path().join(NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(OTHER).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    database.close().unwrap();
    let error = scratch.open().err().unwrap();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn another_format_is_refused() {
    let scratch = Scratch::new();
    drop(scratch.open().unwrap());
    drop(scratch.reopen().await.unwrap());
    let store = scratch.reopen().await.unwrap();
    let newer = Change::PutMeta {
        key: "format",
        bytes: b"lockwright 99".to_vec(),
    };
    store.make(vec![newer]).await.unwrap();
    store.closed().await;
    let error = scratch.reopen().await.err().unwrap();
    let StoreError::Version { got, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(got, "lockwright 99");
}

#[tokio::test]
async fn what_an_interrupted_start_left_is_made_anew() {
    let scratch = Scratch::new();
    scratch.put(NEW_NAME, b"redb\x1A\x0A\xA9\x0D\x0A and no more");
    scratch.open().unwrap();
}

/// Every damage of a page in use is noticed when the file is opened, never later and never by a
/// panic.
#[tokio::test]
async fn a_damaged_file_is_refused_or_whole() {
    let scratch = Scratch::new();
    let store = scratch.open().unwrap();
    let rows = |n: u8| vec![n; 4000];
    const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    for (n, key) in (0..).zip(KEYS) {
        store.make(vec![meta(key, rows(n))]).await.unwrap();
    }
    drop(store);
    drop(scratch.reopen().await.unwrap());
    while scratch.open().is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let whole = scratch.bytes();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let (mut refused, mut unharmed) = (0, 0);
    for at in (0..used).step_by(used / 60) {
        let damaged = Scratch::new();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        damaged.put(NAME, &bytes);
        for name in scratch.segments() {
            let bytes = std::fs::read(scratch.path().join(&name)).unwrap();
            damaged.put(&name, &bytes);
        }
        match damaged.open() {
            Err(StoreError::Damaged { .. } | StoreError::Foreign { .. }) => {
                refused += 1;
            }
            Err(error) => panic!("byte {at}: {error}"),
            Ok(store) => {
                for (n, key) in (0..).zip(KEYS) {
                    assert_eq!(store.meta(key).unwrap(), Some(rows(n)), "byte {at}");
                }
                unharmed += 1;
            }
        }
    }
    assert!(refused > 0 && unharmed > 0, "{refused} {unharmed}");
}

/// The real world, but for a disk that has room for so many writes.
#[derive(Clone)]
struct Short {
    writes_left: Arc<AtomicU64>,
    kind: io::ErrorKind,
}

impl Short {
    fn new(writes: u64, kind: io::ErrorKind) -> Short {
        let writes_left = Arc::new(AtomicU64::new(writes));
        Short { writes_left, kind }
    }

    fn write(&self) -> io::Result<()> {
        let left = &self.writes_left;
        let took = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        took.map(drop).map_err(|_| self.kind.into())
    }
}

#[derive(Debug)]
struct ShortFile(TokioFile, Short);

#[derive(Debug)]
struct ShortDirectory(TokioDirectory, Short);

impl std::fmt::Debug for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Short")
    }
}

impl DiskFile for ShortFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.1.write()?;
        self.0.write(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.1.write()?;
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

impl Directory for ShortDirectory {
    type File = ShortFile;

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.0.exists(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.1.write()?;
        self.0.remove(name)
    }

    fn open(&self, name: &str) -> io::Result<ShortFile> {
        self.1.write()?;
        Ok(ShortFile(self.0.open(name)?, self.1.clone()))
    }

    fn create(&self, name: &str) -> io::Result<ShortFile> {
        self.1.write()?;
        Ok(ShortFile(self.0.create(name)?, self.1.clone()))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.1.write()?;
        self.0.rename(from, to)
    }
}

impl Env for Short {
    type Stream = TcpStream;
    type Listener = TokioListener;
    type Directory = ShortDirectory;

    async fn listen(&self, address: &str) -> io::Result<TokioListener> {
        TokioEnv.listen(address).await
    }

    async fn connect(&self, address: &str) -> io::Result<TcpStream> {
        TokioEnv.connect(address).await
    }

    fn monotonic(&self) -> Duration {
        TokioEnv.monotonic()
    }

    async fn sleep_until(&self, until: Duration) {
        TokioEnv.sleep_until(until).await;
    }

    fn wall_unix_ms(&self) -> u64 {
        TokioEnv.wall_unix_ms()
    }

    fn open_directory(&self, path: &Path) -> Result<ShortDirectory, DirectoryError> {
        Ok(ShortDirectory(TokioEnv.open_directory(path)?, self.clone()))
    }

    fn spawn_worker<W: Worker>(
        &self,
        worker: W,
        jobs: UnboundedReceiver<W::Job>,
    ) -> io::Result<()> {
        TokioEnv.spawn_worker(worker, jobs)
    }
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_full_and_nothing_is_kept_after() {
    let scratch = Scratch::new();
    let short = Short::new(1_000, io::ErrorKind::StorageFull);
    let store = Store::open(&short, scratch.path(), SEGMENT_BYTES).unwrap();
    store.open_log(0).unwrap();
    let mut kept = 0;
    let error = loop {
        match store.make_log(append([kept])).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(store.failure().borrow().is_some());
    short.writes_left.store(u64::MAX, Ordering::Relaxed);
    let again = store.make_log(append([kept])).await.err().unwrap();
    assert!(matches!(again, StoreError::Full { .. }), "{again}");
    let other = store.make(vec![meta("k", vec![1])]).await.err().unwrap();
    assert!(
        matches!(other, StoreError::Full { .. }),
        "one failure stops all: {other}"
    );
    store.closed().await;
    let store = scratch.reopen().await.unwrap();
    let there = entries_of(&store, 0);
    let acknowledged: Vec<u64> = (0..kept).collect();
    assert!(kept > 10 && there.starts_with(&acknowledged), "{there:?}");
}

#[tokio::test]
async fn a_start_without_room_or_rights_is_refused_and_can_be_repeated() {
    let scratch = Scratch::new();
    for writes in 0..12 {
        let short = Short::new(writes, io::ErrorKind::StorageFull);
        let error = Store::open(&short, scratch.path(), SEGMENT_BYTES)
            .err()
            .unwrap();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
    }
    let short = Short::new(0, io::ErrorKind::ReadOnlyFilesystem);
    let error = Store::open(&short, scratch.path(), SEGMENT_BYTES)
        .err()
        .unwrap();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    scratch.reopen().await.unwrap();
}

/// Each is said with what could not be done, why, and what to do.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_place_where_no_directory_can_be_is_said_to_be_that() {
    let scratch = Scratch::new();
    scratch.put("file", b"");
    let file = scratch.path().join("file");
    for path in [PathBuf::from("/proc/x"), file.clone(), file.join("below")] {
        let error = Store::open(&TokioEnv, &path, SEGMENT_BYTES).err().unwrap();
        assert!(matches!(error, StoreError::NoDirectory { .. }), "{error}");
        let (error, path) = (error.to_string(), path.display().to_string());
        for expected in [&*path, "cannot be the data directory", "name a directory"] {
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
