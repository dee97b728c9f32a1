//! The one task that decides in which order things happen, and hands out what they came to.

mod bounds;
mod drain;
mod log;
mod outcomes;

pub(crate) use log::in_words;

use crate::{
    Drain, Probe, ServerConfig, ServerError, StoreError,
    call::{Call, CallAnswer, CallerId, Request as CallRequest},
    callers::Callers,
    connection::{CloseReason, ConnectionEnd, ConnectionId},
    forward::Heard,
    handle::Usage,
    ledger::{Ledger, Turn},
    machine::{Machine, Outcome},
    metrics::Metrics,
    peer::Dialer,
    proposal::{Action, SecretHash},
    raft::{RaftDoor, Stopped},
    session_endpoint::Shown,
    shares::Shares,
    sighting::{self, Told},
    switchboard::{Link, Standing, Switchboard},
    translate::{self, OwnEffect, Rejection},
};
use drain::Draining;
use lockwright_engine::{Command, DurationMs, LockKey, MAX_MS, Name, SessionKey, TimeMs};
use lockwright_env::{Env, timeout};
use lockwright_protocol::{Request, Seq};
use log::UsageLog;
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot, watch};
use tracing::error;

/// Proposals that may be on their way before inputs wait in turn.
const IN_FLIGHT_MAX: usize = 4096;

/// Inputs that are taken at once.
const INPUTS_AT_ONCE: usize = 256;

/// What reaches the replica.
pub(crate) enum Input {
    /// A connection has come.
    Connected {
        id: ConnectionId,
        end: ConnectionEnd,
    },
    /// A message has come.
    Asked { id: ConnectionId, ask: Ask },
    /// A connection is over.
    Disconnected { id: ConnectionId },
    /// Somebody without a session asks for something.
    Called(Call),
    /// Somebody wants to know what is in hand.
    Usage { reply: oneshot::Sender<Usage> },
    /// Somebody wants to look at the state: of the present, or as far as this node knows it.
    Look { look: Look, stale: bool },
    /// Another node says something to this one as the leader.
    Heard(Heard),
}

/// Looks at the state, at its present time.
pub(crate) type Look = Box<dyn FnOnce(&Machine, TimeMs) + Send>;

/// A caller has gone without its answer.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) caller: CallerId,
    /// What it asked for.
    pub(crate) lock: LockKey,
    /// Whether nobody else can know of the request, so that it must not be held either.
    pub(crate) even_held: bool,
}

/// A message of a client, and what its answer needs.
pub(crate) struct Ask {
    /// None when it could not be read.
    pub(crate) seq: Option<Seq>,
    pub(crate) request: Result<Request, Rejection>,
    /// The answer's share of the connection's queue.
    pub(crate) share: OwnedSemaphorePermit,
    /// Dropped when it is answered, for a connection that must know.
    pub(crate) owed: Option<Arc<Owed>>,
}

/// An answer that is owed.
#[derive(Debug)]
pub(crate) struct Owed;

/// Where an answer goes.
struct Asker {
    id: ConnectionId,
    seq: Option<Seq>,
    share: OwnedSemaphorePermit,
    /// Dropped with it, or when what follows the answer is written.
    owed: Option<Arc<Owed>>,
}

/// How a connection asks for a session.
#[derive(Debug, Clone, Copy)]
enum Greeting {
    /// It opens one, and is told its abandon timeout if it `names_none`.
    Open { names_none: bool },
    /// It comes back to one.
    Resume,
}

/// Who waits for a proposal.
enum Waiter {
    /// Nobody.
    Nobody,
    /// Who wants to know what is in hand.
    Usage(oneshot::Sender<Usage>),
    /// A connection that asks for a session.
    Attaching {
        asker: Asker,
        session: SessionKey,
        greeting: Greeting,
    },
    /// A request of a session.
    Session { asker: Asker, own: OwnEffect },
    /// A named holder that asks for locks.
    Acquiring { caller: CallerId, lock: LockKey },
    /// Another request of somebody without a session.
    Call(oneshot::Sender<CallAnswer>),
    /// A server that stops: what it knew to wait has been given up.
    Swept,
}

/// Proposes what clients ask for, and hands out what it came to.
///
/// Proposals are many on their way at once; what they came to is handed out in the order of the log,
/// each with its answer and its events in one step: so the messages of a connection come in the
/// order in which things happened, and a grant never overtakes the answer that says `queued`.
pub(crate) struct Replica<E: Env> {
    env: E,
    ledger: Ledger<E, Waiter>,
    switchboard: Switchboard,
    callers: Callers,
    /// What callers and clients of this node have brought into use.
    namespaces: Shares<Name>,
    sessions: Shares<SessionKey>,
    metrics: Arc<Metrics>,
    sightings: broadcast::Sender<Told>,
    drain_timeout: Duration,
    /// What it waits for, once it was told to stop.
    draining: Option<Draining>,
    log: UsageLog,
    probe: Arc<dyn Probe>,
    default_abandon_timeout: DurationMs,
    idle_timeout: DurationMs,
    /// Who makes a part of something large has it meanwhile: the parts of several do not add up.
    turns: Arc<Semaphore>,
    /// Where clients reach the leader, for those who are told to go there.
    leader: watch::Sender<Option<String>>,
}

impl<E: Env> Replica<E> {
    /// Starts with what is stored.
    pub(crate) async fn start(
        env: E,
        config: &ServerConfig,
        metrics: Arc<Metrics>,
    ) -> Result<Replica<E>, StoreError> {
        let mut ledger = Ledger::start(env.clone(), config).await?;
        if config.cluster.is_none() {
            ledger.join().await?;
        }
        let log = UsageLog::new(config, env.monotonic());
        Ok(Replica {
            ledger,
            env,
            switchboard: Switchboard::default(),
            callers: Callers::default(),
            namespaces: Shares::default(),
            sessions: Shares::default(),
            metrics,
            sightings: broadcast::Sender::new(sighting::WAITING_MAX),
            drain_timeout: config.drain_timeout,
            draining: None,
            log,
            probe: config.probe.clone(),
            default_abandon_timeout: abandon_timeout(config.default_abandon_timeout),
            turns: Arc::new(Semaphore::new(1)),
            idle_timeout: u64::try_from(config.idle_timeout.as_millis())
                .ok()
                .and_then(|ms| DurationMs::new(ms).ok())
                .unwrap_or(DurationMs::ZERO),
            leader: watch::Sender::new(None),
        })
    }

    /// What it shows to connections.
    pub(crate) fn shown(&self) -> Shown {
        Shown {
            sightings: self.sightings.downgrade(),
            watchers: self.ledger.watchers(),
            leader: self.leader.subscribe(),
            members: self.ledger.members(),
            readiness: self.ledger.readiness(),
        }
    }

    /// Serves the calls of other replicas.
    pub(crate) fn door(&self) -> RaftDoor {
        self.ledger.door()
    }

    /// How links to other nodes are opened, if there are some.
    pub(crate) fn dialer(&self) -> Option<Dialer<E>> {
        self.ledger.dialer()
    }

    /// Serves until it is told to stop, or cannot go on; then closes all connections, and has `links`
    /// closed.
    pub(crate) async fn run(
        mut self,
        inputs: mpsc::Receiver<Input>,
        mut gone: mpsc::UnboundedReceiver<Gone>,
        stop: watch::Sender<Option<Drain>>,
        links: watch::Sender<bool>,
    ) -> Result<(), ServerError> {
        let mut served = self.serve(inputs, &mut gone, stop.subscribe()).await;
        // No more connections from here on.
        stop.send_replace(Some(Drain::Answers));
        if served.is_ok() {
            self.ledger.notes().stops(None);
            let env = self.env.clone();
            let patience = self.patience_with_answers();
            let drained = timeout(&env, patience, self.drain(&mut gone)).await;
            // What is still on its way is not answered: whoever asked does not know what became of
            // it, and asks again.
            served = drained.unwrap_or(Ok(()));
        }
        let reason = match &served {
            Ok(()) => CloseReason::Shutdown,
            Err(_) => CloseReason::Failed,
        };
        self.switchboard.close_all(reason);
        let failure = self.ledger.failure();
        // Other nodes were served as long as this one could do something for them.
        links.send_replace(true);
        links.closed().await;
        self.ledger.shutdown().await;
        served.map_err(|stopped| {
            let error = match failure.borrow().clone() {
                Some(error) => ServerError::Store(error),
                None => ServerError::Stopped {
                    why: stopped.to_string(),
                },
            };
            error!(%error, "the server cannot go on");
            error
        })
    }

    async fn serve(
        &mut self,
        mut inputs: mpsc::Receiver<Input>,
        gone: &mut mpsc::UnboundedReceiver<Gone>,
        mut stop: watch::Receiver<Option<Drain>>,
    ) -> Result<(), Stopped> {
        let mut failure = self.ledger.failure();
        let mut taken = Vec::new();
        let mut told = None;
        loop {
            self.sweep_if_due();
            self.ledger.flush().await?;
            if self.is_drained() {
                return Ok(());
            }
            let env = self.env.clone();
            self.log_usage();
            let drained = self.draining.as_ref().map(|draining| draining.until);
            let wake = drained.into_iter().chain(self.log.next()).min();
            let has_room = self.ledger.in_flight() < IN_FLIGHT_MAX;
            tokio::select! {
                biased;
                stop = stop.wait_for(|stop| *stop > told) => {
                    told = stop.map_or(Some(Drain::Answers), |stop| *stop);
                    if told == Some(Drain::Answers) {
                        self.cut_short();
                        return Ok(());
                    }
                    if !self.begin_to_drain() {
                        return Ok(());
                    }
                }
                failed = failure.wait_for(Option::is_some) => {
                    let why = failed.map_or_else(|gone| gone.to_string(), |failed| format!("{failed:?}"));
                    return Err(Stopped { why });
                }
                turn = self.ledger.turn() => {
                    // All that is done at once: what is written to a connection then goes together.
                    let mut next = Some(turn?);
                    while let Some(turn) = next {
                        self.take_turn(turn);
                        next = self.ledger.try_turn();
                    }
                    self.point_to_leader();
                }
                Some(gone) = gone.recv() => self.gone(&gone),
                count = inputs.recv_many(&mut taken, INPUTS_AT_ONCE), if has_room => {
                    if count == 0 {
                        return Ok(());
                    }
                    for input in taken.drain(..) {
                        self.step(input);
                    }
                }
                () = at(&env, wake) => {}
            }
            self.detach_closed();
        }
    }

    fn take_turn(&mut self, turn: Turn<Waiter>) {
        match turn {
            Turn::Nothing => {}
            Turn::Void => self.void(),
            Turn::Applied {
                proposal,
                context,
                outcome,
            } => {
                // What comes before its life begins is of a time when it had no connections.
                if self.ledger.is_joined() {
                    self.log(&proposal.action, &outcome);
                    let is_elsewhere = context.is_none();
                    self.show(&outcome);
                    self.hand_out(context.unwrap_or(Waiter::Nobody), &outcome);
                    if is_elsewhere {
                        self.attached_elsewhere(&proposal.action, &outcome);
                    }
                } else if !outcome.happened.is_empty() {
                    self.cut_watchers();
                }
            }
        }
    }

    /// A session that was attached at another node has lost the connection that it had here.
    fn attached_elsewhere(&mut self, action: &Action, outcome: &Outcome) {
        if let (Action::Open { session, .. } | Action::Resume { session, .. }, Ok(_)) =
            (action, &outcome.result)
        {
            self.switchboard.replace(session);
        }
    }

    /// Nothing is known any more of what connections and callers wait for.
    fn void(&mut self) {
        self.cut_watchers();
        self.sweep_again();
        self.log_begins_anew();
        self.switchboard.close_all(CloseReason::NoLeader);
        // Their sessions are detached as the next life begins.
        while self.switchboard.take_detached().is_some() {}
        self.callers.clear();
    }

    fn point_to_leader(&self) {
        let leader = self.ledger.leader_address();
        self.leader.send_if_modified(|known| {
            let is_news = *known != leader;
            *known = leader;
            is_news
        });
    }

    /// Hands out what is on its way.
    async fn drain(&mut self, gone: &mut mpsc::UnboundedReceiver<Gone>) -> Result<(), Stopped> {
        let until = self.ledger.hand_over().await;
        while let Some(until) = until.filter(|_| self.ledger.leads()) {
            let left = until.saturating_sub(self.env.monotonic());
            let env = self.env.clone();
            match timeout(&env, left, self.ledger.turn()).await {
                Ok(turn) => self.take_turn(turn?),
                Err(_) => break,
            }
            self.ledger.flush().await?;
        }
        self.ledger.flush().await?;
        while self.ledger.in_flight() > 0 {
            let turn = tokio::select! {
                biased;
                turn = self.ledger.turn() => turn?,
                // What a caller that has gone was granted meanwhile is not left to it.
                Some(gone) = gone.recv() => {
                    self.gone(&gone);
                    self.ledger.flush().await?;
                    continue;
                }
            };
            let is_void = matches!(turn, Turn::Void);
            self.take_turn(turn);
            if is_void {
                // All who waited were sent away.
                return Ok(());
            }
            self.ledger.flush().await?;
        }
        Ok(())
    }

    fn step(&mut self, input: Input) {
        match input {
            Input::Connected { end, .. } if !self.ledger.is_joined() => {
                end.close(CloseReason::NoLeader);
            }
            Input::Connected { id, end } => {
                self.switchboard.connect(id, end);
                self.log_connection(id, "a connection for a session has come");
            }
            Input::Disconnected { id } => {
                self.log_connection(id, "a connection for a session has gone");
                if let Some(link) = self.switchboard.disconnect(id) {
                    self.detach(link);
                }
            }
            Input::Asked { id, ask } => self.asked(id, ask),
            // What should be forgotten by then is forgotten.
            Input::Usage { reply } if self.ledger.is_joined() => {
                self.ledger.propose(Action::Tick, Waiter::Usage(reply));
            }
            Input::Called(call) if self.ledger.is_joined() => self.called(call),
            // It fails when the caller has gone, which it tells of itself.
            Input::Called(call) => drop(call.reply.send(CallAnswer::NotTaken)),
            // Dropping it tells whoever waits.
            Input::Usage { .. } => {}
            Input::Look { look, stale: true } => {
                let now = self.ledger.now();
                self.ledger.with_machine(|machine| look(machine, now));
            }
            Input::Look { look, stale: false } => self.ledger.read(look),
            Input::Heard(heard) => self.ledger.heard(heard),
        }
    }

    fn called(&mut self, call: Call) {
        let Call {
            caller,
            request,
            reply,
        } = call;
        // It went before it was heard, and its notice came first.
        if reply.is_closed() {
            return;
        }
        let (action, waiter) = match request {
            CallRequest::Acquire {
                lock,
                claims,
                ttl,
                wait,
                label,
                from,
            } => {
                if let Err(refusal) = self.may_use(from, &lock.namespace) {
                    // It fails when the caller has gone.
                    let _ = reply.send(CallAnswer::Refused {
                        refusal,
                        in_the_way: None,
                    });
                    return;
                }
                let lock_of = lock.clone();
                self.callers
                    .add(caller, lock.clone(), claims.clone(), reply);
                let command = Command::Acquire {
                    lock,
                    claims,
                    ttl,
                    wait,
                };
                let waiter = Waiter::Acquiring {
                    caller,
                    lock: lock_of,
                };
                (self.admitted(Action::Call { command, label }), waiter)
            }
            CallRequest::Other(action) => (action, Waiter::Call(reply)),
        };
        self.ledger.propose(action, waiter);
    }

    /// A caller has gone without its answer.
    fn gone(&mut self, gone: &Gone) {
        self.callers.remove(gone.caller, &gone.lock);
        // Another caller may ask for the same: it was asked again on another connection.
        if !self.callers.any(&gone.lock) {
            let action = Action::GiveUp {
                lock: gone.lock.clone(),
                even_held: gone.even_held,
            };
            self.ledger.propose(action, Waiter::Nobody);
        }
    }

    fn usage(&self) -> Usage {
        let (secrets, engine) = self
            .ledger
            .with_machine(|machine| (machine.secrets(), machine.usage()));
        Usage {
            connections: self.switchboard.connections(),
            attached_sessions: self.switchboard.attached_sessions(),
            secrets,
            waiting_calls: self.callers.count(),
            queued_messages: self.switchboard.queued_messages(),
            engine,
        }
    }

    fn asked(&mut self, id: ConnectionId, ask: Ask) {
        let link = match self.switchboard.standing(id) {
            // It was closed from here, because another connection has its session or because it
            // reads too slowly. What it still says must not count: its session has gone on.
            None => return,
            Some(Standing::Attaching) => return self.switchboard.keep_waiting(id, ask),
            Some(Standing::Alone) => None,
            Some(Standing::Linked(link)) => Some(link.clone()),
        };
        let asker = Asker {
            id,
            seq: ask.seq,
            share: ask.share,
            owed: ask.owed,
        };
        match (link, ask.request) {
            (_, Err(rejection)) => self.answer(asker, rejection.into()),
            (Some(link), Ok(request)) => self.asked_in_session(asker, link, request),
            (
                None,
                Ok(Request::Open {
                    namespace,
                    session,
                    secret,
                    abandon_ms,
                    label,
                }),
            ) => {
                let label = match translate::label(label) {
                    Ok(label) => label,
                    Err(refused) => return self.answer(asker, Rejection::from(refused).into()),
                };
                let session = SessionKey { namespace, session };
                if self.sends_away(&session) {
                    return self.switchboard.close(id, CloseReason::Shutdown);
                }
                let from = self.switchboard.address(id);
                if let Err(refusal) = self.may_open(from, &session) {
                    return self.answer(asker, Rejection::from(refusal).into());
                }
                let action = Action::Open {
                    session: session.clone(),
                    secret: SecretHash::of(secret),
                    abandon: abandon_ms.unwrap_or(self.default_abandon_timeout),
                    label,
                };
                // It must know, for its own deadline.
                let names_none = abandon_ms.is_none();
                self.attaching(asker, session, action, Greeting::Open { names_none });
            }
            (
                None,
                Ok(Request::Resume {
                    namespace,
                    session,
                    secret,
                }),
            ) => {
                let session = SessionKey { namespace, session };
                if self.sends_away(&session) {
                    return self.switchboard.close(id, CloseReason::Shutdown);
                }
                let action = Action::Resume {
                    session: session.clone(),
                    secret: SecretHash::of(secret),
                };
                self.attaching(asker, session, action, Greeting::Resume);
            }
            (None, Ok(_)) => {
                let rejection = Rejection::invalid(
                    "this connection speaks for no session: send `open` or `resume` first",
                );
                self.answer(asker, rejection.into());
            }
        }
    }

    fn attaching(&mut self, asker: Asker, session: SessionKey, action: Action, greeting: Greeting) {
        self.switchboard.begin_attaching(asker.id);
        let waiter = Waiter::Attaching {
            asker,
            session,
            greeting,
        };
        self.ledger.propose(action, waiter);
    }

    fn asked_in_session(&mut self, asker: Asker, link: Link, request: Request) {
        let (command, label) = match translate::command(&link.session, request) {
            Ok(understood) => understood,
            Err(rejection) => return self.answer(asker, rejection.into()),
        };
        let own = OwnEffect::of(&command);
        let action = Action::Ask {
            session: link.session,
            attachment: link.attachment,
            command,
            label,
        };
        let action = self.admitted(action);
        self.ledger.propose(action, Waiter::Session { asker, own });
    }

    /// Sessions whose connection was closed from here are detached.
    fn detach_closed(&mut self) {
        while let Some(link) = self.switchboard.take_detached() {
            self.detach(link);
        }
    }

    fn detach(&mut self, link: Link) {
        let action = Action::Detach {
            session: link.session,
            attachment: link.attachment,
        };
        self.ledger.propose(action, Waiter::Nobody);
    }
}

/// The engine's word for a time; the longest that it knows for those that are longer.
fn abandon_timeout(time: Duration) -> DurationMs {
    let ms = u64::try_from(time.as_millis()).unwrap_or(MAX_MS);
    DurationMs::new(ms.min(MAX_MS)).expect("it is at most the longest")
}

/// Waits until a moment of the Env's clock; for ever without one.
async fn at<E: Env>(env: &E, when: Option<Duration>) {
    match when {
        Some(when) => env.sleep_until(when).await,
        None => std::future::pending().await,
    }
}
