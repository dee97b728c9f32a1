//! What the oracles know: every request and session of the stream, and what became of it.
//!
//! The ledger only takes note. It reads the lines of a command one by one, says what each means as
//! a [`Fact`], and after the oracles have judged the fact it notes the effect. It believes
//! everything that it can make sense of, also what breaks the rules; judging is for the oracles.

use super::paths::{PathId, Paths, come_to_the_same};
use crate::{
    line::{Line, LineLock, What},
    op::{Action, DEFAULT_NAMESPACE, Op, OpClaim, OpOwner, OpWait, Text},
    table::Table,
};
use lockwright_engine::FirstRequest;
use std::ops::Range;

/// A request, numbered by arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(u32);

/// A session, numbered by the first time it was seen; a reopened one keeps its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct NamespaceId(u32);

/// Where a request is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits, perhaps until a deadline in ms.
    Queued {
        /// The wait deadline.
        deadline: Option<u64>,
    },
    /// It is granted.
    Held {
        /// The fencing token.
        token: u64,
        /// When, in ms.
        since: u64,
        /// The end of its lease in ms.
        expires: Option<u64>,
    },
    /// It is over.
    Ended {
        /// How.
        reason: &'static str,
        /// When, in ms.
        at: u64,
    },
}

/// A request and what is known of it.
#[derive(Debug)]
pub struct Request {
    /// Its number.
    pub id: RequestId,
    /// Its name.
    pub lock: LineLock,
    /// Its session and which opening of it, if it is of one.
    pub session: Option<(SessionId, u32)>,
    /// Its lease in ms, counted from the grant.
    pub ttl: Option<u64>,
    /// Where it is.
    pub state: State,
    /// When it arrived, in ms.
    pub arrived: u64,
    /// In which command it ended, if it has.
    ended_in: u64,
    namespace: NamespaceId,
    claims: Range<u32>,
    /// Requests that arrived earlier, were live then, and conflict with it.
    earlier: Vec<RequestId>,
    /// The same for later ones.
    later: Vec<RequestId>,
    /// How many of `earlier` are live.
    blockers: u32,
}

impl Request {
    /// Whether it is queued or held.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(self.state, State::Ended { .. })
    }

    /// Whether it is held.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self.state, State::Held { .. })
    }

    /// Whether it is queued.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        matches!(self.state, State::Queued { .. })
    }

    /// When something happens to it if nobody does anything: its lease runs out, its wait ends.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        match self.state {
            State::Queued { deadline } => deadline,
            State::Held { expires, .. } => expires,
            State::Ended { .. } => None,
        }
    }
}

/// A session and what is known of it.
#[derive(Debug)]
pub struct Session {
    /// Its namespace.
    pub namespace: Text,
    /// Its name.
    pub name: Text,
    /// Whether it is open: its end has not begun.
    pub open: bool,
    /// Whether its end has begun, and it has not ended.
    pub ending: bool,
    /// When it was last opened, in ms.
    pub opened: u64,
    /// By which command it was last opened.
    opened_in: u64,
    /// How often it was opened.
    pub openings: u32,
    /// How long it lives without a connection, in ms.
    pub abandon: u64,
    /// When it ends if nobody comes back, in ms; none while it is attached.
    pub deadline: Option<u64>,
    /// How many live requests this opening of it has.
    pub live: u32,
}

impl Session {
    /// It is over for all who name it.
    fn begin_end(&mut self) {
        self.open = false;
        self.ending = true;
        self.deadline = None;
    }
}

/// The answer to a repeated request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is held.
    Held {
        /// With this token.
        token: u64,
    },
    /// It is queued.
    Queued,
    /// It is over.
    Ended {
        /// How.
        reason: &'static str,
    },
    /// It is refused.
    Refused {
        /// The error code.
        error: &'static str,
    },
}

/// What a line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// A new request came; the ledger has it as queued already.
    Arrived {
        /// Which.
        request: RequestId,
        /// It was put into the queue; else its grant follows.
        waits: bool,
    },
    /// A live request was granted.
    Granted {
        /// Which.
        request: RequestId,
        /// With which token.
        token: u64,
    },
    /// A live request's lease was set anew.
    Renewed {
        /// Which.
        request: RequestId,
        /// The new end of its lease in ms.
        expires: u64,
    },
    /// A live request ended.
    Ended {
        /// Which.
        request: RequestId,
        /// How.
        reason: &'static str,
    },
    /// A request whose id is known, live or remembered, was answered.
    Answered {
        /// Which.
        request: RequestId,
        /// How.
        answer: Answer,
    },
    /// A request whose id is free was refused.
    Refused {
        /// The error code.
        error: &'static str,
    },
    /// A session changed.
    Session {
        /// Which.
        session: SessionId,
        /// How, as in the line.
        state: &'static str,
    },
    /// A session is done with the requests that the command names: the command was not refused.
    Done {
        /// Which.
        session: SessionId,
    },
    /// A command that is no acquire was refused.
    Error {
        /// The error code.
        error: &'static str,
    },
    /// A look at a path.
    Inspected,
    /// A line about a request of which the line cannot be true.
    Stray {
        /// What the line says of it: `granted`, `queued`, ...
        said: &'static str,
        /// The request with this name, live or remembered; none if there is none.
        request: Option<RequestId>,
    },
}

/// How long ends are remembered from a moment on.
#[derive(Debug, Clone, Copy)]
struct Retention {
    ms: u64,
    /// The time in ms at that moment.
    since: u64,
    /// The last command before it.
    after: u64,
}

/// Every request and session of a stream.
#[derive(Debug, Default)]
pub struct Ledger {
    now: u64,
    /// How many commands have begun.
    command: u64,
    /// How long ends are remembered, the latest last; never empty.
    retentions: Vec<Retention>,
    paths: Paths,
    claims: Vec<(PathId, bool)>,
    requests: Vec<Request>,
    by_name: Table<LineLock, RequestId>,
    namespaces: Table<Text, NamespaceId>,
    live: Vec<Vec<RequestId>>,
    sessions: Vec<Session>,
    session_ids: Table<(NamespaceId, Text), SessionId>,
    freed: Vec<(RequestId, u64)>,
    /// Lists of ended requests, to be used again.
    spare: Vec<Vec<RequestId>>,
    /// The name in the acquire that is being read.
    asked: Option<LineLock>,
}

impl Ledger {
    /// An empty one. Ends are remembered for `retention` ms.
    #[must_use]
    pub fn new(retention: u64) -> Ledger {
        let first = Retention {
            ms: retention,
            since: 0,
            after: 0,
        };
        Ledger {
            retentions: vec![first],
            ..Ledger::default()
        }
    }

    /// From now on ends are remembered for `retention` ms. What is forgotten stays so. The last command was a
    /// tick: it has forgotten all that was due.
    pub fn relimit(&mut self, retention: u64) {
        self.retentions.push(Retention {
            ms: retention,
            since: self.now,
            after: self.command,
        });
    }

    /// The latest time in ms.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// A request of the stream.
    #[must_use]
    pub fn request(&self, id: RequestId) -> &Request {
        &self.requests[id.0 as usize]
    }

    /// A session of the stream.
    #[must_use]
    pub fn session(&self, id: SessionId) -> &Session {
        &self.sessions[id.0 as usize]
    }

    /// All sessions of the stream.
    #[must_use]
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// All live requests, of one namespace after the other, in the order of arrival.
    pub fn live(&self) -> impl Iterator<Item = &Request> {
        self.live.iter().flatten().map(|&id| self.request(id))
    }

    /// All requests that have ended and are remembered, in the order of arrival.
    pub fn remembered(&self) -> impl Iterator<Item = &Request> {
        let ended = self.requests.iter().filter(|request| !request.is_live());
        ended.filter(|request| self.known(&request.lock) == Some(request.id))
    }

    /// How many requests ended in the latest command and are not remembered.
    #[must_use]
    pub fn just_ended(&self) -> usize {
        let ended = self.requests.iter().filter(|request| !request.is_live());
        let just = ended.filter(|request| request.ended_in == self.command);
        just.filter(|request| self.known(&request.lock) != Some(request.id))
            .count()
    }

    /// Requests that arrived before `id`, while they were live, and conflict with it.
    pub fn earlier_conflicts(&self, id: RequestId) -> impl Iterator<Item = &Request> {
        let earlier = &self.request(id).earlier;
        earlier.iter().map(|&other| self.request(other))
    }

    /// Requests that arrived after `id`, while it was live, and conflict with it.
    pub fn later_conflicts(&self, id: RequestId) -> impl Iterator<Item = &Request> {
        let later = &self.request(id).later;
        later.iter().map(|&other| self.request(other))
    }

    /// Queued requests that no earlier live request conflicts with, and since when in ms. Only
    /// those that came to it since the command began.
    pub fn waiting_for_nothing(&self) -> impl Iterator<Item = (RequestId, u64)> {
        let freed = self.freed.iter().copied();
        let free = freed.filter(|&(id, _)| self.request(id).blockers == 0);
        free.filter(|&(id, _)| self.request(id).is_queued() && !self.ends(id))
    }

    /// Whether a request is of a session whose end has begun: it is not granted any more.
    fn ends(&self, id: RequestId) -> bool {
        self.request(id).session.is_some_and(|(session, opening)| {
            let session = self.session(session);
            session.ending && session.openings == opening
        })
    }

    /// The live request that an acquire which is not in the ledger conflicts with, the earliest.
    pub fn first_conflict(&mut self, op: &Op, claims: &[OpClaim]) -> Option<RequestId> {
        let namespace = self.namespace(namespace_of(op));
        let claims: Vec<_> = claims
            .iter()
            .map(|claim| (self.paths.id(&claim.path), claim.write))
            .collect();
        let live = &self.live[namespace.0 as usize];
        live.iter()
            .copied()
            .find(|&id| self.conflict(&claims, self.claims_of(id)))
    }

    /// A request for a message: `alice's L3 (w a/b, r c)`.
    #[must_use]
    pub fn describe(&self, id: RequestId) -> String {
        let request = self.request(id);
        let claims: Vec<String> = self
            .claims_of(id)
            .iter()
            .map(|&(path, write)| {
                let mode = if write { 'w' } else { 'r' };
                format!("{mode} {}", self.paths.text(path))
            })
            .collect();
        format!("{} ({})", describe_lock(&request.lock), claims.join(", "))
    }

    /// Whether an acquire asks for the same as this request: an owner that has the claims of one has those
    /// of the other, and the other way round (SEMANTICS section 2).
    #[must_use]
    pub fn asks_the_same(&self, id: RequestId, op: &Op) -> bool {
        match &op.action {
            Action::Acquire { claims, .. } => self.claims_the_same(id, claims),
            _ => false,
        }
    }

    /// Whether a request asked for these claims, or such as come to the same.
    #[must_use]
    pub fn claims_the_same(&self, id: RequestId, claims: &[OpClaim]) -> bool {
        let first: Vec<(&str, bool)> = self
            .claims_of(id)
            .iter()
            .map(|&(path, write)| (self.paths.text(path), write))
            .collect();
        let again: Vec<(&str, bool)> = claims.iter().map(|c| (&*c.path, c.write)).collect();
        come_to_the_same(&first, &again)
    }

    /// Whether these are claims of a request, and so many more are left out because its paths are too
    /// long to name them all.
    #[must_use]
    pub fn claims_begin_with(&self, id: RequestId, claims: &[OpClaim], left_out: usize) -> bool {
        if left_out == 0 {
            return self.claims_the_same(id, claims);
        }
        let first = self.claims_of(id);
        let bytes: usize = first
            .iter()
            .map(|&(path, _)| self.paths.text(path).len() + 2)
            .sum();
        let is_asked = |claim: &OpClaim| {
            let mut first = first.iter();
            first
                .any(|&(path, write)| (self.paths.text(path), write) == (&*claim.path, claim.write))
        };
        bytes > FirstRequest::PATH_BYTES_MAX
            && !claims.is_empty()
            && claims.len() + left_out <= first.len()
            && claims.iter().all(is_asked)
    }

    /// The request that has the id with which the latest command asks, live or remembered.
    #[must_use]
    pub fn asked(&self) -> Option<&Request> {
        let id = self.known(self.asked.as_ref()?)?;
        Some(self.request(id))
    }

    /// Begins a command. Time never goes back.
    pub(super) fn begin(&mut self, op: &Op) {
        self.now = self.now.max(op.at);
        self.command += 1;
        self.freed.clear();
        self.asked = match &op.action {
            Action::Acquire { id, owner, .. } => Some(LineLock {
                namespace: namespace_of(op).clone(),
                owner: owner.clone(),
                id: id.clone(),
            }),
            _ => None,
        };
    }

    /// What a line of the command means; `last` if no line follows. A new request is noted here.
    pub(super) fn read(&mut self, op: &Op, line: &Line, last: bool) -> Fact {
        match &line.what {
            What::Granted { lock, token } => {
                let answer = Answer::Held { token: *token };
                self.read_answer(op, lock, last, answer, line.at)
                    .unwrap_or_else(|| match self.live_named(lock) {
                        Ok(request) => Fact::Granted {
                            request,
                            token: *token,
                        },
                        Err(request) => stray("granted", request),
                    })
            }
            What::Queued { lock } => self
                .read_answer(op, lock, last, Answer::Queued, line.at)
                .unwrap_or_else(|| stray("queued", self.known(lock))),
            What::Ended { lock, reason } => match self.live_named(lock) {
                Ok(request) => Fact::Ended { request, reason },
                Err(Some(request)) if last && self.asked.as_ref() == Some(lock) => Fact::Answered {
                    request,
                    answer: Answer::Ended { reason },
                },
                Err(request) => stray("ended", request),
            },
            What::Refused { lock, error } => match self.known(lock) {
                Some(request) => Fact::Answered {
                    request,
                    answer: Answer::Refused { error },
                },
                None => Fact::Refused { error },
            },
            What::Renewed { lock, expires } => match self.live_named(lock) {
                Ok(request) => Fact::Renewed {
                    request,
                    expires: *expires,
                },
                Err(request) => stray("renewed", request),
            },
            What::Session {
                namespace,
                session,
                state,
            } => {
                let session = self.session_id(namespace, session);
                Fact::Session { session, state }
            }
            What::Inspect { .. } => Fact::Inspected,
            What::Error { error, .. } => Fact::Error { error },
        }
    }

    /// What a command means that no line tells of, since it was carried out. These are its lines.
    pub(super) fn read_silence(&mut self, op: &Op, lines: &[Line]) -> Option<Fact> {
        let Action::Done { session, .. } = &op.action else {
            return None;
        };
        let last = lines.last().map(|line| &line.what);
        if matches!(last, Some(What::Error { op: "done", .. })) {
            return None;
        }
        let session = self.session_named(op, session);
        Some(Fact::Done { session })
    }

    /// The names of the requests that a session says it is done with.
    fn named_by(&self, op: &Op, session: SessionId) -> Vec<LineLock> {
        let Action::Done { ids, .. } = &op.action else {
            return Vec::new();
        };
        let session = self.session(session);
        let lock = |id: &Text| LineLock {
            id: id.clone(),
            owner: OpOwner::Session(session.name.clone()),
            namespace: session.namespace.clone(),
        };
        ids.iter().map(lock).collect()
    }

    /// A live request among those that a session says it is done with.
    #[must_use]
    pub fn live_among_done(&self, op: &Op, session: SessionId) -> Option<RequestId> {
        let named = self.named_by(op, session);
        named.iter().find_map(|lock| self.live_named(lock).ok())
    }

    /// The session of this name in the namespace of a command.
    pub fn session_named(&mut self, op: &Op, name: &Text) -> SessionId {
        self.session_id(namespace_of(op), name)
    }

    /// A `granted` or `queued` line that answers the acquire which is being read.
    fn read_answer(
        &mut self,
        op: &Op,
        lock: &LineLock,
        last: bool,
        answer: Answer,
        at: u64,
    ) -> Option<Fact> {
        if !last || self.asked.as_ref() != Some(lock) {
            return None;
        }
        if let Some(request) = self.known(lock) {
            return Some(Fact::Answered { request, answer });
        }
        let request = self.arrive(op, at)?;
        Some(Fact::Arrived {
            request,
            waits: answer == Answer::Queued,
        })
    }

    /// Notes a new request, as queued.
    fn arrive(&mut self, op: &Op, at: u64) -> Option<RequestId> {
        let Action::Acquire {
            claims, ttl, wait, ..
        } = &op.action
        else {
            return None;
        };
        let lock = self.asked.clone()?;
        let id = RequestId(number(self.requests.len()));
        let namespace = self.namespace(&lock.namespace);
        let session = match &lock.owner {
            OpOwner::Named(_) => None,
            OpOwner::Session(name) => {
                let session = self.session_id(&lock.namespace, name);
                let record = &mut self.sessions[session.0 as usize];
                record.live += 1;
                Some((session, record.openings))
            }
        };
        let first_claim = number(self.claims.len());
        for claim in claims {
            let path = self.paths.id(&claim.path);
            self.claims.push((path, claim.write));
        }
        let mut earlier = self.spare.pop().unwrap_or_default();
        let own = &self.claims[first_claim as usize..];
        for &other in &self.live[namespace.0 as usize] {
            if self.conflict(own, self.claims_of(other)) {
                earlier.push(other);
            }
        }
        for &other in &earlier {
            self.requests[other.0 as usize].later.push(id);
        }
        let blockers = number(earlier.len());
        if blockers == 0 {
            self.freed.push((id, at));
        }
        self.live[namespace.0 as usize].push(id);
        self.by_name.insert(lock.clone(), id);
        let deadline = match wait {
            OpWait::For(wait) => Some(at.saturating_add(*wait)),
            OpWait::No | OpWait::Forever => None,
        };
        self.requests.push(Request {
            id,
            lock,
            session,
            ttl: *ttl,
            state: State::Queued { deadline },
            arrived: at,
            ended_in: 0,
            namespace,
            claims: first_claim..number(self.claims.len()),
            earlier,
            later: self.spare.pop().unwrap_or_default(),
            blockers,
        });
        Some(id)
    }

    /// Notes what a fact of time `at` changes.
    pub(super) fn note(&mut self, op: &Op, fact: &Fact, at: u64) {
        match *fact {
            Fact::Granted { request, token } => {
                let request = &mut self.requests[request.0 as usize];
                request.state = State::Held {
                    token,
                    since: at,
                    expires: request.ttl.map(|ttl| at.saturating_add(ttl)),
                };
            }
            Fact::Renewed { request, expires } => {
                let state = &mut self.requests[request.0 as usize].state;
                if let State::Held { expires: end, .. } = state {
                    *end = Some(expires);
                }
            }
            Fact::Ended { request, reason } => self.end(request, reason, at),
            Fact::Session { session, state } => self.change_session(op, session, state, at),
            Fact::Done { session } => {
                for lock in self.named_by(op, session) {
                    if self.live_named(&lock).is_err() {
                        self.by_name.remove(&lock);
                    }
                }
            }
            Fact::Arrived { .. }
            | Fact::Answered { .. }
            | Fact::Refused { .. }
            | Fact::Error { .. }
            | Fact::Inspected
            | Fact::Stray { .. } => {}
        }
    }

    fn end(&mut self, id: RequestId, reason: &'static str, at: u64) {
        let request = &mut self.requests[id.0 as usize];
        request.state = State::Ended { reason, at };
        request.ended_in = self.command;
        let mut later = std::mem::take(&mut request.later);
        let mut earlier = std::mem::take(&mut request.earlier);
        let namespace = request.namespace;
        if let Some((session, opening)) = request.session {
            let session = &mut self.sessions[session.0 as usize];
            if session.openings == opening {
                session.live -= 1;
                if reason == "session_ended" {
                    session.begin_end();
                }
            }
        }
        for &other in &later {
            let other_request = &mut self.requests[other.0 as usize];
            if other_request.is_live() {
                other_request.blockers -= 1;
                if other_request.blockers == 0 && other_request.is_queued() {
                    self.freed.push((other, at));
                }
            }
        }
        let live = &mut self.live[namespace.0 as usize];
        let index = live.binary_search(&id).expect("it was live until now");
        live.remove(index);
        later.clear();
        earlier.clear();
        self.spare.push(later);
        self.spare.push(earlier);
    }

    fn change_session(&mut self, op: &Op, id: SessionId, state: &'static str, at: u64) {
        let session = &mut self.sessions[id.0 as usize];
        match state {
            "open" => {
                session.open = true;
                session.ending = false;
                session.opened = at;
                session.opened_in = self.command;
                session.openings += 1;
                session.live = 0;
                session.deadline = None;
                if let Action::OpenSession { abandon, .. } = op.action {
                    session.abandon = abandon;
                }
            }
            "attached" => session.deadline = None,
            "detached" => {
                let end = at.saturating_add(session.abandon);
                session.deadline = Some(session.deadline.unwrap_or(end));
            }
            "alive" if session.deadline.is_some() => {
                session.deadline = Some(at.saturating_add(session.abandon));
            }
            "ended" => {
                session.begin_end();
                session.ending = false;
            }
            _ => {}
        }
    }

    /// The request with this name, if it is live or its end is remembered (SEMANTICS section 4).
    fn known(&self, lock: &LineLock) -> Option<RequestId> {
        let id = *self.by_name.get(lock)?;
        let request = self.request(id);
        let State::Ended { at, .. } = request.state else {
            return Some(id);
        };
        let (forgotten, after) = self.forgotten(at, request.ended_in);
        // An opening of its session that is there when it would be forgotten keeps it.
        let kept = request.session.is_some_and(|(session, _)| {
            let session = self.session(session);
            session.open && (session.opened < forgotten || session.opened_in <= after)
        });
        let remembered = kept || self.now < forgotten;
        remembered.then_some(id)
    }

    /// When the end is forgotten that came at `at` in ms in command `ended_in`: that time, and the last
    /// command that cannot have forgotten it.
    fn forgotten(&self, at: u64, ended_in: u64) -> (u64, u64) {
        let mut forgotten = (at, ended_in);
        for (place, retention) in self.retentions.iter().enumerate() {
            let next = self.retentions.get(place + 1);
            if next.is_some_and(|next| ended_in > next.after) {
                continue;
            }
            let due = at.saturating_add(retention.ms);
            let is_overdue = ended_in <= retention.after && due <= retention.since;
            forgotten = match is_overdue {
                true => (retention.since, retention.after),
                false => (due, ended_in - 1),
            };
            // The last command before that has forgotten it.
            if next.is_none_or(|next| forgotten.0 <= next.since) {
                break;
            }
        }
        forgotten
    }

    /// The live request with this name; else the remembered one, if any.
    fn live_named(&self, lock: &LineLock) -> Result<RequestId, Option<RequestId>> {
        match self.by_name.get(lock) {
            Some(&id) if self.request(id).is_live() => Ok(id),
            _ => Err(self.known(lock)),
        }
    }

    fn namespace(&mut self, name: &Text) -> NamespaceId {
        if let Some(&id) = self.namespaces.get(name) {
            return id;
        }
        let id = NamespaceId(number(self.live.len()));
        self.live.push(Vec::new());
        self.namespaces.insert(name.clone(), id);
        id
    }

    fn session_id(&mut self, namespace: &Text, name: &Text) -> SessionId {
        let key = (self.namespace(namespace), name.clone());
        if let Some(&id) = self.session_ids.get(&key) {
            return id;
        }
        let id = SessionId(number(self.sessions.len()));
        self.sessions.push(Session {
            namespace: namespace.clone(),
            name: name.clone(),
            open: false,
            ending: false,
            opened: 0,
            opened_in: 0,
            openings: 0,
            abandon: 0,
            deadline: None,
            live: 0,
        });
        self.session_ids.insert(key, id);
        id
    }

    fn claims_of(&self, id: RequestId) -> &[(PathId, bool)] {
        let range = &self.request(id).claims;
        &self.claims[range.start as usize..range.end as usize]
    }

    /// Whether any claim of one conflicts with any of the other (SEMANTICS sections 1 and 2).
    fn conflict(&self, one: &[(PathId, bool)], other: &[(PathId, bool)]) -> bool {
        one.iter().any(|&(path, write)| {
            other.iter().any(|&(other_path, other_write)| {
                (write || other_write) && self.paths.overlap(path, other_path)
            })
        })
    }
}

/// The namespace of an op.
fn namespace_of(op: &Op) -> &Text {
    static DEFAULT: std::sync::LazyLock<Text> =
        std::sync::LazyLock::new(|| Text::from(DEFAULT_NAMESPACE));
    op.namespace.as_ref().unwrap_or(&DEFAULT)
}

fn stray(said: &'static str, request: Option<RequestId>) -> Fact {
    Fact::Stray { said, request }
}

fn number(len: usize) -> u32 {
    u32::try_from(len).expect("a run has fewer than 2^32 of anything")
}

/// `alice's L3`, `session s1's L3`; the namespace if it is not the default one.
pub(super) fn describe_lock(lock: &LineLock) -> String {
    let owner = match &lock.owner {
        OpOwner::Named(name) => name.to_string(),
        OpOwner::Session(name) => format!("session {name}"),
    };
    if &*lock.namespace == DEFAULT_NAMESPACE {
        format!("{owner}'s {}", lock.id)
    } else {
        format!("{owner}'s {} of namespace {}", lock.id, lock.namespace)
    }
}
