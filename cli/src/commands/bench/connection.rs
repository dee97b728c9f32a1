//! A session on one connection: frames out, answers in.

use super::Plan;
use crate::exit::{Exit, Failure};
use futures_util::{SinkExt, StreamExt};
use lockwright_client::{
    Claim, Credentials, DurationMs, Name, Path, Token, Wait, core::DONE_AT_ONCE,
};
use lockwright_env::{Env, TokioEnv, sleep, timeout};
use lockwright_protocol::{ClaimText, ClientFrame, Request, SESSION_PATH, Seq, WaitMs};
use serde::Deserialize;
use std::{borrow::Cow, future::Future, pin::Pin, time::Duration};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// How often a client says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// How long a session outlives a client that was killed.
const ABANDON: DurationMs = DurationMs::from_secs(10);

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
pub(super) enum BenchError {
    #[error("{0}")]
    Unreachable(String),
    #[error("the server refused: {0}")]
    Refused(String),
}

impl BenchError {
    pub(super) fn failure(&self, address: &str) -> Failure {
        match self {
            BenchError::Unreachable(why) => Failure::new(
                Exit::UNREACHABLE,
                format!("cannot speak with {address}: {why}; does `lockwright serve` run there?"),
            ),
            BenchError::Refused(_) => Failure::new(Exit::REFUSED, self.to_string()),
        }
    }
}

/// A session with its connection.
pub(super) struct Connection {
    socket: WebSocketStream<TcpStream>,
    next_seq: u64,
    /// What has ended and the server has not been told to forget.
    done: Vec<Name>,
    /// Fires when it is time for a sign of life. It is set when it fires, and not for each message:
    /// that would cost more than to read one.
    keep_alive: Pin<Box<dyn Future<Output = ()> + Send>>,
}

fn keep_alive() -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(sleep(&TokioEnv, KEEP_ALIVE))
}

/// What is read of a message: no more than is needed, since reading costs.
#[derive(Deserialize)]
struct Heard<'a> {
    seq: Option<u64>,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    token: Option<u64>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

impl Connection {
    /// Connects to the server at `address`, and opens a session.
    pub(super) async fn open(plan: &Plan, address: &str) -> Result<Connection, BenchError> {
        let unreachable =
            |error: &dyn std::fmt::Display| BenchError::Unreachable(error.to_string());
        let connecting = async {
            let stream = TokioEnv
                .connect(address)
                .await
                .map_err(|error| unreachable(&error))?;
            let url = format!("ws://{address}{SESSION_PATH}");
            client_async(url, stream)
                .await
                .map_err(|error| unreachable(&error))
        };
        let connected = timeout(&TokioEnv, Duration::from_secs(10), connecting).await;
        let (socket, _) = connected.map_err(|_| unreachable(&"no answer within 10 s"))??;
        let mut connection = Connection {
            socket,
            next_seq: 1,
            done: Vec::new(),
            keep_alive: keep_alive(),
        };
        let credentials = Credentials::random();
        let namespace = Name::new(plan.namespace.as_str()).expect("it was read as a name");
        let open = Request::Open {
            namespace,
            session: credentials.session,
            secret: credentials.secret,
            abandon_ms: Some(ABANDON),
            label: None,
        };
        let seq = connection.send(open).await?;
        connection.answer(seq, "opened").await?;
        Ok(connection)
    }

    /// Asks for a lock, and waits until it is held.
    pub(super) async fn acquire(&mut self, id: &Name, path: &Path) -> Result<Token, BenchError> {
        let acquire = Request::Acquire {
            id: id.clone(),
            claims: vec![ClaimText::from(&Claim::write(path.clone()))],
            ttl_ms: None,
            wait: WaitMs(Wait::Forever),
            label: None,
        };
        let seq = self.send(acquire).await?;
        // The answer, or the push after it.
        let token = self.answer(seq, "granted").await?;
        let token = token.map(Token);
        token.ok_or_else(|| BenchError::Unreachable("a grant without a token".to_owned()))
    }

    /// Says that a lock is given back.
    pub(super) async fn say_release(&mut self, id: &Name, token: Token) -> Result<Seq, BenchError> {
        self.send(Request::Release {
            id: id.clone(),
            token,
        })
        .await
    }

    /// Waits until that is done.
    pub(super) async fn released(&mut self, seq: Seq, id: Name) -> Result<(), BenchError> {
        self.answer(seq, "done").await?;
        self.done.push(id);
        // As the client library does.
        if self.done.len() == DONE_AT_ONCE {
            let ids = std::mem::take(&mut self.done);
            // Its answer is passed over: each is for the seq that is waited for.
            self.send(Request::Done { ids }).await?;
        }
        Ok(())
    }

    /// Ends the session.
    pub(super) async fn close(mut self) -> Result<(), BenchError> {
        let seq = self.send(Request::Close {}).await?;
        self.answer(seq, "done").await.map(|_| ())
    }

    async fn send(&mut self, request: Request) -> Result<Seq, BenchError> {
        let seq = Seq(self.next_seq);
        self.next_seq += 1;
        let text = ClientFrame { seq, request }.encode();
        let sent = self.socket.send(Message::text(text)).await;
        sent.map_err(|error| BenchError::Unreachable(error.to_string()))?;
        Ok(seq)
    }

    /// Reads until there is a message of this kind that answers, or is a push. Gives its token.
    async fn answer(&mut self, seq: Seq, wanted: &str) -> Result<Option<u64>, BenchError> {
        loop {
            let next = tokio::select! {
                biased;
                next = self.socket.next() => next,
                () = &mut self.keep_alive => {
                    self.keep_alive = keep_alive();
                    self.send(Request::KeepAlive {}).await?;
                    continue;
                }
            };
            let text = match next {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(other)) => return Err(BenchError::Unreachable(format!("it said {other}"))),
                Some(Err(error)) => return Err(BenchError::Unreachable(error.to_string())),
                None => return Err(BenchError::Unreachable("it hung up".to_owned())),
            };
            let heard: Heard<'_> = serde_json::from_str(&text)
                .map_err(|error| BenchError::Unreachable(format!("it said {text}: {error}")))?;
            if heard.kind == wanted && heard.seq.is_none_or(|answered| answered == seq.0) {
                return Ok(heard.token);
            }
            if heard.kind == "error" || heard.kind == "ended" {
                return Err(BenchError::Refused(
                    heard
                        .message
                        .map_or_else(|| text.as_str().to_owned(), Cow::into_owned),
                ));
            }
        }
    }
}

/// Opens the sessions of all clients.
pub(super) async fn open_all(plan: &Plan) -> Result<Vec<Connection>, BenchError> {
    let mut connections = Vec::new();
    let clients = usize::try_from(plan.clients).expect("it is small");
    for address in plan.addresses.iter().cycle().take(clients) {
        connections.push(Connection::open(plan, address).await?);
    }
    Ok(connections)
}

/// A key of the benchmark.
pub(super) fn key(name: &str) -> Path {
    Path::parse(format!("bench/{name}")).expect("it is a path")
}
