//! What people are told of sessions and requests: the labels, and how much of them there may be.

use super::{Machine, Step};
use crate::translate;
use lockwright_engine::{
    Command, LimitName, LockInfo, LockKey, LockState, Refusal, Reply, SessionKey,
};
use lockwright_protocol::Label;
use std::collections::BTreeMap;

/// Bytes of all labels together. They are kept in memory and in each snapshot.
const BYTES_IN_ALL_MAX: usize = 256 << 20;

/// A live request, or one as it was before it ended, and what people are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labelled {
    pub(crate) lock: LockInfo,
    /// Its own label, or that of its session.
    pub(crate) label: Option<Label>,
}

/// The labels of live requests that have one of their own.
#[derive(Debug, Default)]
pub(super) struct Labels {
    requests: BTreeMap<LockKey, Label>,
    /// Bytes of these and of the labels of sessions.
    bytes: usize,
}

impl Labels {
    /// Those of requests, with those of sessions that are kept elsewhere.
    pub(super) fn new<'a>(
        requests: BTreeMap<LockKey, Label>,
        sessions: impl Iterator<Item = &'a Label>,
    ) -> Labels {
        let of_sessions: usize = sessions.map(bytes).sum();
        let of_requests: usize = requests.values().map(bytes).sum();
        Labels {
            requests,
            bytes: of_sessions + of_requests,
        }
    }

    pub(super) fn requests(&self) -> &BTreeMap<LockKey, Label> {
        &self.requests
    }

    fn has_room_for(&self, label: &Label) -> bool {
        self.bytes + bytes(label) <= BYTES_IN_ALL_MAX
    }

    fn put(&mut self, lock: &LockKey, label: &Label) {
        self.count(Some(label));
        let before = self.requests.insert(lock.clone(), label.clone());
        assert!(before.is_none(), "a request gets its label once");
    }

    /// A request has ended.
    pub(super) fn forget(&mut self, lock: &LockKey) {
        if self.requests.is_empty() {
            return;
        }
        let label = self.requests.remove(lock);
        self.uncount(label.as_ref());
    }

    /// A session has this label from now on.
    pub(super) fn count(&mut self, label: Option<&Label>) {
        self.bytes += label.map_or(0, bytes);
    }

    /// A session with this label has ended.
    pub(super) fn uncount(&mut self, label: Option<&Label>) {
        let left = self.bytes.checked_sub(label.map_or(0, bytes));
        self.bytes = left.expect("what goes was counted");
    }
}

fn bytes(label: &Label) -> usize {
    label.as_str().len()
}

impl Machine {
    /// What people are told of a live request: its own label, or that of its session.
    pub(crate) fn label(&self, lock: &LockKey) -> Option<&Label> {
        let own = self.labels.requests.get(lock);
        own.or_else(|| self.session_label(&translate::session_of(lock)?))
    }

    /// What people are told of an open session.
    pub(crate) fn session_label(&self, session: &SessionKey) -> Option<&Label> {
        self.sessions.get(session)?.label.as_ref()
    }

    /// A request with its label.
    pub(crate) fn labelled(&self, lock: LockInfo) -> Labelled {
        let label = self.label(&lock.key).cloned();
        Labelled { lock, label }
    }
}

impl Step<'_> {
    /// Applies a command; a request that it makes gets the label.
    pub(super) fn run_labelled(
        &mut self,
        command: &Command,
        label: Option<&Label>,
    ) -> Result<Reply, Refusal> {
        let (Some(label), Command::Acquire { lock, .. }) = (label, command) else {
            return self.run(command);
        };
        if self.machine.engine.lock(lock).is_none() {
            self.need_room_for(label)?;
        }
        let result = self.run(command);
        if let Ok(Reply::Acquired {
            fresh: true, state, ..
        }) = result
        {
            assert!(
                !matches!(state, LockState::Ended { .. }),
                "a new request lives"
            );
            self.machine.labels.put(lock, label);
        }
        result
    }

    /// Whether there may be one more label.
    pub(super) fn need_room_for(&mut self, label: &Label) -> Result<(), Refusal> {
        if self.machine.labels.has_room_for(label) {
            return Ok(());
        }
        // What is due may end some.
        self.pass_time();
        let labels = &self.machine.labels;
        match labels.has_room_for(label) {
            true => Ok(()),
            false => Err(Refusal::LimitExceeded {
                limit: LimitName::LabelBytesInAll,
                max: u32::try_from(BYTES_IN_ALL_MAX).unwrap_or(u32::MAX),
                got: u64::try_from(labels.bytes + bytes(label)).unwrap_or(u64::MAX),
            }),
        }
    }
}
