//! A session's WebSocket: reads frames, hands them to the replica, and writes what comes back.

use crate::{
    ServerConfig,
    admission::Place,
    call::{CallerId, Unavailable},
    connection::{CloseReason, ConnectionEnd, ConnectionId, Outbound},
    http::{Admitted, ApiError, Authority, Nothing, Params},
    idle::Idle,
    listen::CLOSE_GRACE,
    metrics::Metrics,
    raft::{Members, Readiness},
    replica::{Ask, Gone, Input, Owed},
    resumed::Following,
    secret::Guesses,
    sighting::{Told, Watchers, Watching},
    translate::Rejection,
    unread::{Unread, UnreadSum},
};
use axum::{
    Extension,
    extract::{
        State,
        ws::{Message as Frame, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use lockwright_engine::Name;
use lockwright_env::{Env, sleep, timeout};
use lockwright_protocol::{ClientFrame, Message, Request, Seq};
use std::{
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use tracing::warn;

/// A frame this many times as large as the largest message ends the connection instead of being
/// answered, since it is not read at all.
pub(crate) const UNREAD_FACTOR: usize = 4;

/// Bytes of a message on a connection that has no session: many times what it takes to open one.
const BEFORE_SESSION: usize = 16 << 10;

/// What may have come of it, with its head and what was read of the next one.
const UNREAD_BEFORE_SESSION: usize = BEFORE_SESSION + BUFFER_BYTES + 14;

/// Bytes on the wire around a ping's own.
pub(crate) const PING_FRAME: usize = 6;

/// Pings whose pongs may wait to be written. While there are more the connection is not read.
const PONGS_MAX: usize = 64;

/// The time between two parts of something large.
const BETWEEN_PARTS: Duration = Duration::from_millis(1);

/// Bytes of the buffers of a connection. Messages are small, and connections many.
pub(crate) const BUFFER_BYTES: usize = 4096;

/// What the replica shows of itself.
pub(crate) struct Shown {
    /// What happens. The replica has the sender: watching ends with it.
    pub(crate) sightings: broadcast::WeakSender<Told>,
    pub(crate) watchers: Watchers,
    /// Where clients reach the leader, if it is another node.
    pub(crate) leader: watch::Receiver<Option<String>>,
    /// The nodes of the cluster.
    pub(crate) members: Members,
    /// What this node waits for.
    pub(crate) readiness: Readiness,
}

/// What all connections share.
pub(crate) struct Gate<E> {
    env: E,
    idle_timeout: Duration,
    message_bytes_max: usize,
    unread: Arc<UnreadSum>,
    outgoing_max: usize,
    inputs: mpsc::Sender<Input>,
    gone: mpsc::UnboundedSender<Gone>,
    metrics: Arc<Metrics>,
    /// The replica has the sender: watching ends with it.
    sightings: broadcast::WeakSender<Told>,
    watchers: Watchers,
    /// Where clients reach the leader, if it is another node.
    leader: watch::Receiver<Option<String>>,
    members: Members,
    readiness: Readiness,
    is_alone: bool,
    /// Under which names, and by which pages, it may be asked.
    admitted: Admitted,
    authority: Authority,
    /// Of secrets of sessions.
    guesses: Guesses,
    next_id: AtomicU64,
    /// What the ids of requests begin with that come without one.
    id_prefix: OnceLock<String>,
}

impl<E: Env> Gate<E> {
    pub(crate) fn new(
        env: E,
        config: &ServerConfig,
        address: SocketAddr,
        inputs: mpsc::Sender<Input>,
        gone: mpsc::UnboundedSender<Gone>,
        metrics: Arc<Metrics>,
        shown: Shown,
    ) -> Gate<E> {
        Gate {
            env,
            idle_timeout: config.idle_timeout,
            message_bytes_max: config.message_bytes_max,
            unread: UnreadSum::new(config.unread_bytes_max),
            outgoing_max: config.outgoing_max,
            inputs,
            gone,
            metrics,
            sightings: shown.sightings,
            watchers: shown.watchers,
            leader: shown.leader,
            members: shown.members,
            readiness: shown.readiness,
            is_alone: config.cluster.is_none(),
            admitted: Admitted::new(
                &config.allowed_hosts,
                &config.allowed_origins,
                config.client_addresses(),
            ),
            authority: Authority::new(config.admin_token.clone(), address),
            guesses: Guesses::new(),
            next_id: AtomicU64::new(0),
            id_prefix: OnceLock::new(),
        }
    }

    pub(crate) fn env(&self) -> &E {
        &self.env
    }

    /// What happens from now on; none when the replica has stopped.
    pub(crate) fn watch(&self) -> Option<(Watching, broadcast::Receiver<Told>)> {
        Some((self.watchers.begin(), self.sightings.upgrade()?.subscribe()))
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn message_bytes_max(&self) -> usize {
        self.message_bytes_max
    }

    /// What all connections hold of what has not come to its end.
    pub(crate) fn unread(&self) -> &Arc<UnreadSum> {
        &self.unread
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// Where callers that go without their answers tell of it.
    pub(crate) fn gone(&self) -> mpsc::UnboundedSender<Gone> {
        self.gone.clone()
    }

    /// The nodes of the cluster.
    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    /// What this node waits for.
    pub(crate) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Whether a request may come from where it comes from.
    pub(crate) fn admits<B>(&self, request: &axum::http::Request<B>) -> Result<(), ApiError> {
        self.admitted.check(request, &self.members)
    }

    /// Under which names, and by which pages, it may be asked.
    pub(crate) fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    /// What it asks of operators.
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether this server is a cluster of one, for ever.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Nothing can be done here now.
    pub(crate) fn unavailable(&self) -> Unavailable {
        // Nobody is sent to a leader that this node has not heard of: it is as good as none.
        let leader = self.leader.borrow().clone();
        let leader = leader.filter(|_| self.members.hears_leader());
        Unavailable {
            done: None,
            leader,
            stops: false,
        }
    }

    /// A number that no other connection, caller or link of this server has.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_caller(&self) -> CallerId {
        CallerId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// An id for a request that comes without one. No server ever makes it again.
    pub(crate) fn request_id(&self) -> Name {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        let prefix = self.id_prefix.get_or_init(random_prefix);
        Name::new(format!("{prefix}-{number}")).expect("letters and digits are a name")
    }

    pub(crate) fn inputs(&self) -> mpsc::Sender<Input> {
        self.inputs.clone()
    }

    pub(crate) fn outgoing_max(&self) -> usize {
        self.outgoing_max
    }

    /// The id of a new connection.
    pub(crate) fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }
}

/// Lets others be served between two parts of something large. To give way to tasks that are ready is not
/// enough: while there are any, the system is asked only now and then what has come from outside.
pub(crate) async fn let_others_go_first<E: Env>(env: &E) {
    sleep(env, BETWEEN_PARTS).await;
}

fn random_prefix() -> String {
    let mut random = [0; 8];
    getrandom::fill(&mut random).expect("the system has randomness to give");
    URL_SAFE_NO_PAD.encode(random)
}

/// Turns an HTTP request into a session's WebSocket.
pub(crate) async fn upgrade<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Extension(place): Extension<Place>,
    Extension(unread): Extension<Arc<Unread>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|rejection| ApiError::no_upgrade(&rejection))?;
    let unread_bytes = gate.message_bytes_max.saturating_mul(UNREAD_FACTOR);
    let response = upgrade
        .max_message_size(unread_bytes)
        .max_frame_size(unread_bytes)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .on_upgrade(move |socket| async move {
            serve(&gate, socket, &unread, place.address()).await;
            drop(place);
        });
    Ok(response)
}

/// Serves a connection to its end.
async fn serve<E: Env>(gate: &Gate<E>, socket: WebSocket, unread: &Unread, from: Option<IpAddr>) {
    unread.limit(UNREAD_BEFORE_SESSION);
    let id = ConnectionId(gate.next_id.fetch_add(1, Ordering::Relaxed));
    let (outgoing, mut queue) = mpsc::channel(gate.outgoing_max);
    let (close, closed) = oneshot::channel();
    let end = ConnectionEnd {
        from,
        outgoing,
        close,
    };
    if gate
        .inputs
        .send(Input::Connected { id, end })
        .await
        .is_err()
    {
        return;
    }
    let (mut sink, mut stream) = socket.split();
    let (pongs, mut pinged) = mpsc::channel(PONGS_MAX);
    // What is to be written before anything else, also when all is over.
    let mut following = None;
    let reason = tokio::select! {
        biased;
        reason = closed => reason.unwrap_or(CloseReason::Shutdown),
        reason = read(gate, id, &mut stream, pongs, unread) => reason,
        reason = write(gate, &mut sink, &mut queue, &mut following, &mut pinged, unread) => reason,
    };
    // It fails when the replica has stopped, and then there is nothing to tell it.
    let _ = gate.inputs.send(Input::Disconnected { id }).await;
    if reason == CloseReason::WrongSecret {
        // Its answer waits, and its place is taken, also when it has gone; but not longer than the server runs.
        let log = || warn!("a client asked for a session with a wrong secret");
        tokio::select! {
            biased;
            () = gate.inputs.closed() => {}
            () = gate.guesses.wrong(&gate.env, log) => {}
        }
    }
    let _ = timeout(
        &gate.env,
        CLOSE_GRACE,
        finish(gate, (sink, stream), queue, following, reason, unread),
    )
    .await;
}

/// Reads messages until there are no more. Gives the reason.
async fn read<E: Env>(
    gate: &Gate<E>,
    id: ConnectionId,
    stream: &mut SplitStream<WebSocket>,
    pongs: mpsc::Sender<()>,
    unread: &Unread,
) -> CloseReason {
    // Half of the queue is for answers: a client that does not read them is not read from either.
    let shares = Arc::new(Semaphore::new(gate.outgoing_max / 2));
    let mut idle = Idle::new(&gate.env, gate.idle_timeout);
    // Lives as long as an answer to a request for a session is owed.
    let mut greeting = Weak::new();
    loop {
        let Some(next) = idle.unless(stream.next()).await else {
            // A client learns how often it has to say something from the answer to its greeting. Until
            // it has that it is not idle: it waits for this server.
            if greeting.strong_count() > 0 {
                continue;
            }
            return CloseReason::Idle;
        };
        let (seq, request, last) = match next {
            None | Some(Ok(Frame::Close(_))) => return CloseReason::Gone,
            Some(Ok(Frame::Pong(bytes))) => {
                unread.take_off(bytes.len() + PING_FRAME);
                continue;
            }
            Some(Ok(Frame::Ping(bytes))) => {
                unread.take_off(bytes.len() + PING_FRAME);
                // A client that reads nothing would have the pongs pile up.
                match timeout(&gate.env, gate.idle_timeout, pongs.send(())).await {
                    Ok(_) => continue,
                    Err(_) => return CloseReason::SlowReader,
                }
            }
            Some(Ok(Frame::Text(text))) => {
                unread.clear();
                let (seq, request) = understand(&text, gate.message_bytes_max);
                (seq, request, false)
            }
            Some(Ok(Frame::Binary(_))) => {
                unread.clear();
                let rejection = "expected one JSON object in a text frame, got a binary frame";
                (None, Err(Rejection::invalid(rejection)), false)
            }
            Some(Err(error)) => {
                let rejection = format!("what came cannot be read on: {error}");
                (None, Err(Rejection::invalid(rejection)), true)
            }
        };
        // There is one at once, but for a client that does not read: no timer is set for the others.
        let share = match shares.clone().try_acquire_owned() {
            Ok(share) => share,
            Err(_) => {
                let share = shares.clone().acquire_owned();
                let Ok(share) = timeout(&gate.env, gate.idle_timeout, share).await else {
                    return CloseReason::SlowReader;
                };
                share.expect("this semaphore is never closed")
            }
        };
        let is_greeting = matches!(request, Ok(Request::Open { .. } | Request::Resume { .. }));
        let owed = is_greeting.then(|| Arc::new(Owed));
        if let Some(owed) = &owed {
            greeting = Arc::downgrade(owed);
        }
        let ask = Ask {
            seq,
            request,
            share,
            owed,
        };
        if gate.inputs.send(Input::Asked { id, ask }).await.is_err() {
            return CloseReason::Shutdown;
        }
        if last {
            return CloseReason::Unreadable;
        }
    }
}

/// Reads one message.
fn understand(text: &str, bytes_max: usize) -> (Option<Seq>, Result<Request, Rejection>) {
    if text.len() > bytes_max {
        let rejection = format!(
            "a message has at most {bytes_max} bytes, this one has {}: ask for less at once",
            text.len()
        );
        return (None, Err(Rejection::invalid(rejection)));
    }
    match ClientFrame::decode(text) {
        Ok(frame) => (Some(frame.seq), Ok(frame.request)),
        Err(error) => (error.seq(), Err(Rejection::from(&error))),
    }
}

/// Writes messages, and pongs, for as long as that works.
async fn write<E: Env>(
    gate: &Gate<E>,
    sink: &mut SplitSink<WebSocket, Frame>,
    queue: &mut mpsc::Receiver<Outbound>,
    following: &mut Option<Following>,
    pinged: &mut mpsc::Receiver<()>,
    unread: &Unread,
) -> CloseReason {
    loop {
        if let Err(reason) = follow(gate, sink, following).await {
            return reason;
        }
        let written = tokio::select! {
            biased;
            message = queue.recv() => match message {
                Some(message) => {
                    let sent = send(sink, queue, following, message, unread).await;
                    // That has written the pongs, too.
                    while pinged.try_recv().is_ok() {}
                    sent
                }
                None => break,
            },
            // The pongs are there, and wait for this.
            Some(()) = pinged.recv() => sink.flush().await,
        };
        if written.is_err() {
            return CloseReason::Gone;
        }
    }
    // The replica has dropped its end, and says why.
    std::future::pending().await
}

/// Writes a message and those that have come meanwhile, up to one that others are to follow, and flushes once.
async fn send(
    sink: &mut SplitSink<WebSocket, Frame>,
    queue: &mut mpsc::Receiver<Outbound>,
    following: &mut Option<Following>,
    message: Outbound,
    unread: &Unread,
) -> Result<(), axum::Error> {
    let mut next = Some(message);
    while let Some(outbound) = next {
        let frame = &outbound.frame;
        if let Message::Opened { .. } | Message::Resumed { .. } = frame.message {
            // What it may have from now on is the largest message.
            unread.limit(usize::MAX);
        }
        sink.feed(Frame::text(frame.encode())).await?;
        drop(outbound.share);
        *following = outbound.following;
        if following.is_some() {
            break;
        }
        next = queue.try_recv().ok();
    }
    sink.flush().await
}

/// Writes what follows a message, if there is anything. What was written of it when this is cancelled is not written
/// again, and the rest goes on where it was.
async fn follow<E: Env>(
    gate: &Gate<E>,
    sink: &mut SplitSink<WebSocket, Frame>,
    following: &mut Option<Following>,
) -> Result<(), CloseReason> {
    while let Some(parts) = following {
        // There is room before a part is taken.
        let ready = poll_fn(|context| sink.poll_ready_unpin(context)).await;
        ready.map_err(|_| CloseReason::Gone)?;
        let Some(part) = parts.next().await else {
            *following = None;
            break;
        };
        let sent = sink.start_send_unpin(Frame::text(part));
        sent.map_err(|_| CloseReason::Gone)?;
        // As long as its answer is owed a client is not idle: it must read, at least.
        match timeout(&gate.env, gate.idle_timeout, sink.flush()).await {
            Ok(flushed) => flushed.map_err(|_| CloseReason::Gone)?,
            Err(_) => return Err(CloseReason::SlowReader),
        }
    }
    Ok(())
}

/// Writes what is still queued, and the reason for closing; and reads on until the client has closed, too: what is not
/// read when a socket is closed may cost the other side what is on the way to it.
async fn finish<E: Env>(
    gate: &Gate<E>,
    (mut sink, mut stream): (SplitSink<WebSocket, Frame>, SplitStream<WebSocket>),
    mut queue: mpsc::Receiver<Outbound>,
    mut following: Option<Following>,
    reason: CloseReason,
    unread: &Unread,
) -> Result<(), axum::Error> {
    let Some(frame) = reason.frame() else {
        // If it has said so, the answer to that is on the way with the next read.
        return read_away(&mut stream, unread).await;
    };
    loop {
        if follow(gate, &mut sink, &mut following).await.is_err() {
            return Ok(());
        }
        let Some(message) = queue.recv().await else {
            break;
        };
        send(&mut sink, &mut queue, &mut following, message, unread).await?;
    }
    sink.send(Frame::Close(Some(frame))).await?;
    read_away(&mut stream, unread).await
}

/// Reads what is not heard any more, and keeps nothing of it.
async fn read_away(
    stream: &mut SplitStream<WebSocket>,
    unread: &Unread,
) -> Result<(), axum::Error> {
    while let Some(frame) = stream.next().await {
        frame?;
        unread.clear();
    }
    Ok(())
}
