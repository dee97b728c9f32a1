//! Applying the log to the machine, and keeping snapshots of it.
//!
//! A snapshot is one text of bytes in parts, and a record that says which parts count: it is written
//! when they are all durable, and only then the parts of the one before go. The parts are not
//! written at once, so that other changes get in between.
//!
//! What is kept in memory alone is never read back, so there a snapshot is only the note that the log
//! may begin later; its bytes are made when somebody asks for them.

use super::{
    codec::{decode, encode},
    types::{Entry, LogId, Snapshot, SnapshotMeta, StoredMembership, Types},
};
use crate::{
    RaftEvent,
    machine::{Machine, MachineCopy, NodeRecord, Outcome, Saved, Setup},
    proposal::{Diverged, Ignored, Proposal},
    sighting::Watchers,
    store::{Change, Store, StoreError},
};
use futures_util::{Stream, TryStreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, Weak},
};
use tokio::sync::mpsc;

/// The record of the snapshot that counts.
const SNAPSHOT_KEY: &str = "snapshot";

/// Bytes of a part of a snapshot.
const PART_BYTES: usize = 1 << 20;

/// What has happened to the state, in order.
pub(crate) enum News {
    /// A proposal was applied.
    Applied(Applied),
    /// An entry was applied that does nothing to the state.
    Passed,
    /// The state is that of a snapshot of another node now: what happened before is not known here.
    Jumped,
}

/// A proposal that was applied, and what it came to.
pub(crate) struct Applied {
    /// The term in which it was appended.
    pub(crate) term: u64,
    pub(crate) proposal: Arc<Proposal>,
    pub(crate) result: Result<Box<Outcome>, Ignored>,
}

/// The state of the replica. Clones are the same state.
#[derive(Clone)]
pub(super) struct State {
    inner: Arc<Mutex<Inner>>,
    store: Store,
    setup: Setup,
    news: mpsc::UnboundedSender<News>,
    /// Held while a snapshot is written or read: one may be taken while another one comes from
    /// another node, and the parts of the one before go as soon as the next one is there.
    snapshots: Arc<tokio::sync::Mutex<()>>,
}

/// The state of the replica, as long as it is there.
#[derive(Clone)]
pub(super) struct WeakState(Weak<Mutex<Inner>>);

impl WeakState {
    /// What the log says of a node, as far as it is applied.
    pub(super) fn node(&self, id: u64) -> Option<NodeRecord> {
        self.0.upgrade()?.lock().ok()?.machine.node(id)
    }
}

struct Inner {
    machine: Machine,
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: Option<Record>,
}

/// Which snapshot counts, and what it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The number under which its parts are; it gets it when they are written.
    number: u64,
    applied: Option<LogId>,
    membership: StoredMembership,
    /// The SHA-256 of its bytes. Equal states have equal bytes, so this is a hash of the state.
    hash: [u8; 32],
}

impl State {
    /// The state of a store. What happens to it is told to `news`.
    pub(super) fn open(
        store: Store,
        setup: Setup,
        news: mpsc::UnboundedSender<News>,
    ) -> Result<State, StoreError> {
        let snapshot: Option<Record> = store
            .meta(SNAPSHOT_KEY)?
            .map(|bytes| decode(&bytes, "the record of the snapshot"))
            .transpose()?;
        let inner = match snapshot {
            None => Inner {
                machine: Machine::new(setup.clone()),
                applied: None,
                membership: StoredMembership::default(),
                snapshot: None,
            },
            Some(record) => Inner {
                machine: restore_kept(&store.snapshot(record.number)?, &record, setup.clone())?,
                applied: record.applied,
                membership: record.membership.clone(),
                snapshot: Some(record),
            },
        };
        if let Some(last) = &inner.applied {
            // Also when it was installed in the moment before a crash, too late to be told.
            let (index, term) = place(last);
            setup.probe.raft(RaftEvent::Installed { index, term });
        }
        Ok(State {
            inner: Arc::new(Mutex::new(inner)),
            store,
            setup,
            news,
            snapshots: Arc::default(),
        })
    }

    /// The same state, which is gone when nothing else has it.
    pub(super) fn downgrade(&self) -> WeakState {
        WeakState(Arc::downgrade(&self.inner))
    }

    /// Looks at the machine as it is now.
    pub(super) fn with_machine<T>(&self, look: impl FnOnce(&Machine) -> T) -> T {
        look(&self.inner().machine)
    }

    #[cfg(test)]
    pub(super) fn save(&self) -> Saved {
        self.inner().machine.copy().save()
    }

    /// Those who are told of all that happens.
    pub(super) fn watchers(&self) -> &Watchers {
        &self.setup.watchers
    }

    /// The index of the last entry that was applied; 0 without one.
    pub(super) fn applied_index(&self) -> u64 {
        self.inner().applied.map_or(0, |applied| applied.index)
    }

    /// The last entry that the snapshot has; none without a snapshot.
    pub(super) fn snapshot_id(&self) -> Option<LogId> {
        let inner = self.inner();
        inner.snapshot.as_ref().and_then(|record| record.applied)
    }

    /// The index of the last entry that the snapshot has; 0 without a snapshot.
    pub(super) fn snapshot_index(&self) -> u64 {
        self.snapshot_id().map_or(0, |applied| applied.index)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("what panicked while it was locked is over, and all with it")
    }

    /// Keeps a snapshot in the place of the one before, unless that has more.
    async fn keep(&self, mut record: Record, bytes: &[u8]) -> Result<(), StoreError> {
        let _writing = self.snapshots.lock().await;
        let before = self.inner().snapshot.clone();
        if before
            .as_ref()
            .is_some_and(|before| before.applied > record.applied)
        {
            return Ok(());
        }
        record.number = before.map_or(0, |before| before.number + 1);
        let snapshot = record.number;
        let mut parts = 0;
        for bytes in bytes.chunks(PART_BYTES) {
            let change = Change::PutPart {
                snapshot,
                part: parts,
                bytes: bytes.to_vec(),
            };
            self.store.make(vec![change]).await?;
            parts += 1;
        }
        let changes = vec![
            Change::PutMeta {
                key: SNAPSHOT_KEY,
                bytes: encode(&record),
            },
            Change::KeepSnapshot { snapshot, parts },
        ];
        self.store.make(changes).await?;
        self.inner().snapshot = Some(record);
        Ok(())
    }
}

impl Inner {
    fn apply(&mut self, entry: &Entry) -> Result<Option<Applied>, Diverged> {
        self.applied = Some(entry.log_id);
        Ok(match &entry.payload {
            EntryPayload::Blank => None,
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                None
            }
            EntryPayload::Normal(proposal) => {
                let (index, term) = place(&entry.log_id);
                Some(Applied {
                    term,
                    proposal: proposal.clone(),
                    result: self.machine.apply(index, term, proposal)?.map(Box::new),
                })
            }
        })
    }
}

/// The index and the term of an entry.
pub(super) fn place(id: &LogId) -> (u64, u64) {
    (id.index, id.committed_leader_id().term)
}

impl Record {
    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        }
    }
}

/// The machine of a snapshot of the store.
fn restore_kept(bytes: &[u8], record: &Record, setup: Setup) -> Result<Machine, StoreError> {
    if hash(bytes) != record.hash {
        return Err(StoreError::damaged(
            "the snapshot is not the one that was written",
        ));
    }
    restore(bytes, setup)
}

fn restore(bytes: &[u8], setup: Setup) -> Result<Machine, StoreError> {
    let saved: Saved = decode(bytes, "the snapshot")?;
    Machine::restore(saved, setup).map_err(|error| StoreError::damaged(error.to_string()))
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Takes a snapshot of the state as it was when this was made.
pub(super) struct Builder {
    state: State,
    /// None when it need not be kept.
    copy: Option<MachineCopy>,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let mut record = Record {
            number: 0,
            applied: self.applied,
            membership: self.membership.clone(),
            hash: [0; 32],
        };
        let meta = record.meta();
        let snapshot = match self.copy.take() {
            Some(copy) => {
                // The copy goes there too, since to let go of it may mean to free all of a state.
                let encoded = self.state.store.compute(move || {
                    let bytes = encode(&copy.save());
                    (hash(&bytes), bytes)
                });
                let (hash, bytes) = encoded.await?;
                record.hash = hash;
                self.state.keep(record, &bytes).await?;
                bytes
            }
            None => {
                self.state.inner().snapshot = Some(record);
                Vec::new()
            }
        };
        Ok(Snapshot { meta, snapshot })
    }
}

impl RaftStateMachine<Types> for State {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let inner = self.inner();
        Ok((inner.applied, inner.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let (index, term) = place(&entry.log_id);
            self.setup.probe.raft(RaftEvent::Applies { index, term });
            let applied = self.inner().apply(&entry);
            let applied = applied.map_err(io::Error::other)?;
            // Nobody listens any more when the server stops.
            let _ = self.news.send(applied.map_or(News::Passed, News::Applied));
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let mut inner = self.inner();
        Builder {
            state: self.clone(),
            copy: (!self.store.is_in_memory()).then(|| inner.machine.copy()),
            applied: inner.applied,
            membership: inner.membership.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Vec<u8>,
    ) -> Result<(), io::Error> {
        let mut record = Record {
            number: 0,
            applied: meta.last_log_id,
            membership: meta.last_membership.clone(),
            hash: [0; 32],
        };
        let setup = self.setup.clone();
        let restored = self.store.compute(move || {
            let machine = restore(&snapshot, setup)?;
            Ok::<_, StoreError>((machine, hash(&snapshot), snapshot))
        });
        let (machine, hash, snapshot) = restored.await??;
        record.hash = hash;
        if self.store.is_in_memory() {
            self.inner().snapshot = Some(record);
        } else {
            self.keep(record, &snapshot).await?;
        }
        if let Some(last) = &meta.last_log_id {
            let (index, term) = place(last);
            self.setup.probe.raft(RaftEvent::Installed { index, term });
        }
        let before = {
            let mut inner = self.inner();
            inner.applied = meta.last_log_id;
            inner.membership = meta.last_membership.clone();
            // Nobody listens any more when the server stops.
            let _ = self.news.send(News::Jumped);
            std::mem::replace(&mut inner.machine, machine)
        };
        // It is installed, whatever becomes of the one before.
        let _ = self.store.compute(move || drop(before)).await;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let _reading = self.snapshots.lock().await;
        let record = self.inner().snapshot.clone();
        let Some(record) = record else {
            return Ok(None);
        };
        if self.store.is_in_memory() {
            let (meta, copy) = {
                let mut inner = self.inner();
                let meta = SnapshotMeta {
                    last_log_id: inner.applied,
                    last_membership: inner.membership.clone(),
                };
                (meta, inner.machine.copy())
            };
            let snapshot = self.store.compute(move || encode(&copy.save())).await?;
            return Ok(Some(Snapshot { meta, snapshot }));
        }
        let store = self.store.clone();
        let number = record.number;
        let snapshot = self.store.compute(move || store.snapshot(number)).await??;
        Ok(Some(Snapshot {
            meta: record.meta(),
            snapshot,
        }))
    }
}
