//! Copies of the state at one instant, for what takes long to be made of it.

use crate::{
    Engine, LockState, Name, SessionKey, Snapshot, TimeMs,
    index::Index,
    requests::{Request, RequestId, from_on},
    slab::Slab,
};
use std::collections::BTreeMap;

/// The state of an [`Engine`] as it was when [`Engine::copy`] made this. It shares its records with the engine,
/// which copies those that it changes, some at a time, while this is there: let go of it as soon as it has served.
#[derive(Debug)]
pub struct EngineCopy {
    /// Without what finds records by name and by time.
    engine: Engine,
}

/// The live requests of a session as they were when [`Engine::session_copy`] made this. It shares the requests of
/// all with the engine, as an [`EngineCopy`] does.
#[derive(Debug)]
pub struct SessionCopy {
    requests: Slab<Request>,
    first: Option<RequestId>,
}

/// A live request of a session, without what it claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRequest {
    /// Its id.
    pub id: Name,
    /// Queued or held.
    pub state: LockState,
    /// When it arrived.
    pub arrived_at: TimeMs,
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
            ended_claims: None,
            ..*self
        };
        EngineCopy { engine }
    }

    /// A copy of an open session's live requests; none if it is not open. Cost: linear in the live requests of
    /// all, but less than a hundredth of a look at each.
    #[must_use]
    pub fn session_copy(&mut self, session: &SessionKey) -> Option<SessionCopy> {
        let owner = self.find_session(session).ok()?;
        Some(SessionCopy {
            requests: self.requests.share(),
            first: self.owners[owner].first,
        })
    }

    /// The live requests of a session, in arrival order; none if it is not open. Cost: that of what is taken
    /// from it.
    pub fn session_requests(&self, session: &SessionKey) -> impl Iterator<Item = SessionRequest> {
        let owner = self.find_session(session).ok();
        let first = owner.and_then(|owner| self.owners[owner].first);
        from_on(&self.requests, first).map(SessionRequest::of)
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
    pub fn requests(&self) -> impl Iterator<Item = SessionRequest> {
        from_on(&self.requests, self.first).map(SessionRequest::of)
    }
}

impl SessionRequest {
    fn of(request: &Request) -> SessionRequest {
        SessionRequest {
            id: request.id.clone(),
            state: request.state(),
            arrived_at: request.arrived_at,
        }
    }
}
