//! A connection as the replica sees it: where its messages go, and how to close it.

use crate::resumed::Following;
use axum::extract::ws::CloseFrame;
use lockwright_protocol::{Message, ServerFrame, close_code};
use std::net::IpAddr;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Names a connection within a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The client has gone; there is nobody to tell.
    Gone,
    /// The client closed its session.
    SessionClosed,
    /// The server stops.
    Shutdown,
    /// The server cannot go on.
    Failed,
    /// The node cannot vouch for what its connections are told.
    NoLeader,
    /// What came cannot be read on.
    Unreadable,
    /// Nothing came for the idle timeout.
    Idle,
    /// Another connection has taken over the session.
    Replaced,
    /// Too many messages wait for the client.
    SlowReader,
    /// An operator ended the session.
    SessionEnded,
    /// The client has asked for a session with a wrong secret.
    WrongSecret,
}

impl CloseReason {
    /// What the client is told, if there is somebody to tell.
    pub(crate) fn frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            CloseReason::Gone => return None,
            CloseReason::SessionClosed => (close_code::NORMAL, "the session is closed"),
            CloseReason::Shutdown => (close_code::SHUTDOWN, "the server shuts down"),
            CloseReason::Failed => (close_code::SHUTDOWN, "the server cannot go on"),
            CloseReason::NoLeader => (
                close_code::NO_LEADER,
                "this node knows of no leader that a majority follows: go on with another node",
            ),
            CloseReason::Unreadable => (close_code::UNREADABLE, "what came cannot be read"),
            CloseReason::Idle => (close_code::IDLE, "nothing came for the idle timeout"),
            CloseReason::Replaced => (
                close_code::REPLACED,
                "another connection has the session now",
            ),
            CloseReason::SlowReader => {
                (close_code::SLOW_READER, "too many messages wait to be read")
            }
            CloseReason::SessionEnded => {
                (close_code::SESSION_ENDED, "an operator ended the session")
            }
            CloseReason::WrongSecret => (close_code::WRONG_SECRET, "the secret is wrong"),
        };
        Some(CloseFrame {
            code,
            reason: reason.into(),
        })
    }
}

/// A message on its way out.
pub(crate) struct Outbound {
    pub(crate) frame: ServerFrame,
    /// An answer's share of the queue, given back when the message is sent.
    pub(crate) share: Option<OwnedSemaphorePermit>,
    /// What follows the answer to a `resume`, before anything else.
    pub(crate) following: Option<Following>,
}

impl Outbound {
    /// A message without a request.
    pub(crate) fn push(message: Message) -> Outbound {
        Outbound {
            frame: ServerFrame::push(message),
            share: None,
            following: None,
        }
    }
}

/// The replica's end of a connection. Dropping it closes the connection once what is queued is
/// sent.
pub(crate) struct ConnectionEnd {
    /// Where the client is, as far as that is known.
    pub(crate) from: Option<IpAddr>,
    pub(crate) outgoing: mpsc::Sender<Outbound>,
    pub(crate) close: oneshot::Sender<CloseReason>,
}

/// The queue of a connection is full.
#[derive(Debug)]
pub(crate) struct QueueFull;

impl ConnectionEnd {
    /// Queues a message.
    pub(crate) fn send(&self, message: Outbound) -> Result<(), QueueFull> {
        use mpsc::error::TrySendError;
        match self.outgoing.try_send(message) {
            // A closed queue is a connection that has gone: its notice is on the way.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(_)) => Err(QueueFull),
        }
    }

    /// Messages that wait to be sent.
    pub(crate) fn queued(&self) -> usize {
        self.outgoing.max_capacity() - self.outgoing.capacity()
    }

    /// Closes the connection once what is queued is sent.
    pub(crate) fn close(self, reason: CloseReason) {
        // It fails when the connection has closed already.
        let _ = self.close.send(reason);
    }
}
