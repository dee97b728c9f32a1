//! A copy of the state at one instant, for what takes long to be made of it.

use crate::{Engine, LockInfo, SessionKey, Snapshot, index::Index, owners::OwnerId};
use std::collections::BTreeMap;

/// The state of an [`Engine`] as it was when [`Engine::copy`] made this. It shares its records with the engine,
/// which copies those that it changes, a few at a time, while this is there: let go of it as soon as it has
/// served.
#[derive(Debug)]
pub struct EngineCopy {
    /// Without what finds records by name and by time.
    engine: Engine,
}

/// The live requests of a session as they were when [`Engine::session_copy`] made this, with the same cost to the
/// engine as an [`EngineCopy`].
#[derive(Debug)]
pub struct SessionCopy {
    copy: EngineCopy,
    session: OwnerId,
}

impl Engine {
    /// A copy of the state as it is now, which can go to another thread. Cost: linear in the most that was in
    /// use at once since the engine was last empty, but some hundred times less than [`Engine::snapshot`].
    #[must_use]
    pub fn copy(&mut self) -> EngineCopy {
        let engine = Engine {
            limits: self.limits.clone(),
            tree: self.tree.share(),
            owners: self.owners.share(),
            requests: self.requests.share(),
            ended: self.ended.share(),
            by_id: Index::default(),
            // They are known from their owners.
            sessions: BTreeMap::new(),
            due: BTreeMap::new(),
            forget: self.forget.clone(),
            freed: Vec::new(),
            ..*self
        };
        EngineCopy { engine }
    }

    /// A copy of an open session's live requests, at the cost of [`Engine::copy`]; none if it is not open.
    #[must_use]
    pub fn session_copy(&mut self, session: &SessionKey) -> Option<SessionCopy> {
        let session = self.find_session(session).ok()?;
        let copy = self.copy();
        Some(SessionCopy { copy, session })
    }
}

impl EngineCopy {
    /// The whole state: that of [`Engine::snapshot`] when the copy was made, at the same cost.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.engine.snapshot()
    }
}

impl SessionCopy {
    /// The requests, in arrival order. Cost: that of what is taken from it.
    pub fn locks(&self) -> impl Iterator<Item = LockInfo> {
        self.copy.engine.locks_of(self.session)
    }
}
