//! A stop that waits for locks ([`Drain::Locks`](crate::Drain::Locks)).
//!
//! From its beginning on an `acquire` counts only if its request is known already
//! ([`Action::Again`]), and what waits is given up, the latest first, so that nothing is granted in
//! place of it. When that is applied nothing is left that could be granted, and the server stays until
//! what is held has ended. A node of a cluster waits only if no other one votes, and does so alone: clients
//! of learners are those of nodes without a leader.

use super::{Replica, Waiter, log};
use crate::{
    DrainEvent,
    call::{CallAnswer, in_one_word},
    connection::CloseReason,
    machine::Machine,
    proposal::Action,
    translate::{self, Rejection},
};
use lockwright_engine::{
    Command, EndReason, ErrorCode, EventKind, LockInfo, LockKey, LockState, SessionKey,
};
use lockwright_env::Env;
use std::{collections::BTreeSet, time::Duration};
use tracing::{info, warn};

/// Locks that are named in a line of the log, at most.
const NAMED_MAX: usize = 10;

/// How long answers are waited for after the locks, at most: nothing is on its way then but what came
/// with the last of them.
const ANSWERS_PATIENCE: Duration = Duration::from_secs(1);

/// A stop that waits for locks.
#[derive(Debug)]
pub(super) struct Draining {
    /// When it ends at the latest, by the clock of the Env.
    pub(super) until: Duration,
    /// How far what waits has been given up.
    sweep: Sweep,
    /// Sessions whose connections were closed since what they waited for is given up, and that are to end as soon
    /// as nothing more can be granted to them.
    sent_away: BTreeSet<SessionKey>,
}

/// How far what waits has been given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sweep {
    /// It is to begin.
    Due,
    /// It is proposed.
    UnderWay,
    /// Nothing is left that could be granted.
    Over,
}

/// Requests that are given up, or sessions that are ended, at once, at most.
const SWEPT_AT_ONCE: usize = 1024;

/// How long answers are waited for at most where nothing is waited for but answers, although the
/// timeout is for locks.
const NO_LOCKS_PATIENCE: Duration = Duration::from_secs(10);

impl<E: Env> Replica<E> {
    /// Begins to wait for locks; false when there is nothing to wait for, since others keep them.
    pub(super) fn begin_to_drain(&mut self) -> bool {
        if !self.ledger.is_the_only_voter() {
            info!("the server stops, and waits for no locks: the other voters keep them");
            self.drain_timeout = self.drain_timeout.min(NO_LOCKS_PATIENCE);
            return false;
        }
        info!(
            live_requests = self.ledger.with_machine(Machine::usage).live_requests,
            timeout_ms = self.drain_timeout.as_millis(),
            "the server stops: it grants nothing new, and waits until no locks are held"
        );
        // From here on no node is added, and none gets a vote.
        let live = self.ledger.with_machine(Machine::usage).live_requests;
        self.ledger.notes().stops(Some(live));
        self.probe.drains(DrainEvent::Begins);
        self.draining = Some(Draining {
            until: self.env.monotonic().saturating_add(self.drain_timeout),
            sweep: Sweep::Due,
            sent_away: BTreeSet::new(),
        });
        true
    }

    /// Whether it has waited for locks, and long enough.
    pub(super) fn is_drained(&mut self) -> bool {
        let Some(draining) = &self.draining else {
            return false;
        };
        let live = self.ledger.with_machine(Machine::usage).live_requests;
        self.ledger.notes().stops(Some(live));
        if draining.sweep == Sweep::Over && live == 0 {
            self.probe.drains(DrainEvent::Over);
            info!("no locks are held any more");
            return true;
        }
        if self.ledger.has_other_voters() {
            // The change was under way when the stop began.
            self.probe.drains(DrainEvent::Over);
            info!("the server waits for locks no longer: another node votes now, and keeps them");
            return true;
        }
        if self.env.monotonic() < draining.until {
            return false;
        }
        self.probe.drains(DrainEvent::Over);
        let first = |machine: &Machine| machine.held(NAMED_MAX);
        let (held, first) = self.ledger.with_machine(first);
        let named: Vec<String> = first.iter().map(in_words).collect();
        warn!(
            held,
            locks = named.join("; "),
            "the server has waited for as long as it may, and stops while locks are held"
        );
        true
    }

    /// It is told to stop at once, or is so from the beginning.
    pub(super) fn cut_short(&self) {
        if self.draining.is_some() {
            self.probe.drains(DrainEvent::CutShort);
            info!("the server waits for locks no longer: it was told to stop at once");
        }
    }

    /// How long what was asked before the stop may take to be answered.
    pub(super) fn patience_with_answers(&self) -> Duration {
        match &self.draining {
            Some(_) => self.drain_timeout.min(ANSWERS_PATIENCE),
            None => self.drain_timeout,
        }
    }

    /// A request, as it is proposed.
    pub(super) fn admitted(&self, action: Action) -> Action {
        match &self.draining {
            Some(_) => action.known_only(),
            None => action,
        }
    }

    /// Whether a session is to go on elsewhere: it has nothing here that it could still need.
    pub(super) fn sends_away(&self, session: &SessionKey) -> bool {
        let holds = |machine: &Machine| machine.holds(session);
        self.draining.is_some() && !self.ledger.with_machine(holds)
    }

    /// What was proposed is lost: what waits is given up again, once this node is back.
    pub(super) fn sweep_again(&mut self) {
        if let Some(draining) = &mut self.draining {
            draining.sweep = Sweep::Due;
        }
    }

    /// Gives up what waits, if it is time to.
    pub(super) fn sweep_if_due(&mut self) {
        let is_due = |draining: &Draining| draining.sweep == Sweep::Due;
        if self.draining.as_ref().is_some_and(is_due) && self.ledger.is_joined() {
            self.sweep();
        }
    }

    /// Gives up what waits, or the latest part of it.
    fn sweep(&mut self) {
        if let Some(draining) = &mut self.draining {
            draining.sweep = Sweep::UnderWay;
        }
        // What is waited for at another node could not be given up here.
        self.ledger.part_from_others();
        let queued = self.ledger.with_machine(Machine::latest_queued);
        for lock in queued.into_iter().take(SWEPT_AT_ONCE) {
            let action = match translate::session_of(&lock) {
                Some(_) => Action::Call {
                    command: Command::Cancel { lock },
                    label: None,
                },
                None => Action::GiveUp {
                    lock,
                    even_held: false,
                },
            };
            self.ledger.propose(action, Waiter::Nobody);
        }
        self.ledger.propose(Action::Tick, Waiter::Swept);
    }

    /// What was known to wait has been given up. What was asked before the stop may wait by now.
    pub(super) fn swept(&mut self) {
        let queued = self.ledger.with_machine(Machine::latest_queued);
        if !queued.is_empty() {
            return self.sweep();
        }
        if self.end_sent_away() {
            return self.ledger.propose(Action::Tick, Waiter::Swept);
        }
        if let Some(draining) = &mut self.draining {
            draining.sweep = Sweep::Over;
            self.probe.drains(DrainEvent::GrantsNothing);
        }
    }

    /// Ends the sessions that have gone elsewhere, or some of them; whether there are any yet. One that was granted
    /// something before that was given up stays: its client comes back for it.
    fn end_sent_away(&mut self) -> bool {
        let Some(draining) = &mut self.draining else {
            return false;
        };
        let is_to_end = |session: &SessionKey| {
            let look = |machine: &Machine| {
                machine.engine().session_info(session).is_some() && !machine.holds(session)
            };
            self.ledger.with_machine(look)
        };
        // It stays there until it has happened: what is proposed may be lost.
        draining.sent_away.retain(is_to_end);
        for session in draining.sent_away.iter().take(SWEPT_AT_ONCE) {
            let session = session.clone();
            let action = Action::Call {
                command: Command::CloseSession { session },
                label: None,
            };
            self.ledger.propose(action, Waiter::Nobody);
        }
        !draining.sent_away.is_empty()
    }

    /// Tells those who wait for a request that was given up for the stop; whether it was.
    pub(super) fn gives_up(&mut self, lock: &LockKey, event: &EventKind) -> bool {
        let is_cancelled = matches!(
            event,
            EventKind::Ended {
                reason: EndReason::Cancelled,
                ..
            }
        );
        if self.draining.is_none() || !is_cancelled {
            return false;
        }
        let Some(session) = translate::session_of(lock) else {
            for caller in self.callers.take_decided(lock) {
                // It fails when the caller has gone, which it tells of itself.
                let _ = caller.reply.send(CallAnswer::Stopping);
            }
            return true;
        };
        if !self.sends_away(&session) {
            return false;
        }
        // Its client opens another session elsewhere, or here after the stop, and asks anew, which it cannot do in
        // this one: the request's id is used up. This one ends when all is given up: until then it may be granted
        // something that it waits for, too, and what is held is not taken away.
        self.switchboard
            .close_session(&session, CloseReason::Shutdown);
        if let Some(draining) = &mut self.draining {
            draining.sent_away.insert(session);
        }
        true
    }
}

/// What a session that must stay, since it holds locks, is told when it asks for more.
pub(super) fn refusal() -> Rejection {
    Rejection {
        code: ErrorCode::Busy,
        message: "the server stops and grants nothing new: ask again later, or another server"
            .to_owned(),
        limit: None,
        first: None,
    }
}

/// A held lock as people say it.
fn in_words(lock: &LockInfo) -> String {
    let token = match lock.state {
        LockState::Held { token, .. } => token.to_string(),
        _ => "none".to_owned(),
    };
    let (namespace, owner) = (&lock.key.namespace, in_one_word(&lock.key.owner));
    let claims = log::in_words(&lock.claims);
    format!("{namespace}: {claims} of {owner}, token {token}")
}
