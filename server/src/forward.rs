//! The way of proposals from a node to the leader, over a link between the two.
//!
//! A link is of one leadership: the leader says [`ToFollower::Welcome`] when it takes proposals, and
//! closes the link when it does no more, or when one of them was not taken. Then all that was not
//! applied yet is sent again on the next link, in order; what came twice is applied once.

use crate::{
    peer::{Dialer, Link, Purpose, wire},
    proposal::{Action, Origin},
    readiness::Notes,
    replica::Input,
};
use lockwright_engine::TimeMs;
use lockwright_env::{Env, timeout};
use serde::{Deserialize, Serialize};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use tracing::debug;

/// Proposals that go in one frame.
const AT_ONCE: usize = 256;

/// Messages to a node that may wait to be sent.
pub(crate) const WAITING_MAX: usize = 1024;

/// What a node says to the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToLeader {
    /// Things to be proposed, in this order.
    Propose(Vec<(Origin, Arc<Action>)>),
    /// It wants to read: up to where must it have applied the log?
    Read {
        /// Names the question.
        id: u64,
    },
    /// It is there.
    Ping {
        /// The moment, by its own clock.
        sent: Duration,
    },
}

/// What the leader says to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToFollower {
    /// It takes proposals.
    Welcome {
        /// Its time.
        at: TimeMs,
    },
    /// An answer to a ping.
    Pong {
        /// What the ping said.
        sent: Duration,
        /// The leader's time after it came.
        at: TimeMs,
    },
    /// An answer to a read: who has applied the log up to `index` sees what there was at `at`.
    ReadAt {
        /// What the question was named.
        id: u64,
        /// The index of an entry.
        index: u64,
        /// The leader's time.
        at: TimeMs,
    },
}

/// A link to the leader as seen by the node that opened it.
pub(crate) struct Forwarder {
    /// Whom it leads to.
    pub(crate) leader: u64,
    /// When opening it began, by the clock of the Env.
    pub(crate) begun: Duration,
    to: mpsc::UnboundedSender<ToLeader>,
    from: mpsc::UnboundedReceiver<ToFollower>,
    /// Whether the leader takes proposals.
    pub(crate) is_welcome: bool,
}

impl Forwarder {
    /// Opens a link, which may fail: then it is over.
    pub(crate) fn open<E: Env>(
        dialer: &Dialer<E>,
        leader: u64,
        address: String,
        heartbeat: Duration,
        notes: &Notes,
    ) -> Forwarder {
        let (to, queue) = mpsc::unbounded_channel();
        let (told, from) = mpsc::unbounded_channel();
        let begun = dialer.env.monotonic();
        let (dialer, notes) = (dialer.clone(), notes.clone());
        notes.link_asked(leader);
        tokio::spawn(async move {
            let spoken = speak(&dialer, leader, &address, heartbeat, queue, told, &notes).await;
            if let Err(error) = spoken {
                notes.link_failed(leader, &error);
                debug!(%error, leader, "the link to the leader is over");
            }
        });
        Forwarder {
            leader,
            begun,
            to,
            from,
            is_welcome: false,
        }
    }

    /// Says something. It may be lost.
    pub(crate) fn say(&self, message: ToLeader) {
        // It fails when the link is over, which is told.
        let _ = self.to.send(message);
    }

    /// What the leader says next; none when the link is over. Cancel safe.
    pub(crate) async fn hear(&mut self) -> Option<ToFollower> {
        self.from.recv().await
    }
}

async fn speak<E: Env>(
    dialer: &Dialer<E>,
    leader: u64,
    address: &str,
    heartbeat: Duration,
    mut queue: mpsc::UnboundedReceiver<ToLeader>,
    told: mpsc::UnboundedSender<ToFollower>,
    notes: &Notes,
) -> io::Result<()> {
    let (link, _) = dialer.open(leader, address, Purpose::Forward).await?;
    notes.link_opened(leader);
    let (mut reader, mut writer) = tokio::io::split(link);
    let env = &dialer.env;
    let listening = async {
        loop {
            let message = timeout(env, dialer.patience, wire::read(&mut reader)).await;
            let message = message.map_err(io::Error::other)??;
            if told.send(message).is_err() {
                return Ok(());
            }
        }
    };
    let talking = async {
        let mut next_ping = env.monotonic();
        loop {
            let message = tokio::select! {
                biased;
                message = queue.recv() => match message {
                    Some(message) => message,
                    None => return Ok(()),
                },
                () = env.sleep_until(next_ping) => {
                    let sent = env.monotonic();
                    next_ping = sent + heartbeat;
                    ToLeader::Ping { sent }
                }
            };
            wire::write(&mut writer, &message).await?;
        }
    };
    tokio::select! {
        biased;
        over = listening => over,
        over = talking => over,
    }
}

/// What a leader hears over links.
pub(crate) enum Heard {
    /// A node has opened a link.
    Opened {
        /// Names the link.
        link: u64,
        /// The node.
        node: u64,
        /// Where messages to it go. The link is over when this is dropped.
        out: mpsc::Sender<ToFollower>,
    },
    /// A node says something.
    Said {
        /// The link.
        link: u64,
        /// The node.
        node: u64,
        /// What.
        message: ToLeader,
    },
}

/// Serves the link of a node until either side ends it.
pub(crate) async fn serve<E: Env>(
    env: E,
    node: u64,
    number: u64,
    link: Link<E>,
    inputs: mpsc::Sender<Input>,
    patience: Duration,
) {
    let (out, queue) = mpsc::channel(WAITING_MAX);
    let opened = Heard::Opened {
        link: number,
        node,
        out,
    };
    if inputs.send(Input::Heard(opened)).await.is_err() {
        return;
    }
    let (reader, writer) = tokio::io::split(link);
    let over = tokio::select! {
        biased;
        over = tell(queue, writer) => over,
        over = hear(&env, node, number, reader, &inputs, patience) => over,
    };
    if let Err(error) = over {
        debug!(%error, node, "the link of a node is over");
    }
}

async fn tell<W: AsyncWrite + Unpin>(
    mut queue: mpsc::Receiver<ToFollower>,
    mut writer: W,
) -> io::Result<()> {
    while let Some(message) = queue.recv().await {
        wire::write(&mut writer, &message).await?;
    }
    Ok(())
}

async fn hear<E: Env, R: AsyncRead + Unpin>(
    env: &E,
    node: u64,
    link: u64,
    mut reader: R,
    inputs: &mpsc::Sender<Input>,
    patience: Duration,
) -> io::Result<()> {
    loop {
        let message = timeout(env, patience, wire::read(&mut reader)).await;
        let message = message.map_err(io::Error::other)??;
        let said = Heard::Said {
            link,
            node,
            message,
        };
        if inputs.send(Input::Heard(said)).await.is_err() {
            return Ok(());
        }
    }
}

/// Proposals in groups that go in one frame each.
pub(crate) fn groups(
    proposals: impl Iterator<Item = (Origin, Arc<Action>)>,
) -> impl Iterator<Item = ToLeader> {
    let mut proposals = proposals.peekable();
    std::iter::from_fn(move || {
        proposals.peek()?;
        Some(ToLeader::Propose(
            proposals.by_ref().take(AT_ONCE).collect(),
        ))
    })
}
