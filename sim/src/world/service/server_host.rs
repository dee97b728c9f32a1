//! The server's host: the shipped server, watched.

use super::{
    env::SimEnv,
    host::simulated,
    stage::{Phase, Stage},
};
use lockwright_engine::{Command, Event, Refusal, Reply, TimeMs, Token};
use lockwright_server::{Probe, Server, ServerConfig};
use std::{sync::Arc, time::Duration};

/// The port that the server listens on.
pub(super) const PORT: u16 = 9009;

/// Tells the stage what the server's engine does.
struct StageProbe(Arc<Stage>);

impl Probe for StageProbe {
    fn started(&self, first_token: Token) {
        self.0.server_started(simulated(), first_token);
    }

    fn applied(
        &self,
        at: TimeMs,
        command: &Command,
        result: &Result<Reply, Refusal>,
        events: &[Event],
    ) {
        self.0.applied(simulated(), at, command, result, events);
    }
}

/// Runs the server that the plan asks for until its host dies.
pub(super) async fn run(stage: Arc<Stage>) -> turmoil::Result {
    let (env, config) = (SimEnv::new(stage.server.clone()), config(&stage));
    serve(&stage, env, config).await
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
    config.probe = Arc::new(StageProbe(stage.clone()));
    config
}

/// Serves, and reports in the last phase.
pub(super) async fn serve(
    stage: &Arc<Stage>,
    env: SimEnv,
    config: ServerConfig,
) -> turmoil::Result {
    let server = Server::bind(env, config).await?;
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
    tokio::select! {
        biased;
        () = server.run() => {}
        () = report => {}
    }
    Ok(())
}
