//! Finding one's way after a connection broke: what the server has, and what the client thinks it
//! has.

use super::{Ask, LockId, Phase, SessionCore};
use crate::{Lost, Notice, deadline::Anchor};
use lockwright_engine::{DurationMs, Name};
use lockwright_protocol::LockStatus;
use std::{collections::BTreeMap, time::Duration};

impl SessionCore {
    /// The session was resumed by a message that was sent at `sent`, and these are its live locks.
    ///
    /// Nothing of the connections before can arrive any more. So what is not listed is over, or
    /// has never arrived: a lock that was held is lost, and a request that waited, or was not
    /// answered, is asked again with its id; the server remembers how it ended until the session does,
    /// or the client was told and is done with it, so that this never locks twice.
    pub(super) fn reconcile(&mut self, now: Duration, sent: Duration, locks: Vec<LockStatus>) {
        let mut listed: BTreeMap<Name, LockStatus> = locks
            .into_iter()
            .map(|status| (status.id().clone(), status))
            .collect();
        // What is being released is nobody's any more, whatever name it has.
        for pending in self.unanswered.values() {
            if let Ask::Release { id, token, .. } = &pending.ask
                && matches!(listed.get(id), Some(LockStatus::Held { token: of, .. }) if of == token)
            {
                listed.remove(id);
            }
        }
        let ours: Vec<LockId> = self.locks.keys().copied().collect();
        for lock in ours {
            // Giving one back, on the way, never ends another.
            let status = listed.remove(&self.locks[&lock].id);
            self.reconcile_lock(now, sent, lock, status);
        }
        self.give_back_unknown(now, listed);
    }

    fn reconcile_lock(
        &mut self,
        now: Duration,
        sent: Duration,
        lock: LockId,
        status: Option<LockStatus>,
    ) {
        let entry = self.locks.get_mut(&lock).expect("it was just there");
        match (status, &entry.phase) {
            (
                Some(LockStatus::Held {
                    token, lease_ms, ..
                }),
                phase,
            ) => {
                let bound = self.config.clock_rate_bound;
                let lease = lease_ms.map(|lease| bound.deadline(sent, lease));
                if let Phase::Held(holding) = phase
                    && holding.token == token
                {
                    self.change_lease(lock, token, |holding| {
                        holding.lease = lease;
                        // Those that have not arrived are sent anew.
                        holding.renewals.clear();
                    });
                } else {
                    self.granted(now, lock, token, lease);
                }
            }
            (Some(LockStatus::Queued { waited_ms, .. }), Phase::Asking { seq }) => {
                self.unanswered.remove(seq);
                entry.phase = Phase::Queued;
                entry.anchor = Some(listed_anchor(sent, waited_ms));
                self.tell(lock, Notice::Queued);
            }
            (Some(LockStatus::Queued { waited_ms, .. }), Phase::Queued) => {
                entry.anchor = Some(listed_anchor(sent, waited_ms));
            }
            (None, Phase::Asking { .. }) => entry.anchor = None,
            (None, Phase::Queued) => self.ask_again(now, lock),
            (None | Some(LockStatus::Queued { .. }), Phase::Held(_)) => {
                self.end_lock(lock, Notice::Lost(Lost::GoneMeanwhile));
            }
        }
    }

    /// Asks once more with an id that was answered: now it tells how the request ended.
    fn ask_again(&mut self, now: Duration, lock: LockId) {
        let seq = self.draw_seq();
        let entry = self.locks.get_mut(&lock).expect("the caller looked it up");
        entry.anchor = None;
        entry.phase = Phase::Asking { seq };
        self.ask_as(now, seq, Ask::Acquire { lock });
    }

    /// Locks that the server has and nobody here knows of (any more) are given back, unless that
    /// has been asked already (releases were sorted out before).
    fn give_back_unknown(&mut self, now: Duration, mut listed: BTreeMap<Name, LockStatus>) {
        for pending in self.unanswered.values() {
            if let Ask::Cancel { id, .. } = &pending.ask {
                listed.remove(id);
            }
        }
        for status in listed.into_values() {
            // No caller has it: the name is only for the shell, which knows none.
            let lock = LockId(u64::MAX);
            let call = None;
            let ask = match status {
                LockStatus::Queued { id, .. } => Ask::Cancel { lock, id, call },
                LockStatus::Held { id, token, .. } => Ask::Release {
                    lock,
                    id,
                    token,
                    call,
                },
            };
            self.ask(now, ask);
        }
    }
}

/// A request had waited for `waited` when a `resume` was applied that was sent at `sent`.
fn listed_anchor(sent: Duration, waited: DurationMs) -> Anchor {
    Anchor { sent, waited }
}
