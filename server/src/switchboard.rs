//! Which connection speaks for which session.

use crate::connection::{CloseReason, ConnectionEnd, ConnectionId, Outbound};
use lockwright_engine::SessionKey;
use lockwright_protocol::{Message, Secret, ServerFrame};
use std::collections::BTreeMap;

/// Connections, sessions, and who belongs to whom.
///
/// A session is attached to one connection at most, and a connection that lost its session to
/// another is closed at once: nothing that still comes from it counts.
#[derive(Default)]
pub(crate) struct Switchboard {
    connections: BTreeMap<ConnectionId, Connection>,
    sessions: BTreeMap<SessionKey, Session>,
    /// Sessions whose connection was closed from here, which the engine must be told.
    to_detach: Vec<SessionKey>,
}

struct Connection {
    end: ConnectionEnd,
    session: Option<SessionKey>,
}

struct Session {
    secret: Secret,
    attached: Option<ConnectionId>,
}

/// What a secret opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// No such session is open.
    Unknown,
    /// It is open, with another secret.
    Refused,
    /// It is open, with this secret.
    Admitted,
}

impl Switchboard {
    /// A connection has come.
    pub(crate) fn connect(&mut self, id: ConnectionId, end: ConnectionEnd) {
        let session = None;
        let before = self.connections.insert(id, Connection { end, session });
        assert!(before.is_none(), "connections have ids of their own");
    }

    /// A connection has gone. Its session, if it still had one, must be detached.
    pub(crate) fn disconnect(&mut self, id: ConnectionId) -> Option<SessionKey> {
        let connection = self.connections.remove(&id)?;
        let key = connection.session?;
        let session = self.session_mut(&key);
        assert_eq!(session.attached, Some(id), "the link goes both ways");
        session.attached = None;
        Some(key)
    }

    /// Whether the connection is open.
    pub(crate) fn is_connected(&self, id: ConnectionId) -> bool {
        self.connections.contains_key(&id)
    }

    /// The session that a connection speaks for.
    pub(crate) fn session_of(&self, id: ConnectionId) -> Option<&SessionKey> {
        self.connections.get(&id)?.session.as_ref()
    }

    /// What `secret` opens.
    pub(crate) fn admit(&self, key: &SessionKey, secret: &Secret) -> Admission {
        match self.sessions.get(key) {
            None => Admission::Unknown,
            Some(session) if session.secret == *secret => Admission::Admitted,
            Some(_) => Admission::Refused,
        }
    }

    /// A session was opened.
    pub(crate) fn open(&mut self, key: SessionKey, secret: Secret) {
        let attached = None;
        let before = self.sessions.insert(key, Session { secret, attached });
        assert!(before.is_none(), "the engine opens no session twice");
    }

    /// A connection speaks for a session from now on, and no other does.
    pub(crate) fn attach(&mut self, key: &SessionKey, id: ConnectionId) {
        let session = self.session_mut(key);
        let before = session.attached.replace(id);
        assert_ne!(before, Some(id), "a connection attaches once");
        if let Some(old) = before {
            self.drop_connection(old, CloseReason::Replaced);
        }
        let connection = self.connections.get_mut(&id);
        let connection = connection.expect("only an open connection attaches");
        assert!(connection.session.is_none(), "a connection has one session");
        connection.session = Some(key.clone());
    }

    /// A session has ended: its secret is forgotten.
    pub(crate) fn end(&mut self, key: &SessionKey) {
        let session = self.sessions.remove(key);
        let session = session.expect("a session's secret is kept as long as it lives");
        if let Some(connection) = session
            .attached
            .and_then(|id| self.connections.get_mut(&id))
        {
            connection.session = None;
        }
    }

    /// Queues a push for whoever speaks for a session.
    pub(crate) fn push(&mut self, key: &SessionKey, message: Message) {
        let attached = self.sessions.get(key).and_then(|session| session.attached);
        if let Some(id) = attached {
            let frame = ServerFrame::push(message);
            self.send(id, Outbound { frame, share: None });
        }
    }

    /// Queues a message on a connection. One that has gone gets nothing; one whose queue is full
    /// is closed, and its session is [`to_detach`](Switchboard::take_detached).
    pub(crate) fn send(&mut self, id: ConnectionId, message: Outbound) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        if connection.end.send(message).is_err() {
            self.close(id, CloseReason::SlowReader);
        }
    }

    /// Closes a connection; its session, if it has one, is to be detached.
    pub(crate) fn close(&mut self, id: ConnectionId, reason: CloseReason) {
        let session = self.drop_connection(id, reason);
        if let Some(key) = session {
            self.session_mut(&key).attached = None;
            self.to_detach.push(key);
        }
    }

    /// A session whose connection was closed from here, which the engine must be told.
    pub(crate) fn take_detached(&mut self) -> Option<SessionKey> {
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

    pub(crate) fn secrets(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn attached_sessions(&self) -> usize {
        let sessions = self.sessions.values();
        sessions
            .filter(|session| session.attached.is_some())
            .count()
    }

    pub(crate) fn queued_messages(&self) -> usize {
        let connections = self.connections.values();
        connections.map(|connection| connection.end.queued()).sum()
    }

    fn drop_connection(&mut self, id: ConnectionId, reason: CloseReason) -> Option<SessionKey> {
        let connection = self.connections.remove(&id)?;
        connection.end.close(reason);
        connection.session
    }

    fn session_mut(&mut self, key: &SessionKey) -> &mut Session {
        let session = self.sessions.get_mut(key);
        session.expect("a session's secret is kept as long as it lives")
    }
}
