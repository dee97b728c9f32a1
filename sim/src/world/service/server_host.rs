//! The server's host: the shipped server, watched.

use super::{
    disk::Disk,
    env::SimEnv,
    host::simulated,
    stage::{Phase, Stage},
};
use crate::oracle::service::Happening;
use lockwright_engine::{Command, Engine, Event, Refusal, Reply, TimeMs, Token};
use lockwright_env::sleep;
use lockwright_server::{BindError, Probe, Server, ServerConfig, ServerError, Storage, StoreError};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// The port that the server listens on.
pub(super) const PORT: u16 = 9009;

/// Tells the stage what the server's engine does.
struct StageProbe(Arc<Stage>);

impl Probe for StageProbe {
    fn began(&self, index: u64, engine: &Engine, first_token: Token) {
        self.0.began(simulated(), index, engine, first_token.0);
    }

    fn leads(&self, at: TimeMs) {
        self.0.leads(simulated(), at);
    }

    fn stamped(&self, at: TimeMs) {
        self.0.stamped(simulated(), at);
    }

    fn applied(
        &self,
        index: u64,
        at: TimeMs,
        command: &Command,
        result: &Result<Reply, Refusal>,
        events: &[Event],
    ) {
        let now = simulated();
        self.0.applied(now, index, at, command, result, events);
    }
}

/// How long whoever watches over the server waits before starting it again.
const RESTART_PAUSE: Duration = Duration::from_millis(50);

/// Runs the server that the plan asks for until its host dies.
pub(super) async fn run(stage: Arc<Stage>) -> turmoil::Result {
    let env = env(&stage);
    let config = config(&stage);
    serve(&stage, env, config).await
}

/// The world as the server's host sees it.
pub(super) fn env(stage: &Stage) -> SimEnv {
    match &stage.disk {
        Some(disk) => SimEnv::with_disk(stage.server.clone(), Disk::clone(disk)),
        None => SimEnv::new(stage.server.clone()),
    }
}

/// How the plan sets the server up.
pub(super) fn config(stage: &Arc<Stage>) -> ServerConfig {
    let plan = &stage.plan.server;
    let mut config = ServerConfig::new(format!("0.0.0.0:{PORT}"));
    config.idle_timeout = Duration::from_millis(plan.idle_timeout_ms);
    if let Some(max) = plan.connections_max {
        config.connections_max = usize::try_from(max).unwrap_or(usize::MAX);
    }
    config.limits = plan.limits.to_limits();
    if let Some(disk) = plan.disk {
        config.storage = Storage::Directory(PathBuf::from("data"));
        config.snapshot_entries = disk.snapshot_entries;
        if let Some(bytes) = disk.log_segment_bytes {
            config.log_segment_bytes = bytes;
        }
    }
    config.probe = Arc::new(StageProbe(stage.clone()));
    config
}

/// Serves, and reports in the last phase. A server that ends because of its disk is started again.
pub(super) async fn serve(
    stage: &Arc<Stage>,
    env: SimEnv,
    config: ServerConfig,
) -> turmoil::Result {
    loop {
        match serve_once(stage, env.clone(), config.clone()).await {
            Err(Ended::Disk(error)) if stage.disk.is_some() => {
                let what = format!("the server ends: {error}");
                stage.happen(simulated(), &Happening::Fault { what });
                stage.happen(simulated(), &Happening::ServerHalted);
            }
            Err(Ended::Disk(error) | Ended::Otherwise(error)) => return Err(error.into()),
            Ok(()) => return Ok(()),
        }
        sleep(&env, RESTART_PAUSE).await;
    }
}

/// Why a server ended.
enum Ended {
    /// It cannot use its disk.
    Disk(String),
    Otherwise(String),
}

async fn serve_once(stage: &Arc<Stage>, env: SimEnv, config: ServerConfig) -> Result<(), Ended> {
    let server = Server::bind(env, config).await;
    let server = server.map_err(|error| match &error {
        BindError::Store(store) if is_of_the_disk(store) => Ended::Disk(error.to_string()),
        _ => Ended::Otherwise(error.to_string()),
    })?;
    let handle = server.handle();
    let mut phase = stage.phase.subscribe();
    let report = async {
        if phase
            .wait_for(|phase| *phase == Phase::Reporting)
            .await
            .is_ok()
        {
            stage.report(handle.usage().await);
        }
        std::future::pending::<()>().await;
    };
    let served = tokio::select! {
        biased;
        served = server.run() => served,
        () = report => unreachable!("it goes on for ever"),
    };
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
