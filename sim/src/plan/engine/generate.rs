//! Draws a plan of profile `engine` from a seed.
//!
//! The generator does not run the engine. It keeps an idea of what is live and what is held, so
//! that most commands find what they are about. The idea knows nothing of limits and little of
//! remembered ids; being wrong now and then is welcome, as commands on what has ended must be
//! refused rightly too.

use super::{
    EnginePlan, LimitOverrides,
    shape::{Kind, Shape},
    tree::PathIndex,
};
use crate::{
    draw::{Draw, Stream},
    op::{Action, Op, OpClaim, OpLock, OpOwner, OpWait, Text},
    plan::Profile,
};
use lockwright_engine::DurationMs;

/// How many ended requests are remembered, for retries and for commands that come too late.
const PAST_MAX: usize = 32;

/// How many ended requests a session remembers until it is done with them.
const ENDED_MAX: usize = 256;

/// How many requests are to be asked for again, after somebody was done with their ids.
const AGAIN_MAX: usize = 16;

/// Texts that are no paths.
const BAD_PATHS: [&str; 6] = ["", "/a", "a/", "a//b", "//", "a/\u{1}"];

impl EnginePlan {
    /// Draws the plan of a seed.
    pub(in crate::plan) fn generate(seed: u64) -> EnginePlan {
        let shape = Shape::draw(seed);
        let ops = Generator::new(seed, &shape).ops();
        EnginePlan {
            shape: shape.to_string(),
            limits: shape.limits,
            relimits: shape.relimits,
            checks: shape.checks,
            ops,
        }
    }
}

/// A request that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    namespace: Text,
    owner: OpOwner,
    id: Text,
}

/// What a request claims: paths, each with whether it writes.
type Claims = Vec<(PathIndex, bool)>;

/// A request that is live, as far as is known.
struct Open {
    asked: Asked,
    claims: Claims,
    ttl: Option<u64>,
    /// When it is over by itself, in ms: its lease if it is held, its wait if not.
    until: Option<u64>,
    /// It is held.
    held: bool,
}

/// A session, and whether it is probably open.
struct SessionGuess {
    namespace: Text,
    session: Text,
    abandon: u64,
    /// Until when it is open, in ms: 0 if it is not, the largest number while it is attached.
    until: u64,
    /// The ids of its requests that are over and that it is not done with, the latest last.
    ended: Vec<Text>,
}

struct Generator<'a> {
    shape: &'a Shape,
    kind: Draw,
    time: Draw,
    target: Draw,
    claim: Draw,
    lease: Draw,
    fault: Draw,
    now: u64,
    /// Requests that may be live, in the order in which they were asked for.
    open: Vec<Open>,
    sessions: Vec<SessionGuess>,
    /// Requests that are probably over but may yet live. Each gets one more command, so that what
    /// the generator lost sight of does not stand in the way of all others for ever.
    doubtful: Vec<Asked>,
    /// Requests that are over, when they ended in ms, and what they claimed; a ring.
    past: Vec<(Asked, u64, Claims)>,
    past_next: usize,
    /// Requests with ids that somebody was done with, to be asked for again.
    again: Vec<Asked>,
    ids: u32,
}

impl<'a> Generator<'a> {
    fn new(seed: u64, shape: &'a Shape) -> Generator<'a> {
        let draw = |stream| Draw::new(Profile::Engine, seed, stream);
        Generator {
            shape,
            kind: draw(Stream::Kind),
            time: draw(Stream::Time),
            target: draw(Stream::Target),
            claim: draw(Stream::Claim),
            lease: draw(Stream::Lease),
            fault: draw(Stream::Fault),
            now: 0,
            open: Vec::new(),
            sessions: Vec::new(),
            doubtful: Vec::new(),
            past: Vec::with_capacity(PAST_MAX),
            past_next: 0,
            again: Vec::new(),
            ids: 0,
        }
    }

    fn ops(mut self) -> Vec<Op> {
        let mut ops = Vec::with_capacity(self.shape.commands as usize);
        if self.shape.session_percent > 0 {
            self.open_all_sessions(&mut ops);
        }
        while ops.len() < self.shape.commands as usize {
            let at = self.step_time();
            self.let_time_pass();
            let (namespace, action) = self.action();
            ops.push(Op {
                at,
                namespace: Some(namespace),
                action,
            });
        }
        ops
    }

    fn open_all_sessions(&mut self, ops: &mut Vec<Op>) {
        for namespace in &self.shape.namespaces {
            for session in &self.shape.sessions {
                self.sessions.push(SessionGuess {
                    namespace: namespace.clone(),
                    session: session.clone(),
                    abandon: 0,
                    until: 0,
                    ended: Vec::new(),
                });
            }
        }
        for place in 0..self.sessions.len() {
            let (namespace, action) = self.open_session(place);
            ops.push(Op {
                at: 0,
                namespace: Some(namespace),
                action,
            });
        }
    }

    fn in_ms(&self, units: u32) -> u64 {
        u64::from(units) * u64::from(self.shape.times.unit)
    }

    /// The next command's time.
    fn step_time(&mut self) -> u64 {
        let times = &self.shape.times;
        if !self.time.chance(times.still_percent, 100) {
            let steps = if self.time.chance(times.jump_permille, 1000) {
                // Beyond the default retention of 60 s, or nearly.
                self.time.between(59_999, 60_100)
            } else {
                self.time.between(1, times.step_max) * times.unit
            };
            self.now += u64::from(steps);
        }
        if times.back_percent > 0 && self.time.chance(times.back_percent, 100) {
            let back = self.time.between(1, 2 * times.unit);
            return self.now.saturating_sub(u64::from(back));
        }
        self.now
    }

    /// Takes note of what is over by now, in the order in which it ends.
    fn let_time_pass(&mut self) {
        loop {
            let request = (0..self.open.len())
                .filter_map(|place| Some((self.open[place].until?, place)))
                .min();
            let session = (0..self.sessions.len())
                .map(|place| (self.sessions[place].until, place))
                .filter(|(until, _)| *until > 0)
                .min();
            match (request, session) {
                (Some((until, place)), _)
                    if until <= self.now && session.is_none_or(|(end, _)| until <= end) =>
                {
                    let asked = self.end(place, until);
                    self.doubt(asked);
                }
                (_, Some((until, place))) if until <= self.now => {
                    self.sessions[place].until = 0;
                    self.end_session_requests(place, until);
                }
                _ => return,
            }
        }
    }

    /// Takes note that a request is over at time `at`, and of what that sets free.
    fn end(&mut self, place: usize, at: u64) -> Asked {
        let Open { asked, claims, .. } = self.open.remove(place);
        self.push_past(asked.clone(), at, claims);
        self.grant(place, at);
        asked
    }

    /// Takes note of grants among the requests from `place` on.
    fn grant(&mut self, place: usize, at: u64) {
        for place in place..self.open.len() {
            if !self.open[place].held && !self.waits(place) {
                let open = &mut self.open[place];
                open.held = true;
                open.until = open.ttl.map(|ttl| at + ttl);
            }
        }
    }

    /// Whether an earlier request conflicts.
    fn waits(&self, place: usize) -> bool {
        let tree = &self.shape.tree;
        let open = &self.open[place];
        self.open[..place].iter().any(|other| {
            other.asked.namespace == open.asked.namespace
                && other.claims.iter().any(|&(path, write)| {
                    open.claims
                        .iter()
                        .any(|&(own, own_write)| (write || own_write) && tree.overlap(path, own))
                })
        })
    }

    /// Keeps in mind that a request which should be over may live. Only where limits or ids make
    /// the idea of what is live a guess.
    fn doubt(&mut self, asked: Asked) {
        let exact = LimitOverrides {
            retention: self.shape.limits.retention,
            ..LimitOverrides::default()
        };
        let changes = !self.shape.relimits.is_empty();
        if self.shape.ids > 0 || self.shape.limits != exact || changes {
            self.doubtful.push(asked);
        }
    }

    fn action(&mut self) -> (Text, Action) {
        if !self.doubtful.is_empty() && self.target.chance(1, 6) {
            return self.end_doubtful();
        }
        if !self.again.is_empty() && self.target.chance(1, 4) {
            return self.ask_again();
        }
        let mut kind = self.shape.weights.kind(&mut self.kind);
        // Keep about as many requests live as the shape says.
        let live = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        if live > self.shape.crowd && kind == Kind::Acquire {
            kind = Kind::Release;
        } else if live <= self.shape.crowd / 2 && matches!(kind, Kind::Release | Kind::Cancel) {
            kind = Kind::Acquire;
        }
        match kind {
            Kind::Acquire => self.acquire_anew(),
            Kind::Retry => self.retry(),
            Kind::Release => self.release(),
            Kind::Renew => self.renew(),
            Kind::Cancel => self.cancel(),
            Kind::Break => self.break_lock(),
            Kind::Session => self.session(),
            Kind::Tick => (self.namespace(), Action::Tick),
            Kind::Inspect => {
                let path = self.shape.tree.draw_path(&mut self.claim);
                let path = self.shape.tree.text(path).clone();
                (self.namespace(), Action::Inspect { path })
            }
            Kind::Refused => self.refused(),
            Kind::Done => self.done(),
        }
    }

    fn namespace(&mut self) -> Text {
        self.target.pick(&self.shape.namespaces).clone()
    }

    fn acquire_anew(&mut self) -> (Text, Action) {
        let of_session = self.target.chance(self.shape.session_percent, 100);
        let (namespace, owner) = if of_session {
            let place = self.target.index(self.sessions.len());
            let guess = &self.sessions[place];
            if guess.until <= self.now && self.target.chance(9, 10) {
                return self.open_session(place);
            }
            let owner = OpOwner::Session(guess.session.clone());
            (guess.namespace.clone(), owner)
        } else {
            let owner = OpOwner::Named(self.target.pick(&self.shape.owners).clone());
            (self.namespace(), owner)
        };
        let number = if self.shape.ids == 0 {
            self.ids += 1;
            self.ids
        } else {
            self.target.between(1, self.shape.ids)
        };
        let asked = Asked {
            namespace,
            owner,
            id: id_text(number),
        };
        self.acquire(asked, self.shape.ids == 0)
    }

    /// Now and then a lease far longer than any run: of every magnitude up to the longest. Seldom,
    /// since nothing frees what such a lease holds.
    fn perhaps_huge(&mut self, ttl: u64) -> u64 {
        if self.lease.chance(1, 2_000) {
            u64::MAX >> self.lease.between(11, 43)
        } else {
            ttl
        }
    }

    /// Asks, and takes note that the request may be live. Its id was never used if it is `fresh`.
    fn acquire(&mut self, asked: Asked, fresh: bool) -> (Text, Action) {
        let claims = self.claims();
        self.acquire_for(asked, claims, fresh)
    }

    fn acquire_for(&mut self, asked: Asked, claims: Claims, fresh: bool) -> (Text, Action) {
        let durations = &self.shape.durations;
        let ttl = self
            .lease
            .chance(durations.ttl_percent, 100)
            .then(|| *self.lease.pick(&durations.ttls));
        let ttl = ttl
            .map(|ttl| self.in_ms(ttl))
            .map(|ttl| self.perhaps_huge(ttl));
        let wait = self.lease.below(100);
        let wait = if wait < durations.busy_percent {
            OpWait::No
        } else if wait < durations.busy_percent + durations.wait_percent {
            let wait = *self.lease.pick(&durations.waits);
            OpWait::For(self.in_ms(wait))
        } else {
            OpWait::Forever
        };
        let action = Action::Acquire {
            id: asked.id.clone(),
            owner: asked.owner.clone(),
            claims: claims
                .iter()
                .map(|&(path, write)| OpClaim {
                    write,
                    path: self.shape.tree.text(path).clone(),
                })
                .collect(),
            ttl,
            wait,
        };
        let namespace = asked.namespace.clone();
        self.note_open(asked, fresh, claims, ttl, wait);
        (namespace, action)
    }

    fn note_open(
        &mut self,
        asked: Asked,
        fresh: bool,
        claims: Claims,
        ttl: Option<u64>,
        wait: OpWait,
    ) {
        // A retry changes nothing while the first request lives or is remembered.
        let is_same = |other: &Asked| *other == asked;
        let retention = self
            .shape
            .limits
            .retention
            .map_or(60_000, DurationMs::as_ms);
        let remembered = |(other, ended, _): &(Asked, u64, Claims)| {
            is_same(other) && self.now < ended.saturating_add(retention)
        };
        let is_known = || {
            self.open.iter().any(|open| is_same(&open.asked)) || self.past.iter().any(remembered)
        };
        if !fresh && is_known() {
            return;
        }
        if let Some(guess) = self.session_of(&asked) {
            guess.ended.retain(|id| *id != asked.id);
        }
        self.open.push(Open {
            asked,
            claims,
            ttl,
            until: match wait {
                OpWait::For(wait) => Some(self.now + wait),
                OpWait::No | OpWait::Forever => None,
            },
            held: false,
        });
        let place = self.open.len() - 1;
        self.grant(place, self.now);
        if !self.open[place].held && matches!(wait, OpWait::No | OpWait::For(0)) {
            // Refused as busy.
            let refused = self.open.remove(place).asked;
            self.doubt(refused);
        }
    }

    fn claims(&mut self) -> Claims {
        let wide = self.shape.wide_permille;
        let count = if wide > 0 && self.claim.chance(wide, 1000) {
            self.claim.between(7, 64)
        } else {
            self.claim.between(1, self.shape.claims_max)
        };
        (0..count)
            .map(|_| {
                let write = self.claim.chance(self.shape.write_percent, 100);
                (self.shape.tree.draw_path(&mut self.claim), write)
            })
            .collect()
    }

    /// A request again: one that may be live, or one that is over and perhaps forgotten. Now and then
    /// its id comes for something else, mostly for something like it.
    fn retry(&mut self) -> (Text, Action) {
        let Some((asked, claims)) = self.live_or_past() else {
            return self.acquire_anew();
        };
        let claims = match self.fault.below(8) {
            0 => self.claims(),
            1 => self.turned(claims),
            2 => self.with_one_more(claims),
            3 if claims.len() > 1 => claims[1..].to_vec(),
            // The same in another order.
            4 => claims.into_iter().rev().collect(),
            _ => claims,
        };
        self.acquire_for(asked, claims, false)
    }

    /// The same paths, one of them in the other mode.
    fn turned(&mut self, mut claims: Claims) -> Claims {
        let place = self.fault.index(claims.len());
        claims[place].1 = !claims[place].1;
        claims
    }

    /// One more claim, which another one may cover.
    fn with_one_more(&mut self, mut claims: Claims) -> Claims {
        let write = self.claim.chance(self.shape.write_percent, 100);
        claims.push((self.shape.tree.draw_path(&mut self.claim), write));
        claims
    }

    fn live_or_past(&mut self) -> Option<(Asked, Claims)> {
        let live = !self.open.is_empty() && (self.past.is_empty() || self.target.chance(1, 2));
        if live {
            let open = self.target.pick(&self.open);
            Some((open.asked.clone(), open.claims.clone()))
        } else if self.past.is_empty() {
            None
        } else {
            let (asked, _, claims) = self.target.pick(&self.past);
            Some((asked.clone(), claims.clone()))
        }
    }

    fn push_past(&mut self, asked: Asked, ended: u64, claims: Claims) {
        if let Some(guess) = self.session_of(&asked) {
            if guess.ended.len() == ENDED_MAX {
                guess.ended.remove(0);
            }
            guess.ended.push(asked.id.clone());
        }
        if self.past.len() < PAST_MAX {
            self.past.push((asked, ended, claims));
        } else {
            self.past[self.past_next] = (asked, ended, claims);
            self.past_next = (self.past_next + 1) % PAST_MAX;
        }
    }

    /// A live request that is probably held, or one that is probably queued.
    fn pick_open(&mut self, held: bool) -> Option<usize> {
        let len = self.open.len();
        if len == 0 {
            return None;
        }
        let mut place = 0;
        for _ in 0..4 {
            place = self.target.index(len);
            if self.open[place].held == held {
                break;
            }
        }
        Some(place)
    }

    fn release(&mut self) -> (Text, Action) {
        let Some(place) = self.pick_open(true) else {
            return self.acquire_anew();
        };
        let token = self.token();
        let asked = if token.is_none() && self.open[place].held {
            let asked = self.end(place, self.now);
            if self.target.chance(1, 4) {
                self.doubt(asked.clone());
            }
            asked
        } else {
            self.open[place].asked.clone()
        };
        let (namespace, lock) = lock_of(asked);
        (namespace, Action::Release { lock, token })
    }

    /// Ends the oldest request that may live against all expectation.
    fn end_doubtful(&mut self) -> (Text, Action) {
        let (namespace, lock) = lock_of(self.doubtful.remove(0));
        let is_broken = self.shape.limits.session_ends_per_ms.is_none() || self.target.chance(1, 2);
        let action = match is_broken {
            true => Action::Break { lock, token: None },
            false if self.target.chance(1, 2) => Action::Release { lock, token: None },
            false => Action::Cancel { lock },
        };
        (namespace, action)
    }

    /// Mostly none: the one that the request got.
    fn token(&mut self) -> Option<u64> {
        let stale = self.shape.stale_percent;
        (stale > 0 && self.fault.chance(stale, 100))
            .then(|| u64::from(self.fault.below(self.ids.max(8))))
    }

    fn renew(&mut self) -> (Text, Action) {
        let Some(place) = self.pick_open(true) else {
            return self.acquire_anew();
        };
        let token = self.token();
        let ttl = *self.lease.pick(&self.shape.durations.ttls);
        let ttl = self.in_ms(ttl);
        if token.is_none() && self.open[place].held {
            self.open[place].until = Some(self.now + ttl);
        }
        let (namespace, lock) = lock_of(self.open[place].asked.clone());
        (namespace, Action::Renew { lock, token, ttl })
    }

    fn cancel(&mut self) -> (Text, Action) {
        let Some(place) = self.pick_open(false) else {
            return self.acquire_anew();
        };
        let asked = if self.open[place].held {
            self.open[place].asked.clone()
        } else {
            self.end(place, self.now)
        };
        let (namespace, lock) = lock_of(asked);
        (namespace, Action::Cancel { lock })
    }

    fn break_lock(&mut self) -> (Text, Action) {
        if self.open.is_empty() {
            return self.acquire_anew();
        }
        let index = self.target.index(self.open.len());
        let token = self.token();
        let asked = if token.is_none() {
            self.end(index, self.now)
        } else {
            self.open[index].asked.clone()
        };
        let (namespace, lock) = lock_of(asked);
        (namespace, Action::Break { lock, token })
    }

    fn session(&mut self) -> (Text, Action) {
        let place = self.target.index(self.sessions.len());
        let guess = &mut self.sessions[place];
        let is_open = guess.until > self.now;
        let weights = if is_open {
            [1, 6, 12, 6, 3]
        } else {
            [12, 1, 1, 1, 1]
        };
        let kind = self.kind.weighted(&weights);
        if kind == 0 {
            return self.open_session(place);
        }
        let session = guess.session.clone();
        let namespace = guess.namespace.clone();
        let detached = guess.until != u64::MAX;
        let action = match kind {
            1 => {
                if is_open {
                    guess.until = u64::MAX;
                }
                Action::Attach { session }
            }
            2 => {
                if is_open && !detached {
                    guess.until = self.now + guess.abandon;
                }
                Action::Detach { session }
            }
            3 => {
                if is_open && detached {
                    guess.until = self.now + guess.abandon;
                }
                Action::KeepAlive { session }
            }
            _ => {
                guess.until = 0;
                self.end_session_requests(place, self.now);
                Action::CloseSession { session }
            }
        };
        (namespace, action)
    }

    fn open_session(&mut self, place: usize) -> (Text, Action) {
        let abandon = *self.lease.pick(&self.shape.durations.abandons);
        let abandon = self.in_ms(abandon);
        let guess = &mut self.sessions[place];
        let session = guess.session.clone();
        let namespace = guess.namespace.clone();
        if guess.until <= self.now {
            guess.until = u64::MAX;
            guess.abandon = abandon;
        }
        (namespace, Action::OpenSession { session, abandon })
    }

    /// The session of a request.
    fn session_of(&mut self, asked: &Asked) -> Option<&mut SessionGuess> {
        let OpOwner::Session(name) = &asked.owner else {
            return None;
        };
        let mut sessions = self.sessions.iter_mut();
        sessions.find(|guess| guess.session == *name && guess.namespace == asked.namespace)
    }

    /// A session is done with requests: mostly with such as are over.
    fn done(&mut self) -> (Text, Action) {
        let least = self.shape.done.ended_min;
        let mut place = 0;
        for _ in 0..4 {
            place = self.target.index(self.sessions.len());
            let guess = &self.sessions[place];
            if guess.until > self.now && guess.ended.len() >= least {
                break;
            }
        }
        if self.sessions[place].ended.len() < least && self.target.chance(63, 64) {
            return self.acquire_anew();
        }
        let mut ids = self.ended_of(place);
        let is_whole = self.spoil(place, &mut ids);
        let guess = &mut self.sessions[place];
        let asked = |id: &Text| Asked {
            namespace: guess.namespace.clone(),
            owner: OpOwner::Session(guess.session.clone()),
            id: id.clone(),
        };
        let named: Vec<Asked> = ids.iter().map(asked).collect();
        let is_live = self.open.iter().any(|open| named.contains(&open.asked));
        if is_whole && !is_live && guess.until > self.now {
            guess.ended.retain(|id| !ids.contains(id));
            self.past.retain(|(asked, ..)| !named.contains(asked));
            self.past_next = 0;
        }
        let namespace = guess.namespace.clone();
        let session = guess.session.clone();
        self.ask_again_for(&named);
        (namespace, Action::Done { session, ids })
    }

    /// Ids of requests of a session that are over: a few, or all.
    fn ended_of(&mut self, place: usize) -> Vec<Text> {
        let ended = &self.sessions[place].ended;
        let done = &self.shape.done;
        let count = match self.fault.chance(done.all_percent, 100) {
            true => ended.len(),
            false => ended.len().min(self.target.between(1, 4) as usize),
        };
        let first = self.target.index(ended.len() - count + 1);
        ended[first..first + count].to_vec()
    }

    /// Now and then puts in an id that is not one of an ended request of the session. Whether all are
    /// names.
    fn spoil(&mut self, place: usize, ids: &mut Vec<Text>) -> bool {
        let guess = &self.sessions[place];
        let owner = OpOwner::Session(guess.session.clone());
        let is_its =
            |open: &&Open| open.asked.owner == owner && open.asked.namespace == guess.namespace;
        let other = match self.fault.below(24) {
            0..3 => {
                let live: Vec<&Open> = self.open.iter().filter(is_its).collect();
                let live = (!live.is_empty()).then(|| self.target.pick(&live));
                live.map(|open| open.asked.id.clone())
            }
            // Somebody else's, mostly.
            3..5 if !self.past.is_empty() => Some(self.target.pick(&self.past).0.id.clone()),
            5 => Some(Text::from("none")),
            6..8 if !ids.is_empty() => Some(self.target.pick(ids).clone()),
            8 if self.fault.chance(1, 4) => Some(Text::from(*self.fault.pick(&["", "a\nb"]))),
            _ => None,
        };
        let Some(id) = other else {
            return true;
        };
        let is_name = !id.is_empty() && !id.contains('\n');
        ids.insert(self.target.index(ids.len() + 1), id);
        is_name
    }

    /// A few of these requests, and of others with their ids, are asked for again later.
    fn ask_again_for(&mut self, named: &[Asked]) {
        let others = self.past.iter().map(|(asked, ..)| asked);
        let others = others.filter(|other| named.iter().any(|asked| asked.id == other.id));
        let mut again: Vec<Asked> = others.take(2).cloned().collect();
        for _ in 0..named.len().min(2) {
            again.push(self.target.pick(named).clone());
        }
        self.again.extend(again);
        let surplus = self.again.len().saturating_sub(AGAIN_MAX);
        self.again.drain(..surplus);
    }

    /// Asks with an id that somebody was done with.
    fn ask_again(&mut self) -> (Text, Action) {
        let place = self.target.index(self.again.len());
        let asked = self.again.swap_remove(place);
        let now = self.now;
        let is_over = self
            .session_of(&asked)
            .is_some_and(|guess| guess.until <= now);
        if is_over && self.target.chance(3, 4) {
            return self.acquire_anew();
        }
        let known = self.past.iter().find(|(other, ..)| *other == asked);
        let claims = known.map(|(_, _, claims)| claims.clone());
        let claims = claims.unwrap_or_else(|| self.claims());
        self.acquire_for(asked, claims, false)
    }

    /// Takes note that a session ends at time `at`.
    fn end_session_requests(&mut self, session: usize, at: u64) {
        let guess = &self.sessions[session];
        let owner = OpOwner::Session(guess.session.clone());
        let namespace = guess.namespace.clone();
        let mut ended = Vec::new();
        self.open.retain(|open| {
            let lives = open.asked.owner != owner || open.asked.namespace != namespace;
            if !lives {
                ended.push((open.asked.clone(), open.claims.clone()));
            }
            lives
        });
        for (asked, claims) in ended {
            // Where the end takes its time, the request may live for a while yet.
            if self.shape.limits.session_ends_per_ms.is_some() && self.target.chance(1, 2) {
                self.doubt(asked.clone());
            }
            self.push_past(asked, at, claims);
        }
        self.grant(0, at);
    }

    /// A command that must be refused, whatever the state.
    fn refused(&mut self) -> (Text, Action) {
        let (namespace, mut action) = match self.fault.below(5) {
            0..=2 => {
                // Of no live request: its id would make it a retry.
                self.ids += 1;
                let asked = Asked {
                    namespace: self.namespace(),
                    owner: OpOwner::Named(self.target.pick(&self.shape.owners).clone()),
                    id: format!("bad{}", self.ids).into(),
                };
                let live = self.open.len();
                let acquire = self.acquire(asked, true);
                self.open.truncate(live);
                acquire
            }
            3 => {
                let path = Text::from(*self.fault.pick(&BAD_PATHS));
                return (self.namespace(), Action::Inspect { path });
            }
            _ => return self.too_late(),
        };
        if let Action::Acquire {
            id, claims, ttl, ..
        } = &mut action
        {
            match self.fault.below(7) {
                0 => *ttl = Some(0),
                1 => claims.clear(),
                2 => claims[0].path = Text::from(*self.fault.pick(&BAD_PATHS)),
                3 => claims[0].path = Text::from("x".repeat(256)),
                4 => claims[0].path = Text::from(["d"; 33].join("/")),
                5 => *id = Text::from(*self.fault.pick(&["", "a\nb"])),
                _ => {
                    let claim = claims[0].clone();
                    claims.resize(65, claim);
                }
            }
        }
        (namespace, action)
    }

    /// A command on a request that is over, or never was, or on a lease of nothing.
    fn too_late(&mut self) -> (Text, Action) {
        let asked = match self.live_or_past() {
            Some((asked, _)) if self.fault.chance(3, 4) => asked,
            _ => Asked {
                namespace: self.namespace(),
                owner: OpOwner::Named(Text::from("nobody")),
                id: Text::from("none"),
            },
        };
        let (namespace, lock) = lock_of(asked);
        let token = self.fault.chance(1, 2).then_some(1);
        let action = match self.fault.below(4) {
            0 => Action::Release {
                lock,
                token: Some(u64::from(u32::MAX)),
            },
            1 => Action::Renew {
                lock,
                token,
                ttl: 0,
            },
            2 => Action::Cancel { lock },
            _ => Action::Break {
                lock,
                token: Some(u64::from(u32::MAX)),
            },
        };
        (namespace, action)
    }
}

fn lock_of(asked: Asked) -> (Text, OpLock) {
    let lock = OpLock {
        id: asked.id,
        owner: Some(asked.owner),
    };
    (asked.namespace, lock)
}

/// `L1`, `L2`, ...
fn id_text(number: u32) -> Text {
    let mut digits = [0; 11];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    digits[start - 1] = b'L';
    let text = std::str::from_utf8(&digits[start - 1..]).expect("it is ASCII");
    Text::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_out() {
        assert_eq!(&*id_text(0), "L0");
        assert_eq!(&*id_text(1_020), "L1020");
        assert_eq!(&*id_text(u32::MAX), "L4294967295");
    }

    #[test]
    fn a_seed_gives_one_plan() {
        assert_eq!(EnginePlan::generate(3), EnginePlan::generate(3));
        assert_ne!(EnginePlan::generate(3).ops, EnginePlan::generate(4).ops);
    }
}
