//! What the finder asks of the worlds that it hunts in.
//!
//! The finder knows nothing of locks: it forks, watches, shrinks and reports. All that it needs of
//! a world is here, so it is tested with worlds that hang, crash and waver at will.

use lockwright_sim::outcome::Outcome;
use lockwright_sim::plan::{self, Plan, PlanSize, Profile, RunOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A family of worlds: plans and how to run them.
pub trait World {
    /// What is drawn from a seed, run, and shrunk.
    type Plan: Clone + Serialize + DeserializeOwned + Send + Sync;

    /// Computes what every run needs and no run changes, so that children which are forked from then
    /// on have it. Costs next to nothing but for the first time.
    fn prepare(&self) {}

    /// Draws the plan of (profile, seed).
    fn generate(&self, profile: Profile, seed: u64) -> Self::Plan;

    /// The profile that a plan is of; never `swarm`.
    fn profile(&self, plan: &Self::Plan) -> Profile;

    /// Whether a run of this plan needs a process in which nothing ran before.
    fn is_isolated(&self, plan: &Self::Plan) -> bool;

    /// How large a plan is.
    fn size(&self, plan: &Self::Plan) -> PlanSize;

    /// Smaller plans, the boldest first.
    fn reductions<'a>(&self, plan: &'a Self::Plan) -> Box<dyn Iterator<Item = Self::Plan> + 'a>;

    /// Runs a plan. The thread is new, and its randomness is a function of `seed`.
    fn run(&self, plan: &Self::Plan, seed: u64, options: RunOptions) -> Outcome;
}

/// The worlds of `lockwright-sim`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SimWorld {
    /// Whether the stores of profile `fencing` check no tokens, to see that found.
    pub store_unchecked: bool,
}

impl World for SimWorld {
    type Plan = Plan;

    fn prepare(&self) {
        plan::prepare();
    }

    fn generate(&self, profile: Profile, seed: u64) -> Plan {
        let plan = plan::generate(profile, seed);
        if self.store_unchecked {
            plan.with_unchecked_store()
        } else {
            plan
        }
    }

    fn profile(&self, plan: &Plan) -> Profile {
        plan.profile()
    }

    fn is_isolated(&self, plan: &Plan) -> bool {
        // Task ids of the runtime come from a counter of the process, and reach the order in which
        // a crashed host drops its tasks. The engine alone has nothing of that kind.
        !matches!(plan, Plan::Engine(_))
    }

    fn size(&self, plan: &Plan) -> PlanSize {
        plan.size()
    }

    fn reductions<'a>(&self, plan: &'a Plan) -> Box<dyn Iterator<Item = Plan> + 'a> {
        plan.reductions()
    }

    fn run(&self, plan: &Plan, _seed: u64, options: RunOptions) -> Outcome {
        plan::run(plan, options)
    }
}
