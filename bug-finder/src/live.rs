//! The hunt among real processes: `lockwright serve`, killed, stopped and cut off, with clients of
//! the library that ships. The simulator cannot run what is behind the `Env`: sockets, files, the
//! system's scheduler. What a run finds is real; it cannot be replayed, since nobody draws what the
//! machine does.
//!
//! A run is rounds: faults and work, then everything heals, and every queue must drain. Read
//! [`judge`] for what is held against the servers, and `faults` for what is done to them.

mod clients;
mod faults;
pub mod happening;
mod http;
pub mod judge;
mod link;
mod programs;
mod servers;
mod stage;
mod visitors;

use clients::Program;
use faults::Faults;
use happening::Who;
use judge::Broken;
use link::{Link, Proxy};
use lockwright_client::Client;
use lockwright_env::{TokioEnv, sleep};
use programs::{draw, ms};
use servers::{Servers, Setup};
pub use stage::Counts;
use stage::{Phase, Stage};
use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use visitors::Visitor;

/// How long a queue may take to drain once all faults are over: a client finds its way back, a
/// session that was left ends, a lease runs out; and the machine may be busy with other things.
const DRAIN: Duration = Duration::from_secs(30);

/// How a run is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary `lockwright`.
    pub program: PathBuf,
    /// How many servers; one, or a cluster.
    pub nodes: usize,
    /// How many clients.
    pub clients: usize,
    /// What programs and faults are drawn from.
    pub seed: u64,
    /// How long faults and work go on, in all.
    pub span: Duration,
    /// An empty directory for data and logs.
    pub dir: PathBuf,
    /// Whether a server that is started again has lost its data: to see that found.
    pub forgetful: bool,
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// What was done.
    pub counts: Counts,
    /// The rule that was broken, and when.
    pub violation: Option<(Duration, Broken)>,
    /// Everything that happened, a line each.
    pub story: String,
    /// Whether it was asked to end before its time.
    pub interrupted: bool,
}

/// Runs servers and clients for a while. `interrupted` is asked now and then.
///
/// # Errors
/// When no runtime, no port or no server can be had.
pub fn run(options: &Options, interrupted: impl Fn() -> bool + 'static) -> io::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, hunt(options, interrupted))
}

async fn hunt(options: &Options, interrupted: impl Fn() -> bool + 'static) -> io::Result<Report> {
    let stage = Rc::new(Stage::new());
    let servers = Servers::start(Setup {
        program: options.program.clone(),
        nodes: options.nodes,
        dir: options.dir.clone(),
        forgetful: options.forgetful,
    })
    .await?;
    let world = World::new(options, stage.clone(), servers.clone()).await?;
    let stopped = watch(stage.clone(), servers.clone(), interrupted);
    let addresses = world.direct();
    spawn_local(visitors::audit(
        stage.clone(),
        addresses,
        draw(options.seed, 1),
    ));
    let mut chances = draw(options.seed, 2);
    let mut round = 0;
    while stage.now() < options.span && stage.phase() != Phase::Over {
        let left = options.span.saturating_sub(stage.now());
        let span = ms(chances.between(3_000, 12_000)).min(left);
        world.round(round, span).await;
        round += 1;
    }
    stage.enter(Phase::Over);
    let interrupted = stopped.await.unwrap_or(false);
    for node in &servers.nodes {
        node.kill();
    }
    Ok(Report {
        counts: stage.counts(),
        violation: stage.violation(),
        story: stage.story(),
        interrupted,
    })
}

/// Looks after the servers, and whether the run is to end.
fn watch(
    stage: Rc<Stage>,
    servers: Rc<Servers>,
    interrupted: impl Fn() -> bool + 'static,
) -> JoinHandle<bool> {
    const PERIOD: Duration = Duration::from_millis(50);
    const HELD_UP: Duration = Duration::from_millis(500);
    spawn_local(async move {
        let mut looked = stage.now();
        while stage.phase() != Phase::Over {
            let since = stage.now().saturating_sub(looked);
            looked = stage.now();
            if since > HELD_UP {
                stage.fault(format!("this process was held up: it slept for {since:?}"));
            }
            servers.look(&stage);
            if interrupted() {
                stage.enter(Phase::Over);
                return true;
            }
            stage.wait(PERIOD, Phase::Over).await;
        }
        false
    })
}

/// What stays the same from round to round.
struct World {
    seed: u64,
    stage: Rc<Stage>,
    servers: Rc<Servers>,
    /// Where each client reaches each server, and over which link.
    clients: Vec<(Vec<String>, Vec<Link>)>,
    /// Sessions that were not closed in time, and may last.
    unclosed: Cell<usize>,
}

impl World {
    async fn new(options: &Options, stage: Rc<Stage>, servers: Rc<Servers>) -> io::Result<World> {
        let mut clients = Vec::new();
        for _ in 0..options.clients {
            let (mut addresses, mut links) = (Vec::new(), Vec::new());
            for node in &servers.nodes {
                let link = Link::new();
                links.push(link.clone());
                let proxy = Proxy::of_link(node.address.clone(), link);
                addresses.push(proxy.await?.address);
            }
            clients.push((addresses, links));
        }
        Ok(World {
            seed: options.seed,
            stage,
            servers,
            clients,
            unclosed: Cell::new(0),
        })
    }

    /// Where the servers are without a link between.
    fn direct(&self) -> Vec<String> {
        let nodes = self.servers.nodes.iter();
        nodes.map(|node| node.address.clone()).collect()
    }

    /// Work and faults for a while, and then calm.
    async fn round(&self, round: u64, span: Duration) {
        self.stage.fault(format!("round {round} begins"));
        self.stage.enter(Phase::Work);
        let chances = |who: u64| draw(self.seed, (round + 1) * 1_000 + who);
        let faults = spawn_local(
            Faults {
                stage: self.stage.clone(),
                servers: self.servers.clone(),
                clients: self
                    .clients
                    .iter()
                    .map(|(_, links)| links.clone())
                    .collect(),
                draw: chances(0),
            }
            .run(),
        );
        let mut programs = Vec::new();
        for (index, (addresses, _)) in self.clients.iter().enumerate() {
            let program = Program {
                stage: self.stage.clone(),
                who: match index % 3 {
                    2 => Who::Hasty(index),
                    _ => Who::Steady(index),
                },
                addresses: addresses.clone(),
                draw: chances(100 + index as u64),
            };
            programs.push(spawn_local(program.run()));
        }
        let mut visitors = Vec::new();
        for number in 0..3 {
            let visitor = Visitor {
                stage: self.stage.clone(),
                number,
                addresses: self.direct(),
                draw: chances(500 + number as u64),
            };
            visitors.push(spawn_local(visitor.run()));
        }
        self.stage.wait(span, Phase::Over).await;
        self.stage.enter(Phase::Settle);
        expect(faults).await;
        self.stage.fault("all faults are over".to_owned());
        self.calm(programs, visitors).await;
    }

    /// Every queue drains, sessions are closed, and nothing is left.
    async fn calm(
        &self,
        programs: Vec<JoinHandle<Client<TokioEnv>>>,
        visitors: Vec<JoinHandle<()>>,
    ) {
        let drained = within_drain(async {
            let mut clients = Vec::new();
            for program in programs {
                clients.push(expect(program).await);
            }
            for visitor in visitors {
                expect(visitor).await;
            }
            clients
        });
        let Some(clients) = drained.await else {
            return self.stuck("these requests are neither granted nor over");
        };
        if self.stage.phase() == Phase::Over {
            return;
        }
        let unclosed = self.unclosed.get() + clients::close(clients).await;
        self.unclosed.set(unclosed);
        if within_drain(self.emptied()).await.is_none() {
            return self.stuck("all sessions were closed, and a list still shows some, or locks");
        }
        if self.stage.phase() != Phase::Over {
            self.stage.count(|counts| counts.calms += 1);
        }
    }

    /// Waits until nothing is left, whichever server is asked.
    async fn emptied(&self) {
        for address in self.direct() {
            while self.stage.phase() != Phase::Over {
                let locks = visitors::list(&self.stage, &address).await;
                let sessions = visitors::sessions(&address).await;
                let closed = sessions.is_some_and(|open| open <= self.unclosed.get());
                if locks == Some(0) && closed {
                    break;
                }
                self.stage.wait(ms(50), Phase::Over).await;
            }
        }
    }

    fn stuck(&self, what: &str) {
        if self.stage.phase() == Phase::Over {
            return;
        }
        let left = self.stage.unfinished();
        self.stage.break_off(Broken {
            rule: "liveness (SEMANTICS 7.6)",
            message: format!(
                "{DRAIN:?} after all faults were over {what}: {}",
                left.join("; ")
            ),
        });
    }
}

/// What comes within [`DRAIN`]. The time in which this process was held up itself does not count: then
/// neither did the links carry anything.
async fn within_drain<T>(coming: impl Future<Output = T>) -> Option<T> {
    const STEP: Duration = Duration::from_millis(50);
    let steps = DRAIN.as_millis() / STEP.as_millis();
    let patience = async {
        for _ in 0..steps {
            sleep(&TokioEnv, STEP).await;
        }
    };
    tokio::select! {
        biased;
        come = coming => Some(come),
        () = patience => None,
    }
}

/// What a task gives; its panic is ours.
async fn expect<T>(task: JoinHandle<T>) -> T {
    match task.await {
        Ok(given) => given,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
