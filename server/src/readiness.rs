//! What a node waits for before it serves clients, in one reason and a text.
//!
//! The parts of a node write down in [`Notes`] what they learn as they learn it: the event loop its way
//! to the leader, the links why they are not open, Raft's calls which nodes answer. [`Facts`] puts that
//! beside what Raft knows, and judges. It reads only what is written down, at any moment and without
//! asking the event loop, which may be what is stuck.

use lockwright_protocol::cluster::{NodeState, Waiting};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// A proposal that waits for this many election timeouts is not agreed on.
const AGREED_FACTOR: u32 = 2;

/// A leader that has not heard of a majority for this many election timeouts has lost it.
const MAJORITY_FACTOR: u32 = 4;

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

/// What is known of a node at one moment.
pub(crate) struct Facts {
    pub(crate) now: Duration,
    pub(crate) id: u64,
    /// Whether it is a cluster of one for ever.
    pub(crate) is_alone: bool,
    /// Whether it does not form the cluster, and waits to be added.
    pub(crate) is_newcomer: bool,
    pub(crate) may_elect: bool,
    pub(crate) election_timeout: Duration,
    /// Why its replica has ended, if it has.
    pub(crate) stopped: Option<String>,
    pub(crate) term: u64,
    pub(crate) leader: Option<u64>,
    /// Whether it stands for election.
    pub(crate) is_candidate: bool,
    /// What is agreed on needs a majority of each of these sets.
    pub(crate) voters: Vec<BTreeSet<u64>>,
    pub(crate) members: BTreeSet<u64>,
    /// The last entry of its log; 0 without one.
    pub(crate) last_entry: u64,
    pub(crate) applied: u64,
    /// Of a leader: the last entry that each other node is known to have.
    pub(crate) matched: BTreeMap<u64, Option<u64>>,
    pub(super) noted: Noted,
}

impl Facts {
    /// What it does, or waits for.
    pub(crate) fn state(&self) -> NodeState {
        let reason = self.reason();
        let (since, main) = match reason {
            None => (self.noted.since, self.serves()),
            Some(reason) => self.waits(reason),
        };
        let mut text = main;
        self.say_more(reason, &mut text);
        NodeState {
            ready: reason.is_none(),
            reason,
            text,
            for_ms: in_ms(self.now.saturating_sub(since)),
            behind: self.behind(),
        }
    }

    fn reason(&self) -> Option<Waiting> {
        let noted = &self.noted;
        if self.stopped.is_some() {
            return Some(Waiting::Stopped);
        }
        if noted.stops.is_some() {
            return Some(Waiting::Draining);
        }
        if self.is_alone {
            return (!noted.is_joined).then_some(Waiting::NotJoined);
        }
        let is_own = self.leader == Some(self.id);
        let has_leader = match self.leader {
            Some(leader) => is_own || self.hears(leader),
            None => false,
        };
        let has_majority = !is_own || self.majority_answers();
        if noted.is_joined && noted.way.is_open() && has_leader && has_majority {
            let waits = noted.oldest.map(|since| self.now.saturating_sub(since));
            let patience = AGREED_FACTOR * self.election_timeout;
            let is_late = waits.is_some_and(|waits| waits >= patience);
            return is_late.then_some(Waiting::NothingAgreed);
        }
        if self.members.is_empty() {
            return Some(match self.is_newcomer {
                true => Waiting::NotMember,
                false => Waiting::NotFormed,
            });
        }
        if noted.snapshot.is_some() {
            return Some(Waiting::Snapshot);
        }
        if !self.members.contains(&self.id) {
            return Some(Waiting::NotMember);
        }
        if !has_leader {
            return Some(Waiting::NoLeader);
        }
        if !has_majority {
            return Some(Waiting::NoMajority);
        }
        match noted.way {
            _ if noted.way.is_open() && self.may_elect => Some(Waiting::NotJoined),
            _ if noted.way.is_open() => Some(Waiting::VoteGate),
            _ if is_own => Some(Waiting::Preparing),
            Way::Following { leader, .. } if self.is_linked(leader) => Some(Waiting::NotWelcome),
            _ => Some(Waiting::LinkDown),
        }
    }

    fn hears(&self, leader: u64) -> bool {
        self.noted.hears(leader, self.election_timeout, self.now)
    }

    fn is_linked(&self, leader: u64) -> bool {
        let link = self.noted.link.as_ref();
        link.is_some_and(|link| link.leader == leader && link.open.is_some())
    }

    fn behind(&self) -> u64 {
        self.noted.committed.saturating_sub(self.applied)
    }

    /// When a majority has answered last, if it has.
    fn majority_answered(&self) -> Option<Duration> {
        let answered = |id: &u64| match *id == self.id {
            true => Some(self.now),
            false => self.noted.peers.get(id)?.answered,
        };
        let of_set = |voters: &BTreeSet<u64>| {
            let mut times: Vec<_> = voters.iter().map(answered).collect();
            times.sort_unstable_by(|one, other| other.cmp(one));
            times.get(times.len() / 2).copied().flatten()
        };
        let of_each: Option<Vec<_>> = self.voters.iter().map(of_set).collect();
        of_each?.into_iter().min()
    }

    fn majority_answers(&self) -> bool {
        let patience = MAJORITY_FACTOR * self.election_timeout;
        let answered = self.majority_answered();
        answered.is_some_and(|at| self.now.saturating_sub(at) < patience)
    }

    fn serves(&self) -> String {
        let term = self.term;
        match self.noted.way {
            Way::Following { leader, .. } => {
                format!("serves: follows node {leader} in term {term}")
            }
            _ => format!("serves: leads in term {term}"),
        }
    }

    /// Since when it waits, and what for.
    fn waits(&self, reason: Waiting) -> (Duration, String) {
        let (noted, term) = (&self.noted, self.term);
        let since = |at: Duration, text: String| (at, format!("{text} for {}", self.passed(at)));
        match reason {
            Waiting::Stopped => {
                let why = self.stopped.as_deref().unwrap_or_default();
                (noted.since, format!("its replica has ended: {why}"))
            }
            Waiting::Draining => {
                let (at, held) = noted.stops.unwrap_or((self.now, None));
                let what = match held {
                    Some(held) => format!(
                        "stops, grants nothing new, and waits for the end of {held} locks that are \
                         held"
                    ),
                    None => "stops".to_owned(),
                };
                since(at, what)
            }
            Waiting::NotFormed => {
                let (at, mut text) = since(
                    noted.since,
                    "its log is empty, and the cluster is not formed".to_owned(),
                );
                if let Some((node, why)) = &noted.unformed {
                    let _ = write!(text, ": node {node}: {why}");
                }
                (at, text)
            }
            Waiting::NotMember if self.is_newcomer && self.members.is_empty() => since(
                noted.since,
                "waits to be added to a cluster; no node has called it".to_owned(),
            ),
            Waiting::NotMember => since(
                noted.no_way_since,
                "is not a member of the cluster according to its log (removed, or not added yet)"
                    .to_owned(),
            ),
            Waiting::NoLeader => self.without_leader(),
            Waiting::NoMajority => {
                let at = self.majority_answered();
                let at = at.unwrap_or(noted.no_way_since.max(noted.since));
                since(
                    at,
                    format!("leads in term {term}, and hears of no majority"),
                )
            }
            Waiting::Preparing => since(
                noted.no_way_since,
                format!(
                    "leads in term {term}, and the entry with which it begins is not applied; waits"
                ),
            ),
            Waiting::Snapshot => self.with_snapshot(),
            Waiting::LinkDown | Waiting::NotWelcome => {
                let leader = self.leader.unwrap_or_default();
                let what = match reason {
                    Waiting::LinkDown => "its link to it is not open",
                    _ => "that node does not take its proposals yet",
                };
                let text = format!("follows node {leader} in term {term}, but {what}: waits");
                let (at, mut text) = since(noted.no_way_since, text);
                if let Some((why, at)) = noted.link.as_ref().and_then(|link| link.failed.as_ref()) {
                    let ago = self.passed(*at);
                    let _ = write!(text, "; the last link ended {ago} ago: {why}");
                }
                (at, text)
            }
            Waiting::VoteGate | Waiting::NotJoined => {
                let what = match noted.way {
                    Way::Following { leader, .. } => format!("follows node {leader}"),
                    _ => "leads".to_owned(),
                };
                since(
                    noted.not_joined_since,
                    format!("{what} in term {term}, and has not joined"),
                )
            }
            Waiting::NothingAgreed => {
                let at = noted.oldest.unwrap_or(self.now);
                since(at, "what it has proposed is not agreed on".to_owned())
            }
        }
    }

    fn without_leader(&self) -> (Duration, String) {
        let (noted, term) = (&self.noted, self.term);
        let heard = noted.heard.filter(|(heard, _)| Some(*heard) == self.leader);
        let (at, mut text) = match (self.leader, heard) {
            (Some(leader), Some((_, at))) => {
                let text = format!("takes node {leader} for the leader of term {term}");
                (at, format!("{text}, and has not heard of it"))
            }
            (Some(leader), None) => {
                let text = format!("takes node {leader} for the leader of term {term}");
                (
                    noted.no_way_since,
                    format!("{text}, and has never heard of it"),
                )
            }
            (None, _) => {
                let at = noted.leaderless_since.unwrap_or(noted.no_way_since);
                (at, format!("knows of no leader in term {term}"))
            }
        };
        let _ = write!(text, " for {}", self.passed(at));
        text.push_str(match (self.is_candidate, self.may_elect) {
            (true, _) => "; stands for election",
            (false, true) => "; does not stand for election",
            (false, false) => "",
        });
        (at, text)
    }

    fn with_snapshot(&self) -> (Duration, String) {
        let Some(incoming) = &self.noted.snapshot else {
            return (self.now, "is sent a snapshot".to_owned());
        };
        let Incoming { bytes, of, .. } = incoming;
        let passed = self.passed(incoming.since);
        let text = match incoming.is_installed {
            true => format!("installs a snapshot of {of} bytes for {passed}"),
            false => format!("is sent a snapshot for {passed}: {bytes} of {of} bytes are here"),
        };
        (incoming.since, text)
    }

    /// What else is known.
    fn say_more(&self, reason: Option<Waiting>, text: &mut String) {
        if self.is_alone {
            return;
        }
        let noted = &self.noted;
        let votes = self.voters.iter().any(|set| set.contains(&self.id));
        if !votes && self.members.contains(&self.id) {
            text.push_str("; is a learner");
        }
        if !self.may_elect {
            text.push_str("; takes no part in elections before it has joined");
        }
        let behind = self.behind();
        if behind > 0 {
            let (applied, last, of) = (self.applied, self.last_entry, noted.committed);
            let _ = write!(text, "; behind by {behind} entries");
            if let Some((_, at)) = noted.behind.filter(|(index, _)| *index > applied) {
                let _ = write!(text, " for {}", self.passed(at));
            }
            let _ = write!(text, ": {applied} of {of} applied, its log ends at {last}");
        } else if reason.is_some() {
            let (applied, last) = (self.applied, self.last_entry);
            let _ = write!(text, "; {applied} entries applied, its log ends at {last}");
        }
        let said = [Waiting::VoteGate, Waiting::NotJoined].map(Some);
        if !noted.is_joined && !said.contains(&reason) {
            let passed = self.passed(noted.not_joined_since);
            let _ = write!(text, "; has not joined for {passed}");
        }
        let is_own = self.leader == Some(self.id);
        let is_alarmed = matches!(reason, Some(Waiting::NoLeader | Waiting::NoMajority));
        for id in self.members.iter().filter(|id| **id != self.id) {
            self.say_of_peer(*id, is_own, is_alarmed, text);
        }
    }

    fn say_of_peer(&self, id: u64, is_own: bool, is_alarmed: bool, text: &mut String) {
        let peer = self.noted.peers.get(&id).cloned().unwrap_or_default();
        let matched = self.matched.get(&id).copied().flatten();
        let lags = is_own && matched.is_none_or(|matched| matched + 1 < self.last_entry);
        let late = peer
            .asked
            .filter(|at| self.now.saturating_sub(*at) >= self.election_timeout);
        let fails = is_own && (peer.failed.is_some() || late.is_some());
        if !(lags || fails || is_alarmed) {
            return;
        }
        let _ = write!(text, "; node {id}:");
        let mut parts = Vec::new();
        if is_own {
            parts.push(match matched {
                Some(matched) => format!("has entry {matched} of {}", self.last_entry),
                None => "is not known to have any entry".to_owned(),
            });
        }
        if let Some((answer, at)) = peer.vote.as_ref().filter(|_| is_alarmed && !is_own) {
            parts.push(format!("{answer} {} ago", self.passed(*at)));
        }
        if let Some((why, at)) = &peer.failed {
            parts.push(format!("failed {} ago: {why}", self.passed(*at)));
        }
        if let Some(at) = peer.asked {
            parts.push(format!("asked {} ago", self.passed(at)));
        }
        parts.push(match peer.answered {
            Some(at) => format!("answered {} ago", self.passed(at)),
            None => "never answered".to_owned(),
        });
        let _ = write!(text, " {}", parts.join(", "));
    }

    /// How long it is since then, for people.
    fn passed(&self, at: Duration) -> String {
        let passed = self.now.saturating_sub(at);
        match passed.as_secs() {
            0..10 => format!("{} ms", passed.as_millis()),
            seconds => format!("{seconds} s"),
        }
    }
}

fn in_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Node 3 of a cluster of nodes 1 to 3, with a clock that is set by hand.
    struct Node {
        notes: Notes,
        clock: Arc<AtomicU64>,
        facts: Facts,
    }

    impl Node {
        fn new() -> Node {
            let clock = Arc::new(AtomicU64::new(1_000));
            let notes = {
                let clock = clock.clone();
                Notes::new(move || Duration::from_millis(clock.load(Ordering::Relaxed)))
            };
            let facts = Facts {
                now: notes.now(),
                id: 3,
                is_alone: false,
                is_newcomer: false,
                may_elect: true,
                election_timeout: Duration::from_millis(400),
                stopped: None,
                term: 7,
                leader: None,
                is_candidate: false,
                voters: vec![BTreeSet::from([1, 2, 3])],
                members: BTreeSet::from([1, 2, 3]),
                last_entry: 0,
                applied: 0,
                matched: BTreeMap::new(),
                noted: notes.read(),
            };
            Node {
                notes,
                clock,
                facts,
            }
        }

        fn pass(&self, ms: u64) {
            self.clock.fetch_add(ms, Ordering::Relaxed);
        }

        fn tell(&self, way: Way, is_joined: bool) {
            self.notes.tell(Told {
                way,
                is_joined,
                oldest: None,
                knows_leader: way != Way::None,
            });
        }

        /// It follows node 1, which it hears of, and is welcome or not.
        fn follow(&mut self, is_welcome: bool, is_joined: bool) {
            self.facts.leader = Some(1);
            let leader = 1;
            self.tell(Way::Following { leader, is_welcome }, is_joined);
            self.hear(0);
        }

        fn hear(&self, committed: u64) {
            self.notes.heard(1, committed, self.facts.applied);
        }

        fn state(&mut self) -> NodeState {
            self.facts.now = self.notes.now();
            self.facts.noted = self.notes.read();
            self.facts.state()
        }

        fn waits(&mut self, reason: Waiting, for_ms: u64, parts: &[&str]) {
            let state = self.state();
            assert_eq!(state.reason, Some(reason), "{state:?}");
            assert!(!state.ready);
            assert_eq!(state.for_ms, for_ms, "{state:?}");
            for part in parts {
                assert!(state.text.contains(part), "{part}: {}", state.text);
            }
        }

        fn serves(&mut self) -> NodeState {
            let state = self.state();
            assert!(state.ready && state.reason.is_none(), "{state:?}");
            state
        }
    }

    #[test]
    fn a_node_that_follows_and_has_joined_serves_and_each_loss_is_told_and_ends() {
        let mut node = Node::new();
        node.pass(200);
        node.waits(Waiting::NoLeader, 200, &["knows of no leader", "term 7"]);
        node.follow(true, true);
        node.pass(300);
        let state = node.serves();
        assert_eq!((state.for_ms, state.behind), (300, 0));
        assert_eq!(state.text, "serves: follows node 1 in term 7");
        // The leader is silent: named as before, and not heard of.
        node.pass(100);
        node.waits(
            Waiting::NoLeader,
            400,
            &["takes node 1 for the leader of term 7, and has not heard of it for 400 ms"],
        );
        node.hear(0);
        node.serves();
        // Its link breaks.
        node.notes.link_asked(1);
        node.notes.link_opened(1);
        node.notes.link_failed(1, &"broken pipe");
        node.follow(false, true);
        node.pass(150);
        let parts = [
            "its link to it is not open",
            "ended 150 ms ago: broken pipe",
        ];
        node.waits(Waiting::LinkDown, 150, &parts);
        node.notes.link_opened(1);
        node.waits(
            Waiting::NotWelcome,
            150,
            &["does not take its proposals yet"],
        );
        node.follow(true, true);
        node.serves();
        // Its life is over, and another one has to begin.
        node.follow(true, false);
        node.pass(50);
        node.waits(Waiting::NotJoined, 50, &["has not joined for 50 ms"]);
        node.follow(true, true);
        assert_eq!(node.serves().for_ms, 0);
    }

    #[test]
    fn a_rebuilt_node_says_how_far_behind_it_is_and_since_when() {
        let mut node = Node::new();
        node.facts.is_newcomer = true;
        node.facts.may_elect = false;
        node.facts.voters = vec![BTreeSet::from([1, 2])];
        node.facts.members.clear();
        node.waits(Waiting::NotMember, 0, &["waits to be added"]);
        node.facts.members = BTreeSet::from([1, 2, 3]);
        node.follow(true, false);
        node.facts.applied = 12;
        node.facts.last_entry = 20;
        node.hear(900);
        node.pass(36_000);
        node.hear(948);
        node.waits(
            Waiting::VoteGate,
            36_000,
            &[
                "behind by 936 entries for 36 s: 12 of 948 applied, its log ends at 20",
                "is a learner",
                "takes no part in elections before it has joined",
            ],
        );
        assert_eq!(node.state().behind, 936);
        // It goes on: what it waits for is an entry that it has heard of later.
        node.facts.applied = 900;
        node.pass(100);
        node.hear(950);
        node.pass(100);
        let text = node.state().text;
        assert!(text.contains("behind by 50 entries for 100 ms"), "{text}");
        node.facts.applied = 950;
        node.hear(950);
        assert_eq!(node.state().behind, 0);
        assert!(!node.state().text.contains("behind"));
        node.facts.may_elect = true;
        node.follow(true, true);
        let text = node.serves().text;
        assert_eq!(text, "serves: follows node 1 in term 7; is a learner");
    }

    #[test]
    fn a_leader_without_a_majority_does_not_serve() {
        let mut node = Node::new();
        node.facts.leader = Some(3);
        node.facts.last_entry = 9;
        node.facts.matched = BTreeMap::from([(1, Some(9)), (2, None)]);
        node.notes.answered(1);
        node.tell(Way::Preparing, true);
        node.pass(20);
        node.waits(Waiting::Preparing, 20, &["begins is not applied"]);
        node.tell(Way::Leading, true);
        let parts = [
            "serves: leads in term 7",
            "node 2: is not known to have any",
        ];
        let text = node.serves().text;
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        node.notes.asks(1);
        node.pass(1_600);
        node.notes.failed(2, &"connection refused");
        node.waits(
            Waiting::NoMajority,
            1_620,
            &[
                "hears of no majority",
                "node 1: has entry 9 of 9, asked 1600 ms ago, answered 1620 ms ago",
                "node 2: is not known to have any entry, failed 0 ms ago: connection refused, \
                 never answered",
            ],
        );
        // One of two others is enough, and of both sets while they change.
        node.notes.answered(2);
        node.serves();
        node.facts.voters.push(BTreeSet::from([3, 4]));
        // Node 4 has never answered: it counts from when this node began to serve.
        node.waits(Waiting::NoMajority, 1_600, &[]);
        node.notes.answered(4);
        node.serves();
    }

    #[test]
    fn a_node_is_up_while_it_is_heard_of_and_down_when_it_is_missed() {
        let node = Node::new();
        let patience = Duration::from_millis(400);
        let is = |id: u64, up: Option<bool>, heard_ms: Option<u64>| {
            let sign = node.notes.read().sign_of(id, patience, node.notes.now());
            assert_eq!(sign, Sign { up, heard_ms }, "node {id}");
        };
        is(1, None, None);
        node.notes.heard(1, 0, 0);
        node.notes.asks(2);
        node.pass(399);
        is(1, Some(true), Some(399));
        is(2, None, None);
        node.pass(1);
        is(1, Some(false), Some(400));
        is(2, Some(false), None);
        node.notes.answered(2);
        is(2, Some(true), Some(0));
        node.pass(400);
        // It is not asked any more.
        is(2, None, Some(400));
        node.notes.failed(2, &"connection refused");
        is(2, Some(false), Some(400));
        node.notes.answered(1);
        is(1, Some(true), Some(0));
    }

    #[test]
    fn a_snapshot_is_told_until_it_is_installed_or_given_up() {
        let mut node = Node::new();
        node.follow(true, false);
        let former = node.notes.snapshot(10);
        let receiving = node.notes.snapshot(300);
        receiving.has(100);
        former.has(9);
        drop(former);
        node.pass(70);
        node.waits(Waiting::Snapshot, 70, &["for 70 ms: 100 of 300 bytes"]);
        receiving.installs();
        node.pass(30);
        node.waits(Waiting::Snapshot, 30, &["installs a snapshot of 300 bytes"]);
        drop(receiving);
        node.waits(Waiting::NotJoined, 100, &[]);
    }

    #[test]
    fn an_election_is_told_with_what_each_node_answered() {
        let mut node = Node::new();
        node.facts.is_candidate = true;
        node.notes.asks(1);
        node.notes.answered(1);
        node.notes.voted(1, "refused its vote".to_owned());
        node.notes.failed(2, &"timed out");
        node.pass(500);
        node.waits(
            Waiting::NoLeader,
            500,
            &[
                "stands for election",
                "node 1: refused its vote 500 ms ago, answered 500 ms ago",
                "node 2: failed 500 ms ago: timed out, never answered",
            ],
        );
    }

    #[test]
    fn a_cluster_that_is_not_formed_says_which_member_does_not_answer() {
        let mut node = Node::new();
        node.facts.members.clear();
        node.notes
            .unformed(Some((2, "connection refused".to_owned())));
        node.pass(12_000);
        let text = "the cluster is not formed for 12 s: node 2: connection refused";
        node.waits(Waiting::NotFormed, 12_000, &[text]);
        node.notes.unformed(None);
        assert!(!node.state().text.contains("refused"));
    }

    #[test]
    fn a_node_that_was_removed_or_has_ended_says_so() {
        let mut node = Node::new();
        node.follow(true, true);
        node.serves();
        node.facts.members = BTreeSet::from([1, 2]);
        node.follow(false, true);
        node.pass(10);
        node.waits(Waiting::NotMember, 10, &["(removed, or not added yet)"]);
        node.facts.stopped = Some("the disk is full".to_owned());
        node.waits(Waiting::Stopped, 10, &["has ended: the disk is full"]);
    }

    #[test]
    fn a_proposal_that_waits_for_long_is_told() {
        let mut node = Node::new();
        node.follow(true, true);
        let now = node.notes.now();
        let told = Told {
            way: Way::Following {
                leader: 1,
                is_welcome: true,
            },
            is_joined: true,
            oldest: Some(now),
            knows_leader: true,
        };
        node.notes.tell(told);
        node.pass(799);
        node.hear(0);
        node.serves();
        node.pass(1);
        node.waits(Waiting::NothingAgreed, 800, &["not agreed on for 800 ms"]);
        let oldest = None;
        node.notes.tell(Told { oldest, ..told });
        node.serves();
    }

    #[test]
    fn a_server_that_is_alone_waits_for_nothing_but_its_own_life() {
        let mut node = Node::new();
        node.facts.is_alone = true;
        node.facts.election_timeout = Duration::ZERO;
        assert_eq!(node.state().reason, Some(Waiting::NotJoined));
        node.tell(Way::Leading, true);
        assert_eq!(node.serves().text, "serves: leads in term 7");
    }
}
