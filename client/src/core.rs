//! The session as a state machine without I/O.
//!
//! [`SessionCore`] is told what happens (a connection is there or gone, a message came, the time
//! has passed, the caller wants something) and says what is to be done ([`Output`]). Contract: call
//! an input with the present time of one monotonic clock, then take all outputs with
//! [`poll_output`](SessionCore::poll_output); call [`wake`](SessionCore::wake) when the time of
//! [`next_wake`](SessionCore::next_wake) has come.
//!
//! `link` is about the connection and the session, `locks` about what callers want, `answers` about
//! what the server says of it, `resume` about finding one's way after a connection broke.

mod answers;
mod done;
mod link;
mod locks;
mod pending;
mod resume;
#[cfg(test)]
mod tests;

use crate::{
    Belief, CallError, ClientConfig, Credentials, Notice, SessionBelief, deadline::Anchor,
};
pub use done::DONE_AT_ONCE;
use done::DoneIds;
use link::Link;
use lockwright_engine::{Name, Token};
use lockwright_protocol::{ClaimText, ClientFrame, Label, LockStatus, Seq, WaitMs};
use pending::{Ask, Pending};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Names a lock between the core and its shell. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockId(pub u64);

/// Names a call between the core and its shell. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// The lease was set anew.
    Renewed {
        /// The new deadline; see [`Notice::Granted`].
        deadline: Duration,
    },
}

/// How a connection ended, or came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It broke, was closed, or could not be made.
    Failed,
    /// The server closed it and said that it cannot serve, and that others may.
    Elsewhere,
    /// The server closed it and said that an operator has ended the session.
    SessionEnded,
}

/// What is to be done. In the order in which they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Make a connection, and say [`connected`](SessionCore::connected) or
    /// [`disconnected`](SessionCore::disconnected).
    Connect {
        /// To whom.
        address: String,
    },
    /// Drop the connection, also one that is being made; nothing needs to be said of it.
    Disconnect,
    /// Send this on the connection.
    Send(ClientFrame),
    /// Tell the caller.
    Tell {
        /// Of which lock.
        lock: LockId,
        /// What.
        notice: Notice,
    },
    /// A call is over.
    Reply {
        /// Which.
        call: CallId,
        /// What it came to.
        outcome: Result<Outcome, CallError>,
    },
    /// The session is closed. Nothing comes any more.
    Finished,
}

/// How much a core has in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CoreUsage {
    /// Requests that are under way and locks that are held.
    pub locks: usize,
    /// Messages that the server has not answered, signs of life and what it may forget left aside.
    pub unanswered: usize,
}

/// The session as a state machine; see the module.
#[derive(Debug)]
pub struct SessionCore {
    config: ClientConfig,
    link: Link,
    /// What the parts of the answer to `resume` have listed that came until now.
    listed: Vec<LockStatus>,
    /// Which of the addresses is tried, or connected to.
    address: usize,
    /// How many addresses have failed since a session was attached, or since all had failed.
    failed: usize,
    /// The wait before the next round of tries to connect, when all addresses have failed.
    backoff: Duration,
    /// When nothing was sent for this long, a sign of life is.
    keep_alive: Duration,
    /// When a message was last sent on this connection.
    last_sent: Duration,
    session: Option<Session>,
    /// For the next session.
    spare: Option<Credentials>,
    belief: Arc<SessionBelief>,
    locks: BTreeMap<LockId, LockEntry>,
    by_id: BTreeMap<Name, LockId>,
    /// The ends of the leases of locks that are held.
    leases: BTreeSet<(Duration, LockId)>,
    held: usize,
    /// What the server has not answered, in the order of sending.
    unanswered: BTreeMap<Seq, Pending>,
    next_seq: u64,
    /// What the server may forget.
    done: DoneIds,
    /// Set once the session is being closed: when to give up.
    closing: Option<Duration>,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Session {
    credentials: Credentials,
    /// Whether the server has said so. Until then, opening is asked again and again.
    opened: bool,
}

/// A request that is under way, or a lock that is held. It goes as soon as its end was told.
#[derive(Debug)]
struct LockEntry {
    id: Name,
    claims: Vec<ClaimText>,
    ttl: Option<lockwright_engine::DurationMs>,
    wait: WaitMs,
    label: Option<Label>,
    phase: Phase,
    /// From when the server's time for it is counted; none until it is sent in this session.
    anchor: Option<Anchor>,
    belief: Arc<Belief>,
    /// Nobody wants it any more: it is given back when it is granted.
    abandoned: bool,
}

#[derive(Debug)]
enum Phase {
    /// `acquire` is not answered: it is among the unanswered with this number, and only while it
    /// is, the lock is in this phase.
    Asking { seq: Seq },
    /// It waits at the server.
    Queued,
    /// It is held.
    Held(Holding),
}

#[derive(Debug)]
struct Holding {
    token: Token,
    /// The end of the lease by the last news of it; none without a lease.
    lease: Option<Duration>,
    /// The ends that renewals would give whose answer is missing; the earliest counts.
    renewals: BTreeMap<Seq, Duration>,
}

impl Holding {
    /// The end of the lease, with what may have been renewed; none without a lease.
    fn lease_until(&self) -> Option<Duration> {
        self.renewals.values().copied().chain(self.lease).min()
    }
}

impl SessionCore {
    /// A core at time `now` that wants to connect at once. `belief` is shared with the
    /// [`Belief`]s of its locks.
    ///
    /// # Panics
    /// If the configuration has no address: [`ClientConfig::check`] refuses it.
    #[must_use]
    pub fn new(config: ClientConfig, belief: Arc<SessionBelief>, now: Duration) -> SessionCore {
        assert!(!config.addresses.is_empty(), "there is an address");
        SessionCore {
            link: Link::Down { retry_at: now },
            listed: Vec::new(),
            address: 0,
            failed: 0,
            backoff: config.reconnect_min,
            keep_alive: config.keep_alive,
            last_sent: now,
            session: None,
            spare: None,
            belief,
            locks: BTreeMap::new(),
            by_id: BTreeMap::new(),
            leases: BTreeSet::new(),
            held: 0,
            unanswered: BTreeMap::new(),
            next_seq: 1,
            done: DoneIds::default(),
            closing: None,
            outputs: VecDeque::new(),
            config,
        }
    }

    /// What is to be done next; none when all is said.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`wake`](SessionCore::wake) is to be called; it may be in the past. None when nothing
    /// will happen by itself.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        if matches!(self.link, Link::Closed) {
            return None;
        }
        let lease = self.leases.first().map(|(until, _)| *until);
        let session = (self.held > 0).then(|| self.belief.until());
        [self.link_wake(), lease, session, self.closing]
            .into_iter()
            .flatten()
            .min()
    }

    /// The time has passed.
    pub fn wake(&mut self, now: Duration) {
        self.pass_deadlines(now);
        if self.closing.is_some_and(|until| now >= until) {
            self.finish(&Err(CallError::Unanswered));
        } else {
            self.wake_link(now);
        }
    }

    /// The name of the session, if there is one that the server has opened.
    #[must_use]
    pub fn session(&self) -> Option<&Name> {
        let opened = self.session.as_ref().filter(|session| session.opened);
        opened.map(|session| &session.credentials.session)
    }

    /// How much is in hand.
    #[must_use]
    pub fn usage(&self) -> CoreUsage {
        assert_eq!(self.locks.len(), self.by_id.len(), "each lock has an id");
        CoreUsage {
            locks: self.locks.len(),
            unanswered: self
                .unanswered
                .values()
                .filter(|pending| !matches!(pending.ask, Ask::KeepAlive | Ask::Done { .. }))
                .count(),
        }
    }

    fn tell(&mut self, lock: LockId, notice: Notice) {
        self.outputs.push_back(Output::Tell { lock, notice });
    }

    fn reply(&mut self, call: Option<CallId>, outcome: Result<Outcome, CallError>) {
        if let Some(call) = call {
            self.outputs.push_back(Output::Reply { call, outcome });
        }
    }

    /// Asks the server for something: now, or as soon as there is a session.
    fn ask(&mut self, now: Duration, ask: Ask) {
        let seq = self.draw_seq();
        self.ask_as(now, seq, ask);
    }

    fn ask_as(&mut self, now: Duration, seq: Seq, ask: Ask) {
        self.unanswered.insert(seq, Pending::new(ask));
        if matches!(self.link, Link::Up) {
            self.transmit(now, seq);
        }
    }

    fn draw_seq(&mut self) -> Seq {
        let seq = Seq(self.next_seq);
        self.next_seq += 1;
        seq
    }
}
