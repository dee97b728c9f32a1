//! The invariants of Raft, as its paper has them: one leader per term; one vote per node and term;
//! entries with the same index and term are the same, and so are all before them; a leader has all that
//! was applied in earlier terms; and what is applied stays, is the same everywhere, and was in the logs
//! of a majority.
//!
//! They are judged by what each node says that it did. It tells of a vote and of a log that was cut off
//! when its disk has that, and of an entry when that is in its memory; what a crash takes from its disk it
//! does not say. So votes are exact, the logs here are as long as they can be, and what is missing in them
//! is missing.

use super::{
    Happening, ServiceOracle,
    members::{Members, index_of},
};
use crate::{oracle::Verdict, plan::ClusterPlan};
use lockwright_server::RaftEvent;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// The oracle.
#[derive(Debug)]
pub struct RaftInvariants {
    nodes: Vec<Replica>,
    /// Who led in each term.
    leaders: BTreeMap<u64, usize>,
    /// The nodes that voted in each term for each candidate.
    voters: BTreeMap<(u64, usize), BTreeSet<usize>>,
    /// The term of each entry that somebody applied, by index.
    applied: BTreeMap<u64, u64>,
    /// The latest term in which a node had led when each of them was applied first: the entry may have been
    /// agreed on as late as in that term.
    agreed_by: BTreeMap<u64, u64>,
    /// The term of the entry before, by index and term.
    before: BTreeMap<(u64, u64), u64>,
    /// The nodes that form the cluster.
    founders: Members,
    /// Which nodes the cluster has, as the entries of an index and term say.
    members: BTreeMap<(u64, u64), Arc<Members>>,
}

/// A node, as it told of itself.
#[derive(Debug, Default)]
struct Replica {
    /// The last vote that its disk has.
    vote: Option<Vote>,
    /// The terms of the entries of its log, by index.
    log: BTreeMap<u64, u64>,
    /// The entries up to this one are there, or are in its snapshot, and it need not have told of
    /// them; none before it has told of any.
    base: Option<u64>,
    /// The entry that it applied last in its present life.
    applied: Option<u64>,
    /// Whether it began with an empty disk: what it has not told of it does not have.
    is_new: bool,
}

#[derive(Debug, Clone, Copy)]
struct Vote {
    term: u64,
    candidate: usize,
    is_committed: bool,
}

impl RaftInvariants {
    /// For the nodes of a plan.
    #[must_use]
    pub fn new(cluster: &ClusterPlan) -> RaftInvariants {
        let replica = |index: usize| Replica {
            is_new: index >= cluster.founders(),
            ..Replica::default()
        };
        RaftInvariants {
            nodes: (0..cluster.nodes.len()).map(replica).collect(),
            leaders: BTreeMap::new(),
            voters: BTreeMap::new(),
            applied: BTreeMap::new(),
            agreed_by: BTreeMap::new(),
            before: BTreeMap::new(),
            founders: Members::founders(cluster.founders()),
            members: BTreeMap::new(),
        }
    }

    /// Who may have had to agree on an entry: those that the log says up to there, or, as a change of
    /// them counts as soon as it is in the leader's log, after it.
    fn electorates(&self, index: u64) -> impl Iterator<Item = &Members> {
        let until = self.members.range(..=(index, u64::MAX)).rev();
        let mut applied = until.filter(|((at, term), _)| self.applied.get(at) == Some(term));
        let last = applied
            .next()
            .map_or(&self.founders, |(_, members)| members);
        let later = self.members.range((index + 1, 0)..);
        [last]
            .into_iter()
            .chain(later.map(|(_, members)| &**members))
    }

    fn leads(&mut self, node: usize, term: u64) -> Verdict {
        let leader = *self.leaders.entry(term).or_insert(node);
        if leader != node {
            return Err(format!(
                "node {node} leads in term {term}, in which node {leader} led"
            ));
        }
        self.is_elected(node, term)?;
        let replica = &self.nodes[node];
        // A leader that learns late that it was elected need not have what a later one did, nor what of
        // earlier terms was agreed on under a later one.
        let is_earlier = |(index, of): &(&u64, &u64)| {
            **of < term && self.agreed_by.get(index).is_none_or(|by| *by < term)
        };
        let mut earlier = self.applied.iter().filter(is_earlier);
        let missing = earlier.find(|(index, of)| !replica.may_have(**index, **of));
        match missing {
            Some((index, of)) => Err(format!(
                "node {node} leads in term {term}, and its log lacks entry {index} of term {of}, \
                 which was applied"
            )),
            None => Ok(()),
        }
    }

    /// Whether the votes that the disks of a majority have make this node the leader. A node may learn
    /// late that it was elected, when others have changed which nodes there are; so any configuration
    /// that was ever in a log will do.
    fn is_elected(&self, node: usize, term: u64) -> Verdict {
        let voters = self.voters.get(&(term, node));
        let has = |other: usize| voters.is_some_and(|voters| voters.contains(&other));
        let mut electorates = self.members.values().map(|members| &**members);
        if self.founders.is_majority(has) || electorates.any(|one| one.is_majority(has)) {
            return Ok(());
        }
        Err(format!(
            "node {node} leads in term {term}, and on the disks are the votes of the nodes {:?} only",
            voters.into_iter().flatten().collect::<Vec<_>>()
        ))
    }

    fn votes(&mut self, node: usize, vote: Vote) -> Verdict {
        if !vote.is_committed {
            let voters = self.voters.entry((vote.term, vote.candidate));
            voters.or_default().insert(node);
        }
        let voted = self.nodes[node].votes(vote);
        voted.map_err(|how| format!("node {node} {how}"))
    }

    fn appended(&mut self, node: usize, index: u64, term: u64) -> Verdict {
        let replica = &mut self.nodes[node];
        if let Some(applied) = replica.applied
            && index <= applied
        {
            return Err(format!(
                "node {node} appends entry {index} of term {term}, and it has applied {applied}"
            ));
        }
        let previous = index.checked_sub(1);
        if replica.is_new && replica.end().is_none() && index > 0 {
            return Err(format!(
                "node {node} appends entry {index} to a log that is empty"
            ));
        }
        if let (Some(end), Some(previous)) = (replica.end(), previous)
            && previous > end
        {
            return Err(format!(
                "node {node} appends entry {index} to a log that ends with {end}"
            ));
        }
        replica.cut_off(index);
        let of_previous = previous.and_then(|previous| replica.log.get(&previous).copied());
        replica.log.insert(index, term);
        let base = index.saturating_sub(1);
        replica.base = Some(replica.base.map_or(base, |before| before.min(base)));
        let Some(of_previous) = of_previous else {
            return Ok(());
        };
        if of_previous > term {
            return Err(format!(
                "node {node} appends entry {index} of term {term} after one of term {of_previous}"
            ));
        }
        let elsewhere = *self.before.entry((index, term)).or_insert(of_previous);
        if elsewhere != of_previous {
            return Err(format!(
                "node {node} has entry {index} of term {term} after one of term {of_previous}, and \
                 elsewhere the same entry is after one of term {elsewhere}"
            ));
        }
        Ok(())
    }

    fn truncated(&mut self, node: usize, from: u64) -> Verdict {
        let replica = &mut self.nodes[node];
        replica.cut_off(from);
        match replica.applied {
            Some(applied) if from <= applied => Err(format!(
                "node {node} cuts its log off at {from}, and it has applied {applied}"
            )),
            _ => Ok(()),
        }
    }

    fn applies(&mut self, node: usize, index: u64, term: u64) -> Verdict {
        let replica = &mut self.nodes[node];
        let last = replica.applied.replace(index);
        if let Some(last) = last
            && index != last + 1
        {
            return Err(format!("node {node} applies entry {index} after {last}"));
        }
        if !replica.may_have(index, term) {
            return Err(format!(
                "node {node} applies entry {index} of term {term}, and in its log is {:?}",
                replica.log.get(&index)
            ));
        }
        self.is_the_same(node, index, term)?;
        let has = |other: usize| {
            let other = self.nodes.get(other);
            other.is_some_and(|other| other.may_have(index, term))
        };
        if self.electorates(index).any(|one| one.is_majority(has)) {
            return Ok(());
        }
        let having: Vec<usize> = (0..self.nodes.len()).filter(|other| has(*other)).collect();
        Err(format!(
            "node {node} applies entry {index} of term {term}, and it is in the logs of the nodes \
             {having:?} only"
        ))
    }

    fn is_the_same(&mut self, node: usize, index: u64, term: u64) -> Verdict {
        let latest = self.leaders.last_key_value().map_or(0, |(term, _)| *term);
        self.agreed_by.entry(index).or_insert(latest);
        let elsewhere = *self.applied.entry(index).or_insert(term);
        if elsewhere == term {
            return Ok(());
        }
        Err(format!(
            "node {node} applies entry {index} of term {term}, and elsewhere the one of term \
             {elsewhere} was applied"
        ))
    }

    fn installed(&mut self, node: usize, index: u64, term: u64) -> Verdict {
        let replica = &mut self.nodes[node];
        replica.applied = Some(index);
        if replica.log.get(&index) != Some(&term) {
            replica.log.clear();
        }
        replica.log.insert(index, term);
        replica.base = replica.base.max(Some(index));
        if self.applied.contains_key(&index) {
            return self.is_the_same(node, index, term);
        }
        Err(format!(
            "node {node} goes on from a snapshot that ends with entry {index}, which nobody applied"
        ))
    }
}

impl Replica {
    /// Whether it can have this entry, as far as it has told.
    fn may_have(&self, index: u64, term: u64) -> bool {
        match (self.log.get(&index), self.base) {
            (Some(of), _) => *of == term,
            (None, Some(base)) => index <= base,
            (None, None) => !self.is_new,
        }
    }

    /// The last entry of its log.
    fn end(&self) -> Option<u64> {
        let last = self.log.last_key_value().map(|(last, _)| *last);
        last.max(self.base)
    }

    fn cut_off(&mut self, from: u64) {
        self.log.split_off(&from);
        self.base = self.base.map(|base| base.min(from.saturating_sub(1)));
    }

    fn votes(&mut self, vote: Vote) -> Verdict {
        let Some(last) = self.vote.replace(vote) else {
            return Ok(());
        };
        if vote.term < last.term {
            return Err(format!(
                "votes in term {}, after it has voted in term {}",
                vote.term, last.term
            ));
        }
        // Who has voted for another learns who won.
        let learns = vote.is_committed && !last.is_committed;
        if vote.term == last.term && vote.candidate != last.candidate && !learns {
            return Err(format!(
                "votes for {} in term {}, in which it has voted for {}",
                vote.candidate, vote.term, last.candidate
            ));
        }
        Ok(())
    }

    /// It has an empty disk.
    fn forget(&mut self) {
        *self = Replica {
            is_new: true,
            ..Replica::default()
        };
    }
}

impl ServiceOracle for RaftInvariants {
    fn name(&self) -> &'static str {
        "raft_invariants"
    }

    fn rule(&self) -> &'static str {
        "docs/simulation.md, the nodes: election safety, log matching, leader completeness, state \
         machine safety"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::NodeDown { node } => {
                // It goes through its log again.
                self.nodes[*node].applied = None;
                Ok(())
            }
            Happening::NodeNew { node } => {
                self.nodes[*node].forget();
                Ok(())
            }
            Happening::Members {
                index,
                term,
                members,
                ..
            } => {
                self.members.insert((*index, *term), members.clone());
                Ok(())
            }
            Happening::Raft { node, event } => match *event {
                RaftEvent::Vote {
                    term,
                    node: candidate,
                    is_committed,
                } => {
                    let vote = Vote {
                        term,
                        candidate: index_of(candidate),
                        is_committed,
                    };
                    self.votes(*node, vote)
                }
                RaftEvent::Leads { term } => self.leads(*node, term),
                RaftEvent::Appended { index, term } => self.appended(*node, index, term),
                RaftEvent::Truncated { from } => self.truncated(*node, from),
                RaftEvent::Applies { index, term } => self.applies(*node, index, term),
                RaftEvent::Installed { index, term } => self.installed(*node, index, term),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oracle() -> RaftInvariants {
        let node = serde_json::json!({
            "disk": {"sync_us_min": 1, "sync_us_max": 1_000, "snapshot_entries": 10},
        });
        let cluster = serde_json::from_value(serde_json::json!({
            "nodes": [node, node, node],
            "heartbeat_ms": 20, "election_timeout_ms": 60, "node_timeout_ms": 60,
        }));
        RaftInvariants::new(&cluster.unwrap())
    }

    /// Each event is of a node; none is its death. They are a second apart. Each leader has the votes of all.
    fn judge(story: &[(usize, Option<RaftEvent>)]) -> Verdict {
        let mut oracle = oracle();
        let mut now = Duration::ZERO;
        story.iter().try_for_each(|(node, event)| {
            now += Duration::from_secs(1);
            let node = *node;
            if let Some(RaftEvent::Leads { term }) = *event {
                let votes = oracle.voters.entry((term, node));
                votes.or_default().extend(0..3);
            }
            let happening = match *event {
                Some(event) => Happening::Raft { node, event },
                None => Happening::NodeDown { node },
            };
            oracle.see(now, &happening)
        })
    }

    fn vote(term: u64, node: u64, is_committed: bool) -> Option<RaftEvent> {
        Some(RaftEvent::Vote {
            term,
            node,
            is_committed,
        })
    }

    fn leads(term: u64) -> Option<RaftEvent> {
        Some(RaftEvent::Leads { term })
    }

    fn appended(index: u64, term: u64) -> Option<RaftEvent> {
        Some(RaftEvent::Appended { index, term })
    }

    fn applies(index: u64, term: u64) -> Option<RaftEvent> {
        Some(RaftEvent::Applies { index, term })
    }

    fn truncated(from: u64) -> Option<RaftEvent> {
        Some(RaftEvent::Truncated { from })
    }

    fn installed(index: u64, term: u64) -> Option<RaftEvent> {
        Some(RaftEvent::Installed { index, term })
    }

    #[test]
    fn two_leaders_in_a_term_are_seen() {
        assert_eq!(
            judge(&[(0, leads(1)), (0, leads(1)), (1, leads(2))]),
            Ok(())
        );
        assert!(judge(&[(0, leads(1)), (1, leads(1))]).is_err());
    }

    #[test]
    fn a_snapshot_that_was_installed_just_before_a_crash_is_told_of_at_the_start() {
        // The leader appends and applies what is in the snapshot.
        let leader = (1..=9).flat_map(|index| [(1, appended(index, 1)), (2, appended(index, 1))]);
        let applied = (1..=9).map(|index| (1, applies(index, 1)));
        let before: Vec<_> = [(0, appended(1, 1))]
            .into_iter()
            .chain(leader)
            .chain(applied)
            .collect();
        let and = |more: &[(usize, Option<RaftEvent>)]| judge(&[&before[..], more].concat());
        assert!(and(&[(0, None), (0, appended(10, 1))]).is_err());
        assert_eq!(
            and(&[(0, None), (0, installed(9, 1)), (0, appended(10, 1))]),
            Ok(())
        );
        assert!(and(&[(0, None), (0, installed(10, 1))]).is_err());
    }

    #[test]
    fn a_second_vote_in_a_term_is_seen_even_after_a_crash() {
        assert!(judge(&[(0, vote(1, 1, false)), (0, vote(1, 2, false))]).is_err());
        let restarted = [(0, vote(1, 1, false)), (0, None), (0, vote(1, 2, false))];
        assert!(judge(&restarted).is_err());
        assert!(judge(&[(0, vote(2, 1, false)), (0, vote(1, 1, false))]).is_err());
        assert!(judge(&[(0, vote(1, 1, true)), (0, vote(1, 2, true))]).is_err());
        // It learns who has won.
        let learns = [(0, vote(1, 1, false)), (0, vote(1, 2, true))];
        assert_eq!(judge(&learns), Ok(()));
    }

    #[test]
    fn a_vote_counts_from_the_moment_at_which_it_is_told() {
        let at_once = |candidate| {
            let mut oracle = oracle();
            let mut see =
                |ms, happening: &Happening| oracle.see(Duration::from_millis(ms), happening);
            let voted = |candidate| Happening::Raft {
                node: 0,
                event: vote(1, candidate, false).unwrap(),
            };
            see(1_000, &voted(1)).unwrap();
            see(1_000, &Happening::NodeDown { node: 0 }).unwrap();
            // When it starts, it tells of what it found.
            see(1_001, &voted(candidate))
        };
        assert_eq!(at_once(1), Ok(()));
        assert!(at_once(2).is_err());
    }

    #[test]
    fn a_leader_without_the_votes_of_a_majority_is_seen() {
        let judged = |votes: &[(usize, Option<RaftEvent>)]| {
            let mut oracle = oracle();
            let leads = (1, leads(3));
            let mut events = votes.iter().chain([&leads]);
            events.try_for_each(|(node, event)| {
                let (node, event) = (*node, event.unwrap());
                oracle.see(Duration::ZERO, &Happening::Raft { node, event })
            })
        };
        assert_eq!(
            judged(&[(1, vote(3, 2, false)), (2, vote(3, 2, false))]),
            Ok(())
        );
        assert!(judged(&[(1, vote(3, 2, false))]).is_err());
        // In another term, for another node, and to know who won is no vote.
        assert!(judged(&[(1, vote(3, 2, false)), (2, vote(2, 2, false))]).is_err());
        assert!(judged(&[(1, vote(3, 2, false)), (2, vote(3, 3, false))]).is_err());
        assert!(judged(&[(1, vote(3, 2, false)), (2, vote(3, 2, true))]).is_err());
    }

    #[test]
    fn a_leader_without_what_was_applied_is_seen() {
        let story = [
            (0, appended(1, 1)),
            (1, appended(1, 1)),
            (2, appended(0, 1)),
            (0, applies(1, 1)),
        ];
        let with = |last| [&story[..], &[last]].concat();
        assert_eq!(judge(&with((1, leads(2)))), Ok(()));
        assert!(judge(&with((2, leads(2)))).is_err());
        // It was elected before, and learns it late.
        assert_eq!(judge(&with((2, leads(1)))), Ok(()));
        // What a later leader agrees on of an earlier term need not be with one that was elected in between.
        let mut later = vec![
            (0, appended(1, 1)),
            (1, appended(1, 1)),
            (2, appended(0, 1)),
        ];
        later.extend([
            (2, leads(2)),
            (0, leads(3)),
            (0, applies(1, 1)),
            (2, leads(2)),
        ]);
        assert_eq!(judge(&later), Ok(()));
        later.push((2, leads(4)));
        assert!(judge(&later).is_err());
    }

    #[test]
    fn logs_with_holes_and_logs_that_do_not_match_are_seen() {
        assert!(judge(&[(0, appended(1, 1)), (0, appended(3, 1))]).is_err());
        assert!(judge(&[(0, appended(1, 2)), (0, appended(2, 1))]).is_err());
        let mut story = vec![(0, appended(1, 1)), (0, appended(2, 3))];
        story.extend([(1, appended(1, 2)), (1, appended(2, 3))]);
        assert!(judge(&story).is_err());
    }

    #[test]
    fn what_is_applied_stays_and_is_the_same_everywhere() {
        let both = [(0, appended(1, 1)), (1, appended(1, 1)), (0, applies(1, 1))];
        let with = |more: &[_]| judge(&[&both[..], more].concat());
        assert_eq!(with(&[(1, applies(1, 1))]), Ok(()));
        assert!(with(&[(0, truncated(1))]).is_err());
        assert!(with(&[(0, appended(1, 2))]).is_err());
        assert!(with(&[(0, appended(2, 1)), (0, applies(3, 1))]).is_err());
        let other = [(1, truncated(1)), (1, appended(1, 2)), (2, appended(1, 2))];
        assert!(with(&[&other[..], &[(1, applies(1, 2))]].concat()).is_err());
        // After a crash it goes through its log again.
        assert_eq!(with(&[(0, None), (0, applies(1, 1))]), Ok(()));
    }

    #[test]
    fn what_a_minority_has_must_not_be_applied() {
        let told = [
            (0, appended(1, 1)),
            (1, appended(1, 1)),
            (2, appended(1, 1)),
        ];
        let alone = [(0, appended(2, 1)), (0, applies(2, 1))];
        assert!(judge(&[&told[..], &alone].concat()).is_err());
        let two = [(0, appended(2, 1)), (1, appended(2, 1)), (0, applies(2, 1))];
        assert_eq!(judge(&[&told[..], &two].concat()), Ok(()));
    }

    #[test]
    fn a_snapshot_is_of_what_was_applied() {
        let both = [(0, appended(1, 1)), (1, appended(1, 1)), (0, applies(1, 1))];
        let with = |more: &[_]| judge(&[&both[..], more].concat());
        assert_eq!(with(&[(2, installed(1, 1)), (2, appended(2, 1))]), Ok(()));
        assert!(with(&[(2, installed(2, 1))]).is_err());
        assert!(with(&[(2, installed(1, 2))]).is_err());
        assert!(with(&[(2, installed(1, 1)), (2, appended(3, 1))]).is_err());
    }
}
