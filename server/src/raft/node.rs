//! A replica as the rest of the server sees it.

use super::{
    log::Log,
    network::NoNetwork,
    state::State,
    ticket::Ticket,
    types::{Raft, Stopped, Types},
};
use crate::{
    Probe,
    machine::{Machine, Outcome},
    proposal::Proposal,
    store::{Store, StoreError},
};
use openraft::{Config, SnapshotPolicy, raft::ClientWriteResult};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::mpsc;

/// The only member of a cluster of one.
const ID: u64 = 1;

/// What a proposal came to, by its number. Those of one node come in the order of the log.
pub(crate) struct Completion {
    pub(crate) number: u64,
    pub(crate) outcome: Result<Box<Outcome>, Stopped>,
}

/// Number and result of a proposal; no result when the replica died over it.
type Told = (u64, Option<ClientWriteResult<Types>>);

/// A replica: it keeps the log, agrees on it with the others (in a cluster of one there are none)
/// and applies it.
pub(crate) struct Node {
    raft: Raft,
    state: State,
    store: Store,
    told_in: mpsc::UnboundedSender<Told>,
    told: mpsc::UnboundedReceiver<Told>,
    next_number: u64,
}

impl Node {
    /// Starts with what the store has, and leads. What it applied before comes again.
    pub(crate) async fn start(store: Store, probe: Arc<dyn Probe>) -> Result<Node, StoreError> {
        let state = State::open(store.clone(), probe)?;
        let log = Log::open(store.clone(), state.snapshot_id())?;
        // What was found is applied from now on, so all that was synced to keep it must be over.
        store.make(Vec::new()).await?;
        let raft = Raft::new(ID, Arc::new(config()), NoNetwork, log, state.clone()).await;
        let failure = |error: String| {
            let failed = store.failure().borrow().clone();
            failed.unwrap_or_else(|| StoreError::damaged(error))
        };
        let raft = raft.map_err(|error| failure(error.to_string()))?;
        let is_new = raft.is_initialized().await.map(|is_there| !is_there);
        if is_new.map_err(|error| failure(error.to_string()))? {
            let members = BTreeMap::from([(ID, openraft::BasicNode::default())]);
            let made = raft.initialize(members).await;
            made.map_err(|error| failure(error.to_string()))?;
        } else if !raft.is_leader() {
            // Nobody else can lead: there is no need to wait for somebody.
            let asked = raft.trigger().elect(false).await;
            asked.map_err(|error| failure(error.to_string()))?;
        }
        let waiting = raft.wait(None);
        let leading = waiting.current_leader(ID, "the only one leads").await;
        leading.map_err(|error| failure(error.to_string()))?;
        let (told_in, told) = mpsc::unbounded_channel();
        Ok(Node {
            raft,
            state,
            store,
            told_in,
            told,
            next_number: 0,
        })
    }

    /// Proposes something. Gives its number.
    pub(crate) async fn propose(&mut self, proposal: Proposal) -> Result<u64, Stopped> {
        let number = self.next_number;
        self.next_number += 1;
        let ticket = Ticket::new(number, self.told_in.clone());
        let proposed = self.raft.client_write_ff(Arc::new(proposal), Some(ticket));
        let proposed = proposed.await;
        proposed.map_err(|error| Stopped {
            why: error.to_string(),
        })?;
        Ok(number)
    }

    /// The next proposal that is done. Cancel safe.
    pub(crate) async fn completed(&mut self) -> Completion {
        let told = self.told.recv().await;
        completion(told.expect("this node has a sender itself"))
    }

    /// The next proposal that is done, if there is one already.
    pub(crate) fn try_completed(&mut self) -> Option<Completion> {
        self.told.try_recv().ok().map(completion)
    }

    /// Asks for a snapshot, so that the log can begin later.
    pub(crate) async fn take_snapshot(&self) -> Result<(), Stopped> {
        let asked = self.raft.trigger().snapshot().await;
        asked.map_err(|error| Stopped {
            why: error.to_string(),
        })
    }

    /// Looks at the state as it is now.
    pub(crate) fn with_machine<T>(&self, look: impl FnOnce(&Machine) -> T) -> T {
        self.state.with_machine(look)
    }

    /// The last entry that the snapshot has; 0 without a snapshot.
    pub(crate) fn snapshot_index(&self) -> u64 {
        self.state.snapshot_index()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Stops.
    pub(crate) async fn shutdown(self) {
        // It fails when it has panicked, and that is known already.
        let _ = self.raft.shutdown().await;
    }
}

fn completion((number, result): Told) -> Completion {
    let outcome = match result {
        Some(Ok(response)) => Ok(response.data.expect("a proposal has an outcome")),
        Some(Err(error)) => Err(Stopped {
            why: error.to_string(),
        }),
        None => Err(Stopped {
            why: "it is gone".to_owned(),
        }),
    };
    Completion { number, outcome }
}

fn config() -> Config {
    let config = Config {
        cluster_name: "lockwright".to_owned(),
        // Alone, there is nobody to miss and nobody to be missed by.
        enable_tick: false,
        enable_heartbeat: false,
        enable_elect: false,
        // The server asks for them itself, as it knows how much there is to write.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        purge_batch_size: 1,
        ..Config::default()
    };
    config.validate().expect("a choice of ours")
}
