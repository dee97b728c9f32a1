//! The connection and the session: connecting, opening or resuming, staying alive, giving up.

use super::{Ask, Gone, Outcome, Output, Phase, Session, SessionCore};
use crate::{CallError, Credentials, Lost, Notice, Refused, deadline::Anchor};
use lockwright_engine::{DurationMs, EndReason, ErrorCode};
use lockwright_protocol::{ClientFrame, Message, Request, Seq, ServerFrame};
use std::time::Duration;

/// Where the connection is in its life.
#[derive(Debug, Clone, Copy)]
pub(super) enum Link {
    /// There is none.
    Down {
        /// When to make one.
        retry_at: Duration,
    },
    /// It is being made.
    Connecting {
        /// Since when.
        since: Duration,
    },
    /// It is there, and the session is being opened or resumed. Nothing else is sent before that
    /// is answered: so a connection that was replaced can never have carried anything that the
    /// server would apply after the replacement.
    Greeting {
        /// Of the `open` or `resume`.
        seq: Seq,
        /// When it was sent.
        sent: Duration,
        /// When the last part of the answer came, or when it was sent.
        heard: Duration,
    },
    /// The session is attached to it.
    Up,
    /// The session is closed.
    Closed,
}

impl SessionCore {
    /// There is a connection. `credentials` are for a session to be opened, if one must be.
    pub fn connected(&mut self, now: Duration, credentials: Credentials) {
        if !matches!(self.link, Link::Connecting { .. }) {
            return;
        }
        self.spare = Some(credentials);
        self.pass_deadlines(now);
        self.greet(now);
    }

    /// The connection is gone, or could not be made.
    pub fn disconnected(&mut self, now: Duration, gone: Gone) {
        self.pass_deadlines(now);
        if matches!(self.link, Link::Closed) {
            return;
        }
        if gone == Gone::SessionEnded {
            // Its pushes may have been left out.
            self.lose_session(&Notice::Ended(EndReason::SessionEnded));
            if self.closing.is_some() {
                return self.finish(&Ok(Outcome::Done));
            }
        }
        self.go_down(now, gone);
    }

    /// A message came.
    pub fn message(&mut self, now: Duration, text: &str) {
        self.pass_deadlines(now);
        let Ok(frame) = ServerFrame::decode(text) else {
            // No server of ours: try again later.
            return self.hang_up(now);
        };
        match (self.link, frame.seq) {
            (Link::Greeting { seq, sent, .. }, Some(answered)) if seq == answered => {
                self.greeted(now, seq, sent, frame.message);
            }
            (Link::Up, Some(seq)) => match self.unanswered.remove(&seq) {
                Some(pending) => self.answered(now, seq, pending, frame.message),
                // Its lock was given up, or something else has told before how it stands.
                None if seq.0 < self.next_seq => {}
                None => self.hang_up(now),
            },
            (Link::Up, None) => self.pushed(now, frame.message),
            // What still came of a connection that was given up.
            (Link::Down { .. } | Link::Connecting { .. } | Link::Closed, _) => {}
            (Link::Greeting { .. }, _) => self.hang_up(now),
        }
    }

    /// Ends the session. The client stops believing in its locks at once.
    pub fn close(&mut self, now: Duration, call: Option<super::CallId>) {
        self.pass_deadlines(now);
        if self.closing.is_some() || matches!(self.link, Link::Closed) {
            return self.reply(call, Err(CallError::Closed));
        }
        while let Some((&lock, _)) = self.locks.first_key_value() {
            self.end_lock(lock, Notice::Lost(Lost::Closed));
        }
        self.closing = Some(now.saturating_add(self.config.call_timeout));
        self.ask(now, Ask::Close { call });
        if self.session.is_none() {
            self.finish(&Ok(Outcome::Done));
        }
    }

    /// When something is to be done about the connection.
    pub(super) fn link_wake(&self) -> Option<Duration> {
        let timeout = |since: Duration| since.saturating_add(self.config.call_timeout);
        match self.link {
            Link::Down { retry_at } => Some(retry_at),
            Link::Connecting { since } | Link::Greeting { heard: since, .. } => {
                Some(timeout(since))
            }
            Link::Up => {
                let keep_alive = self.last_sent.saturating_add(self.keep_alive);
                Some(
                    self.oldest_sent()
                        .map_or(keep_alive, |oldest| keep_alive.min(timeout(oldest))),
                )
            }
            Link::Closed => None,
        }
    }

    pub(super) fn wake_link(&mut self, now: Duration) {
        let timed_out = |since: Duration| now >= since.saturating_add(self.config.call_timeout);
        match self.link {
            Link::Down { retry_at } if now >= retry_at => {
                self.link = Link::Connecting { since: now };
                let address = self.config.addresses[self.address].clone();
                self.outputs.push_back(Output::Connect { address });
            }
            Link::Connecting { since } | Link::Greeting { heard: since, .. }
                if timed_out(since) =>
            {
                self.hang_up(now);
            }
            Link::Up if self.oldest_sent().is_some_and(timed_out) => self.hang_up(now),
            Link::Up if now >= self.last_sent.saturating_add(self.keep_alive) => {
                self.say_something(now);
            }
            _ => {}
        }
    }

    /// A sign of life: what may be forgotten is as good as any.
    fn say_something(&mut self, now: Duration) {
        if !self.tell_done(now) {
            self.ask(now, Ask::KeepAlive);
        }
    }

    /// When the oldest message was sent that is not answered. Sequence numbers are in the order of
    /// sending, also when what is unanswered is sent again: so it is that of the first.
    fn oldest_sent(&self) -> Option<Duration> {
        self.unanswered.values().find_map(|pending| pending.sent)
    }

    /// Opens or resumes the session on a new connection.
    fn greet(&mut self, now: Duration) {
        let namespace = self.config.namespace.clone();
        let request = match &self.session {
            Some(session) if session.opened => Request::Resume {
                namespace,
                session: session.credentials.session.clone(),
                secret: session.credentials.secret.clone(),
            },
            _ => {
                let asked = self.session.take().map(|session| session.credentials);
                let credentials = asked.or_else(|| self.spare.take());
                let credentials = credentials.expect("each connection comes with credentials");
                let request = Request::Open {
                    namespace,
                    session: credentials.session.clone(),
                    secret: credentials.secret.clone(),
                    abandon_ms: Some(self.config.abandon),
                    label: self.config.label.as_ref().map(ToString::to_string),
                };
                let opened = false;
                self.session = Some(Session {
                    credentials,
                    opened,
                });
                request
            }
        };
        let seq = self.draw_seq();
        self.link = Link::Greeting {
            seq,
            sent: now,
            heard: now,
        };
        self.listed.clear();
        self.send(now, seq, request);
    }

    /// `open` or `resume`, which was sent at `sent`, is answered.
    fn greeted(&mut self, now: Duration, seq: Seq, sent: Duration, message: Message) {
        match message {
            Message::Opened {
                idle_timeout_ms, ..
            } => {
                let session = self.session.as_mut();
                session.expect("a session was asked for").opened = true;
                self.come_up(now, sent, idle_timeout_ms);
            }
            Message::Resumed {
                idle_timeout_ms,
                locks,
                more,
            } => {
                self.prove_session(sent);
                self.listed.extend(locks);
                if more {
                    let heard = now;
                    self.link = Link::Greeting { seq, sent, heard };
                } else {
                    let listed = std::mem::take(&mut self.listed);
                    self.reconcile(now, sent, listed);
                    self.come_up(now, sent, idle_timeout_ms);
                }
            }
            Message::Error {
                error: ErrorCode::UnknownSession,
                ..
            } => {
                self.lose_session(&Notice::Lost(Lost::SessionOver));
                if self.closing.is_some() {
                    self.finish(&Ok(Outcome::Done));
                } else if self.spare.is_some() {
                    self.greet(now);
                } else {
                    self.hang_up(now);
                }
            }
            Message::Error {
                error,
                message,
                limit,
                claims,
                claims_left_out,
                ended,
            } => {
                let refused = Refused {
                    code: error,
                    message,
                    limit,
                    claims,
                    claims_left_out,
                    ended,
                };
                self.refuse_all(&refused);
                self.session = None;
                self.hang_up(now);
            }
            _ => self.hang_up(now),
        }
    }

    /// The session is attached: what is unanswered is sent, again or for the first time.
    fn come_up(&mut self, now: Duration, sent: Duration, idle_timeout: DurationMs) {
        self.prove_session(sent);
        self.link = Link::Up;
        self.failed = 0;
        self.backoff = self.config.reconnect_min;
        // Two signs of life may get lost, or be late, before the server's patience ends.
        let patience = Duration::from_millis(idle_timeout.as_ms()) / 3;
        self.keep_alive = self
            .config
            .keep_alive
            .min(patience)
            .max(Duration::from_millis(1));
        let unanswered: Vec<Seq> = self.unanswered.keys().copied().collect();
        for seq in unanswered {
            self.transmit(now, seq);
        }
    }

    /// The session was attached when a message was applied that was sent at `sent`.
    pub(super) fn prove_session(&mut self, sent: Duration) {
        let bound = self.config.clock_rate_bound;
        let until = bound.deadline(sent, self.config.abandon);
        // Answers come in the order of sending, but for those to `resume`.
        if until > self.belief.until() {
            self.belief.set(until);
        }
    }

    /// Sends a message that is to be answered, for the first time or again.
    pub(super) fn transmit(&mut self, now: Duration, seq: Seq) {
        let Some(pending) = self.unanswered.get_mut(&seq) else {
            return;
        };
        pending.sent = Some(now);
        pending.sends = pending.sends.saturating_add(1);
        let request = match pending.ask.clone() {
            Ask::Acquire { lock } => {
                let entry = self.locks.get_mut(&lock);
                let entry = entry.expect("an unanswered acquire has its lock");
                entry.anchor.get_or_insert(Anchor::first_sent(now));
                Request::Acquire {
                    id: entry.id.clone(),
                    claims: entry.claims.clone(),
                    ttl_ms: entry.ttl,
                    wait: entry.wait,
                    label: entry.label.as_ref().map(ToString::to_string),
                }
            }
            Ask::Cancel { id, .. } => Request::Cancel { id },
            Ask::Release { id, token, .. } => Request::Release { id, token },
            Ask::Renew {
                lock,
                id,
                token,
                ttl,
                ..
            } => {
                // It may make the lease shorter, and its answer may get lost.
                let until = self.config.clock_rate_bound.deadline(now, ttl);
                self.change_lease(lock, token, |holding| {
                    holding.renewals.insert(seq, until);
                });
                Request::Renew {
                    id,
                    token,
                    ttl_ms: ttl,
                }
            }
            Ask::Done { ids } => Request::Done { ids },
            Ask::KeepAlive => Request::KeepAlive {},
            Ask::Close { .. } => Request::Close {},
        };
        self.send(now, seq, request);
    }

    fn send(&mut self, now: Duration, seq: Seq, request: Request) {
        self.last_sent = now;
        self.outputs
            .push_back(Output::Send(ClientFrame { seq, request }));
    }

    /// Gives the connection up.
    pub(super) fn hang_up(&mut self, now: Duration) {
        self.outputs.push_back(Output::Disconnect);
        self.go_down(now, Gone::Failed);
    }

    fn go_down(&mut self, now: Duration, gone: Gone) {
        let wait = self.go_on(gone);
        self.link = Link::Down {
            retry_at: now.saturating_add(wait),
        };
        self.unanswered
            .retain(|_, pending| pending.ask != Ask::KeepAlive);
        for pending in self.unanswered.values_mut() {
            pending.sent = None;
        }
    }

    /// Turns to the next address; says how long to wait before it is tried.
    fn go_on(&mut self, gone: Gone) -> Duration {
        let addresses = self.config.addresses.len();
        self.address = (self.address + 1) % addresses;
        self.failed += 1;
        if self.failed < addresses {
            return match gone {
                Gone::Failed | Gone::SessionEnded => self.config.reconnect_min,
                Gone::Elsewhere => Duration::ZERO,
            };
        }
        self.failed = 0;
        let wait = self.backoff;
        self.backoff = wait.saturating_mul(2).min(self.config.reconnect_max);
        wait
    }

    /// The session is over. All that was asked within it is told `last`; what was not sent yet waits
    /// for the next session.
    pub(super) fn lose_session(&mut self, last: &Notice) {
        self.session = None;
        self.done.clear();
        self.belief.set(Duration::ZERO);
        let lost: Vec<_> = self
            .locks
            .iter()
            .filter(|(_, entry)| entry.anchor.is_some())
            .map(|(lock, _)| *lock)
            .collect();
        for lock in lost {
            self.end_lock(lock, last.clone());
        }
        let unanswered = std::mem::take(&mut self.unanswered);
        for (seq, pending) in unanswered {
            match pending.ask {
                Ask::KeepAlive | Ask::Done { .. } => {}
                Ask::Release { lock, call, .. } => {
                    // If it was sent, it may have been what ended the lock.
                    let outcome = if pending.sends > 0 {
                        Ok(Outcome::Done)
                    } else {
                        Err(CallError::Lost(Lost::SessionOver))
                    };
                    self.released(lock, call, last.clone(), outcome);
                }
                Ask::Cancel { call, .. } => {
                    self.reply(call, Err(CallError::Lost(Lost::SessionOver)));
                }
                Ask::Renew { call, .. } => {
                    self.reply(Some(call), Err(CallError::Lost(Lost::SessionOver)));
                }
                // An acquire that is still here was not sent yet.
                Ask::Acquire { .. } | Ask::Close { .. } => {
                    self.unanswered.insert(seq, pending);
                }
            }
        }
    }

    /// No session can be opened: whoever waits for one is told.
    fn refuse_all(&mut self, refused: &Refused) {
        let waiting: Vec<_> = self.locks.keys().copied().collect();
        for lock in waiting {
            assert!(
                matches!(self.locks[&lock].phase, Phase::Asking { .. }),
                "without a session there are no locks"
            );
            self.end_lock(lock, Notice::Refused(refused.clone()));
        }
        self.unanswered
            .retain(|_, pending| matches!(pending.ask, Ask::Close { .. }));
        if self.closing.is_some() {
            self.finish(&Ok(Outcome::Done));
        }
    }

    /// The session is closed, or given up.
    pub(super) fn finish(&mut self, outcome: &Result<Outcome, CallError>) {
        for (_, pending) in std::mem::take(&mut self.unanswered) {
            match pending.ask {
                Ask::Close { call } => self.reply(call, outcome.clone()),
                Ask::Cancel { call, .. } => self.reply(call, Err(CallError::Closed)),
                Ask::Release { call, .. } => self.reply(call, Err(CallError::Closed)),
                Ask::Renew { call, .. } => self.reply(Some(call), Err(CallError::Closed)),
                Ask::Acquire { .. } | Ask::KeepAlive | Ask::Done { .. } => {}
            }
        }
        assert!(self.locks.is_empty(), "all locks were ended before");
        self.link = Link::Closed;
        self.session = None;
        self.closing = None;
        self.outputs.push_back(Output::Disconnect);
        self.outputs.push_back(Output::Finished);
    }
}
