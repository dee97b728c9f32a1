//! Sessions: owners that live as long as somebody shows signs of life (SEMANTICS section 4).

use crate::{
    DurationMs, EndReason, Engine, Event, EventKind, InvalidRequest, LimitName, Owner, Refusal,
    SessionChange, SessionKey,
    acquire::within,
    engine::{Rank, Subject},
    owners::{Opening, OwnerId, Session},
};

impl Engine {
    pub(crate) fn open_session(
        &mut self,
        key: &SessionKey,
        abandon: DurationMs,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        if self.find_session(key).is_ok() {
            return Err(Refusal::InvalidRequest(InvalidRequest::SessionOpen));
        }
        within(
            LimitName::Sessions,
            self.limits.sessions,
            self.sessions.len() + 1,
        )?;
        self.check_namespace(&key.namespace)?;
        let owner = Owner::Session(key.session.clone());
        let id = self.owners.find_or_add(&key.namespace, &owner);
        let opening = self.next_opening;
        self.next_opening = Opening(opening.0 + 1);
        let session = Session {
            opening,
            abandon,
            ends_at: None,
            kept: Vec::new(),
        };
        self.owners[id].session = Some(Box::new(session));
        self.sessions.insert(opening, id);
        self.tell_session(id, SessionChange::Open, events);
        Ok(())
    }

    pub(crate) fn attach(
        &mut self,
        key: &SessionKey,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let id = self.find_session(key)?;
        self.stop_abandon_timer(id);
        self.tell_session(id, SessionChange::Attached, events);
        Ok(())
    }

    pub(crate) fn detach(
        &mut self,
        key: &SessionKey,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let id = self.find_session(key)?;
        if self.session(id).ends_at.is_none() {
            self.start_abandon_timer(id);
        }
        self.tell_session(id, SessionChange::Detached, events);
        Ok(())
    }

    pub(crate) fn keep_alive(
        &mut self,
        key: &SessionKey,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let id = self.find_session(key)?;
        if self.session(id).ends_at.is_some() {
            self.stop_abandon_timer(id);
            self.start_abandon_timer(id);
        }
        self.tell_session(id, SessionChange::Alive, events);
        Ok(())
    }

    pub(crate) fn close_session(
        &mut self,
        key: &SessionKey,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let id = self.find_session(key)?;
        self.end_session(id, events);
        Ok(())
    }

    /// Ends a session: all its live requests in arrival order, then itself, and then whoever that
    /// set free is granted, in arrival order.
    pub(crate) fn end_session(&mut self, id: OwnerId, events: &mut Vec<Event>) {
        self.stop_abandon_timer(id);
        while let Some(request) = self.owners[id].first {
            self.end(request, EndReason::SessionEnded, events);
        }
        assert_eq!(
            self.owners[id].live, 0,
            "nothing of an ended session is live"
        );
        self.tell_session(id, SessionChange::Ended, events);
        let session = self.owners[id].session.take().expect("the session is open");
        self.sessions.remove(&session.opening);
        self.kept -= session.kept.len();
        for request in session.kept {
            self.forget_kept(id, request);
        }
        self.owners.drop_if_idle(id);
        self.grant_freed(events);
    }

    /// Forgets a request that was remembered only because its session lived. The owner's record
    /// stays until the session's end is complete.
    fn forget_kept(&mut self, owner: OwnerId, request: crate::requests::RequestId) {
        self.by_id.remove(request, &self.requests);
        let forgotten = self.requests.remove(request);
        assert!(
            !forgotten.is_live() && forgotten.owner == owner,
            "it is an ended one of ours"
        );
        self.owners[owner].remembered -= 1;
    }

    pub(crate) fn find_session(&self, key: &SessionKey) -> Result<OwnerId, Refusal> {
        let owner = Owner::Session(key.session.clone());
        let id = self
            .owners
            .find(&key.namespace, &owner)
            .ok_or(Refusal::UnknownSession)?;
        if self.owners[id].session.is_some() {
            Ok(id)
        } else {
            Err(Refusal::UnknownSession)
        }
    }

    pub(crate) fn session(&self, id: OwnerId) -> &Session {
        self.owners[id]
            .session
            .as_ref()
            .expect("the session is open")
    }

    fn start_abandon_timer(&mut self, id: OwnerId) {
        let now = self.now;
        let session = self.owners[id]
            .session
            .as_mut()
            .expect("the session is open");
        assert!(session.ends_at.is_none(), "the timer does not run yet");
        let ends_at = now.after(session.abandon);
        session.ends_at = Some(ends_at);
        self.due.insert(
            (ends_at, Rank::Session(session.opening)),
            Subject::Session(id),
        );
    }

    fn stop_abandon_timer(&mut self, id: OwnerId) {
        let session = self.owners[id]
            .session
            .as_mut()
            .expect("the session is open");
        if let Some(ends_at) = session.ends_at.take() {
            let removed = self.due.remove(&(ends_at, Rank::Session(session.opening)));
            assert!(removed.is_some(), "a running timer is scheduled");
        }
    }

    fn tell_session(&self, id: OwnerId, change: SessionChange, events: &mut Vec<Event>) {
        let session = self.owners.session_key(id);
        self.tell(EventKind::Session { session, change }, events);
    }
}
