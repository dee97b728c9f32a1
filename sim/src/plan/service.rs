//! Plans of profile `service`: one server, its clients, and the faults between them.

use super::{PlanSize, RunOptions};
use crate::outcome::{HistoryHash, Outcome};
use serde::{Deserialize, Serialize};

/// A plan of profile `service`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicePlan {}

impl ServicePlan {
    /// Draws the plan of a seed.
    pub(super) fn generate(_seed: u64) -> ServicePlan {
        ServicePlan {}
    }

    /// Runs it.
    pub(super) fn run(&self, _options: RunOptions) -> Outcome {
        Outcome {
            history_hash: HistoryHash::default(),
            commands: 0,
            simulated_ms: 0,
            violation: None,
            history: None,
        }
    }

    /// How large it is.
    pub(super) fn size(&self) -> PlanSize {
        PlanSize {
            clients: 0,
            commands: 0,
            faults: 0,
        }
    }

    /// Smaller plans.
    pub(super) fn reductions(&self) -> impl Iterator<Item = ServicePlan> + '_ {
        std::iter::empty()
    }
}
