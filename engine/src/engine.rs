//! The state machine: time, grants and ends. Asking for locks is in `acquire`, sessions in
//! `sessions`, questions in `inspect`, saving in `snapshot`.

use crate::{
    Claim, Command, DurationMs, EndReason, Event, EventKind, HashKey, InvalidRequest, Limits,
    LockKey, Name, Refusal, Reply, TimeMs, Token,
    claims::ClaimsDigest,
    ended::{Ended, EndedId, Ends},
    ended_claims::EndedClaims,
    index::{Hashes, Index, Known, SPARSE},
    owners::{Opening, OwnerId, Owners},
    requests::{Phase, Request, RequestId},
    slab::Slab,
    tree::{Arrival, Tree},
};
use std::collections::BTreeMap;

/// How an [`Engine`] is set up.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// How much of everything it takes on.
    pub limits: Limits,
    /// The secret key of its hash tables. No result depends on it; whoever serves clients that it
    /// does not trust draws it at random, so that they cannot make names collide.
    pub hash_key: HashKey,
    /// The token of the first grant, by default 1, at most 2^62. A service that keeps nothing over a restart
    /// chooses one above all that it gave before.
    pub first_token: Token,
}

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig {
            limits: Limits::default(),
            hash_key: HashKey::default(),
            first_token: Token(1),
        }
    }
}

/// The lock engine: a pure state machine.
///
/// Feed it commands with [`apply`](Engine::apply), each with its time; everything else asks. Tell
/// it the time (with [`Command::Tick`]) at [`next_deadline`](Engine::next_deadline), so that
/// leases run out when they are due even if nobody asks for anything: how often it is told changes
/// nothing but when the events come out.
///
/// Two engines that have applied the same commands are equal.
///
/// ```
/// use lockwright_engine::*;
///
/// let mut engine = Engine::new(EngineConfig::default());
/// let mut events = Vec::new();
/// let acquire = Command::Acquire {
///     lock: LockKey {
///         namespace: Name::new("default")?,
///         owner: Owner::Named(Name::new("alice")?),
///         id: Name::new("L1")?,
///     },
///     claims: vec![Claim::write(Path::parse("a/b")?)],
///     ttl: Some(DurationMs::from_secs(1)),
///     wait: Wait::Forever,
/// };
/// engine.apply(TimeMs::ZERO, &acquire, &mut events)?;
/// assert!(matches!(events[0].kind, EventKind::Granted { token: Token(1), .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) limits: Limits,
    pub(crate) now: TimeMs,
    pub(crate) next_token: Token,
    pub(crate) next_arrival: Arrival,
    pub(crate) next_opening: Opening,
    pub(crate) tree: Tree,
    pub(crate) owners: Owners,
    /// Live requests.
    pub(crate) requests: Slab<Request>,
    /// Requests that have ended, a few of them done with.
    pub(crate) ended: Slab<Ended>,
    /// Live and remembered requests.
    pub(crate) by_id: Index,
    /// Sessions, until all of them is given back, in the order of opening.
    pub(crate) sessions: BTreeMap<Opening, OwnerId>,
    /// What is due, in the order in which it happens (SEMANTICS section 3).
    pub(crate) due: BTreeMap<(TimeMs, Rank), Subject>,
    /// Ended requests whose retention has not passed.
    pub(crate) forget: Ends,
    /// How many ended requests are remembered, those that open sessions keep beyond their retention
    /// among them.
    pub(crate) remembered: usize,
    /// Requests that an end has unblocked and that are granted within the same event.
    pub(crate) freed: Vec<RequestId>,
    /// What requests claimed that have ended, for those who are told of it; none when nobody is.
    pub(crate) ended_claims: Option<EndedClaims>,
}

/// The order of what is due at the same time: requests by arrival, then sessions by opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Request(Arrival),
    Session(Opening),
}

/// What is due.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject {
    Request(RequestId),
    Session(OwnerId),
}

/// No counter (of tokens, arrivals, openings) starts above this, so that none ever ends: a billion a
/// second would take a century from here to 2^63.
pub(crate) const COUNTER_MAX: u64 = 1 << 62;

#[cfg(test)]
mod tests;

/// An emptied list with room for at most this many keeps its memory.
const KEPT_ROOM: usize = 1024;

impl Engine {
    /// An empty engine at time zero.
    #[must_use]
    pub fn new(config: EngineConfig) -> Engine {
        assert!(
            (1..=COUNTER_MAX).contains(&config.first_token.0),
            "the first token is from 1 to 2^62"
        );
        Engine {
            limits: config.limits,
            now: TimeMs::ZERO,
            next_token: config.first_token,
            next_arrival: Arrival(0),
            next_opening: Opening(0),
            tree: Tree::new(config.hash_key),
            owners: Owners::new(config.hash_key),
            requests: Slab::new(),
            ended: Slab::new(),
            by_id: Index::default(),
            sessions: BTreeMap::new(),
            due: BTreeMap::new(),
            forget: Ends::default(),
            remembered: 0,
            freed: Vec::new(),
            ended_claims: None,
        }
    }

    /// From now on keeps for [`Engine::take_ended_claims`] what each request claimed that ends, as far as that has
    /// at most so many bytes, or stops doing so. It is no part of the state, and changes nothing of what happens.
    pub fn keep_ended_claims(&mut self, bytes_max: Option<usize>) {
        if bytes_max.is_some() || self.ended_claims.is_some() {
            self.ended_claims = bytes_max.map(EndedClaims::new);
        }
    }

    /// What each request claimed that has ended since [`Engine::keep_ended_claims`] or the last call, in the order
    /// of their events; none if it was too much, or is not kept.
    pub fn take_ended_claims(&mut self) -> Option<Vec<Vec<Claim>>> {
        self.ended_claims.as_mut()?.take()
    }

    /// Applies `command` at time `at`; a time earlier than the latest is read as the latest, and one
    /// after [`TimeMs::LATEST`] as that.
    ///
    /// First everything due at or before that time happens, each at its own time. Events are
    /// appended to `events` in the order in which things happened; take them out before the next
    /// call, since an event's lock or session can be asked for until then.
    ///
    /// # Errors
    /// A [`Refusal`]: then the command changed nothing (what was due happened all the same).
    pub fn apply(
        &mut self,
        at: TimeMs,
        command: &Command,
        events: &mut Vec<Event>,
    ) -> Result<Reply, Refusal> {
        let now = at.min(TimeMs::LATEST).max(self.now);
        self.run_due(now, events);
        self.now = now;
        self.forget_due();
        let reply = self.carry_out(command, events);
        // An abandon timeout of zero is due at once.
        self.run_due(now, events);
        assert!(
            self.freed.is_empty(),
            "whoever was set free has been granted"
        );
        assert!(
            self.next_deadline().is_none_or(|due| due > now),
            "nothing due is left"
        );
        reply
    }

    fn carry_out(&mut self, command: &Command, events: &mut Vec<Event>) -> Result<Reply, Refusal> {
        match command {
            Command::Acquire {
                lock,
                claims,
                ttl,
                wait,
            } => {
                return self.acquire(lock, claims, *ttl, *wait, events);
            }
            Command::Renew { lock, token, ttl } => {
                return self.renew(lock, *token, *ttl, events);
            }
            Command::Cancel { lock } => self.cancel(lock, events)?,
            Command::Release { lock, token } => self.release(lock, *token, events)?,
            Command::Break { lock, token } => self.break_lock(lock, *token, events)?,
            Command::OpenSession { session, abandon } => {
                self.open_session(session, *abandon, events)?;
            }
            Command::Attach { session } => self.attach(session, events)?,
            Command::Detach { session } => self.detach(session, events)?,
            Command::KeepAlive { session } => self.keep_alive(session, events)?,
            Command::Done { session, ids } => self.done(session, ids)?,
            Command::CloseSession { session } => self.close_session(session, events)?,
            Command::Tick => {}
        }
        Ok(Reply::Done)
    }

    /// The latest time that the engine was told.
    #[must_use]
    pub fn now(&self) -> TimeMs {
        self.now
    }

    /// When something is due next (the end of a lease, a wait deadline, the end of a session);
    /// none if nothing is. That ended requests are forgotten needs no telling of the time, but for
    /// [their memory](Engine::next_forget).
    #[must_use]
    pub fn next_deadline(&self) -> Option<TimeMs> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// When the retention of an ended request passes next; none if none is remembered but by its session.
    /// The next command after that forgets it, and all others that are past their retention: who has no
    /// command may give a [`Command::Tick`], soon or late, to have the memory back.
    #[must_use]
    pub fn next_forget(&self) -> Option<TimeMs> {
        let first = self.forget.front()?;
        Some(self.ended[first].at().after(self.limits.retention))
    }

    /// The limits that the engine was set up with.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The token that the next grant will get.
    #[must_use]
    pub fn next_token(&self) -> Token {
        self.next_token
    }

    /// Grants take no smaller token than `first` from now on, nor than 2^62 if it is larger. Nothing else
    /// changes.
    pub fn tokens_from(&mut self, first: Token) {
        self.next_token = self.next_token.max(Token(first.0.min(COUNTER_MAX)));
    }

    /// Everything due at or before `now` happens, one after the other, each at its own time, and
    /// what each sets free is granted within it (SEMANTICS section 3).
    fn run_due(&mut self, now: TimeMs, events: &mut Vec<Event>) {
        while let Some(entry) = self.due.first_entry() {
            let (at, _) = *entry.key();
            if at > now {
                break;
            }
            assert!(at >= self.now, "nothing that was due has been passed over");
            self.now = at;
            match *entry.get() {
                Subject::Request(id) => {
                    let reason = match self.requests[id].phase {
                        Phase::Queued { .. } => EndReason::TimedOut,
                        Phase::Held { .. } => EndReason::Expired,
                    };
                    self.end(id, reason, events);
                    self.grant_freed(events);
                }
                Subject::Session(owner) => self.session_due(owner, events),
            }
        }
    }

    /// Forgets the ended requests whose retention has passed; those of an open session are kept
    /// until it ends (SEMANTICS section 4).
    pub(crate) fn forget_due(&mut self) {
        while let Some(id) = self.forget.first(&mut self.ended) {
            let due = self.ended[id].at().after(self.limits.retention);
            if due > self.now {
                break;
            }
            self.forget.pop();
            let owner = self.ended[id].owner;
            let record = &mut self.owners[owner];
            match &mut record.session {
                Some(session) if !record.is_ending => {
                    self.ended[id].keep();
                    session.kept.push(id);
                }
                _ => {
                    self.forget_request(id);
                    self.ended.remove(id);
                    self.owners.drop_if_idle(owner);
                }
            }
        }
        self.give_back();
    }

    /// Frees the id of an ended request. The record goes with its place in the list that it is in.
    pub(crate) fn forget_request(&mut self, id: EndedId) {
        self.take_from_index(id);
        self.uncount_remembered(self.ended[id].owner, 1);
    }

    /// So many ended requests of an owner are not remembered any more.
    pub(crate) fn uncount_remembered(&mut self, owner: OwnerId, count: usize) {
        let owner = &mut self.owners[owner];
        let left = (owner.remembered as usize).checked_sub(count);
        let left = left.expect("a remembered request is counted by its owner");
        owner.remembered = u32::try_from(left).expect("it was larger before");
        self.remembered -= count;
    }

    /// An ended request cannot be found any more.
    pub(crate) fn take_from_index(&mut self, id: EndedId) {
        let record = &self.ended[id];
        let hash = self.owners.hash_of_ended(record);
        self.by_id.remove(hash, Known::Ended(id));
        let hashes = Hashes {
            requests: &self.requests,
            ended: &self.ended,
            owners: &self.owners,
        };
        self.by_id.give_back(hash, &hashes);
    }

    /// Gives memory back after there were far more requests than there are.
    fn give_back(&mut self) {
        let room = self.ended.places();
        let left = self.ended.len() + self.sessions.len();
        if room > KEPT_ROOM && left * SPARSE < room {
            self.move_ended();
        }
    }

    fn move_ended(&mut self) {
        let mut to = Slab::new();
        let (by_id, owners) = (&mut self.by_id, &mut self.owners);
        let from = &mut self.ended;
        let mut moves = Vec::new();
        let mut note = |before, after| moves.push((before, after));
        self.forget.move_to(from, &mut to, &mut note);
        for owner in self.sessions.values() {
            if let Some(session) = &mut owners[*owner].session {
                session.kept.move_to(from, &mut to, &mut note);
            }
        }
        assert_eq!(from.len(), 0, "every record is in a list");
        // All are taken out before the first is put in: one may move to where another one was.
        for (before, after) in &moves {
            let hash = owners.hash_of_ended(&to[*after]);
            by_id.remove(hash, Known::Ended(*before));
        }
        self.ended = to;
        let hashes = Hashes {
            requests: &self.requests,
            ended: &self.ended,
            owners: &self.owners,
        };
        for (_, after) in moves {
            let hash = self.owners.hash_of_ended(&self.ended[after]);
            self.by_id.insert(hash, Known::Ended(after), &hashes);
        }
    }

    /// Grants a request that nothing blocks: takes the next token and starts the lease.
    pub(crate) fn grant(&mut self, id: RequestId, events: &mut Vec<Event>) -> Token {
        let token = self.next_token;
        self.next_token = Token(token.0 + 1);
        let request = &mut self.requests[id];
        assert!(request.is_queued(), "only who waits is granted");
        assert_eq!(request.blocked, 0, "whom something blocks is not granted");
        let expires = request.ttl.map(|ttl| self.now.after(ttl));
        request.phase = Phase::Held {
            token,
            granted_at: self.now,
            expires,
        };
        self.schedule(id);
        let request = &self.requests[id];
        self.tell(
            EventKind::Granted {
                lock: self.owners.lock_key(request.owner, &request.id),
                token,
                expires,
                arrived_at: request.arrived_at,
            },
            events,
        );
        token
    }

    /// Grants, in arrival order, whom the ends of this event have set free.
    pub(crate) fn grant_freed(&mut self, events: &mut Vec<Event>) {
        if self.freed.is_empty() {
            return;
        }
        let mut freed = std::mem::take(&mut self.freed);
        // Who ended within this same event, with its session, is not granted, nor who will end so.
        freed.retain(|id| {
            self.requests
                .get(*id)
                .is_some_and(|it| self.may_be_granted(it))
        });
        freed.sort_unstable_by_key(|id| self.requests[*id].arrival);
        for id in freed.drain(..) {
            self.unschedule(id);
            self.count_queued(id, |queued| queued - 1);
            self.grant(id, events);
        }
        if freed.capacity() <= KEPT_ROOM {
            self.freed = freed;
        }
    }

    /// Whether a request may be granted when nothing blocks it.
    fn may_be_granted(&self, request: &Request) -> bool {
        request.is_queued() && !self.owners[request.owner].is_ending
    }

    /// Ends a live request: it leaves the tree and its owner's list, and is remembered. Whom it
    /// sets free is collected for [`Engine::grant_freed`].
    pub(crate) fn end(&mut self, id: RequestId, reason: EndReason, events: &mut Vec<Event>) {
        if let Some(mut kept) = self.ended_claims.take() {
            kept.keep(|| self.claims_of(&self.requests[id]));
            self.ended_claims = Some(kept);
        }
        self.unschedule(id);
        if self.requests[id].is_queued() {
            self.count_queued(id, |queued| queued - 1);
        }
        let request = &mut self.requests[id];
        let token = request.token();
        let owner = request.owner;
        let entry = request.first_entry.take();
        let entry = entry.expect("a live request is on the tree");
        let mut digest = ClaimsDigest::default();
        self.tree.remove(
            self.owners.root_mut(owner),
            entry,
            &mut self.requests,
            &mut self.freed,
            Some(&mut digest),
        );
        self.owners.unlink(&mut self.requests, id);
        let request = self.requests.remove(id);
        let lock = self.owners.lock_key(owner, &request.id);
        let end = (reason, self.now, token);
        let ended = self
            .ended
            .insert(Ended::new(owner, request.id, end, digest.kept()));
        self.by_id
            .replace(request.hash, Known::Live(id), Known::Ended(ended));
        self.forget.push(ended);
        self.owners[owner].remembered += 1;
        self.remembered += 1;
        self.tell(EventKind::Ended { lock, reason }, events);
    }

    /// Sets the alarm of a live request, if it has a deadline.
    pub(crate) fn schedule(&mut self, id: RequestId) {
        let request = &self.requests[id];
        if let Some(at) = request.due() {
            let other = self
                .due
                .insert((at, Rank::Request(request.arrival)), Subject::Request(id));
            assert!(other.is_none(), "a request has one deadline at a time");
        }
    }

    pub(crate) fn unschedule(&mut self, id: RequestId) {
        let request = &self.requests[id];
        if let Some(at) = request.due() {
            let removed = self.due.remove(&(at, Rank::Request(request.arrival)));
            assert!(removed.is_some(), "a deadline is scheduled");
        }
    }

    /// Counts a request in or out as queued on each node that it claims.
    pub(crate) fn count_queued(&mut self, id: RequestId, count: impl Fn(u32) -> u32) {
        let mut next = self.requests[id].first_entry;
        while let Some(entry) = next {
            let entry = self.tree.entry(entry);
            next = entry.next_of_request;
            if entry.mode.claimed().is_some() {
                let node = entry.node;
                let queued = &mut self.tree.node_mut(node).queued;
                *queued = count(*queued);
            }
        }
    }

    pub(crate) fn tell(&self, kind: EventKind, events: &mut Vec<Event>) {
        events.push(Event { at: self.now, kind });
    }

    /// The request that a command names, live or remembered.
    pub(crate) fn find(&self, lock: &LockKey) -> Option<Known> {
        let hash = self.owners.hash_of(&lock.namespace, &lock.owner);
        self.find_hashed(lock, hash.of_request(&lock.id))
    }

    /// The same with the hash of the key, under which the request is tabled.
    pub(crate) fn find_hashed(&self, lock: &LockKey, hash: u64) -> Option<Known> {
        let found = self.by_id.find(hash, |known| {
            let (owner, id) = self.named(known);
            *id == lock.id && self.owners.names(lock, owner)
        });
        found.filter(|known| match known {
            Known::Live(_) => true,
            Known::Ended(id) => !self.is_forgotten(*id),
        })
    }

    /// Whether an ended request is forgotten and only there to be given back: its session kept it, and is
    /// ending.
    fn is_forgotten(&self, id: EndedId) -> bool {
        let ended = &self.ended[id];
        ended.is_kept() && self.owners[ended.owner].is_ending
    }

    /// The request of this id of an owner, live or remembered; `hash` is that of its key.
    pub(crate) fn find_of(&self, owner: OwnerId, id: &Name, hash: u64) -> Option<Known> {
        self.by_id
            .find(hash, |known| self.named(known) == (owner, id))
    }

    /// Whose request it is, and its id.
    fn named(&self, known: Known) -> (OwnerId, &Name) {
        match known {
            Known::Live(id) => (self.requests[id].owner, &self.requests[id].id),
            Known::Ended(id) => (self.ended[id].owner, &self.ended[id].id),
        }
    }

    /// The live request that a command names; refused as `over` when it has ended.
    fn find_live(&self, lock: &LockKey, over: Refusal) -> Result<RequestId, Refusal> {
        match self.find(lock) {
            Some(Known::Live(id)) => Ok(id),
            Some(Known::Ended(_)) => Err(over),
            None => Err(Refusal::UnknownLock),
        }
    }

    /// The lock that a command names, held, with the token that comes with the command.
    fn find_held(&self, lock: &LockKey, given: Token) -> Result<RequestId, Refusal> {
        let id = self.find_live(lock, Refusal::NotHeld)?;
        match self.requests[id].phase {
            Phase::Held { token, .. } if token == given => Ok(id),
            Phase::Held { .. } => Err(Refusal::StaleToken { given }),
            Phase::Queued { .. } => Err(Refusal::NotHeld),
        }
    }

    fn end_and_grant(&mut self, id: RequestId, reason: EndReason, events: &mut Vec<Event>) {
        self.end(id, reason, events);
        self.grant_freed(events);
    }

    fn release(
        &mut self,
        lock: &LockKey,
        token: Token,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let id = self.find_held(lock, token)?;
        self.end_and_grant(id, EndReason::Released, events);
        Ok(())
    }

    fn cancel(&mut self, lock: &LockKey, events: &mut Vec<Event>) -> Result<(), Refusal> {
        let id = self.find_live(lock, Refusal::NotQueued)?;
        if !self.requests[id].is_queued() {
            return Err(Refusal::NotQueued);
        }
        self.end_and_grant(id, EndReason::Cancelled, events);
        Ok(())
    }

    fn break_lock(
        &mut self,
        lock: &LockKey,
        token: Option<Token>,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let id = self.find_live(lock, Refusal::NotHeld)?;
        let request = &self.requests[id];
        match token {
            Some(given) if request.token() != token => return Err(Refusal::StaleToken { given }),
            _ => {}
        }
        self.end_and_grant(id, EndReason::Broken, events);
        Ok(())
    }

    fn renew(
        &mut self,
        lock: &LockKey,
        token: Token,
        ttl: DurationMs,
        events: &mut Vec<Event>,
    ) -> Result<Reply, Refusal> {
        if ttl.is_zero() {
            return Err(Refusal::InvalidRequest(InvalidRequest::ZeroTtl));
        }
        let id = self.find_held(lock, token)?;
        self.unschedule(id);
        let renewed = self.now.after(ttl);
        match &mut self.requests[id].phase {
            Phase::Held { expires, .. } => *expires = Some(renewed),
            Phase::Queued { .. } => unreachable!("the lock is held"),
        }
        self.schedule(id);
        self.tell(
            EventKind::Renewed {
                lock: lock.clone(),
                expires: renewed,
            },
            events,
        );
        Ok(Reply::Renewed { expires: renewed })
    }

    /// Checks all of the state against itself: for tests and for the finder, at the cost of a walk
    /// over everything.
    ///
    /// # Panics
    /// When an invariant does not hold.
    pub fn check(&self) {
        self.tree.check();
        assert!(self.freed.is_empty());
        assert_eq!(
            self.by_id.len(),
            self.requests.len() + self.remembered + self.forgotten(),
            "every request can be named"
        );
        self.check_ended();
        let mut due = self
            .sessions
            .values()
            .filter(|owner| self.session_ends(**owner))
            .count();
        let mut entries = 0;
        for (id, request) in self.requests.iter() {
            assert!(
                request.is_queued() || request.blocked == 0,
                "whom something blocks waits"
            );
            assert!(
                !self.may_be_granted(request) || request.blocked > 0,
                "who is free is granted, unless it ends with its session"
            );
            assert!(request.first_entry.is_some(), "a live request has claims");
            for entry in self.tree.chain(request.first_entry) {
                assert_eq!((entry.request, entry.arrival), (id, request.arrival));
                entries += 1;
            }
            if let Some(at) = request.due() {
                assert!(at > self.now, "what is due has happened");
                assert!(self.due.contains_key(&(at, Rank::Request(request.arrival))));
                due += 1;
            }
        }
        assert_eq!(due, self.due.len(), "every alarm is for something");
        assert_eq!(
            entries,
            self.tree.entry_count(),
            "every entry is of a request"
        );
    }

    fn check_ended(&self) {
        let mut left = 0;
        let mut see = |list: &Ends, is_kept: bool| {
            let mut last = TimeMs::ZERO;
            for id in list.iter(&self.ended) {
                let record = &self.ended[id];
                let at = record.at();
                assert_eq!(record.is_kept(), is_kept, "it is in the list that it says");
                assert!((last..=self.now).contains(&at), "ends stand in order");
                last = at;
                let hash = self.owners.hash_of_ended(record);
                let is_it = |known| known == Known::Ended(id);
                assert!(self.by_id.find(hash, is_it).is_some());
                left += 1;
            }
        };
        see(&self.forget, false);
        for owner in self.sessions.values() {
            see(&self.session(*owner).kept, true);
        }
        assert_eq!(
            left,
            self.remembered + self.forgotten(),
            "what has ended is in one list"
        );
    }

    /// How many ended requests are forgotten and yet to be given back by ending sessions.
    fn forgotten(&self) -> usize {
        let sessions = self.sessions.values();
        let ending = sessions.filter(|owner| self.owners[**owner].is_ending);
        ending.map(|owner| self.session(*owner).kept.len()).sum()
    }

    fn session_ends(&self, owner: OwnerId) -> bool {
        self.owners[owner]
            .session
            .as_ref()
            .is_some_and(|session| session.ends_at.is_some())
    }
}
