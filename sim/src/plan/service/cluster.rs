//! The nodes of profile `cluster`, and what goes wrong with them and between them.

use super::{ClockPlan, DiskPlan, OperatorPlan, PHASE_MS_MAX};
use crate::op::Text;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A cluster of servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterPlan {
    /// Its nodes, from 1 to [`NODES_MAX`].
    pub nodes: Vec<NodePlan>,
    /// How often a leader says that it is there, in ms by its clock.
    pub heartbeat_ms: u64,
    /// After how long without a leader a node tries to become one, in ms by its clock.
    pub election_timeout_ms: u64,
    /// After how long of silence a node is taken for dead, in ms by the leader's clock.
    pub node_timeout_ms: u64,
    /// Whether the nodes have a secret, which links are opened with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
    /// What goes wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<ClusterFault>,
    /// Who looks at what is locked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readers: Vec<ReaderPlan>,
    /// Who changes which nodes there are, and who leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorPlan>,
}

/// Somebody who looks at what is locked in a namespace, again and again at the same node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReaderPlan {
    /// When it looks for the first time.
    pub at_ms: u64,
    /// How long after that it looks again, and again.
    pub every_ms: u64,
    /// How often it looks, but for looks that are due while it waits for an answer.
    pub times: u32,
    /// The index of the clients' host that it is on.
    pub host: usize,
    /// The index of the node that it asks.
    pub node: usize,
    /// The namespace.
    pub namespace: Text,
}

/// A plan has no more nodes.
pub const NODES_MAX: usize = 5;

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePlan {
    /// Its clock.
    #[serde(default)]
    pub clock: ClockPlan,
    /// Its disk.
    pub disk: DiskPlan,
}

/// Something that goes wrong for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFault {
    /// When it begins.
    pub at_ms: u64,
    /// How long it lasts; a reset ignores it. Healing ends it in any case.
    pub for_ms: u64,
    /// What it is.
    pub kind: ClusterFaultKind,
}

/// What goes wrong. What was synced to a disk is never lost, so that whatever happens a cluster that
/// heals goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterFaultKind {
    /// Messages that go these ways are lost: with the right ways a minority is cut off, or one
    /// direction, or all but a bridge.
    Cut {
        /// The ways.
        ways: Vec<Way>,
    },
    /// Messages between a node and all others are lost. Clients reach it.
    Isolate {
        /// The node.
        node: Who,
        /// Those that others send to it.
        to: bool,
        /// Those that it sends.
        from: bool,
    },
    /// Messages between two places are held back, and come when it ends.
    Hold {
        /// One of them.
        a: End,
        /// The other.
        b: End,
    },
    /// Messages between two places take longer.
    Slow {
        /// One of them.
        a: End,
        /// The other.
        b: End,
        /// How long each takes at most, in ms.
        max_ms: u64,
    },
    /// Every connection of a node breaks.
    Reset {
        /// The node.
        node: Who,
    },
    /// A node's process is killed, and starts again when the fault ends.
    Crash {
        /// The node.
        node: Who,
    },
    /// A node is told to stop, as an operator does, and starts again when the fault ends.
    Restart {
        /// The node.
        node: Who,
    },
    /// A node computes nothing while time passes.
    Pause {
        /// The node.
        node: Who,
    },
    /// A node's host loses its power, and what its disk has not synced, whole or in part. Nobody is
    /// told. It has power again when the fault ends.
    PowerLoss {
        /// The node.
        node: Who,
    },
    /// A node's disk takes nothing more.
    DiskFull {
        /// The node.
        node: Who,
    },
    /// A node's disk fails to sync.
    DiskFails {
        /// The node.
        node: Who,
    },
    /// Each sync of a node's disk takes longer.
    DiskSlow {
        /// The node.
        node: Who,
        /// By so much, in ms.
        by_ms: u64,
    },
}

/// Which node a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// The one with this index.
    Node(usize),
    /// The one that was the last to begin to lead when the fault begins; the first node when none
    /// has.
    Leader,
}

/// An end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The node with this index.
    Node(usize),
    /// The clients' host with this index.
    Host(usize),
}

/// The way of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// Who sends them.
    pub from: End,
    /// Whom they are for.
    pub to: End,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Node(node) => write!(f, "node {node}"),
            Who::Leader => f.write_str("the leader"),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Node(node) => write!(f, "node {node}"),
            End::Host(host) => write!(f, "host {host}"),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}", self.from, self.to)
    }
}

impl ClusterFaultKind {
    /// The node that it strikes, if it strikes one.
    #[must_use]
    pub fn who(&self) -> Option<Who> {
        match self {
            ClusterFaultKind::Cut { .. }
            | ClusterFaultKind::Hold { .. }
            | ClusterFaultKind::Slow { .. } => None,
            ClusterFaultKind::Isolate { node, .. }
            | ClusterFaultKind::Reset { node }
            | ClusterFaultKind::Crash { node }
            | ClusterFaultKind::Restart { node }
            | ClusterFaultKind::Pause { node }
            | ClusterFaultKind::PowerLoss { node }
            | ClusterFaultKind::DiskFull { node }
            | ClusterFaultKind::DiskFails { node }
            | ClusterFaultKind::DiskSlow { node, .. } => Some(*node),
        }
    }

    /// The places that it names.
    pub(super) fn ends_mut(&mut self) -> Vec<&mut End> {
        match self {
            ClusterFaultKind::Cut { ways } => ways
                .iter_mut()
                .flat_map(|way| [&mut way.from, &mut way.to])
                .collect(),
            ClusterFaultKind::Hold { a, b } | ClusterFaultKind::Slow { a, b, .. } => vec![a, b],
            _ => Vec::new(),
        }
    }
}

impl ReaderPlan {
    fn validate(&self, hosts: usize) -> Result<(), String> {
        let last_ms = u64::from(self.times).saturating_mul(self.every_ms);
        if self.host >= hosts {
            return Err(format!("readers: host {} is not among {hosts}", self.host));
        }
        if self.at_ms.saturating_add(last_ms) > PHASE_MS_MAX || self.every_ms == 0 {
            return Err(format!(
                "readers: every_ms is at least 1, and the last look at most at {PHASE_MS_MAX}"
            ));
        }
        Ok(())
    }
}

impl ClusterPlan {
    /// A sync of the slowest disk takes at most this long while nothing slows it, in ms.
    pub(crate) fn sync_ms_max(&self) -> u64 {
        let nodes = self.nodes.iter();
        nodes.map(|node| node.disk.sync_ms_max()).max().unwrap_or(0)
    }

    /// How much longer a request takes than with one server in memory, when a message takes up to so
    /// many ms, in ms: it is forwarded to the leader, and synced there and at a follower, and the
    /// node that it came to hears so at the next heartbeat at the latest.
    pub(crate) fn forwarding_ms(&self, latency_max_ms: u64) -> u64 {
        let written_ms = DiskPlan::SYNCS_MAX * (self.sync_ms_max() + 1);
        6 * latency_max_ms + 2 * written_ms + 2 * self.commit_notice_ms()
    }

    /// How long a leader takes at most until it tells the others what is committed, when there is nothing
    /// else to tell: servers send a heartbeat of Raft no more often than three times in an election
    /// timeout.
    fn commit_notice_ms(&self) -> u64 {
        self.heartbeat_ms.max(self.election_timeout_ms / 3)
    }

    /// How long slowdowns make a sync together at most, in ms.
    pub(crate) fn slowed_ms(&self) -> u64 {
        let faults = self.faults.iter();
        let slowed = faults.map(|fault| match fault.kind {
            ClusterFaultKind::DiskSlow { by_ms, .. } => by_ms,
            _ => 0,
        });
        slowed.sum()
    }

    /// After how long without trouble there is a leader and every node follows it, in ms: some
    /// elections that fail, and a node that was given up and comes back.
    pub(crate) fn recovery_ms(&self) -> u64 {
        20 * self.election_timeout_ms + 2 * self.node_timeout_ms
    }

    /// How many nodes form the cluster: the first ones.
    #[must_use]
    pub fn founders(&self) -> usize {
        let newcomers = self.operator.as_ref().map_or(0, |one| one.newcomers);
        self.nodes.len() - newcomers
    }

    /// Whether nothing goes wrong with the nodes and nobody changes which there are.
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.faults.is_empty() && self.operator.is_none()
    }

    /// Whether the clocks keep their rates, so that clients may rely on their own deadlines.
    pub(crate) fn clocks_are_steady(&self) -> bool {
        self.nodes.iter().all(|node| node.clock.jumps.is_empty())
    }

    /// How far the clocks leap together, in ms.
    pub(crate) fn leaps_ms(&self) -> u64 {
        let jumps = self.nodes.iter().flat_map(|node| &node.clock.jumps);
        jumps.map(|jump| jump.by_ms).sum()
    }

    /// Whether the cluster can be run, in a world of so many hosts with such a network, and goes on
    /// when all is healed.
    pub(super) fn validate(
        &self,
        hosts: usize,
        latency_min_ms: u64,
        active_ms: u64,
    ) -> Result<(), String> {
        if self.nodes.is_empty() || self.nodes.len() > NODES_MAX {
            return Err(format!("cluster: from 1 to {NODES_MAX} nodes"));
        }
        for node in &self.nodes {
            node.clock.validate()?;
            node.disk.validate()?;
        }
        if self.heartbeat_ms < 10 || self.election_timeout_ms < 3 * self.heartbeat_ms {
            return Err(
                "cluster: heartbeat_ms is at least 10, election_timeout_ms three of them".into(),
            );
        }
        if self.node_timeout_ms < self.election_timeout_ms || self.node_timeout_ms > PHASE_MS_MAX {
            return Err(format!(
                "cluster: node_timeout_ms is from election_timeout_ms to {PHASE_MS_MAX}"
            ));
        }
        for reader in &self.readers {
            reader.validate(hosts)?;
        }
        if let Some(operator) = &self.operator {
            operator.validate(self.nodes.len(), hosts, active_ms)?;
        }
        let faults = self.faults.iter();
        faults.clone().try_for_each(|fault| {
            let kind = &fault.kind;
            self.validate_places(kind.clone(), hosts)?;
            match kind {
                ClusterFaultKind::Slow { max_ms, .. } if *max_ms < latency_min_ms => {
                    Err("cluster: slow: max_ms is below the latency's min_ms".to_owned())
                }
                ClusterFaultKind::DiskSlow { by_ms, .. } if *by_ms > PHASE_MS_MAX => Err(format!(
                    "cluster: disk_slow: by_ms is at most {PHASE_MS_MAX}"
                )),
                ClusterFaultKind::Cut { ways } if ways.is_empty() => {
                    Err("cluster: a cut cuts some way".to_owned())
                }
                ClusterFaultKind::Isolate {
                    to: false,
                    from: false,
                    ..
                } => Err("cluster: isolate: one direction or both".to_owned()),
                _ => Ok(()),
            }
        })
    }

    /// Whether all places of a fault are there, and its links are between two that talk.
    fn validate_places(&self, mut kind: ClusterFaultKind, hosts: usize) -> Result<(), String> {
        let nodes = self.nodes.len();
        if let Some(Who::Node(node)) = kind.who()
            && node >= nodes
        {
            return Err(format!("cluster: node {node} is not among the {nodes}"));
        }
        let talk =
            |a: End, b: End| a != b && (matches!(a, End::Node(_)) || matches!(b, End::Node(_)));
        let links_talk = match &kind {
            ClusterFaultKind::Cut { ways } => ways.iter().all(|way| talk(way.from, way.to)),
            ClusterFaultKind::Hold { a, b } | ClusterFaultKind::Slow { a, b, .. } => talk(*a, *b),
            _ => true,
        };
        if !links_talk {
            return Err("cluster: a link is between two nodes, or a node and a host".to_owned());
        }
        kind.ends_mut().into_iter().try_for_each(|end| match end {
            End::Node(node) if *node < nodes => Ok(()),
            End::Host(host) if *host < hosts => Ok(()),
            end => Err(format!("cluster: there is no {end}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(faults: Vec<ClusterFaultKind>) -> ClusterPlan {
        let disk = DiskPlan {
            sync_us_min: 1,
            sync_us_max: 1,
            snapshot_entries: 10,
            log_segment_bytes: None,
        };
        let node = NodePlan {
            clock: ClockPlan::default(),
            disk,
        };
        let fault = |kind| ClusterFault {
            at_ms: 0,
            for_ms: 1,
            kind,
        };
        ClusterPlan {
            nodes: vec![node; 3],
            heartbeat_ms: 20,
            election_timeout_ms: 60,
            node_timeout_ms: 60,
            secret: false,
            faults: faults.into_iter().map(fault).collect(),
            readers: Vec::new(),
            operator: None,
        }
    }

    #[test]
    fn faults_are_of_places_that_are_there() {
        let way = |from, to| ClusterFaultKind::Cut {
            ways: vec![Way { from, to }],
        };
        let check = |kind| plan(vec![kind]).validate(2, 1, 1);
        assert_eq!(check(way(End::Node(0), End::Node(2))), Ok(()));
        assert_eq!(check(way(End::Host(1), End::Node(2))), Ok(()));
        assert!(check(way(End::Node(0), End::Node(3))).is_err());
        assert!(check(way(End::Node(0), End::Node(0))).is_err());
        assert!(check(way(End::Host(0), End::Host(1))).is_err());
        assert!(check(way(End::Host(2), End::Node(0))).is_err());
        let node = Who::Node(3);
        assert!(check(ClusterFaultKind::Crash { node }).is_err());
        let node = Who::Leader;
        assert_eq!(check(ClusterFaultKind::Crash { node }), Ok(()));
    }

    #[test]
    fn a_cluster_whose_timers_contradict_each_other_is_refused() {
        let mut hasty = plan(Vec::new());
        hasty.election_timeout_ms = 59;
        assert!(hasty.validate(1, 1, 1).is_err());
        let mut hasty = plan(Vec::new());
        hasty.node_timeout_ms = 59;
        assert!(hasty.validate(1, 1, 1).is_err());
        let mut empty = plan(Vec::new());
        empty.nodes.clear();
        assert!(empty.validate(1, 1, 1).is_err());
    }
}
