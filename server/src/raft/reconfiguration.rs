//! Changes of the cluster's nodes in the log: one at a time, and each to its end.
//!
//! A change of the voters takes two entries: a joint configuration, in which majorities of the old and
//! the new voters must agree, and then the new one alone (Ongaro, Consensus: Bridging Theory and
//! Practice, section 4.3). A leader may die, or a caller go, between the two. So one task of each node
//! makes all changes that are asked for there, whether or not the caller still waits, and when this node
//! leads it finishes any joint configuration that it finds, before it does anything else.

use super::{
    members::NotChanged,
    types::{LogId, Raft, Types},
};
use crate::Member;
use lockwright_env::{Env, sleep, timeout};
use openraft::{
    ChangeMembers, ServerState,
    async_runtime::WatchReceiver,
    errors::{ClientWriteError, PreconditionFailed, RaftError},
    metrics::RaftServerMetrics,
    raft::{ClientWriteResponse, Precondition},
};
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
};
use tracing::{debug, info};

/// How long one step of a change may take to be agreed on.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Changes that may wait for their turn.
const WAITING_MAX: usize = 16;

/// A change of the nodes or voters.
pub(super) type Change = ChangeMembers<u64, Member>;

/// A change that is asked for.
struct Request {
    change: Change,
    /// The entry with the configuration that the caller has seen: the change is made to no other.
    seen: Option<LogId>,
    answer: oneshot::Sender<Result<(), NotChanged>>,
}

/// Asks for changes. Clones ask the same task.
#[derive(Clone)]
pub(super) struct Reconfiguration(mpsc::Sender<Request>);

impl Reconfiguration {
    /// Starts the task. It waits for `pause` after a step that failed, and ends with the replica.
    pub(super) fn start<E: Env>(
        env: E,
        raft: Raft,
        pause: Duration,
    ) -> (Reconfiguration, AbortHandle) {
        let (requests, waiting) = mpsc::channel(WAITING_MAX);
        let task = tokio::spawn(run(env, raft, pause, waiting));
        (Reconfiguration(requests), task.abort_handle())
    }

    /// Of a server that is alone: nothing can be changed.
    pub(super) fn none() -> Reconfiguration {
        Reconfiguration(mpsc::channel(1).0)
    }

    /// Makes a change to the configuration in the entry `seen`. A caller that stops waiting does not
    /// stop the change.
    pub(super) async fn change(
        &self,
        change: Change,
        seen: Option<LogId>,
    ) -> Result<(), NotChanged> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            change,
            seen,
            answer,
        };
        let sent = self.0.send(request).await;
        sent.map_err(|_| NotChanged::NotLeader)?;
        answered.await.unwrap_or(Err(NotChanged::Unknown))
    }
}

async fn run<E: Env>(env: E, raft: Raft, pause: Duration, mut requests: mpsc::Receiver<Request>) {
    let mut metrics = raft.server_metrics();
    let mut announced = None;
    loop {
        let unfinished = unfinished(&metrics.borrow_watched());
        if let Some(joint) = unfinished {
            if announced.replace(joint) != Some(joint) {
                info!(%joint, "finishing a change of the cluster that was left half done");
            }
            finish(&env, &raft, joint).await;
            // They are of the configuration before.
            while let Ok(request) = requests.try_recv() {
                // It fails when the caller has gone.
                let _ = request.answer.send(Err(overtaken()));
            }
            // When it failed, another leader may finish it, or a majority come back.
            sleep(&env, pause).await;
            if raft.metrics().borrow_watched().running_state.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            biased;
            changed = metrics.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            request = requests.recv() => match request {
                // The caller has gone before anything was done.
                Some(request) if request.answer.is_closed() => {}
                Some(Request { change, seen, answer }) => {
                    let changed = step(&env, &raft, change, seen).await;
                    // It fails when the caller has gone meanwhile.
                    let _ = answer.send(changed);
                }
                None => return,
            },
        }
    }
}

/// The entry with a joint configuration that is for this node to finish.
fn unfinished(metrics: &RaftServerMetrics<Types>) -> Option<LogId> {
    let stored = &metrics.membership_config;
    let is_joint = stored.membership().get_joint_config().len() > 1;
    let is_committed = metrics.committed_membership_config.log_id() == stored.log_id();
    let leads = metrics.state == ServerState::Leader;
    (*stored.log_id()).filter(|_| leads && is_joint && is_committed)
}

/// Leaves the joint configuration in the entry `joint` for the new one.
async fn finish<E: Env>(env: &E, raft: &Raft, joint: LogId) {
    // A change of nothing: openraft goes on to what the joint configuration leads to. The voters that
    // it removes leave the cluster, as with each removal of ours.
    let nothing = ChangeMembers::AddVoterIds(BTreeSet::new());
    if let Err(error) = step(env, raft, nothing, Some(joint)).await {
        debug!(?error, "the change of the cluster is not finished yet");
    }
}

type Written = Result<ClientWriteResponse<Types>, RaftError<Types, ClientWriteError<Types>>>;

/// Proposes a change to the configuration in the entry `seen`, and waits until it is applied.
async fn step<E: Env>(
    env: &E,
    raft: &Raft,
    change: Change,
    seen: Option<LogId>,
) -> Result<(), NotChanged> {
    if raft.server_metrics().borrow_watched().state != ServerState::Leader {
        return Err(NotChanged::NotLeader);
    }
    let unchanged = Precondition::LastMembershipLogId {
        last_membership_log_id: seen,
    };
    let mut metrics = raft.server_metrics();
    let deposed = async {
        while metrics.borrow_watched().state == ServerState::Leader {
            if metrics.changed().await.is_err() {
                return;
            }
        }
    };
    let changing = raft.change_membership_if(change, false, [unchanged]);
    let changing = timeout(env, PATIENCE, changing);
    tokio::select! {
        biased;
        written = changing => match written {
            Ok(written) => outcome(written, seen),
            Err(_) => Err(NotChanged::Unknown),
        },
        // Another leader has the change in its log, and finishes it, or has not.
        () = deposed => Err(NotChanged::Unknown),
    }
}

/// A change to a configuration that is there no more: nothing was done.
fn overtaken() -> NotChanged {
    NotChanged::Conflict("not now: another change of the cluster came first".to_owned())
}

/// What is known of a change: that nothing was done is said only where it is certain. An error of the
/// second step comes in the same way as one of the first.
fn outcome(written: Written, seen: Option<LogId>) -> Result<(), NotChanged> {
    let error = match written {
        Ok(_) => return Ok(()),
        Err(RaftError::APIError(error)) => error,
        Err(RaftError::Fatal(_)) => return Err(NotChanged::Unknown),
    };
    match error {
        ClientWriteError::ChangeMembershipError(error) => {
            Err(NotChanged::Conflict(format!("not now: {error}")))
        }
        ClientWriteError::PreconditionFailed(PreconditionFailed::LastMembershipLogIdMismatch {
            expected,
            ..
        }) if expected == seen => Err(overtaken()),
        _ => Err(NotChanged::Unknown),
    }
}
