//! The server's disk: what is written is there at once for who reads it, and survives a loss of
//! power only once it is synced.
//!
//! A sync is asked for at one instant and over at a later one, and the program that asked goes on
//! before it is over: [`settles_at`](Disk::settles_at) says when it would have come back, and
//! whoever acknowledges waits for that. What the program did after asking it would have done after
//! the sync came back. So what is written falls into *epochs*, one sync after the other, and at a
//! crash those that have not begun have never been.
//!
//! A sync is of one file, or of the names in the directory: what was done to others before it may be
//! lost all the same, although it was done.

use super::host::simulated;
use crate::{
    draw::{Draw, Stream},
    plan::{DiskPlan, Profile},
};
use lockwright_env::{Directory, DirectoryError, DiskFile};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, ErrorKind},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// Memory of files is in pieces of this size.
const PIECE: u64 = 4096;
/// A torn write is torn between these.
const SECTOR: u64 = 512;

/// A disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    plan: DiskPlan,
    draw: Draw,
    /// What programs see.
    seen: Content,
    /// What a loss of power leaves.
    stable: Content,
    /// What was done and is in no sync that was asked for.
    open: Vec<Done>,
    /// How much was done.
    deeds: u64,
    /// Syncs that are not over, in order.
    epochs: VecDeque<Epoch>,
    /// Counts the starts of the host: whoever was there before must not write any more.
    start: u64,
    /// The start whose program has the directory.
    taken_by: Option<u64>,
    /// How many faults of each kind there are now.
    full: u32,
    failing: u32,
    /// By how long each slowdown makes a sync longer, in ms.
    slow: Vec<u64>,
    /// What was taken of the log.
    lost: Option<Lost>,
}

/// A segment as it was before it was cut or removed.
#[derive(Debug)]
struct Lost {
    name: String,
    number: u64,
    file: File,
}

/// What one sync makes stable.
#[derive(Debug)]
struct Epoch {
    over_at: Duration,
    /// What was done after so many deeds was done after it was asked for.
    asked: u64,
    deeds: Vec<Done>,
}

/// A deed, and how many were done before it.
#[derive(Debug, Clone)]
struct Done {
    number: u64,
    deed: Deed,
}

/// What a sync is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The names in the directory.
    Names,
    /// What is in a file.
    File(u64),
}

/// A change of what is on the disk.
#[derive(Debug, Clone)]
enum Deed {
    Create {
        name: String,
        file: u64,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
    SetLen {
        file: u64,
        len: u64,
    },
    Write {
        file: u64,
        offset: u64,
        data: Vec<u8>,
    },
}

/// Names and files.
#[derive(Debug, Clone, Default)]
struct Content {
    names: BTreeMap<String, u64>,
    files: BTreeMap<u64, File>,
    next_file: u64,
}

#[derive(Debug, Clone, Default)]
struct File {
    len: u64,
    /// What was written, by the number of the piece; the rest is zeros.
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl Disk {
    /// An empty disk.
    pub(crate) fn new(plan: DiskPlan, seed: u64) -> Disk {
        Disk {
            state: Arc::new(Mutex::new(State {
                plan,
                draw: Draw::new(Profile::Service, seed, Stream::ServiceDisk),
                seen: Content::default(),
                stable: Content::default(),
                open: Vec::new(),
                deeds: 0,
                epochs: VecDeque::new(),
                start: 0,
                taken_by: None,
                full: 0,
                failing: 0,
                slow: Vec::new(),
                lost: None,
            })),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while it is locked")
    }

    /// The directory, for the program that runs now.
    pub(crate) fn open_directory(&self) -> Result<SimDirectory, DirectoryError> {
        let mut state = self.state();
        if state.taken_by == Some(state.start) {
            return Err(DirectoryError::Locked);
        }
        let start = state.start;
        state
            .sync(start, Target::Names)
            .map_err(DirectoryError::Io)?;
        state.taken_by = Some(start);
        Ok(SimDirectory {
            disk: self.clone(),
            start,
        })
    }

    /// When all that was asked of it is done.
    pub(crate) fn settles_at(&self) -> Duration {
        let state = self.state();
        state
            .epochs
            .back()
            .map_or(Duration::ZERO, |last| last.over_at)
    }

    /// The program is killed: what it had written stays, what it would still have written does not.
    pub(crate) fn kill(&self, now: Duration) {
        self.state().kill(now);
    }

    /// The power goes: what was not synced is lost, whole or in part.
    pub(crate) fn lose_power(&self, now: Duration) {
        self.state().lose_power(now);
    }

    /// It is another disk from now on, an empty one.
    pub(crate) fn replace(&self, now: Duration) {
        let mut state = self.state();
        state.undone(now);
        state.seen = Content::default();
        state.stable = Content::default();
        state.lost = None;
    }

    /// The end of the log is lost, while no program runs and all is synced: so much of the newest segment
    /// stays, in thousandths of what is written in it, or not even its name. Says what was lost; none
    /// if there is no log, or its end is lost already.
    pub(crate) fn lose_end_of_log(&self, kept: Option<u32>) -> Option<String> {
        let state = &mut *self.state();
        // What was synced by now must not come back later.
        state.settle(simulated());
        let names = state.seen.names.iter();
        let segments = names.filter(|(name, _)| name.ends_with(".log"));
        let (name, number) = segments.max()?;
        let (name, number) = (name.clone(), *number);
        if state.lost.is_some() || state.stable.names.get(&name) != Some(&number) {
            return None;
        }
        let file = state.seen.files.get(&number)?.clone();
        let len = kept.map(|kept| file.used() * u64::from(kept) / 1_000);
        for content in [&mut state.seen, &mut state.stable] {
            match len {
                Some(len) => content.file(number).set_len(len),
                None => drop(content.names.remove(&name)),
            }
        }
        let what = match len {
            Some(len) => format!("{name} is cut to {len} bytes"),
            None => format!("{name} is gone"),
        };
        state.lost = Some(Lost { name, number, file });
        Some(what)
    }

    /// Whether the end of the log is lost.
    pub(crate) fn has_lost_end_of_log(&self) -> bool {
        self.state().lost.is_some()
    }

    /// The end of the log is there again.
    pub(crate) fn put_log_back(&self) {
        let state = &mut *self.state();
        let Some(Lost { name, number, file }) = state.lost.take() else {
            return;
        };
        for content in [&mut state.seen, &mut state.stable] {
            content.names.insert(name.clone(), number);
            content.files.insert(number, file.clone());
        }
    }

    /// A fault begins.
    pub(crate) fn fill(&self, begins: bool) {
        count(&mut self.state().full, begins);
    }

    /// A fault begins or ends.
    pub(crate) fn fail(&self, begins: bool) {
        count(&mut self.state().failing, begins);
    }

    /// A fault begins or ends.
    pub(crate) fn slow(&self, by_ms: u64, begins: bool) {
        let slow = &mut self.state().slow;
        if begins {
            slow.push(by_ms);
        } else {
            let place = slow.iter().position(|other| *other == by_ms);
            slow.remove(place.expect("a slowdown ends after it began"));
        }
    }
}

fn count(faults: &mut u32, begins: bool) {
    *faults = if begins { *faults + 1 } else { *faults - 1 };
}

impl State {
    /// Syncs that are over are over.
    fn settle(&mut self, now: Duration) {
        while self
            .epochs
            .front()
            .is_some_and(|epoch| epoch.over_at <= now)
        {
            let epoch = self.epochs.pop_front().expect("there is one");
            for done in &epoch.deeds {
                self.stable.apply(&done.deed);
            }
        }
    }

    fn act(&mut self, start: u64, deed: Deed) -> io::Result<()> {
        self.settle(simulated());
        self.alive(start)?;
        self.seen.apply(&deed);
        let number = self.deeds;
        self.deeds += 1;
        self.open.push(Done { number, deed });
        Ok(())
    }

    fn alive(&self, start: u64) -> io::Result<()> {
        if start == self.start {
            Ok(())
        } else {
            Err(io::Error::other("the program was killed"))
        }
    }

    fn sync(&mut self, start: u64, target: Target) -> io::Result<()> {
        self.settle(simulated());
        self.alive(start)?;
        if self.failing > 0 {
            return Err(io::Error::other("input/output error"));
        }
        let slow = self.slow.iter().sum::<u64>() * 1_000;
        let us = self.plan.sync_us_max - self.plan.sync_us_min;
        let us = u32::try_from(us).expect("the plan was validated");
        let us = self.plan.sync_us_min + u64::from(self.draw.between(0, us)) + slow;
        let begins = self
            .epochs
            .back()
            .map_or(Duration::ZERO, |last| last.over_at);
        self.epochs.push_back(Epoch {
            over_at: begins.max(simulated()) + Duration::from_micros(us),
            asked: self.deeds,
            deeds: self
                .open
                .extract_if(.., |done| done.deed.target() == target)
                .collect(),
        });
        self.settle(simulated());
        Ok(())
    }

    /// What was done and not synced when the host dies now: the rest was never done.
    fn undone(&mut self, now: Duration) -> Vec<Done> {
        self.settle(now);
        let asked = self.epochs.front().map_or(self.deeds, |epoch| epoch.asked);
        let epochs = self.epochs.drain(..).flat_map(|epoch| epoch.deeds);
        let mut deeds: Vec<Done> = epochs.chain(self.open.drain(..)).collect();
        deeds.retain(|done| done.number < asked);
        deeds.sort_unstable_by_key(|done| done.number);
        self.start += 1;
        deeds
    }

    fn kill(&mut self, now: Duration) {
        let deeds = self.undone(now);
        self.seen = self.stable.clone();
        for done in &deeds {
            self.seen.apply(&done.deed);
        }
        // It is in the memory of the system, and a loss of power may still take it.
        self.open = deeds;
    }

    fn lose_power(&mut self, now: Duration) {
        let deeds = self.undone(now);
        // Now all of it, now nothing, now half.
        let chance = *self.draw.pick(&[0, 1, 2, 2, 2, 3, 4]);
        for done in &deeds {
            for deed in done.deed.torn() {
                if self.draw.chance(chance, 4) {
                    self.stable.apply(&deed);
                }
            }
        }
        self.seen = self.stable.clone();
    }

    fn is_new_piece(&self, file: u64, offset: u64, len: u64) -> bool {
        let pieces = self.seen.files.get(&file).map(|file| &file.pieces);
        let mut touched = offset / PIECE..(offset + len).div_ceil(PIECE);
        touched.any(|piece| pieces.is_none_or(|pieces| !pieces.contains_key(&piece)))
    }
}

impl Deed {
    /// What must be synced so that it stays.
    fn target(&self) -> Target {
        match self {
            Deed::Create { .. } | Deed::Rename { .. } | Deed::Remove { .. } => Target::Names,
            Deed::SetLen { file, .. } | Deed::Write { file, .. } => Target::File(*file),
        }
    }

    /// The parts of it that happen each by itself.
    fn torn(&self) -> Vec<Deed> {
        let Deed::Write { file, offset, data } = self else {
            return vec![self.clone()];
        };
        let mut parts = Vec::new();
        let (mut at, mut rest) = (*offset, data.as_slice());
        while !rest.is_empty() {
            let len = usize::try_from(SECTOR - at % SECTOR).expect("small");
            let (part, later) = rest.split_at(len.min(rest.len()));
            parts.push(Deed::Write {
                file: *file,
                offset: at,
                data: part.to_vec(),
            });
            at += part.len() as u64;
            rest = later;
        }
        parts
    }
}

impl Content {
    fn apply(&mut self, deed: &Deed) {
        match deed {
            Deed::Create { name, file } => {
                self.next_file = self.next_file.max(file + 1);
                // What is in it may be stable before its name is.
                self.files.entry(*file).or_default();
                self.names.insert(name.clone(), *file);
            }
            Deed::Rename { from, to } => {
                // What was not created before the power went cannot be renamed.
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Deed::Remove { name } => {
                self.names.remove(name);
            }
            Deed::SetLen { file, len } => self.file(*file).set_len(*len),
            Deed::Write { file, offset, data } => self.file(*file).write(*offset, data),
        }
    }

    fn file(&mut self, file: u64) -> &mut File {
        self.files.entry(file).or_default()
    }
}

impl File {
    /// Where zeros begin that go on to its end.
    fn used(&self) -> u64 {
        let last = |(piece, bytes): (&u64, &Vec<u8>)| {
            let place = bytes.iter().rposition(|byte| *byte != 0)?;
            Some(piece * PIECE + place as u64 + 1)
        };
        self.pieces.iter().rev().find_map(last).unwrap_or(0)
    }

    fn set_len(&mut self, len: u64) {
        self.pieces.retain(|piece, _| piece * PIECE < len);
        if let Some(last) = self.pieces.get_mut(&(len / PIECE)) {
            last[usize::try_from(len % PIECE).expect("small")..].fill(0);
        }
        self.len = len;
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        self.len = self.len.max(offset + data.len() as u64);
        pieces(offset, data.len(), |piece, within, range| {
            let piece = self.pieces.entry(piece);
            let piece = piece.or_insert_with(|| vec![0; usize::try_from(PIECE).expect("small")]);
            piece[within..within + range.len()].copy_from_slice(&data[range]);
        });
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.len {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        pieces(offset, out.len(), |piece, within, range| {
            let out = &mut out[range];
            match self.pieces.get(&piece) {
                Some(piece) => out.copy_from_slice(&piece[within..within + out.len()]),
                None => out.fill(0),
            }
        });
        Ok(())
    }
}

/// Calls back for each piece that a range of a file touches: with its number, where in it the range
/// begins, and which part of the range it has.
fn pieces(offset: u64, len: usize, mut each: impl FnMut(u64, usize, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < len {
        let at = offset + done as u64;
        let within = usize::try_from(at % PIECE).expect("small");
        let part = (usize::try_from(PIECE).expect("small") - within).min(len - done);
        each(at / PIECE, within, done..done + part);
        done += part;
    }
}

/// The directory of a program. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct SimDirectory {
    disk: Disk,
    start: u64,
}

impl Drop for SimDirectory {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.taken_by == Some(self.start) {
            state.taken_by = None;
        }
    }
}

impl Directory for SimDirectory {
    type File = SimFile;

    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.disk.state().seen.names.contains_key(name))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.disk.state().seen.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let state = self.disk.state();
        let file = state.seen.names.get(name).copied();
        Ok(SimFile {
            disk: self.disk.clone(),
            start: self.start,
            file: file.ok_or(ErrorKind::NotFound)?,
        })
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.disk.state();
        if state.full > 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        // As a file system truncates one that is there: it is the same file, and its name needs no sync.
        let there = state.seen.names.get(name).copied();
        let file = there.unwrap_or(state.seen.next_file);
        let deed = match there {
            Some(file) => Deed::SetLen { file, len: 0 },
            None => Deed::Create {
                name: name.to_owned(),
                file,
            },
        };
        state.act(self.start, deed)?;
        Ok(SimFile {
            disk: self.disk.clone(),
            start: self.start,
            file,
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.disk.state();
        let (from, to) = (from.to_owned(), to.to_owned());
        state.act(self.start, Deed::Rename { from, to })?;
        state.sync(self.start, Target::Names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.disk.state();
        if !state.seen.names.contains_key(name) {
            return Err(ErrorKind::NotFound.into());
        }
        let name = name.to_owned();
        state.act(self.start, Deed::Remove { name })
    }
}

/// An open file.
#[derive(Debug)]
pub(crate) struct SimFile {
    disk: Disk,
    start: u64,
    file: u64,
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        Ok(state.seen.files.get(&self.file).map_or(0, |file| file.len))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.disk.state();
        state.alive(self.start)?;
        let file = state.seen.files.get(&self.file);
        file.ok_or(ErrorKind::NotFound)?.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.full > 0 && state.is_new_piece(self.file, offset, data.len() as u64) {
            return Err(ErrorKind::StorageFull.into());
        }
        let (file, data) = (self.file, data.to_vec());
        state.act(self.start, Deed::Write { file, offset, data })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let now = state.seen.files.get(&self.file).map_or(0, |file| file.len);
        if state.full > 0 && len > now {
            return Err(ErrorKind::StorageFull.into());
        }
        let file = self.file;
        state.act(self.start, Deed::SetLen { file, len })
    }

    fn sync(&self) -> io::Result<()> {
        let target = Target::File(self.file);
        self.disk.state().sync(self.start, target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn disk(sync_us: u64) -> Disk {
        let plan = DiskPlan {
            sync_us_min: sync_us,
            sync_us_max: sync_us,
            snapshot_entries: 10,
            log_segment_bytes: None,
        };
        Disk::new(plan, 1)
    }

    fn text(disk: &Disk, name: &str) -> Option<String> {
        let directory = disk.open_directory().unwrap();
        let file = directory.open(name).ok()?;
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read(0, &mut bytes).unwrap();
        Some(String::from_utf8(bytes).unwrap())
    }

    /// `old` is synced, `new` is not; no time passes outside a simulation, so a sync that takes time
    /// is never over.
    fn written(sync_new: bool) -> Disk {
        let disk = disk(0);
        let directory = disk.open_directory().unwrap();
        let file = directory.create("new").unwrap();
        file.write(0, b"old").unwrap();
        file.sync().unwrap();
        directory.rename("new", "f").unwrap();
        disk.state().plan.sync_us_min = 1;
        disk.state().plan.sync_us_max = 1;
        file.write(0, b"new").unwrap();
        if sync_new {
            file.sync().unwrap();
        }
        disk
    }

    #[test]
    fn what_is_written_is_there_for_who_reads_it() {
        let disk = disk(0);
        let directory = disk.open_directory().unwrap();
        let file = directory.create("f").unwrap();
        file.write(PIECE - 2, b"hello").unwrap();
        let mut bytes = [9; 7];
        file.read(PIECE - 4, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0\0hello");
        file.set_len(PIECE - 1).unwrap();
        file.set_len(PIECE + 1).unwrap();
        file.read(PIECE - 4, &mut bytes[..5]).unwrap();
        assert_eq!(&bytes[..5], b"\0\0h\0\0");
        assert!(file.read(PIECE, &mut bytes).is_err());
    }

    #[test]
    fn a_kill_leaves_what_was_written_and_no_loss_of_power_does() {
        let killed = written(false);
        killed.kill(Duration::ZERO);
        assert_eq!(text(&killed, "f").as_deref(), Some("new"));
        let mut left = BTreeMap::new();
        for _ in 0..100 {
            let lost = written(false);
            // Other luck each time.
            let luck = left.values().sum::<u64>();
            lost.state().draw = Draw::new(Profile::Service, luck, Stream::ServiceDisk);
            lost.lose_power(Duration::ZERO);
            *left.entry(text(&lost, "f").unwrap()).or_default() += 1;
        }
        assert_eq!(left.keys().collect::<Vec<_>>(), ["new", "old"]);
    }

    #[test]
    fn what_comes_after_a_sync_that_is_not_over_has_never_been() {
        let disk = written(true);
        let directory = SimDirectory {
            disk: disk.clone(),
            start: 0,
        };
        directory.open("f").unwrap().write(0, b"later").unwrap();
        disk.kill(Duration::ZERO);
        drop(directory);
        assert_eq!(text(&disk, "f").as_deref(), Some("new"));
    }

    #[test]
    fn a_sync_is_of_one_file_or_of_the_names() {
        let mut left: BTreeMap<_, u32> = BTreeMap::new();
        for luck in 0..200 {
            let disk = written(false);
            disk.state().plan.sync_us_min = 0;
            disk.state().plan.sync_us_max = 0;
            disk.state().draw = Draw::new(Profile::Service, luck, Stream::ServiceDisk);
            let directory = SimDirectory {
                disk: disk.clone(),
                start: 0,
            };
            let other = directory.create("other").unwrap();
            other.write(0, b"other").unwrap();
            other.sync().unwrap();
            directory.open("f").unwrap().sync().unwrap();
            disk.lose_power(Duration::ZERO);
            drop(directory);
            assert_eq!(text(&disk, "f").as_deref(), Some("new"));
            *left.entry(text(&disk, "other")).or_default() += 1;
        }
        let left: Vec<_> = left.into_keys().collect();
        assert_eq!(left, [None, Some("other".to_owned())]);
    }

    #[test]
    fn what_is_removed_comes_back_unless_a_name_was_synced() {
        let mut left = BTreeSet::new();
        for luck in 0..20 {
            for is_synced in [false, true] {
                let disk = written(false);
                let directory = SimDirectory {
                    disk: disk.clone(),
                    start: 0,
                };
                assert_eq!(directory.names().unwrap(), ["f"]);
                disk.state().plan.sync_us_min = 0;
                disk.state().plan.sync_us_max = 0;
                disk.state().draw = Draw::new(Profile::Service, luck, Stream::ServiceDisk);
                directory.create("new").unwrap();
                directory.remove("f").unwrap();
                assert!(directory.remove("f").is_err());
                if is_synced {
                    directory.rename("new", "newer").unwrap();
                }
                disk.lose_power(Duration::ZERO);
                drop(directory);
                left.insert((is_synced, text(&disk, "f").is_some()));
            }
        }
        assert_eq!(left, [(false, false), (false, true), (true, false)].into());
    }

    #[test]
    fn what_is_created_in_the_place_of_another_has_nothing_of_it_under_its_next_name() {
        let mut left = BTreeSet::new();
        for luck in 0..200 {
            let disk = disk(0);
            let directory = disk.open_directory().unwrap();
            disk.state().draw = Draw::new(Profile::Service, luck, Stream::ServiceDisk);
            directory
                .create("new")
                .unwrap()
                .write(0, b"before")
                .unwrap();
            disk.kill(Duration::ZERO);
            drop(directory);
            let directory = SimDirectory {
                disk: disk.clone(),
                start: 1,
            };
            let file = directory.create("new").unwrap();
            file.write(0, b"now").unwrap();
            file.sync().unwrap();
            disk.state().plan.sync_us_min = 1;
            disk.state().plan.sync_us_max = 1;
            directory.rename("new", "f").unwrap();
            disk.lose_power(Duration::ZERO);
            drop(directory);
            left.insert(text(&disk, "f"));
        }
        assert_eq!(left, [None, Some("now".to_owned())].into());
    }

    #[test]
    fn who_was_killed_writes_no_more_and_holds_nothing() {
        let disk = disk(0);
        let directory = disk.open_directory().unwrap();
        assert!(matches!(disk.open_directory(), Err(DirectoryError::Locked)));
        let file = directory.create("f").unwrap();
        disk.kill(Duration::ZERO);
        assert!(file.write(0, b"x").is_err() && file.sync().is_err());
        let next = disk.open_directory().unwrap();
        drop(directory);
        assert!(disk.open_directory().is_err(), "the next one has it");
        drop(next);
        disk.open_directory().unwrap();
    }

    #[test]
    fn the_end_of_a_log_is_lost_and_put_back() {
        let whole = format!("{}end", "x".repeat(9_000));
        for (kept, left) in [(None, None), (Some(0), Some(0)), (Some(999), Some(8_993))] {
            let disk = disk(0);
            assert_eq!(disk.lose_end_of_log(kept), None, "there is no log");
            let directory = disk.open_directory().unwrap();
            for name in ["lockwright-1.log", "lockwright-2.log"] {
                let file = directory.create("new").unwrap();
                file.write(0, whole.as_bytes()).unwrap();
                file.write(whole.len() as u64, &[0; 5_000]).unwrap();
                file.sync().unwrap();
                directory.rename("new", name).unwrap();
            }
            drop(directory);
            assert!(!disk.has_lost_end_of_log());
            assert!(disk.lose_end_of_log(kept).is_some());
            assert!(disk.has_lost_end_of_log());
            assert_eq!(disk.lose_end_of_log(kept), None, "it is lost once");
            disk.lose_power(Duration::ZERO);
            let now = text(&disk, "lockwright-2.log").map(|text| text.len());
            assert_eq!(now, left, "{kept:?}");
            let other = text(&disk, "lockwright-1.log").unwrap();
            assert_eq!(other.len(), whole.len() + 5_000);
            disk.put_log_back();
            assert!(!disk.has_lost_end_of_log());
            disk.lose_power(Duration::ZERO);
            assert_eq!(text(&disk, "lockwright-2.log").unwrap(), other);
        }
    }

    #[test]
    fn a_full_disk_and_one_that_fails_say_so() {
        let disk = disk(0);
        let directory = disk.open_directory().unwrap();
        let file = directory.create("f").unwrap();
        file.write(0, b"x").unwrap();
        disk.fill(true);
        file.write(1, b"y").unwrap();
        let full = file.write(PIECE, b"x").unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        disk.fill(false);
        file.write(PIECE, b"x").unwrap();
        disk.fail(true);
        assert!(file.sync().is_err());
        disk.fail(false);
        file.sync().unwrap();
    }
}
