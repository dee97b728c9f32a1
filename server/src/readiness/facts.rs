//! What is known of a node at one moment, and the judgement of it.

use super::{Incoming, Noted, Way};
use lockwright_protocol::cluster::{NodeState, Waiting};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

/// A proposal that waits for this many election timeouts is not agreed on.
const AGREED_FACTOR: u32 = 2;

/// A leader that has not heard of a majority for this many election timeouts has lost it.
const MAJORITY_FACTOR: u32 = 4;

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
    pub(crate) noted: Noted,
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

pub(super) fn in_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
