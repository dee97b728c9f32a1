//! What callers want, and what is known of their locks.

use super::{Ask, CallId, Holding, Link, LockEntry, LockId, Outcome, Phase, SessionCore};
use crate::{AcquireRequest, Belief, CallError, DRAWN_ID, Lost, Notice, Refused};
use lockwright_engine::{DurationMs, EndReason, ErrorCode, Name, Token};
use lockwright_protocol::{ClaimText, WaitMs};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

impl SessionCore {
    /// A caller asks for locks. `belief` is one of this session.
    pub fn request(
        &mut self,
        now: Duration,
        lock: LockId,
        id: Name,
        request: &AcquireRequest,
        belief: Arc<Belief>,
    ) {
        self.pass_deadlines(now);
        if self.is_closed() {
            return self.tell(lock, Notice::Lost(Lost::Closed));
        }
        let chosen = request.id.is_some();
        if self.by_id.contains_key(&id) || (chosen && id.as_str().starts_with(DRAWN_ID)) {
            let refused = Refused::new(
                ErrorCode::InvalidRequest,
                "the request's id is in use, or starts with `#`: choose another",
            );
            return self.tell(lock, Notice::Refused(refused));
        }
        self.by_id.insert(id.clone(), lock);
        let seq = self.draw_seq();
        let entry = LockEntry {
            id,
            claims: request.claims.iter().map(ClaimText::from).collect(),
            ttl: request.ttl,
            wait: WaitMs(request.wait),
            label: request.label.clone(),
            phase: Phase::Asking { seq },
            anchor: None,
            belief,
            abandoned: false,
        };
        let before = self.locks.insert(lock, entry);
        assert!(before.is_none(), "{lock:?} was used twice");
        self.ask_as(now, seq, Ask::Acquire { lock });
    }

    /// A caller ends a lock. The client stops believing in it at once.
    pub fn release(&mut self, now: Duration, lock: LockId, call: CallId) {
        self.pass_deadlines(now);
        match self.holding(lock) {
            Ok(token) => {
                let entry = self.forget(lock);
                let call = Some(call);
                let id = entry.id;
                self.ask(
                    now,
                    Ask::Release {
                        lock,
                        id,
                        token,
                        call,
                    },
                );
            }
            Err(error) => self.reply(Some(call), Err(error)),
        }
    }

    /// A caller sets a lease anew.
    pub fn renew(&mut self, now: Duration, lock: LockId, ttl: DurationMs, call: CallId) {
        self.pass_deadlines(now);
        let zero = || {
            let message = "a ttl must be at least 1 ms: release the lock instead";
            CallError::Refused(Refused::new(ErrorCode::InvalidRequest, message))
        };
        let token = self.holding(lock);
        match token.and_then(|token| {
            if ttl.is_zero() {
                Err(zero())
            } else {
                Ok(token)
            }
        }) {
            Ok(token) => {
                let id = self.locks[&lock].id.clone();
                self.ask(
                    now,
                    Ask::Renew {
                        lock,
                        id,
                        token,
                        ttl,
                        call,
                    },
                );
            }
            Err(error) => self.reply(Some(call), Err(error)),
        }
    }

    /// A caller gives up a request that is queued.
    pub fn cancel(&mut self, now: Duration, lock: LockId, call: CallId) {
        self.pass_deadlines(now);
        match self.locks.get(&lock) {
            Some(entry) if !matches!(entry.phase, Phase::Held(_)) => {
                self.cancel_waiting(now, lock, Some(call));
            }
            _ => {
                let message = "the request is not queued: it was granted, or is over";
                let refused = Refused::new(ErrorCode::NotQueued, message);
                self.reply(Some(call), Err(refused.into()));
            }
        }
    }

    /// Nobody wants a lock any more: it is given back, and nobody is told.
    pub fn abandon(&mut self, now: Duration, lock: LockId) {
        self.pass_deadlines(now);
        let Some(entry) = self.locks.get_mut(&lock) else {
            return;
        };
        if let Phase::Held(holding) = &entry.phase {
            let token = holding.token;
            self.give_back(now, lock, token);
        } else {
            entry.abandoned = true;
            self.cancel_waiting(now, lock, None);
        }
    }

    fn is_closed(&self) -> bool {
        self.closing.is_some() || matches!(self.link, Link::Closed)
    }

    /// The token of a lock that is held.
    pub(super) fn holding(&self, lock: LockId) -> Result<Token, CallError> {
        match self.locks.get(&lock).map(|entry| &entry.phase) {
            Some(Phase::Held(holding)) => Ok(holding.token),
            _ if self.is_closed() => Err(CallError::Closed),
            _ => {
                let message = "the lock is not held: it still waits, or is over";
                Err(Refused::new(ErrorCode::NotHeld, message).into())
            }
        }
    }

    fn cancel_waiting(&mut self, now: Duration, lock: LockId, call: Option<CallId>) {
        let entry = &self.locks[&lock];
        if entry.anchor.is_none() {
            // It was never sent: nobody else needs to know.
            self.end_lock(lock, Notice::Ended(EndReason::Cancelled));
            self.reply(call, Ok(Outcome::Done));
        } else {
            let id = entry.id.clone();
            self.ask(now, Ask::Cancel { lock, id, call });
        }
    }

    /// Ends a lock that is held, and that nobody waits for the release of.
    fn give_back(&mut self, now: Duration, lock: LockId, token: Token) {
        let id = self.forget(lock).id;
        let call = None;
        self.ask(
            now,
            Ask::Release {
                lock,
                id,
                token,
                call,
            },
        );
    }

    /// Forgets a lock, and stops believing in it.
    fn forget(&mut self, lock: LockId) -> LockEntry {
        let entry = self.locks.remove(&lock).expect("the lock is known");
        entry.belief.end();
        let owner = self.by_id.remove(&entry.id);
        assert_eq!(owner, Some(lock), "an id belongs to one lock");
        match &entry.phase {
            Phase::Asking { seq } => {
                self.unanswered.remove(seq);
            }
            Phase::Queued => {}
            Phase::Held(holding) => {
                self.held -= 1;
                if let Some(until) = holding.lease_until() {
                    let listed = self.leases.remove(&(until, lock));
                    assert!(listed, "the end of each lease is listed");
                }
            }
        }
        entry
    }

    /// Forgets a lock and tells why.
    pub(super) fn end_lock(&mut self, lock: LockId, notice: Notice) {
        assert!(notice.is_last(), "{notice:?} is not an end");
        self.forget(lock);
        self.tell(lock, notice);
    }

    /// Stops believing in a lock whose time has passed without news. The server may still hold
    /// it, for whatever is left of the safety margin or because a renewal has arrived after all:
    /// it is given back.
    fn lose(&mut self, now: Duration, lock: LockId, why: Lost) {
        let Phase::Held(holding) = &self.locks[&lock].phase else {
            panic!("only a lock that is held has a deadline");
        };
        let token = holding.token;
        self.give_back(now, lock, token);
        self.tell(lock, Notice::Lost(why));
    }

    /// Tells of each lock whose deadline has passed.
    pub(super) fn pass_deadlines(&mut self, now: Duration) {
        while let Some(&(until, lock)) = self.leases.first()
            && now >= until
        {
            self.lose(now, lock, Lost::LeaseOver);
        }
        if self.held > 0 && now >= self.belief.until() {
            let held = |entry: &LockEntry| matches!(entry.phase, Phase::Held(_));
            let lost: Vec<LockId> = self
                .locks
                .iter()
                .filter(|(_, entry)| held(entry))
                .map(|(lock, _)| *lock)
                .collect();
            for lock in lost {
                self.lose(now, lock, Lost::OutOfTouch);
            }
            assert_eq!(self.held, 0, "the session's deadline is that of each lock");
        }
    }

    /// Changes what is known of the lease of a lock that is held with `token`. Nothing happens if
    /// it is not held, or no longer.
    pub(super) fn change_lease(
        &mut self,
        lock: LockId,
        token: Token,
        change: impl FnOnce(&mut Holding),
    ) {
        let Some(entry) = self.locks.get_mut(&lock) else {
            return;
        };
        let Phase::Held(holding) = &mut entry.phase else {
            return;
        };
        if holding.token != token {
            return;
        }
        if let Some(until) = holding.lease_until() {
            self.leases.remove(&(until, lock));
        }
        change(holding);
        let until = holding.lease_until();
        entry.belief.set_lease(until);
        if let Some(until) = until {
            self.leases.insert((until, lock));
        }
    }

    /// A lock was granted, with a lease until `lease` on the client's clock.
    pub(super) fn granted(
        &mut self,
        now: Duration,
        lock: LockId,
        token: Token,
        lease: Option<Duration>,
    ) {
        let entry = self.locks.get_mut(&lock).expect("the caller looked it up");
        match &entry.phase {
            Phase::Held(holding) if holding.token == token => {
                // Told twice: by a push and by an answer. Both are right, and the later counts.
                self.change_lease(lock, token, |holding| holding.lease = lease);
            }
            // A request is granted once. Whatever this is, it cannot be relied on.
            Phase::Held(_) => self.hang_up(now),
            phase @ (Phase::Asking { .. } | Phase::Queued) => {
                if let Phase::Asking { seq } = phase {
                    self.unanswered.remove(seq);
                }
                entry.phase = Phase::Held(Holding {
                    token,
                    lease: None,
                    renewals: BTreeMap::new(),
                });
                self.held += 1;
                let abandoned = entry.abandoned;
                self.change_lease(lock, token, |holding| holding.lease = lease);
                if abandoned {
                    self.give_back(now, lock, token);
                } else {
                    let deadline = self.locks[&lock].belief.deadline();
                    let deadline = deadline.expect("a lock that is held has a deadline");
                    self.tell(lock, Notice::Granted { token, deadline });
                    self.pass_deadlines(now);
                }
            }
        }
    }
}
