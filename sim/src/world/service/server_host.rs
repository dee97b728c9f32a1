//! A server's host: the shipped server, watched.

use super::{
    disk::Disk,
    env::SimEnv,
    host::simulated,
    http_caller::told,
    stage::{Applied, Node, Phase, Stage},
};
use crate::{
    oracle::service::{
        Happening,
        members::{Members, index_of},
    },
    plan::ClusterPlan,
};
use lockwright_engine::{Command, Engine, Event, Refusal, Reply, TimeMs, Token};
use lockwright_env::sleep;
use lockwright_server::{
    BindError, ClusterConfig, Drain, DrainEvent, Member, Probe, RaftEvent, Secret, Server,
    ServerConfig, ServerError, Storage, StoreError,
};
use std::{cell::Cell, collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

/// The port that the server listens on.
pub(super) const PORT: u16 = 9009;

/// Where nodes of a cluster listen for each other.
const PEER_PORT: u16 = 9011;

/// How long a server that is told to stop goes on to answer.
const DRAIN: Duration = Duration::from_millis(500);

/// Tells the stage what a server's engine does.
struct StageProbe {
    stage: Arc<Stage>,
    node: usize,
}

impl Probe for StageProbe {
    fn began(&self, index: u64, engine: &Engine, first_token: Token) {
        let now = simulated();
        self.stage
            .began(now, self.node, index, engine, first_token.0);
    }

    fn leads(&self, at: TimeMs) {
        self.stage.leads(simulated(), self.node, at);
    }

    fn raft(&self, event: RaftEvent) {
        self.stage.raft(simulated(), self.node, event);
    }

    fn members(&self, index: u64, term: u64, voters: &[BTreeSet<u64>], learners: &BTreeSet<u64>) {
        let indexes = |ids: &BTreeSet<u64>| ids.iter().map(|id| index_of(*id)).collect();
        let members = Members {
            voters: voters.iter().map(indexes).collect(),
            learners: indexes(learners),
        };
        self.stage
            .members(simulated(), self.node, (index, term), members);
    }

    fn drains(&self, event: DrainEvent) {
        let node = self.node;
        let happening = Happening::Drains { node, event };
        self.stage.happen(simulated(), &happening);
    }

    fn stamped(&self, at: TimeMs) {
        self.stage.stamped(simulated(), self.node, at);
    }

    fn applied(
        &self,
        index: u64,
        at: TimeMs,
        command: &Command,
        result: &Result<Reply, Refusal>,
        events: &[Event],
    ) {
        let applied = Applied {
            at,
            command,
            result,
            events,
        };
        self.stage.applied(simulated(), self.node, index, applied);
    }
}

/// How long whoever watches over the server waits before starting it again.
const RESTART_PAUSE: Duration = Duration::from_millis(50);

/// Runs a server that the plan asks for until its host dies.
pub(super) async fn run(stage: Arc<Stage>, node: usize) -> turmoil::Result {
    let env = env(&stage, node);
    let config = config(&stage, node);
    serve(&stage, node, env, config).await
}

/// The world as a server's host sees it.
pub(super) fn env(stage: &Arc<Stage>, node: usize) -> SimEnv {
    let Node { host, disk, .. } = &stage.nodes[node];
    let env = match disk {
        Some(disk) => SimEnv::with_disk(host.clone(), disk.clone()),
        None => SimEnv::new(host.clone()),
    };
    let stage = stage.clone();
    env.overheard(move |written, is_gone| {
        if let Some(id) = told(written) {
            stage.happen(simulated(), &Happening::HttpTold { id, is_gone });
        }
    })
}

/// What operators send.
pub(super) const ADMIN_TOKEN: &str = "of-the-simulated-operators";

/// How those name the server that do not name a node of it.
const NAME: &str = "server";

fn secret(text: &str) -> Secret {
    Secret::new(text).expect("it is long enough")
}

/// How the plan sets a server up.
pub(super) fn config(stage: &Arc<Stage>, node: usize) -> ServerConfig {
    let plan = &stage.plan.server;
    let mut config = ServerConfig::new(format!("0.0.0.0:{PORT}"));
    config.idle_timeout = Duration::from_millis(plan.idle_timeout_ms);
    if let Some(max) = plan.connections_max {
        config.connections_max = usize::try_from(max).unwrap_or(usize::MAX);
        // The hosts are few: all clients may be on one.
        config.connections_per_address_max = Some(config.connections_max);
    }
    config.limits = plan.limits.to_limits();
    // So few that most lists come in parts.
    config.locks_per_message = 1;
    config.allowed_hosts = vec![NAME.to_owned(), stage.nodes[node].name.clone()];
    config.admin_token = Some(secret(ADMIN_TOKEN));
    let cluster = stage.plan.cluster.as_ref();
    let disk = cluster.map_or(plan.disk, |cluster| Some(cluster.nodes[node].disk));
    if let Some(disk) = disk {
        config.storage = Storage::Directory(PathBuf::from("data"));
        config.snapshot_entries = disk.snapshot_entries;
        if let Some(bytes) = disk.log_segment_bytes {
            config.log_segment_bytes = bytes;
        }
    }
    if let Some(cluster) = cluster {
        config.cluster = Some(membership(stage, node, cluster));
        config.drain_timeout = DRAIN;
        // It has nothing to wait for, whatever it is told.
        if plan.drain_ms.is_some() {
            config.drain = Drain::Locks;
        }
    } else if let Some(ms) = plan.drain_ms {
        config.drain_timeout = Duration::from_millis(ms);
    }
    let stage = stage.clone();
    config.probe = Arc::new(StageProbe { stage, node });
    config
}

/// Whom a node knows, and how patient it is with them.
fn membership(stage: &Stage, node: usize, cluster: &ClusterPlan) -> ClusterConfig {
    let members = (0..cluster.founders()).map(|founder| member(stage, founder));
    let listen = format!("0.0.0.0:{PEER_PORT}");
    let mut config = ClusterConfig::new(id_of(node), listen, members.collect());
    config.secret = cluster.secret.then(|| secret("of-the-simulated-nodes"));
    config.heartbeat = Duration::from_millis(cluster.heartbeat_ms);
    config.election_timeout = Duration::from_millis(cluster.election_timeout_ms);
    config.node_timeout = Duration::from_millis(cluster.node_timeout_ms);
    config
}

/// A node, as others know it.
pub(super) fn member(stage: &Stage, node: usize) -> Member {
    Member {
        id: id_of(node),
        address: peer_address_of(stage, node),
        client_address: address_of(stage, node),
    }
}

/// Where other nodes find a server.
pub(super) fn peer_address_of(stage: &Stage, node: usize) -> String {
    format!("{}:{PEER_PORT}", stage.nodes[node].name)
}

/// The id of a node in its cluster.
pub(super) fn id_of(node: usize) -> u64 {
    u64::try_from(node).expect("nodes are few") + 1
}

/// Where clients find a server.
pub(super) fn address_of(stage: &Stage, node: usize) -> String {
    format!("{}:{PORT}", stage.nodes[node].name)
}

/// Serves, and reports in the last phase. A server that ends because of its disk is started again,
/// and one that is told to stop is when nobody wants it to be stopped any more.
pub(super) async fn serve(
    stage: &Arc<Stage>,
    node: usize,
    env: SimEnv,
    config: ServerConfig,
) -> turmoil::Result {
    let mut stops = stage.nodes[node].stops.subscribe();
    let mut drains = stage.nodes[node].drains.subscribe();
    loop {
        // The world outlives its programs.
        let _ = drains.wait_for(|drains| *drains == 0).await;
        let _ = stops.wait_for(|stops| *stops == 0).await;
        let mut config = config.clone();
        if stage.nodes[node].is_newcomer() {
            let cluster = config.cluster.iter_mut();
            cluster.for_each(|cluster| cluster.members.clear());
        }
        match serve_once(stage, node, env.clone(), config).await {
            Err(Ended::Disk(error)) if stage.nodes[node].disk.is_some() => {
                let name = &stage.nodes[node].name;
                let what = format!("the server ends: {error}");
                let what = match stage.plan.cluster {
                    Some(_) => format!("{name}: {what}"),
                    None => what,
                };
                stage.happen(simulated(), &Happening::Fault { what });
                stage.happen(simulated(), &down(stage, node));
            }
            Err(Ended::LogLoss(error)) => {
                let what = format!("the server does not start, and its log is put back: {error}");
                stage.happen(simulated(), &Happening::Fault { what });
                let disk = stage.nodes[node].disk.as_ref();
                disk.expect("it has lost something").put_log_back();
            }
            Err(Ended::Disk(error) | Ended::Otherwise(error)) => return Err(error.into()),
            // It was told to stop. By now it may not be wanted to any more.
            Ok(()) => {
                stage.happen(simulated(), &down(stage, node));
                lose_end_of_log(stage, node).await;
                continue;
            }
        }
        sleep(&env, RESTART_PAUSE).await;
    }
}

/// A server that has stopped loses the end of its log, if it is to.
async fn lose_end_of_log(stage: &Stage, node: usize) {
    let Node { host, disk, .. } = &stage.nodes[node];
    let Some(disk) = disk else {
        return;
    };
    host.sleep_until_simulated(disk.settles_at()).await;
    if let Some(loss) = stage.nodes[node].take_log_loss()
        && let Some(what) = disk.lose_end_of_log(loss.kept)
    {
        stage.happen(simulated(), &Happening::Fault { what });
    }
}

/// What it means that a server's process is no more.
pub(super) fn down(stage: &Stage, node: usize) -> Happening {
    match stage.plan.cluster {
        Some(_) => Happening::NodeDown { node },
        None if stage.nodes[node].disk.is_some() => Happening::ServerHalted,
        None => Happening::ServerDown,
    }
}

/// Why a server ended.
enum Ended {
    /// It cannot use its disk.
    Disk(String),
    /// It does not start because it has noticed that the end of its log is lost.
    LogLoss(String),
    Otherwise(String),
}

async fn serve_once(
    stage: &Arc<Stage>,
    node: usize,
    env: SimEnv,
    config: ServerConfig,
) -> Result<(), Ended> {
    stage.nodes[node].starts();
    let server = Server::bind(env, config).await;
    let disk = stage.nodes[node].disk.as_ref();
    let has_lost = disk.is_some_and(Disk::has_lost_end_of_log);
    let server = server.map_err(|error| match &error {
        BindError::Store(StoreError::Damaged { .. }) if has_lost => {
            Ended::LogLoss(error.to_string())
        }
        BindError::Store(store) if is_of_the_disk(store) => Ended::Disk(error.to_string()),
        _ => Ended::Otherwise(error.to_string()),
    })?;
    if has_lost {
        stage.happen(simulated(), &Happening::StartedAfterLogLoss);
    }
    let handle = server.handle();
    let _runs = stage.nodes[node].runs(handle.state());
    let mut phase = stage.phase.subscribe();
    let report = async {
        // The world outlives its programs.
        while phase
            .wait_for(|phase| *phase == Phase::Reporting)
            .await
            .is_ok()
        {
            // A node that has lost its leader may not know yet.
            while !stage.report(node, handle.usage().await) {
                tokio::time::sleep(RESTART_PAUSE).await;
            }
            let _ = phase.wait_for(|phase| *phase != Phase::Reporting).await;
        }
        std::future::pending::<()>().await;
    };
    let mut stops = stage.nodes[node].stops.subscribe();
    let told = Cell::new(false);
    let stop = async {
        if stops.wait_for(|stops| *stops > 0).await.is_ok() {
            told.set(true);
            match stage.plan.cluster {
                Some(_) => handle.shutdown(),
                None => handle.shutdown_with(Drain::Answers),
            }
        }
        std::future::pending::<()>().await;
    };
    let mut drains = stage.nodes[node].drains.subscribe();
    let drain = async {
        if drains.wait_for(|drains| *drains > 0).await.is_ok() {
            told.set(true);
            handle.shutdown_with(Drain::Locks);
        }
        std::future::pending::<()>().await;
    };
    let served = tokio::select! {
        biased;
        served = server.run() => served,
        () = report => unreachable!("it goes on for ever"),
        () = stop => unreachable!("it goes on for ever"),
        () = drain => unreachable!("it goes on for ever"),
    };
    if served.is_ok() && !told.get() && stage.plan.cluster.is_none() {
        let why = "the server ends, and was not told to".to_owned();
        return Err(Ended::Otherwise(why));
    }
    served.map_err(|error| match &error {
        ServerError::Store(store) if is_of_the_disk(store) => Ended::Disk(error.to_string()),
        _ => Ended::Otherwise(error.to_string()),
    })
}

/// Whether an error is one of those that the simulated disk has: that the data is damaged, or
/// somebody else's, must never be.
fn is_of_the_disk(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Full { .. } | StoreError::Disk { .. } | StoreError::Locked { .. }
    )
}
