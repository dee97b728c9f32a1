//! What an operator is told that it has changed is so from then on: every later answer shows it, unless
//! the operator has asked for something else since (docs/cluster.md, looking and changing).
//!
//! An answer is the view of a leader that a majority has just followed. What the operator asked for and
//! was not told the outcome of may happen at any later time.

use super::{
    Happening, ServiceOracle,
    members::{ChangeAnswer, NodeChange, index_of},
};
use crate::{oracle::Verdict, plan::ClusterPlan};
use lockwright_protocol::cluster::{ClusterView, NodeRole};
use lockwright_server::RaftEvent;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What a node counts for; nothing when it is none of the cluster.
type Standing = Option<NodeRole>;

/// The oracle.
#[derive(Debug)]
pub struct Membership {
    /// What each node counts for, as was told last.
    known: Vec<Standing>,
    /// What it may count for by now, because nobody knows what became of a change.
    perhaps: Vec<BTreeSet<u8>>,
    /// The latest term in which each node led.
    led: BTreeMap<usize, u64>,
    /// The latest term in which any did, when the change was asked for that is under way.
    asked_in: u64,
    /// The change that was asked for and is not answered. Who gives it up hears no answer any more.
    open: Option<NodeChange>,
}

/// A number for what a node counts for, so that it can be in a set.
fn number(standing: Standing) -> u8 {
    match standing {
        None => 0,
        Some(NodeRole::Learner) => 1,
        Some(NodeRole::Voter) => 2,
    }
}

fn text(standing: Standing) -> &'static str {
    match standing {
        None => "none of the cluster",
        Some(NodeRole::Learner) => "a learner",
        Some(NodeRole::Voter) => "a voter",
    }
}

impl Membership {
    /// For the nodes of a plan.
    #[must_use]
    pub fn new(cluster: &ClusterPlan) -> Membership {
        let founders = cluster.founders();
        let nodes = 0..cluster.nodes.len();
        let standing = |node| (node < founders).then_some(NodeRole::Voter);
        Membership {
            known: nodes.clone().map(standing).collect(),
            perhaps: nodes.map(|_| BTreeSet::new()).collect(),
            led: BTreeMap::new(),
            asked_in: 0,
            open: None,
        }
    }

    fn latest_term(&self) -> u64 {
        self.led.values().copied().max().unwrap_or(0)
    }

    /// What a node counts for when a change is done.
    fn after(&self, change: NodeChange) -> Option<Standing> {
        let node = change.node();
        match change {
            NodeChange::Lead(_) => None,
            // Who votes goes on doing so, unless it was removed.
            NodeChange::Add(_) => Some(self.known[node].or(Some(NodeRole::Learner))),
            NodeChange::Promote(_) => Some(Some(NodeRole::Voter)),
            NodeChange::Remove(_) => Some(None),
        }
    }

    fn answered(&mut self, change: NodeChange, answer: &ChangeAnswer) -> Verdict {
        match answer {
            ChangeAnswer::Done(view) => {
                if let NodeChange::Lead(node) = change {
                    self.has_led(node)?;
                }
                if let Some(standing) = self.after(change) {
                    self.known[change.node()] = standing;
                }
                if let NodeChange::Add(node) = change
                    && self.perhaps[node].contains(&number(None))
                {
                    self.perhaps[node].insert(number(Some(NodeRole::Learner)));
                }
                self.shown(change, view)
            }
            ChangeAnswer::Refused { status, why, .. } if ![409, 503].contains(status) => Err(
                format!("the operator asks to {change}, and is answered {status}: {why}"),
            ),
            ChangeAnswer::Refused {
                perhaps_done: false,
                ..
            } => Ok(()),
            ChangeAnswer::Refused { .. } | ChangeAnswer::Nothing => {
                if let Some(standing) = self.after(change) {
                    self.perhaps[change.node()].insert(number(standing));
                }
                Ok(())
            }
        }
    }

    fn has_led(&self, node: usize) -> Verdict {
        match self.led.get(&node) {
            Some(term) if *term >= self.asked_in => Ok(()),
            led => Err(format!(
                "the operator is answered that node {node} leads, which led last in term {led:?}, \
                 and somebody led in term {} before it was asked for",
                self.asked_in
            )),
        }
    }

    /// A leader has shown the cluster.
    fn shown(&mut self, change: NodeChange, view: &ClusterView) -> Verdict {
        for node in 0..self.known.len() {
            let mut here = view.nodes.iter().filter(|one| index_of(one.id) == node);
            let standing = here.next().map(|one| one.role);
            let known = self.known[node];
            if standing != known && !self.perhaps[node].contains(&number(standing)) {
                return Err(format!(
                    "the operator is answered that it is done: {change}; and that node {node} is {}, \
                     which was {} as answered before",
                    text(standing),
                    text(known)
                ));
            }
            // What happened late has happened.
            self.known[node] = standing;
        }
        let strange = view
            .nodes
            .iter()
            .find(|one| index_of(one.id) >= self.known.len());
        match strange {
            Some(node) => Err(format!(
                "the cluster has a node {}, which nobody added",
                node.id
            )),
            None => Ok(()),
        }
    }
}

impl ServiceOracle for Membership {
    fn name(&self) -> &'static str {
        "membership"
    }

    fn rule(&self) -> &'static str {
        "docs/cluster.md, looking and changing: each change is answered with what there is after it"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::ChangeAsked { change, .. } => {
                self.asked_in = self.latest_term();
                match self.open.replace(*change) {
                    Some(given_up) => self.answered(given_up, &ChangeAnswer::Nothing),
                    None => Ok(()),
                }
            }
            Happening::ChangeAnswered { change, answer } => {
                self.open = None;
                self.answered(*change, answer)
            }
            Happening::Raft {
                node,
                event: RaftEvent::Leads { term },
            } => {
                self.led.insert(*node, *term);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockwright_protocol::cluster::NodeView;

    fn oracle() -> Membership {
        let node = serde_json::json!({
            "disk": {"sync_us_min": 1, "sync_us_max": 1_000, "snapshot_entries": 10},
        });
        let cluster = serde_json::from_value(serde_json::json!({
            "nodes": [node, node, node],
            "heartbeat_ms": 20, "election_timeout_ms": 60, "node_timeout_ms": 60,
            "operator": {"host": 0, "newcomers": 1, "steps": []},
        }));
        Membership::new(&cluster.unwrap())
    }

    /// The answer of a leader that sees these voters and learners, by their indexes.
    fn view(voters: &[usize], learners: &[usize]) -> ChangeAnswer {
        let node = |index: &usize, role| NodeView {
            id: *index as u64 + 1,
            address: String::new(),
            client_address: String::new(),
            role,
            matched: None,
            up: None,
            heard_ms: None,
            lag: None,
        };
        let voters = voters.iter().map(|index| node(index, NodeRole::Voter));
        let learners = learners.iter().map(|index| node(index, NodeRole::Learner));
        ChangeAnswer::Done(ClusterView {
            id: 1,
            leader: Some(1),
            term: 1,
            nodes: voters.chain(learners).collect(),
            last_applied: 0,
            state: None,
        })
    }

    fn judge(story: &[(NodeChange, ChangeAnswer)]) -> Verdict {
        let mut oracle = oracle();
        story.iter().try_for_each(|(change, answer)| {
            let (change, answer) = (*change, answer.clone());
            oracle.see(Duration::ZERO, &Happening::ChangeAsked { node: 0, change })?;
            oracle.see(
                Duration::ZERO,
                &Happening::ChangeAnswered { change, answer },
            )
        })
    }

    #[test]
    fn a_change_that_was_answered_and_is_not_shown_later_is_seen() {
        let added = (NodeChange::Add(2), view(&[0, 1], &[2]));
        let removed = |answer| (NodeChange::Remove(1), answer);
        assert_eq!(judge(&[added.clone(), removed(view(&[0], &[2]))]), Ok(()));
        assert!(judge(&[added, removed(view(&[0], &[]))]).is_err());
        assert!(judge(&[removed(view(&[0, 1], &[]))]).is_err());
        assert!(judge(&[removed(view(&[0, 3], &[]))]).is_err());
    }

    #[test]
    fn what_nobody_knows_the_outcome_of_may_be_so_or_not() {
        let lost = (NodeChange::Remove(1), ChangeAnswer::Nothing);
        for voters in [&[0, 1][..], &[0]] {
            let added = (NodeChange::Add(2), view(voters, &[2]));
            assert_eq!(judge(&[lost.clone(), added]), Ok(()));
        }
        let refused = ChangeAnswer::Refused {
            status: 503,
            why: "another one leads".to_owned(),
            perhaps_done: false,
        };
        let added = (NodeChange::Add(2), view(&[0], &[2]));
        assert!(judge(&[(NodeChange::Remove(1), refused), added]).is_err());
    }

    #[test]
    fn what_may_have_been_removed_is_added_without_a_vote() {
        let lost = (NodeChange::Remove(1), ChangeAnswer::Nothing);
        let added = (NodeChange::Add(1), view(&[0], &[1]));
        assert_eq!(judge(&[lost, added.clone()]), Ok(()));
        assert!(judge(&[added]).is_err());
    }

    #[test]
    fn a_leader_that_never_led_is_seen() {
        let mut oracle = oracle();
        let mut see = |happening: &Happening| oracle.see(Duration::ZERO, happening);
        let leads = |node, term| Happening::Raft {
            node,
            event: RaftEvent::Leads { term },
        };
        let change = NodeChange::Lead(1);
        let done = Happening::ChangeAnswered {
            change,
            answer: view(&[0, 1], &[]),
        };
        see(&leads(1, 1)).unwrap();
        see(&leads(0, 2)).unwrap();
        see(&Happening::ChangeAsked { node: 0, change }).unwrap();
        assert!(see(&done).is_err());
        see(&leads(1, 3)).unwrap();
        assert_eq!(see(&done), Ok(()));
    }

    #[test]
    fn an_answer_that_is_not_documented_is_seen() {
        let refused = |status| ChangeAnswer::Refused {
            status,
            why: String::new(),
            perhaps_done: false,
        };
        assert_eq!(judge(&[(NodeChange::Add(2), refused(409))]), Ok(()));
        assert!(judge(&[(NodeChange::Add(2), refused(500))]).is_err());
    }
}
