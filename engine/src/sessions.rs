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

/// How long after a slice of a session's end the next one comes.
pub(crate) const NEXT_SLICE: DurationMs = DurationMs::MILLISECOND;

impl Engine {
    pub(crate) fn open_session(
        &mut self,
        key: &SessionKey,
        abandon: DurationMs,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let owner = self.find_owner(key);
        if owner.is_some_and(|owner| self.owners[owner].session.is_some()) {
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
            has_ended: false,
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
        self.stop_timer(id);
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
            self.start_timer(id, self.session(id).abandon);
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
            self.stop_timer(id);
            self.start_timer(id, self.session(id).abandon);
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
        self.begin_end(id, events);
        Ok(())
    }

    /// What a session has become due for: its end begins, or goes on.
    pub(crate) fn session_due(&mut self, id: OwnerId, events: &mut Vec<Event>) {
        if self.owners[id].is_ending {
            self.stop_timer(id);
            self.end_slice(id, events);
        } else {
            self.begin_end(id, events);
        }
    }

    /// The end of a session begins: it is over for all who name it, and what it kept is forgotten.
    fn begin_end(&mut self, id: OwnerId, events: &mut Vec<Event>) {
        // How much it keeps, and so how long its end takes, is not a question of when the engine was told
        // the time last.
        self.forget_due();
        self.stop_timer(id);
        self.owners[id].is_ending = true;
        self.uncount_remembered(id, self.session(id).kept.len());
        self.end_slice(id, events);
    }

    /// As much of the end of a session as there is in one millisecond: its first live requests end, in
    /// arrival order, and with the last of them the session; then what it kept is given back. Then whoever
    /// that set free is granted, in arrival order.
    fn end_slice(&mut self, id: OwnerId, events: &mut Vec<Event>) {
        let mut left = self.limits.session_ends_per_ms.get();
        while left > 0
            && let Some(request) = self.owners[id].first
        {
            self.end(request, EndReason::SessionEnded, events);
            left -= 1;
        }
        if self.owners[id].first.is_none() {
            self.tell_end(id, events);
            self.give_back_kept(id, left);
        }
        if self.owners[id].live == 0 && self.session(id).kept.len() == 0 {
            self.drop_session(id);
        } else {
            self.start_timer(id, NEXT_SLICE);
        }
        self.grant_freed(events);
    }

    /// Nothing of an ending session is live: it has ended, if that was not told before.
    fn tell_end(&mut self, id: OwnerId, events: &mut Vec<Event>) {
        assert_eq!(
            self.owners[id].live, 0,
            "nothing of an ended session is live"
        );
        if !self.session(id).has_ended {
            self.open_or_ending(id).has_ended = true;
            self.tell_session(id, SessionChange::Ended, events);
        }
    }

    /// Gives back so many of the ended requests that an ending session kept.
    fn give_back_kept(&mut self, id: OwnerId, most: u32) {
        let mut kept = std::mem::take(&mut self.open_or_ending(id).kept);
        for _ in 0..most {
            let Some(request) = kept.first(&mut self.ended) else {
                break;
            };
            kept.pop();
            self.take_from_index(request);
            self.ended.remove(request);
        }
        self.open_or_ending(id).kept = kept;
    }

    /// Nothing of a session is left: its name is free.
    fn drop_session(&mut self, id: OwnerId) {
        let owner = &mut self.owners[id];
        owner.is_ending = false;
        let session = owner.session.take().expect("it is there until now");
        assert!(session.has_ended, "a session goes when it has ended");
        self.sessions.remove(&session.opening);
        self.owners.drop_if_idle(id);
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

    /// The session that a command names, if it is open.
    pub(crate) fn find_session(&self, key: &SessionKey) -> Result<OwnerId, Refusal> {
        let found = self.find_owner(key);
        let open = found.filter(|id| self.owners[*id].is_open());
        open.ok_or(Refusal::UnknownSession)
    }

    /// The record of a session's name, if there is one.
    pub(crate) fn find_owner(&self, key: &SessionKey) -> Option<OwnerId> {
        let owner = Owner::Session(key.session.clone());
        self.owners.find(&key.namespace, &owner)
    }

    /// A session that is there: open, ending, or ended and not given back.
    pub(crate) fn session(&self, id: OwnerId) -> &Session {
        let session = self.owners[id].session.as_ref();
        session.expect("the session is there")
    }

    fn open_or_ending(&mut self, id: OwnerId) -> &mut Session {
        let session = self.owners[id].session.as_mut();
        session.expect("the session is there")
    }

    /// The session is due in so long.
    fn start_timer(&mut self, id: OwnerId, after: DurationMs) {
        let ends_at = self.now.after(after);
        let session = self.open_or_ending(id);
        assert!(session.ends_at.is_none(), "the timer does not run yet");
        session.ends_at = Some(ends_at);
        let rank = Rank::Session(session.opening);
        self.due.insert((ends_at, rank), Subject::Session(id));
    }

    fn stop_timer(&mut self, id: OwnerId) {
        let session = self.open_or_ending(id);
        let rank = Rank::Session(session.opening);
        if let Some(ends_at) = session.ends_at.take() {
            let removed = self.due.remove(&(ends_at, rank));
            assert!(removed.is_some(), "a running timer is scheduled");
        }
    }

    fn tell_session(&self, id: OwnerId, change: SessionChange, events: &mut Vec<Event>) {
        let session = self.owners.session_key(id);
        self.tell(EventKind::Session { session, change }, events);
    }
}
