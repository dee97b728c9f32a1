//! A connection to the server: text messages both ways.

use crate::{Trouble, core::Gone};
use futures_util::{SinkExt, StreamExt};
use lockwright_env::Env;
use lockwright_protocol::{SESSION_PATH, close_code, http::ErrorBody};
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error, Message,
        http::StatusCode,
        protocol::{CloseFrame, WebSocketConfig},
    },
};

/// Bytes of the buffers of a connection: messages are small.
const BUFFER_BYTES: usize = 4096;

/// An open connection, and what waits to be sent on it.
pub(crate) struct Connection<E: Env> {
    socket: WebSocketStream<E::Stream>,
    outbox: VecDeque<String>,
    flushed: bool,
}

/// A connection that is being made.
pub(crate) type Connecting<E> =
    Pin<Box<dyn Future<Output = Result<Connection<E>, Trouble>> + Send + 'static>>;

/// Connects to a server. It may take for ever: the caller gives up.
pub(crate) fn connect<E: Env>(env: E, address: String) -> Connecting<E> {
    Box::pin(async move {
        let stream = env.connect(&address).await;
        let stream = stream.map_err(|error| Trouble::Unreachable(error.to_string()))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES);
        let url = format!("ws://{address}{SESSION_PATH}");
        let upgraded = client_async_with_config(url, stream, Some(config)).await;
        let (socket, _) = upgraded.map_err(refused)?;
        Ok(Connection {
            socket,
            outbox: VecDeque::new(),
            flushed: true,
        })
    })
}

/// What a server means that makes no connection of this kind.
fn refused(error: Error) -> Trouble {
    match error {
        Error::Http(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
            Trouble::CannotServe(response.status().to_string())
        }
        Error::Http(response) if response.status() == StatusCode::FORBIDDEN => {
            match message_of(response.body().as_deref()) {
                Some(message) => Trouble::Refused(message),
                None => Trouble::NotOurs(response.status().to_string()),
            }
        }
        Error::Http(response) => Trouble::NotOurs(response.status().to_string()),
        Error::Io(error) => Trouble::Unreachable(error.to_string()),
        other => Trouble::NotOurs(other.to_string()),
    }
}

/// What a server of ours says of a refusal, as much as is fit for a line.
fn message_of(body: Option<&[u8]>) -> Option<String> {
    const SHOWN_MAX: usize = 500;
    let body: ErrorBody = serde_json::from_slice(body?).ok()?;
    let message = body.message.chars().filter(|one| !one.is_control());
    Some(message.take(SHOWN_MAX).collect())
}

/// How a connection ended.
pub(crate) struct Parting {
    pub(crate) gone: Gone,
    pub(crate) why: Trouble,
}

impl<E: Env> Connection<E> {
    /// Queues a message. It goes out while [`next`](Connection::next) is waited for.
    pub(crate) fn send(&mut self, text: String) {
        self.outbox.push_back(text);
    }

    /// Sends what is queued, and gives the next message, or says how the connection ended. Cancel
    /// safe.
    pub(crate) async fn next(&mut self) -> Result<String, Parting> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<String, Parting>> {
        loop {
            if let Err(error) = self.poll_send(context) {
                return Poll::Ready(Err(broken(&error)));
            }
            match self.socket.poll_next_unpin(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(Message::Text(text)))) => {
                    return Poll::Ready(Ok(text.as_str().to_owned()));
                }
                // The answer to a ping is queued by the library, and flushed in the next round.
                Poll::Ready(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => self.flushed = false,
                Poll::Ready(Some(Ok(Message::Close(Some(frame))))) => {
                    return Poll::Ready(Err(parting(&frame)));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(&error))),
                Poll::Ready(_) => return Poll::Ready(Err(broken(&Error::ConnectionClosed))),
            }
        }
    }

    /// Sends as much as goes out at once.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        while !self.outbox.is_empty() {
            match self.socket.poll_ready_unpin(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ready) => ready?,
            }
            if let Some(text) = self.outbox.pop_front() {
                self.flushed = false;
                self.socket.start_send_unpin(Message::text(text))?;
            }
        }
        if !self.flushed
            && let Poll::Ready(flushed) = self.socket.poll_flush_unpin(context)
        {
            flushed?;
            self.flushed = true;
        }
        Ok(())
    }
}

/// A connection that ended without a word.
fn broken(error: &Error) -> Parting {
    Parting {
        gone: Gone::Failed,
        why: Trouble::Unreachable(error.to_string()),
    }
}

/// What a server says when it closes a connection.
fn parting(frame: &CloseFrame) -> Parting {
    let why = Trouble::CannotServe(frame.reason.to_string());
    let gone = match u16::from(frame.code) {
        close_code::NO_LEADER | close_code::SHUTDOWN => Gone::Elsewhere,
        close_code::SESSION_ENDED => Gone::SessionEnded,
        _ => Gone::Failed,
    };
    Parting { gone, why }
}
