//! When the leader is gone, and nothing else is wrong, another node leads within a bounded time, and
//! serves who waits at the nodes that are left (SEMANTICS section 7.6).
//!
//! **Which failovers are judged.** The leader has applied something of its term; it dies, loses its
//! power, is stopped, paused or isolated both ways. A pause or an isolation lasts until the time is up;
//! who was stopped comes back as one of the others. Nothing else touches another node or a link between
//! nodes, and no clock of a node leaps, from an election timeout before until the time is up. So all others
//! are there, a majority, and talk undisturbed. A failover with anything more to it is left to the bound
//! on healing, `recovery_ms`, which is longer by far.
//!
//! **How long it may take.** With the election timeout `E` of the plan, followers wait from `E` to `2 E`
//! before they try, drawn anew for each try; a message takes `L` at most, and `W` is what it takes until
//! something is written.
//! 1. What the leader said last comes within `L`, and for `2 E` from then on nobody helps another one to
//!    its place. Each follower asks anew whether it could win at the latest `2 E` after that, and the one
//!    whose log is longest is told yes: a connection and an answer, `4 L`. Nodes look at their clocks
//!    every `E / 15`, and all together lose less than an `E` by that. So a first candidate is there
//!    after `5 E + 5 L`, and votes for itself (`Bounds::first`).
//! 2. It leads after a connection, two writes, the votes, two writes, and the answers to its first
//!    entry: `6 L + 4 W`. Or else two were candidates at once and took each other's votes. Then one
//!    of them tries again within `2 E` and those `4 L`. So within `3 E + 10 L + 4 W` of each try there is
//!    a leader or another try (`Bounds::again`).
//! 3. Tries fail only while the times that are drawn anew are almost the same again. That happens, and
//!    happens `TRIES` times in a row to nobody.
//!
//! Then a request that waits at a node that is left, or comes to it later, is in the log within what
//! a request takes undisturbed, and what it takes the node to hear of the new leader and to connect to
//! it (`Bounds::served`). What follows from there is the business of `http_prompt` and of the oracles of
//! the engine.

use super::{Happening, ServiceOracle, in_ms};
use crate::{
    op::Text,
    oracle::Verdict,
    plan::{
        ClusterFault, ClusterFaultKind, ClusterPlan, DiskPlan, End, Fault, FaultKind, Place,
        ServicePlan,
    },
};
use lockwright_server::RaftEvent;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How many tries to lead may come to nothing in a row because votes are split.
const TRIES: u32 = 12;

/// The oracle.
#[derive(Debug)]
pub struct Failover {
    plan: Arc<ServicePlan>,
    bounds: Bounds,
    /// The node that leads, and its term, once it has applied something of it.
    leader: Option<(usize, u64)>,
    /// The nodes that led in their terms, before they have applied anything.
    elected: BTreeMap<u64, usize>,
    /// When each node died last.
    downs: BTreeMap<usize, Duration>,
    /// Which node each fault struck.
    struck: BTreeMap<usize, usize>,
    /// The leader that is gone.
    gone: Option<Gone>,
    /// Who waits over HTTP to be heard.
    waiting: BTreeMap<Text, Waiter>,
    /// Until when they must have been.
    due: BTreeMap<(Duration, Text), usize>,
}

/// What time there is, in ms.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// So long before it nothing else may have been wrong.
    quiet: u64,
    /// Until somebody tries to lead.
    first: u64,
    /// Until somebody leads, or tries again.
    again: u64,
    /// Until a request is in the log.
    served: u64,
}

/// A leader that is gone.
#[derive(Debug, Clone, Copy)]
struct Gone {
    node: usize,
    term: u64,
    /// The index of its fault.
    fault: usize,
    at: Duration,
    /// Until when somebody must lead, or try to.
    until: Duration,
    /// How often somebody has tried.
    tries: u32,
    /// Whether another one leads.
    is_replaced: bool,
}

/// Who has asked over HTTP.
#[derive(Debug, Clone, Copy)]
struct Waiter {
    host: usize,
    node: usize,
    since: Duration,
}

impl Bounds {
    fn new(plan: &ServicePlan, cluster: &ClusterPlan) -> Bounds {
        let (election, latency) = (cluster.election_timeout_ms, plan.latency.max_ms);
        let written = DiskPlan::SYNCS_MAX * (cluster.sync_ms_max() + 1);
        // Clocks may be slow.
        let on_a_clock = |ms: u64| ms + ms / 100 + 1;
        Bounds {
            quiet: election,
            first: on_a_clock(5 * election) + 5 * latency,
            again: on_a_clock(3 * election) + 10 * latency + 4 * written,
            // The next heartbeat tells who leads.
            served: on_a_clock(election) + 6 * latency + cluster.forwarding_ms(latency),
        }
    }
}

impl Failover {
    /// For the nodes of a plan.
    #[must_use]
    pub fn new(plan: &Arc<ServicePlan>, cluster: &ClusterPlan) -> Failover {
        Failover {
            bounds: Bounds::new(plan, cluster),
            plan: plan.clone(),
            leader: None,
            elected: BTreeMap::new(),
            downs: BTreeMap::new(),
            struck: BTreeMap::new(),
            gone: None,
            waiting: BTreeMap::new(),
            due: BTreeMap::new(),
        }
    }

    fn cluster(&self) -> &ClusterPlan {
        let cluster = self.plan.cluster.as_ref();
        cluster.expect("it judges plans of clusters")
    }

    /// A fault strikes a node.
    fn struck(&mut self, now: Duration, fault: usize, node: usize) {
        self.struck.insert(fault, node);
        if self.gone.is_some_and(|gone| gone.node == node) {
            return;
        }
        self.forget();
        let quiet = Duration::from_millis(self.bounds.quiet);
        let mut downs = self.downs.iter();
        let is_restless = downs.any(|(other, at)| *other != node && now < *at + quiet);
        let is_lone = self.cluster().nodes.len() < 3;
        let takes_away = takes_away(&self.cluster().faults[fault].kind);
        match self.leader {
            Some((leader, term)) if leader == node && takes_away && !is_restless && !is_lone => {
                self.gone = Some(Gone {
                    node,
                    term,
                    fault,
                    at: now,
                    until: now + Duration::from_millis(self.bounds.first),
                    tries: 0,
                    is_replaced: false,
                });
            }
            _ => {}
        }
    }

    fn forget(&mut self) {
        self.gone = None;
        self.due.clear();
    }

    /// Whether the leader is not back in its office until then, and nothing else is wrong among the
    /// others.
    fn others_are_undisturbed(&self, gone: &Gone, until_ms: u64) -> bool {
        let from_ms = in_ms(gone.at).saturating_sub(self.bounds.quiet);
        let cluster = self.cluster();
        let its_own = &cluster.faults[gone.fault];
        let is_away = is_deposed(&its_own.kind) || self.ends(its_own) > until_ms;
        let disturbs = |(index, fault): (usize, &ClusterFault)| {
            let over = self.ends(fault) + tail_ms(&fault.kind);
            let is_then = fault.at_ms <= until_ms && over >= from_ms;
            // What else strikes it while it is away does not matter to the others.
            let is_its_own =
                self.struck.get(&index) == Some(&gone.node) && fault.at_ms <= self.ends(its_own);
            let is_of_nodes = fault.kind.who().is_some() || is_between_nodes(&fault.kind);
            is_then && is_of_nodes && !is_its_own
        };
        let mut clocks = cluster.nodes.iter().flat_map(|node| &node.clock.jumps);
        is_away
            && !cluster.faults.iter().enumerate().any(disturbs)
            && !clocks.any(|jump| (from_ms..=until_ms).contains(&jump.at_ms))
    }

    fn ends(&self, fault: &ClusterFault) -> u64 {
        let end = fault.at_ms.saturating_add(fault.for_ms.max(1));
        end.min(self.plan.active_ms)
    }

    /// Whether nothing is wrong between who waits and the node that it waits at.
    fn is_heard(&self, waiter: Waiter, until_ms: u64) -> bool {
        let Waiter { host, node, since } = waiter;
        let from_ms = in_ms(since).saturating_sub(self.bounds.quiet);
        let is_then = |at_ms: u64, over: u64| at_ms <= until_ms && over >= from_ms;
        let of_links = self.cluster().faults.iter().any(|fault| {
            let over = self.ends(fault) + tail_ms(&fault.kind);
            is_between(&fault.kind, End::Host(host), End::Node(node)) && is_then(fault.at_ms, over)
        });
        let of_hosts = self.plan.faults.iter().any(|fault| {
            let over = fault.at_ms + fault.for_ms.max(1) + tail_of_service_ms(fault);
            strikes(fault.kind, host) && is_then(fault.at_ms, over)
        });
        let mut leaps = self.plan.hosts[host].jumps.iter();
        !of_links && !of_hosts && !leaps.any(|jump| is_then(jump.at_ms, jump.at_ms))
    }

    /// Expects that a request is in the log in time, if there is no excuse.
    fn expect(&mut self, now: Duration, id: &Text) {
        let (Some(gone), Some(waiter)) = (self.gone, self.waiting.get(id)) else {
            return;
        };
        let until = now + Duration::from_millis(self.bounds.served);
        let is_to_be = gone.is_replaced
            && waiter.node != gone.node
            && self.others_are_undisturbed(&gone, in_ms(until))
            && self.is_heard(*waiter, in_ms(until));
        if is_to_be {
            self.due.insert((until, id.clone()), waiter.node);
        }
    }

    fn heard(&mut self, id: &Text) {
        self.waiting.remove(id);
        self.due.retain(|(_, other), _| other != id);
    }

    fn raft(&mut self, now: Duration, node: usize, event: RaftEvent) {
        match event {
            RaftEvent::Leads { term } => {
                self.elected.insert(term, node);
            }
            RaftEvent::Applies { term, .. } => self.applies(now, node, term),
            RaftEvent::Vote {
                term,
                node: candidate,
                is_committed: false,
            } if usize::try_from(candidate) == Ok(node + 1) => self.tries(now, term),
            _ => {}
        }
    }

    /// A node votes for itself.
    fn tries(&mut self, now: Duration, term: u64) {
        let again = Duration::from_millis(self.bounds.again);
        let gone = self.gone.iter_mut();
        for gone in gone.filter(|gone| term > gone.term && gone.tries < TRIES) {
            gone.tries += 1;
            gone.until = now + again;
        }
    }

    /// A node has applied an entry of a term.
    fn applies(&mut self, now: Duration, node: usize, term: u64) {
        let is_news = self.leader.is_none_or(|(_, known)| term > known);
        if !is_news || self.elected.get(&term) != Some(&node) {
            return;
        }
        self.leader = Some((node, term));
        self.elected = self.elected.split_off(&term);
        match &mut self.gone {
            Some(gone) if !gone.is_replaced && term > gone.term => gone.is_replaced = true,
            // There was no need for yet another one.
            _ => return self.forget(),
        }
        let waiting: Vec<Text> = self.waiting.keys().cloned().collect();
        waiting.iter().for_each(|id| self.expect(now, id));
    }

    fn is_in_time(&self, now: Duration) -> Verdict {
        let Some(gone) = self.gone else {
            return Ok(());
        };
        let (node, at) = (gone.node, in_ms(gone.at));
        let is_late = !gone.is_replaced && now > gone.until;
        if is_late && self.others_are_undisturbed(&gone, in_ms(gone.until)) {
            return Err(format!(
                "the leader, node {node}, is gone since {at} ms, nothing disturbs the others, and at \
                 {} ms none of them leads, nor has tried to since that is overdue; {} have tried",
                in_ms(gone.until),
                gone.tries
            ));
        }
        match self.due.first_key_value() {
            Some(((until, id), waits_at)) if now > *until => Err(format!(
                "{id} waits at node {waits_at}, which nothing disturbs; another node leads since node {node} \
                 is gone at {at} ms, and after {} ms the request is not in the log",
                self.bounds.served
            )),
            _ => Ok(()),
        }
    }
}

/// Whether a node that this strikes is no leader meanwhile.
fn takes_away(kind: &ClusterFaultKind) -> bool {
    match kind {
        ClusterFaultKind::Crash { .. }
        | ClusterFaultKind::Restart { .. }
        | ClusterFaultKind::Pause { .. }
        | ClusterFaultKind::PowerLoss { .. } => true,
        ClusterFaultKind::Isolate { to, from, .. } => *to && *from,
        _ => false,
    }
}

/// Whether a leader that this has struck does not lead on when it is back.
fn is_deposed(kind: &ClusterFaultKind) -> bool {
    !matches!(
        kind,
        ClusterFaultKind::Pause { .. } | ClusterFaultKind::Isolate { .. }
    )
}

/// Whether it is felt between nodes.
fn is_between_nodes(kind: &ClusterFaultKind) -> bool {
    let is_node = |end: &End| matches!(end, End::Node(_));
    match kind {
        ClusterFaultKind::Cut { ways } => {
            let mut ways = ways.iter();
            ways.any(|way| is_node(&way.from) && is_node(&way.to))
        }
        ClusterFaultKind::Hold { a, b } | ClusterFaultKind::Slow { a, b, .. } => {
            is_node(a) && is_node(b)
        }
        _ => false,
    }
}

/// Whether it is felt between these two.
fn is_between(kind: &ClusterFaultKind, one: End, other: End) -> bool {
    let is_here = |a: End, b: End| (a, b) == (one, other) || (b, a) == (one, other);
    match kind {
        ClusterFaultKind::Cut { ways } => ways.iter().any(|way| is_here(way.from, way.to)),
        ClusterFaultKind::Hold { a, b } | ClusterFaultKind::Slow { a, b, .. } => is_here(*a, *b),
        _ => false,
    }
}

/// Whether a fault strikes a clients' host, or its links to all nodes.
fn strikes(kind: FaultKind, host: usize) -> bool {
    match kind {
        FaultKind::Cut { host: other, .. }
        | FaultKind::Hold { host: other }
        | FaultKind::Slow { host: other, .. } => other == host,
        FaultKind::Reset { place } | FaultKind::Crash { place } | FaultKind::Pause { place } => {
            place == Place::Host(host)
        }
        _ => true,
    }
}

/// For how long it is felt after its end, in ms.
fn tail_ms(kind: &ClusterFaultKind) -> u64 {
    match kind {
        ClusterFaultKind::Slow { max_ms, .. } => *max_ms,
        ClusterFaultKind::DiskSlow { by_ms, .. } => 2 * DiskPlan::SYNCS_MAX * by_ms,
        _ => 0,
    }
}

fn tail_of_service_ms(fault: &Fault) -> u64 {
    match fault.kind {
        FaultKind::Slow { max_ms, .. } => max_ms,
        _ => 0,
    }
}

impl ServiceOracle for Failover {
    fn name(&self) -> &'static str {
        "failover"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 7.6 liveness: without its leader, an undisturbed majority goes on in time"
    }

    fn see(&mut self, now: Duration, happening: &Happening) -> Verdict {
        self.is_in_time(now)?;
        match happening {
            Happening::Struck { fault, node } => self.struck(now, *fault, *node),
            Happening::NodeDown { node } => {
                if self.gone.is_none_or(|gone| gone.node != *node) {
                    self.forget();
                }
                self.downs.insert(*node, now);
                // What was asked there has died with it, though a caller whose connection is silent learns
                // that late.
                self.waiting.retain(|_, waiter| waiter.node != *node);
                self.due.retain(|_, waits_at| waits_at != node);
            }
            Happening::Raft { node, event } => self.raft(now, *node, *event),
            Happening::HttpAsked { id, host, node, .. } => {
                let waiter = Waiter {
                    host: *host,
                    node: *node,
                    since: now,
                };
                self.waiting.entry(id.clone()).or_insert(waiter);
                self.expect(now, id);
            }
            Happening::HttpApplied { id, .. }
            | Happening::HttpAnswered { id, .. }
            | Happening::HttpGone { id }
            | Happening::Left { id } => self.heard(id),
            Happening::HostDown { host } => {
                self.waiting.retain(|_, waiter| waiter.host != *host);
                let waiting = &self.waiting;
                self.due.retain(|(_, id), _| waiting.contains_key(id));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
