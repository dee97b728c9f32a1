//! A running server as seen by whoever started it.

use crate::{Drain, call::Unavailable, raft::Readiness, replica::Input};
use lockwright_protocol::cluster::NodeState;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Reaches a [`Server`](crate::Server), before and while it runs. Clones reach the same server.
#[derive(Debug, Clone)]
pub struct ServerHandle {
    pub(crate) stop: watch::Sender<Option<Drain>>,
    pub(crate) drain: Drain,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) readiness: Readiness,
}

/// Tells what a server waits for. It keeps nothing of the server alive.
#[derive(Debug, Clone)]
pub struct StateReader(Readiness);

impl StateReader {
    /// What the server does or waits for, when the clock of its Env shows `now`. It asks no task of
    /// the server, so it answers also when one of them is stuck.
    #[must_use]
    pub fn state_at(&self, now: Duration) -> NodeState {
        self.0.state_at(now)
    }
}

/// How much a server has in hand. When all clients have closed their sessions and gone, and the
/// engine's retention time has passed, all of it is zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Connections that are open as sessions' WebSockets, attached to a session or not yet.
    pub connections: usize,
    /// Sessions that a connection is attached to.
    pub attached_sessions: usize,
    /// Secrets that are remembered: one for each open session.
    pub secrets: usize,
    /// Requests of holders without a session that wait for their answer.
    pub waiting_calls: usize,
    /// Messages that wait to be sent, over all connections.
    pub queued_messages: usize,
    /// The engine's own count.
    pub engine: lockwright_engine::Usage,
}

impl ServerHandle {
    /// Stops the server as its [configuration](crate::ServerConfig::drain) says: it takes no more
    /// connections and closes those that are open, at once or when no locks are held any more.
    /// [`Server::run`](crate::Server::run) returns when that is done.
    pub fn shutdown(&self) {
        self.shutdown_with(self.drain);
    }

    /// Stops the server, waiting for this. Of several calls the one with [`Drain::Answers`] counts, also
    /// for a server that waits for locks already.
    pub fn shutdown_with(&self, drain: Drain) {
        self.stop.send_if_modified(|stop| {
            let is_news = *stop < Some(drain);
            *stop = (*stop).max(Some(drain));
            is_news
        });
    }

    /// Tells what the server waits for.
    #[must_use]
    pub fn state(&self) -> StateReader {
        StateReader(self.readiness.clone())
    }

    /// What the server has in hand; none when it has stopped.
    pub async fn usage(&self) -> Option<Usage> {
        usage(&self.inputs).await.ok()
    }
}

/// What a server has in hand.
pub(crate) async fn usage(inputs: &mpsc::Sender<Input>) -> Result<Usage, Unavailable> {
    let (reply, answer) = oneshot::channel();
    let sent = inputs.send(Input::Usage { reply }).await;
    let gone = || Unavailable {
        done: Some(false),
        leader: None,
        stops: false,
    };
    sent.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())
}
