//! Sessions: owners that live as long as somebody shows signs of life (SEMANTICS section 4).

use crate::{
    DurationMs, EndReason, Engine, Event, EventKind, InvalidRequest, LimitName, Name, Owner,
    Refusal, SessionChange, SessionKey,
    acquire::within,
    ended::Ends,
    engine::{Rank, Subject},
    index::Known,
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
            kept: Ends::default(),
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
        let mut kept = session.kept;
        // The owner's record stays until the session's end is complete.
        while let Some(request) = kept.first(&mut self.ended) {
            kept.pop();
            self.forget_request(request);
            self.ended.remove(request);
        }
        self.owners.drop_if_idle(id);
        self.grant_freed(events);
    }

    /// A session will not ask for these requests again: they are forgotten (SEMANTICS section 4). Those that
    /// are not known need no forgetting.
    pub(crate) fn done(&mut self, key: &SessionKey, ids: &[Name]) -> Result<(), Refusal> {
        let owner = self.find_session(key)?;
        let known = ids.iter().filter_map(|id| {
            let hash = self.owners.hash_of_request(owner, id);
            self.find_of(owner, id, hash)
        });
        let mut ended = Vec::with_capacity(ids.len());
        for known in known {
            match known {
                Known::Live(_) => return Err(Refusal::InvalidRequest(InvalidRequest::NotOver)),
                Known::Ended(id) => ended.push(id),
            }
        }
        // One that was named twice is forgotten once.
        ended.sort_unstable_by_key(|id| id.raw());
        ended.dedup();
        for id in ended {
            self.forget_request(id);
            let list = match self.ended[id].is_kept() {
                false => &mut self.forget,
                true => {
                    let session = self.owners[owner].session.as_mut();
                    &mut session.expect("the session is open").kept
                }
            };
            list.done_with(id, &mut self.ended);
        }
        Ok(())
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
