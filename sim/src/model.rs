//! The reference model: what a lock means (SEMANTICS.md), as naively as it can be written.
//!
//! A list of requests in arrival order, a list of sessions in order of opening, and loops over
//! them. It shares the command language with the engine's driver and nothing with the engine, so
//! where the two differ, one of them is wrong; each rule stands beside the section that it is
//! from. Nothing here is clever, and nothing here may become so.

mod text;

use crate::line::{Line, LineLock, Subject, What};
use crate::op::{Action, DEFAULT_NAMESPACE, Op, OpClaim, OpLock, OpOwner, OpWait, Text};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The limits of SEMANTICS section 5, by their names there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelLimits {
    /// Claims of one request, as given.
    pub claims_per_request: u64,
    /// Segments of one path.
    pub segments_per_path: u64,
    /// Bytes of one segment.
    pub bytes_per_segment: u64,
    /// Queued requests with a claim on exactly one path.
    pub queued_requests_per_path: u64,
    /// Live requests of one owner.
    pub locks_per_owner: u64,
    /// Sessions that are open, ending, or ended and not given back, over all namespaces.
    pub sessions: u64,
    /// Namespaces with such a session or a live or remembered request.
    pub namespaces: u64,
    /// How long the end of a request is remembered, in ms.
    pub retention: u64,
    /// How many requests of an ending session go in one ms.
    pub session_ends_per_ms: u64,
}

/// An error code, as scripts write it.
type Code = &'static str;

/// A request that is queued or held (section 2).
#[derive(Debug, Clone)]
struct Request {
    /// How many arrived before it.
    number: u64,
    /// The number of a request that it has to wait for, while that one lives: what comes later is
    /// behind it, so nothing but the end of that one can let it go.
    behind: Option<u64>,
    lock: LineLock,
    /// Without those that another claim covers.
    claims: Vec<OpClaim>,
    ttl: Option<u64>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Queued {
        /// When it gives up, if ever.
        deadline: Option<u64>,
    },
    Held {
        token: u64,
        /// When its lease runs out, if it has one.
        expires: Option<u64>,
    },
}

/// A request that is over and remembered (section 4).
#[derive(Debug, Clone)]
struct Ended {
    /// How it ended.
    reason: &'static str,
    /// What it asked for, without what another claim covers.
    claims: Vec<OpClaim>,
}

/// A session, until all of it is given back (section 4).
#[derive(Debug, Clone)]
struct Session {
    namespace: Text,
    name: Text,
    /// In ms.
    abandon: u64,
    /// Since when it is without a connection or a sign of life; none while it is attached.
    detached_at: Option<u64>,
    /// Its ended requests that are past their retention and remembered because it is still open.
    outlived: Vec<LineLock>,
    /// Its end has begun.
    ending: Option<Ending>,
}

/// How far the end of a session has come.
#[derive(Debug, Clone, Copy)]
struct Ending {
    /// When it goes on, in ms.
    next: u64,
    /// How many of the requests that it outlived are not given back yet, though they are forgotten.
    outlived: usize,
    /// It has ended: nothing of it is live.
    is_told: bool,
}

/// What happens by itself when its time has come.
enum Due {
    /// The request at this place ends: its lease or its wait is over.
    Request(usize),
    /// The end of the session at this place begins or goes on.
    Session(usize),
}

/// The reference model.
#[derive(Debug, Clone)]
pub struct Model {
    limits: ModelLimits,
    /// The latest time, in ms.
    now: u64,
    /// The token of the latest grant.
    last_token: u64,
    /// All queued and held requests, in arrival order.
    live: Vec<Request>,
    /// How many requests have arrived.
    arrived: u64,
    /// The requests whose end is remembered (section 4).
    ended: BTreeMap<LineLock, Ended>,
    /// When each of them ended, in that order; without those that an open session keeps.
    to_forget: VecDeque<(u64, LineLock)>,
    /// All sessions that are not all given back, in order of opening.
    sessions: Vec<Session>,
    default_namespace: Text,
}

impl Model {
    /// A model in which nothing has happened, at time zero.
    #[must_use]
    pub fn new(limits: ModelLimits) -> Model {
        Model::with_first_token(limits, 1)
    }

    /// Such a model whose first grant takes `first_token`, at least 1.
    #[must_use]
    pub fn with_first_token(limits: ModelLimits, first_token: u64) -> Model {
        Model {
            limits,
            now: 0,
            last_token: first_token - 1,
            live: Vec::new(),
            arrived: 0,
            ended: BTreeMap::new(),
            to_forget: VecDeque::new(),
            sessions: Vec::new(),
            default_namespace: Text::from(DEFAULT_NAMESPACE),
        }
    }

    /// No grant takes a smaller token than `first` from now on.
    pub fn tokens_from(&mut self, first: u64) {
        self.last_token = self.last_token.max(first - 1);
    }

    /// Carries out one op and appends what happens to `lines`, in the order in which it does.
    pub fn step(&mut self, op: &Op, lines: &mut Vec<Line>) {
        // Section 3: a time earlier than the latest is read as the latest.
        self.now = self.now.max(op.at);
        self.let_due_things_happen(lines);
        self.forget(self.now);
        if let Err(error) = self.carry_out(op, lines) {
            let at = self.now;
            let what = self.refusal(op, error);
            lines.push(Line { at, what });
        }
        // A session detached with an abandon timeout of 0 is due by its own command.
        self.let_due_things_happen(lines);
    }

    fn carry_out(&mut self, op: &Op, lines: &mut Vec<Line>) -> Result<(), Code> {
        if let Some(namespace) = &op.namespace
            && op.action != Action::Tick
        {
            text::check_name(namespace)?;
        }
        match &op.action {
            Action::Acquire {
                id,
                owner,
                claims,
                ttl,
                wait,
            } => {
                let lock = LineLock {
                    namespace: self.namespace_of(op),
                    owner: owner.clone(),
                    id: id.clone(),
                };
                self.acquire(lock, claims, *ttl, *wait, lines)
            }
            Action::Cancel { lock } => self.cancel(op, lock, lines),
            Action::Release { lock, token } => self.release(op, lock, *token, lines),
            Action::Renew { lock, token, ttl } => self.renew(op, lock, *token, *ttl, lines),
            Action::Break { lock, token } => self.break_lock(op, lock, *token, lines),
            Action::OpenSession { session, abandon } => {
                self.open_session(op, session, *abandon, lines)
            }
            Action::Attach { session } => {
                let found = self.session_of(op, session)?;
                found.detached_at = None;
                self.say_session(op, session, "attached", lines);
                Ok(())
            }
            Action::Detach { session } => {
                let now = self.now;
                let found = self.session_of(op, session)?;
                // One that is detached already keeps the time since when it is.
                found.detached_at = found.detached_at.or(Some(now));
                self.say_session(op, session, "detached", lines);
                Ok(())
            }
            Action::KeepAlive { session } => {
                let now = self.now;
                let found = self.session_of(op, session)?;
                found.detached_at = found.detached_at.and(Some(now));
                self.say_session(op, session, "alive", lines);
                Ok(())
            }
            Action::Done { session, ids } => self.done(op, session, ids),
            Action::CloseSession { session } => {
                let place = self.place_of_session(op, session)?;
                self.end_session(place, self.now, lines);
                Ok(())
            }
            Action::Tick => Ok(()),
            Action::Inspect { path } => self.inspect(op, path, lines),
        }
    }

    /// The line that says that `op` was refused.
    fn refusal(&self, op: &Op, error: Code) -> What {
        let subject = match &op.action {
            Action::Acquire { id, owner, .. } => {
                let lock = LineLock {
                    namespace: self.namespace_of(op),
                    owner: owner.clone(),
                    id: id.clone(),
                };
                return What::Refused { lock, error };
            }
            Action::Release { lock, .. }
            | Action::Renew { lock, .. }
            | Action::Cancel { lock }
            | Action::Break { lock, .. } => Subject::Lock(lock.id.clone()),
            Action::OpenSession { session, .. }
            | Action::Attach { session }
            | Action::Detach { session }
            | Action::KeepAlive { session }
            | Action::Done { session, .. }
            | Action::CloseSession { session } => Subject::Session(session.clone()),
            Action::Inspect { path } => Subject::Path(path.clone()),
            Action::Tick => unreachable!("nothing can be wrong with a tick"),
        };
        What::Error {
            op: op.action.name(),
            subject,
            error,
        }
    }

    // ---- Time (section 3) ----

    /// Lets everything due at or before now happen, one at a time, each at its own time.
    fn let_due_things_happen(&mut self, lines: &mut Vec<Line>) {
        while let Some((at, due)) = self.next_due() {
            match due {
                Due::Request(place) => {
                    let reason = match self.live[place].state {
                        State::Queued { .. } => "timed_out",
                        State::Held { .. } => "expired",
                    };
                    self.end_request(place, at, reason, lines);
                    self.grant_what_is_free(at, lines);
                }
                Due::Session(place) => self.end_session(place, at, lines),
            }
        }
    }

    /// What is due first, if it is due by now: of equal times the requests in arrival order, then
    /// the sessions in order of opening.
    fn next_due(&self) -> Option<(u64, Due)> {
        let mut next: Option<(u64, Due)> = None;
        let mut consider = |at: u64, due: Due| {
            let is_sooner = next.as_ref().is_none_or(|(soonest, _)| at < *soonest);
            if at <= self.now && is_sooner {
                next = Some((at, due));
            }
        };
        for (place, request) in self.live.iter().enumerate() {
            match request.state {
                State::Queued { deadline: Some(at) }
                | State::Held {
                    expires: Some(at), ..
                } => consider(at, Due::Request(place)),
                State::Queued { deadline: None } | State::Held { expires: None, .. } => {}
            }
        }
        for (place, session) in self.sessions.iter().enumerate() {
            if let Some(ending) = session.ending {
                consider(ending.next, Due::Session(place));
            } else if let Some(detached_at) = session.detached_at {
                consider(detached_at + session.abandon, Due::Session(place));
            }
        }
        next
    }

    /// Other limits from now on. What is beyond them stays: they only refuse what comes. An end that was
    /// forgotten stays so, though it would be remembered for longer now, and so does one that is remembered
    /// because its session is open.
    pub fn relimit(&mut self, limits: ModelLimits) {
        self.limits = limits;
    }

    /// Forgets the ends that were remembered long enough at the time `at`: for the retention time, and at least as
    /// long as the request's session lives (section 4). A session is what its name says: one that
    /// was opened again before the retention time was over keeps them too.
    fn forget(&mut self, at: u64) {
        while let Some((ended_at, _)) = self.to_forget.front()
            && ended_at + self.limits.retention <= at
            && let Some((_, lock)) = self.to_forget.pop_front()
        {
            match self.session_owning(&lock) {
                Some(place) => self.sessions[place].outlived.push(lock),
                None => {
                    self.ended.remove(&lock);
                }
            }
        }
    }

    // ---- Requests and grants (section 2) ----

    /// The number of one of the requests that arrived `earlier` for which `claims` must wait.
    fn must_wait(earlier: &[Request], lock: &LineLock, claims: &[OpClaim]) -> Option<u64> {
        // Whose they are makes no difference: locks are not re-entrant.
        let conflicting = earlier.iter().find(|other| {
            other.lock.namespace == lock.namespace && text::conflict(&other.claims, claims)
        });
        conflicting.map(|other| other.number)
    }

    /// Grants, in arrival order, every queued request that no earlier live one conflicts with, but for those
    /// of ending sessions (section 4).
    fn grant_what_is_free(&mut self, at: u64, lines: &mut Vec<Line>) {
        let ending = self.sessions.iter().filter(|one| one.ending.is_some());
        let ending: Vec<(Text, OpOwner)> = ending.map(Session::owner).collect();
        for place in 0..self.live.len() {
            let (earlier, rest) = self.live.split_at_mut(place);
            let request = &mut rest[0];
            let lives = |number: u64| earlier.binary_search_by_key(&number, |one| one.number);
            if !matches!(request.state, State::Queued { .. })
                || request.behind.is_some_and(|number| lives(number).is_ok())
            {
                continue;
            }
            request.behind = Self::must_wait(earlier, &request.lock, &request.claims);
            let ends = |(namespace, owner): &(Text, OpOwner)| {
                request.lock.namespace == *namespace && request.lock.owner == *owner
            };
            if request.behind.is_none() && !ending.iter().any(ends) {
                self.last_token += 1;
                request.grant(self.last_token, at, lines);
            }
        }
    }

    /// Takes a request out of the list and remembers how it ended.
    fn end_request(&mut self, place: usize, at: u64, reason: &'static str, lines: &mut Vec<Line>) {
        let Request { lock, claims, .. } = self.live.remove(place);
        lines.push(Line {
            at,
            what: What::Ended {
                lock: lock.clone(),
                reason,
            },
        });
        self.to_forget.push_back((at, lock.clone()));
        self.ended.insert(lock, Ended { reason, claims });
    }

    fn acquire(
        &mut self,
        lock: LineLock,
        claims: &[OpClaim],
        ttl: Option<u64>,
        wait: OpWait,
        lines: &mut Vec<Line>,
    ) -> Result<(), Code> {
        text::check_name(lock.owner.name())?;
        text::check_name(&lock.id)?;
        for claim in claims {
            text::check_path(&claim.path)?;
        }
        if claims.is_empty() {
            return Err("invalid_request");
        }
        self.check_limits_of_claims(claims)?;
        if ttl == Some(0) {
            return Err("invalid_request");
        }
        // Section 4: the same id again is answered with the state of the first request, and refused
        // when it comes for something else.
        if let Some((what, first)) = self.state_of(&lock) {
            if !text::are_same(first, &text::without_covered(claims)) {
                return Err("request_mismatch");
            }
            lines.push(Line { at: self.now, what });
            return Ok(());
        }
        if matches!(lock.owner, OpOwner::Session(_)) && self.session_owning(&lock).is_none() {
            return Err("unknown_session");
        }
        self.check_limit_of_namespaces(&lock.namespace)?;
        let live_of_owner = self
            .live
            .iter()
            .filter(|other| {
                other.lock.owner == lock.owner && other.lock.namespace == lock.namespace
            })
            .count();
        check_limit(live_of_owner + 1, self.limits.locks_per_owner)?;

        let claims = text::without_covered(claims);
        let behind = Self::must_wait(&self.live, &lock, &claims);
        let must_wait = behind.is_some();
        let deadline = match wait {
            OpWait::No | OpWait::For(0) if must_wait => return Err("busy"),
            OpWait::No | OpWait::Forever => None,
            OpWait::For(ms) => Some(self.now + ms),
        };
        if must_wait {
            self.check_limit_of_queues(&lock.namespace, &claims)?;
        }
        // From here on the request is there: a refused one leaves no trace.
        let mut request = Request {
            number: self.arrived,
            behind,
            lock,
            claims,
            ttl,
            state: State::Queued { deadline },
        };
        if must_wait {
            lines.push(Line {
                at: self.now,
                what: What::Queued {
                    lock: request.lock.clone(),
                },
            });
        } else {
            self.last_token += 1;
            request.grant(self.last_token, self.now, lines);
        }
        self.arrived += 1;
        self.live.push(request);
        Ok(())
    }

    /// What is known of the request with this id, as a line says it, and what it asked for.
    fn state_of(&self, lock: &LineLock) -> Option<(What, &[OpClaim])> {
        let lock_of_line = lock.clone();
        if let Some(request) = self.live.iter().find(|request| request.lock == *lock) {
            let what = match request.state {
                State::Queued { .. } => What::Queued { lock: lock_of_line },
                State::Held { token, .. } => What::Granted {
                    lock: lock_of_line,
                    token,
                },
            };
            return Some((what, &request.claims));
        }
        let ended = self.ended.get(lock)?;
        let what = What::Ended {
            lock: lock_of_line,
            reason: ended.reason,
        };
        Some((what, &ended.claims))
    }

    fn cancel(&mut self, op: &Op, lock: &OpLock, lines: &mut Vec<Line>) -> Result<(), Code> {
        check_names_of(lock)?;
        let Known::Live(place) = self.find(op, lock)? else {
            return Err("not_queued");
        };
        match self.live[place].state {
            State::Held { .. } => Err("not_queued"),
            State::Queued { .. } => {
                self.end_request(place, self.now, "cancelled", lines);
                self.grant_what_is_free(self.now, lines);
                Ok(())
            }
        }
    }

    fn release(
        &mut self,
        op: &Op,
        lock: &OpLock,
        token: Option<u64>,
        lines: &mut Vec<Line>,
    ) -> Result<(), Code> {
        check_names_of(lock)?;
        let place = self.held_with(op, lock, token)?;
        self.end_request(place, self.now, "released", lines);
        self.grant_what_is_free(self.now, lines);
        Ok(())
    }

    fn renew(
        &mut self,
        op: &Op,
        lock: &OpLock,
        token: Option<u64>,
        ttl: u64,
        lines: &mut Vec<Line>,
    ) -> Result<(), Code> {
        check_names_of(lock)?;
        if ttl == 0 {
            return Err("invalid_request");
        }
        let place = self.held_with(op, lock, token)?;
        let end = self.now + ttl;
        let request = &mut self.live[place];
        if let State::Held { expires, .. } = &mut request.state {
            *expires = Some(end);
        }
        lines.push(Line {
            at: self.now,
            what: What::Renewed {
                lock: request.lock.clone(),
                expires: end,
            },
        });
        Ok(())
    }

    fn break_lock(
        &mut self,
        op: &Op,
        lock: &OpLock,
        token: Option<u64>,
        lines: &mut Vec<Line>,
    ) -> Result<(), Code> {
        check_names_of(lock)?;
        let Known::Live(place) = self.find(op, lock)? else {
            return Err("not_held");
        };
        // A token that is given must be the lock's. One that is not given is that of the grant if
        // there was one, which is always right.
        if token.is_some() && token != self.live[place].state.token() {
            return Err("stale_token");
        }
        self.end_request(place, self.now, "broken", lines);
        self.grant_what_is_free(self.now, lines);
        Ok(())
    }

    /// The place of a lock that is held with `token`, or with any when none is given.
    fn held_with(&self, op: &Op, lock: &OpLock, token: Option<u64>) -> Result<usize, Code> {
        let Known::Live(place) = self.find(op, lock)? else {
            return Err("not_held");
        };
        match self.live[place].state {
            State::Queued { .. } => Err("not_held"),
            State::Held { token: its, .. } if token.is_some_and(|given| given != its) => {
                Err("stale_token")
            }
            State::Held { .. } => Ok(place),
        }
    }

    /// The request that an op is about. When the op names no owner, it is the one with that id,
    /// in the namespace that is written, or in any.
    fn find(&self, op: &Op, lock: &OpLock) -> Result<Known, Code> {
        let namespace = match (&op.namespace, &lock.owner) {
            (Some(namespace), _) => Some(namespace),
            (None, Some(_)) => Some(&self.default_namespace),
            (None, None) => None,
        };
        let is_meant = |other: &LineLock| {
            other.id == lock.id
                && lock
                    .owner
                    .as_ref()
                    .is_none_or(|owner| other.owner == *owner)
                && namespace.is_none_or(|namespace| other.namespace == *namespace)
        };
        if let Some(place) = self.live.iter().position(|other| is_meant(&other.lock)) {
            return Ok(Known::Live(place));
        }
        let is_remembered = match (namespace, &lock.owner) {
            (Some(namespace), Some(owner)) => self.ended.contains_key(&LineLock {
                namespace: namespace.clone(),
                owner: owner.clone(),
                id: lock.id.clone(),
            }),
            _ => self.ended.keys().any(is_meant),
        };
        if is_remembered {
            Ok(Known::Ended)
        } else {
            Err("unknown_lock")
        }
    }

    // ---- Sessions (section 4) ----

    /// The session that has this name, whatever has become of it.
    fn session(&self, namespace: &str, name: &str) -> Option<usize> {
        self.sessions
            .iter()
            .position(|session| *session.name == *name && *session.namespace == *namespace)
    }

    /// The session of this name, if it is open: one whose end has begun is over for all who name it.
    fn open_one(&self, namespace: &str, name: &str) -> Option<usize> {
        let place = self.session(namespace, name)?;
        self.sessions[place].ending.is_none().then_some(place)
    }

    /// The open session that owns a lock, if a session does and it is open.
    fn session_owning(&self, lock: &LineLock) -> Option<usize> {
        match &lock.owner {
            OpOwner::Named(_) => None,
            OpOwner::Session(name) => self.open_one(&lock.namespace, name),
        }
    }

    fn place_of_session(&self, op: &Op, name: &Text) -> Result<usize, Code> {
        text::check_name(name)?;
        self.open_one(op.namespace_or_default(), name)
            .ok_or("unknown_session")
    }

    fn session_of(&mut self, op: &Op, name: &Text) -> Result<&mut Session, Code> {
        let place = self.place_of_session(op, name)?;
        Ok(&mut self.sessions[place])
    }

    fn say_session(&self, op: &Op, session: &Text, state: &'static str, lines: &mut Vec<Line>) {
        lines.push(Line {
            at: self.now,
            what: What::Session {
                namespace: self.namespace_of(op),
                session: session.clone(),
                state,
            },
        });
    }

    fn open_session(
        &mut self,
        op: &Op,
        name: &Text,
        abandon: u64,
        lines: &mut Vec<Line>,
    ) -> Result<(), Code> {
        text::check_name(name)?;
        let namespace = self.namespace_of(op);
        if self.session(&namespace, name).is_some() {
            return Err("invalid_request");
        }
        check_limit(self.sessions.len() + 1, self.limits.sessions)?;
        self.check_limit_of_namespaces(&namespace)?;
        self.sessions.push(Session {
            namespace,
            name: name.clone(),
            abandon,
            detached_at: None,
            outlived: Vec::new(),
            ending: None,
        });
        self.say_session(op, name, "open", lines);
        Ok(())
    }

    /// Section 4: the session will never ask again for these requests, all of which have ended: they are
    /// forgotten at once. Those that are not known are forgotten already.
    fn done(&mut self, op: &Op, session: &Text, ids: &[Text]) -> Result<(), Code> {
        text::check_name(session)?;
        for id in ids {
            text::check_name(id)?;
        }
        let place = self.place_of_session(op, session)?;
        let lock_of = |id: &Text| LineLock {
            namespace: self.namespace_of(op),
            owner: OpOwner::Session(session.clone()),
            id: id.clone(),
        };
        let locks: Vec<LineLock> = ids.iter().map(lock_of).collect();
        if self
            .live
            .iter()
            .any(|request| locks.contains(&request.lock))
        {
            return Err("invalid_request");
        }
        for lock in &locks {
            self.ended.remove(lock);
            self.to_forget.retain(|(_, other)| other != lock);
            let outlived = &mut self.sessions[place].outlived;
            outlived.retain(|other| other != lock);
        }
        Ok(())
    }

    /// The end of a session begins or goes on: the first of its requests end, in arrival order, itself with
    /// the last of them; what is left to this time is for those that it outlived. Then what that set free is
    /// granted in arrival order.
    fn end_session(&mut self, place: usize, at: u64, lines: &mut Vec<Line>) {
        let mut ending = match self.sessions[place].ending {
            Some(ending) => ending,
            None => self.begin_end(place, at),
        };
        let (namespace, owner) = self.sessions[place].owner();
        let of_it =
            |request: &Request| request.lock.owner == owner && request.lock.namespace == namespace;
        let mut left = self.limits.session_ends_per_ms;
        while left > 0
            && let Some(place) = self.live.iter().position(of_it)
        {
            self.end_request(place, at, "session_ended", lines);
            left -= 1;
        }
        let lives = self.live.iter().any(of_it);
        if !lives && !ending.is_told {
            ending.is_told = true;
            lines.push(Line {
                at,
                what: What::Session {
                    namespace,
                    session: owner.name().clone(),
                    state: "ended",
                },
            });
        }
        while left > 0 && ending.outlived > 0 {
            ending.outlived -= 1;
            left -= 1;
        }
        if lives || ending.outlived > 0 {
            ending.next = at + 1;
            self.sessions[place].ending = Some(ending);
        } else {
            self.sessions.remove(place);
        }
        self.grant_what_is_free(at, lines);
    }

    /// The session at this place is over for all who name it, and what it outlived is forgotten.
    fn begin_end(&mut self, place: usize, at: u64) -> Ending {
        self.forget(at);
        let outlived = std::mem::take(&mut self.sessions[place].outlived);
        for lock in &outlived {
            self.ended.remove(lock);
        }
        let ending = Ending {
            next: at,
            outlived: outlived.len(),
            is_told: false,
        };
        self.sessions[place].ending = Some(ending);
        ending
    }

    // ---- Limits (section 5) ----

    fn check_limits_of_claims(&self, claims: &[OpClaim]) -> Result<(), Code> {
        check_limit(claims.len(), self.limits.claims_per_request)?;
        for claim in claims {
            let segments = text::segments(&claim.path);
            check_limit(segments.clone().count(), self.limits.segments_per_path)?;
            for segment in segments {
                check_limit(segment.len(), self.limits.bytes_per_segment)?;
            }
        }
        Ok(())
    }

    /// Whether one more request may queue with these claims.
    fn check_limit_of_queues(&self, namespace: &Text, claims: &[OpClaim]) -> Result<(), Code> {
        for claim in claims {
            let queued_there = self
                .live
                .iter()
                .filter(|other| {
                    matches!(other.state, State::Queued { .. })
                        && other.lock.namespace == *namespace
                        && other.claims.iter().any(|its| its.path == claim.path)
                })
                .count();
            check_limit(queued_there + 1, self.limits.queued_requests_per_path)?;
        }
        Ok(())
    }

    /// Whether `namespace` may be used: it is in use already, or one more may be. One is in use
    /// while it has an open session or a live or remembered request.
    fn check_limit_of_namespaces(&self, namespace: &Text) -> Result<(), Code> {
        let of_live = self.live.iter().map(|request| &request.lock.namespace);
        let of_ended = self.ended.keys().map(|lock| &lock.namespace);
        let of_sessions = self.sessions.iter().map(|session| &session.namespace);
        let mut in_use = of_live.chain(of_sessions).chain(of_ended);
        if in_use.clone().any(|used| used == namespace) {
            return Ok(());
        }
        let in_use: BTreeSet<&Text> = in_use.by_ref().collect();
        check_limit(in_use.len() + 1, self.limits.namespaces)
    }

    // ---- Questions ----

    fn inspect(&self, op: &Op, path: &Text, lines: &mut Vec<Line>) -> Result<(), Code> {
        text::check_path(path)?;
        let (mut held, mut queued) = (Vec::new(), Vec::new());
        for request in &self.live {
            let overlaps = request
                .claims
                .iter()
                .any(|claim| text::overlap(&claim.path, path));
            if *request.lock.namespace == *op.namespace_or_default() && overlaps {
                match request.state {
                    State::Held { .. } => held.push(request.lock.id.clone()),
                    State::Queued { .. } => queued.push(request.lock.id.clone()),
                }
            }
        }
        lines.push(Line {
            at: self.now,
            what: What::Inspect {
                path: path.clone(),
                held,
                queued,
            },
        });
        Ok(())
    }

    fn namespace_of(&self, op: &Op) -> Text {
        op.namespace
            .clone()
            .unwrap_or_else(|| self.default_namespace.clone())
    }
}

/// Where a request was found.
enum Known {
    /// At this place among the live ones.
    Live(usize),
    /// Among the remembered ones.
    Ended,
}

impl Request {
    /// Section 2: each grant takes the next token. Section 3: the lease counts from the grant.
    fn grant(&mut self, token: u64, at: u64, lines: &mut Vec<Line>) {
        self.state = State::Held {
            token,
            expires: self.ttl.map(|ttl| at + ttl),
        };
        lines.push(Line {
            at,
            what: What::Granted {
                lock: self.lock.clone(),
                token,
            },
        });
    }
}

impl Session {
    /// As whom its requests come, and in which namespace.
    fn owner(&self) -> (Text, OpOwner) {
        (self.namespace.clone(), OpOwner::Session(self.name.clone()))
    }
}

impl State {
    fn token(self) -> Option<u64> {
        match self {
            State::Queued { .. } => None,
            State::Held { token, .. } => Some(token),
        }
    }
}

fn check_names_of(lock: &OpLock) -> Result<(), Code> {
    text::check_name(&lock.id)?;
    match &lock.owner {
        Some(owner) => text::check_name(owner.name()),
        None => Ok(()),
    }
}

fn check_limit(count: usize, limit: u64) -> Result<(), Code> {
    if count as u64 > limit {
        return Err("limit_exceeded");
    }
    Ok(())
}
