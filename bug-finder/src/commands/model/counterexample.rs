//! From a path of the checker that breaks a rule to a trace that replays it.

use crate::case::{self, Case, Lab, Patience};
use crate::commands::{Context, all_cores};
use crate::error::Failure;
use crate::status::Status;
use lockwright_checker::{Exhaustive, QuietPanics, Rule, Step};
use lockwright_engine::Engine;
use lockwright_sim::outcome::Violation;
use lockwright_sim::plan::{Plan, RunOptions};
use stateright::Model;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A rule that was broken, and where it is written down.
#[derive(Debug)]
pub(super) struct Found {
    /// The shortened path.
    pub(super) steps: Vec<String>,
    /// What the trace holds: what an oracle says of it, or else what the model says.
    pub(super) violation: Violation,
    pub(super) trace: PathBuf,
    /// Whether an oracle sees it, too, so that `replay` shows it.
    pub(super) replays: bool,
}

/// Shortens the path, replays it in the world of profile `engine`, writes the trace. None if this
/// process is asked to end meanwhile.
pub(super) fn look_into(
    out: &Path,
    context: &Context,
    model: &Exhaustive<Engine>,
    rule: Rule,
    path: &[Step],
) -> Result<Option<Found>, Failure> {
    /// A path of a small world has a few dozen commands at most.
    const RUN_MAX: Duration = Duration::from_secs(10);
    const SHRINK_MAX: Duration = Duration::from_secs(20);
    /// The path comes from no seed.
    const NO_SEED: u64 = 0;
    let quiet = QuietPanics::new();
    let Some((path, breach)) = model.shorten(path) else {
        return Err(Failure::Internal(format!(
            "the path that breaks `{}` does not break it again; please report it",
            rule.name()
        )));
    };
    let plan = Plan::Engine(model.plan(&path));
    let at_ms = model.follow(&path).0.book().clock;
    drop(quiet);
    let steps = path.iter().map(|step| model.format_action(step)).collect();
    let lab = Lab {
        world: &context.world,
        interrupts: &context.interrupts,
        patience: Patience {
            run: RUN_MAX,
            shrink: SHRINK_MAX,
            jobs: all_cores(),
        },
    };
    wait_until_alone();
    let start = Instant::now();
    let Some(outcome) = lab.run(&plan, NO_SEED, RunOptions::default())? else {
        return Ok(None);
    };
    let replays = outcome.violation.is_some();
    let by_model = Violation {
        oracle: "model".to_owned(),
        rule: breach.rule.name().to_owned(),
        at_ms,
        message: breach.message,
    };
    let mut case = Case {
        seed: NO_SEED,
        plan,
        history_hash: outcome.history_hash,
        violation: outcome.violation.unwrap_or(by_model),
    };
    std::fs::create_dir_all(out)
        .map_err(|error| Failure::Usage(format!("{}: {error}", out.display())))?;
    let trace = case::trace_path(out, "model", NO_SEED, &case.violation.oracle);
    // Written before anything else can go wrong; replaced when it is smaller.
    lab.write(&mut case, None, &trace)?;
    if replays {
        let shrunk = lab.shrink(&mut case, start.elapsed(), &mut Status::new())?;
        lab.write(&mut case, Some(shrunk), &trace)?;
    }
    Ok(Some(Found {
        steps,
        violation: case.violation,
        trace,
        replays,
    }))
}

/// Children are forked from a process with one thread. The checker's have been joined, but the
/// system may still count one that is just leaving.
fn wait_until_alone() {
    const PATIENCE: Duration = Duration::from_secs(5);
    let start = Instant::now();
    let threads = || std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    while threads() > 1 && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(1));
    }
}
