//! A connection's place at the replica: a session that nobody else knows of.

use super::{parameters::Parameters, wire::Complaint};
use crate::{
    connection::{CloseReason, ConnectionEnd, ConnectionId, Outbound},
    replica::{Ask, Input},
    session_endpoint::Gate,
};
use lockwright_engine::Name;
use lockwright_env::Env;
use lockwright_protocol::{Message, Request, Secret, Seq};
use std::{fmt::Write as _, net::IpAddr, sync::Arc};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Bytes of a random name, and of a secret.
const RANDOM_BYTES: usize = 16;

/// Requests that may wait for their answers: one, and the end of the session, which does not wait
/// for what was asked before.
const ASKED_MAX: usize = 2;

/// A session as the connection uses it: one request after the other.
pub(super) struct Session {
    id: ConnectionId,
    inputs: mpsc::Sender<Input>,
    queue: mpsc::Receiver<Outbound>,
    closed: oneshot::Receiver<CloseReason>,
    shares: Arc<Semaphore>,
    last_seq: u64,
}

/// Why there is no session.
#[derive(Debug)]
pub(super) enum NotOpened {
    /// It is refused.
    Refused(Complaint),
    /// The connection is closed before that is decided.
    Closed(CloseReason),
}

impl Session {
    /// Opens a session under a name and with a secret drawn at random.
    pub(super) async fn open<E: Env>(
        gate: &Gate<E>,
        parameters: &Parameters,
        from: Option<IpAddr>,
    ) -> Result<Session, NotOpened> {
        let (outgoing, queue) = mpsc::channel(gate.outgoing_max());
        let (close, closed) = oneshot::channel();
        let mut session = Session {
            id: gate.next_connection(),
            inputs: gate.inputs(),
            queue,
            closed,
            shares: Arc::new(Semaphore::new(ASKED_MAX)),
            last_seq: 0,
        };
        let end = ConnectionEnd {
            from,
            outgoing,
            close,
        };
        let connected = Input::Connected {
            id: session.id,
            end,
        };
        session.tell(connected).await.map_err(NotOpened::Closed)?;
        let name = format!("locktopus-{}", random_hex());
        let opening = Request::Open {
            namespace: parameters.namespace.clone(),
            session: Name::new(name).expect("it is short and printable"),
            secret: Secret::new(random_hex()).expect("it is long enough"),
            abandon_ms: parameters.abandon,
            label: None,
        };
        session.ask(opening).await.map_err(NotOpened::Closed)?;
        match session.hear().await.map_err(NotOpened::Closed)? {
            Message::Opened { .. } => Ok(session),
            Message::Error { error, message, .. } => {
                session.disconnect().await;
                let code = error;
                Err(NotOpened::Refused(Complaint { code, message }))
            }
            other => panic!("{other:?} is no answer to `open`"),
        }
    }

    /// Asks for something.
    pub(super) async fn ask(&mut self, request: Request) -> Result<(), CloseReason> {
        self.last_seq += 1;
        let share = self.shares.clone().acquire_owned().await;
        let ask = Ask {
            seq: Some(Seq(self.last_seq)),
            request: Ok(request),
            share: share.expect("this semaphore is never closed"),
            owed: None,
        };
        self.tell(Input::Asked { id: self.id, ask }).await
    }

    /// The next message: the answer, or what happens meanwhile. Cancel safe.
    pub(super) async fn hear(&mut self) -> Result<Message, CloseReason> {
        match self.queue.recv().await {
            Some(outbound) => Ok(outbound.frame.message),
            // The replica says why before it lets go of the queue, or it is no more.
            None => Err(self.closed.try_recv().unwrap_or(CloseReason::Shutdown)),
        }
    }

    /// The connection is over. A session that is still open has now to live without one.
    pub(super) async fn disconnect(self) {
        // It fails when the replica has stopped, and then there is nothing to tell it.
        let _ = self.tell(Input::Disconnected { id: self.id }).await;
    }

    async fn tell(&self, input: Input) -> Result<(), CloseReason> {
        let told = self.inputs.send(input).await;
        told.map_err(|_| CloseReason::Shutdown)
    }
}

/// A text that nobody can guess.
pub(super) fn random_hex() -> String {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).expect("the system has randomness to give");
    let mut text = String::with_capacity(2 * RANDOM_BYTES);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a text takes what is written to it");
    }
    text
}
