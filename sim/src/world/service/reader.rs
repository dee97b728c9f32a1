//! Somebody who looks at what is locked, over HTTP, at one node.

use super::{
    env::SimEnv,
    host::simulated,
    http_wire::{self, Question},
    server_host::address_of,
    stage::{Busy, Stage, Worker},
};
use crate::{op::Text, oracle::service::Happening, plan::ReaderPlan};
use lockwright_env::{Env as _, timeout};
use std::{io, sync::Arc, time::Duration};

/// An answer that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// The token and the label of a lock.
type Seen = (u64, Option<Text>);

/// A reader of the plan.
pub(super) struct Reader {
    stage: Arc<Stage>,
    plan: ReaderPlan,
    name: String,
    _busy: Busy,
}

impl Reader {
    /// The reader with this index, on a host in its life number `start`.
    pub(super) fn new(stage: &Arc<Stage>, index: usize, plan: &ReaderPlan, start: u32) -> Reader {
        let name = format!("look{index}-{start}");
        Reader {
            stage: stage.clone(),
            plan: plan.clone(),
            _busy: stage.busy(Worker::Attempt(Text::from(name.as_str()))),
            name,
        }
    }

    /// Looks as often as the plan says. When an answer takes so long that the next look is due before
    /// it, that one is left out.
    pub(super) async fn run(self) {
        let host = self.stage.hosts[self.plan.host].clone();
        let env = SimEnv::new(host.clone());
        for number in 0..self.plan.times {
            let at_ms = self.plan.at_ms + u64::from(number) * self.plan.every_ms;
            if simulated() >= Duration::from_millis(at_ms + self.plan.every_ms) {
                continue;
            }
            host.sleep_until_simulated(Duration::from_millis(at_ms))
                .await;
            let look = Text::from(format!("{}-{number}", self.name));
            // Without an answer nothing was seen.
            let looked = timeout(&env, PATIENCE, self.look(&env, &look)).await;
            if let Ok(Ok(Some(locks))) = looked {
                let tokens = locks.iter().map(|(token, _)| *token).collect();
                let looked = Happening::Looked {
                    look: look.clone(),
                    namespace: self.plan.namespace.clone(),
                    tokens,
                };
                self.stage.happen(simulated(), &looked);
                for (token, label) in locks {
                    let look = look.clone();
                    let seen = Happening::LabelSeen { look, token, label };
                    self.stage.happen(simulated(), &seen);
                }
            }
        }
    }

    /// The tokens and labels of all that is held; none when the node cannot say.
    async fn look(&self, env: &SimEnv, look: &Text) -> io::Result<Option<Vec<Seen>>> {
        let node = self.plan.node % self.stage.nodes.len();
        let mut stream = env.connect(&address_of(&self.stage, node)).await?;
        let asked = Happening::LookAsked { look: look.clone() };
        self.stage.happen(simulated(), &asked);
        let namespace = &self.plan.namespace;
        let question = Question {
            method: "GET",
            target: format!("/v1/locks?limit=1000&state=held&namespace={namespace}"),
            body: None,
            headers: String::new(),
        };
        let answer = http_wire::ask(&mut stream, &question).await?;
        let locks = answer.body["locks"].as_array();
        let (Some(locks), 200) = (locks, answer.status) else {
            return Ok(None);
        };
        // A page that is not all there is says nothing about the rest.
        if !answer.body["next_cursor"].is_null() {
            return Ok(None);
        }
        let seen = locks.iter().filter_map(|lock| {
            let label = lock["label"].as_str().map(Text::from);
            Some((lock["token"].as_u64()?, label))
        });
        Ok(Some(seen.collect()))
    }
}
