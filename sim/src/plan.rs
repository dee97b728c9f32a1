//! Plans: everything that a run will do, as data, drawn from (profile, seed).
//!
//! A trace is a plan with its outcome, replay needs no generator, and shrinking is deleting parts
//! of a plan. Each profile has a module here for its plans and one under [`crate::world`] for the
//! world that runs them.

mod backtrace;
mod engine;
mod guard;
mod service;

pub use backtrace::want_backtraces;
pub use engine::{EngineChecks, EnginePlan, LimitOverrides, Relimit};
pub(crate) use guard::{Panicked, catch as catch_panic, catch_first as catch_first_panic};
pub use guard::{end_at_first_panic, escaped as escaped_panic};
pub use service::{
    AccessPlan, Attempt, BreakerDeed, BreakerPlan, ClientPlan, ClockJump, ClockPlan, ClusterFault,
    ClusterFaultKind, ClusterPlan, Credentials, DRIFT_PPM_MAX, DiskPlan, End, Fault, FaultKind,
    HttpAttempt, Knock, LatencyPlan, Mistake, NODES_MAX, NodePlan, OperatorDeed, OperatorPlan,
    OperatorStep, Place, ReaderPlan, RenewPlan, ServerPlan, ServicePlan, StoreFault,
    StoreFaultKind, StorePlan, Stranger, WatcherPlan, Way, Who,
};

pub(crate) use service::RETRY_PAUSE_MS;

use crate::{
    crash_report,
    draw::{Draw, Stream},
    oracle::no_panic,
    outcome::{HistoryHash, Outcome},
    world,
};
use serde::{Deserialize, Serialize};

/// What kind of world a seed is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// The engine against the reference model; no network.
    Engine,
    /// One server and its clients over a simulated network.
    Service,
    /// The same with a store, to which holders write with their tokens.
    Fencing,
    /// Several servers that are one, their clients, and faults between all of them.
    Cluster,
    /// Draws one of the others per seed.
    Swarm,
}

/// What profile `swarm` draws from, each as likely as the next.
const SWARM: &[Profile] = &[
    Profile::Engine,
    Profile::Service,
    Profile::Fencing,
    Profile::Cluster,
];

/// A complete plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// Of profile `engine`.
    Engine(EnginePlan),
    /// Of profile `service`.
    #[serde(deserialize_with = "service::read")]
    Service(ServicePlan),
    /// Of profile `fencing`: a plan of profile `service`, with a store.
    #[serde(deserialize_with = "service::read_fencing")]
    Fencing(ServicePlan),
    /// Of profile `cluster`: a plan of profile `service`, with nodes in the place of the server.
    #[serde(deserialize_with = "service::read_cluster")]
    Cluster(ServicePlan),
}

/// How large a plan is, for people and for the shrinker's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSize {
    /// Clients (owners and sessions in profile `engine`).
    pub clients: usize,
    /// Commands.
    pub commands: usize,
    /// Faults.
    pub faults: usize,
}

/// What a run keeps.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Keep the history as text.
    pub keep_history: bool,
}

impl Profile {
    /// The profile that the world of `seed` has: itself, or what `swarm` draws.
    #[must_use]
    pub fn of_seed(self, seed: u64) -> Profile {
        match self {
            Profile::Swarm => *Draw::new(self, seed, Stream::Swarm).pick(SWARM),
            Profile::Engine | Profile::Service | Profile::Fencing | Profile::Cluster => self,
        }
    }
}

/// Draws the plan of (profile, seed).
#[must_use]
pub fn generate(profile: Profile, seed: u64) -> Plan {
    match profile.of_seed(seed) {
        Profile::Engine => Plan::Engine(EnginePlan::generate(seed)),
        Profile::Service => Plan::Service(ServicePlan::generate(seed)),
        Profile::Fencing => Plan::Fencing(ServicePlan::generate_fencing(seed)),
        Profile::Cluster => Plan::Cluster(ServicePlan::generate_cluster(seed)),
        Profile::Swarm => unreachable!("`swarm` draws one of the others"),
    }
}

/// Computes what a process computes once, whatever it runs: tables of openraft's statistics, which
/// take as long as hundreds of commands.
pub fn prepare() {
    let _ = base2histogram::LogScale::get(base2histogram::LogScale::DEFAULT_WIDTH);
}

/// Runs a plan. A pure function of the plan when it is the first run in its process; a panic in
/// what is simulated is a violation of oracle `no_panic`, not a panic of this function.
#[must_use]
pub fn run(plan: &Plan, options: RunOptions) -> Outcome {
    crash_report::begin();
    let run = catch_panic(|| match plan {
        Plan::Engine(plan) => world::engine::run(plan, options),
        Plan::Service(plan) | Plan::Fencing(plan) | Plan::Cluster(plan) => {
            world::service::run(plan, options)
        }
    });
    guard::with_frames(run.unwrap_or_else(|panic| Outcome {
        history_hash: HistoryHash::default(),
        commands: 0,
        simulated_ms: 0,
        violation: Some(no_panic::violation(0, &panic)),
        history: None,
    }))
}

impl Plan {
    /// The profile that the plan is of (never `swarm`).
    #[must_use]
    pub fn profile(&self) -> Profile {
        match self {
            Plan::Engine(_) => Profile::Engine,
            Plan::Service(_) => Profile::Service,
            Plan::Fencing(_) => Profile::Fencing,
            Plan::Cluster(_) => Profile::Cluster,
        }
    }

    /// The same, with a store that does not check tokens, if it has one: what it then lets in must
    /// be found.
    #[must_use]
    pub fn with_unchecked_store(mut self) -> Plan {
        if let Plan::Fencing(plan) = &mut self {
            let store = plan.store.iter_mut();
            store.for_each(|store| store.checked = false);
        }
        self
    }

    /// How large it is.
    #[must_use]
    pub fn size(&self) -> PlanSize {
        match self {
            Plan::Engine(plan) => plan.size(),
            Plan::Service(plan) | Plan::Fencing(plan) | Plan::Cluster(plan) => plan.size(),
        }
    }

    /// Smaller plans that may show the same violation, the boldest first. The shrinker tries them
    /// in turn, keeps the first that does, and asks again. It comes to an end: each candidate is
    /// strictly smaller in a measure that cannot fall for ever.
    pub fn reductions(&self) -> Box<dyn Iterator<Item = Plan> + '_> {
        match self {
            Plan::Engine(plan) => Box::new(plan.reductions().map(Plan::Engine)),
            Plan::Service(plan) => Box::new(plan.reductions().map(Plan::Service)),
            Plan::Fencing(plan) => Box::new(plan.reductions().map(Plan::Fencing)),
            Plan::Cluster(plan) => Box::new(plan.reductions().map(Plan::Cluster)),
        }
    }
}
