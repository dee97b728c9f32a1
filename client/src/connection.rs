//! A connection to the server: text messages both ways.

use crate::core::Gone;
use futures_util::{SinkExt, StreamExt};
use lockwright_env::Env;
use lockwright_protocol::{SESSION_PATH, close_code};
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message,
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
    Pin<Box<dyn Future<Output = io::Result<Connection<E>>> + Send + 'static>>;

/// Connects to a server. It may take for ever: the caller gives up.
pub(crate) fn connect<E: Env>(env: E, address: String) -> Connecting<E> {
    Box::pin(async move {
        let stream = env.connect(&address).await?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES);
        let url = format!("ws://{address}{SESSION_PATH}");
        let upgraded = client_async_with_config(url, stream, Some(config)).await;
        let (socket, _) = upgraded.map_err(io::Error::other)?;
        Ok(Connection {
            socket,
            outbox: VecDeque::new(),
            flushed: true,
        })
    })
}

impl<E: Env> Connection<E> {
    /// Queues a message. It goes out while [`next`](Connection::next) is waited for.
    pub(crate) fn send(&mut self, text: String) {
        self.outbox.push_back(text);
    }

    /// Sends what is queued, and gives the next message, or says how the connection ended. Cancel
    /// safe.
    pub(crate) async fn next(&mut self) -> Result<String, Gone> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<String, Gone>> {
        loop {
            if self.poll_send(context).is_err() {
                return Poll::Ready(Err(Gone::Failed));
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
                Poll::Ready(_) => return Poll::Ready(Err(Gone::Failed)),
            }
        }
    }

    /// Sends as much as goes out at once.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
    ) -> Result<(), tokio_tungstenite::tungstenite::Error> {
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

/// What a server says when it closes a connection.
fn parting(frame: &CloseFrame) -> Gone {
    match u16::from(frame.code) {
        close_code::NO_LEADER | close_code::SHUTDOWN => Gone::Elsewhere,
        _ => Gone::Failed,
    }
}
