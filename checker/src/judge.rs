//! Reads the engine's answer to one command and holds it against the rules.
//!
//! The judge walks along the events with the book in its hand: it works out what the rules make
//! happen next, and the next event must be that. It is naive on purpose, knows nothing of how the
//! engine does it, and changes the book only by what the engine says.

use crate::ask::Ask;
use crate::book::{Book, Due, Life, NOTHING, Request, Session};
use crate::instance::{ABANDON, Instance};
use crate::rules::{Breach, Rule, must};
use crate::sights::{Sight, Sights};
use lockwright_engine::{
    EndReason, ErrorCode, Event, EventKind, FirstRequest, LockKey, Refusal, Reply, SessionChange,
    SessionKey, Wait,
};

/// What the engine answered.
pub(crate) type Answer = Result<Reply, Refusal>;

/// What became of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verdict {
    pub(crate) sights: Sights,
    /// Whether it was refused, as it had to be.
    pub(crate) refused: bool,
}

/// Judges a command at the book's time, and brings the book up to date.
pub(crate) fn judge(
    instance: &Instance,
    book: &mut Book,
    ask: Ask,
    events: &[Event],
    answer: &Answer,
) -> Result<Verdict, Breach> {
    let mut judge = Judge {
        instance,
        book,
        events,
        next: 0,
        sights: Sights::default(),
    };
    judge.due()?;
    judge.book.told = judge.book.clock;
    let known: Vec<bool> = judge
        .book
        .requests
        .iter()
        .map(|r| r.life != Life::Unknown)
        .collect();
    judge.book.forget(instance);
    if let Ask::Acquire { id, .. } = ask
        && known[id]
        && judge.book.requests[id].life == Life::Unknown
    {
        judge.sights.add(Sight::IdUsedAgain);
    }
    judge.command(ask, answer)?;
    // The end of a session ends what was remembered only because it lived.
    judge.book.forget(instance);
    must(judge.peek().is_none(), Rule::OneEnd, || {
        format!("{:?} happens without a cause", judge.peek())
    })?;
    Ok(Verdict {
        sights: judge.sights,
        refused: answer.is_err(),
    })
}

struct Judge<'a> {
    instance: &'a Instance,
    book: &'a mut Book,
    events: &'a [Event],
    next: usize,
    sights: Sights,
}

impl<'a> Judge<'a> {
    fn peek(&self) -> Option<&'a Event> {
        self.events.get(self.next)
    }

    fn name(&self, id: usize) -> &str {
        self.instance.locks[id].id.as_str()
    }

    // ---- What is due before the command (section 3) ----

    fn due(&mut self) -> Result<(), Breach> {
        let mut dues = 0;
        while let Some((at, due)) = self.book.first_due() {
            if at > self.book.clock {
                break;
            }
            dues += 1;
            match due {
                Due::Request { id, .. } => {
                    let (rule, reason, sight) = match self.book.requests[id].life {
                        Life::Queued { .. } => {
                            self.sights.add(Sight::TimeOut);
                            (Rule::Waits, EndReason::TimedOut, Sight::TimeOutHandsOver)
                        }
                        _ => (Rule::Leases, EndReason::Expired, Sight::ExpiryHandsOver),
                    };
                    self.end(id, reason, at, rule)?;
                    self.grants(at, sight)?;
                }
                Due::Session { client, .. } => {
                    self.session_end(client, at)?;
                }
            }
        }
        if dues > 1 {
            self.sights.add(Sight::SeveralDue);
        }
        Ok(())
    }

    /// The next event must be this end.
    fn end(&mut self, id: usize, reason: EndReason, at: u64, rule: Rule) -> Result<(), Breach> {
        let lock = &self.instance.locks[id];
        let wanted = EventKind::Ended {
            lock: lock.clone(),
            reason,
        };
        let got = self.peek();
        // Another thing that is due at its own time is only out of order.
        let rule = match got.map(|event| &event.kind) {
            Some(EventKind::Ended {
                lock: other,
                reason,
            }) if other != lock
                && matches!(reason, EndReason::Expired | EndReason::TimedOut)
                && rule != Rule::Sessions =>
            {
                Rule::DueOrder
            }
            _ => rule,
        };
        must(
            got.is_some_and(|event| event.kind == wanted && event.at.as_ms() == at),
            rule,
            || {
                format!(
                    "{} must end as {reason} at {at} ms, not {}",
                    self.name(id),
                    shown(got)
                )
            },
        )?;
        self.next += 1;
        let token = self.book.requests[id].token();
        self.book.requests[id].life = Life::Ended { reason, at, token };
        Ok(())
    }

    /// A session ends: its requests, itself, and then what that sets free.
    fn session_end(&mut self, client: usize, at: u64) -> Result<(), Breach> {
        let mut of_it: Vec<(u32, usize)> = self
            .book
            .live()
            .filter(|(id, _)| self.instance.client_of[*id] == client)
            .map(|(id, request)| (request.arrival, id))
            .collect();
        of_it.sort_unstable();
        if of_it.len() > 1 {
            self.sights.add(Sight::SessionEndsSeveral);
        }
        for (_, id) in of_it {
            self.end(id, EndReason::SessionEnded, at, Rule::Sessions)?;
        }
        self.session(client, SessionChange::Ended, at)?;
        self.book.sessions[client] = None;
        self.grants(at, Sight::SessionEndHandsOver)
    }

    /// The next event must be this change of a session.
    fn session(&mut self, client: usize, change: SessionChange, at: u64) -> Result<(), Breach> {
        let got = self.peek();
        let is_it = got.is_some_and(|event| {
            let EventKind::Session {
                session,
                change: is,
            } = &event.kind
            else {
                return false;
            };
            self.client_of(session) == Some(client) && *is == change && event.at.as_ms() == at
        });
        must(is_it, Rule::Sessions, || {
            let owner = self.instance.clients[client].owner.name();
            format!(
                "{owner} must be {} at {at} ms, not {}",
                change.as_str(),
                shown(got)
            )
        })?;
        self.next += 1;
        Ok(())
    }

    fn client_of(&self, key: &SessionKey) -> Option<usize> {
        self.instance.client_of_session(key)
    }

    // ---- Grants (section 2) ----

    /// All grants that come next belong to the event that has just happened, at `at`.
    fn grants(&mut self, at: u64, sight: Sight) -> Result<(), Breach> {
        let mut latest = None;
        let mut count = 0;
        while let Some(event) = self.peek() {
            let EventKind::Granted { lock, .. } = &event.kind else {
                break;
            };
            let Some(id) = self.instance.id_of(lock) else {
                break;
            };
            if !self.book.requests[id].is_live() {
                // It may be the command's own.
                break;
            }
            self.grant(at)?;
            let arrival = self.book.requests[id].arrival;
            must(latest < Some(arrival), Rule::GrantOrder, || {
                format!("{} is granted after one that arrived later", self.name(id))
            })?;
            latest = Some(arrival);
            count += 1;
        }
        if count > 0 {
            self.sights.add(sight);
        }
        if count > 1 {
            self.sights.add(Sight::TwoSetFree);
        }
        self.nobody_is_forgotten(at)
    }

    /// The next event must be the grant of a queued request, allowed at `at`.
    fn grant(&mut self, at: u64) -> Result<(), Breach> {
        let event = self.peek();
        let Some(Event {
            at: said_at,
            kind:
                EventKind::Granted {
                    lock,
                    token,
                    expires,
                    arrived_at,
                },
        }) = event
        else {
            return Err(unexpected(Rule::Answers, "a grant", event));
        };
        let id = self.known(lock)?;
        let Request {
            ttl,
            life,
            arrived_at: arrived,
            ..
        } = self.book.requests[id];
        let Life::Queued { deadline } = life else {
            return Err(unexpected(Rule::OneEnd, "no second grant", event));
        };
        self.may_be_granted(id)?;
        must(said_at.as_ms() == at, Rule::NeverLater, || {
            format!(
                "{} is free at {at} ms, and granted at {said_at} ms",
                self.name(id)
            )
        })?;
        let wanted = self.book.last_token + 1;
        must(token.0 == wanted, Rule::Tokens, || {
            format!(
                "{} gets token {token}, and the next is {wanted}",
                self.name(id)
            )
        })?;
        let ends = ttl.map(|ttl| at + ttl);
        must(expires.map(|at| at.as_ms()) == ends, Rule::Leases, || {
            format!(
                "the lease of {} ends at {ends:?}, not {expires:?}",
                self.name(id)
            )
        })?;
        must(arrived_at.as_ms() == arrived, Rule::Answers, || {
            format!(
                "{} arrived at {arrived} ms, and is granted as one of {arrived_at} ms",
                self.name(id)
            )
        })?;
        if deadline == Some(at) {
            self.sights.add(Sight::GrantAtDeadline);
        }
        self.next += 1;
        self.book.last_token = token.0;
        self.book.requests[id].life = Life::Held {
            token: token.0,
            granted_at: at,
            expires: ends,
        };
        Ok(())
    }

    fn may_be_granted(&self, id: usize) -> Result<(), Breach> {
        let mut rule = Rule::FirstCome;
        let mut stands_before = None;
        for (other, request) in self.book.blockers(self.instance, id) {
            stands_before = Some(other);
            if request.is_held() {
                rule = Rule::MutualExclusion;
            }
        }
        match stands_before {
            None => Ok(()),
            Some(other) => Err(Breach {
                rule,
                message: format!(
                    "{} is granted, and {} is live, came earlier and conflicts with it",
                    self.name(id),
                    self.name(other)
                ),
            }),
        }
    }

    fn nobody_is_forgotten(&self, at: u64) -> Result<(), Breach> {
        match self.book.waits_for_nothing(self.instance) {
            None => Ok(()),
            Some(id) => Err(Breach {
                rule: Rule::NeverLater,
                message: format!(
                    "{} waits at {at} ms, and no earlier live request conflicts with it",
                    self.name(id)
                ),
            }),
        }
    }

    fn known(&self, lock: &LockKey) -> Result<usize, Breach> {
        self.instance.id_of(lock).ok_or_else(|| Breach {
            rule: Rule::OneEnd,
            message: format!("nobody ever asked for {lock:?}"),
        })
    }

    // ---- The command itself ----

    fn command(&mut self, ask: Ask, answer: &Answer) -> Result<(), Breach> {
        let now = self.book.clock;
        match ask {
            Ask::Acquire {
                id,
                claims,
                ttl,
                wait,
            } => {
                return self.acquire((id, claims, ttl, wait), answer);
            }
            Ask::Renew { id, token, ttl } => return self.renew(id, token, ttl, answer),
            _ => {}
        }
        if let Some(error) = self.refusal(ask) {
            return self.refused(ask, error, answer);
        }
        must(*answer == Ok(Reply::Done), Rule::Answers, || {
            format!("{ask:?} must be done, and is answered with {answer:?}")
        })?;
        let end = |judge: &mut Judge, id, reason, sight| {
            judge.end(id, reason, now, Rule::OneEnd)?;
            judge.grants(now, sight)
        };
        match ask {
            Ask::Acquire { .. } | Ask::Senseless { .. } | Ask::Renew { .. } => {
                unreachable!("{ask:?} is judged elsewhere, or refused")
            }
            Ask::Tick => Ok(()),
            Ask::Cancel { id } => end(self, id, EndReason::Cancelled, Sight::CancelHandsOver),
            Ask::Release { id, .. } => end(self, id, EndReason::Released, Sight::ReleaseHandsOver),
            Ask::Break { id, .. } => end(self, id, EndReason::Broken, Sight::BreakHandsOver),
            Ask::Close { client } => self.session_end(client, now),
            Ask::Done { client, id, .. } => {
                if self.instance.client_of[id] == client {
                    self.book.requests[id] = NOTHING;
                }
                Ok(())
            }
            Ask::Open { client } => {
                self.session(client, SessionChange::Open, now)?;
                self.book.sessions[client] = Some(Session {
                    opening: self.book.openings,
                    ends_at: None,
                });
                self.book.openings += 1;
                Ok(())
            }
            Ask::Attach { client } => {
                self.session(client, SessionChange::Attached, now)?;
                if self.ends_at(client).take().is_some() {
                    self.sights.add(Sight::CameBack);
                }
                Ok(())
            }
            Ask::Detach { client } => {
                self.session(client, SessionChange::Detached, now)?;
                let ends_at = now + ABANDON;
                self.ends_at(client).get_or_insert(ends_at);
                Ok(())
            }
            Ask::KeepAlive { client } => {
                self.session(client, SessionChange::Alive, now)?;
                let ends_at = now + ABANDON;
                if let Some(end) = self.ends_at(client) {
                    let later = *end < ends_at;
                    *end = ends_at;
                    if later {
                        self.sights.add(Sight::KeptAlive);
                    }
                }
                Ok(())
            }
        }
    }

    /// When an open session ends.
    fn ends_at(&mut self, client: usize) -> &mut Option<u64> {
        let session = self.book.sessions[client].as_mut();
        &mut session
            .unwrap_or_else(|| unreachable!("it was refused otherwise"))
            .ends_at
    }

    /// The error that the rules give a command now, if they do (sections 2, 3 and 5).
    fn refusal(&self, ask: Ask) -> Option<ErrorCode> {
        let life = |id: usize| self.book.requests[id].life;
        let open = |client: usize| self.book.sessions[client].is_some();
        match ask {
            Ask::Tick | Ask::Acquire { .. } => None,
            Ask::Senseless { .. } => Some(ErrorCode::InvalidRequest),
            Ask::Cancel { id } => match life(id) {
                Life::Unknown => Some(ErrorCode::UnknownLock),
                Life::Queued { .. } => None,
                Life::Held { .. } | Life::Ended { .. } => Some(ErrorCode::NotQueued),
            },
            Ask::Renew { ttl: None, .. } => Some(ErrorCode::InvalidRequest),
            Ask::Release { id, token } | Ask::Renew { id, token, .. } => match life(id) {
                Life::Unknown => Some(ErrorCode::UnknownLock),
                Life::Held { token: its, .. } if its == token => None,
                Life::Held { .. } => Some(ErrorCode::StaleToken),
                Life::Queued { .. } | Life::Ended { .. } => Some(ErrorCode::NotHeld),
            },
            Ask::Break { id, token } => match life(id) {
                Life::Unknown => Some(ErrorCode::UnknownLock),
                Life::Ended { .. } => Some(ErrorCode::NotHeld),
                Life::Queued { .. } | Life::Held { .. } => {
                    let its = self.book.requests[id].token();
                    (token.is_some() && token != its).then_some(ErrorCode::StaleToken)
                }
            },
            Ask::Open { client } => open(client).then_some(ErrorCode::InvalidRequest),
            Ask::Attach { client }
            | Ask::Detach { client }
            | Ask::KeepAlive { client }
            | Ask::Close { client } => (!open(client)).then_some(ErrorCode::UnknownSession),
            Ask::Done { client, .. } if !open(client) => Some(ErrorCode::UnknownSession),
            Ask::Done { client, id, and } => {
                let is_live = |id: usize| {
                    self.instance.client_of[id] == client && self.book.requests[id].is_live()
                };
                (is_live(id) || and.is_some_and(is_live)).then_some(ErrorCode::InvalidRequest)
            }
        }
    }

    fn refused(&self, ask: Ask, error: ErrorCode, answer: &Answer) -> Result<(), Breach> {
        must(
            answer
                .as_ref()
                .is_err_and(|refusal| refusal.code() == error),
            Rule::Answers,
            || format!("{ask:?} must be refused as {error}, and is answered with {answer:?}"),
        )
    }

    fn acquire(
        &mut self,
        (id, claims, ttl, wait): (usize, u8, u8, u8),
        answer: &Answer,
    ) -> Result<(), Breach> {
        let now = self.book.clock;
        if let Some(state) = self.book.requests[id].state() {
            let wanted = match self.first_request(id, claims) {
                None => Ok(Reply::Acquired {
                    state,
                    fresh: false,
                }),
                Some(first) => Err(Refusal::RequestMismatch(Box::new(first))),
            };
            return must(*answer == wanted, Rule::Retries, || {
                format!(
                    "{} stands at {state:?}, and a retry is told {answer:?}",
                    self.name(id)
                )
            });
        }
        let ask = Ask::Acquire {
            id,
            claims,
            ttl,
            wait,
        };
        if !self.instance.may_ask(self.book, id) {
            return self.refused(ask, ErrorCode::UnknownSession, answer);
        }
        let before = *self.book;
        let wait = self.instance.waits[usize::from(wait)];
        self.book.requests[id] = Request {
            life: Life::Queued {
                deadline: match wait {
                    Wait::For(wait) => Some(now + wait.as_ms()),
                    Wait::No | Wait::Forever => None,
                },
            },
            claims,
            ttl: self.instance.ttls[usize::from(ttl)],
            arrival: self.book.arrivals,
            arrived_at: now,
        };
        let must_wait = self.book.blockers(self.instance, id).next().is_some();
        if wait == Wait::No && must_wait && answer.is_err() {
            *self.book = before;
            return self.refused(ask, ErrorCode::Busy, answer);
        }
        self.book.arrivals += 1;
        self.book.asked += 1;
        match self.peek().map(|event| &event.kind) {
            Some(EventKind::Granted { lock, .. }) if self.instance.id_of(lock) == Some(id) => {
                self.grant(now)?;
            }
            Some(EventKind::Queued { lock }) if self.instance.id_of(lock) == Some(id) => {
                let at = self.events[self.next].at.as_ms();
                must(at == now && wait != Wait::No, Rule::Answers, || {
                    format!("{} may not be queued, at {at} ms", self.name(id))
                })?;
                self.next += 1;
                self.nobody_is_forgotten(now)?;
            }
            _ => {
                self.nobody_is_forgotten(now)?;
                return Err(unexpected(Rule::Answers, "an arrival", self.peek()));
            }
        }
        let wanted = self.book.requests[id].state();
        let told = answer.as_ref().ok().and_then(|reply| match reply {
            Reply::Acquired { state, fresh: true } => Some(*state),
            _ => None,
        });
        must(told == wanted, Rule::Answers, || {
            format!(
                "{} stands at {wanted:?}, and is told {answer:?}",
                self.name(id)
            )
        })
    }

    /// What must be said of a known request to one that has its id, if that asks for other claims.
    /// No claim set of an instance has the same claims as another one, or covered ones.
    fn first_request(&self, id: usize, claims: u8) -> Option<FirstRequest> {
        let first = &self.book.requests[id];
        if first.claims == claims {
            return None;
        }
        Some(match first.life {
            Life::Ended { reason, .. } => FirstRequest {
                claims: Vec::new(),
                left_out: 0,
                ended: Some(reason),
            },
            _ => {
                let set = &self.instance.claim_sets[usize::from(first.claims)];
                let mut claims = set.claims.clone();
                claims.sort_unstable();
                FirstRequest {
                    claims,
                    left_out: 0,
                    ended: None,
                }
            }
        })
    }

    fn renew(
        &mut self,
        id: usize,
        token: u64,
        ttl: Option<u64>,
        answer: &Answer,
    ) -> Result<(), Breach> {
        let ask = Ask::Renew { id, token, ttl };
        let (Some(ttl), None) = (ttl, self.refusal(ask)) else {
            let error = self.refusal(ask).unwrap_or(ErrorCode::InvalidRequest);
            return self.refused(ask, error, answer);
        };
        let ends = self.book.clock + ttl;
        let event = self.peek();
        let is_it = event.is_some_and(|event| {
            event.at.as_ms() == self.book.clock
                && matches!(&event.kind, EventKind::Renewed { lock, expires }
                    if *lock == self.instance.locks[id] && expires.as_ms() == ends)
        });
        must(is_it, Rule::Leases, || {
            let got = shown(event);
            format!(
                "the lease of {} must now end at {ends} ms, not {got}",
                self.name(id)
            )
        })?;
        self.next += 1;
        must(
            matches!(answer, Ok(Reply::Renewed { expires }) if expires.as_ms() == ends),
            Rule::Answers,
            || {
                format!(
                    "{} is renewed to {ends} ms, and is told {answer:?}",
                    self.name(id)
                )
            },
        )?;
        let Life::Held { expires, .. } = &mut self.book.requests[id].life else {
            unreachable!("it was refused otherwise");
        };
        let before = expires.replace(ends);
        if before.is_some_and(|before| before < ends) {
            self.sights.add(Sight::RenewalSaves);
        }
        Ok(())
    }
}

fn unexpected(rule: Rule, wanted: &str, got: Option<&Event>) -> Breach {
    Breach {
        rule,
        message: format!("{wanted} is due, not {}", shown(got)),
    }
}

fn shown(event: Option<&Event>) -> String {
    event.map_or_else(
        || "nothing".to_owned(),
        |event| lockwright_sim::driver::line_of(event.clone()).to_string(),
    )
}
