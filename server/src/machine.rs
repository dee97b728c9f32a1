//! The state that the log makes: the engine, and the sessions' secrets and connections.

mod calls;
mod digests;
mod labels;
mod named;
mod nodes;
mod saved;
mod shared_map;
mod sightings;

use crate::{
    Probe,
    proposal::{Action, Attachment, Diverged, Ignored, Origin, Proposal, SecretHash},
    resumed::Resumed,
    sighting::{Sightings, Watchers},
};
use calls::Ended;
use digests::Digests;
pub(crate) use labels::Labelled;
use labels::Labels;
use lockwright_engine::{
    Arrived, Claim, Command, DurationMs, Engine, EngineConfig, Event, EventKind, HashKey, Limits,
    LockInfo, LockKey, LockState, Name, Refusal, Reply, SessionChange, SessionKey, TimeMs, Token,
    Usage,
};
use lockwright_protocol::Label;
use named::Named;
pub(crate) use nodes::NodeRecord;
pub(crate) use saved::{MachineCopy, Saved};
use serde::{Deserialize, Serialize};
use shared_map::SharedMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What proposals are applied to.
pub(crate) struct Machine {
    engine: Engine,
    /// Each session whose end is not complete.
    sessions: SharedMap<SessionKey, SessionRecord>,
    named: Named,
    /// The nodes that have begun a life.
    nodes: BTreeMap<u64, NodeRecord>,
    /// The nodes at which somebody waits for the request of a named holder.
    waiting: SharedMap<LockKey, BTreeSet<u64>>,
    labels: Labels,
    digests: Digests,
    /// The first entry after which the leader's state was another one.
    diverged: Option<Diverged>,
    locks_per_message: usize,
    watchers: Watchers,
    probe: Arc<dyn Probe>,
}

/// What a machine is given that is no part of the state.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) probe: Arc<dyn Probe>,
    /// [`ServerConfig::locks_per_message`](crate::ServerConfig::locks_per_message).
    pub(crate) locks_per_message: usize,
    /// Those who are told of all that happens.
    pub(crate) watchers: Watchers,
}

/// Conflicting requests that are counted for an answer, at most.
const AHEAD_MAX: usize = 100;

/// What a request has to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InTheWay {
    /// The earliest lock that is held and conflicts.
    pub(crate) held: Option<Labelled>,
    /// How many live requests conflict and came before, up to a hundred.
    pub(crate) ahead: usize,
}

/// What is known of a session, until its end is complete, beside what the engine knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SessionRecord {
    secret: SecretHash,
    /// Its connection, and the node that has it; none while it is detached.
    attached: Option<(Attachment, u64)>,
    /// What people are told of it.
    label: Option<Label>,
}

impl SessionRecord {
    fn is_attached_by(&self, attachment: Attachment) -> bool {
        self.attached.is_some_and(|(own, _)| own == attachment)
    }
}

/// Why a proposal was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The engine refuses.
    Refused(Refusal),
    /// The session is open with another secret.
    WrongSecret,
    /// The session has another connection.
    Superseded,
    /// The server stops, and takes no requests for locks that it does not know.
    Stopping,
}

/// What a proposal came to.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// Its place in the log.
    pub(crate) index: u64,
    /// The engine's time after it.
    pub(crate) at: TimeMs,
    /// What the engine replied.
    pub(crate) result: Result<Reply, Denial>,
    /// What happened, in order: first what was due, then what the proposal did.
    pub(crate) happened: Vec<Event>,
    /// The same, as watchers are told of it, if there are any.
    pub(crate) sightings: Sightings,
    /// When the request arrived that an `acquire` asked for, or asked for again, if it is live.
    pub(crate) arrived: Option<Arrived>,
    /// The live requests of a session that was resumed.
    pub(crate) resumed: Resumed,
    /// The locks that were used or ended by a caller without a session, as they were before: of those that
    /// ended with a session the first ones.
    pub(crate) locks: Vec<Labelled>,
    /// Whether more is meant than was ended, since that would be too much at once.
    pub(crate) more: bool,
    /// What is in the way of somebody without a session who was refused.
    pub(crate) in_the_way: Option<Box<InTheWay>>,
    /// The session that an operator ended.
    pub(crate) ended_session: Option<EndedSession>,
    /// When something is due next.
    pub(crate) next_deadline: Option<TimeMs>,
    /// When something may be forgotten next.
    pub(crate) next_forget: Option<TimeMs>,
    /// How many records the state has.
    pub(crate) size: u64,
}

/// A session that an operator ended, as it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndedSession {
    pub(crate) session: SessionKey,
    /// What people are told of it.
    pub(crate) label: Option<Label>,
    /// How many requests it had, held or queued.
    pub(crate) requests: u32,
}

/// The session whose end this is.
pub(crate) fn ended_session(event: &Event) -> Option<&SessionKey> {
    match &event.kind {
        EventKind::Session {
            session,
            change: SessionChange::Ended,
        } => Some(session),
        _ => None,
    }
}

#[cfg(test)]
impl Setup {
    /// That of a machine without a probe.
    pub(crate) fn without_probe() -> Setup {
        Setup {
            probe: Arc::new(crate::probe::NoProbe),
            locks_per_message: 1000,
            watchers: Watchers::default(),
        }
    }
}

impl Machine {
    /// A machine that nothing was applied to.
    pub(crate) fn new(setup: Setup) -> Machine {
        let Setup {
            probe,
            locks_per_message,
            watchers,
        } = setup;
        Machine {
            engine: Engine::new(EngineConfig {
                hash_key: random_hash_key(),
                ..EngineConfig::default()
            }),
            sessions: SharedMap::default(),
            named: Named::default(),
            nodes: BTreeMap::new(),
            waiting: SharedMap::default(),
            labels: Labels::default(),
            digests: Digests::default(),
            diverged: None,
            locks_per_message,
            watchers,
            probe,
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        self.engine.usage()
    }

    /// The engine, to be asked.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What a request for `claims` that arrives now has to wait for; or one that arrived earlier, with this
    /// [place](lockwright_engine::Arrived::place).
    pub(crate) fn in_the_way(
        &self,
        namespace: &Name,
        claims: &[Claim],
        place: Option<u64>,
    ) -> InTheWay {
        let found = self.engine.conflicting(namespace, claims, place, AHEAD_MAX);
        let ahead = found.len();
        let held = found.into_iter();
        let mut held = held.filter(|lock| matches!(lock.state, LockState::Held { .. }));
        let mut held = held.next();
        // So many may wait for something else that none of the earliest is held.
        if held.is_none() && ahead == AHEAD_MAX {
            held = self.engine.held_in_the_way(namespace, claims, place);
        }
        InTheWay {
            held: held.map(|lock| self.labelled(lock)),
            ahead,
        }
    }

    /// Whether there is such a session, or its end is not complete.
    pub(crate) fn has_session(&self, session: &SessionKey) -> bool {
        self.sessions.get(session).is_some()
    }

    /// Whether a session holds a lock.
    pub(crate) fn holds(&self, session: &SessionKey) -> bool {
        self.engine.session_holds(session)
    }

    /// How long a session that is open lives without a connection.
    pub(crate) fn abandon_of(&self, session: &SessionKey) -> Option<DurationMs> {
        self.engine.session_info(session).map(|info| info.abandon)
    }

    /// The live requests, in each namespace in the order of arrival. Cost: linear in what there is.
    pub(crate) fn live(&self) -> Vec<LockInfo> {
        named::live(&self.engine)
    }

    /// The requests that wait, of sessions too, the latest of each namespace first: ended in this order
    /// they set nothing free.
    pub(crate) fn latest_queued(&self) -> Vec<LockKey> {
        named::latest_queued(&self.engine)
    }

    /// How many locks are held, and the first of them, in each namespace in the order of arrival, at most
    /// `most`. Cost: linear in the live requests.
    pub(crate) fn held(&self, most: usize) -> (usize, Vec<LockInfo>) {
        named::held(&self.engine, most)
    }

    /// How many secrets are kept.
    pub(crate) fn secrets(&self) -> usize {
        self.sessions.len()
    }

    /// Applies the entry at `index` of the log, which a leader appended in `term`.
    ///
    /// # Errors
    /// When this state is not the leader's any more.
    pub(crate) fn apply(
        &mut self,
        index: u64,
        term: u64,
        proposal: &Proposal,
    ) -> Result<Result<Outcome, Ignored>, Diverged> {
        let result = self.apply_if_admitted(index, term, proposal);
        self.digests.add(index, &result);
        match self.diverged {
            Some(diverged) => Err(diverged),
            None => Ok(result),
        }
    }

    /// The last entry that was applied, and the [digest](Digests) after it.
    pub(crate) fn digest(&self) -> Option<(u64, u64)> {
        self.digests.now()
    }

    fn apply_if_admitted(
        &mut self,
        index: u64,
        term: u64,
        proposal: &Proposal,
    ) -> Result<Outcome, Ignored> {
        self.admit(term, proposal)?;
        let mut step = Step {
            index,
            at: proposal.at,
            origin: proposal.origin,
            events: Vec::new(),
            is_watched: self.watchers.are_there(),
            ended: Some(Vec::new()),
            machine: self,
        };
        let mut resumed = Resumed::default();
        let mut ended = Ended::default();
        let mut arrived = None;
        let mut in_the_way = None;
        let mut ended_session = None;
        let result = match step.known(&proposal.action) {
            Action::Begin {
                limits,
                first_token,
            } => {
                step.begin(limits, *first_token);
                Ok(Reply::Done)
            }
            Action::Open {
                session,
                secret,
                abandon,
                label,
            } => step.open(session, secret, *abandon, label.as_ref()),
            Action::Resume { session, secret } => {
                let result = step.resume(session, secret);
                if result.is_ok() {
                    let machine = &mut *step.machine;
                    let each = machine.locks_per_message;
                    resumed = Resumed::new(&mut machine.engine, session, each);
                }
                result
            }
            Action::Detach {
                session,
                attachment,
            } => step.detach(session, *attachment),
            Action::Ask {
                session,
                attachment,
                command,
                label,
            } => {
                let reply = step.ask(session, *attachment, command, label.as_ref());
                if let (Ok(Reply::Acquired { fresh: false, .. }), Command::Acquire { lock, .. }) =
                    (&reply, command)
                {
                    arrived = step.machine.engine.arrived(lock);
                }
                reply
            }
            Action::Again(_) => Err(Denial::Stopping),
            Action::Tick => step.run(&Command::Tick).map_err(Denial::Refused),
            Action::Call { command, label } => {
                let result = step.run_labelled(command, label.as_ref());
                if let Command::Acquire { lock, claims, .. } = command {
                    let machine = &*step.machine;
                    match &result {
                        Ok(_) => {
                            arrived = machine.engine.arrived(lock);
                            step.note_waiting(lock);
                        }
                        // Nothing is in its way: it asks with the wrong id.
                        Err(Refusal::RequestMismatch(_)) => {}
                        Err(_) => {
                            let found = machine.in_the_way(&lock.namespace, claims, None);
                            in_the_way = Some(Box::new(found));
                        }
                    }
                }
                result.map_err(Denial::Refused)
            }
            Action::Use {
                namespace,
                path,
                holder,
                token,
                purpose,
            } => match step.use_lock(namespace, path, holder.as_ref(), *token, *purpose) {
                Ok((reply, lock)) => {
                    ended.locks.push(lock);
                    Ok(reply)
                }
                Err((refusal, found)) => {
                    in_the_way = Some(found);
                    Err(Denial::Refused(refusal))
                }
            },
            Action::EndAt {
                namespace,
                path,
                token,
                right,
            } => {
                let result = step.end_at(namespace, path, *token, right);
                note_ended(result, &mut ended, &mut in_the_way)
            }
            Action::EndRequests {
                namespace,
                path,
                owner,
                id,
                token,
            } => {
                let result = step.end_requests(namespace, path, owner, id.as_ref(), *token);
                note_ended(result, &mut ended, &mut in_the_way)
            }
            Action::EndSession { session } => match step.end_session(session) {
                Ok((session, locks)) => {
                    ended_session = Some(session);
                    ended.locks = locks;
                    Ok(Reply::Done)
                }
                Err(refusal) => Err(Denial::Refused(refusal)),
            },
            Action::GiveUp { lock, even_held } => {
                step.give_up(lock, *even_held).map_err(Denial::Refused)
            }
            Action::Join { disk } => {
                step.join(*disk);
                Ok(Reply::Done)
            }
            Action::Gone {
                node,
                incarnation,
                forget,
            } => {
                step.gone(*node, *incarnation, *forget);
                Ok(Reply::Done)
            }
            Action::Witness {
                index,
                digest,
                acknowledged,
            } => {
                step.machine.witness(*index, *digest, acknowledged);
                Ok(Reply::Done)
            }
            Action::Distrust { node } => {
                step.machine.witness_all_of(*node);
                Ok(Reply::Done)
            }
        };
        let sightings = step.sightings();
        let events = step.events;
        let usage = self.engine.usage();
        Ok(Outcome {
            index,
            at: self.engine.now(),
            result,
            happened: events,
            sightings,
            arrived,
            resumed,
            locks: ended.locks,
            more: ended.more,
            in_the_way,
            ended_session,
            next_deadline: self.engine.next_deadline(),
            next_forget: self.engine.next_forget(),
            size: u64::try_from(usage.live_requests + usage.remembered_requests + usage.sessions)
                .unwrap_or(u64::MAX),
        })
    }
}

/// The application of one entry.
struct Step<'a> {
    index: u64,
    at: TimeMs,
    origin: Option<Origin>,
    events: Vec<Event>,
    /// Whether there are watchers.
    is_watched: bool,
    /// What is told of the requests that have ended in these events, if there are; none if it is too much.
    ended: Option<Vec<sightings::Shown>>,
    machine: &'a mut Machine,
}

impl Step<'_> {
    /// What is to be done: what is asked again, if it is known.
    fn known<'a>(&mut self, action: &'a Action) -> &'a Action {
        let Action::Again(asked) = action else {
            return action;
        };
        // Its end may be forgotten by now, and then it would be granted anew.
        self.pass_time();
        match asked.acquired() {
            Some((lock, _)) if self.machine.engine.lock(lock).is_some() => asked,
            _ => action,
        }
    }

    /// Applies a command to the engine.
    fn run(&mut self, command: &Command) -> Result<Reply, Refusal> {
        let machine = &mut *self.machine;
        let before = self.events.len();
        let bytes_left = self.is_watched.then(|| machine.watchers.bytes_left());
        machine.engine.keep_ended_claims(bytes_left);
        let result = machine.engine.apply(self.at, command, &mut self.events);
        if self.is_watched {
            self.keep_ended(before);
        }
        let machine = &mut *self.machine;
        let (at, events) = (machine.engine.now(), &self.events[before..]);
        assert!(at >= self.at, "the engine's time is never behind");
        assert!(
            machine.engine.next_deadline().is_none_or(|next| next > at),
            "what was due has happened (SEMANTICS section 3)"
        );
        for event in events {
            machine.named.note(&event.kind);
            if let EventKind::Granted { lock, .. } | EventKind::Ended { lock, .. } = &event.kind {
                machine.waiting.remove(lock);
            }
            if let EventKind::Ended { lock, .. } = &event.kind {
                machine.labels.forget(lock);
            }
            if let EventKind::Session {
                session,
                change: SessionChange::Ended,
            } = &event.kind
            {
                let record = machine.sessions.remove(session);
                let record = record.expect("a session's secret is kept as it lives");
                machine.labels.uncount(record.label.as_ref());
            }
        }
        machine
            .probe
            .applied(self.index, at, command, &result, events);
        result
    }

    /// A server begins to lead. Its tokens go on from `first_token` at least: others on its machine may have
    /// given those before meanwhile.
    fn begin(&mut self, limits: &Limits, first_token: Token) {
        let machine = &mut *self.machine;
        self.at = machine.engine.now();
        if machine.engine.limits() != limits {
            let snapshot = machine.engine.snapshot().with_limits(limits.clone());
            machine.engine = Engine::restore(&snapshot, random_hash_key())
                .expect("an engine with other limits is one too");
        }
        machine.engine.tokens_from(first_token);
        machine
            .probe
            .began(self.index, &machine.engine, first_token);
    }

    fn open(
        &mut self,
        session: &SessionKey,
        secret: &SecretHash,
        abandon: DurationMs,
        label: Option<&Label>,
    ) -> Result<Reply, Denial> {
        match self.machine.sessions.get(session) {
            Some(record) if record.secret != *secret => {
                // It may be over by now. Of one whose end has begun nobody has the wrong secret: the engine
                // refuses to open it.
                self.run(&Command::Tick).map_err(Denial::Refused)?;
                if self.machine.engine.session_info(session).is_some() {
                    return Err(Denial::WrongSecret);
                }
            }
            Some(_) => {
                if let Ok(reply) = self.attach(session) {
                    return Ok(reply);
                }
                // If not, its end has begun. If all of that is over at this very moment it is opened anew.
            }
            None => {}
        }
        let label = label.and_then(|label| self.kept(label));
        let opening = Command::OpenSession {
            session: session.clone(),
            abandon,
        };
        // An abandon timeout of zero does not matter yet: the session starts attached.
        let record = SessionRecord {
            secret: secret.clone(),
            attached: Some((Attachment(self.index), self.node())),
            label: label.cloned(),
        };
        let reply = self.run(&opening).map_err(Denial::Refused)?;
        self.machine.labels.count(label);
        let before = self.machine.sessions.insert(session.clone(), record);
        assert!(before.is_none(), "the engine opens no session twice");
        Ok(reply)
    }

    fn resume(&mut self, session: &SessionKey, secret: &SecretHash) -> Result<Reply, Denial> {
        match self.machine.sessions.get(session) {
            Some(record) if record.secret == *secret => self.attach(session),
            Some(_) => Err(Denial::WrongSecret),
            None => Err(Denial::Refused(Refusal::UnknownSession)),
        }
    }

    fn attach(&mut self, session: &SessionKey) -> Result<Reply, Denial> {
        let attaching = Command::Attach {
            session: session.clone(),
        };
        let reply = self.run(&attaching).map_err(Denial::Refused)?;
        let node = self.node();
        let record = self.machine.sessions.get_mut(session);
        let record = record.expect("a session's secret is kept as long as it lives");
        record.attached = Some((Attachment(self.index), node));
        Ok(reply)
    }

    fn detach(&mut self, session: &SessionKey, attachment: Attachment) -> Result<Reply, Denial> {
        match self.machine.sessions.get(session) {
            Some(record) if record.is_attached_by(attachment) => {
                self.take_off(session);
                Ok(Reply::Done)
            }
            Some(_) => Err(Denial::Superseded),
            None => Err(Denial::Refused(Refusal::UnknownSession)),
        }
    }

    /// The session's connection has gone.
    fn take_off(&mut self, session: &SessionKey) {
        if let Some(record) = self.machine.sessions.get_mut(session) {
            record.attached = None;
        }
        let detaching = Command::Detach {
            session: session.clone(),
        };
        let result = self.run(&detaching);
        assert!(
            matches!(result, Ok(_) | Err(Refusal::UnknownSession)),
            "a session can be detached, or is over: got {result:?}"
        );
    }

    fn ask(
        &mut self,
        session: &SessionKey,
        attachment: Attachment,
        command: &Command,
        label: Option<&Label>,
    ) -> Result<Reply, Denial> {
        match self.machine.sessions.get(session) {
            Some(record) if !record.is_attached_by(attachment) => Err(Denial::Superseded),
            // Of a session that is over the engine says so.
            _ => self.run_labelled(command, label).map_err(Denial::Refused),
        }
    }
}

/// What the end of requests of others comes to, with what was ended or is in the way.
fn note_ended(
    result: Result<Ended, calls::Refused>,
    ended: &mut Ended,
    in_the_way: &mut Option<Box<InTheWay>>,
) -> Result<Reply, Denial> {
    match result {
        Ok(done) => {
            *ended = done;
            Ok(Reply::Done)
        }
        Err((refusal, found)) => {
            *in_the_way = Some(found);
            Err(Denial::Refused(refusal))
        }
    }
}

/// A key that clients cannot know, so that they cannot choose names that collide.
fn random_hash_key() -> HashKey {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness to give");
    let (low, high) = bytes.split_at(8);
    let number = |half: &[u8]| half.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    HashKey([number(low), number(high)])
}
