//! Against a disk that dies at any of its operations, tears what was not synced, and comes back.

use super::*;
use crate::fence::Mark;
use lockwright_env::DiskFile;
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

const NAME: &str = "fence";

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    names: BTreeMap<String, usize>,
    files: Vec<File>,
    /// After so many operations each one fails; none: never.
    dies_after: Option<u32>,
    syncs: u32,
}

#[derive(Debug, Default)]
struct File {
    seen: Vec<u8>,
    stable: Vec<u8>,
}

impl Disk {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    /// Counts an operation.
    fn act(&self) -> io::Result<MutexGuard<'_, Content>> {
        let mut content = self.content();
        match &mut content.dies_after {
            Some(0) => return Err(io::Error::other("no power")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(content)
    }

    /// What was not synced is gone, but for the bytes whose place `stays`; then all works again.
    fn lose_power(&self, stays: impl Fn(usize) -> bool) {
        let content = &mut *self.content();
        content.dies_after = None;
        for file in &mut content.files {
            let mut left = file.stable.clone();
            let kept = file.seen.iter().enumerate().filter(|(at, _)| stays(*at));
            for (at, byte) in kept {
                if at >= left.len() {
                    left.resize(at + 1, 0);
                }
                left[at] = *byte;
            }
            file.seen = left.clone();
            file.stable = left;
        }
    }

    fn open(&self) -> Result<DurableFence<Disk>, OpenFenceError> {
        DurableFence::open(Arc::new(self.clone()), NAME)
    }

    /// Changes the fence's file behind its back.
    fn edit(&self, edit: impl FnOnce(&mut Vec<u8>)) {
        let content = &mut *self.content();
        let file = content.names[NAME];
        edit(&mut content.files[file].seen);
    }
}

impl Directory for Disk {
    type File = OpenFile;

    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.act()?.names.contains_key(name))
    }

    fn open(&self, name: &str) -> io::Result<OpenFile> {
        let file = self.act()?.names.get(name).copied();
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        Ok(OpenFile(self.clone(), file))
    }

    fn create(&self, name: &str) -> io::Result<OpenFile> {
        let mut content = self.act()?;
        content.files.push(File::default());
        let file = content.files.len() - 1;
        content.names.insert(name.to_owned(), file);
        Ok(OpenFile(self.clone(), file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut content = self.act()?;
        let file = content.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        content.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.act()?.names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.act()?.names.remove(name);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
}

#[derive(Debug)]
struct OpenFile(Disk, usize);

impl DiskFile for OpenFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.act()?.files[self.1].seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = self.0.act()?;
        let offset = usize::try_from(offset).unwrap();
        let bytes = content.files[self.1].seen.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut content = self.0.act()?;
        let offset = usize::try_from(offset).unwrap();
        let seen = &mut content.files[self.1].seen;
        seen.resize(seen.len().max(offset + data.len()), 0);
        seen[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut content = self.0.act()?;
        content.files[self.1]
            .seen
            .resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut content = self.0.act()?;
        content.syncs += 1;
        let file = &mut content.files[self.1];
        file.stable.clone_from(&file.seen);
        Ok(())
    }
}

#[test]
fn it_remembers_over_a_restart() {
    let disk = Disk::default();
    let mut fence = disk.open().unwrap();
    fence.check("a", Token(5)).unwrap();
    fence.check_read("b", Token(6)).unwrap();
    fence.raise_floor(Token(3)).unwrap();
    let before = fence.fence().clone();
    drop(fence);
    let mut fence = disk.open().unwrap();
    assert_eq!(*fence.fence(), before);
    assert!(matches!(
        fence.check("a", Token(4)),
        Err(FenceError::Stale(stale)) if stale.largest == Token(5)
    ));
    assert!(fence.check("b", Token(5)).is_err());
    assert!(fence.check("c", Token(2)).is_err());
    fence.check("a", Token(5)).unwrap();
}

#[test]
fn a_token_is_synced_once_however_often_its_holder_writes() {
    let disk = Disk::default();
    let mut fence = disk.open().unwrap();
    let before = disk.content().syncs;
    for _ in 0..100 {
        fence.check("a", Token(5)).unwrap();
    }
    assert_eq!(disk.content().syncs, before + 1);
}

#[test]
fn what_a_killed_program_had_written_is_synced_before_it_is_believed() {
    let disk = Disk::default();
    drop(disk.open().unwrap());
    let mut fence = disk.open().unwrap();
    // It dies between its write and its sync, and the system goes on.
    disk.content().dies_after = Some(1);
    fence.check("a", Token(5)).unwrap_err();
    disk.content().dies_after = None;
    drop(fence);
    let mut fence = disk.open().unwrap();
    fence.check("a", Token(5)).unwrap();
    disk.lose_power(|_| false);
    let mut fence = disk.open().unwrap();
    assert!(fence.check("a", Token(4)).is_err());
}

#[test]
fn after_an_error_of_the_disk_nothing_passes() {
    let disk = Disk::default();
    let mut fence = disk.open().unwrap();
    fence.check("a", Token(5)).unwrap();
    disk.content().dies_after = Some(0);
    assert!(matches!(
        fence.check("b", Token(6)),
        Err(FenceError::Disk(_))
    ));
    disk.content().dies_after = None;
    assert!(matches!(
        fence.check("a", Token(5)),
        Err(FenceError::Disk(_))
    ));
    assert!(matches!(
        fence.raise_floor(Token(7)),
        Err(FenceError::Disk(_))
    ));
    disk.open().unwrap().check("a", Token(5)).unwrap();
}

#[test]
fn a_long_file_is_written_anew() {
    let disk = Disk::default();
    let mut fence = disk.open().unwrap().compact_above(1_000);
    for token in 1..=1_000 {
        fence.check("a key", Token(token)).unwrap();
        assert!(fence.log.len() <= 1_100, "{fence}");
    }
    let fence = disk.open().unwrap();
    assert_eq!(fence.fence().largest("a key"), Some(Token(1_000)));
}

#[test]
fn a_key_that_is_too_long_is_refused_and_hurts_nobody() {
    let mut fence = Disk::default().open().unwrap();
    let long = "k".repeat(log::KEY_BYTES_MAX + 1);
    assert!(matches!(
        fence.check(&long, Token(2)),
        Err(FenceError::KeyTooLong { .. })
    ));
    fence.check(&long[1..], Token(2)).unwrap();
}

/// A fence with three keys, on a disk whose file a test may change.
fn three() -> Disk {
    let disk = Disk::default();
    let mut fence = disk.open().unwrap();
    for key in ["a", "b", "c"] {
        fence.check(key, Token(5)).unwrap();
    }
    disk
}

#[test]
fn damage_anywhere_but_at_the_end_is_refused() {
    let len = {
        let disk = three();
        let content = disk.content();
        content.files[content.names[NAME]].seen.len()
    };
    let last_mark = len - 20;
    for at in 0..len {
        let disk = three();
        disk.edit(|bytes| bytes[at] ^= 0x10);
        let opened = disk.open();
        match at {
            _ if at < 32 => assert!(
                matches!(opened, Err(OpenFenceError::Foreign { .. })),
                "{at}"
            ),
            _ if at < last_mark => {
                assert!(
                    matches!(opened, Err(OpenFenceError::Damaged { .. })),
                    "{at}"
                );
            }
            _ => assert_eq!(opened.unwrap().fence().len(), 2, "{at}"),
        }
    }
}

#[test]
fn a_key_that_looks_like_a_mark_is_none() {
    let disk = three();
    // A whole mark of another fence, as the key of the last mark, which is torn.
    let mut fence = disk.open().unwrap();
    fence
        .check("\u{2}\0w\u{9}\0\0\0\0\0\0\0kk", Token(6))
        .unwrap();
    disk.edit(|bytes| *bytes.last_mut().unwrap() ^= 1);
    assert_eq!(disk.open().unwrap().fence().len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// What a check has let pass is remembered, whenever the power goes and whatever it takes; and
    /// nothing else is, but for the one mark that was being written.
    #[test]
    fn what_passed_is_remembered_whenever_the_power_goes(
        steps in prop::collection::vec((0..4u8, 1..30u64, 0..20u8), 1..40),
        lives in prop::collection::vec((0..60u32, any::<u64>()), 1..4),
    ) {
        let disk = Disk::default();
        let mut passed = Fence::default();
        let mut possible = Fence::default();
        let mut steps = steps.into_iter();
        for (dies_after, luck) in lives {
            disk.content().dies_after = Some(dies_after);
            if let Ok(fence) = disk.open() {
                let mut fence = fence.compact_above(200);
                for (key, token, what) in steps.by_ref() {
                    let (key, token) = (key.to_string(), Token(token));
                    let (mark, done) = match what {
                        0 => (Ok(Some(Mark::Floor(token))), fence.raise_floor(token)),
                        1..=6 => (possible.examine(Access::Read, &key, token), fence.check_read(&key, token)),
                        _ => (possible.examine(Access::Write, &key, token), fence.check(&key, token)),
                    };
                    if let Ok(Some(mark)) = mark {
                        possible.remember(mark.clone());
                        if done.is_ok() {
                            passed.remember(mark);
                        }
                    }
                    if matches!(done, Err(FenceError::Disk(_))) {
                        break;
                    }
                }
            }
            disk.lose_power(|at| luck >> (at % 64) & 1 == 1);
            let left = disk.open().unwrap().fence().clone();
            for mark in passed.marks() {
                prop_assert!(knows(&left, &mark), "{:?} is lost: {:?}", mark, left);
            }
            for mark in left.marks() {
                prop_assert!(knows(&possible, &mark), "{:?} was never: {:?}", mark, possible);
            }
            passed = left.clone();
            possible = left;
        }
    }
}

/// Whether the mark says nothing new.
fn knows(fence: &Fence, mark: &Mark) -> bool {
    let mut more = fence.clone();
    more.remember(mark.clone());
    more == *fence
}
