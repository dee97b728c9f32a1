//! What Raft knows of a node, for [`readiness`](crate::readiness).

use super::{
    admission::Admission,
    state::{State, WeakState},
    types::{Raft, Types},
};
use crate::readiness::{Facts, Notes, Sign};
use lockwright_protocol::cluster::NodeState;
use openraft::{
    ServerState, async_runtime::WatchReceiver, metrics::RaftMetrics, raft::AppendEntriesRequest,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

/// Tells what a node waits for, at any moment, also when the node is gone. It keeps nothing of it
/// alive that has a lock on its data.
#[derive(Clone)]
pub(crate) struct Readiness {
    metrics: openraft::alias::WatchReceiverOf<Types, RaftMetrics<Types>>,
    state: WeakState,
    admission: Admission,
    notes: Notes,
    election_timeout: Duration,
    is_alone: bool,
}

impl Readiness {
    pub(super) fn new(
        raft: &Raft,
        state: &State,
        admission: &Admission,
        notes: &Notes,
        election_timeout: Option<Duration>,
    ) -> Readiness {
        Readiness {
            metrics: raft.metrics(),
            state: state.downgrade(),
            admission: admission.clone(),
            notes: notes.clone(),
            election_timeout: election_timeout.unwrap_or_default(),
            is_alone: election_timeout.is_none(),
        }
    }

    /// What the node waits for when its clock shows `now`.
    pub(crate) fn state_at(&self, now: Duration) -> NodeState {
        self.facts(now).state()
    }

    /// What the node waits for now.
    pub(crate) fn state(&self) -> NodeState {
        self.state_at(self.notes.now())
    }

    /// Whether a leader, which is another node, was heard of within the election timeout.
    pub(crate) fn hears(&self, leader: u64) -> bool {
        let now = self.notes.now();
        self.notes.hears(leader, self.election_timeout, now)
    }

    /// What is known of whether another node runs.
    pub(super) fn sign_of(&self, node: u64) -> Sign {
        let noted = self.notes.read();
        noted.sign_of(node, self.election_timeout, self.notes.now())
    }

    /// A node sends entries, or says as the leader that it is there.
    pub(super) fn heard(&self, request: &AppendEntriesRequest<Types>) {
        let leader = request.vote.leader_id;
        let metrics = self.metrics.borrow_watched();
        // One of an earlier term leads no more.
        if leader.term >= metrics.current_term {
            let committed = request.leader_commit.map_or(0, |last| last.index);
            let applied = metrics.last_applied.map_or(0, |last| last.index);
            self.notes.heard(leader.voted_for, committed, applied);
        }
    }

    pub(super) fn notes(&self) -> &Notes {
        &self.notes
    }

    fn facts(&self, now: Duration) -> Facts {
        // Before the metrics are borrowed: waiting for the state must not hold up Raft.
        let own = self.state.node(self.admission.node());
        let metrics = self.metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters = membership.get_joint_config().iter();
        let voters = voters.map(|set| set.iter().copied().collect::<BTreeSet<u64>>());
        let replication = metrics.replication.iter().flatten();
        let matched = replication.map(|(id, last)| (*id, last.map(|last| last.index)));
        let is_own = metrics.state == ServerState::Leader;
        Facts {
            now,
            id: metrics.id,
            is_alone: self.is_alone,
            is_newcomer: self.admission.is_newcomer(),
            may_elect: self.admission.is_given(own),
            election_timeout: self.election_timeout,
            stopped: match &metrics.running_state {
                Ok(()) => None,
                Err(fatal) => Some(fatal.to_string()),
            },
            term: metrics.current_term,
            // It may know that it is elected and not be the leader yet.
            leader: metrics
                .current_leader
                .filter(|id| is_own || *id != metrics.id),
            is_candidate: metrics.state == ServerState::Candidate,
            voters: voters.collect(),
            members: membership.nodes().map(|(id, _)| *id).collect(),
            last_entry: metrics.last_log_index.unwrap_or(0),
            applied: metrics.last_applied.map_or(0, |last| last.index),
            matched: matched.collect::<BTreeMap<_, _>>(),
            noted: self.notes.read(),
        }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").finish_non_exhaustive()
    }
}
