//! A holder at the store: it looks whether it believes in its lock, thinks, and goes there with its
//! token, on a connection of its own. What it learnt when it looked may be over when it arrives.

use super::{
    env::SimEnv,
    host::{Host, simulated},
    network::STORE,
    stage::Stage,
    store_host::PORT,
};
use crate::{
    op::Text,
    oracle::service::{Happening, Visit},
    plan::AccessPlan,
};
use lockwright_client::{Belief, Lock};
use lockwright_env::{Env as _, sleep, timeout};
use std::{io, sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Who goes to the store.
pub(super) struct Visitor {
    stage: Arc<Stage>,
    host: Host,
    id: Text,
    belief: Arc<Belief>,
    plan: AccessPlan,
    visit: Visit,
}

/// After the first try that failed, in ms by the host's clock; twice as long after each further one.
const PAUSE_MS: u64 = 20;

/// No pause is longer. A try that times out keeps a port of the simulated host, and a store that
/// stays away must not use up all of them: that would hide what is wrong.
pub(super) const PAUSE_MS_MAX: u64 = 1_280;

impl Visitor {
    /// The holder of a lock that was granted.
    pub(super) fn new(
        stage: &Arc<Stage>,
        host: &Host,
        namespace: &Text,
        plan: &AccessPlan,
        lock: &Lock<SimEnv>,
    ) -> Visitor {
        let token = lock.token().expect("it was granted");
        Visitor {
            stage: stage.clone(),
            host: host.clone(),
            id: lock.id().clone().into(),
            belief: lock.belief(),
            plan: plan.clone(),
            visit: Visit {
                key: Text::from(format!("{namespace}:{}", plan.key)),
                token: token.0,
                reads: plan.reads,
            },
        }
    }

    /// Goes there, as often as it takes to be answered.
    pub(super) async fn run(self) {
        let env = SimEnv::new(self.host.clone());
        sleep(&env, Duration::from_millis(self.plan.after_ms)).await;
        if !self.belief.holds(env.monotonic()) {
            return;
        }
        sleep(&env, Duration::from_millis(self.plan.think_ms)).await;
        let store = self.stage.store.as_ref();
        let store = store.expect("the plan was validated: there is a store");
        let patience = Duration::from_millis(store.plan.call_timeout_ms);
        let mut pause_ms = PAUSE_MS;
        loop {
            let goes = Happening::Goes {
                id: self.id.clone(),
                visit: self.visit.clone(),
            };
            self.stage.happen(simulated(), &goes);
            if let Ok(Ok(())) = timeout(&env, patience, self.call(&env)).await {
                return;
            }
            sleep(&env, Duration::from_millis(pause_ms)).await;
            pause_ms = (2 * pause_ms).min(PAUSE_MS_MAX);
        }
    }

    /// One try: says what it wants, and waits until the store has let it in, or not.
    async fn call(&self, env: &SimEnv) -> io::Result<()> {
        let mut stream = env.connect(&format!("{STORE}:{PORT}")).await?;
        let Visit { key, token, reads } = &self.visit;
        let what = if *reads { 'r' } else { 'w' };
        let line = format!("{what} {token} {} {key}\n", self.id);
        stream.write_all(line.as_bytes()).await?;
        stream.read_u8().await?;
        Ok(())
    }
}
