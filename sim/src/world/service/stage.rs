//! What a run remembers: its history, its oracles, and what the world must know of its programs.

use super::{
    applied as words,
    disk::Disk,
    host::Host,
    http_caller::request_of,
    judged_time::ServerTime,
    network::node_name,
    replicas::{Leader, Replicas, Step},
    seen::seen,
    server_host,
    watched::Claims,
};
use crate::{
    history::History,
    line::{Line, LineLock, What},
    model::ModelLimits,
    op::{OpOwner, Text},
    oracle::{
        Panel, PanelConfig,
        service::{Client, Deed, Happening, ServicePanel, in_ms, liveness, members::Members},
    },
    outcome::Violation,
    plan::{ServicePlan, StorePlan},
};
use lockwright_client::{Belief, core::CoreUsage};
use lockwright_engine::{
    Command, Engine, Event, EventKind, LockInfo, LockKey, Name, Path, Refusal, Reply,
    SessionChange, TimeMs, Token,
};
use lockwright_server::{RaftEvent, StateReader, Usage, first_token};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    sync::{
        Arc, Mutex, MutexGuard, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

/// What the programs are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Follow the plan.
    Working,
    /// Close the sessions.
    Closing,
    /// Wait until all is forgotten.
    Forgetting,
    /// The server is to say what it has in hand.
    Reporting,
}

/// Who has something to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worker {
    /// A request and what follows.
    Attempt(Text),
    /// A client whose session is not closed yet.
    Client(usize),
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Worker::Attempt(id) => f.write_str(id),
            Worker::Client(index) => write!(f, "client {index}"),
        }
    }
}

/// Shared by the world and all programs of a run.
pub(super) struct Stage {
    pub(super) plan: Arc<ServicePlan>,
    /// The servers: the nodes of a cluster, or one.
    pub(super) nodes: Vec<Node>,
    pub(super) hosts: Vec<Host>,
    /// The store, if there is one.
    pub(super) store: Option<Store>,
    pub(super) phase: watch::Sender<Phase>,
    inner: Mutex<Inner>,
}

/// A server's host.
pub(super) struct Node {
    /// In the simulated network.
    pub(super) name: String,
    pub(super) host: Host,
    /// Its disk, if it has one.
    pub(super) disk: Option<Disk>,
    /// How many operators want it to be stopped.
    pub(super) stops: watch::Sender<u32>,
    /// How many operators want it to stop when no locks are held any more.
    pub(super) drains: watch::Sender<u32>,
    /// What is lost of its log when it has stopped.
    log_loss: Mutex<Option<LogLoss>>,
    /// Whether it does not know who forms the cluster, and waits to be added.
    is_newcomer: AtomicBool,
    /// Whether an operator has stopped it, and it is not to come back by itself.
    is_stopped: AtomicBool,
    /// Tells what its server waits for, while one runs.
    server: Mutex<Option<StateReader>>,
    starts: Mutex<Starts>,
}

/// Where tokens may begin at the next entry that says so.
#[derive(Debug, Default)]
struct Starts {
    /// The smallest token of each server that has started, and has not begun to lead yet.
    at_least: Vec<u64>,
    /// That of the last one that has.
    begun: Option<u64>,
}

impl Starts {
    /// Whether a server of those that have started may say that tokens go on from `first`; it is
    /// [`first_token`] of the moment now when `latest` is.
    fn may_begin_at(&mut self, first: u64, latest: u64) -> bool {
        if self.begun == Some(first) {
            return true;
        }
        let of_one = self.at_least.iter().any(|least| *least <= first);
        self.at_least.retain(|least| *least > first);
        self.begun = Some(first);
        of_one && first <= latest
    }
}

/// The end of a log is lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogLoss {
    /// How much of the newest segment is left, in thousandths; none when the file is gone.
    pub(super) kept: Option<u32>,
}

impl Node {
    /// A server starts.
    pub(super) fn starts(&self) {
        self.of_starts().at_least.push(self.first_token_now());
    }

    fn of_starts(&self) -> MutexGuard<'_, Starts> {
        let locked = self.starts.lock();
        locked.unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Where the tokens of a server that starts now begin: it waits for the next millisecond.
    fn first_token_now(&self) -> u64 {
        let ms = self.host.local().as_millis();
        let ms = u64::try_from(ms).expect("hosts are young");
        first_token(Duration::from_millis(ms + 1)).0
    }

    /// Whether a server of its own may say that tokens go on from `first`.
    fn may_begin_at(&self, first: u64) -> bool {
        let latest = self.first_token_now();
        self.of_starts().may_begin_at(first, latest)
    }

    /// It is told to stop, and then loses the end of its log.
    pub(super) fn stop_and_lose(&self, kept: Option<u32>) {
        *self.log_loss() = Some(LogLoss { kept });
        self.stops.send_modify(|stops| *stops += 1);
    }

    /// It starts again, if nothing else keeps it from that. One that has not stopped by now loses
    /// nothing.
    pub(super) fn start_after_loss(&self) {
        *self.log_loss() = None;
        self.stops.send_modify(|stops| *stops -= 1);
    }

    /// What it is to lose, once.
    pub(super) fn take_log_loss(&self) -> Option<LogLoss> {
        self.log_loss().take()
    }

    fn log_loss(&self) -> MutexGuard<'_, Option<LogLoss>> {
        let locked = self.log_loss.lock();
        locked.unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether it does not know who forms the cluster, and waits to be added.
    pub(super) fn is_newcomer(&self) -> bool {
        self.is_newcomer.load(Ordering::Relaxed)
    }

    /// Whether an operator has stopped it.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// It is told to stop, and does not start again by itself.
    pub(super) fn stop_for_good(&self) {
        if !self.is_stopped.swap(true, Ordering::Relaxed) {
            self.stops.send_modify(|stops| *stops += 1);
        }
    }

    /// It runs, if it did not, and waits to be added.
    pub(super) fn start_as_newcomer(&self) {
        self.is_newcomer.store(true, Ordering::Relaxed);
        if self.is_stopped.swap(false, Ordering::Relaxed) {
            self.stops.send_modify(|stops| *stops -= 1);
        }
    }

    /// A server runs on it, until what this gives is dropped.
    pub(super) fn runs(&self, server: StateReader) -> Runs<'_> {
        *self.server() = Some(server);
        Runs(self)
    }

    /// What its server waits for at `now`, by its own clock.
    fn state(&self, now: Duration) -> String {
        let shown = self.host.clock().shows(now);
        match &*self.server() {
            Some(server) => server.state_at(shown).text,
            None if self.is_stopped() => "was stopped by an operator".to_owned(),
            None => "no server runs: it starts, or has ended".to_owned(),
        }
    }

    fn server(&self) -> MutexGuard<'_, Option<StateReader>> {
        let locked = self.server.lock();
        locked.unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The servers of a plan.
    fn all(plan: &ServicePlan) -> Vec<Node> {
        let node = |index: usize, clock, disk: Option<Disk>| Node {
            name: node_name(plan, index),
            host: Host::new(clock),
            disk,
            stops: watch::Sender::new(0),
            drains: watch::Sender::new(0),
            log_loss: Mutex::new(None),
            starts: Mutex::default(),
            is_newcomer: AtomicBool::new(
                plan.cluster
                    .as_ref()
                    .is_some_and(|one| index >= one.founders()),
            ),
            is_stopped: AtomicBool::new(false),
            server: Mutex::new(None),
        };
        let Some(cluster) = &plan.cluster else {
            let disk = plan.server.disk.map(|disk| Disk::new(disk, plan.seed));
            return vec![node(0, &plan.server.clock, disk)];
        };
        let nodes = cluster.nodes.iter().enumerate();
        nodes
            .map(|(index, one)| {
                let luck = u64::try_from(index).expect("they are few");
                let disk = Disk::new(one.disk, plan.seed.wrapping_add(luck << 32));
                node(index, &one.clock, Some(disk))
            })
            .collect()
    }
}

/// A server runs on a node's host.
pub(super) struct Runs<'a>(&'a Node);

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        *self.0.server() = None;
    }
}

/// The store's host.
pub(super) struct Store {
    pub(super) plan: StorePlan,
    pub(super) host: Host,
    pub(super) disk: Disk,
}

impl Store {
    fn new(plan: &StorePlan, seed: u64) -> Store {
        Store {
            plan: plan.clone(),
            host: Host::new(&plan.clock),
            // With other luck than the server's.
            disk: Disk::new(plan.disk(), !seed),
        }
    }
}

struct Inner {
    history: History,
    text: String,
    /// Judges the server's engine; a new one for each start of a server that forgets.
    panel: Option<Panel>,
    /// What those that live claim, for watchers and operators.
    claims: Claims,
    /// What the server has applied, and how that goes together with what it applies again.
    applied: Log,
    time: ServerTime,
    /// The nodes of a cluster.
    replicas: Option<Replicas>,
    oracles: ServicePanel,
    violation: Option<Violation>,
    /// What clients believe of requests that the server may know, and on which host.
    beliefs: BTreeMap<Text, (usize, Arc<Belief>)>,
    busy: BTreeSet<Worker>,
    operations: u64,
    last_progress: Duration,
    /// When the engine was asked for something last, as far as it was not the time alone.
    last_command: Duration,
    /// What each server says that it has in hand.
    usage: BTreeMap<usize, Option<Usage>>,
    /// Namespace and name of the sessions that the server has open.
    sessions: BTreeSet<(Text, Text)>,
    /// The same of those whose end has begun and is not complete.
    ending: BTreeSet<(Text, Text)>,
    /// The live requests of holders without a session.
    named: BTreeSet<LockKey>,
    /// Nodes whose disks are to be replaced.
    replacements: Vec<usize>,
}

/// What a server's engine did.
#[derive(Clone, Copy)]
pub(super) struct Applied<'a> {
    pub(super) at: TimeMs,
    pub(super) command: &'a Command,
    pub(super) result: &'a Result<Reply, Refusal>,
    pub(super) events: &'a [Event],
}

/// What the server has applied, over all its lives, when it has a disk.
#[derive(Default)]
struct Log {
    /// The last entry of the log that was applied.
    last: u64,
    /// Whether that was in this life of the server.
    fresh: bool,
    /// Where the server has begun last.
    begun: u64,
    /// An engine that has applied the same, and never dies.
    shadow: Option<Engine>,
}

impl Log {
    /// Whether the entry `index`, which is being applied, was not applied before.
    fn is_new(&mut self, index: u64) -> bool {
        let is_new = index > self.last || (index == self.last && self.fresh);
        if is_new {
            self.last = index;
            self.fresh = true;
        }
        is_new
    }

    fn follow(&mut self, at: TimeMs, command: &Command) {
        if let Some(shadow) = &mut self.shadow {
            // What it says is judged on the server's engine.
            let _ = shadow.apply(at, command, &mut Vec::new());
        }
    }
}

impl Stage {
    pub(super) fn new(plan: ServicePlan, keep_history: bool) -> Arc<Stage> {
        let plan = Arc::new(plan);
        Arc::new(Stage {
            nodes: Node::all(&plan),
            hosts: plan.hosts.iter().map(Host::new).collect(),
            store: plan
                .store
                .as_ref()
                .map(|store| Store::new(store, plan.seed)),
            phase: watch::Sender::new(Phase::Working),
            inner: Mutex::new(Inner {
                history: History::new(keep_history),
                text: String::new(),
                panel: None,
                applied: Log::default(),
                claims: Claims::default(),
                time: ServerTime::default(),
                replicas: plan
                    .cluster
                    .as_ref()
                    .map(|cluster| Replicas::new(cluster.nodes.len(), cluster.founders())),
                oracles: ServicePanel::new(&plan),
                violation: None,
                beliefs: BTreeMap::new(),
                busy: BTreeSet::new(),
                operations: 0,
                last_progress: Duration::ZERO,
                last_command: Duration::ZERO,
                usage: BTreeMap::new(),
                sessions: BTreeSet::new(),
                ending: BTreeSet::new(),
                named: BTreeSet::new(),
                replacements: Vec::new(),
            }),
            plan,
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic is a finding of its own; what was noted until then is still of interest.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether something is being taken down or judged at this moment.
    pub(super) fn is_taking_down(&self) -> bool {
        matches!(self.inner.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// As an oracle that panics.
    #[cfg(test)]
    pub(super) fn panic_while_taking_down(&self) -> ! {
        let _taking_down = self.inner();
        panic!("while taking down");
    }

    /// Takes down what happens at `now`, and has it judged.
    pub(super) fn happen(&self, now: Duration, happening: &Happening) {
        let inner = &mut *self.inner();
        inner.see(now, happening);
        match happening {
            Happening::ServerDown => {
                inner.beliefs.clear();
                inner.sessions.clear();
                inner.ending.clear();
                inner.named.clear();
                inner.claims.clear();
                inner.applied = Log::default();
                inner.time.stop();
            }
            Happening::ServerHalted => {
                inner.applied.fresh = false;
                inner.time.stop();
            }
            Happening::NodeDown { node } => {
                let replicas = inner.replicas.iter_mut();
                replicas.for_each(|replicas| replicas.down(*node));
            }
            Happening::HostDown { host } => inner.beliefs.retain(|_, (other, _)| other != host),
            Happening::Asked { .. }
            | Happening::Called { .. }
            | Happening::Closing { .. }
            | Happening::HttpAsked { .. }
            | Happening::HttpMistaken { .. }
            | Happening::HttpCalled { .. }
            | Happening::BreakAsked { .. }
            | Happening::Looked { .. } => {
                inner.operations += 1;
            }
            Happening::Left { id } => drop(inner.beliefs.remove(id)),
            _ => {}
        }
        // Nor is a cluster that elects one leader after the other, and does nothing else.
        let leads = matches!(happening, Happening::ServerLeads { .. });
        let is_of_no_use = matches!(
            happening,
            // Who goes to the store goes again until it is answered, and a store that ends is
            // started again however often it takes.
            Happening::Stamped { .. }
                | Happening::Late { .. }
                | Happening::Goes { .. }
                | Happening::Fault { .. }
                | Happening::Struck { .. }
                | Happening::StoreUp { .. }
                | Happening::NodeDown { .. }
                | Happening::Raft { .. }
                | Happening::Members { .. }
                | Happening::NodeNew { .. }
                | Happening::Replayed { .. }
                | Happening::Began { .. }
                | Happening::Entry { .. }
        ) || (leads && inner.replicas.is_some());
        if !is_of_no_use {
            inner.last_progress = now;
        }
    }

    /// From now on the client's belief in a request is judged.
    pub(super) fn believe(&self, id: &Text, host: usize, belief: Arc<Belief>) {
        self.inner().beliefs.insert(id.clone(), (host, belief));
    }

    /// A server begins: its engine has applied all entries before `index`.
    pub(super) fn began(
        &self,
        now: Duration,
        node: usize,
        index: u64,
        engine: &Engine,
        first_token: u64,
    ) {
        if self.plan.cluster.is_some() {
            return self.began_in_cluster(now, node, index, engine, first_token);
        }
        let happening = {
            let inner = &mut *self.inner();
            inner.applied.begun = index;
            if index <= inner.applied.last {
                // It goes through what an earlier one had begun.
                return;
            }
            let last = std::mem::replace(&mut inner.applied.last, index);
            inner.applied.fresh = true;
            if let Some(shadow) = &mut inner.applied.shadow {
                // Tokens go on above those that others on its machine may have given meanwhile.
                shadow.tokens_from(Token(first_token));
                if let Some(panel) = &mut inner.panel {
                    panel.tokens_from(first_token);
                }
                let is_same = shadow == engine && self.nodes[node].may_begin_at(first_token);
                let entries = index;
                Happening::ServerBack {
                    entries,
                    last,
                    is_same,
                }
            } else {
                let next = Token(first_token);
                let is_right =
                    engine.next_token() == next && self.nodes[node].may_begin_at(first_token);
                assert!(
                    is_right,
                    "a server with nothing begins at the token of its start"
                );
                inner.start(&self.plan, engine, first_token)
            }
        };
        self.happen(now, &happening);
    }

    /// A node comes to the first entry of a leader.
    fn began_in_cluster(
        &self,
        now: Duration,
        node: usize,
        index: u64,
        engine: &Engine,
        first_token: u64,
    ) {
        self.come_to(now, node, index);
        assert_eq!(
            first_token, 1,
            "the machines of a cluster have no common uptime"
        );
        let happening = {
            let inner = &mut *self.inner();
            let replicas = inner.replicas.as_mut().expect("it is a cluster");
            let again = replicas.begin(node, index, engine);
            let is_same = match (again, &inner.applied.shadow) {
                (Some(first), _) => first == engine,
                (None, Some(shadow)) => shadow == engine,
                (None, None) => true,
            };
            if inner.applied.shadow.is_none() {
                inner.start(&self.plan, engine, first_token)
            } else {
                Happening::Began {
                    node,
                    index,
                    is_same,
                }
            }
        };
        self.happen(now, &happening);
    }

    /// A node of a cluster comes to an entry of its log.
    fn come_to(&self, now: Duration, node: usize, index: u64) {
        let inner = &mut *self.inner();
        let Some(replicas) = &mut inner.replicas else {
            return;
        };
        if let Some(passed) = replicas.come_to(node, index) {
            let happening = Happening::PassedOver {
                node,
                index: passed.index,
                done: passed.done,
                of: passed.of,
            };
            inner.see(now, &happening);
        }
    }

    /// What a server does in Raft.
    pub(super) fn raft(&self, now: Duration, node: usize, event: RaftEvent) {
        if self.plan.cluster.is_none() {
            return;
        }
        if let RaftEvent::Applies { index, .. } = event {
            self.come_to(now, node, index);
        }
        if let Some(replicas) = &mut self.inner().replicas {
            replicas.raft(node, event);
        }
        self.happen(now, &Happening::Raft { node, event });
    }

    /// A node has appended the entry of this index and term, which says which nodes there are.
    pub(super) fn members(
        &self,
        now: Duration,
        node: usize,
        (index, term): (u64, u64),
        members: Members,
    ) {
        let cluster = self.plan.cluster.as_ref();
        if cluster.is_none_or(|cluster| cluster.operator.is_none()) {
            return;
        }
        let members = Arc::new(members);
        if let Some(replicas) = &mut self.inner().replicas {
            replicas.members(index, term, members.clone());
        }
        let happening = Happening::Members {
            node,
            index,
            term,
            members,
        };
        self.happen(now, &happening);
    }

    /// A node is to get an empty disk.
    pub(super) fn replace(&self, node: usize) {
        self.inner().replacements.push(node);
    }

    /// The nodes that are to get an empty disk now.
    pub(super) fn take_replacements(&self) -> Vec<usize> {
        std::mem::take(&mut self.inner().replacements)
    }

    /// The node that began last to lead.
    pub(super) fn latest_leader(&self) -> usize {
        let inner = self.inner();
        inner.replicas.as_ref().map_or(0, Replicas::latest_leader)
    }

    /// A node leads, and its time goes on from `at`.
    fn leads_in_cluster(&self, now: Duration, node: usize, at: u64) {
        let mut time = ServerTime::default();
        time.begin(at, self.nodes[node].host.clock().shows(now));
        let last = {
            let inner = &mut *self.inner();
            let replicas = inner.replicas.as_mut().expect("it is a cluster");
            // Who has applied nothing in this life has nothing to go on from.
            replicas.leads(node, time).unwrap_or(at)
        };
        self.happen(now, &Happening::ServerLeads { at, last });
    }

    /// The server leads, and its time goes on from `at`.
    pub(super) fn leads(&self, now: Duration, node: usize, at: TimeMs) {
        if self.plan.cluster.is_some() {
            return self.leads_in_cluster(now, node, at.as_ms());
        }
        let shown = self.nodes[node].host.clock().shows(now);
        let (last_time, is_new, begun, last) = {
            let inner = &mut *self.inner();
            inner.time.begin(at.as_ms(), shown);
            let engine = inner.applied.shadow.as_ref();
            let last_time = engine.map_or(0, |engine| engine.now().as_ms());
            let applied = &inner.applied;
            (last_time, applied.fresh, applied.begun, applied.last)
        };
        if !is_new {
            // It has begun in the midst of what was applied before.
            let is_same = false;
            let entries = begun;
            self.happen(
                now,
                &Happening::ServerBack {
                    entries,
                    last,
                    is_same,
                },
            );
        }
        let (at, last) = (at.as_ms(), last_time);
        self.happen(now, &Happening::ServerLeads { at, last });
    }

    /// The server has given a proposal its time.
    pub(super) fn stamped(&self, now: Duration, node: usize, at: TimeMs) {
        let time = {
            let inner = self.inner();
            let replicas = inner.replicas.as_ref();
            replicas.map_or(inner.time, |replicas| replicas.time_of(node))
        };
        let shown = time.shows(self.nodes[node].host.clock().shows(now));
        let at = at.as_ms();
        self.happen(now, &Happening::Stamped { at, shown });
    }

    /// A server's engine has applied a command of an entry.
    pub(super) fn applied(&self, now: Duration, node: usize, index: u64, applied: Applied<'_>) {
        let Applied {
            at,
            command,
            result,
            events,
        } = applied;
        let leader = if self.plan.cluster.is_some() {
            let deed = Deed {
                at,
                command: command.clone(),
                result: result.clone(),
                events: events.to_vec(),
            };
            if !self.is_first(now, node, index, deed) {
                return;
            }
            let inner = self.inner();
            inner.replicas.as_ref().and_then(|one| one.leader_of(index))
        } else {
            let inner = &mut *self.inner();
            if !inner.applied.is_new(index) {
                return;
            }
            let (node, time) = (0, inner.time);
            Some(Leader { node, time })
        };
        let leader = leader.filter(|leader| leader.time.is_running());
        let op = words::op_of(at, command);
        let lines = words::lines_of(&op, command, result, events);
        let inner = &mut *self.inner();
        inner.applied.follow(at, command);
        inner.history.command(&op, &lines);
        if !matches!(command, Command::Tick) {
            inner.last_command = now;
        }
        // Signs of life are no progress, and neither are connections that come and go.
        let is_progress = |line: &Line| !matches!(line.what, What::Session { .. });
        if lines.iter().any(is_progress) {
            inner.last_progress = now;
        }
        if let Some(leader) = leader {
            let earliest = lines.iter().map(|line| line.at).min().unwrap_or(op.at);
            let clock = self.nodes[leader.node].host.clock();
            let shown = leader.time.shows(clock.shows(now));
            let late_ms = shown.saturating_sub(earliest);
            inner.see(now, &Happening::Late { shown, late_ms });
        }
        if let Some(panel) = &mut inner.panel {
            let judged = panel.step(&op, &lines);
            inner.found(judged.map_err(|violation| Violation {
                at_ms: in_ms(now),
                ..violation
            }));
        }
        if let (Some(session), Some(leader)) = (words::speaker(&op), leader) {
            let clock = self.nodes[leader.node].host.clock();
            let (session, at) = (session.clone(), clock.when(leader.time.when(op.at)));
            inner.see(now, &Happening::Heard { session, at });
        }
        if let Some(happening) = words::arrival(&op, result) {
            inner.see(now, &happening);
        }
        for (index, line) in lines.iter().enumerate() {
            if let Some(session) = inner.end_that_begins(&line.what) {
                inner.see(now, &Happening::EndBegins { session });
            }
            // The answer to a retry says again what happened long ago.
            // And one that has the id of another request says nothing about that one.
            if (index < events.len() || matches!(line.what, What::Refused { .. }))
                && !matches!(result, Err(Refusal::RequestMismatch(_)) if index >= events.len())
                && let Some(happening) = self.meaning(inner, line, now, leader)
            {
                inner.see(now, &happening);
            }
        }
        self.say_more(inner, now, index, applied);
        inner.keep_sessions(events);
        inner.keep_named(events);
    }

    /// What those are to be told of it who watch, and who break locks.
    fn say_more(&self, inner: &mut Inner, now: Duration, entry: u64, applied: Applied<'_>) {
        let (is_watched, is_broken) = (
            !self.plan.watchers.is_empty(),
            !self.plan.breakers.is_empty(),
        );
        if !is_watched && !is_broken {
            return;
        }
        let Applied {
            command,
            result,
            events,
            ..
        } = applied;
        let watched = inner.claims.watched(command, events);
        if is_broken {
            for what in seen(command, result.is_ok(), events, &watched) {
                inner.see(now, &Happening::Seen { entry, what });
            }
        }
        if is_watched {
            for event in watched {
                inner.see(now, &Happening::Watchable { event });
            }
        }
    }

    /// Whether a node of a cluster is the first to do this.
    fn is_first(&self, now: Duration, node: usize, index: u64, deed: Deed) -> bool {
        self.come_to(now, node, index);
        let here = Arc::new(deed);
        let step = {
            let inner = &mut *self.inner();
            let replicas = inner.replicas.as_mut().expect("it is a cluster");
            replicas.apply(node, index, &here)
        };
        let (happening, is_first) = match step {
            Step::First => (Happening::Entry { index }, true),
            Step::Again(first) => {
                let replayed = Happening::Replayed {
                    node,
                    index,
                    here,
                    first,
                };
                (replayed, false)
            }
        };
        self.happen(now, &happening);
        is_first
    }

    /// What a line of the engine means to the oracles of the service.
    fn meaning(
        &self,
        inner: &Inner,
        line: &Line,
        now: Duration,
        leader: Option<Leader>,
    ) -> Option<Happening> {
        match &line.what {
            What::Queued { lock } => Some(Happening::Queued { id: id_of(lock) }),
            What::Granted { lock, token } => Some(Happening::Granted {
                id: id_of(lock),
                token: *token,
            }),
            What::Refused { lock, error } => Some(Happening::Refused {
                id: id_of(lock),
                code: error,
            }),
            What::Ended { lock, reason } => {
                let id = id_of(lock);
                let believed_until = inner.beliefs.get(&id).and_then(|(host, belief)| {
                    belief
                        .deadline()
                        .map(|local| self.hosts[*host].clock().when(local))
                });
                // Without a leader nobody knows better than that it was not later than now.
                let ended_at = leader.map_or(now, |leader| {
                    let clock = self.nodes[leader.node].host.clock();
                    clock.when(leader.time.when(line.at))
                });
                Some(Happening::Ended {
                    id,
                    reason,
                    ended_at,
                    believed_until,
                })
            }
            What::Session {
                session,
                state: "ended",
                ..
            } => Some(Happening::SessionEnded {
                session: session.clone(),
            }),
            _ => None,
        }
    }

    /// One of the open sessions, chosen by `number`.
    pub(super) fn some_session(&self, number: u64) -> Option<(Text, Text)> {
        let inner = self.inner();
        let count = u64::try_from(inner.sessions.len()).ok()?;
        let index = number.checked_rem(count)?;
        inner
            .sessions
            .iter()
            .nth(usize::try_from(index).ok()?)
            .cloned()
    }

    /// One of the live requests that claim exactly this path, chosen by `number`, or of all in the namespace
    /// when there is none; and a path that it claims.
    pub(super) fn some_request(
        &self,
        namespace: &Text,
        path: &Text,
        number: u64,
    ) -> Option<(LockInfo, Text)> {
        let inner = self.inner();
        let engine = inner.applied.shadow.as_ref()?;
        let name = Name::new(namespace.clone()).expect("the plan was validated");
        let here = Path::parse(path.clone()).expect("the plan was validated");
        let mut found = engine.overlapping(&name, &here);
        found.retain(|lock| lock.claims.iter().any(|claim| claim.path == here));
        if found.is_empty() {
            found = engine.overlapping(&name, &Path::root());
        }
        let count = u64::try_from(found.len()).ok()?;
        let index = usize::try_from(number.checked_rem(count)?).ok()?;
        let lock = found.swap_remove(index);
        let is_here = lock.claims.iter().any(|claim| claim.path == here);
        let first = lock.claims.first()?.path.as_str();
        let path = if is_here { path.as_str() } else { first };
        let path = Text::from(path);
        Some((lock, path))
    }

    /// Somebody has something to do, until the guard is dropped.
    pub(super) fn busy(self: &Arc<Stage>, who: Worker) -> Busy {
        self.inner().busy.insert(who.clone());
        Busy {
            stage: self.clone(),
            who,
        }
    }

    /// Whether no request is under way and no lock held.
    pub(super) fn is_settled(&self) -> bool {
        let inner = self.inner();
        inner.named.is_empty()
            && !inner
                .busy
                .iter()
                .any(|who| matches!(who, Worker::Attempt(_)))
    }

    /// Whether nobody has anything to do.
    pub(super) fn is_idle(&self) -> bool {
        self.inner().busy.is_empty()
    }

    /// Whether the engine, as all servers have agreed on it, has no sessions and no requests.
    pub(super) fn is_quiet(&self) -> bool {
        let inner = self.inner();
        let usage = inner.applied.shadow.as_ref().map(Engine::usage);
        usage.is_some_and(|usage| usage.sessions == 0 && usage.live_requests == 0)
    }

    /// A few of those who have something to do, and what each node of a cluster waits for at `now`.
    pub(super) fn waiting(&self, now: Duration) -> String {
        const SHOWN: usize = 8;
        let inner = self.inner();
        let mut text = String::new();
        for who in inner.busy.iter().take(SHOWN) {
            let _ = write!(text, "{}{who}", if text.is_empty() { "" } else { ", " });
        }
        if inner.busy.len() > SHOWN {
            let _ = write!(text, " and {} more", inner.busy.len() - SHOWN);
        }
        if *self.phase.borrow() == Phase::Reporting {
            for index in self.serving(&inner) {
                let name = &self.nodes[index].name;
                let _ = match inner.usage.get(&index) {
                    Some(Some(_)) => Ok(()),
                    Some(None) => write!(text, "{name}, which does not serve; "),
                    None => write!(text, "{name}, which does not answer; "),
                };
            }
        }
        drop(inner);
        if let Some(members) = self.half_changed() {
            let _ = write!(text, "; a change of the nodes that is half done: {members}");
        }
        let inner = self.inner();
        if let Some(lock) = inner.named.first() {
            let _ = write!(
                text,
                "; {} live without a session, as {}",
                inner.named.len(),
                lock.id
            );
        }
        if self.plan.cluster.is_some() {
            self.say_states(&inner, now, &mut text);
        }
        text
    }

    /// What each node says of itself. Nodes name each other by their ids.
    fn say_states(&self, inner: &Inner, now: Duration, text: &mut String) {
        let serving = self.serving(inner);
        for (index, node) in self.nodes.iter().enumerate() {
            let need = match serving.contains(&index) {
                true => "",
                false => ", which need not serve",
            };
            let (name, id, state) = (&node.name, server_host::id_of(index), node.state(now));
            let _ = write!(text, " | {name} (node {id}{need}): {state}");
        }
    }

    pub(super) fn last_progress(&self) -> Duration {
        self.inner().last_progress
    }

    /// When the engine was asked for something last, as far as it was not the time alone.
    pub(super) fn last_command(&self) -> Duration {
        self.inner().last_command
    }

    pub(super) fn has_violation(&self) -> bool {
        self.inner().violation.is_some()
    }

    pub(super) fn found(&self, violation: Violation) {
        self.inner().found(Err(violation));
    }

    /// A client with nothing to do goes on having something in hand.
    pub(super) fn kept(&self, now: Duration, client: Client, usage: CoreUsage) {
        self.found(liveness::kept(now, client, &format!("{usage:?}")));
    }

    /// A server says what it has in hand; none and false if it cannot say.
    pub(super) fn report(&self, node: usize, usage: Option<Usage>) -> bool {
        let has_said = usage.is_some();
        self.inner().usage.insert(node, usage);
        has_said
    }

    /// What the servers have in hand, once all have said so.
    pub(super) fn usage(&self) -> Option<Vec<(usize, Usage)>> {
        let inner = self.inner();
        let serving = self.serving(&inner).into_iter();
        let said = serving.map(|node| Some((node, inner.usage.get(&node)?.clone()?)));
        said.collect()
    }

    /// The servers are to say anew what they have in hand.
    pub(super) fn forget_usage(&self) {
        self.inner().usage.clear();
    }

    /// Which nodes the cluster has, if those who vote are being changed.
    pub(super) fn half_changed(&self) -> Option<Arc<Members>> {
        let inner = self.inner();
        let members = inner.replicas.as_ref()?.agreed_members();
        (members.voters.len() > 1).then(|| members.clone())
    }

    /// The servers that have to serve when all is healed: a node that is none of the cluster need not,
    /// nor one that an operator has stopped.
    fn serving(&self, inner: &Inner) -> Vec<usize> {
        let is_member = |node: &usize| {
            let replicas = inner.replicas.as_ref();
            replicas.is_none_or(|replicas| replicas.is_member(*node))
        };
        let nodes = (0..self.nodes.len()).filter(is_member);
        nodes
            .filter(|node| !self.nodes[*node].is_stopped())
            .collect()
    }

    /// What the run came to.
    pub(super) fn finish(&self) -> Finished {
        let inner = &mut *self.inner();
        let violation = inner.violation.take();
        if let Some(violation) = &violation {
            inner
                .history
                .note(&format!("{}: {}", violation.oracle, violation.message));
        }
        let history = std::mem::replace(&mut inner.history, History::new(false));
        Finished {
            history,
            violation,
            operations: inner.operations,
        }
    }
}

/// What a run came to.
pub(super) struct Finished {
    pub(super) history: History,
    pub(super) violation: Option<Violation>,
    pub(super) operations: u64,
}

impl Inner {
    /// The first server begins, or one that has forgotten all.
    fn start(&mut self, plan: &ServicePlan, engine: &Engine, first_token: u64) -> Happening {
        let limits = plan.server.limits.to_limits();
        let config = PanelConfig::of(&limits, first_token);
        self.panel = Some(Panel::with_model(config, ModelLimits::from(&limits)));
        self.applied.shadow = Some(engine.clone());
        Happening::ServerUp { first_token }
    }

    fn see(&mut self, now: Duration, happening: &Happening) {
        // Commands are in the history as ops and lines, and faults as such.
        let from_the_engine = matches!(
            happening,
            Happening::Stamped { .. }
                | Happening::Late { .. }
                | Happening::Struck { .. }
                | Happening::Applied { .. }
                | Happening::HttpApplied { .. }
                | Happening::Mismatched { .. }
                | Happening::Renewed { .. }
                | Happening::Opened { .. }
                | Happening::Attached { .. }
                | Happening::Detached { .. }
                | Happening::Closes { .. }
                | Happening::Heard { .. }
                | Happening::EndBegins { .. }
                | Happening::SessionEnded { .. }
                | Happening::Queued { .. }
                | Happening::Granted { .. }
                | Happening::Refused { .. }
                | Happening::Ended { .. }
                | Happening::Seen { .. }
                | Happening::Entry { .. }
                | Happening::Replayed { .. }
                | Happening::Raft {
                    event: RaftEvent::Appended { .. } | RaftEvent::Applies { .. },
                    ..
                }
        );
        if !from_the_engine {
            self.text.clear();
            let _ = write!(self.text, "{} ms: {happening}", in_ms(now));
            self.history.note(&self.text);
        }
        let seen = self.oracles.see(now, happening);
        self.found(seen);
    }

    /// The session whose end begins with this: its first request ends with it, or it has none.
    fn end_that_begins(&mut self, what: &What) -> Option<Text> {
        match what {
            What::Ended {
                lock:
                    LineLock {
                        namespace,
                        owner: OpOwner::Session(session),
                        ..
                    },
                reason: "session_ended",
            } => {
                let is_first = self.ending.insert((namespace.clone(), session.clone()));
                is_first.then(|| session.clone())
            }
            What::Session {
                namespace,
                session,
                state: "ended",
            } => {
                let has_begun = self.ending.remove(&(namespace.clone(), session.clone()));
                (!has_begun).then(|| session.clone())
            }
            _ => None,
        }
    }

    fn keep_sessions(&mut self, events: &[Event]) {
        for event in events {
            let EventKind::Session { session, change } = &event.kind else {
                continue;
            };
            let key = (
                session.namespace.clone().into(),
                session.session.clone().into(),
            );
            match change {
                SessionChange::Open => drop(self.sessions.insert(key)),
                SessionChange::Ended => drop(self.sessions.remove(&key)),
                _ => {}
            }
        }
    }

    fn keep_named(&mut self, events: &[Event]) {
        for event in events {
            match &event.kind {
                EventKind::Queued { lock } | EventKind::Granted { lock, .. }
                    if !lock.owner.is_session() =>
                {
                    self.named.insert(lock.clone());
                }
                EventKind::Ended { lock, .. } => drop(self.named.remove(lock)),
                _ => {}
            }
        }
    }

    /// Keeps the first violation.
    fn found(&mut self, judged: Result<(), Violation>) {
        if let Err(violation) = judged {
            self.violation.get_or_insert(violation);
        }
    }
}

/// How the oracles of the service name a request.
fn id_of(lock: &LineLock) -> Text {
    request_of(&lock.owner, &lock.id)
}

/// Who has something to do.
pub(super) struct Busy {
    stage: Arc<Stage>,
    who: Worker,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stage.inner().busy.remove(&self.who);
    }
}
