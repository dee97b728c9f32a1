//! Which nodes a cluster has, and changing that: one node at a time, each change agreed on by those
//! who vote before it and those who vote after it (joint consensus).
//!
//! Only a leader that a majority has just followed says what there is to change: any other node may
//! know the cluster as it was long ago. And only when no earlier change is under way: `reconfiguration`
//! finishes those, and makes the new one.

use super::{
    facts::Readiness,
    reconfiguration::{Change, PATIENCE, Reconfiguration},
    types::{LogId, Raft, Types},
};
use crate::{Member, readiness::Sign};
use lockwright_env::{Env, timeout};
use lockwright_protocol::cluster::{ClusterView, NodeRole, NodeView};
use openraft::{
    ReadPolicy, ServerState,
    async_runtime::{Instant, WatchReceiver},
    metrics::RaftMetrics,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A learner may be this many entries behind when it is to vote: then those who voted before it need
/// not wait for it for long.
const BEHIND_MAX: u64 = 10_000;

/// The nodes of the cluster.
#[derive(Clone)]
pub(crate) struct Members {
    pub(super) raft: Raft,
    pub(super) reconfiguration: Reconfiguration,
    pub(super) readiness: Readiness,
}

/// The cluster as its leader sees it.
struct Seen {
    view: ClusterView,
    /// The entry of the log that says so.
    entry: Option<LogId>,
}

/// Why the nodes of a cluster were not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotChanged {
    /// It makes no sense as the cluster is.
    Conflict(String),
    /// The cluster has no node of this id.
    NoNode(u64),
    /// Another node leads, or none: nothing was done.
    NotLeader,
    /// Nobody knows what became of it.
    Unknown,
}

impl Members {
    /// The cluster, as this node sees it.
    pub(crate) fn view(&self) -> ClusterView {
        let metrics = self.metrics();
        self.view_of(&metrics)
    }

    fn view_of(&self, metrics: &RaftMetrics<Types>) -> ClusterView {
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let matched = |id: &u64| {
            let replication = metrics.replication.as_ref()?;
            replication.get(id)?.map(|last| last.index)
        };
        let sign_of = |id: u64| match id == metrics.id {
            true => Sign {
                up: Some(true),
                heard_ms: Some(0),
            },
            false => self.readiness.sign_of(id),
        };
        let lag = |id: &u64| {
            let last = metrics.last_log_index.unwrap_or(0);
            matched(id).map(|matched| last.saturating_sub(matched))
        };
        let view = |id: &u64, member: &Member, Sign { up, heard_ms }| NodeView {
            id: *id,
            address: member.address.clone(),
            client_address: member.client_address.clone(),
            role: match voters.contains(id) {
                true => NodeRole::Voter,
                false => NodeRole::Learner,
            },
            matched: matched(id),
            up,
            heard_ms,
            lag: lag(id),
        };
        let nodes = membership
            .nodes()
            .map(|(id, member)| view(id, member, sign_of(*id)));
        let own = metrics.id;
        let leader = metrics.current_leader;
        ClusterView {
            id: own,
            leader: leader.filter(|leader| match *leader == own {
                true => self.is_followed(metrics),
                // It may be gone, and this node is about to stand for election.
                false => self.readiness.hears(*leader),
            }),
            term: metrics.current_term,
            nodes: nodes.collect(),
            last_applied: metrics.last_applied.map_or(0, |last| last.index),
            state: Some(self.readiness.state()),
        }
    }

    /// Whether another node leads that was heard of lately: one that was not may be gone.
    pub(crate) fn hears_leader(&self) -> bool {
        let metrics = self.metrics();
        let other = metrics.current_leader.filter(|id| *id != metrics.id);
        other.is_some_and(|leader| self.readiness.hears(leader))
    }

    /// Whether this node has heard of a majority lately: one that leads and does not may long have been
    /// replaced.
    fn is_followed(&self, metrics: &RaftMetrics<Types>) -> bool {
        let patience = Duration::from_millis(2 * self.raft.config().election_timeout_max);
        let acked = metrics.last_quorum_acked.as_ref();
        let voters = metrics.membership_config.membership().voter_ids().count();
        voters == 1 || acked.is_some_and(|at| at.elapsed() < patience)
    }

    /// The cluster as its leader sees it, when no change of its nodes is under way.
    async fn leading<E: Env>(&self, env: &E) -> Result<Seen, NotChanged> {
        let confirming = self.raft.ensure_linearizable(ReadPolicy::ReadIndex);
        match timeout(env, PATIENCE, confirming).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return Err(NotChanged::NotLeader),
        }
        let settled = timeout(env, PATIENCE, self.settled()).await;
        settled.unwrap_or_else(|_| {
            conflict("not now: an earlier change of the cluster waits for a majority to agree")
        })
    }

    /// Waits until the latest configuration is agreed on and is no joint one.
    async fn settled(&self) -> Result<Seen, NotChanged> {
        let mut watched = self.raft.metrics();
        loop {
            let metrics = watched.borrow_watched().clone();
            if metrics.state != ServerState::Leader {
                return Err(NotChanged::NotLeader);
            }
            let stored = &metrics.membership_config;
            let is_applied = metrics.last_applied >= *stored.log_id();
            let is_uniform = stored.membership().get_joint_config().len() == 1;
            if is_applied && is_uniform {
                return Ok(Seen {
                    entry: *stored.log_id(),
                    view: self.view_of(&metrics),
                });
            }
            let changed = watched.changed().await;
            changed.map_err(|_| NotChanged::NotLeader)?;
        }
    }

    fn metrics(&self) -> RaftMetrics<Types> {
        self.raft.metrics().borrow_watched().clone()
    }

    /// Adds a learner.
    pub(crate) async fn add<E: Env>(&self, env: &E, member: Member) -> Result<(), NotChanged> {
        if member.id == 0 {
            return conflict("the id of a node is 1 or more");
        }
        let Seen { view, entry } = self.leading(env).await?;
        self.refuse_while_it_waits_for_locks(&view)?;
        for node in &view.nodes {
            let is_same = node.address == member.address;
            if node.id == member.id && !is_same {
                return conflict(format!("there is a node {} at {}", node.id, node.address));
            }
            if node.id != member.id && is_same {
                return conflict(format!("node {} is at {} already", node.id, node.address));
            }
            let is_same = node.client_address == member.client_address;
            if node.id == member.id && !is_same {
                return conflict(format!(
                    "there is a node {} whose clients reach it at {}",
                    node.id, node.client_address
                ));
            }
            if node.id != member.id && is_same {
                return conflict(format!(
                    "clients reach node {} at {} already",
                    node.id, node.client_address
                ));
            }
        }
        let learner = Change::AddNodes(BTreeMap::from([(member.id, member)]));
        self.reconfiguration.change(learner, entry).await
    }

    /// A leader that waits for the end of locks is the only one that votes, and stays so: what waited was
    /// given up already.
    fn refuse_while_it_waits_for_locks(&self, view: &ClusterView) -> Result<(), NotChanged> {
        if !self.readiness.notes().waits_for_locks() {
            return Ok(());
        }
        conflict(format!(
            "not now: node {} stops, grants nothing new, and waits for the end of what is held: change the \
             cluster when it is back, or have it stop without waiting for locks",
            view.id
        ))
    }

    /// Makes a learner a voter, if it has joined: before it has, it takes no part in elections.
    pub(crate) async fn promote<E: Env>(
        &self,
        env: &E,
        id: u64,
        has_joined: bool,
    ) -> Result<(), NotChanged> {
        let Seen { view, entry } = self.leading(env).await?;
        let node = node(&view, id)?;
        if node.role == NodeRole::Voter {
            return Ok(());
        }
        self.refuse_while_it_waits_for_locks(&view)?;
        let behind = view.last_applied.saturating_sub(node.matched.unwrap_or(0));
        if node.matched.is_some() && !has_joined {
            return conflict(format!(
                "node {id} has not joined yet, and is {behind} entries behind: does it run?"
            ));
        }
        if node.matched.is_none() {
            return conflict(format!(
                "node {id} has not been heard of at {}: does it run there, with that number, and can \
                 the leader reach it?",
                node.address
            ));
        }
        if behind > BEHIND_MAX {
            return conflict(format!(
                "node {id} is {behind} entries behind: it can vote when it is at most {BEHIND_MAX} \
                 behind; try again when it has caught up"
            ));
        }
        self.caught_up(env, id, view.last_applied).await?;
        let voters = Change::AddVoterIds(BTreeSet::from([id]));
        self.reconfiguration.change(voters, entry).await
    }

    /// Waits until a learner has the log up to `index`, and with it that it has joined: else, if this
    /// leader died, a majority that counts on it could elect nobody.
    async fn caught_up<E: Env>(&self, env: &E, id: u64, index: u64) -> Result<(), NotChanged> {
        let mut metrics = self.raft.metrics();
        let catching_up = async {
            loop {
                let matched = match &metrics.borrow_watched().replication {
                    Some(replication) => replication.get(&id).and_then(Option::as_ref),
                    None => return Err(NotChanged::NotLeader),
                }
                .map(|last| last.index);
                if matched >= Some(index) {
                    return Ok(());
                }
                let changed = metrics.changed().await;
                changed.map_err(|_| NotChanged::NotLeader)?;
            }
        };
        let in_time = timeout(env, PATIENCE, catching_up).await;
        in_time.unwrap_or_else(|_| {
            conflict(format!(
                "node {id} does not catch up: it has not had entry {index} within {} s; does it run?",
                PATIENCE.as_secs()
            ))
        })
    }

    /// Removes a node.
    pub(crate) async fn remove<E: Env>(&self, env: &E, id: u64) -> Result<(), NotChanged> {
        let Seen { view, entry } = self.leading(env).await?;
        let node = node(&view, id)?;
        let change = match node.role {
            NodeRole::Voter => {
                let voters = view.nodes.iter();
                let voters = voters.filter(|node| node.role == NodeRole::Voter);
                if voters.count() == 1 {
                    return conflict(format!("node {id} is the only one that votes"));
                }
                if view.id == id {
                    return conflict(format!(
                        "node {id} leads: hand leadership over to another node first"
                    ));
                }
                Change::RemoveVoters(BTreeSet::from([id]))
            }
            NodeRole::Learner => Change::RemoveNodes(BTreeSet::from([id])),
        };
        self.reconfiguration.change(change, entry).await
    }

    /// Has a voter lead from now on.
    pub(crate) async fn transfer<E: Env>(&self, env: &E, to: u64) -> Result<(), NotChanged> {
        let Seen { view, .. } = self.leading(env).await?;
        if node(&view, to)?.role == NodeRole::Learner {
            return conflict(format!("node {to} does not vote, so it cannot lead"));
        }
        if to == view.id {
            return Ok(());
        }
        let asked = self.raft.trigger().transfer_leader(to).await;
        asked.map_err(|_| NotChanged::Unknown)?;
        let mut metrics = self.raft.metrics();
        let transferred = async {
            while metrics.borrow_watched().current_leader != Some(to) {
                metrics.changed().await.map_err(|_| NotChanged::Unknown)?;
            }
            Ok(())
        };
        let transferred = timeout(env, PATIENCE, transferred).await;
        transferred.unwrap_or(Err(NotChanged::Unknown))
    }
}

fn node(view: &ClusterView, id: u64) -> Result<&NodeView, NotChanged> {
    let found = view.nodes.iter().find(|node| node.id == id);
    found.ok_or(NotChanged::NoNode(id))
}

fn conflict<T>(why: impl Into<String>) -> Result<T, NotChanged> {
    Err(NotChanged::Conflict(why.into()))
}
