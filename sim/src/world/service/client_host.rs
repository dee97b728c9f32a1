//! A host of clients: the shipped client, driven by the plan.

use super::{
    breaker::Breaker,
    env::SimEnv,
    host::{Host, simulated},
    http_caller::Caller,
    operator::Operator,
    reader::Reader,
    server_host::address_of,
    stage::{Busy, Phase, Stage, Worker},
    stranger,
    visit::Visitor,
    watcher,
};
use crate::{
    op::{OpClaim, OpWait, Text},
    oracle::service::{self as oracle, Call, Happening, News, Wanted, labels},
    plan::{Attempt, ClientPlan},
};
use lockwright_client::{
    AcquireRequest, CallError, Client, ClientConfig, Label, Lock, Lost, Notice, core::CoreUsage,
};
use lockwright_engine::{Claim, DurationMs, Name, Path, Wait};
use lockwright_env::Env as _;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// Runs the clients of a host until it dies. `start` counts the starts of the host.
pub(super) async fn run(stage: Arc<Stage>, host: usize, start: u32) -> turmoil::Result {
    let mut clients = JoinSet::new();
    for (index, plan) in stage.plan.clients.iter().enumerate() {
        if plan.host == host {
            clients.spawn(run_client(stage.clone(), index, start));
        }
    }
    for stranger in &stage.plan.strangers {
        if stranger.host == host && is_to_come(start, stranger.at_ms) {
            clients.spawn(stranger::run(stage.clone(), *stranger));
        }
    }
    for (index, attempt) in stage.plan.http.iter().enumerate() {
        if attempt.host == host && is_to_come(start, attempt.at_ms) {
            clients.spawn(Caller::new(&stage, index, start).run());
        }
    }
    for (index, plan) in stage.plan.watchers.iter().enumerate() {
        if plan.host == host && is_to_come(start, plan.at_ms) {
            clients.spawn(watcher::run(stage.clone(), index, start));
        }
    }
    for (index, plan) in stage.plan.breakers.iter().enumerate() {
        if plan.host == host && is_to_come(start, plan.at_ms) {
            clients.spawn(Breaker::new(&stage, index, start).run());
        }
    }
    let cluster = stage.plan.cluster.iter();
    for (index, plan) in cluster.flat_map(|one| &one.readers).enumerate() {
        if plan.host == host && is_to_come(start, plan.at_ms) {
            clients.spawn(Reader::new(&stage, index, plan, start).run());
        }
    }
    let operator = stage
        .plan
        .cluster
        .as_ref()
        .and_then(|one| one.operator.as_ref());
    if let Some(plan) = operator.filter(|plan| plan.host == host) {
        clients.spawn(Operator::new(&stage, plan, start).run());
    }
    while let Some(ended) = clients.join_next().await {
        ended?;
    }
    std::future::pending::<()>().await;
    Ok(())
}

/// Who starts again does not do again what its plan had before.
fn is_to_come(start: u32, at_ms: u64) -> bool {
    start == 1 || Duration::from_millis(at_ms) >= simulated()
}

/// One client: its attempts, and then the end of its session.
async fn run_client(stage: Arc<Stage>, index: usize, start: u32) {
    let plan = &stage.plan.clients[index];
    let host = stage.hosts[plan.host].clone();
    let busy = stage.busy(Worker::Client(index));
    let who = oracle::Client {
        index,
        host: plan.host,
    };
    let client = Client::connect(SimEnv::new(host.clone()), config(&stage, plan, who))
        .expect("the plan's settings were validated");
    let mut attempts = JoinSet::new();
    for (number, attempt) in plan.attempts.iter().enumerate() {
        if !is_to_come(start, attempt.at_ms) {
            continue;
        }
        let id = Text::from(format!("c{index}-{number}-{start}"));
        let one = One {
            // From now on, not only from its time on: a pause may hold it back until all has healed.
            _busy: stage.busy(Worker::Attempt(id.clone())),
            stage: stage.clone(),
            host: host.clone(),
            client: who,
            id,
        };
        attempts.spawn(one.run(client.clone(), plan.namespace.clone(), attempt.clone()));
    }
    let mut phase = stage.phase.subscribe();
    let closing = async {
        match plan.closes_at_ms.map(Duration::from_millis) {
            Some(at) if at > simulated() => host.sleep_until_simulated(at).await,
            // Nobody sends after the last phase, and the world outlives its programs.
            _ => drop(phase.wait_for(|phase| *phase >= Phase::Closing).await),
        }
    };
    // A session that is closed ends its attempts; in the last phase they are over already.
    closing.await;
    if *phase.borrow() >= Phase::Closing {
        let kept = still_in_hand(&client, &host, plan).await;
        if let Some(usage) = kept {
            stage.kept(simulated(), who, usage);
        }
    }
    stage.happen(simulated(), &Happening::Closing { client: who });
    let error = client.close().await.err().map(|error| error.to_string());
    stage.happen(simulated(), &Happening::Closed { client: who, error });
    while let Some(ended) = attempts.join_next().await {
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    drop(busy);
}

/// What an undisturbed client that has nothing to do keeps in hand; none if it lets go in time of
/// all that it had.
async fn still_in_hand(
    client: &Client<SimEnv>,
    host: &Host,
    plan: &ClientPlan,
) -> Option<CoreUsage> {
    const LOOK_AGAIN: Duration = Duration::from_millis(20);
    // Finding its way back to the server, with all the patience that it is allowed, and an answer.
    let patience = Duration::from_millis(4 * plan.call_timeout_ms + plan.abandon_ms + 1_000);
    let until = simulated() + patience;
    loop {
        let usage = client.usage().await?;
        if usage == CoreUsage::default() {
            return None;
        }
        if simulated() >= until {
            return Some(usage);
        }
        host.sleep_until_simulated(simulated() + LOOK_AGAIN).await;
    }
}

fn config(stage: &Stage, plan: &ClientPlan, client: oracle::Client) -> ClientConfig {
    let nodes = stage.nodes.len();
    // Each host has another node as its first.
    let order = (0..nodes).map(|place| (plan.host + place) % nodes);
    let addresses = order.map(|node| address_of(stage, node));
    let mut config = ClientConfig::with_addresses(addresses);
    config.namespace = Name::new(plan.namespace.clone()).expect("the plan was validated");
    config.abandon = DurationMs::new(plan.abandon_ms).expect("the plan was validated");
    config.keep_alive = Duration::from_millis(plan.keep_alive_ms);
    config.call_timeout = Duration::from_millis(plan.call_timeout_ms);
    config.reconnect_min = Duration::from_millis(5);
    config.reconnect_max = Duration::from_millis(200);
    config.label = labels::of_session(client).map(|label| named(&label));
    config
}

fn named(label: &str) -> Label {
    Label::new(label).expect("it is short and printable")
}

/// One attempt of a client.
struct One {
    _busy: Busy,
    stage: Arc<Stage>,
    host: Host,
    client: oracle::Client,
    id: Text,
}

impl One {
    async fn run(self, client: Client<SimEnv>, namespace: Text, attempt: Attempt) {
        self.host
            .sleep_until_simulated(Duration::from_millis(attempt.at_ms))
            .await;
        let wanted = Wanted {
            namespace,
            claims: attempt.claims.clone(),
            ttl: attempt.ttl_ms,
            wait: attempt.wait,
        };
        let (id, who) = (self.id.clone(), self.client);
        let namespace = wanted.namespace.clone();
        let asked = Happening::Asked {
            id,
            client: who,
            wanted,
        };
        self.happen(&asked);
        let mut lock = client.request(request(&self.id, &attempt));
        self.stage.believe(&self.id, who.host, lock.belief());
        let mut visits = JoinSet::new();
        if self.wait_for_grant(&mut lock, &attempt).await {
            for access in &attempt.accesses {
                let visitor = Visitor::new(&self.stage, &self.host, &namespace, access, &lock);
                visits.spawn(visitor.run());
            }
            self.hold(&mut lock, &attempt).await;
        }
        self.happen(&Happening::Left {
            id: self.id.clone(),
        });
        // Whoever is on its way to the store does not hear that the lock is over.
        while let Some(ended) = visits.join_next().await {
            if let Err(error) = ended {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }

    /// Waits until the request is granted; false when it is over instead.
    async fn wait_for_grant(&self, lock: &mut Lock<SimEnv>, attempt: &Attempt) -> bool {
        let mut gives_up = attempt.cancel_after_ms.map(|ms| self.in_local_ms(ms));
        loop {
            let notice = tokio::select! {
                biased;
                notice = lock.next() => notice,
                () = until(&self.host, gives_up) => {
                    gives_up = None;
                    self.call(Call::Cancel, lock.cancel()).await;
                    continue;
                }
            };
            let Some(notice) = notice else { return false };
            self.told(lock, &notice);
            match notice {
                Notice::Queued => {}
                Notice::Granted { .. } => return true,
                Notice::Refused(_) | Notice::Ended(_) | Notice::Lost(_) => return false,
            }
        }
    }

    /// Holds the lock for as long as the plan says, or as it lasts.
    async fn hold(&self, lock: &mut Lock<SimEnv>, attempt: &Attempt) {
        let releases = attempt.hold_ms.map(|ms| self.in_local_ms(ms));
        let mut renews = attempt.renew.map(|renew| self.in_local_ms(renew.every_ms));
        loop {
            tokio::select! {
                biased;
                notice = lock.next() => {
                    let Some(notice) = notice else { return };
                    self.told(lock, &notice);
                    if notice.is_last() {
                        return;
                    }
                }
                () = until(&self.host, releases) => {
                    self.call(Call::Release, lock.release()).await;
                    return self.hear_out(lock).await;
                }
                () = until(&self.host, renews) => {
                    let renew = attempt.renew.expect("it renews at some time");
                    let ttl = DurationMs::new(renew.ttl_ms).expect("the plan was validated");
                    let call = Call::Renew { ttl: renew.ttl_ms };
                    self.call(call, lock.renew(ttl)).await;
                    renews = Some(self.in_local_ms(renew.every_ms));
                }
            }
        }
    }

    /// Waits for the last notice: whatever a release came to, a lock that was held has an end, and
    /// its holder must be told of it.
    async fn hear_out(&self, lock: &mut Lock<SimEnv>) {
        while let Some(notice) = lock.next().await {
            self.told(lock, &notice);
        }
    }

    async fn call<T>(&self, call: Call, answer: impl Future<Output = Result<T, CallError>>) {
        let id = self.id.clone();
        self.happen(&Happening::Called { id, call });
        let error = answer.await.err().map(|error| error.to_string());
        let id = self.id.clone();
        self.happen(&Happening::Answered { id, call, error });
    }

    fn told(&self, lock: &Lock<SimEnv>, notice: &Notice) {
        assert!(
            !notice.is_last() || !lock.belief().holds(self.host.local()),
            "who is told that a lock is over does not believe in it any more"
        );
        self.happen(&Happening::Told {
            id: self.id.clone(),
            news: news_of(notice),
        });
    }

    fn happen(&self, happening: &Happening) {
        self.stage.happen(simulated(), happening);
    }

    /// The time on the host's clock in so many ms.
    fn in_local_ms(&self, ms: u64) -> Duration {
        self.host.local() + Duration::from_millis(ms)
    }
}

/// Waits for a time on the host's clock; for ever without one.
async fn until(host: &Host, at: Option<Duration>) {
    match at {
        Some(at) => SimEnv::new(host.clone()).sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn request(id: &Text, attempt: &Attempt) -> AcquireRequest {
    let claim = |claim: &OpClaim| {
        let path = Path::parse(claim.path.clone()).expect("the plan was validated");
        if claim.write {
            Claim::write(path)
        } else {
            Claim::read(path)
        }
    };
    let duration = |ms| DurationMs::new(ms).expect("the plan was validated");
    AcquireRequest {
        claims: attempt.claims.iter().map(claim).collect(),
        ttl: attempt.ttl_ms.map(duration),
        wait: match attempt.wait {
            OpWait::No => Wait::No,
            OpWait::For(ms) => Wait::For(duration(ms)),
            OpWait::Forever => Wait::Forever,
        },
        id: Some(Name::new(id.clone()).expect("it is short and printable")),
        label: labels::of_request(id).map(|label| named(&label)),
    }
}

fn news_of(notice: &Notice) -> News {
    match notice {
        Notice::Queued => News::Queued,
        Notice::Granted { token, .. } => News::Granted { token: token.0 },
        Notice::Refused(refused) => News::Refused {
            code: refused.code.as_str(),
        },
        Notice::Ended(reason) => News::Ended {
            reason: reason.as_str(),
        },
        Notice::Lost(lost) => News::Lost {
            why: lost.to_string(),
            gone: *lost == Lost::GoneMeanwhile,
            over: *lost == Lost::SessionOver,
        },
    }
}
