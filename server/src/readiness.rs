//! What a node waits for before it serves clients, in one reason and a text.
//!
//! The parts of a node write down in [`Notes`] what they learn as they learn it: the event loop its way
//! to the leader, the links why they are not open, Raft's calls which nodes answer. [`Facts`] puts that
//! beside what Raft knows, and judges. It reads only what is written down, at any moment and without
//! asking the event loop, which may be what is stuck.

mod facts;

pub(crate) use facts::Facts;
use facts::in_ms;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// What the parts of a node have written down. Clones are the same.
#[derive(Clone)]
pub(crate) struct Notes {
    clock: Arc<dyn Fn() -> Duration + Send + Sync>,
    noted: Arc<Mutex<Noted>>,
}

/// Moments are by the clock of the node's Env.
#[derive(Debug, Clone, Default)]
pub(super) struct Noted {
    way: Way,
    is_joined: bool,
    /// Since when the oldest proposal waits.
    oldest: Option<Duration>,
    /// Since when the node has not served, or has.
    since: Duration,
    not_joined_since: Duration,
    no_way_since: Duration,
    /// Since when no leader is known.
    leaderless_since: Option<Duration>,
    /// The leader that was heard of last, and when.
    heard: Option<(u64, Duration)>,
    /// The last entry that the leader says to be committed.
    committed: u64,
    /// An entry that is committed and was not applied when that was heard, and when that was.
    behind: Option<(u64, Duration)>,
    snapshot: Option<Incoming>,
    link: Option<Link>,
    /// The member that keeps the cluster from being formed, and why.
    unformed: Option<(u64, String)>,
    /// Since when it stops, and how many locks are held that it waits for.
    stops: Option<(Duration, Option<usize>)>,
    peers: BTreeMap<u64, Peer>,
}

/// The way of a node's proposals into the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// None.
    #[default]
    None,
    /// It leads, and the entry with which it begins is not applied yet.
    Preparing,
    /// It leads.
    Leading,
    /// A link to the leader.
    Following { leader: u64, is_welcome: bool },
}

impl Way {
    fn is_open(self) -> bool {
        matches!(
            self,
            Way::Leading
                | Way::Following {
                    is_welcome: true,
                    ..
                }
        )
    }
}

/// A snapshot on its way to this node.
#[derive(Debug, Clone)]
struct Incoming {
    since: Duration,
    bytes: u64,
    of: u64,
    is_installed: bool,
    /// Which call it is of.
    number: u64,
}

/// The link to the leader.
#[derive(Debug, Clone)]
struct Link {
    leader: u64,
    /// Why the last one ended, and when.
    failed: Option<(String, Duration)>,
    /// Since when there is one, if there is.
    open: Option<Duration>,
}

/// What calls to another node came to.
#[derive(Debug, Clone, Default)]
struct Peer {
    /// Since when a call waits for its answer.
    asked: Option<Duration>,
    /// When it answered last.
    answered: Option<Duration>,
    /// Why the last call failed, and when, if none was answered since.
    failed: Option<(String, Duration)>,
    /// What it said when it was asked for its vote, and when.
    vote: Option<(String, Duration)>,
}

/// What the event loop tells of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) way: Way,
    pub(crate) is_joined: bool,
    /// Since when the oldest proposal waits.
    pub(crate) oldest: Option<Duration>,
    pub(crate) knows_leader: bool,
}

impl Notes {
    /// Of a node that starts now.
    pub(crate) fn new(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Notes {
        let now = clock();
        let noted = Noted {
            since: now,
            not_joined_since: now,
            no_way_since: now,
            leaderless_since: Some(now),
            ..Noted::default()
        };
        Notes {
            clock: Arc::new(clock),
            noted: Arc::new(Mutex::new(noted)),
        }
    }

    /// What is written down now.
    pub(super) fn read(&self) -> Noted {
        self.noted().clone()
    }

    pub(crate) fn now(&self) -> Duration {
        (self.clock)()
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        // A panic is told by others; what was written down until then is still of interest.
        self.noted
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What the event loop has come to.
    pub(crate) fn tell(&self, told: Told) {
        let noted = &mut *self.noted();
        let serves = |way: Way, is_joined| way.is_open() && is_joined;
        let was_serving = serves(noted.way, noted.is_joined);
        let is_new = noted.way != told.way
            || noted.is_joined != told.is_joined
            || noted.leaderless_since.is_some() == told.knows_leader;
        noted.oldest = told.oldest;
        if !is_new {
            return;
        }
        let now = self.now();
        if was_serving != serves(told.way, told.is_joined) {
            noted.since = now;
        }
        if noted.is_joined && !told.is_joined {
            noted.not_joined_since = now;
        }
        if noted.way.is_open() && !told.way.is_open() {
            noted.no_way_since = now;
        }
        noted.leaderless_since = match told.knows_leader {
            true => None,
            false => noted.leaderless_since.or(Some(now)),
        };
        noted.way = told.way;
        noted.is_joined = told.is_joined;
    }

    /// A node that leads, as it has the right to, says what is committed.
    pub(crate) fn heard(&self, leader: u64, committed: u64, applied: u64) {
        let noted = &mut *self.noted();
        let now = self.now();
        noted.heard = Some((leader, now));
        noted.committed = noted.committed.max(committed);
        noted.behind = noted
            .behind
            .filter(|(index, _)| *index > applied)
            .or_else(|| (committed > applied).then_some((committed, now)));
    }

    /// Whether this leader was heard of within the time.
    pub(crate) fn hears(&self, leader: u64, within: Duration, now: Duration) -> bool {
        self.noted().hears(leader, within, now)
    }

    /// A link to the leader is about to be opened.
    pub(crate) fn link_asked(&self, leader: u64) {
        let noted = &mut *self.noted();
        if noted.link.as_ref().is_none_or(|link| link.leader != leader) {
            noted.link = Some(Link {
                leader,
                failed: None,
                open: None,
            });
        }
    }

    /// The link to the leader is open.
    pub(crate) fn link_opened(&self, leader: u64) {
        let now = self.now();
        if let Some(link) = self.noted().link_to(leader) {
            link.open = Some(now);
        }
    }

    /// The link to the leader is over, or was not opened.
    pub(crate) fn link_failed(&self, leader: u64, error: &impl ToString) {
        let now = self.now();
        if let Some(link) = self.noted().link_to(leader) {
            link.open = None;
            link.failed = Some((error.to_string(), now));
        }
    }

    /// It was told to stop, and waits for so many locks, or for answers only.
    pub(crate) fn stops(&self, held: Option<usize>) {
        let now = self.now();
        let noted = &mut *self.noted();
        let since = noted.stops.map_or(now, |(since, _)| since);
        noted.stops = Some((since, held));
    }

    /// Whether it was told to stop, and waits for locks.
    pub(crate) fn waits_for_locks(&self) -> bool {
        matches!(self.noted().stops, Some((_, Some(_))))
    }

    /// A member keeps the cluster from being formed; none when all have answered.
    pub(crate) fn unformed(&self, because: Option<(u64, String)>) {
        self.noted().unformed = because;
    }

    /// A call to another node waits for its answer.
    pub(crate) fn asks(&self, node: u64) {
        let now = self.now();
        let noted = &mut *self.noted();
        noted
            .peers
            .entry(node)
            .or_default()
            .asked
            .get_or_insert(now);
    }

    /// Another node has answered a call.
    pub(crate) fn answered(&self, node: u64) {
        let now = self.now();
        let noted = &mut *self.noted();
        let peer = noted.peers.entry(node).or_default();
        peer.asked = None;
        peer.answered = Some(now);
        peer.failed = None;
    }

    /// A call to another node has failed.
    pub(crate) fn failed(&self, node: u64, error: &impl ToString) {
        let now = self.now();
        let noted = &mut *self.noted();
        let peer = noted.peers.entry(node).or_default();
        peer.asked = None;
        peer.failed = Some((error.to_string(), now));
    }

    /// What another node said when it was asked for its vote.
    pub(crate) fn voted(&self, node: u64, answer: String) {
        let now = self.now();
        let noted = &mut *self.noted();
        noted.peers.entry(node).or_default().vote = Some((answer, now));
    }

    /// A snapshot of so many bytes comes, until what this gives is dropped.
    pub(crate) fn snapshot(&self, bytes: u64) -> Receiving {
        let now = self.now();
        let noted = &mut *self.noted();
        let number = noted.snapshot.as_ref().map_or(0, |one| one.number + 1);
        noted.snapshot = Some(Incoming {
            since: now,
            bytes: 0,
            of: bytes,
            is_installed: false,
            number,
        });
        Receiving {
            notes: self.clone(),
            number,
        }
    }
}

/// A snapshot that comes.
pub(crate) struct Receiving {
    notes: Notes,
    number: u64,
}

impl Receiving {
    /// So many bytes of it are here.
    pub(crate) fn has(&self, bytes: u64) {
        self.change(|incoming| incoming.bytes = bytes);
    }

    /// All of it is here, and is installed from now on.
    pub(crate) fn installs(&self) {
        let now = self.notes.now();
        self.change(|incoming| {
            incoming.is_installed = true;
            incoming.since = now;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Incoming)) {
        let noted = &mut *self.notes.noted();
        let incoming = noted.snapshot.as_mut();
        // Another link may have begun to bring one.
        if let Some(incoming) = incoming.filter(|one| one.number == self.number) {
            change(incoming);
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let noted = &mut *self.notes.noted();
        let is_this = |one: &Incoming| one.number == self.number;
        if noted.snapshot.as_ref().is_some_and(is_this) {
            noted.snapshot = None;
        }
    }
}

/// What is known of whether another node runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sign {
    /// Whether it was heard of within the patience; none when there is no reason to hear of it.
    pub(crate) up: Option<bool>,
    /// How long ago it was heard of last, in ms.
    pub(crate) heard_ms: Option<u64>,
}

impl Noted {
    /// What is known of a node at `now`, when one that is up answers within the patience.
    pub(super) fn sign_of(&self, node: u64, patience: Duration, now: Duration) -> Sign {
        let peer = self.peers.get(&node);
        let led = self.heard.filter(|(leader, _)| *leader == node);
        let answered = peer.and_then(|peer| peer.answered);
        let heard = answered.max(led.map(|(_, at)| at));
        let passed = heard.map(|at| now.saturating_sub(at));
        let is_missed = |peer: &Peer| {
            let asked = peer.asked.map(|at| now.saturating_sub(at));
            peer.failed.is_some() || asked.is_some_and(|asked| asked >= patience)
        };
        let up = match passed {
            Some(passed) if passed < patience => Some(true),
            // The former leader is expected to go on.
            _ if led.is_some() || peer.is_some_and(is_missed) => Some(false),
            _ => None,
        };
        Sign {
            up,
            heard_ms: passed.map(in_ms),
        }
    }

    fn hears(&self, leader: u64, within: Duration, now: Duration) -> bool {
        self.heard
            .is_some_and(|(heard, at)| heard == leader && now.saturating_sub(at) < within)
    }

    fn link_to(&mut self, leader: u64) -> Option<&mut Link> {
        self.link.as_mut().filter(|link| link.leader == leader)
    }
}

#[cfg(test)]
mod tests;
