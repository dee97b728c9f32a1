//! The one task that owns all state, and so decides in which order things happen.

use crate::{
    connection::{CloseReason, ConnectionEnd, ConnectionId, Outbound},
    handle::Usage,
    ledger::{Applied, Ledger},
    switchboard::{Admission, Switchboard},
    translate::{self, Rejection},
};
use lockwright_engine::{
    Command, DurationMs, EventKind, Refusal, Reply, SessionChange, SessionKey,
};
use lockwright_env::Env;
use lockwright_protocol::{Message, Request, Secret, Seq, ServerFrame};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

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
    /// Somebody wants to know what is in hand.
    Usage { reply: oneshot::Sender<Usage> },
}

/// A message of a client, and what its answer needs.
pub(crate) struct Ask {
    /// None when it could not be read.
    pub(crate) seq: Option<Seq>,
    pub(crate) request: Result<Request, Rejection>,
    /// The answer's share of the connection's queue.
    pub(crate) share: OwnedSemaphorePermit,
}

/// Where an answer goes.
struct Asker {
    id: ConnectionId,
    seq: Option<Seq>,
    share: OwnedSemaphorePermit,
}

/// All state of the server.
///
/// Everything is answered within the step that applies it, and events are handed out in that step
/// too: so the messages of a connection come in the order in which things happened, and a grant
/// never overtakes the answer that says `queued`.
pub(crate) struct Replica<E> {
    env: E,
    ledger: Ledger<E>,
    switchboard: Switchboard,
    idle_timeout: DurationMs,
}

impl<E: Env> Replica<E> {
    pub(crate) fn new(env: E, ledger: Ledger<E>, idle_timeout: Duration) -> Replica<E> {
        Replica {
            env,
            ledger,
            switchboard: Switchboard::default(),
            idle_timeout: u64::try_from(idle_timeout.as_millis())
                .ok()
                .and_then(|ms| DurationMs::new(ms).ok())
                .unwrap_or(DurationMs::ZERO),
        }
    }

    /// Serves until it is told to stop, then closes all connections.
    pub(crate) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut stop: watch::Receiver<bool>,
    ) {
        loop {
            let next_deadline = self.ledger.next_deadline();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                input = inputs.recv() => match input {
                    Some(input) => self.step(input),
                    None => break,
                },
                () = due(&self.env, next_deadline) => {
                    self.tick();
                }
            }
            self.detach_closed();
        }
        self.switchboard.close_all(CloseReason::Shutdown);
    }

    fn step(&mut self, input: Input) {
        match input {
            Input::Connected { id, end } => self.switchboard.connect(id, end),
            Input::Disconnected { id } => {
                if let Some(session) = self.switchboard.disconnect(id) {
                    self.detach(session);
                }
            }
            Input::Asked { id, ask } => self.asked(id, ask),
            Input::Usage { reply } => {
                // What should be forgotten by now is forgotten.
                self.tick();
                // It fails when nobody waits for it any more.
                let _ = reply.send(self.usage());
            }
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            connections: self.switchboard.connections(),
            attached_sessions: self.switchboard.attached_sessions(),
            secrets: self.switchboard.secrets(),
            queued_messages: self.switchboard.queued_messages(),
            engine: self.ledger.usage(),
        }
    }

    fn asked(&mut self, id: ConnectionId, ask: Ask) {
        if !self.switchboard.is_connected(id) {
            // It was closed from here, because another connection has its session or because it
            // reads too slowly. What it still says must not count: its session has gone on.
            return;
        }
        let asker = Asker {
            id,
            seq: ask.seq,
            share: ask.share,
        };
        let session = self.switchboard.session_of(id).cloned();
        match (session, ask.request) {
            (_, Err(rejection)) => self.answer(asker, rejection.into()),
            (Some(session), Ok(request)) => self.asked_in_session(asker, &session, request),
            (
                None,
                Ok(Request::Open {
                    namespace,
                    session,
                    secret,
                    abandon_ms,
                }),
            ) => {
                let key = SessionKey { namespace, session };
                self.open(asker, &key, secret, abandon_ms);
            }
            (
                None,
                Ok(Request::Resume {
                    namespace,
                    session,
                    secret,
                }),
            ) => self.resume(asker, &SessionKey { namespace, session }, &secret),
            (None, Ok(_)) => {
                let rejection = Rejection::invalid(
                    "this connection speaks for no session: send `open` or `resume` first",
                );
                self.answer(asker, rejection.into());
            }
        }
    }

    fn asked_in_session(&mut self, asker: Asker, session: &SessionKey, request: Request) {
        let connection = asker.id;
        let command = match translate::command(session, request) {
            Ok(command) => command,
            Err(rejection) => return self.answer(asker, rejection.into()),
        };
        let applied = self.ledger.propose(&command);
        let message = self.answer_to(&command, &applied);
        self.deliver(&command, &applied, Some((asker, message)));
        if matches!(command, Command::CloseSession { .. }) && applied.result.is_ok() {
            self.switchboard
                .close(connection, CloseReason::SessionClosed);
        }
    }

    fn open(&mut self, asker: Asker, key: &SessionKey, secret: Secret, abandon: DurationMs) {
        match self.switchboard.admit(key, &secret) {
            Admission::Refused => {
                let rejection = Rejection::invalid(format!(
                    "session `{}` is open with another secret: draw another name",
                    key.session
                ));
                return self.answer(asker, rejection.into());
            }
            Admission::Admitted => {
                let result = self.propose(&Command::Attach {
                    session: key.clone(),
                });
                // If not, it was due to end at this very moment: it is opened anew.
                if result.is_ok() {
                    return self.opened(asker, key, result);
                }
            }
            Admission::Unknown => {}
        }
        let result = self.propose(&Command::OpenSession {
            session: key.clone(),
            abandon,
        });
        if result.is_ok() {
            self.switchboard.open(key.clone(), secret);
        }
        self.opened(asker, key, result);
    }

    fn opened(&mut self, asker: Asker, key: &SessionKey, result: Result<Reply, Refusal>) {
        match result {
            Ok(_) => {
                self.switchboard.attach(key, asker.id);
                let idle_timeout_ms = self.idle_timeout;
                self.answer(asker, Message::Opened { idle_timeout_ms });
            }
            Err(refusal) => self.answer(asker, Rejection::from(refusal).into()),
        }
    }

    fn resume(&mut self, asker: Asker, key: &SessionKey, secret: &Secret) {
        if self.switchboard.admit(key, secret) != Admission::Admitted {
            // Whoever does not know the secret does not learn whether there is such a session.
            return self.answer(asker, Rejection::from(Refusal::UnknownSession).into());
        }
        let result = self.propose(&Command::Attach {
            session: key.clone(),
        });
        match result {
            Ok(_) => {
                self.switchboard.attach(key, asker.id);
                let at = self.ledger.now();
                let locks = self.ledger.session_locks(key);
                let message = Message::Resumed {
                    idle_timeout_ms: self.idle_timeout,
                    locks: locks
                        .iter()
                        .map(|lock| translate::status(lock, at))
                        .collect(),
                };
                self.answer(asker, message);
            }
            Err(refusal) => self.answer(asker, Rejection::from(refusal).into()),
        }
    }

    /// The answer to a command of a session.
    fn answer_to(&self, command: &Command, applied: &Applied) -> Message {
        match (applied.result, command) {
            (Err(refusal), _) => Rejection::from(refusal).into(),
            (Ok(Reply::Acquired { .. }), Command::Acquire { lock, .. }) => {
                let lock = self.ledger.lock(lock);
                let lock = lock.expect("a request that was just answered is known");
                translate::acquired(&lock, applied.at)
            }
            (Ok(Reply::Renewed { expires }), Command::Renew { lock, .. }) => Message::Renewed {
                id: lock.id.clone(),
                lease_ms: expires.since(applied.at),
            },
            (Ok(Reply::Done), _) => Message::Done {},
            (Ok(reply), _) => panic!("{reply:?} is no reply to {command:?}"),
        }
    }

    /// Hands out what happened, in order. The answer takes the place of what the command itself
    /// did, or comes last when it did nothing.
    fn deliver(
        &mut self,
        command: &Command,
        applied: &Applied,
        mut answer: Option<(Asker, Message)>,
    ) {
        for event in &applied.events {
            let own = translate::is_own_effect(command, &event.kind);
            if let Some((asker, message)) = answer.take_if(|_| own) {
                self.answer(asker, message);
            } else if let Some(session) = translate::session_of(&event.kind) {
                let arrived_at = |lock: &_| self.ledger.lock(lock).map(|lock| lock.arrived_at);
                if let Some(message) = translate::push(&event.kind, event.at, arrived_at) {
                    self.switchboard.push(&session, message);
                }
            }
            if let EventKind::Session {
                session,
                change: SessionChange::Ended,
            } = &event.kind
            {
                self.switchboard.end(session);
            }
        }
        if let Some((asker, message)) = answer {
            self.answer(asker, message);
        }
    }

    fn answer(&mut self, asker: Asker, message: Message) {
        let outbound = Outbound {
            frame: ServerFrame {
                seq: asker.seq,
                message,
            },
            share: Some(asker.share),
        };
        self.switchboard.send(asker.id, outbound);
    }

    /// Tells the engine of sessions whose connection was closed from here.
    fn detach_closed(&mut self) {
        while let Some(session) = self.switchboard.take_detached() {
            self.detach(session);
        }
    }

    fn detach(&mut self, session: SessionKey) {
        let result = self.propose(&Command::Detach { session });
        assert!(
            matches!(result, Ok(_) | Err(Refusal::UnknownSession)),
            "a session can be detached, or is over: got {result:?}"
        );
    }

    fn tick(&mut self) {
        let result = self.propose(&Command::Tick);
        assert!(result.is_ok(), "the time is never refused: got {result:?}");
    }

    /// Applies a command that nobody waits for, and hands out what happened.
    fn propose(&mut self, command: &Command) -> Result<Reply, Refusal> {
        let applied = self.ledger.propose(command);
        self.deliver(command, &applied, None);
        applied.result
    }
}

/// Waits until something is due; for ever if nothing is.
async fn due<E: Env>(env: &E, deadline: Option<Duration>) {
    match deadline {
        Some(deadline) => env.sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
