//! Which connection speaks for which session.

use crate::{
    connection::{CloseReason, ConnectionEnd, ConnectionId, Outbound},
    proposal::Attachment,
    replica::Ask,
};
use lockwright_engine::SessionKey;
use lockwright_protocol::Message;
use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};
use tracing::warn;

/// Connections, sessions, and who belongs to whom, as far as it is agreed on.
///
/// A session is attached to one connection at most, and a connection that lost its session to
/// another is closed at once: nothing that still comes from it counts.
#[derive(Default)]
pub(crate) struct Switchboard {
    connections: BTreeMap<ConnectionId, Connection>,
    /// The connection of each attached session.
    sessions: BTreeMap<SessionKey, ConnectionId>,
    /// Sessions whose connection was closed from here, which must be detached.
    to_detach: Vec<Link>,
}

struct Connection {
    end: ConnectionEnd,
    stage: Stage,
}

/// How far a connection has come.
enum Stage {
    /// It speaks for no session.
    Alone,
    /// It has asked for a session. What it asks before that is decided waits here.
    Attaching { waiting: VecDeque<Ask> },
    /// It speaks for a session.
    Linked(Link),
}

/// A session, and how it is attached to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) session: SessionKey,
    pub(crate) attachment: Attachment,
}

/// What may be done with a message of a connection.
pub(crate) enum Standing<'a> {
    /// It must ask for a session.
    Alone,
    /// It must wait: it is [kept](Switchboard::keep_waiting).
    Attaching,
    /// It is of this session.
    Linked(&'a Link),
}

impl Switchboard {
    /// A connection has come.
    pub(crate) fn connect(&mut self, id: ConnectionId, end: ConnectionEnd) {
        let stage = Stage::Alone;
        let before = self.connections.insert(id, Connection { end, stage });
        assert!(before.is_none(), "connections have ids of their own");
    }

    /// A connection has gone. Its session, if it still had one, must be detached.
    pub(crate) fn disconnect(&mut self, id: ConnectionId) -> Option<Link> {
        let connection = self.connections.remove(&id)?;
        self.unlink(id, connection.stage)
    }

    /// Whether the connection is open.
    pub(crate) fn is_connected(&self, id: ConnectionId) -> bool {
        self.connections.contains_key(&id)
    }

    /// Where the client of a connection is, as far as that is known.
    pub(crate) fn address(&self, id: ConnectionId) -> Option<IpAddr> {
        self.connections.get(&id)?.end.from
    }

    /// What may be done with a message of a connection; none if it has gone.
    pub(crate) fn standing(&self, id: ConnectionId) -> Option<Standing<'_>> {
        Some(match &self.connections.get(&id)?.stage {
            Stage::Alone => Standing::Alone,
            Stage::Attaching { .. } => Standing::Attaching,
            Stage::Linked(link) => Standing::Linked(link),
        })
    }

    /// A connection asks for a session.
    pub(crate) fn begin_attaching(&mut self, id: ConnectionId) {
        let connection = self.connections.get_mut(&id);
        let connection = connection.expect("only an open connection attaches");
        assert!(
            matches!(connection.stage, Stage::Alone),
            "a connection asks for one session at a time"
        );
        let waiting = VecDeque::new();
        connection.stage = Stage::Attaching { waiting };
    }

    /// Keeps what a connection asks until it is decided whether it gets its session.
    pub(crate) fn keep_waiting(&mut self, id: ConnectionId, ask: Ask) {
        let connection = self.connections.get_mut(&id);
        if let Some(Stage::Attaching { waiting }) = connection.map(|one| &mut one.stage) {
            waiting.push_back(ask);
        }
    }

    /// A connection speaks for a session from now on, and no other does. Gives what it has asked
    /// meanwhile.
    pub(crate) fn attach(&mut self, id: ConnectionId, link: Link) -> VecDeque<Ask> {
        let before = self.sessions.get(&link.session);
        assert_ne!(before, Some(&id), "a connection attaches once");
        self.replace(&link.session);
        self.sessions.insert(link.session.clone(), id);
        self.decide(id, Stage::Linked(link))
    }

    /// Another connection speaks for a session from now on: the one that did is closed.
    pub(crate) fn replace(&mut self, session: &SessionKey) {
        if let Some(old) = self.sessions.remove(session) {
            // It has lost its session already: there is nothing to detach.
            let old = self.connections.remove(&old);
            let old = old.expect("the link goes both ways");
            old.end.close(CloseReason::Replaced);
        }
    }

    /// A connection does not get the session that it asked for. Gives what it has asked meanwhile.
    pub(crate) fn stay_alone(&mut self, id: ConnectionId) -> VecDeque<Ask> {
        self.decide(id, Stage::Alone)
    }

    fn decide(&mut self, id: ConnectionId, stage: Stage) -> VecDeque<Ask> {
        let connection = self.connections.get_mut(&id);
        let connection = connection.expect("only an open connection attaches");
        match std::mem::replace(&mut connection.stage, stage) {
            Stage::Attaching { waiting } => waiting,
            _ => panic!("it is decided once"),
        }
    }

    /// A session has ended.
    pub(crate) fn end(&mut self, key: &SessionKey) {
        if let Some(id) = self.sessions.remove(key) {
            let connection = self.connections.get_mut(&id);
            connection.expect("the link goes both ways").stage = Stage::Alone;
        }
    }

    /// A session has ended without its connection asking for that: there is nothing more to say.
    pub(crate) fn end_and_close(&mut self, key: &SessionKey) {
        if let Some(id) = self.sessions.remove(key) {
            let connection = self.connections.remove(&id);
            let connection = connection.expect("the link goes both ways");
            connection.end.close(CloseReason::SessionEnded);
        }
    }

    /// Queues a push for whoever speaks for a session.
    pub(crate) fn push(&mut self, key: &SessionKey, message: Message) {
        if let Some(&id) = self.sessions.get(key) {
            self.send(id, Outbound::push(message));
        }
    }

    /// The same for a session that has ended, whose connection is about to be closed for that: what there
    /// is no room for is not said.
    pub(crate) fn push_if_room(&mut self, key: &SessionKey, message: Message) {
        let id = self.sessions.get(key);
        if let Some(connection) = id.and_then(|id| self.connections.get(id)) {
            // It fails when there is no room.
            let _ = connection.end.send(Outbound::push(message));
        }
    }

    /// Queues a message on a connection. One that has gone gets nothing; one whose queue is full
    /// is closed, and its session is [`to_detach`](Switchboard::take_detached).
    pub(crate) fn send(&mut self, id: ConnectionId, message: Outbound) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        if connection.end.send(message).is_err() {
            warn!(
                connection = id.0,
                "a client that reads too slowly is cut off"
            );
            self.close(id, CloseReason::SlowReader);
        }
    }

    /// Closes a connection; its session, if it has one, is to be detached.
    pub(crate) fn close(&mut self, id: ConnectionId, reason: CloseReason) {
        if let Some(connection) = self.connections.remove(&id) {
            connection.end.close(reason);
            let link = self.unlink(id, connection.stage);
            self.to_detach.extend(link);
        }
    }

    /// Closes the connection of a session, if it has one.
    pub(crate) fn close_session(&mut self, session: &SessionKey, reason: CloseReason) {
        if let Some(&id) = self.sessions.get(session) {
            self.close(id, reason);
        }
    }

    /// A session whose connection was closed from here, which must be detached.
    pub(crate) fn take_detached(&mut self) -> Option<Link> {
        self.to_detach.pop()
    }

    /// Closes all connections.
    pub(crate) fn close_all(&mut self, reason: CloseReason) {
        while let Some((&id, _)) = self.connections.first_key_value() {
            self.close(id, reason);
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    pub(crate) fn attached_sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn queued_messages(&self) -> usize {
        let connections = self.connections.values();
        connections.map(|connection| connection.end.queued()).sum()
    }

    /// The session of a connection that has gone is without one.
    fn unlink(&mut self, id: ConnectionId, stage: Stage) -> Option<Link> {
        let Stage::Linked(link) = stage else {
            return None;
        };
        let linked = self.sessions.remove(&link.session);
        assert_eq!(linked, Some(id), "the link goes both ways");
        Some(link)
    }
}
