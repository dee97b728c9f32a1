//! What the server says of locks.

use super::{Ask, CallId, LockEntry, LockId, Outcome, Pending, Phase, SessionCore};
use crate::{CallError, Lost, Notice, Refused};
use lockwright_engine::{EndReason, ErrorCode, Token};
use lockwright_protocol::{Message, Seq};
use std::time::Duration;

impl SessionCore {
    /// The server tells of its own accord.
    pub(super) fn pushed(&mut self, now: Duration, message: Message) {
        match message {
            Message::Granted {
                id,
                token,
                lease_ms,
                waited_ms,
            } => {
                // One that is unknown was given up meanwhile, and its cancel or release is on
                // the way.
                let Some(&lock) = self.by_id.get(&id) else {
                    return;
                };
                let Some(anchor) = self.locks[&lock].anchor else {
                    return self.hang_up(now);
                };
                let bound = self.config.clock_rate_bound;
                let lease = lease_ms.map(|lease| anchor.deadline(bound, waited_ms, lease));
                self.granted(now, lock, token, lease);
            }
            Message::Ended { id, reason } => {
                if let Some(&lock) = self.by_id.get(&id) {
                    self.end_lock(lock, Notice::Ended(reason));
                    self.done_with(now, id);
                }
            }
            // The server could not read what was sent: nothing will come of waiting for answers.
            _ => self.hang_up(now),
        }
    }

    /// What was asked is answered.
    pub(super) fn answered(&mut self, now: Duration, seq: Seq, pending: Pending, message: Message) {
        let sent = pending.sent.expect("what is answered was sent");
        let answer = match message {
            Message::Error {
                error: ErrorCode::UnknownSession,
                ..
            } => {
                self.unanswered.insert(seq, pending);
                self.lose_session(&Notice::Lost(Lost::SessionOver));
                if self.closing.is_some() {
                    return self.finish(&Ok(Outcome::Done));
                }
                return self.hang_up(now);
            }
            Message::Error {
                error,
                message,
                limit,
                claims,
                claims_left_out,
                ended,
            } => Err(Refused {
                code: error,
                message,
                limit,
                claims,
                claims_left_out,
                ended,
            }),
            message => Ok(message),
        };
        self.prove_session(sent);
        let again = pending.sends > 1;
        match (pending.ask, answer) {
            (Ask::Acquire { lock }, Ok(Message::Queued { .. })) => {
                self.entry(lock).phase = Phase::Queued;
                self.tell(lock, Notice::Queued);
            }
            (
                Ask::Acquire { lock },
                Ok(Message::Granted {
                    token, lease_ms, ..
                }),
            ) => {
                let bound = self.config.clock_rate_bound;
                let lease = lease_ms.map(|lease| bound.deadline(sent, lease));
                self.granted(now, lock, token, lease);
            }
            (Ask::Acquire { lock }, Ok(Message::Ended { id, reason })) => {
                self.end_lock(lock, Notice::Ended(reason));
                self.done_with(now, id);
            }
            (Ask::Acquire { lock }, Err(refused)) => {
                self.end_lock(lock, Notice::Refused(refused));
            }
            (Ask::Cancel { lock, id, call }, Ok(Message::Done {})) => {
                if self.locks.contains_key(&lock) {
                    self.end_lock(lock, Notice::Ended(EndReason::Cancelled));
                }
                self.reply(call, Ok(Outcome::Done));
                self.done_with(now, id);
            }
            (Ask::Cancel { lock, call, .. }, Err(refused)) => {
                self.cancel_refused(lock, call, again, refused);
            }
            (Ask::Release { lock, id, call, .. }, Ok(Message::Done {})) => {
                self.released(
                    lock,
                    call,
                    Notice::Ended(EndReason::Released),
                    Ok(Outcome::Done),
                );
                self.done_with(now, id);
            }
            (Ask::Release { lock, id, call, .. }, Err(refused)) => {
                let is_over = refused.code == ErrorCode::NotHeld;
                // Sent before, it may have been what ended the lock.
                let outcome = if again && is_over {
                    Ok(Outcome::Done)
                } else {
                    Err(refused.into())
                };
                self.released(lock, call, Notice::Lost(Lost::GoneMeanwhile), outcome);
                if is_over {
                    self.done_with(now, id);
                }
            }
            (
                Ask::Renew {
                    lock, token, call, ..
                },
                Ok(Message::Renewed { lease_ms, .. }),
            ) => {
                let until = self.config.clock_rate_bound.deadline(sent, lease_ms);
                self.renewed(now, seq, lock, token, until, call);
            }
            (
                Ask::Renew {
                    lock, token, call, ..
                },
                Err(refused),
            ) => self.renewal_refused(seq, lock, token, call, refused),
            (Ask::KeepAlive | Ask::Done { .. }, Ok(Message::Done {})) => {}
            // An older server. What it remembers ends with the session.
            (Ask::Done { .. }, Err(_)) => self.done.stop(),
            (ask @ Ask::Close { .. }, Ok(Message::Done {})) => {
                self.unanswered.insert(seq, Pending::new(ask));
                self.finish(&Ok(Outcome::Done));
            }
            // An answer that cannot be one to what was asked, or a refusal of what cannot be
            // refused: it is asked again, on another connection.
            (ask, _) => {
                self.unanswered.insert(seq, Pending::new(ask));
                self.hang_up(now);
            }
        }
    }

    fn entry(&mut self, lock: LockId) -> &mut LockEntry {
        let entry = self.locks.get_mut(&lock);
        entry.expect("an unanswered acquire has its lock")
    }

    fn cancel_refused(
        &mut self,
        lock: LockId,
        call: Option<CallId>,
        again: bool,
        refused: Refused,
    ) {
        let held = self.holding(lock).is_ok();
        // Sent before, it may have been what ended the request. How it ended, or that it was
        // granted, is told of by itself.
        let outcome = if again && !held && refused.code == ErrorCode::NotQueued {
            Ok(Outcome::Done)
        } else {
            Err(refused.into())
        };
        self.reply(call, outcome);
    }

    /// A release is over. One that nobody waits for was of a lock whose end was told before.
    pub(super) fn released(
        &mut self,
        lock: LockId,
        call: Option<CallId>,
        notice: Notice,
        outcome: Result<Outcome, CallError>,
    ) {
        if call.is_some() {
            self.tell(lock, notice);
            self.reply(call, outcome);
        }
    }

    fn renewal_refused(
        &mut self,
        seq: Seq,
        lock: LockId,
        token: Token,
        call: CallId,
        refused: Refused,
    ) {
        let over = matches!(
            refused.code,
            ErrorCode::NotHeld | ErrorCode::StaleToken | ErrorCode::UnknownLock
        );
        if over && self.holding(lock).is_ok_and(|held| held == token) {
            self.end_lock(lock, Notice::Lost(Lost::GoneMeanwhile));
        }
        self.change_lease(lock, token, |holding| {
            holding.renewals.remove(&seq);
        });
        self.reply(Some(call), Err(refused.into()));
    }

    /// A renewal gave a lease until `until`.
    fn renewed(
        &mut self,
        now: Duration,
        seq: Seq,
        lock: LockId,
        token: Token,
        until: Duration,
        call: CallId,
    ) {
        self.change_lease(lock, token, |holding| {
            holding.renewals.remove(&seq);
            holding.lease = Some(until);
        });
        let outcome = match self.holding(lock) {
            Ok(held) if held == token => {
                let deadline = self.locks[&lock].belief.deadline();
                let deadline = deadline.expect("a lock that is held has a deadline");
                Ok(Outcome::Renewed { deadline })
            }
            // It was given up here before the answer came, and is being given back.
            Ok(_) => Err(CallError::Lost(Lost::LeaseOver)),
            Err(error) => Err(error),
        };
        self.reply(Some(call), outcome);
        self.pass_deadlines(now);
    }
}
