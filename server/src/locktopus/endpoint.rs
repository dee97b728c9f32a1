//! Serves a connection from its upgrade to its end.

use super::{
    conversation::{Conversation, Next},
    parameters::Parameters,
    session::{NotOpened, Session, random_hex},
    wire::{self, CLOSE_COMPLAINT, CLOSED, Complaint, LockId},
};
use crate::{
    admission::Place,
    connection::CloseReason,
    http::{ApiError, NoBody},
    listen::CLOSE_GRACE,
    session_endpoint::{BUFFER_BYTES, Gate, PING_FRAME, UNREAD_FACTOR},
    unread::Unread,
};
use axum::{
    Extension,
    body::Bytes,
    extract::{
        RawQuery, State, WebSocketUpgrade,
        ws::{CloseFrame, Message as Frame, WebSocket, rejection::WebSocketUpgradeRejection},
    },
    http::StatusCode,
    response::Response,
};
use futures_util::{SinkExt, future};
use lockwright_env::{Env, timeout};
use lockwright_protocol::{Message, Request};
use std::{net::IpAddr, sync::Arc};
use tokio::sync::oneshot;

/// A client that nothing comes from is asked for a sign of life so many times before it counts as
/// gone. Clients of Locktopus say nothing by themselves while they hold a lock.
const PINGS: u32 = 3;

/// How many locks one session gets. What a session asked for is remembered until it ends, and a
/// connection of these clients may live for ever.
const LOCKS_PER_SESSION: u32 = 256;

/// Turns an HTTP request into a WebSocket.
///
/// The session is opened first: so a client that cannot have one hears it as the status of HTTP,
/// and one that is connected has its namespace.
pub(crate) async fn upgrade<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Extension(place): Extension<Place>,
    Extension(unread): Extension<Arc<Unread>>,
    RawQuery(query): RawQuery,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    _: NoBody,
) -> Result<Response, ApiError> {
    let parameters = Parameters::parse(query.as_deref().unwrap_or_default());
    let parameters = parameters.map_err(|error| ApiError::invalid(error.to_string()))?;
    let upgrade = upgrade.map_err(|rejection| ApiError::no_upgrade(&rejection))?;
    let unread_bytes = gate.message_bytes_max().saturating_mul(UNREAD_FACTOR);
    let upgrade = upgrade
        .max_message_size(unread_bytes)
        .max_frame_size(unread_bytes)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES);
    let (open, opened) = oneshot::channel();
    let (hand_over, socket) = oneshot::channel();
    // A task of its own: if this future is dropped, because the client has gone, the session must
    // still be let go of.
    tokio::spawn(async move {
        attend(gate, parameters, unread, &place, open, socket).await;
        drop(place);
    });
    let refusal = match opened.await {
        Ok(Ok(())) => {
            return Ok(upgrade.on_upgrade(move |socket| async move {
                // It fails when the server stops.
                let _ = hand_over.send(socket);
            }));
        }
        Ok(Err(refusal)) => refusal,
        Err(_) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(ApiError::new(
                status,
                "unavailable",
                "the server shuts down",
            ));
        }
    };
    let Complaint { code, message } = refusal;
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Err(ApiError::new(status, code.as_str(), message))
}

/// Opens a session, waits for its WebSocket, and serves it.
async fn attend<E: Env>(
    gate: Arc<Gate<E>>,
    parameters: Parameters,
    unread: Arc<Unread>,
    place: &Place,
    open: oneshot::Sender<Result<(), Complaint>>,
    socket: oneshot::Receiver<WebSocket>,
) {
    let session = match Session::open(&gate, &parameters, place.address()).await {
        Ok(session) => session,
        Err(NotOpened::Refused(complaint)) => {
            // It fails when the client has gone.
            let _ = open.send(Err(complaint));
            return;
        }
        Err(NotOpened::Closed(_)) => return,
    };
    let mut line = Line {
        gate,
        parameters,
        unread,
        from: place.address(),
        session,
        conversation: Conversation::new(),
        locks: 0,
    };
    // Either fails when the client has gone, or the server stops.
    if open.send(Ok(())).is_ok()
        && let Ok(mut socket) = socket.await
    {
        let ending = line.serve(&mut socket).await;
        let gate = line.gate.clone();
        let bye = timeout(gate.env(), CLOSE_GRACE, say_goodbye(socket, &ending));
        // Neither waits for the other: who waits for what this one leaves is no worse off because
        // it does not read on.
        let _ = future::join(line.leave(), bye).await;
    } else {
        line.leave().await;
    }
}

/// How a connection ends.
enum Ending {
    /// The client has gone, or said that it goes.
    Gone,
    /// The client is told why the server will not go on.
    Complained(Complaint),
    /// The server closes it.
    Closed(CloseReason),
}

impl From<CloseReason> for Ending {
    fn from(reason: CloseReason) -> Ending {
        Ending::Closed(reason)
    }
}

impl From<Complaint> for Ending {
    fn from(complaint: Complaint) -> Ending {
        Ending::Complained(complaint)
    }
}

/// What happens next on a connection.
enum Happening {
    /// The session says something.
    Session(Result<Message, CloseReason>),
    /// The client says something, or is gone.
    Client(Option<Result<Frame, axum::Error>>),
    /// Nothing came for a while.
    Silence,
}

/// A connection, and what it stands for.
struct Line<E> {
    from: Option<IpAddr>,
    gate: Arc<Gate<E>>,
    parameters: Parameters,
    unread: Arc<Unread>,
    session: Session,
    conversation: Conversation,
    /// How many locks the session was asked for.
    locks: u32,
}

impl<E: Env> Line<E> {
    async fn serve(&mut self, socket: &mut WebSocket) -> Ending {
        loop {
            if let Err(ending) = self.serve_until_heard(socket).await {
                return ending;
            }
        }
    }

    /// Carries messages from the session to the client until something comes from the client, and
    /// acts on that. Pings it meanwhile.
    async fn serve_until_heard(&mut self, socket: &mut WebSocket) -> Result<(), Ending> {
        let mut pings = 0;
        loop {
            match self.next(socket).await {
                Happening::Session(message) => {
                    let answered = self.conversation.is_waiting();
                    self.hear_session(message?, socket).await?;
                    if answered {
                        // The client was not listened to, and so cannot have been silent.
                        pings = 0;
                    }
                }
                Happening::Client(Some(Ok(Frame::Ping(bytes)))) => {
                    self.unread.take_off(bytes.len() + PING_FRAME);
                    // A client that reads nothing would have the pongs pile up.
                    let flushed =
                        timeout(self.gate.env(), self.gate.idle_timeout(), socket.flush());
                    return match flushed.await {
                        Ok(Ok(())) => Ok(()),
                        Ok(Err(_)) => Err(Ending::Gone),
                        Err(_) => Err(CloseReason::SlowReader.into()),
                    };
                }
                Happening::Client(frame) => return self.hear_frame(frame).await,
                Happening::Silence if pings == PINGS => {
                    return Err(CloseReason::Idle.into());
                }
                Happening::Silence => {
                    pings += 1;
                    self.send(socket, Frame::Ping(Bytes::new())).await?;
                }
            }
        }
    }

    async fn next(&mut self, socket: &mut WebSocket) -> Happening {
        let is_waiting = self.conversation.is_waiting();
        let patience = self.gate.idle_timeout() / (PINGS + 1);
        tokio::select! {
            biased;
            message = self.session.hear() => Happening::Session(message),
            heard = timeout(self.gate.env(), patience, socket.recv()), if !is_waiting => match heard {
                Ok(frame) => Happening::Client(frame),
                Err(_) => Happening::Silence,
            },
        }
    }

    async fn hear_session(
        &mut self,
        message: Message,
        socket: &mut WebSocket,
    ) -> Result<(), Ending> {
        match self.conversation.hear_session(message)? {
            Next::Say(response) => self.send(socket, Frame::text(response.encode())).await,
            Next::Ask(request) => Ok(self.session.ask(request).await?),
            Next::Nothing => Ok(()),
        }
    }

    async fn hear_frame(
        &mut self,
        frame: Option<Result<Frame, axum::Error>>,
    ) -> Result<(), Ending> {
        let bytes_max = self.gate.message_bytes_max();
        let message = match frame {
            None | Some(Ok(Frame::Close(_))) => return Err(Ending::Gone),
            Some(Ok(Frame::Ping(bytes) | Frame::Pong(bytes))) => {
                self.unread.take_off(bytes.len() + PING_FRAME);
                return Ok(());
            }
            Some(Ok(Frame::Text(text))) => {
                self.unread.clear();
                wire::read(&text, bytes_max)?
            }
            // Locktopus does not look at the kind of a frame.
            Some(Ok(Frame::Binary(bytes))) => {
                self.unread.clear();
                match std::str::from_utf8(&bytes) {
                    Ok(text) => wire::read(text, bytes_max)?,
                    Err(error) => {
                        let why = format!("the message cannot be read: {error}");
                        return Err(Complaint::invalid(why).into());
                    }
                }
            }
            Some(Err(_)) => return Err(CloseReason::Unreadable.into()),
        };
        if self.conversation.is_ready() && self.locks == LOCKS_PER_SESSION {
            self.take_new_session().await?;
        }
        let request = self.conversation.hear_client(message, new_lock_id())?;
        if matches!(request, Request::Acquire { .. }) {
            self.locks += 1;
        }
        Ok(self.session.ask(request).await?)
    }

    /// Ends the session, which has nothing in hand, and opens another.
    async fn take_new_session(&mut self) -> Result<(), Ending> {
        self.session.ask(Request::Close {}).await?;
        match self.session.hear().await? {
            Message::Done {} => {}
            other => panic!("{other:?} is no answer to `close`"),
        }
        let session = match Session::open(&self.gate, &self.parameters, self.from).await {
            Ok(session) => session,
            Err(NotOpened::Refused(complaint)) => return Err(complaint.into()),
            Err(NotOpened::Closed(reason)) => return Err(reason.into()),
        };
        std::mem::replace(&mut self.session, session)
            .disconnect()
            .await;
        self.locks = 0;
        Ok(())
    }

    /// Sends a frame. A client that does not take it for as long as it may be silent is let go of.
    async fn send(&self, socket: &mut WebSocket, frame: Frame) -> Result<(), Ending> {
        let sending = socket.send(frame);
        match timeout(self.gate.env(), self.gate.idle_timeout(), sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ending::Gone),
            Err(_) => Err(CloseReason::SlowReader.into()),
        }
    }

    /// Lets go of what nobody uses any more, and of the session.
    async fn leave(mut self) {
        while let Some(request) = self.conversation.leave() {
            if self.get_done(request).await.is_err() {
                break;
            }
        }
        self.session.disconnect().await;
    }

    /// Asks for something, and waits until it is done. Nobody is told.
    async fn get_done(&mut self, request: Request) -> Result<(), Ending> {
        self.session.ask(request).await?;
        while self.conversation.is_waiting() {
            let message = self.session.hear().await?;
            if let Next::Ask(request) = self.conversation.hear_session(message)? {
                self.session.ask(request).await?;
            }
        }
        Ok(())
    }
}

/// Tells a client why its connection ends, and waits until it has closed it too.
async fn say_goodbye(mut socket: WebSocket, ending: &Ending) -> Result<(), axum::Error> {
    let last = match ending {
        // The answer to its own close is on the way with the next read.
        Ending::Gone => None,
        Ending::Complained(complaint) => {
            let frame = CloseFrame {
                code: CLOSE_COMPLAINT,
                reason: complaint.close_reason().into(),
            };
            Some((complaint.encode(), frame))
        }
        Ending::Closed(reason) => reason
            .frame()
            .map(|frame| (wire::farewell(CLOSED, &frame.reason), frame)),
    };
    if let Some((farewell, frame)) = last {
        socket.send(Frame::text(farewell)).await?;
        socket.send(Frame::Close(Some(frame))).await?;
    }
    // What is not read when a socket is closed may cost the other side what is on the way to it.
    while let Some(Ok(_)) = socket.recv().await {}
    Ok(())
}

/// An id that no other lock has.
fn new_lock_id() -> LockId {
    LockId(random_hex())
}
