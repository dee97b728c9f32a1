//! The log in the store.
//!
//! All of it that is not purged is in memory too: what is about to be applied need not be read from
//! the disk, and what is not durable yet could not be.

use super::state::place;
use super::{
    admission::Admission,
    codec::{decode, encode},
    types::{Entry, LogId, Types, Vote},
};
use crate::{
    Probe, RaftEvent,
    proposal::{Action, DiskId},
    store::{Change, EntryRow, LogChange, Store, StoreError},
};
use openraft::{
    EntryPayload, LogState, OptionalSend, RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard},
};

const VOTE_KEY: &str = "vote";

/// The log. Clones are the same log.
#[derive(Clone)]
pub(super) struct Log {
    store: Store,
    memory: Arc<Mutex<Memory>>,
    admission: Admission,
    probe: Arc<dyn Probe>,
}

/// What is known without the disk.
struct Memory {
    purged: Option<LogId>,
    last: Option<LogId>,
    vote: Option<Vote>,
    /// The entries after the purged ones, one after the other, each with its length in bytes.
    entries: VecDeque<(Entry, usize)>,
    /// Those of them, by index, with which a node joins, and with what disk, or is forgotten.
    nodes: BTreeMap<u64, (u64, Option<DiskId>)>,
}

/// Entries that go to another node at once have at most so many bytes, or are one.
const GROUP_BYTES_MAX: usize = 4 << 20;

impl Log {
    /// The log of a store, as far as it comes after the last entry of the snapshot.
    pub(super) fn open(
        store: Store,
        snapshot: Option<LogId>,
        admission: Admission,
        probe: Arc<dyn Probe>,
    ) -> Result<Log, StoreError> {
        let vote = store
            .meta(VOTE_KEY)?
            .map(|bytes| decode(&bytes, "the vote"))
            .transpose()?;
        let rows = store.open_log(snapshot.map_or(0, |last| last.index + 1))?;
        let entries = rows.iter().map(decode_entry);
        let entries: VecDeque<(Entry, usize)> = entries.collect::<Result<_, _>>()?;
        entries.iter().for_each(|(entry, _)| admission.note(entry));
        let mut memory = Memory {
            purged: snapshot,
            last: snapshot,
            vote,
            entries: VecDeque::new(),
            nodes: BTreeMap::new(),
        };
        for (entry, length) in entries {
            memory.push(entry, length);
        }
        Ok(Log {
            store,
            memory: Arc::new(Mutex::new(memory)),
            admission,
            probe,
        })
    }

    /// Tells of the vote that was found, which must be on the disk by now.
    pub(super) fn tell_vote(&self) {
        if let Some(vote) = self.memory().vote {
            tell_vote(&*self.probe, &vote);
        }
    }

    /// The term and the index of its last entry; 0 without one.
    pub(super) fn last_entry(&self) -> (u64, u64) {
        self.memory().last.map_or((0, 0), |last| {
            let (index, term) = place(&last);
            (term, index)
        })
    }

    /// What the entries after `applied` say of a node, in their order: the disk with which it joins, or none
    /// when it is forgotten. They need not be agreed on.
    pub(super) fn node_after(&self, node: u64, applied: u64) -> Vec<Option<DiskId>> {
        let memory = self.memory();
        let after = memory.nodes.range(applied + 1..);
        let of_node = after.filter(|(_, (of, _))| *of == node);
        of_node.map(|(_, (_, disk))| *disk).collect()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        let locked = self.memory.lock();
        locked.expect("nobody panics while it is locked")
    }
}

impl Memory {
    /// Where in `entries` the entry of an index is, or would be.
    fn place(&self, index: u64) -> usize {
        let first = self
            .entries
            .front()
            .map_or(index, |(entry, _)| entry.log_id.index);
        let place = usize::try_from(index.saturating_sub(first));
        place.map_or(self.entries.len(), |place| place.min(self.entries.len()))
    }

    fn read(&self, from: u64, before: u64) -> Vec<Entry> {
        let (from, before) = (self.place(from), self.place(before));
        let wanted = self.entries.range(from..before.max(from));
        wanted.map(|(entry, _)| entry.clone()).collect()
    }

    /// As many as go to another node at once.
    fn read_some(&self, from: u64, before: u64) -> Vec<Entry> {
        let (from, before) = (self.place(from), self.place(before));
        let mut bytes = 0;
        let mut some = Vec::new();
        for (entry, length) in self.entries.range(from..before.max(from)) {
            bytes += length;
            if bytes > GROUP_BYTES_MAX && !some.is_empty() {
                break;
            }
            some.push(entry.clone());
        }
        some
    }

    fn push(&mut self, entry: Entry, length: usize) {
        if let Some((back, _)) = self.entries.back() {
            let next = back.log_id.index + 1;
            assert_eq!(next, entry.log_id.index, "the log has no holes");
        }
        self.last = Some(entry.log_id);
        if let Some(about) = about_node(&entry) {
            self.nodes.insert(entry.log_id.index, about);
        }
        self.entries.push_back((entry, length));
    }
}

fn tell_vote(probe: &dyn Probe, vote: &Vote) {
    probe.raft(RaftEvent::Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.voted_for,
        is_committed: vote.committed,
    });
}

/// The node that an entry is about, and the disk with which it joins; none when it is forgotten.
fn about_node(entry: &Entry) -> Option<(u64, Option<DiskId>)> {
    let EntryPayload::Normal(proposal) = &entry.payload else {
        return None;
    };
    match *proposal.action {
        Action::Join { disk } => Some((proposal.origin?.node, Some(disk))),
        Action::Gone {
            node, forget: true, ..
        } => Some((node, None)),
        _ => None,
    }
}

fn decode_entry((index, bytes): &EntryRow) -> Result<(Entry, usize), StoreError> {
    let entry: Entry = decode(bytes, "an entry of the log")?;
    if entry.log_id.index == *index {
        Ok((entry, bytes.len()))
    } else {
        Err(StoreError::damaged(format!(
            "the entry {} of the log is in the place of {index}",
            entry.log_id.index
        )))
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, io::Error> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let before = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(before) => *before,
            Bound::Unbounded => u64::MAX,
        };
        Ok(self.memory().read(from, before))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        Ok(self.memory().read_some(start, end))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.memory().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let memory = self.memory();
        Ok(LogState {
            last_purged_log_id: memory.purged,
            last_log_id: memory.last,
        })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let bytes = encode(vote);
        let change = Change::PutMeta {
            key: VOTE_KEY,
            bytes,
        };
        self.store.make(vec![change]).await?;
        self.memory().vote = Some(*vote);
        // Told when it counts: when it is on the disk, and before another node hears of it.
        tell_vote(&*self.probe, vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let is_written = !self.store.is_in_memory();
        let mut rows = Vec::new();
        {
            let mut memory = self.memory();
            for entry in entries {
                let mut length = 0;
                if is_written {
                    let bytes = encode(&entry);
                    length = bytes.len();
                    rows.push((entry.index(), bytes));
                }
                let (index, term) = place(&entry.log_id);
                self.probe.raft(RaftEvent::Appended { index, term });
                if let EntryPayload::Membership(members) = &entry.payload {
                    let learners = members.learner_ids().collect();
                    let voters = members.get_joint_config();
                    self.probe.members(index, term, voters, &learners);
                }
                self.admission.note(&entry);
                memory.push(entry, length);
            }
        }
        let done = move |result: Result<(), StoreError>| {
            callback.io_completed(result.map_err(io::Error::from));
        };
        self.store
            .change_log(LogChange::Append(rows), Box::new(done));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = last.map_or(0, |last| last.index + 1);
        {
            let mut memory = self.memory();
            let place = memory.place(from);
            memory.entries.truncate(place);
            memory.nodes.split_off(&from);
            memory.last = memory.last.min(last).max(memory.purged);
        }
        self.store.make_log(LogChange::Truncate { from }).await?;
        // Told when the disk has it: after a crash before, the log is as long as it was.
        self.probe.raft(RaftEvent::Truncated { from });
        Ok(())
    }

    async fn purge(&mut self, up_to: LogId) -> Result<(), io::Error> {
        {
            let mut memory = self.memory();
            assert!(
                memory.purged.is_none_or(|purged| purged <= up_to),
                "the start of the log does not go back"
            );
            memory.purged = Some(up_to);
            memory.last = memory.last.max(Some(up_to));
            let place = memory.place(up_to.index + 1);
            memory.entries.drain(..place);
            memory.nodes = memory.nodes.split_off(&(up_to.index + 1));
        }
        // Nobody waits for it: when it is lost, the log begins earlier than it need. A failure of
        // the store is told to whoever runs the server.
        let up_to = up_to.index;
        let change = LogChange::Purge { up_to };
        self.store.change_log(change, Box::new(|_| {}));
        Ok(())
    }
}
