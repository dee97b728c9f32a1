//! Plans: everything that a run will do, as data, drawn from (profile, seed).

use crate::outcome::Outcome;
use serde::{Deserialize, Serialize};

/// What kind of world a seed is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// The engine against the reference model; no network.
    Engine,
    /// One server and its clients over a simulated network.
    Service,
    /// Draws one of the others per seed.
    Swarm,
}

/// A complete plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// Of profile `engine`.
    Engine(EnginePlan),
    /// Of profile `service`.
    Service(ServicePlan),
}

/// To be written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnginePlan {
    /// To be written.
    pub ops: Vec<crate::op::Op>,
}

/// To be written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServicePlan {}

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

/// Draws the plan of (profile, seed).
#[must_use]
pub fn generate(_profile: Profile, _seed: u64) -> Plan {
    unimplemented!()
}

/// Runs a plan. A pure function of the plan when it is the first run in its process; a panic in
/// what is simulated is a violation of oracle `no_panic`, not a panic of this function.
#[must_use]
pub fn run(_plan: &Plan, _options: RunOptions) -> Outcome {
    unimplemented!()
}

impl Plan {
    /// The profile that the plan is of (never `swarm`).
    #[must_use]
    pub fn profile(&self) -> Profile {
        match self {
            Plan::Engine(_) => Profile::Engine,
            Plan::Service(_) => Profile::Service,
        }
    }

    /// How large it is.
    #[must_use]
    pub fn size(&self) -> PlanSize {
        unimplemented!()
    }

    /// Smaller plans that may show the same violation, the boldest first. The shrinker tries them
    /// in turn, keeps the first that does, and asks again.
    pub fn reductions(&self) -> Box<dyn Iterator<Item = Plan> + '_> {
        unimplemented!()
    }
}
