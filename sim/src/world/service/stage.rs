//! What a run remembers: its history, its oracles, and what the world must know of its programs.

use super::{applied, disk::Disk, host::Host, http_caller::request_of, judged_time::ServerTime};
use crate::{
    history::History,
    line::{Line, LineLock, What},
    model::ModelLimits,
    op::Text,
    oracle::{
        Panel, PanelConfig,
        service::{Client, Happening, ServicePanel, in_ms, liveness},
    },
    outcome::Violation,
    plan::{ServicePlan, StorePlan},
};
use lockwright_client::{Belief, core::CoreUsage};
use lockwright_engine::{
    Command, Engine, Event, EventKind, LockKey, Refusal, Reply, SessionChange, TimeMs,
};
use lockwright_server::Usage;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    sync::{Arc, Mutex, MutexGuard},
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
    pub(super) server: Host,
    pub(super) hosts: Vec<Host>,
    /// The server's disk, if it has one.
    pub(super) disk: Option<Disk>,
    /// The store, if there is one.
    pub(super) store: Option<Store>,
    pub(super) phase: watch::Sender<Phase>,
    inner: Mutex<Inner>,
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
    /// What the server has applied, and how that goes together with what it applies again.
    applied: Applied,
    time: ServerTime,
    oracles: ServicePanel,
    violation: Option<Violation>,
    /// What clients believe of requests that the server may know, and on which host.
    beliefs: BTreeMap<Text, (usize, Arc<Belief>)>,
    busy: BTreeSet<Worker>,
    operations: u64,
    last_progress: Duration,
    usage: Option<Usage>,
    /// Namespace and name of the sessions that the server has open.
    sessions: BTreeSet<(Text, Text)>,
    /// The live requests of holders without a session.
    named: BTreeSet<LockKey>,
}

/// What the server has applied, over all its lives, when it has a disk.
#[derive(Default)]
struct Applied {
    /// The last entry of the log that was applied.
    last: u64,
    /// Whether that was in this life of the server.
    fresh: bool,
    /// Where the server has begun last.
    begun: u64,
    /// An engine that has applied the same, and never dies.
    shadow: Option<Engine>,
}

impl Applied {
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
            server: Host::new(&plan.server.clock),
            hosts: plan.hosts.iter().map(Host::new).collect(),
            disk: plan.server.disk.map(|disk| Disk::new(disk, plan.seed)),
            store: plan
                .store
                .as_ref()
                .map(|store| Store::new(store, plan.seed)),
            phase: watch::Sender::new(Phase::Working),
            inner: Mutex::new(Inner {
                history: History::new(keep_history),
                text: String::new(),
                panel: None,
                applied: Applied::default(),
                time: ServerTime::default(),
                oracles: ServicePanel::new(&plan),
                violation: None,
                beliefs: BTreeMap::new(),
                busy: BTreeSet::new(),
                operations: 0,
                last_progress: Duration::ZERO,
                usage: None,
                sessions: BTreeSet::new(),
                named: BTreeSet::new(),
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

    /// Takes down what happens at `now`, and has it judged.
    pub(super) fn happen(&self, now: Duration, happening: &Happening) {
        let inner = &mut *self.inner();
        inner.see(now, happening);
        match happening {
            Happening::ServerDown => {
                inner.beliefs.clear();
                inner.sessions.clear();
                inner.named.clear();
                inner.applied = Applied::default();
                inner.time.stop();
            }
            Happening::ServerHalted => {
                inner.applied.fresh = false;
                inner.time.stop();
            }
            Happening::HostDown { host } => inner.beliefs.retain(|_, (other, _)| other != host),
            Happening::Asked { .. }
            | Happening::Called { .. }
            | Happening::Closing { .. }
            | Happening::HttpAsked { .. }
            | Happening::HttpCalled { .. } => {
                inner.operations += 1;
            }
            Happening::Left { id } => drop(inner.beliefs.remove(id)),
            _ => {}
        }
        if !matches!(
            happening,
            // Who goes to the store goes again until it is answered, and a store that ends is
            // started again however often it takes.
            Happening::Stamped { .. }
                | Happening::Late { .. }
                | Happening::Goes { .. }
                | Happening::Fault { .. }
                | Happening::StoreUp { .. }
        ) {
            inner.last_progress = now;
        }
    }

    /// From now on the client's belief in a request is judged.
    pub(super) fn believe(&self, id: &Text, host: usize, belief: Arc<Belief>) {
        self.inner().beliefs.insert(id.clone(), (host, belief));
    }

    /// A server begins: its engine has applied all entries before `index`.
    pub(super) fn began(&self, now: Duration, index: u64, engine: &Engine, first_token: u64) {
        let happening = {
            let inner = &mut *self.inner();
            inner.applied.begun = index;
            if index <= inner.applied.last {
                // It goes through what an earlier one had begun.
                return;
            }
            let last = std::mem::replace(&mut inner.applied.last, index);
            inner.applied.fresh = true;
            if let Some(shadow) = &inner.applied.shadow {
                let is_same = shadow == engine;
                let entries = index;
                Happening::ServerBack {
                    entries,
                    last,
                    is_same,
                }
            } else {
                let limits = self.plan.server.limits.to_limits();
                let config = PanelConfig {
                    retention: limits.retention.as_ms(),
                    first_token,
                };
                inner.panel = Some(Panel::with_model(config, ModelLimits::from(&limits)));
                inner.applied.shadow = Some(engine.clone());
                Happening::ServerUp { first_token }
            }
        };
        self.happen(now, &happening);
    }

    /// The server leads, and its time goes on from `at`.
    pub(super) fn leads(&self, now: Duration, at: TimeMs) {
        let shown = self.server.clock().shows(now);
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
    pub(super) fn stamped(&self, now: Duration, at: TimeMs) {
        let shown = self.inner().time.shows(self.server.clock().shows(now));
        let at = at.as_ms();
        self.happen(now, &Happening::Stamped { at, shown });
    }

    /// The server's engine has applied a command of an entry.
    pub(super) fn applied(
        &self,
        now: Duration,
        index: u64,
        at: TimeMs,
        command: &Command,
        result: &Result<Reply, Refusal>,
        events: &[Event],
    ) {
        let op = applied::op_of(at, command);
        let lines = applied::lines_of(&op, command, result, events);
        let inner = &mut *self.inner();
        if !inner.applied.is_new(index) {
            return;
        }
        inner.applied.follow(at, command);
        inner.history.command(&op, &lines);
        // Signs of life are no progress, and neither are connections that come and go.
        let is_progress = |line: &Line| !matches!(line.what, What::Session { .. });
        if lines.iter().any(is_progress) {
            inner.last_progress = now;
        }
        if inner.time.is_running() {
            let earliest = lines.iter().map(|line| line.at).min().unwrap_or(op.at);
            let shown = inner.time.shows(self.server.clock().shows(now));
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
        if let Some(happening) = applied::arrival(&op, result) {
            inner.see(now, &happening);
        }
        for (index, line) in lines.iter().enumerate() {
            // The answer to a retry says again what happened long ago.
            if (index < events.len() || matches!(line.what, What::Refused { .. }))
                && let Some(happening) = self.meaning(inner, line)
            {
                inner.see(now, &happening);
            }
        }
        inner.keep_sessions(events);
        inner.keep_named(events);
    }

    /// What a line of the engine means to the oracles of the service.
    fn meaning(&self, inner: &Inner, line: &Line) -> Option<Happening> {
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
                let ended_at = self.server.clock().when(inner.time.when(line.at));
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

    /// A few of those who have something to do.
    pub(super) fn waiting(&self) -> String {
        const SHOWN: usize = 8;
        let inner = self.inner();
        let mut text = String::new();
        for who in inner.busy.iter().take(SHOWN) {
            let _ = write!(text, "{}{who}", if text.is_empty() { "" } else { ", " });
        }
        if inner.busy.len() > SHOWN {
            let _ = write!(text, " and {} more", inner.busy.len() - SHOWN);
        }
        if let Some(lock) = inner.named.first() {
            let _ = write!(
                text,
                "; {} live without a session, as {}",
                inner.named.len(),
                lock.id
            );
        }
        text
    }

    pub(super) fn last_progress(&self) -> Duration {
        self.inner().last_progress
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

    pub(super) fn report(&self, usage: Option<Usage>) {
        self.inner().usage = usage;
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.inner().usage.clone()
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
    fn see(&mut self, now: Duration, happening: &Happening) {
        // Commands are in the history as ops and lines.
        let from_the_engine = matches!(
            happening,
            Happening::Stamped { .. }
                | Happening::Late { .. }
                | Happening::Applied { .. }
                | Happening::HttpApplied { .. }
                | Happening::Renewed { .. }
                | Happening::Opened { .. }
                | Happening::Attached { .. }
                | Happening::Detached { .. }
                | Happening::SessionEnded { .. }
                | Happening::Queued { .. }
                | Happening::Granted { .. }
                | Happening::Refused { .. }
                | Happening::Ended { .. }
        );
        if !from_the_engine {
            self.text.clear();
            let _ = write!(self.text, "{} ms: {happening}", in_ms(now));
            self.history.note(&self.text);
        }
        let seen = self.oracles.see(now, happening);
        self.found(seen);
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
