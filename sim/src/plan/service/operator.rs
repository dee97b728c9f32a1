//! Who changes which nodes a cluster has, and who leads, while its clients work.

use super::PHASE_MS_MAX;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An operator: one, who does one thing after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorPlan {
    /// The index of the clients' host that it is on.
    pub host: usize,
    /// So many nodes, the last ones of the cluster, do not form it: they run with an empty disk, know
    /// of nobody, and wait until they are added.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub newcomers: usize,
    /// What it does, in this order.
    pub steps: Vec<OperatorStep>,
}

/// Something that an operator does, with all that the documentation says belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorStep {
    /// When it begins, unless the step before is not over then.
    pub at_ms: u64,
    /// So long after it began it is given up if it is not done, however far it has come.
    pub for_ms: u64,
    /// What it is.
    pub deed: OperatorDeed,
}

/// What an operator does. What a step loses a cluster survives: a disk is replaced only when the
/// cluster has confirmed that its node is none of it any more, so that all that was acknowledged is
/// with a majority of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorDeed {
    /// Lets a node lead.
    Transfer {
        /// Its index.
        node: usize,
    },
    /// Removes a node, and stops it. If it leads, another one is let lead first.
    Remove {
        /// Its index.
        node: usize,
        /// How long after it was removed it is stopped.
        #[serde(default, skip_serializing_if = "is_none_at_all")]
        linger_ms: u64,
    },
    /// Adds a node, after it was started if it does not run, and lets it vote.
    Add {
        /// Its index.
        node: usize,
    },
    /// Gives a node an empty disk: removes it, replaces the disk, and adds it again.
    Rebuild {
        /// Its index.
        node: usize,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none_at_all(ms: &u64) -> bool {
    *ms == 0
}

impl OperatorDeed {
    /// The index of the node that it is about.
    #[must_use]
    pub fn node(self) -> usize {
        match self {
            OperatorDeed::Transfer { node }
            | OperatorDeed::Remove { node, .. }
            | OperatorDeed::Add { node }
            | OperatorDeed::Rebuild { node } => node,
        }
    }
}

impl fmt::Display for OperatorDeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OperatorDeed::Transfer { node } => write!(f, "let node {node} lead"),
            OperatorDeed::Remove { node, .. } => write!(f, "remove node {node}"),
            OperatorDeed::Add { node } => write!(f, "add node {node}"),
            OperatorDeed::Rebuild { node } => {
                write!(f, "rebuild node {node} with an empty disk")
            }
        }
    }
}

impl OperatorPlan {
    /// Whether it can be carried out with so many nodes and clients' hosts, in a world whose first
    /// phase lasts so long.
    pub(super) fn validate(
        &self,
        nodes: usize,
        hosts: usize,
        active_ms: u64,
    ) -> Result<(), String> {
        if self.host >= hosts {
            return Err(format!("operator: host {} is not among {hosts}", self.host));
        }
        if self.newcomers >= nodes {
            return Err(format!(
                "operator: {} of {nodes} nodes wait to be added, and none forms the cluster",
                self.newcomers
            ));
        }
        let mut before = 0;
        for step in &self.steps {
            let node = step.deed.node();
            if node >= nodes {
                return Err(format!("operator: node {node} is not among the {nodes}"));
            }
            if step.at_ms < before || step.at_ms >= active_ms {
                return Err(
                    "operator: steps are in the order of their at_ms, and begin before the first \
                     phase ends"
                        .to_owned(),
                );
            }
            before = step.at_ms;
            let linger_ms = match step.deed {
                OperatorDeed::Remove { linger_ms, .. } => linger_ms,
                _ => 0,
            };
            if step.for_ms.max(linger_ms) > PHASE_MS_MAX {
                return Err(format!(
                    "operator: for_ms and linger_ms are at most {PHASE_MS_MAX}"
                ));
            }
        }
        Ok(())
    }

    /// The nodes are fewer from now on, the first `left` of `before`.
    pub(super) fn keep_nodes(&mut self, before: usize, left: usize) {
        let gone = before.saturating_sub(left);
        self.newcomers = self.newcomers.saturating_sub(gone);
        self.steps.retain(|step| step.deed.node() < left);
    }

    /// How many things there are about it.
    pub(super) fn things(&self) -> usize {
        let deeds = self.steps.iter().map(|step| match step.deed {
            OperatorDeed::Transfer { .. } | OperatorDeed::Add { .. } => 2,
            OperatorDeed::Remove { .. } => 3,
            // It is a removal and more.
            OperatorDeed::Rebuild { .. } => 4,
        });
        1 + self.newcomers + deeds.sum::<usize>()
    }

    /// How large its numbers are.
    pub(super) fn numbers(&self) -> u64 {
        let steps = self.steps.iter().map(|step| {
            let linger_ms = match step.deed {
                OperatorDeed::Remove { linger_ms, .. } => linger_ms,
                _ => 0,
            };
            step.at_ms + step.for_ms + linger_ms
        });
        steps.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(newcomers: usize, steps: &[(u64, OperatorDeed)]) -> OperatorPlan {
        let step = |(at_ms, deed): &(u64, OperatorDeed)| OperatorStep {
            at_ms: *at_ms,
            for_ms: 100,
            deed: *deed,
        };
        OperatorPlan {
            host: 0,
            newcomers,
            steps: steps.iter().map(step).collect(),
        }
    }

    #[test]
    fn steps_are_in_order_and_of_nodes_that_are_there() {
        let transfer = |node| OperatorDeed::Transfer { node };
        let check = |steps: &[_]| operator(1, steps).validate(3, 1, 50);
        assert_eq!(check(&[(1, transfer(0)), (1, transfer(2))]), Ok(()));
        assert!(check(&[(2, transfer(0)), (1, transfer(2))]).is_err());
        assert!(check(&[(1, transfer(3))]).is_err());
        assert!(check(&[(50, transfer(1))]).is_err());
    }

    #[test]
    fn somebody_forms_the_cluster_and_somebody_has_a_host() {
        assert_eq!(operator(2, &[]).validate(3, 1, 50), Ok(()));
        assert!(operator(3, &[]).validate(3, 1, 50).is_err());
        assert!(operator(0, &[]).validate(3, 0, 50).is_err());
    }

    #[test]
    fn the_nodes_that_go_first_are_those_that_wait() {
        let steps = [1, 3, 4].map(|node| (1, OperatorDeed::Rebuild { node }));
        let mut plan = operator(2, &steps);
        plan.keep_nodes(5, 4);
        assert_eq!((plan.newcomers, plan.steps.len()), (1, 2));
        plan.keep_nodes(4, 2);
        assert_eq!((plan.newcomers, plan.steps.len()), (0, 1));
    }
}
