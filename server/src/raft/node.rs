//! A replica as the rest of the server sees it.

use super::{
    admission::Admission,
    calls,
    facts::Readiness,
    formation,
    log::Log,
    lost::Lost,
    members::Members,
    network::Network,
    reconfiguration::Reconfiguration,
    state::{News, State},
    ticket::{Maker, Ticket},
    types::{Raft, Stopped, Types},
};
use crate::{
    Member, Secret, ServerConfig,
    machine::{Machine, NodeRecord, Setup},
    peer::{Dialer, Identity, Link},
    proposal::{DiskId, Proposal},
    readiness::Notes,
    sighting::Watchers,
    store::{Change, Store, StoreError},
};
use lockwright_env::{Env, sleep};
use openraft::{
    Config, ReadPolicy, ServerState, SnapshotPolicy, async_runtime::WatchReceiver,
    metrics::RaftServerMetrics,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::AbortHandle};

/// The id of the only member of a cluster of one that was never told another.
const ALONE: u64 = 1;

/// The record that says whose data a directory has.
const OWNER_KEY: &str = "owner";

/// Whose data a directory has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    cluster: String,
    node: u64,
    disk: DiskId,
}

/// Who leads, as far as a node knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// The latest term that it knows of.
    pub(crate) term: u64,
    /// Who leads in it.
    pub(crate) leader: Option<u64>,
    /// Whether it is this node.
    pub(crate) is_own: bool,
}

/// What happens in a replica.
pub(crate) enum NodeEvent {
    /// Something was applied.
    News(News),
    /// A proposal was not taken, or was taken back. What its maker made after it may be, too.
    Refused(Maker),
    /// Who leads has changed.
    Leadership,
}

/// A replica: it keeps the log, agrees on it with the others (in a cluster of one there are none)
/// and applies it.
pub(crate) struct Node {
    raft: Raft,
    state: State,
    store: Store,
    owner: Owner,
    is_alone: bool,
    lost: Lost,
    admission: Admission,
    readiness: Readiness,
    reconfiguration: Reconfiguration,
    /// Tasks that end with it: the one that forms the cluster, when it starts for the first time, and the
    /// one that changes it.
    tasks: Vec<AbortHandle>,
    refused_in: mpsc::UnboundedSender<Maker>,
    refused: mpsc::UnboundedReceiver<Maker>,
    news: mpsc::UnboundedReceiver<News>,
    metrics: openraft::alias::WatchReceiverOf<Types, RaftServerMetrics<Types>>,
}

impl Node {
    /// Starts with what the store has. What it applied before comes again.
    pub(crate) async fn start<E: Env>(
        env: &E,
        store: Store,
        config: &ServerConfig,
    ) -> Result<(Node, Option<Dialer<E>>), StoreError> {
        let probe = config.probe.clone();
        let (news_in, news) = mpsc::unbounded_channel();
        let owner = own(&store, config).await?;
        let setup = Setup {
            probe: probe.clone(),
            locks_per_message: config.locks_per_message,
            watchers: Watchers::default(),
        };
        let state = State::open(store.clone(), setup, news_in)?;
        let is_newcomer = config
            .cluster
            .as_ref()
            .is_some_and(|cluster| cluster.members.is_empty());
        let admission = Admission::new(owner.node, owner.disk, is_newcomer);
        let log = Log::open(store.clone(), state.snapshot_id(), admission.clone(), probe)?;
        // What was found is applied from now on, so all that was synced to keep it must be over.
        store.make(Vec::new()).await?;
        log.tell_vote();
        let failure = |error: String| {
            let failed = store.failure().borrow().clone();
            failed.unwrap_or_else(|| StoreError::damaged(error))
        };
        let cluster = config.cluster.as_ref();
        let dialer = cluster.map(|cluster| Dialer {
            env: env.clone(),
            identity: identity(&owner, cluster.secret.clone(), &state, &log),
            patience: cluster.election_timeout,
        });
        let lost = Lost::default();
        let notes = {
            let env = env.clone();
            Notes::new(move || env.monotonic())
        };
        let network = Network {
            lost: lost.clone(),
            notes: notes.clone(),
            dialer: dialer.clone(),
            patience: cluster.map_or(Duration::ZERO, |cluster| cluster.election_timeout),
            pause: cluster.map_or(Duration::ZERO, |cluster| cluster.heartbeat),
        };
        let raft = Raft::new(
            owner.node,
            Arc::new(raft_config(config)),
            network,
            log,
            state.clone(),
        );
        let raft = raft.await.map_err(|error| failure(error.to_string()))?;
        let election_timeout = cluster.map(|cluster| cluster.election_timeout);
        let readiness = Readiness::new(&raft, &state, &admission, &notes, election_timeout);
        let is_there = raft.is_initialized().await;
        let is_there = is_there.map_err(|error| failure(error.to_string()))?;
        let metrics = raft.server_metrics();
        let voters: Vec<u64> = raft.voter_ids().collect();
        let mut reconfiguration = Reconfiguration::none();
        let mut tasks = Vec::new();
        match (cluster, &dialer) {
            (Some(cluster), Some(dialer)) => {
                if is_newcomer {
                    keep_out(env.clone(), &raft, &state, &admission, cluster.heartbeat);
                }
                if !is_there && !cluster.members.is_empty() {
                    let forming =
                        formation::start(raft.clone(), dialer.clone(), cluster.clone(), notes);
                    tasks.push(forming);
                }
                let (env, pause) = (env.clone(), cluster.heartbeat);
                let (started, task) = Reconfiguration::start(env, raft.clone(), pause);
                reconfiguration = started;
                tasks.push(task);
            }
            _ if is_there && voters != [owner.node] => {
                return Err(StoreError::NeedsCluster {
                    node: owner.node,
                    of: voters.len(),
                });
            }
            _ => lead_alone(&raft, &owner, is_there).await.map_err(failure)?,
        }
        let (refused_in, refused) = mpsc::unbounded_channel();
        let node = Node {
            raft,
            state,
            store,
            is_alone: dialer.is_none(),
            owner,
            lost,
            admission,
            readiness,
            reconfiguration,
            tasks,
            refused_in,
            refused,
            news,
            metrics,
        };
        Ok((node, dialer))
    }

    /// Its id.
    pub(crate) fn id(&self) -> u64 {
        self.owner.node
    }

    /// Its disk.
    pub(crate) fn disk(&self) -> DiskId {
        self.owner.disk
    }

    /// Whether it is a cluster of one for ever.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Whether no other node votes, nor is about to.
    pub(crate) fn is_only_voter(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let mut voters = metrics.membership_config.membership().voter_ids();
        voters.all(|id| id == self.owner.node)
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().nodes().count()
    }

    /// Serves the calls of other replicas.
    pub(crate) fn door(&self) -> RaftDoor {
        RaftDoor {
            raft: self.raft.clone(),
            state: self.state.clone(),
            admission: self.admission.clone(),
            readiness: self.readiness.clone(),
        }
    }

    /// The nodes of the cluster.
    pub(crate) fn members(&self) -> Members {
        Members {
            raft: self.raft.clone(),
            reconfiguration: self.reconfiguration.clone(),
            readiness: self.readiness.clone(),
        }
    }

    /// Those who are told of all that happens.
    pub(crate) fn watchers(&self) -> &Watchers {
        self.state.watchers()
    }

    /// What it waits for.
    pub(crate) fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Where its parts write down what they learn.
    pub(crate) fn notes(&self) -> &Notes {
        self.readiness.notes()
    }

    /// Proposes something; only a leader can.
    pub(crate) async fn propose(&self, proposal: Proposal, maker: Maker) -> Result<(), Stopped> {
        let ticket = Ticket::new(maker, self.refused_in.clone());
        let proposed = self.raft.client_write_ff(Arc::new(proposal), Some(ticket));
        proposed.await.map_err(|error| Stopped {
            why: error.to_string(),
        })
    }

    /// What happens next. Cancel safe.
    pub(crate) async fn happening(&mut self) -> Result<NodeEvent, Stopped> {
        tokio::select! {
            biased;
            changed = self.metrics.changed() => {
                changed.map_err(|_| self.stopped())?;
                Ok(NodeEvent::Leadership)
            }
            news = self.news.recv() => news.map(NodeEvent::News).ok_or_else(|| self.stopped()),
            refused = self.refused.recv() => {
                let maker = refused.expect("this node has a sender itself");
                if self.is_alone {
                    // Nobody else can lead: it can only be that it has died.
                    return Err(self.stopped());
                }
                Ok(NodeEvent::Refused(maker))
            }
        }
    }

    /// What has been applied already.
    pub(crate) fn try_news(&mut self) -> Option<News> {
        self.news.try_recv().ok()
    }

    fn stopped(&self) -> Stopped {
        let state = self.raft.metrics().borrow_watched().running_state.clone();
        Stopped {
            why: state.map_or_else(|fatal| fatal.to_string(), |()| "it is gone".to_owned()),
        }
    }

    /// Who leads.
    pub(crate) fn leadership(&self) -> Leadership {
        let metrics = self.metrics.borrow_watched();
        Leadership {
            term: metrics.vote.leader_id.term,
            leader: metrics.current_leader,
            is_own: metrics.state == ServerState::Leader,
        }
    }

    /// A member of the cluster.
    pub(crate) fn member(&self, id: u64) -> Option<Member> {
        let metrics = self.metrics.borrow_watched();
        metrics
            .membership_config
            .membership()
            .get_node(&id)
            .cloned()
    }

    /// Asks a majority whether this node leads. Gives the index up to which a reader must have
    /// applied the log; none when it does not lead.
    pub(crate) fn confirm(&self) -> impl Future<Output = Option<u64>> + Send + use<> {
        let raft = self.raft.clone();
        async move {
            let linearizer = raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
            linearizer.ok().map(|one| one.read_log_id().index())
        }
    }

    /// The last entry that each other node has acknowledged, as far as this one knows as the leader.
    pub(crate) fn acknowledged(&self) -> Vec<(u64, u64)> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let others = metrics.replication.into_iter().flatten();
        let others = others.filter(|(node, _)| *node != self.owner.node);
        others
            .filter_map(|(node, last)| Some((node, last?.index)))
            .collect()
    }

    /// A node that was found to have lost entries that it had acknowledged, and the disk that has.
    pub(crate) fn take_lost(&self) -> Option<(u64, DiskId)> {
        self.lost.take()
    }

    /// The last entry that was applied; 0 without one.
    pub(crate) fn applied_index(&self) -> u64 {
        self.state.applied_index()
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

    /// Asks the voter that is furthest to lead from now on; false if there is none.
    pub(crate) async fn hand_over(&self) -> bool {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let replication = metrics.replication.unwrap_or_default();
        let others = self.raft.voter_ids().filter(|id| *id != self.owner.node);
        let best = others.max_by_key(|id| (replication.get(id).cloned().flatten(), *id));
        match best {
            Some(best) => self.raft.trigger().transfer_leader(best).await.is_ok(),
            None => false,
        }
    }

    /// Stops.
    pub(crate) async fn shutdown(self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        // It fails when it has panicked, and that is known already.
        let _ = self.raft.shutdown().await;
    }
}

/// Where calls of other replicas are served.
#[derive(Clone)]
pub(crate) struct RaftDoor {
    raft: Raft,
    state: State,
    admission: Admission,
    readiness: Readiness,
}

impl RaftDoor {
    /// Serves those of one link, and says after each `pause` that it is there.
    pub(crate) async fn serve<E: Env>(self, env: E, link: Link<E>, pause: Duration) {
        let may_elect = || may_elect(&self.state, &self.admission);
        calls::serve(env, self.raft, link, pause, may_elect, &self.readiness).await;
    }
}

/// Whether a node may take part in elections.
fn may_elect(state: &State, admission: &Admission) -> bool {
    let own = state.with_machine(|machine| machine.node(admission.node()));
    admission.is_given(own)
}

/// Asks for no votes until this node may.
fn keep_out<E: Env>(env: E, raft: &Raft, state: &State, admission: &Admission, pause: Duration) {
    if may_elect(state, admission) {
        return;
    }
    raft.runtime_config().elect(false);
    let (raft, state, admission) = (raft.clone(), state.clone(), admission.clone());
    tokio::spawn(async move {
        // It ends with the replica, whose state it would look at in vain.
        while raft.metrics().borrow_watched().running_state.is_ok() {
            if may_elect(&state, &admission) {
                raft.runtime_config().elect(true);
                return;
            }
            sleep(&env, pause).await;
        }
    });
}

/// Leads a cluster of one.
async fn lead_alone(raft: &Raft, owner: &Owner, is_there: bool) -> Result<(), String> {
    if !is_there {
        let member = Member {
            id: owner.node,
            ..Member::default()
        };
        let made = raft
            .initialize(BTreeMap::from([(owner.node, member)]))
            .await;
        made.map_err(|error| error.to_string())?;
    } else {
        // Nobody else can lead: there is no need to wait for somebody.
        let asked = raft.trigger().elect(false).await;
        asked.map_err(|error| error.to_string())?;
    }
    let waiting = raft.wait(None);
    let leading = waiting
        .current_leader(owner.node, "the only one leads")
        .await;
    leading.map(|_| ()).map_err(|error| error.to_string())
}

/// Whose data a store has; of this node from now on, if it is new.
async fn own(store: &Store, config: &ServerConfig) -> Result<Owner, StoreError> {
    let found = store.meta(OWNER_KEY)?;
    let found: Option<Owner> = found
        .map(|bytes| super::codec::decode(&bytes, "the record of whose data this is"))
        .transpose()?;
    let cluster = config.cluster.as_ref();
    if let Some(found) = found {
        if let Some(cluster) = cluster
            && (cluster.id != found.node || cluster.name != found.cluster)
        {
            return Err(StoreError::OtherNode {
                is: format!("node {} of the cluster `{}`", found.node, found.cluster),
                expected: format!("node {} of the cluster `{}`", cluster.id, cluster.name),
            });
        }
        return Ok(found);
    }
    let owner = Owner {
        cluster: cluster.map_or_else(|| "lockwright".to_owned(), |cluster| cluster.name.clone()),
        node: cluster.map_or(ALONE, |cluster| cluster.id),
        disk: DiskId(getrandom::u64().expect("the system has randomness to give")),
    };
    let bytes = super::codec::encode(&owner);
    let record = Change::PutMeta {
        key: OWNER_KEY,
        bytes,
    };
    store.make(vec![record]).await?;
    Ok(owner)
}

fn identity(owner: &Owner, secret: Option<Secret>, state: &State, log: &Log) -> Identity {
    let (state, log) = (state.clone(), log.clone());
    Identity {
        cluster: owner.cluster.clone(),
        secret,
        node: owner.node,
        disk: owner.disk,
        last_entry: {
            let log = log.clone();
            Arc::new(move || log.last_entry())
        },
        known: Arc::new(move |node| known(&state, &log, node)),
    }
}

/// What a node knows of another one, or of itself, by all that is in its log. After a restart little of that
/// is applied, and it may take the other node to apply more.
///
/// A node joins with a disk only at a leader that knows it with this disk, or has forgotten it with the
/// former one; and each log with the entry that forgets it has the configuration without it before that. So
/// an entry that says so is right even if it is not agreed on.
fn known(state: &State, log: &Log, node: u64) -> Option<NodeRecord> {
    // In this order: what is applied meanwhile is looked at twice, and nothing is passed over.
    let applied = state.applied_index();
    let record = state.with_machine(|machine| machine.node(node));
    let after = log.node_after(node, applied);
    after.into_iter().fold(record, |record, entry| {
        let disk = entry?;
        let same = record.filter(|record| record.disk == disk);
        Some(same.unwrap_or(NodeRecord {
            disk,
            acknowledged: 0,
            life: None,
        }))
    })
}

fn raft_config(config: &ServerConfig) -> Config {
    let in_ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let raft = Config {
        cluster_name: "lockwright".to_owned(),
        // The server asks for them itself, as it knows how much there is to write.
        snapshot_policy: SnapshotPolicy::Never,
        purge_batch_size: 1,
        // A leader that lost power may have lost entries that others have. If it led on in the same
        // term it would make other entries with the same index and term.
        enable_leader_restore: Some(false),
        // Who has lost entries is found out by us, and told to all: it need not be the leader's end.
        allow_log_reversion: Some(true),
        ..Config::default()
    };
    let raft = match &config.cluster {
        None => Config {
            // Alone, there is nobody to miss and nobody to be missed by.
            enable_tick: false,
            enable_heartbeat: false,
            enable_elect: false,
            max_in_snapshot_log_to_keep: 0,
            ..raft
        },
        Some(cluster) => Config {
            // openraft gives up an answer to a heartbeat that takes longer than until the next: so
            // there must be as much time between them as there can be.
            heartbeat_interval: in_ms(cluster.heartbeat.max(cluster.election_timeout / 3)),
            election_timeout_min: in_ms(cluster.election_timeout),
            election_timeout_max: 2 * in_ms(cluster.election_timeout),
            // A node that was cut off must not disturb those that were not when it comes back.
            enable_pre_vote: Some(true),
            // Long snapshots go in parts, each with a deadline of its own.
            install_snapshot_timeout: 600_000,
            // Whoever is only a little behind gets entries, which costs less than a snapshot.
            max_in_snapshot_log_to_keep: config.snapshot_entries / 2,
            replication_lag_threshold: 1 << 40,
            max_payload_entries: 1024,
            ..raft
        },
    };
    raft.validate().expect("what is configured was checked")
}
