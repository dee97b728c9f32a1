//! The world of profile `service`: the shipped server and clients on simulated hosts, a network
//! and clocks with faults, and what judges them. In profile `fencing` there is a store, too; in profile
//! `cluster` there are several servers that are one.
//!
//! The run has two phases. In the first, clients follow the plan and faults strike. Then everything
//! heals: whatever is under way must come to its end, the clients close their sessions, and when
//! every timeout has passed the server must have nothing left.

mod applied;
mod breaker;
mod client_host;
mod clock;
mod disk;
mod env;
mod host;
mod http_caller;
mod http_wire;
mod judged_time;
mod network;
mod operator;
mod reader;
mod replicas;
mod seen;
mod server_host;
mod stage;
mod store_host;
mod stranger;
#[cfg(test)]
mod tests;
mod visit;
mod watched;
mod watcher;

use crate::{
    crash_report, entropy,
    oracle::{
        no_panic,
        service::{Happening, in_ms, liveness},
    },
    outcome::{HistoryHash, Outcome},
    plan::{
        BreakerPlan, ClusterFaultKind, ClusterPlan, DiskPlan, FaultKind, HttpAttempt, Panicked,
        Place, RunOptions, ServicePlan, StoreFaultKind, Who, catch_first_panic,
    },
};
use network::{Machine, Network};
use stage::{Finished, Phase, Stage};
use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use turmoil::Sim;

const TICK: Duration = Duration::from_millis(1);

/// So often the servers are asked what is left, when something came late.
const ROUNDS_MAX: u32 = 4;

/// Runs a plan.
///
/// # Panics
/// When the plan is not [valid](ServicePlan::validate): who reads a plan validates it.
pub(crate) fn run(plan: &ServicePlan, options: RunOptions) -> Outcome {
    if let Err(error) = plan.validate() {
        panic!("a plan that cannot be run: {error}");
    }
    let stage = Stage::new(plan.clone(), options.keep_history);
    run_with_server(&stage, server_host::run)
}

/// Runs the plan of a stage, with this program on the server's host.
fn run_with_server<P>(
    stage: &Arc<Stage>,
    program: impl Fn(Arc<Stage>, usize) -> P + Clone + 'static,
) -> Outcome
where
    P: Future<Output = turmoil::Result> + 'static,
{
    let _seeded = Seeded::new(stage.plan.seed);
    let mut elapsed = Duration::ZERO;
    let of_panic = stage.clone();
    let played = catch_first_panic(
        move |panic| at_panic(&of_panic, panic),
        || World::with_server(stage, program).play(&mut elapsed),
    );
    if let Err(panic) = played {
        stage.found(no_panic::violation(in_ms(elapsed), &panic));
    }
    outcome(stage.finish(), in_ms(elapsed))
}

fn outcome(finished: Finished, simulated_ms: u64) -> Outcome {
    Outcome {
        history_hash: finished.history.hash(),
        commands: finished.operations,
        simulated_ms,
        violation: finished.violation,
        history: finished.history.into_text(),
    }
}

/// What a run comes to that ends where it panics.
fn at_panic(stage: &Stage, panic: &Panicked) -> Outcome {
    let report = crash_report::so_far().unwrap_or_default();
    let violation = no_panic::violation(report.at_ms, panic);
    if !stage.is_taking_down() {
        stage.found(violation);
        return outcome(stage.finish(), report.at_ms);
    }
    // An oracle has panicked, or what takes down the history: what it has now is only half of it.
    Outcome {
        history_hash: HistoryHash::default(),
        commands: 0,
        simulated_ms: report.at_ms,
        violation: Some(violation),
        history: Some(report.events),
    }
}

/// While it lives, the randomness that programs ask the system for is a function of a seed.
struct Seeded;

impl Seeded {
    fn new(seed: u64) -> Seeded {
        entropy::seed(seed);
        Seeded
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        entropy::release();
    }
}

/// A fault's beginning or end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    Begins { until_ms: u64 },
    Ends,
}

/// What goes wrong, and where.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// With the server, the clients, or between them.
    Service(FaultKind),
    /// With the store.
    Store(StoreFaultKind),
    /// With the nodes of a cluster: the fault with this index.
    Cluster(usize),
}

struct World<'a> {
    stage: Arc<Stage>,
    sim: Sim<'a>,
    network: Network,
    /// What begins and ends when, in ms; the last is over when the first phase is.
    edges: Vec<(u64, Edge, Trouble)>,
    next_edge: usize,
    /// How many crashes each machine suffers from now.
    crashes: BTreeMap<Machine, u32>,
    /// Which node each fault struck that asked for the leader.
    struck: BTreeMap<usize, usize>,
}

impl World<'_> {
    /// A world with this program on the server's host.
    fn with_server<P>(
        stage: &Arc<Stage>,
        program: impl Fn(Arc<Stage>, usize) -> P + Clone + 'static,
    ) -> World<'static>
    where
        P: Future<Output = turmoil::Result> + 'static,
    {
        let plan = &stage.plan;
        let mut sim = turmoil::Builder::new()
            .rng_seed(plan.seed)
            .epoch(UNIX_EPOCH)
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(1 << 32))
            .min_message_latency(Duration::from_millis(plan.latency.min_ms))
            .max_message_latency(Duration::from_millis(plan.latency.max_ms))
            .tcp_capacity(1 << 16)
            .build();
        sim.set_message_latency_curve(f64::from(plan.latency.curve_tenths) / 10.0);
        for (index, node) in stage.nodes.iter().enumerate() {
            let (stage, program) = (stage.clone(), program.clone());
            sim.host(node.name.as_str(), move || program(stage.clone(), index));
        }
        if plan.store.is_some() {
            let stage = stage.clone();
            let name = Machine::Store.name(plan);
            sim.host(name, move || store_host::run(stage.clone()));
        }
        for host in 0..plan.hosts.len() {
            let stage = stage.clone();
            let starts = Cell::new(0);
            sim.host(Machine::Host(host).name(plan), move || {
                starts.set(starts.get() + 1);
                client_host::run(stage.clone(), host, starts.get())
            });
        }
        World {
            stage: stage.clone(),
            sim,
            network: Network::new(plan.latency.max_ms),
            edges: edges(plan),
            next_edge: 0,
            crashes: BTreeMap::new(),
            struck: BTreeMap::new(),
        }
    }

    /// Plays both phases; `elapsed` is kept at the simulated time, for whoever catches a panic.
    fn play(&mut self, elapsed: &mut Duration) {
        let active = Duration::from_millis(self.stage.plan.active_ms);
        while self.sim.elapsed() < active {
            self.strike(in_ms(self.sim.elapsed()));
            if !self.step(elapsed) {
                return;
            }
        }
        self.strike(u64::MAX);
        self.happen(&Happening::Healed);
        let settled = self.settle(elapsed, Stage::is_settled);
        if !settled {
            return;
        }
        self.stage.phase.send_replace(Phase::Closing);
        if !self.settle(elapsed, Stage::is_idle) {
            return;
        }
        for round in 0..ROUNDS_MAX {
            if !self.wait_until_forgotten(elapsed) {
                return;
            }
            let asked = self.sim.elapsed();
            self.stage.phase.send_replace(Phase::Reporting);
            // A change of the nodes is finished, too, though the operator may have gone long ago.
            let is_done = |stage: &Stage| stage.usage().is_some() && stage.half_changed().is_none();
            if !self.settle(elapsed, is_done) {
                return;
            }
            // What a node still had on its way may have come to the engine meanwhile: then that has to
            // be forgotten, too.
            let is_late = self.stage.last_command() > asked.saturating_sub(self.remembering());
            if round + 1 == ROUNDS_MAX || !is_late || self.left_over().is_none() {
                return self.nothing_is_left();
            }
            self.stage.phase.send_replace(Phase::Forgetting);
            self.stage.forget_usage();
        }
    }

    /// Lets everything be forgotten; false when the run is over, because a rule was broken.
    fn wait_until_forgotten(&mut self, elapsed: &mut Duration) -> bool {
        let from = self.sim.elapsed();
        // No longer than this, whatever still comes: then what is left says so.
        let latest = from + ROUNDS_MAX * self.forgetting();
        let mut quiet_since = None;
        loop {
            let last = from.max(self.stage.last_command());
            // Nodes of a cluster may take long to find to each other, and then nothing more is to be
            // waited for: without sessions and requests, it is what is remembered of them.
            let is_quiet = self.stage.plan.cluster.is_some() && self.stage.is_quiet();
            quiet_since = is_quiet.then(|| quiet_since.unwrap_or(self.sim.elapsed()));
            let forgotten = last + self.forgetting();
            let until = quiet_since.map_or(forgotten, |since: Duration| {
                forgotten.min(last.max(since) + self.remembering())
            });
            if self.sim.elapsed() >= until.min(latest) {
                return true;
            }
            if !self.step(elapsed) {
                return false;
            }
        }
    }

    /// One tick; false when the run is over, because a rule was broken.
    fn step(&mut self, elapsed: &mut Duration) -> bool {
        *elapsed = self.sim.elapsed();
        crash_report::at(in_ms(*elapsed));
        self.replace_disks();
        if let Err(error) = self.sim.step() {
            panic!("a simulated program gave up: {error}");
        }
        *elapsed = self.sim.elapsed();
        !self.stage.has_violation()
    }

    /// Goes on until `done`; false when the run is over, because a rule was broken.
    fn settle(&mut self, elapsed: &mut Duration, done: impl Fn(&Stage) -> bool) -> bool {
        let patience = self.patience();
        let from = self.sim.elapsed();
        while !done(&self.stage) {
            if !self.step(elapsed) {
                return false;
            }
            let still_for = self
                .sim
                .elapsed()
                .saturating_sub(self.stage.last_progress().max(from));
            if still_for > patience {
                let waiting = self.stage.waiting(self.sim.elapsed());
                self.stage
                    .found(liveness::stalled(self.sim.elapsed(), still_for, &waiting));
                return false;
            }
        }
        true
    }

    /// For how long nothing may happen while somebody waits: longer than every timer of the plan.
    fn patience(&self) -> Duration {
        let plan = &self.stage.plan;
        let clients = plan.clients.iter();
        let timers = clients
            .clone()
            .map(|client| client.abandon_ms + 4 * client.call_timeout_ms);
        let attempts = clients.flat_map(|client| &client.attempts).map(|attempt| {
            let wait = match attempt.wait {
                crate::op::OpWait::For(ms) => ms,
                _ => 0,
            };
            let renewed = attempt
                .renew
                .map_or(0, |renew| renew.ttl_ms + renew.every_ms);
            let held = attempt
                .hold_ms
                .unwrap_or(0)
                .max(attempt.ttl_ms.unwrap_or(0))
                .max(renewed);
            held + wait + attempt.cancel_after_ms.unwrap_or(0)
        });
        let http = plan.http.iter().map(HttpAttempt::longest_ms);
        let breakers = plan.breakers.iter().map(BreakerPlan::longest_ms);
        let longest = timers.max().unwrap_or(0)
            + attempts.max().unwrap_or(0)
            + http.max().unwrap_or(0)
            + breakers.max().unwrap_or(0);
        let idle_ms = plan.server.idle_timeout_ms + 2 * plan.drain_ms();
        let disks_ms = self.disk_ms() + self.store_disk_ms();
        let cluster = plan.cluster.as_ref();
        let recovery_ms = cluster.map_or(0, ClusterPlan::recovery_ms);
        Duration::from_millis(longest + self.visit_ms() + idle_ms + 3_000 + disks_ms + recovery_ms)
    }

    /// After this long nothing is remembered any more of what is over, and connections are given up.
    fn remembering(&self) -> Duration {
        let plan = &self.stage.plan;
        let retention = plan.server.limits.to_limits().retention.as_ms();
        let longest = retention + 2 * plan.server.idle_timeout_ms;
        Duration::from_millis(longest + longest / 100 + 1_000)
    }

    /// After this long nothing is remembered any more, and sessions of dead clients have ended.
    fn forgetting(&self) -> Duration {
        let plan = &self.stage.plan;
        let abandon = plan
            .clients
            .iter()
            .map(|client| client.abandon_ms)
            .max()
            .unwrap_or(0);
        let retention = plan.server.limits.to_limits().retention.as_ms();
        let cluster = plan.cluster.as_ref();
        let recovery = cluster.map_or(0, ClusterPlan::recovery_ms);
        // A connection whose greeting was not answered yet is given as long again.
        let idle = 2 * plan.server.idle_timeout_ms;
        // What a caller over HTTP was granted as it hung up, which the server could not know, lasts as long as
        // its lease.
        let lease = plan.http.iter().map(HttpAttempt::longest_lease_ms).max();
        let ends = self.ends_ms();
        let longest =
            retention + abandon + idle + lease.unwrap_or(0) + ends + self.disk_ms() + recovery;
        // A slow clock takes longer.
        Duration::from_millis(longest + longest / 100 + 1_000)
    }

    /// For how long the end of a session may go on, in ms: so many of its requests go in each, those that live
    /// and those that it remembers.
    fn ends_ms(&self) -> u64 {
        let plan = &self.stage.plan;
        let each = plan.clients.iter().map(|client| client.attempts.len());
        let most = u64::try_from(each.max().unwrap_or(0)).unwrap_or(u64::MAX);
        let limits = plan.server.limits.to_limits();
        most.div_ceil(limits.session_ends_per_ms.get().into())
    }

    /// For how long the disk may hold up whoever waits when all faults are over, in ms: syncs that
    /// a slowdown made longer, one after the other, and the start of a server.
    fn disk_ms(&self) -> u64 {
        if let Some(cluster) = &self.stage.plan.cluster {
            return 40 * (cluster.slowed_ms() + cluster.sync_ms_max());
        }
        let slow = self.stage.plan.faults.iter().map(|fault| match fault.kind {
            FaultKind::DiskSlow { by_ms } => by_ms,
            _ => 0,
        });
        let disk = self.stage.plan.server.disk;
        20 * (slow.sum::<u64>() + disk.map_or(0, DiskPlan::sync_ms_max))
    }

    /// As [`disk_ms`](World::disk_ms), of the store.
    fn store_disk_ms(&self) -> u64 {
        self.stage.plan.store.as_ref().map_or(0, |store| {
            let slow = store.faults.iter().map(|fault| match fault.kind {
                StoreFaultKind::DiskSlow { by_ms } => by_ms,
                _ => 0,
            });
            20 * (slow.sum::<u64>() + store.disk().sync_ms_max())
        })
    }

    /// How long a holder may take until it has been to the store, once that answers, in ms.
    fn visit_ms(&self) -> u64 {
        let plan = &self.stage.plan;
        let attempts = plan.clients.iter().flat_map(|client| &client.attempts);
        let accesses = attempts.flat_map(|attempt| &attempt.accesses);
        let longest = accesses.map(|access| access.after_ms + access.think_ms);
        let tries = plan.store.as_ref();
        let tries_ms = tries.map_or(0, |store| 4 * store.call_timeout_ms + visit::PAUSE_MS_MAX);
        longest.max().unwrap_or(0) + tries_ms
    }

    /// The first server that has something in hand, by what all have said.
    fn left_over(&self) -> Option<(usize, lockwright_server::Usage)> {
        let usages = self.stage.usage().expect("the servers have reported");
        let mut usages = usages.into_iter();
        usages.find(|(_, usage)| *usage != lockwright_server::Usage::default())
    }

    fn nothing_is_left(&self) {
        if let Some((node, usage)) = self.left_over() {
            let now = self.sim.elapsed();
            let node = &self.stage.nodes[node];
            let usage = match self.stage.plan.cluster {
                Some(_) => format!("{usage:?}, at {}", node.name),
                None => format!("{usage:?}"),
            };
            self.stage.found(liveness::left_over(now, &usage));
        }
    }

    /// Lets all faults begin and end that are due at `now_ms`.
    fn strike(&mut self, now_ms: u64) {
        while let Some((at_ms, edge, trouble)) = self.edges.get(self.next_edge).copied() {
            if at_ms > now_ms {
                break;
            }
            self.next_edge += 1;
            let what = match trouble {
                Trouble::Service(kind) => format!("{kind:?}"),
                Trouble::Store(kind) => format!("store: {kind:?}"),
                Trouble::Cluster(index) => self.what_strikes(index, edge),
            };
            let what = match edge {
                Edge::Begins { .. } => format!("{what} begins"),
                Edge::Ends => format!("{what} ends"),
            };
            self.happen(&Happening::Fault { what });
            match (edge, trouble) {
                (Edge::Begins { until_ms }, Trouble::Service(kind)) => {
                    self.begin(kind, Duration::from_millis(until_ms));
                }
                (Edge::Begins { until_ms }, Trouble::Store(kind)) => {
                    self.begin_in_store(kind, Duration::from_millis(until_ms));
                }
                (Edge::Ends, Trouble::Service(kind)) => self.end(kind),
                (Edge::Ends, Trouble::Store(kind)) => self.end_in_store(kind),
                (Edge::Begins { until_ms }, Trouble::Cluster(index)) => {
                    let until = Duration::from_millis(until_ms);
                    self.change_in_cluster(index, Some(until));
                }
                (Edge::Ends, Trouble::Cluster(index)) => self.change_in_cluster(index, None),
            }
        }
    }

    /// A fault of the cluster, with the node that it strikes.
    fn what_strikes(&mut self, index: usize, edge: Edge) -> String {
        let kind = self.cluster_fault(index);
        let text = format!("{kind:?}");
        if kind.who() != Some(Who::Leader) {
            return text;
        }
        if edge != Edge::Ends {
            self.struck.insert(index, self.stage.latest_leader());
        }
        format!("{text} at {}", self.stage.nodes[self.struck[&index]].name)
    }

    fn cluster_fault(&self, index: usize) -> ClusterFaultKind {
        let cluster = self.stage.plan.cluster.as_ref();
        let cluster = cluster.expect("only a plan with nodes has faults of them");
        cluster.faults[index].kind.clone()
    }

    /// A fault of the cluster begins, until then, or ends.
    fn change_in_cluster(&mut self, index: usize, until: Option<Duration>) {
        let plan = self.stage.plan.clone();
        let kind = self.cluster_fault(index);
        let begins = until.is_some();
        let struck = match kind.who() {
            Some(Who::Node(node)) => node,
            Some(Who::Leader) => self.struck[&index],
            None => 0,
        };
        if begins && kind.who().is_some() {
            let (fault, node) = (index, struck);
            self.happen(&Happening::Struck { fault, node });
        }
        let host = &self.stage.nodes[struck].host;
        let machine = Machine::Node(struck);
        match kind {
            ClusterFaultKind::Cut { ways } => {
                let ways = ways.iter().map(|way| (way.from.into(), way.to.into()));
                let ways: Vec<_> = ways.collect();
                self.network.cut(&self.sim, &plan, &ways, begins);
            }
            ClusterFaultKind::Isolate { to, from, .. } => {
                let ways = self.ways_of_node(struck, to, from);
                self.network.cut(&self.sim, &plan, &ways, begins);
            }
            ClusterFaultKind::Hold { a, b } => {
                let link = (a.into(), b.into());
                self.network.hold(&self.sim, &plan, link, begins);
            }
            ClusterFaultKind::Slow { a, b, max_ms } => {
                let link = (a.into(), b.into());
                self.network.slow(&self.sim, &plan, link, max_ms, begins);
            }
            ClusterFaultKind::Reset { .. } if begins => host.reset_connections(),
            ClusterFaultKind::Reset { .. } => {}
            // A pause knows its end.
            ClusterFaultKind::Pause { .. } => until.into_iter().for_each(|at| host.pause_until(at)),
            ClusterFaultKind::Crash { .. } if begins => {
                self.disk(struck).kill(self.sim.elapsed());
                self.crash(machine);
            }
            ClusterFaultKind::Restart { .. } => {
                let stops = &self.stage.nodes[struck].stops;
                stops.send_modify(|stops| *stops = if begins { *stops + 1 } else { *stops - 1 });
            }
            ClusterFaultKind::PowerLoss { .. } => {
                self.lose_power(struck, begins);
                if begins {
                    self.crash(machine);
                } else {
                    self.start_again(machine);
                }
            }
            ClusterFaultKind::Crash { .. } => self.start_again(machine),
            ClusterFaultKind::DiskFull { .. } => self.disk(struck).fill(begins),
            ClusterFaultKind::DiskFails { .. } => self.disk(struck).fail(begins),
            ClusterFaultKind::DiskSlow { by_ms, .. } => self.disk(struck).slow(by_ms, begins),
        }
    }

    /// The ways between a node and the others.
    fn ways_of_node(&self, node: usize, to: bool, from: bool) -> Vec<(Machine, Machine)> {
        let others = (0..self.stage.nodes.len()).filter(|other| *other != node);
        let node = Machine::Node(node);
        others
            .map(Machine::Node)
            .flat_map(|other| [to.then_some((other, node)), from.then_some((node, other))])
            .flatten()
            .collect()
    }

    /// Nobody hears of it: what a killed program's system would still have said is lost.
    fn lose_power(&mut self, node: usize, begins: bool) {
        let plan = self.stage.plan.clone();
        let machine = Machine::Node(node);
        let mut ways = self.ways_of_node(node, true, true);
        for host in (0..plan.hosts.len()).map(Machine::Host) {
            ways.extend([(host, machine), (machine, host)]);
        }
        self.network.cut(&self.sim, &plan, &ways, begins);
        if begins && let Some(disk) = &self.stage.nodes[node].disk {
            disk.lose_power(self.sim.elapsed());
        }
    }

    fn store(&self) -> &stage::Store {
        let store = self.stage.store.as_ref();
        store.expect("only a plan with a store has faults of it")
    }

    fn begin_in_store(&mut self, kind: StoreFaultKind, until: Duration) {
        if let Some(of_links) = kind.of_the_links() {
            self.change_links(of_links, &[Machine::Store], true);
        }
        match kind {
            StoreFaultKind::Cut { .. }
            | StoreFaultKind::Hold { .. }
            | StoreFaultKind::Slow { .. } => {}
            StoreFaultKind::Reset => self.store().host.reset_connections(),
            StoreFaultKind::Pause => self.store().host.pause_until(until),
            StoreFaultKind::Crash => {
                self.store().disk.kill(self.sim.elapsed());
                self.crash(Machine::Store);
            }
            StoreFaultKind::PowerLoss => {
                self.store().disk.lose_power(self.sim.elapsed());
                self.crash(Machine::Store);
            }
            StoreFaultKind::DiskFull => self.store().disk.fill(true),
            StoreFaultKind::DiskFails => self.store().disk.fail(true),
            StoreFaultKind::DiskSlow { by_ms } => self.store().disk.slow(by_ms, true),
        }
    }

    fn end_in_store(&mut self, kind: StoreFaultKind) {
        if let Some(of_links) = kind.of_the_links() {
            self.change_links(of_links, &[Machine::Store], false);
        }
        match kind {
            StoreFaultKind::Crash | StoreFaultKind::PowerLoss => self.start_again(Machine::Store),
            StoreFaultKind::DiskFull => self.store().disk.fill(false),
            StoreFaultKind::DiskFails => self.store().disk.fail(false),
            StoreFaultKind::DiskSlow { by_ms } => self.store().disk.slow(by_ms, false),
            StoreFaultKind::Cut { .. }
            | StoreFaultKind::Hold { .. }
            | StoreFaultKind::Slow { .. }
            | StoreFaultKind::Reset
            | StoreFaultKind::Pause => {}
        }
    }

    /// A fault of the links between a clients' host and these machines begins or ends.
    fn change_links(&mut self, kind: FaultKind, to: &[Machine], begins: bool) {
        let plan = self.stage.plan.clone();
        for machine in to.iter().copied() {
            match kind {
                FaultKind::Cut {
                    host,
                    to_server,
                    from_server,
                } => {
                    let host = Machine::Host(host);
                    let ways = [
                        to_server.then_some((host, machine)),
                        from_server.then_some((machine, host)),
                    ];
                    let ways: Vec<_> = ways.into_iter().flatten().collect();
                    self.network.cut(&self.sim, &plan, &ways, begins);
                }
                FaultKind::Hold { host } => {
                    let link = (Machine::Host(host), machine);
                    self.network.hold(&self.sim, &plan, link, begins);
                }
                FaultKind::Slow { host, max_ms } => {
                    let link = (Machine::Host(host), machine);
                    self.network.slow(&self.sim, &plan, link, max_ms, begins);
                }
                FaultKind::PowerLoss => {
                    let hosts = (0..plan.hosts.len()).map(Machine::Host);
                    let ways: Vec<_> = hosts
                        .flat_map(|host| [(host, machine), (machine, host)])
                        .collect();
                    self.network.cut(&self.sim, &plan, &ways, begins);
                }
                FaultKind::Reset { .. }
                | FaultKind::Crash { .. }
                | FaultKind::Pause { .. }
                | FaultKind::DiskFull
                | FaultKind::DiskFails
                | FaultKind::DiskSlow { .. }
                | FaultKind::LogLoss { .. }
                | FaultKind::Drain => {}
            }
        }
    }

    /// A fault of the links between a clients' host and the servers begins or ends.
    fn change_server_links(&mut self, kind: FaultKind, begins: bool) {
        let nodes: Vec<Machine> = (0..self.stage.nodes.len()).map(Machine::Node).collect();
        self.change_links(kind, &nodes, begins);
    }

    fn begin(&mut self, kind: FaultKind, until: Duration) {
        match kind {
            FaultKind::Cut { .. } | FaultKind::Hold { .. } | FaultKind::Slow { .. } => {
                self.change_server_links(kind, true);
            }
            FaultKind::Reset { place } => self.host(place).reset_connections(),
            FaultKind::Pause { place } => self.host(place).pause_until(until),
            FaultKind::Crash { place } => {
                if let (Place::Server, Some(disk)) = (place, &self.stage.nodes[0].disk) {
                    disk.kill(self.sim.elapsed());
                }
                self.crash(machine_of(place));
            }
            FaultKind::PowerLoss => {
                self.lose_power(0, true);
                self.crash(Machine::Node(0));
            }
            FaultKind::DiskFull => self.disk(0).fill(true),
            FaultKind::DiskFails => self.disk(0).fail(true),
            FaultKind::DiskSlow { by_ms } => self.disk(0).slow(by_ms, true),
            FaultKind::LogLoss { kept } => self.stage.nodes[0].stop_and_lose(kept),
            FaultKind::Drain => self.stage.nodes[0]
                .drains
                .send_modify(|drains| *drains += 1),
        }
    }

    fn crash(&mut self, machine: Machine) {
        let crashes = self.crashes.entry(machine).or_default();
        *crashes += 1;
        if *crashes > 1 {
            return;
        }
        self.sim.crash(machine.name(&self.stage.plan));
        match machine {
            Machine::Node(node) => self.happen(&server_host::down(&self.stage, node)),
            Machine::Host(host) => self.happen(&Happening::HostDown { host }),
            Machine::Store => {}
        }
    }

    fn start_again(&mut self, machine: Machine) {
        let crashes = self.crashes.get_mut(&machine);
        let crashes = crashes.expect("it ends after it began");
        *crashes -= 1;
        if *crashes == 0 {
            self.sim.bounce(machine.name(&self.stage.plan));
        }
    }

    /// Nodes that an operator rebuilds die, and begin with an empty disk.
    fn replace_disks(&mut self) {
        let cluster = self.stage.plan.cluster.as_ref();
        if cluster.is_none_or(|cluster| cluster.operator.is_none()) {
            return;
        }
        for node in self.stage.take_replacements() {
            let machine = Machine::Node(node);
            self.disk(node).replace(self.sim.elapsed());
            self.crash(machine);
            self.stage.nodes[node].start_as_newcomer();
            self.happen(&Happening::NodeNew { node });
            self.start_again(machine);
        }
    }

    fn disk(&self, node: usize) -> &disk::Disk {
        let disk = self.stage.nodes[node].disk.as_ref();
        disk.expect("the plan was validated: the server has a disk")
    }

    fn end(&mut self, kind: FaultKind) {
        match kind {
            FaultKind::Cut { .. } | FaultKind::Hold { .. } | FaultKind::Slow { .. } => {
                self.change_server_links(kind, false);
            }
            FaultKind::Crash { place } => self.start_again(machine_of(place)),
            FaultKind::PowerLoss => {
                self.lose_power(0, false);
                self.start_again(Machine::Node(0));
            }
            FaultKind::DiskFull => self.disk(0).fill(false),
            FaultKind::DiskFails => self.disk(0).fail(false),
            FaultKind::DiskSlow { by_ms } => self.disk(0).slow(by_ms, false),
            FaultKind::LogLoss { .. } => self.stage.nodes[0].start_after_loss(),
            FaultKind::Drain => self.stage.nodes[0]
                .drains
                .send_modify(|drains| *drains -= 1),
            // A reset is over at once, and a pause knows its end.
            FaultKind::Reset { .. } | FaultKind::Pause { .. } => {}
        }
    }

    fn host(&self, place: Place) -> &host::Host {
        match place {
            Place::Server => &self.stage.nodes[0].host,
            Place::Host(host) => &self.stage.hosts[host],
        }
    }

    fn happen(&self, happening: &Happening) {
        self.stage.happen(self.sim.elapsed(), happening);
    }
}

fn machine_of(place: Place) -> Machine {
    match place {
        Place::Server => Machine::Node(0),
        Place::Host(host) => Machine::Host(host),
    }
}

/// The beginnings and ends of a plan's faults, in order; at the same time, ends come first.
fn edges(plan: &ServicePlan) -> Vec<(u64, Edge, Trouble)> {
    let of_service = plan
        .faults
        .iter()
        .map(|fault| (fault.at_ms, fault.for_ms, Trouble::Service(fault.kind)));
    let of_store = plan
        .store
        .iter()
        .flat_map(|store| &store.faults)
        .map(|fault| (fault.at_ms, fault.for_ms, Trouble::Store(fault.kind)));
    let of_cluster = plan.cluster.iter().flat_map(|cluster| &cluster.faults);
    let of_cluster = of_cluster
        .enumerate()
        .map(|(index, fault)| (fault.at_ms, fault.for_ms, Trouble::Cluster(index)));
    let mut edges = Vec::new();
    for (at_ms, for_ms, trouble) in of_service.chain(of_store).chain(of_cluster) {
        if at_ms >= plan.active_ms {
            continue;
        }
        let until_ms = at_ms.saturating_add(for_ms.max(1)).min(plan.active_ms);
        edges.push((at_ms, Edge::Begins { until_ms }, trouble));
        edges.push((until_ms, Edge::Ends, trouble));
    }
    edges.sort_by_key(|(at_ms, edge, _)| (*at_ms, *edge != Edge::Ends));
    edges
}
