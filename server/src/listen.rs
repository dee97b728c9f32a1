//! Taking connections, and speaking HTTP on them until they become sessions' WebSockets.

use crate::{
    ClusterConfig, Drain, ServerConfig, ServerError, ServerHandle, Storage, StoreError,
    admission::{Entry, Places},
    forward, http,
    metrics::Metrics,
    peer::{self, Doors, Link},
    raft::RaftDoor,
    replica::{Gone, Replica},
    secret::is_exposed,
    session_endpoint::Gate,
};
use lockwright_env::{Connection, Env, Listener, sleep, timeout};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

/// How long connections are given to end when they are closed.
pub(crate) const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// How long to wait after a connection could not be taken (most likely because there are too many
/// open files, which another try at once would not change).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The least time between two heartbeats.
const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

/// Inputs that may wait for the replica before connections wait in turn.
const INPUTS_MAX: usize = 1024;

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It cannot listen.
    #[error("cannot listen on `{address}`: {source}; expected `host:port` of this machine, free")]
    Listen {
        /// Where it was to listen.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot use its data.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration makes no sense.
    #[error("`{setting}` is {got}, and must be at least {min}")]
    Config {
        /// The field of [`ServerConfig`].
        setting: &'static str,
        /// Its value.
        got: u64,
        /// The least that it may be; times in ms.
        min: u64,
    },
    /// What is said of the cluster makes no sense.
    #[error("{why}")]
    Cluster {
        /// What is wrong, and what is expected.
        why: String,
    },
}

/// A lock server that listens, and serves while [`run`](Server::run) runs.
pub struct Server<E: Env> {
    env: E,
    config: ServerConfig,
    listener: E::Listener,
    stop: watch::Sender<Option<Drain>>,
    gate: Arc<Gate<E>>,
    peers: Option<E::Listener>,
    replica: Replica<E>,
    inputs: mpsc::Receiver<crate::replica::Input>,
    gone: mpsc::UnboundedReceiver<Gone>,
    places: Places,
}

impl<E: Env> Server<E> {
    /// Starts with what is stored, or empty, and listens. Connections wait until [`run`](Server::run) is called.
    ///
    /// # Errors
    /// [`BindError`] when it cannot listen, or cannot use its data, or the configuration makes no
    /// sense.
    pub async fn bind(env: E, config: ServerConfig) -> Result<Server<E>, BindError> {
        check(&config)?;
        let metrics = Arc::new(Metrics::default());
        let replica = Replica::start(env.clone(), &config, metrics.clone()).await?;
        let listener = listen(&env, &config.listen).await?;
        let local = listener.local_address();
        let address = local.map_err(|source| BindError::Listen {
            address: config.listen.clone(),
            source,
        })?;
        let peers = match &config.cluster {
            Some(cluster) => Some(listen(&env, &cluster.listen).await?),
            None => None,
        };
        if let (Some(peers), Some(cluster)) = (&peers, &config.cluster)
            && cluster.secret.is_none()
            && let Ok(address) = peers.local_address()
            && is_exposed(address)
        {
            warn!(
                %address,
                "the cluster has no secret: whoever reaches this address can take part in it. Give all nodes \
                 the same --cluster-secret-file"
            );
        }
        let (inputs_in, inputs) = mpsc::channel(INPUTS_MAX);
        let (gone_in, gone) = mpsc::unbounded_channel();
        Ok(Server {
            listener,
            stop: watch::Sender::new(None),
            gate: Arc::new(Gate::new(
                env.clone(),
                &config,
                address,
                inputs_in,
                gone_in,
                metrics,
                replica.shown(),
            )),
            peers,
            replica,
            inputs,
            gone,
            places: Places::new(config.connections_max, config.connections_per_address_max()),
            env,
            config,
        })
    }

    /// The address it listens on, with the port that was chosen.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_address()
    }

    /// A handle to stop it with, or to ask how much it has in hand.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        ServerHandle {
            stop: self.stop.clone(),
            drain: self.config.drain,
            inputs: self.gate.inputs(),
            readiness: self.gate.readiness().clone(),
        }
    }

    /// Serves until [`ServerHandle::shutdown`]. Dropping the future stops the server at once.
    ///
    /// # Errors
    /// [`ServerError`] when it cannot go on. Nothing was acknowledged since that was so.
    pub async fn run(mut self) -> Result<(), ServerError> {
        let stop = StopOnDrop(self.stop.clone());
        let mut stopped = self.stop.subscribe();
        // Other nodes are served as long as this one can do something for them.
        let (halt, halted) = watch::channel(false);
        if let (Some(peers), Some(cluster)) = (self.peers.take(), &self.config.cluster) {
            let doors = PeerDoors {
                env: self.env.clone(),
                raft: self.replica.door(),
                gate: self.gate.clone(),
                patience: cluster.node_timeout,
                pause: cluster.heartbeat,
            };
            let dialer = self.replica.dialer().expect("a cluster has links");
            let listening = peer::listen(self.env.clone(), peers, dialer.identity, doors, halted);
            tokio::spawn(listening);
        } else {
            drop(halted);
        }
        let mut replica =
            tokio::spawn(
                self.replica
                    .run(self.inputs, self.gone, self.stop.clone(), halt),
            );
        let router = http::router(self.gate.clone());
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopped.wait_for(is_over) => break,
                // It ends before it is told to only if it cannot go on.
                ended = &mut replica => return rethrow(ended),
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok(stream) => {
                    let Some(entry) = self.places.enter(stream.peer_address().ok()) else {
                        // Dropping it closes it.
                        let max = self.config.connections_max;
                        self.gate.metrics().turned_away();
                        warn!(max, "a connection was refused: there are as many as may be");
                        continue;
                    };
                    let guest = match &entry {
                        Entry::Full(_) => None,
                        Entry::Guest(guest) => {
                            self.gate.metrics().took_in_reserve();
                            Some(guest.clone())
                        }
                    };
                    debug!(open = self.places.taken(), "a connection has come");
                    let serving = http::serve(
                        self.gate.clone(),
                        router.clone(),
                        stream,
                        entry,
                        stopped.clone(),
                    );
                    let task = tokio::spawn(serving);
                    if let Some(guest) = guest {
                        self.places.serves(guest, task.abort_handle());
                        // The one that gave way has its file open until it was run once more.
                        tokio::task::yield_now().await;
                    }
                }
                Err(error) => {
                    warn!(%error, "a connection could not be taken");
                    sleep(&self.env, ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        info!("the server stops: it takes no more connections");
        let served = rethrow(replica.await);
        drop(stop);
        // All places come back when all connections have ended. If one is stuck it is left alone.
        let _ = timeout(&self.env, 2 * CLOSE_GRACE, self.places.all_free()).await;
        served
    }
}

async fn listen<E: Env>(env: &E, address: &str) -> Result<E::Listener, BindError> {
    let listener = env.listen(address).await;
    listener.map_err(|source| BindError::Listen {
        address: address.to_owned(),
        source,
    })
}

/// Where links of other nodes lead.
struct PeerDoors<E: Env> {
    env: E,
    raft: RaftDoor,
    gate: Arc<Gate<E>>,
    /// How long a link may be silent.
    patience: Duration,
    /// How often to say that one works.
    pause: Duration,
}

impl<E: Env> Clone for PeerDoors<E> {
    fn clone(&self) -> PeerDoors<E> {
        PeerDoors {
            env: self.env.clone(),
            raft: self.raft.clone(),
            gate: self.gate.clone(),
            patience: self.patience,
            pause: self.pause,
        }
    }
}

impl<E: Env> Doors<E> for PeerDoors<E> {
    async fn raft(self, _from: u64, link: Link<E>) {
        self.raft.serve(self.env, link, self.pause).await;
    }

    async fn forward(self, from: u64, link: Link<E>) {
        let number = self.gate.next_number();
        let inputs = self.gate.inputs();
        forward::serve(self.env, from, number, link, inputs, self.patience).await;
    }
}

/// Stops the server when its `run` is dropped.
struct StopOnDrop(watch::Sender<Option<Drain>>);

/// Whether a server that was told this takes no more connections.
pub(crate) fn is_over(stop: &Option<Drain>) -> bool {
    *stop == Some(Drain::Answers)
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.send_replace(Some(Drain::Answers));
    }
}

/// Passes a panic of the replica on: a server whose invariants are broken must not go on.
fn rethrow(
    ended: Result<Result<(), ServerError>, tokio::task::JoinError>,
) -> Result<(), ServerError> {
    match ended.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(served) => served,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // Another error than a panic is that of a runtime that shuts down.
        Err(Err(_)) => Ok(()),
    }
}

fn check(config: &ServerConfig) -> Result<(), BindError> {
    let at_least = |setting, got: u64, min| {
        if got < min {
            return Err(BindError::Config { setting, got, min });
        }
        Ok(())
    };
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let idle_ms = u64::try_from(config.idle_timeout.as_millis()).unwrap_or(u64::MAX);
    at_least("idle_timeout", idle_ms, 1)?;
    at_least("log_segment_bytes", config.log_segment_bytes, 1024)?;
    at_least("message_bytes_max", count(config.message_bytes_max), 1)?;
    at_least(
        "unread_bytes_max",
        count(config.unread_bytes_max),
        count(config.message_bytes_max),
    )?;
    at_least("connections_max", count(config.connections_max), 1)?;
    if let Some(max) = config.connections_per_address_max {
        at_least("connections_per_address_max", count(max), 1)?;
    }
    if let Some(interval) = config.stats_interval {
        let ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        at_least("stats_interval", ms, 1)?;
    }
    at_least("outgoing_max", count(config.outgoing_max), 2)?;
    at_least("locks_per_message", count(config.locks_per_message), 1)?;
    match &config.cluster {
        Some(cluster) => check_cluster(cluster, &config.storage),
        None => Ok(()),
    }
}

fn check_cluster(cluster: &ClusterConfig, storage: &Storage) -> Result<(), BindError> {
    let wrong = |why: String| Err(BindError::Cluster { why });
    let (heartbeat, election) = (cluster.heartbeat, cluster.election_timeout);
    if *storage == Storage::Memory {
        return wrong(
            "a node of a cluster keeps its vote and its log in a directory: one that forgets them \
             could break what the others promised"
                .to_owned(),
        );
    }
    if cluster.id == 0 {
        return wrong("the id of a node is 1 or more, and this one is 0".to_owned());
    }
    if heartbeat < HEARTBEAT_MIN || election < 3 * heartbeat || cluster.node_timeout < election {
        return wrong(format!(
            "`heartbeat` is {heartbeat:?}, `election_timeout` {election:?} and `node_timeout` \
             {:?}: expected at least {HEARTBEAT_MIN:?}, at least three heartbeats, and at least \
             the election timeout",
            cluster.node_timeout
        ));
    }
    let members = &cluster.members;
    if members.is_empty() {
        return Ok(());
    }
    if !members.iter().any(|member| member.id == cluster.id) {
        return wrong(format!("node {} is not among the members", cluster.id));
    }
    for (place, member) in members.iter().enumerate() {
        let others = &members[..place];
        if member.id == 0 || others.iter().any(|other| other.id == member.id) {
            return wrong(format!(
                "the members' ids are 1 or more and all different: {} is not",
                member.id
            ));
        }
        if others.iter().any(|other| other.address == member.address) {
            return wrong(format!("two members have the address `{}`", member.address));
        }
    }
    Ok(())
}
