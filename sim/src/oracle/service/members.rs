//! Which nodes a cluster has, and what an operator asks for about them.

use lockwright_protocol::cluster::{ClusterView, NodeRole};
use std::{collections::BTreeSet, fmt};

/// The nodes of a cluster, by their indexes, as an entry of its log has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Who votes. What is agreed on needs a majority of each of these sets: there are two of them
    /// while they change.
    pub voters: Vec<BTreeSet<usize>>,
    /// Who has a copy of all and does not vote.
    pub learners: BTreeSet<usize>,
}

impl Members {
    /// The first nodes, all of them voters.
    #[must_use]
    pub fn founders(count: usize) -> Members {
        Members {
            voters: vec![(0..count).collect()],
            learners: BTreeSet::new(),
        }
    }

    /// Whether those who have something are enough for it to be agreed on.
    pub fn is_majority(&self, has: impl Fn(usize) -> bool) -> bool {
        self.voters.iter().all(|voters| {
            let having = voters.iter().filter(|node| has(**node)).count();
            2 * having > voters.len()
        })
    }

    /// Whether a node is one of them, whatever it counts for.
    #[must_use]
    pub fn contains(&self, node: usize) -> bool {
        self.learners.contains(&node) || self.voters.iter().any(|voters| voters.contains(&node))
    }
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "voters {:?}, learners {:?}", self.voters, self.learners)
    }
}

/// What an operator asks for. Nodes are named by their indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeChange {
    /// To let a node lead.
    Lead(usize),
    /// To add a node, without a vote.
    Add(usize),
    /// To let a node vote.
    Promote(usize),
    /// To remove a node.
    Remove(usize),
}

impl NodeChange {
    /// The index of the node that it is about.
    #[must_use]
    pub fn node(self) -> usize {
        match self {
            NodeChange::Lead(node)
            | NodeChange::Add(node)
            | NodeChange::Promote(node)
            | NodeChange::Remove(node) => node,
        }
    }
}

impl fmt::Display for NodeChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeChange::Lead(node) => write!(f, "let node {node} lead"),
            NodeChange::Add(node) => write!(f, "add node {node}"),
            NodeChange::Promote(node) => write!(f, "let node {node} vote"),
            NodeChange::Remove(node) => write!(f, "remove node {node}"),
        }
    }
}

/// What an operator is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeAnswer {
    /// It is done, and the cluster is like this.
    Done(ClusterView),
    /// It is not done, as the status and what was said tell.
    Refused {
        /// The status of HTTP.
        status: u16,
        /// Why.
        why: String,
        /// Whether it may be done all the same.
        perhaps_done: bool,
    },
    /// Nothing: it may be done, now or later.
    Nothing,
}

impl fmt::Display for ChangeAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChangeAnswer::Done(view) => {
                let nodes = view.nodes.iter().map(|node| match node.role {
                    NodeRole::Voter => format!("{}", node.id),
                    NodeRole::Learner => format!("({})", node.id),
                });
                let nodes: Vec<String> = nodes.collect();
                write!(f, "done; ids {}", nodes.join(" "))
            }
            ChangeAnswer::Refused { status, why, .. } => write!(f, "{status} {why}"),
            ChangeAnswer::Nothing => f.write_str("nothing"),
        }
    }
}

/// The index of the node with this id.
#[must_use]
pub fn index_of(id: u64) -> usize {
    usize::try_from(id.saturating_sub(1)).unwrap_or(usize::MAX)
}
