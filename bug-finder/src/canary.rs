//! Worlds that misbehave on purpose: proof that the finder sees what it is there to see.
//!
//! A hunt that cannot fail says nothing by its silence. So the tests, and the pipeline of every
//! release, hunt in a world with one of these in it, and must find it.

use crate::world::World;
use clap::ValueEnum;
use lockwright_sim::outcome::{HistoryHash, Outcome, Violation};
use lockwright_sim::plan::{PlanSize, Profile, RunOptions};

/// How a world misbehaves, in each plan of enough commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Canary {
    /// It breaks a rule.
    Violation,
    /// It never ends.
    Hang,
    /// Its process dies.
    Abort,
    /// It panics where no simulator catches it.
    Panic,
    /// Its history is another in each process.
    Nondeterminism,
}

/// Only seeds with this remainder, divided by [`SEED_DIVISOR`], misbehave: silence comes first.
const SEED_REMAINDER: u64 = 3;
const SEED_DIVISOR: u64 = 4;
/// Plans with fewer commands behave: this is what shrinking must come to.
const COMMANDS_MIN: usize = 3;

/// The worlds of `inner`, with or without a canary in them.
#[derive(Debug, Clone, Copy)]
pub struct WithCanary<W> {
    /// The worlds.
    pub inner: W,
    /// How they misbehave, if they do.
    pub canary: Option<Canary>,
}

impl<W: World> World for WithCanary<W> {
    type Plan = W::Plan;

    fn prepare(&self) {
        self.inner.prepare();
    }

    fn generate(&self, profile: Profile, seed: u64) -> W::Plan {
        self.inner.generate(profile, seed)
    }

    fn profile(&self, plan: &W::Plan) -> Profile {
        self.inner.profile(plan)
    }

    fn is_isolated(&self, plan: &W::Plan) -> bool {
        self.inner.is_isolated(plan)
    }

    fn size(&self, plan: &W::Plan) -> PlanSize {
        self.inner.size(plan)
    }

    fn reductions<'a>(&self, plan: &'a W::Plan) -> Box<dyn Iterator<Item = W::Plan> + 'a> {
        self.inner.reductions(plan)
    }

    fn run(&self, plan: &W::Plan, seed: u64, options: RunOptions) -> Outcome {
        let sings =
            seed % SEED_DIVISOR == SEED_REMAINDER && self.inner.size(plan).commands >= COMMANDS_MIN;
        let Some(canary) = self.canary.filter(|_| sings) else {
            return self.inner.run(plan, seed, options);
        };
        match canary {
            Canary::Hang => loop {
                std::thread::yield_now();
            },
            Canary::Abort => std::process::abort(),
            Canary::Panic => panic!("the canary sings"),
            Canary::Violation | Canary::Nondeterminism => {}
        }
        let mut outcome = self.inner.run(plan, seed, options);
        if canary == Canary::Violation {
            outcome.violation = Some(Violation {
                oracle: "canary".to_owned(),
                rule: "no canary sings".to_owned(),
                at_ms: 0,
                message: format!("the canary sings in a plan of {COMMANDS_MIN} commands or more"),
            });
        } else {
            outcome.history_hash = HistoryHash(std::process::id().into());
        }
        outcome
    }
}
