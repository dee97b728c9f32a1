//! Plans of profile `service`: one server, its clients, and the faults between them; of profile
//! `fencing`, which are the same with a store; and of profile `cluster`, with several servers instead of
//! the one.

mod breaker;
mod cluster;
mod clustered;
mod crowd;
mod fencing;
mod generate;
mod http;
mod operated;
mod operator;
mod reduce;
mod shape;
mod store;
mod watch;

pub use breaker::{BreakerDeed, BreakerPlan, Credentials};
pub use cluster::{
    ClusterFault, ClusterFaultKind, ClusterPlan, End, NODES_MAX, NodePlan, ReaderPlan, Way, Who,
};
pub use operator::{OperatorDeed, OperatorPlan, OperatorStep};
pub use store::{AccessPlan, StoreFault, StoreFaultKind, StorePlan};
pub use watch::WatcherPlan;

pub(crate) use http::RETRY_PAUSE_MS;
pub use http::{HttpAttempt, Mistake};

use super::{LimitOverrides, PlanSize};
use crate::op::{OpClaim, OpWait, Text};
use lockwright_engine::{Name, Path};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use std::fmt;

/// A plan of profile `service`, `fencing` or `cluster`. All times are simulated ms since the start, unless they say that
/// they are by a host's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicePlan {
    /// What the generator drew, in a line for people; the run does not read it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub shape: String,
    /// Seeds what the world draws while it runs: the latency of each message, the randomness that
    /// the programs ask the system for.
    pub seed: u64,
    /// How long the clients work under faults. Then everything heals.
    pub active_ms: u64,
    /// How long a message takes.
    pub latency: LatencyPlan,
    /// The server.
    pub server: ServerPlan,
    /// The hosts of the clients; several clients share one.
    pub hosts: Vec<ClockPlan>,
    /// The clients.
    pub clients: Vec<ClientPlan>,
    /// The faults.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Who else comes to the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strangers: Vec<Stranger>,
    /// The watchers of what happens to locks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watchers: Vec<WatcherPlan>,
    /// Those who break locks, end sessions and ask for tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breakers: Vec<BreakerPlan>,
    /// What the locks are for; there is one in profile `fencing`, and none in the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StorePlan>,
    /// The nodes in the place of the server, which then says only how each of them is set up; there
    /// is one in profile `cluster`, and none in the others. Faults between the server and a host are
    /// between all nodes and that host then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterPlan>,
    /// Those who ask over HTTP, without a session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpAttempt>,
}

/// How long a message takes, drawn for each between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyPlan {
    /// At least this long, in ms, 1 or more.
    pub min_ms: u64,
    /// At most this long, in ms.
    pub max_ms: u64,
    /// The shape of the exponential distribution between them, in tenths: small is a long tail.
    pub curve_tenths: u32,
}

/// The server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerPlan {
    /// Its clock.
    #[serde(default)]
    pub clock: ClockPlan,
    /// A connection that says nothing for this long is given up, in ms by its clock.
    pub idle_timeout_ms: u64,
    /// How many connections may be open at once; the default without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_max: Option<u32>,
    /// When it is told to stop it waits for locks, for so long at most, in ms by its clock; without it
    /// for answers only. Nodes of a cluster are told to wait for locks, and do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_ms: Option<u64>,
    /// The limits of its engine that differ from the defaults.
    #[serde(default, skip_serializing_if = "LimitOverrides::is_empty")]
    pub limits: LimitOverrides,
    /// Its disk; without one it keeps everything in memory, and forgets it when it dies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskPlan>,
}

/// A disk, and how the server uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskPlan {
    /// A sync takes at least this long, in microseconds.
    pub sync_us_min: u64,
    /// A sync takes at most this long, in microseconds.
    pub sync_us_max: u64,
    /// After how many entries of its log the server takes a snapshot.
    pub snapshot_entries: u64,
    /// How long a file of its log is when the next one begins, in bytes; the default without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_segment_bytes: Option<u64>,
}

/// A host's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockPlan {
    /// What it shows at the start, in ms.
    #[serde(default)]
    pub offset_ms: u64,
    /// How much faster than simulated time it goes, in millionths; negative is slower.
    #[serde(default)]
    pub drift_ppm: i32,
    /// When it leaps forward.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jumps: Vec<ClockJump>,
}

/// A leap of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockJump {
    /// When.
    pub at_ms: u64,
    /// How far forward.
    pub by_ms: u64,
}

/// One client: a session, and what it tries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientPlan {
    /// The index of its host.
    pub host: usize,
    /// The namespace of its session.
    pub namespace: Text,
    /// The abandon timeout of its session, in ms.
    pub abandon_ms: u64,
    /// How long it is silent at most, in ms by its clock.
    pub keep_alive_ms: u64,
    /// After how long without an answer it makes a new connection, in ms by its clock.
    pub call_timeout_ms: u64,
    /// What it tries. Attempts overlap: a client has many locks at once.
    pub attempts: Vec<Attempt>,
    /// When it closes its session, if it does before the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closes_at_ms: Option<u64>,
}

/// One request and what the client does with the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// When it asks.
    pub at_ms: u64,
    /// For what.
    pub claims: Vec<OpClaim>,
    /// The lease, in ms; none without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// How long it waits.
    pub wait: OpWait,
    /// How long after it asked it gives up, if it is queued then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_after_ms: Option<u64>,
    /// How it renews while it holds, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew: Option<RenewPlan>,
    /// How long it holds before it releases; it does not without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_ms: Option<u64>,
    /// What it does at the store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accesses: Vec<AccessPlan>,
}

/// How a holder renews.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewPlan {
    /// How long after the grant, and then after each renewal, in ms, 1 or more.
    pub every_ms: u64,
    /// The lease it asks for, in ms.
    pub ttl_ms: u64,
}

/// A host, by its place in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The server.
    Server,
    /// The clients' host with this index.
    Host(usize),
}

/// Somebody without a session who comes to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stranger {
    /// When.
    pub at_ms: u64,
    /// The index of the clients' host that it comes from.
    pub host: usize,
    /// What it tries.
    pub what: Knock,
}

/// What a stranger tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Knock {
    /// To resume somebody's session with a secret of its own.
    Resume,
    /// To ask for a lock without a session.
    Acquire,
    /// To send what is no message.
    Garbage,
    /// To connect and say nothing.
    Silence,
    /// To lock something as a page of another site in a browser.
    Page,
    /// The same under a name that was made to mean the server.
    Rebound,
    /// To end somebody's session as an operator, without the token.
    Operator,
    /// The same with a token of its own.
    Guess,
    /// To open a link as a node, without the secret of the cluster.
    Node,
}

impl fmt::Display for Knock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Knock::Resume => "resume a session with a wrong secret",
            Knock::Acquire => "ask for a lock without a session",
            Knock::Garbage => "send what is no message",
            Knock::Silence => "connect and say nothing",
            Knock::Page => "lock something as a page of another site",
            Knock::Rebound => "lock something as a page whose name means the server",
            Knock::Operator => "end a session without the admin token",
            Knock::Guess => "end a session with a wrong admin token",
            Knock::Node => "open a link without the cluster's secret",
        })
    }
}

/// Something that goes wrong for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it begins.
    pub at_ms: u64,
    /// How long it lasts; what cannot last (a reset) ignores it. Healing ends it in any case.
    pub for_ms: u64,
    /// What it is.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Messages between the server and a clients' host are lost.
    Cut {
        /// The clients' host.
        host: usize,
        /// Those that the clients send.
        to_server: bool,
        /// Those that the server sends.
        from_server: bool,
    },
    /// Messages between the server and a clients' host are held back, and come when it ends.
    Hold {
        /// The clients' host.
        host: usize,
    },
    /// Messages between the server and a clients' host take longer.
    Slow {
        /// The clients' host.
        host: usize,
        /// How long each takes at most, in ms.
        max_ms: u64,
    },
    /// Every connection of a host breaks.
    Reset {
        /// The host.
        place: Place,
    },
    /// A host dies with all that it had in memory, and starts again when the fault ends.
    Crash {
        /// The host.
        place: Place,
    },
    /// A host computes nothing while time passes.
    Pause {
        /// The host.
        place: Place,
    },
    /// The server's host loses its power: as in a crash, but nobody is told, and what its disk has
    /// not synced is lost, whole or in part. It has power again when the fault ends.
    PowerLoss,
    /// The server's disk takes nothing more.
    DiskFull,
    /// The server's disk fails to sync.
    DiskFails,
    /// Each sync of the server's disk takes longer.
    DiskSlow {
        /// By so much, in ms.
        by_ms: u64,
    },
    /// The server is told to stop, and before it starts again when the fault ends, the end of its log
    /// is lost. It must not start with that; then the log is put back.
    LogLoss {
        /// How much of the newest segment is left, in thousandths; without it the whole file is gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kept: Option<u32>,
    },
    /// The server is told to stop when no locks are held any more, for as long as its `drain_ms` at most.
    /// It starts again when it has stopped and the fault has ended.
    Drain,
}

/// Reads a plan of profile `fencing`, and refuses one that cannot be run.
pub(super) fn read_fencing<'de, D: Deserializer<'de>>(input: D) -> Result<ServicePlan, D::Error> {
    let plan = read_any(input)?;
    if plan.store.is_none() || plan.cluster.is_some() {
        return Err(D::Error::custom(
            "a plan of profile `fencing` has a store, and one server",
        ));
    }
    Ok(plan)
}

/// Reads a plan of profile `cluster`, and refuses one that cannot be run.
pub(super) fn read_cluster<'de, D: Deserializer<'de>>(input: D) -> Result<ServicePlan, D::Error> {
    let plan = read_any(input)?;
    if plan.cluster.is_none() {
        return Err(D::Error::custom("a plan of profile `cluster` has nodes"));
    }
    Ok(plan)
}

/// Reads a plan of profile `service`, and refuses one that cannot be run.
pub(super) fn read<'de, D: Deserializer<'de>>(input: D) -> Result<ServicePlan, D::Error> {
    let plan = read_any(input)?;
    if plan.store.is_some() || plan.cluster.is_some() {
        return Err(D::Error::custom(
            "a plan of profile `service` has no store, and one server",
        ));
    }
    Ok(plan)
}

fn read_any<'de, D: Deserializer<'de>>(input: D) -> Result<ServicePlan, D::Error> {
    let plan = ServicePlan::deserialize(input)?;
    plan.validate().map_err(D::Error::custom)?;
    Ok(plan)
}

/// Every clock's rate differs from simulated time by at most this many millionths, so that the
/// rates of two differ by less than the bound of 1 % that clients are told (SEMANTICS section 7.4).
pub const DRIFT_PPM_MAX: i32 = 4_000;

impl ServicePlan {
    /// How large it is.
    pub(super) fn size(&self) -> PlanSize {
        PlanSize {
            clients: self.clients.len(),
            commands: self
                .clients
                .iter()
                .map(|client| client.attempts.len())
                .sum::<usize>()
                + self.http.len()
                + self.operator().map_or(0, |one| one.steps.len()),
            faults: self.faults.len()
                + self.store.as_ref().map_or(0, |store| store.faults.len())
                + self
                    .cluster
                    .as_ref()
                    .map_or(0, |cluster| cluster.faults.len()),
        }
    }

    /// Whether the servers' clocks keep their rates, so that clients may rely on their own deadlines.
    #[must_use]
    pub fn server_clock_is_steady(&self) -> bool {
        match &self.cluster {
            Some(cluster) => cluster.clocks_are_steady(),
            None => self.server.clock.jumps.is_empty(),
        }
    }

    /// How many servers there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.cluster
            .as_ref()
            .map_or(1, |cluster| cluster.nodes.len())
    }

    /// Who changes which nodes there are, if somebody does.
    fn operator(&self) -> Option<&OperatorPlan> {
        self.cluster.as_ref()?.operator.as_ref()
    }

    /// For how long the server waits for locks when it stops, at most, in ms; nodes of a cluster do not.
    pub(crate) fn drain_ms(&self) -> u64 {
        match self.cluster {
            Some(_) => 0,
            None => self.server.drain_ms.unwrap_or(0),
        }
    }

    /// Whether a fault has to do with the server's disk alone.
    #[must_use]
    pub fn is_of_the_disk(kind: FaultKind) -> bool {
        matches!(
            kind,
            FaultKind::DiskFull
                | FaultKind::DiskFails
                | FaultKind::DiskSlow { .. }
                | FaultKind::LogLoss { .. }
        )
    }

    /// All attempts of all clients.
    fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.clients.iter().flat_map(|client| &client.attempts)
    }

    /// Whether the plan can be run: places that exist, clocks that go forward.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn validate(&self) -> Result<(), String> {
        let hosts = self.hosts.len();
        let host_exists = |host: usize| {
            if host < hosts {
                Ok(())
            } else {
                Err(format!("host {host} is not among the {hosts}"))
            }
        };
        if self.latency.min_ms == 0 || self.latency.max_ms < self.latency.min_ms {
            return Err("latency: min_ms must be at least 1 and at most max_ms".to_owned());
        }
        if self.latency.curve_tenths == 0 {
            return Err("latency: curve_tenths must be at least 1".to_owned());
        }
        let longest = [
            self.active_ms,
            self.latency.max_ms,
            self.server.idle_timeout_ms,
        ];
        if longest.iter().any(|ms| *ms > PHASE_MS_MAX) {
            return Err(format!(
                "active_ms, max_ms and idle_timeout_ms are at most {PHASE_MS_MAX}"
            ));
        }
        for clock in self.hosts.iter().chain([&self.server.clock]) {
            clock.validate()?;
        }
        for client in &self.clients {
            host_exists(client.host)?;
            client.validate()?;
            let late = client
                .attempts
                .iter()
                .any(|attempt| attempt.at_ms >= self.active_ms);
            if late {
                return Err("an attempt begins (at_ms) before the first phase ends".to_owned());
            }
        }
        if let Some(store) = &self.store {
            store.validate(hosts, self.latency.min_ms)?;
        } else if self.attempts().any(|attempt| !attempt.accesses.is_empty()) {
            return Err("accesses, and there is no store".to_owned());
        }
        for attempt in &self.http {
            host_exists(attempt.host)?;
            attempt.validate()?;
            if attempt.at_ms >= self.active_ms {
                return Err("http: it begins (at_ms) before the first phase ends".to_owned());
            }
        }
        if self.server.connections_max == Some(0) {
            return Err("connections_max must be at least 1".to_owned());
        }
        if self.server.drain_ms.is_some_and(|ms| ms > PHASE_MS_MAX) {
            return Err(format!("server: drain_ms is at most {PHASE_MS_MAX}"));
        }
        if let Some(cluster) = &self.cluster {
            cluster.validate(hosts, self.latency.min_ms, self.active_ms)?;
            self.is_without_server()?;
        }
        match self.server.disk {
            Some(disk) => disk.validate()?,
            None if self.faults.iter().any(|one| Self::is_of_the_disk(one.kind)) => {
                return Err("a fault of the disk, and the server has none".to_owned());
            }
            None => {}
        }
        self.strangers
            .iter()
            .try_for_each(|stranger| host_exists(stranger.host))?;
        self.watchers
            .iter()
            .try_for_each(|watcher| watcher.validate(hosts))?;
        self.breakers
            .iter()
            .try_for_each(|breaker| breaker.validate(hosts))?;
        self.faults.iter().try_for_each(|fault| match fault.kind {
            FaultKind::Cut { host, .. } | FaultKind::Hold { host } => host_exists(host),
            FaultKind::Slow { host, max_ms } if max_ms >= self.latency.min_ms => host_exists(host),
            FaultKind::Slow { .. } => Err("slow: max_ms is below the latency's min_ms".to_owned()),
            FaultKind::Reset { place }
            | FaultKind::Crash { place }
            | FaultKind::Pause { place } => match place {
                Place::Server => Ok(()),
                Place::Host(host) => host_exists(host),
            },
            FaultKind::DiskSlow { by_ms } if by_ms > PHASE_MS_MAX => {
                Err(format!("disk_slow: by_ms is at most {PHASE_MS_MAX}"))
            }
            FaultKind::Drain if self.server.drain_ms.is_none() => {
                Err("drain: the server has no drain_ms".to_owned())
            }
            FaultKind::LogLoss { kept } if kept.is_some_and(|kept| kept >= 1_000) => {
                Err("log_loss: kept is at most 999".to_owned())
            }
            FaultKind::PowerLoss
            | FaultKind::DiskFull
            | FaultKind::DiskFails
            | FaultKind::DiskSlow { .. }
            | FaultKind::LogLoss { .. }
            | FaultKind::Drain => Ok(()),
        })
    }
}

impl ServicePlan {
    /// Whether nothing is said of a server that nodes are in the place of.
    fn is_without_server(&self) -> Result<(), String> {
        let is_of_server = |kind| match kind {
            FaultKind::Cut { .. } | FaultKind::Hold { .. } | FaultKind::Slow { .. } => false,
            FaultKind::Reset { place }
            | FaultKind::Crash { place }
            | FaultKind::Pause { place } => place == Place::Server,
            FaultKind::PowerLoss
            | FaultKind::DiskFull
            | FaultKind::DiskFails
            | FaultKind::DiskSlow { .. }
            | FaultKind::LogLoss { .. }
            | FaultKind::Drain => true,
        };
        let is_there = self.server.disk.is_some()
            || self.server.clock != ClockPlan::default()
            || self.store.is_some()
            || self.faults.iter().any(|fault| is_of_server(fault.kind));
        if is_there {
            let message =
                "cluster: clocks, disks and faults are those of the nodes, and there is no store";
            return Err(message.to_owned());
        }
        Ok(())
    }
}

impl Attempt {
    fn validate(&self) -> Result<(), String> {
        if self.renew.is_some_and(|renew| renew.every_ms == 0) {
            return Err("renew: every_ms must be at least 1".to_owned());
        }
        if self.renew.is_some() && self.hold_ms.is_none() {
            return Err("renew: who renews must release some time (hold_ms)".to_owned());
        }
        if self.hold_ms.is_none() && self.ttl_ms.is_none() {
            return Err("who never releases (hold_ms) must have a lease (ttl_ms)".to_owned());
        }
        let wait = match self.wait {
            OpWait::For(ms) => Some(ms),
            OpWait::No | OpWait::Forever => None,
        };
        let renewed = self.renew.map(|renew| renew.ttl_ms);
        let times = [
            self.ttl_ms,
            wait,
            renewed,
            self.cancel_after_ms,
            self.hold_ms,
        ];
        if times
            .into_iter()
            .flatten()
            .chain([self.at_ms])
            .any(|ms| ms > PHASE_MS_MAX)
        {
            return Err(format!(
                "the times of an attempt are at most {PHASE_MS_MAX} ms"
            ));
        }
        self.claims.iter().try_for_each(|claim| {
            Path::parse(claim.path.clone())
                .map(|_| ())
                .map_err(|error| format!("{claim}: {error}"))
        })?;
        self.accesses
            .iter()
            .try_for_each(|access| access.validate(&self.claims))
    }
}

/// No phase or timeout of a plan is longer than this, in ms: a day.
const PHASE_MS_MAX: u64 = 86_400_000;

impl DiskPlan {
    /// How many syncs there are at most before something is on the disk: those of a group, its own
    /// and two of a new file of the log, of the group before, and of two commits of a snapshot
    /// between them.
    pub(crate) const SYNCS_MAX: u64 = 3 + 3 + 4;

    /// How long a sync takes at most, in ms.
    pub(crate) fn sync_ms_max(self) -> u64 {
        self.sync_us_max.div_ceil(1_000)
    }

    fn validate(self) -> Result<(), String> {
        if self.sync_us_min > self.sync_us_max || self.sync_us_max > 1_000_000 {
            return Err("disk: sync_us_min is at most sync_us_max, and that a second".to_owned());
        }
        if self.snapshot_entries == 0 {
            return Err("disk: snapshot_entries must be at least 1".to_owned());
        }
        if self.log_segment_bytes.is_some_and(|bytes| bytes < 1024) {
            return Err("disk: log_segment_bytes must be at least 1024".to_owned());
        }
        Ok(())
    }
}

impl ClockPlan {
    fn validate(&self) -> Result<(), String> {
        if self.drift_ppm.abs() > DRIFT_PPM_MAX {
            return Err(format!("drift_ppm is at most {DRIFT_PPM_MAX} either way"));
        }
        let leaps = self.jumps.iter().map(|jump| jump.by_ms.max(jump.at_ms));
        if leaps.chain([self.offset_ms]).any(|ms| ms > 1 << 40) {
            return Err("offset_ms, at_ms and by_ms of a clock are at most 2^40".to_owned());
        }
        Ok(())
    }
}

impl ClientPlan {
    fn validate(&self) -> Result<(), String> {
        let timers = [self.abandon_ms, self.keep_alive_ms, self.call_timeout_ms];
        if timers.iter().any(|ms| *ms == 0 || *ms > PHASE_MS_MAX) {
            return Err(format!("a client's timers are from 1 to {PHASE_MS_MAX} ms"));
        }
        if self.keep_alive_ms > self.abandon_ms / 3 {
            return Err("keep_alive_ms is at most a third of abandon_ms".to_owned());
        }
        Name::new(self.namespace.clone()).map_err(|error| format!("namespace: {error}"))?;
        self.attempts.iter().try_for_each(Attempt::validate)
    }
}
