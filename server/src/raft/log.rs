//! The log in the store.
//!
//! Its end is in memory too: what is not durable yet can only be read there, and what is about to be
//! applied need not be read from the disk.

use super::{
    codec::{decode, encode},
    types::{Entry, LogId, Types, Vote},
};
use crate::store::{Change, Store, StoreError};
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
};
use std::{
    collections::VecDeque,
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard},
};

/// Durable entries that stay in memory, at most.
const TAIL_MAX: usize = 4096;

const VOTE_KEY: &str = "vote";
const PURGED_KEY: &str = "purged";

/// The log. Clones are the same log.
#[derive(Clone)]
pub(super) struct Log {
    store: Store,
    end: Arc<Mutex<End>>,
}

/// What is known without the disk.
struct End {
    purged: Option<LogId>,
    last: Option<LogId>,
    vote: Option<Vote>,
    /// The last entries, one after the other.
    tail: VecDeque<Entry>,
    /// Entries before this index are durable.
    durable: u64,
}

impl Log {
    /// The log of a store.
    pub(super) fn open(store: Store) -> Result<Log, StoreError> {
        let meta = |key| store.meta(key);
        let purged: Option<LogId> = meta(PURGED_KEY)?
            .map(|bytes| decode(&bytes, "the start of the log"))
            .transpose()?;
        let vote = meta(VOTE_KEY)?
            .map(|bytes| decode(&bytes, "the vote"))
            .transpose()?;
        let last = match store.last_entry()? {
            Some((index, bytes)) => Some(decode_entry(index, &bytes)?.log_id),
            None => purged,
        };
        let end = End {
            purged,
            last,
            vote,
            tail: VecDeque::new(),
            durable: last.map_or(0, |last| last.index + 1),
        };
        Ok(Log {
            store,
            end: Arc::new(Mutex::new(end)),
        })
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().expect("nobody panics while it is locked")
    }

    fn read(&self, from: u64, before: u64) -> Result<Vec<Entry>, StoreError> {
        let (first_in_memory, last) = {
            let end = self.end();
            (end.first_in_memory(), end.last)
        };
        let before = before.min(last.map_or(0, |last| last.index + 1));
        let mut entries = Vec::new();
        if from < first_in_memory && from < before {
            let rows = self.store.entries(from..=first_in_memory.min(before) - 1)?;
            for (index, bytes) in rows {
                entries.push(decode_entry(index, &bytes)?);
            }
        }
        let end = self.end();
        // What was let go of meanwhile is read from the store.
        if end.first_in_memory() > first_in_memory {
            drop(end);
            return self.read(from, before);
        }
        let (skipped, wanted) = (
            from.saturating_sub(first_in_memory),
            before.saturating_sub(from.max(first_in_memory)),
        );
        let in_memory = |count| usize::try_from(count).unwrap_or(usize::MAX);
        let tail = end.tail.iter();
        let tail = tail.skip(in_memory(skipped)).take(in_memory(wanted));
        entries.extend(tail.cloned());
        Ok(entries)
    }
}

impl End {
    /// Entries from this index on are in memory.
    fn first_in_memory(&self) -> u64 {
        let first = self.tail.front().map(|entry| entry.log_id.index);
        first.unwrap_or_else(|| self.last.map_or(0, |last| last.index + 1))
    }

    fn push(&mut self, entry: Entry) {
        let index = entry.log_id.index;
        if let Some(back) = self.tail.back() {
            assert_eq!(back.log_id.index + 1, index, "the log has no holes");
        }
        self.last = Some(entry.log_id);
        self.tail.push_back(entry);
    }

    /// Lets go of what is durable and long ago.
    fn forget(&mut self) {
        let durable = self.durable;
        while self.tail.len() > TAIL_MAX
            && self
                .tail
                .front()
                .is_some_and(|entry| entry.log_id.index < durable)
        {
            self.tail.pop_front();
        }
    }
}

fn decode_entry(index: u64, bytes: &[u8]) -> Result<Entry, StoreError> {
    let entry: Entry = decode(bytes, "an entry of the log")?;
    if entry.log_id.index == index {
        Ok(entry)
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
        Ok(self.read(from, before)?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.end().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let end = self.end();
        Ok(LogState {
            last_purged_log_id: end.purged,
            last_log_id: end.last,
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
        self.end().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut changes = Vec::new();
        let mut next = 0;
        {
            let mut end = self.end();
            for entry in entries {
                let index = entry.index();
                let bytes = encode(&entry);
                changes.push(Change::PutEntry { index, bytes });
                end.push(entry);
                next = index + 1;
            }
            end.forget();
        }
        let end = self.end.clone();
        let done = move |result: Result<(), StoreError>| {
            if result.is_ok() {
                let mut end = end.lock().expect("nobody panics while it is locked");
                end.durable = end.durable.max(next);
            }
            callback.io_completed(result.map_err(io::Error::from));
        };
        self.store.change(changes, Box::new(done));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = last.map_or(0, |last| last.index + 1);
        {
            let mut end = self.end();
            while end
                .tail
                .pop_back_if(|entry| entry.log_id.index >= from)
                .is_some()
            {}
            end.last = end.last.min(last).max(end.purged);
            end.durable = end.durable.min(from);
        }
        let changes = vec![Change::TruncateLog { from }];
        Ok(self.store.make(changes).await?)
    }

    async fn purge(&mut self, up_to: LogId) -> Result<(), io::Error> {
        {
            let mut end = self.end();
            assert!(
                end.purged.is_none_or(|purged| purged <= up_to),
                "the start of the log does not go back"
            );
            end.purged = Some(up_to);
            end.last = end.last.max(Some(up_to));
            while end
                .tail
                .pop_front_if(|entry| entry.log_id <= up_to)
                .is_some()
            {}
        }
        let changes = vec![
            Change::PutMeta {
                key: PURGED_KEY,
                bytes: encode(&up_to),
            },
            Change::PurgeLog { up_to: up_to.index },
        ];
        // Nobody waits for it: when it is lost, the log begins earlier than it need. A failure of
        // the store is told to whoever runs the server.
        self.store.change(changes, Box::new(|_| {}));
        Ok(())
    }
}
