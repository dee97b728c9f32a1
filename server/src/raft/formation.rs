//! Forming a cluster when all its members start for the first time.
//!
//! A member forms it only when every other one answers and says that it is in no cluster yet. So
//! members that have lost their disks never form a second cluster beside the one that they were in,
//! as long as one member remembers.

use super::types::Raft;
use crate::{
    ClusterConfig,
    peer::{Dialer, Purpose},
    readiness::Notes,
};
use lockwright_env::{Env, sleep};
use std::collections::BTreeMap;
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

/// Tries until there is a cluster, made here or by another member.
pub(super) fn start<E: Env>(
    raft: Raft,
    dialer: Dialer<E>,
    cluster: ClusterConfig,
    notes: Notes,
) -> AbortHandle {
    let forming = tokio::spawn(async move {
        while let Ok(false) = raft.is_initialized().await {
            if all_are_new(&dialer, &cluster, &notes).await {
                form(&raft, &cluster).await;
            }
            sleep(&dialer.env, cluster.election_timeout).await;
        }
    });
    forming.abort_handle()
}

async fn all_are_new<E: Env>(dialer: &Dialer<E>, cluster: &ClusterConfig, notes: &Notes) -> bool {
    for member in &cluster.members {
        if member.id == cluster.id {
            continue;
        }
        match dialer.open(member.id, &member.address, Purpose::Look).await {
            Ok((_, known)) if !known.is_formed => {}
            Ok(_) => {
                debug!(
                    node = member.id,
                    "another member is in a cluster: it will say so"
                );
                let why = "it is in a cluster, which has not called this node".to_owned();
                notes.unformed(Some((member.id, why)));
                return false;
            }
            Err(error) => {
                warn!(%error, "the cluster cannot be formed yet: all its members must answer");
                notes.unformed(Some((member.id, error.to_string())));
                return false;
            }
        }
    }
    notes.unformed(None);
    true
}

async fn form(raft: &Raft, cluster: &ClusterConfig) {
    let members = cluster.members.iter();
    let members: BTreeMap<_, _> = members.map(|one| (one.id, one.clone())).collect();
    match raft.initialize(members).await {
        Ok(()) => info!("the cluster is formed"),
        // Another member was quicker.
        Err(error) => debug!(%error, "the cluster is not formed from here"),
    }
}
