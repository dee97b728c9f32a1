//! What proposals came to, handed out in the order of the log.

use super::{Asker, Greeting, Replica, Waiter, drain};
use crate::{
    call::{CallAnswer, CallerId, Expiry, Found},
    connection::{CloseReason, Outbound},
    machine::{Denial, Machine, Outcome, ended_session},
    proposal::{Action, Attachment},
    resumed::{Following, Rest},
    sighting::{Sightings, Told},
    switchboard::Link,
    translate::{self, OwnEffect, Rejection},
};
use lockwright_engine::{
    EndReason, Event, EventKind, LockKey, LockState, Refusal, Reply, SessionKey, TimeMs,
};
use lockwright_env::Env;
use lockwright_protocol::{Message, ServerFrame};
use std::{collections::BTreeSet, sync::Arc};

impl<E: Env> Replica<E> {
    /// Hands out what a proposal came to.
    pub(super) fn hand_out(&mut self, waiter: Waiter, outcome: &Outcome) {
        self.count(outcome);
        match waiter {
            Waiter::Nobody => self.deliver(outcome, None),
            Waiter::Usage(reply) => {
                self.deliver(outcome, None);
                // It fails when nobody waits for it any more.
                let _ = reply.send(self.usage());
            }
            Waiter::Attaching {
                asker,
                session,
                greeting,
            } => {
                self.deliver(outcome, None);
                self.attached(asker, session, greeting, outcome);
            }
            Waiter::Session { asker, own } => self.answered(asker, &own, outcome),
            Waiter::Acquiring { caller, lock } => {
                self.deliver(outcome, None);
                self.acquired(caller, &lock, outcome);
            }
            Waiter::Call(reply) => {
                self.deliver(outcome, None);
                // It fails when the caller has gone. What it asked for is done all the same.
                let _ = reply.send(self.call_answer(outcome));
            }
            Waiter::Swept => {
                self.deliver(outcome, None);
                self.swept();
            }
        }
    }

    /// What a named holder's request came to when it was applied.
    fn acquired(&mut self, caller: CallerId, lock: &LockKey, outcome: &Outcome) {
        let answer = match &outcome.result {
            Ok(Reply::Acquired {
                state: LockState::Queued { .. },
                ..
            }) => {
                let arrived = outcome.arrived.expect("a queued request has arrived");
                return self.callers.decided(caller, lock, arrived.place);
            }
            _ => self.call_answer(outcome),
        };
        if let Some(caller) = self.callers.remove(caller, lock) {
            // It fails when the caller has gone, which it tells of itself.
            let _ = caller.send(answer);
        }
        if let Err(Denial::Refused(Refusal::RequestMismatch(_))) = &outcome.result {
            self.give_up_unwaited(lock);
        }
    }

    /// A caller that asked with the id of another request is answered. Those that waited for that
    /// request may have gone meanwhile, and left it to this one.
    fn give_up_unwaited(&mut self, lock: &LockKey) {
        let is_queued = |machine: &Machine| {
            let first = machine.engine().lock(lock);
            first.is_some_and(|first| matches!(first.state, LockState::Queued { .. }))
        };
        if !self.callers.any(lock) && self.ledger.with_machine(is_queued) {
            let action = Action::GiveUp {
                lock: lock.clone(),
                even_held: false,
            };
            self.ledger.propose(action, Waiter::Nobody);
        }
    }

    fn call_answer(&self, outcome: &Outcome) -> CallAnswer {
        match outcome.result.clone() {
            Ok(Reply::Acquired { state, .. }) => match state {
                LockState::Held {
                    token,
                    granted_at,
                    expires,
                } => CallAnswer::Granted {
                    token,
                    waited: granted_at
                        .since(outcome.arrived.map_or(granted_at, |arrived| arrived.at)),
                    expiry: expires.map(|at| self.expiry(at)),
                },
                LockState::Ended { reason, .. } => CallAnswer::Ended {
                    reason,
                    in_the_way: None,
                },
                LockState::Queued { .. } => panic!("a queued request has no answer yet"),
            },
            Ok(Reply::Renewed { expires }) => CallAnswer::Done {
                locks: outcome.locks.clone(),
                more: false,
                ended_session: None,
                expiry: Some(self.expiry(expires)),
            },
            Ok(Reply::Done) => CallAnswer::Done {
                locks: outcome.locks.clone(),
                more: outcome.more,
                ended_session: outcome.ended_session.clone(),
                expiry: None,
            },
            Err(Denial::Refused(refusal)) => CallAnswer::Refused {
                refusal,
                in_the_way: outcome
                    .in_the_way
                    .as_deref()
                    .map(|found| Found::at(self.ledger.now(), found.clone())),
            },
            Err(Denial::Stopping) => CallAnswer::Stopping,
            Err(denial) => panic!("{denial:?} is said to sessions only"),
        }
    }

    /// When a lease that ends at `expires` ends, seen from now.
    fn expiry(&self, expires: TimeMs) -> Expiry {
        let left = self.ledger.left(expires);
        Expiry {
            left,
            unix_ms: self.env.wall_unix_ms().saturating_add(left.as_ms()),
        }
    }

    /// Tells those who wait for a named holder's request what has become of it.
    fn tell_callers(&mut self, event: &EventKind, at: TimeMs) {
        match event {
            EventKind::Granted {
                lock,
                token,
                expires,
                arrived_at,
            } => {
                let expiry = expires.map(|at| self.expiry(at));
                let waited = at.since(*arrived_at);
                for caller in self.callers.take_decided(lock) {
                    // It fails when the caller has gone, which it tells of itself.
                    let _ = caller.reply.send(CallAnswer::Granted {
                        token: *token,
                        waited,
                        expiry,
                    });
                }
            }
            EventKind::Ended { lock, reason } => {
                for caller in self.callers.take_decided(lock) {
                    let in_the_way = self.ledger.with_machine(|machine| {
                        machine.in_the_way(&lock.namespace, &caller.claims, caller.place)
                    });
                    let _ = caller.reply.send(CallAnswer::Ended {
                        reason: *reason,
                        in_the_way: Some(Found::at(self.ledger.now(), in_the_way)),
                    });
                }
            }
            _ => {}
        }
    }

    /// Tells watchers that something has happened which they are not told of.
    pub(super) fn cut_watchers(&self) {
        // It fails when nobody watches.
        let _ = self.sightings.send(Told::Missed);
    }

    /// Tells watchers what has happened.
    pub(super) fn show(&self, outcome: &Outcome) {
        let Sightings::These(sightings) = &outcome.sightings else {
            return self.cut_watchers();
        };
        for sighting in sightings {
            // It fails when the last watcher has just gone.
            let _ = self.sightings.send(Told::Sighting(sighting.clone()));
        }
    }

    fn count(&self, outcome: &Outcome) {
        for event in &outcome.happened {
            self.metrics.happened(&event.kind);
            if let EventKind::Granted { arrived_at, .. } = &event.kind {
                self.metrics.waited(event.at.since(*arrived_at).as_ms());
            }
        }
        if let Err(Denial::Refused(refusal)) = &outcome.result {
            self.metrics.refused(refusal.code());
        }
    }

    fn attached(
        &mut self,
        asker: Asker,
        session: SessionKey,
        greeting: Greeting,
        outcome: &Outcome,
    ) {
        let id = asker.id;
        if !self.switchboard.is_connected(id) {
            if outcome.result.is_ok() {
                let attachment = Attachment(outcome.index);
                self.detach(Link {
                    session,
                    attachment,
                });
            }
            return;
        }
        let is_guessed = matches!(outcome.result, Err(Denial::WrongSecret));
        let (message, waiting) = match outcome.result.clone() {
            Ok(_) => {
                let message = self.welcome(&session, greeting, outcome);
                let attachment = Attachment(outcome.index);
                let link = Link {
                    session,
                    attachment,
                };
                (message, self.switchboard.attach(id, link))
            }
            Err(denial) => {
                self.has_no_session(&session);
                let rejection = denied(denial, &session, greeting);
                if is_guessed {
                    self.metrics.refused(rejection.code);
                }
                (rejection.into(), self.switchboard.stay_alone(id))
            }
        };
        self.answer_at_length(asker, message, outcome.resumed.rest.clone());
        if is_guessed {
            // What else it has asked is not heard.
            return self.switchboard.close(id, CloseReason::WrongSecret);
        }
        for ask in waiting {
            self.asked(id, ask);
        }
    }

    fn welcome(&self, session: &SessionKey, greeting: Greeting, outcome: &Outcome) -> Message {
        let idle_timeout_ms = self.idle_timeout;
        if let Greeting::Open { names_none } = greeting {
            // That of the session: it may have been opened before, at a node with another default.
            let abandon = |machine: &Machine| machine.abandon_of(session);
            let abandon = names_none.then(|| self.ledger.with_machine(abandon));
            return Message::Opened {
                idle_timeout_ms,
                abandon_ms: abandon.flatten(),
            };
        }
        Message::Resumed {
            idle_timeout_ms,
            locks: outcome.resumed.first.clone(),
            more: outcome.resumed.rest.is_some(),
        }
    }

    fn answered(&mut self, asker: Asker, own: &OwnEffect, outcome: &Outcome) {
        let connection = asker.id;
        if let (Err(Denial::Stopping), OwnEffect::Acquire(lock)) = (&outcome.result, own)
            && translate::session_of(lock).is_some_and(|session| self.sends_away(&session))
        {
            // It asks another node, or this one when it is back.
            self.deliver(outcome, None);
            return self.switchboard.close(connection, CloseReason::Shutdown);
        }
        let message = match answer_to(own, outcome) {
            Some(message) => message,
            // Its session has another connection, and this one is closed, or about to be.
            None => return self.deliver(outcome, None),
        };
        self.deliver(outcome, Some((asker, own, message)));
        if matches!(own, OwnEffect::Close(_)) && outcome.result.is_ok() {
            self.switchboard
                .close(connection, CloseReason::SessionClosed);
        }
    }

    /// Hands out what happened, in order. The answer takes the place of what the command itself
    /// did, or comes last when it did nothing.
    fn deliver(&mut self, outcome: &Outcome, mut answer: Option<(Asker, &OwnEffect, Message)>) {
        let own = answer.as_ref().map(|(_, own, _)| *own);
        // One that an operator ends is over for its client at once, though its end may take a while.
        let over = outcome.ended_session.as_ref().map(|ended| &ended.session);
        let ended = outcome.happened.iter().filter_map(ended_session);
        let ended: BTreeSet<&SessionKey> = ended.chain(over).collect();
        for event in &outcome.happened {
            let is_own = |(_, own, _): &mut (Asker, &OwnEffect, Message)| own.is(&event.kind);
            if let Some((asker, _, message)) = answer.take_if(is_own) {
                self.answer(asker, message);
            } else if let Some(lock) = event.kind.lock() {
                let closes = own.is_some_and(|own| own.closes(lock));
                self.tell(lock, event, closes, &ended);
            }
            if let Some(session) = ended_session(event) {
                self.has_no_session(session);
                let closes = |own: &OwnEffect| own.is(&event.kind);
                match own.is_some_and(closes) {
                    true => self.switchboard.end(session),
                    false => self.switchboard.end_and_close(session),
                }
            }
        }
        if let Some(session) = over {
            self.switchboard.end_and_close(session);
        }
        if let Some((asker, _, message)) = answer {
            self.answer(asker, message);
        }
    }

    /// Tells the owner of a lock what happened to it. One whose owner `closes` its session knows of its
    /// end by the answer. A session that has `ended` meanwhile is told as much as there is room for: the
    /// close that follows tells it the rest.
    fn tell(&mut self, lock: &LockKey, event: &Event, closes: bool, ended: &BTreeSet<&SessionKey>) {
        if self.gives_up(lock, &event.kind) {
            return;
        }
        let Some(session) = translate::session_of(lock) else {
            if self.callers.any(lock) {
                self.tell_callers(&event.kind, event.at);
            }
            return;
        };
        let of_session = matches!(
            event.kind,
            EventKind::Ended {
                reason: EndReason::SessionEnded,
                ..
            }
        );
        if closes && of_session {
            return;
        }
        if let Some(message) = translate::push(&event.kind, event.at) {
            match ended.contains(&session) {
                true => self.switchboard.push_if_room(&session, message),
                false => self.switchboard.push(&session, message),
            }
        }
    }

    pub(super) fn answer(&mut self, asker: Asker, message: Message) {
        self.answer_at_length(asker, message, None);
    }

    /// Answers with a message and those that follow it.
    fn answer_at_length(&mut self, asker: Asker, message: Message, rest: Option<Arc<Rest>>) {
        let seq = asker.seq;
        let following = rest.map(|rest| {
            let told = (seq, self.idle_timeout);
            let turns = self.turns.clone();
            Following::begin(self.env.clone(), turns, rest, told, asker.owed)
        });
        let outbound = Outbound {
            frame: ServerFrame { seq, message },
            share: Some(asker.share),
            following,
        };
        self.switchboard.send(asker.id, outbound);
    }
}

/// The answer to a request of a session; none for a connection that has lost its session.
fn answer_to(own: &OwnEffect, outcome: &Outcome) -> Option<Message> {
    Some(match (outcome.result.clone(), own) {
        (Err(Denial::Superseded), _) => return None,
        (Err(Denial::Refused(refusal)), _) => Rejection::from(refusal).into(),
        (Err(Denial::Stopping), _) => drain::refusal().into(),
        (Ok(Reply::Acquired { state, .. }), OwnEffect::Acquire(lock)) => {
            let arrived_at = outcome.arrived.map_or(outcome.at, |arrived| arrived.at);
            translate::acquired(lock.id.clone(), state, arrived_at, outcome.at)
        }
        (Ok(Reply::Renewed { expires }), OwnEffect::Renew(lock)) => Message::Renewed {
            id: lock.id.clone(),
            lease_ms: expires.since(outcome.at),
        },
        (Ok(Reply::Done), _) => Message::Done {},
        (result, _) => panic!("{result:?} is no reply to {own:?}"),
    })
}

/// What a connection is told that does not get the session that it asked for.
fn denied(denial: Denial, session: &SessionKey, greeting: Greeting) -> Rejection {
    match denial {
        Denial::Refused(refusal) => refusal.into(),
        // A client that does not know the secret is told the same as one whose session is over.
        Denial::WrongSecret if matches!(greeting, Greeting::Resume) => {
            Refusal::UnknownSession.into()
        }
        Denial::WrongSecret => Rejection::invalid(format!(
            "session `{}` is open with another secret: draw another name",
            session.session
        )),
        Denial::Superseded | Denial::Stopping => panic!("only what has a session can lose it"),
    }
}
