//! All nodes of a cluster apply the same commands in the same order, at the same times and with the same
//! results, and so does a node that goes through its log again (SEMANTICS section 7.5).
//!
//! The first application of an entry by anybody is what all others are held against, and what the other
//! oracles judge.

use super::{Happening, ServiceOracle};
use crate::oracle::Verdict;
use std::time::Duration;

/// The oracle.
#[derive(Debug, Clone, Copy)]
pub struct ReplicaAgreement;

impl ServiceOracle for ReplicaAgreement {
    fn name(&self) -> &'static str {
        "replica_agreement"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 7.5 durability: what was answered is not lost, by no node"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::Replayed {
                node,
                index,
                here,
                first,
            } => match first {
                Some(first) if first == here => Ok(()),
                Some(first) => Err(format!(
                    "node {node} applies entry {index} in another way than the first that did: \
                     here {here}; there {first}"
                )),
                None => Err(format!(
                    "node {node} does more as part of entry {index} than the first that applied it: \
                     {here}"
                )),
            },
            Happening::PassedOver {
                node,
                index,
                done,
                of,
            } => Err(format!(
                "node {node} goes on after {done} of the {of} commands of entry {index}"
            )),
            Happening::Began {
                node,
                index,
                is_same: false,
            } => Err(format!(
                "node {node} comes to entry {index}, and its locks, sessions or tokens are not those \
                 that the entries before made"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::service::Deed;
    use lockwright_engine::{Command, Reply, TimeMs};
    use std::sync::Arc;

    fn tick(at: u64) -> Arc<Deed> {
        Arc::new(Deed {
            at: TimeMs::new(at).unwrap(),
            command: Command::Tick,
            result: Ok(Reply::Done),
            events: Vec::new(),
        })
    }

    fn see(happening: &Happening) -> Verdict {
        ReplicaAgreement.see(Duration::ZERO, happening)
    }

    #[test]
    fn a_node_that_does_something_else_is_seen() {
        let replayed = |first| Happening::Replayed {
            node: 1,
            index: 7,
            here: tick(5),
            first,
        };
        assert_eq!(see(&replayed(Some(tick(5)))), Ok(()));
        assert!(see(&replayed(Some(tick(6)))).is_err());
        assert!(see(&replayed(None)).is_err());
    }

    #[test]
    fn a_node_that_leaves_something_out_is_seen() {
        let passed = Happening::PassedOver {
            node: 1,
            index: 7,
            done: 0,
            of: 2,
        };
        assert!(see(&passed).is_err());
    }

    #[test]
    fn a_node_with_another_engine_is_seen() {
        let began = |is_same| Happening::Began {
            node: 1,
            index: 7,
            is_same,
        };
        assert_eq!(see(&began(true)), Ok(()));
        assert!(see(&began(false)).is_err());
    }
}
