//! What the nodes of a cluster apply. The first to apply an entry says what its effect is; every other
//! node, and each that goes through its log again, must come to the same.

use super::judged_time::ServerTime;
use crate::oracle::service::{Deed, members::Members};
use lockwright_engine::Engine;
use lockwright_server::RaftEvent;
use std::{collections::BTreeMap, sync::Arc};

/// All nodes, and what they have agreed on.
#[derive(Default)]
pub(super) struct Replicas {
    nodes: Vec<Replica>,
    log: BTreeMap<u64, Entry>,
    /// The largest index that somebody has come to: the entries before it are finished.
    furthest: u64,
    /// The engine with which each leader began, by the index of its first entry.
    begins: BTreeMap<u64, Engine>,
    /// The engine's time after each entry that changed it, in ms.
    times: BTreeMap<u64, u64>,
    /// The term of each entry that somebody applied.
    terms: BTreeMap<u64, u64>,
    /// The nodes that led, by their terms, and their time.
    leaders: BTreeMap<u64, Leader>,
    /// The node that began last to lead.
    latest: Option<usize>,
    /// Which nodes there are, as the entry of an index and term says.
    told: BTreeMap<(u64, u64), Arc<Members>>,
    /// Which nodes there are, as the last entry said that somebody applied, and its index.
    members: (u64, Arc<Members>),
}

/// What an entry did.
#[derive(Default)]
struct Entry {
    deeds: Vec<Arc<Deed>>,
}

/// Where a node is in the log, in its present life.
#[derive(Default)]
struct Replica {
    /// The entry that it applies, or has applied last; none before the first.
    at: Option<u64>,
    /// How many deeds of it are done.
    done: usize,
    /// The time of its engine, in ms; none before it is known.
    engine_time: Option<u64>,
    /// The term in which it led last.
    term: u64,
    /// Its time, while it gives commands theirs.
    time: ServerTime,
}

/// A node in a term in which it led.
#[derive(Clone, Copy)]
pub(super) struct Leader {
    pub(super) node: usize,
    pub(super) time: ServerTime,
}

/// How something that a node applied goes together with what was applied before.
pub(super) enum Step {
    /// It is the first to do this.
    First,
    /// It does what was done before, as the other says; none if the entry did not do so much.
    Again(Option<Arc<Deed>>),
}

/// A node that went on to another entry before it had done all of the last one.
pub(super) struct PassedOver {
    pub(super) index: u64,
    pub(super) done: usize,
    pub(super) of: usize,
}

impl Replicas {
    pub(super) fn new(nodes: usize, founders: usize) -> Replicas {
        Replicas {
            nodes: (0..nodes).map(|_| Replica::default()).collect(),
            members: (0, Arc::new(Members::founders(founders))),
            ..Replicas::default()
        }
    }

    /// A node comes to the entry `index`.
    pub(super) fn come_to(&mut self, node: usize, index: u64) -> Option<PassedOver> {
        let replica = &mut self.nodes[node];
        let before = replica.at;
        if before == Some(index) {
            return None;
        }
        let done = std::mem::take(&mut replica.done);
        replica.at = Some(index);
        self.furthest = self.furthest.max(index);
        let Some(before) = before else {
            let known = self.times.range(..index).next_back();
            replica.engine_time = replica.engine_time.or(known.map(|(_, time)| *time));
            return None;
        };
        // Those between have done nothing at all.
        let of = |index| {
            self.log
                .get(&index)
                .map_or(0, |entry: &Entry| entry.deeds.len())
        };
        let passed = |index, done| PassedOver {
            index,
            done,
            of: of(index),
        };
        if done < of(before) {
            return Some(passed(before, done));
        }
        let mut between = self.log.range(before + 1..index.max(before + 1));
        between.next().map(|(between, _)| passed(*between, 0))
    }

    /// A node does something as part of the entry that it came to.
    pub(super) fn apply(&mut self, node: usize, index: u64, deed: &Arc<Deed>) -> Step {
        let replica = &mut self.nodes[node];
        let place = replica.done;
        replica.done += 1;
        let at = deed.at.as_ms();
        let time = replica.engine_time.map_or(at, |time| time.max(at));
        replica.engine_time = Some(time);
        let is_open = index >= self.furthest;
        let deeds = self.log.get(&index).map(|entry| &entry.deeds);
        match deeds.and_then(|deeds| deeds.get(place)) {
            Some(first) => Step::Again(Some(first.clone())),
            None if !is_open => Step::Again(None),
            None => {
                let entry = self.log.entry(index).or_default();
                entry.deeds.push(deed.clone());
                self.times.insert(index, time);
                Step::First
            }
        }
    }

    /// A node came to the entry with which a leader begins; gives the engine with which the first
    /// node did, if there was one before.
    pub(super) fn begin(&mut self, node: usize, index: u64, engine: &Engine) -> Option<&Engine> {
        let now = engine.now().as_ms();
        self.nodes[node].engine_time = Some(now);
        let is_first = !self.begins.contains_key(&index);
        if is_first {
            self.times.insert(index, now);
            self.begins.insert(index, engine.clone());
            return None;
        }
        self.begins.get(&index)
    }

    /// A node leads, and its time goes on from `at`, when its clock shows what `time` was begun
    /// with. Gives the time of its engine, if that is known.
    pub(super) fn leads(&mut self, node: usize, time: ServerTime) -> Option<u64> {
        let replica = &mut self.nodes[node];
        replica.time = time;
        self.leaders.insert(replica.term, Leader { node, time });
        self.latest = Some(node);
        replica.engine_time
    }

    /// What a node does in Raft.
    pub(super) fn raft(&mut self, node: usize, event: RaftEvent) {
        match event {
            RaftEvent::Leads { term } => {
                self.nodes[node].term = term;
                self.latest = Some(node);
            }
            RaftEvent::Applies { index, term } => {
                self.terms.insert(index, term);
                if let Some(members) = self.told.get(&(index, term))
                    && index > self.members.0
                {
                    self.members = (index, members.clone());
                }
            }
            RaftEvent::Installed { index, .. } => {
                let known = self.times.range(..=index).next_back();
                let engine_time = known.map(|(_, time)| *time);
                let replica = &mut self.nodes[node];
                replica.at = None;
                replica.done = 0;
                replica.engine_time = engine_time;
            }
            RaftEvent::Vote { .. } | RaftEvent::Appended { .. } | RaftEvent::Truncated { .. } => {}
        }
    }

    /// The entry of this index and term says which nodes there are.
    pub(super) fn members(&mut self, index: u64, term: u64, members: Arc<Members>) {
        self.told.insert((index, term), members);
    }

    /// Which nodes the cluster has, as all have agreed last.
    pub(super) fn agreed_members(&self) -> &Arc<Members> {
        &self.members.1
    }

    /// Whether a node is one of the cluster, as all have agreed last.
    pub(super) fn is_member(&self, node: usize) -> bool {
        self.members.1.contains(node)
    }

    /// A node has died, or ended.
    pub(super) fn down(&mut self, node: usize) {
        let term = self.nodes[node].term;
        self.nodes[node] = Replica {
            term,
            ..Replica::default()
        };
    }

    /// Who gave the entry `index` its time.
    pub(super) fn leader_of(&self, index: u64) -> Option<Leader> {
        let term = self.terms.get(&index);
        let leader = term.and_then(|term| self.leaders.get(term));
        let latest = || self.latest.map(|node| self.nodes[node].leader(node));
        leader.copied().or_else(latest)
    }

    /// The time of a node that leads.
    pub(super) fn time_of(&self, node: usize) -> ServerTime {
        self.nodes[node].time
    }

    /// The node that began last to lead; the first before one did.
    pub(super) fn latest_leader(&self) -> usize {
        self.latest.unwrap_or(0)
    }
}

impl Replica {
    fn leader(&self, node: usize) -> Leader {
        Leader {
            node,
            time: self.time,
        }
    }
}
