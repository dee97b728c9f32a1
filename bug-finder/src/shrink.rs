//! Makes a plan that breaks a rule as small as it can be while the same oracle still speaks.

use crate::pool::Pool;
use crate::trials::{TrialOptions, Trials};
use crate::world::World;
use lockwright_sim::outcome::Outcome;
use lockwright_sim::plan::{PlanSize, RunOptions};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How to shrink.
#[derive(Debug, Clone, Copy)]
pub struct ShrinkOptions {
    /// How many plans to try at once.
    pub jobs: usize,
    /// A run that takes longer, in real time, hangs.
    pub run_time_max: Duration,
    /// When to stop.
    pub until: Instant,
}

/// How far shrinking has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The size of the plan that it began with.
    pub from: PlanSize,
    /// The size of the smallest that still breaks the rule.
    pub to: PlanSize,
    /// How many plans were run.
    pub runs: u64,
}

/// What shrinking came to.
#[derive(Debug)]
pub struct Smallest<P> {
    /// The smallest plan.
    pub plan: P,
    /// What came of it, if anything smaller was found at all.
    pub outcome: Option<Outcome>,
    /// How many plans were run.
    pub runs: u64,
    /// Whether no single step makes it smaller.
    pub complete: bool,
}

/// Takes steps to smaller plans, greedily, as long as the run of `seed` ends in a violation that
/// `oracle` sees. `watch` is called with the progress, and says when it wants to be called again.
///
/// Candidates are tried several at once, but it is always the boldest that is taken: the result
/// does not depend on the number of jobs.
///
/// # Errors
/// When the system refuses processes.
pub fn shrink<W: World + Sync>(
    world: &W,
    pool: Pool<'_>,
    options: ShrinkOptions,
    (plan, seed): (W::Plan, u64),
    oracle: &str,
    watch: &mut dyn FnMut(&Progress) -> Option<Instant>,
) -> io::Result<Smallest<W::Plan>> {
    let trial_options = TrialOptions {
        time_max: options.run_time_max,
        run: RunOptions::default(),
        backtraces: false,
    };
    let mut shrinker = Shrinker {
        world,
        options,
        trials: Trials::new(world, pool, trial_options),
        seed,
        oracle,
        progress: Progress {
            from: world.size(&plan),
            to: world.size(&plan),
            runs: 0,
        },
        watch,
    };
    let mut smallest = Smallest {
        plan,
        outcome: None,
        runs: 0,
        complete: false,
    };
    // After a step, the candidates before it are likely to fail again: go on behind it, and come
    // back to them in the end.
    let mut skip = 0;
    loop {
        let step = shrinker.step(&smallest.plan, skip)?;
        smallest.runs = shrinker.progress.runs;
        match step {
            Step::Smaller(index, plan, outcome) => {
                shrinker.progress.to = world.size(&plan);
                smallest.plan = plan;
                smallest.outcome = Some(outcome);
                skip = index;
            }
            Step::NoneSmaller if skip > 0 => skip = 0,
            Step::NoneSmaller => {
                smallest.complete = true;
                return Ok(smallest);
            }
            Step::OutOfTime => return Ok(smallest),
        }
    }
}

enum Step<P> {
    /// This candidate, the first in order, breaks the rule.
    Smaller(usize, P, Outcome),
    /// None does.
    NoneSmaller,
    /// Time ran out, or this process was asked to end.
    OutOfTime,
}

struct Shrinker<'a, 'w, W: World> {
    world: &'a W,
    options: ShrinkOptions,
    trials: Trials<'a, W>,
    seed: u64,
    oracle: &'w str,
    progress: Progress,
    watch: &'w mut dyn FnMut(&Progress) -> Option<Instant>,
}

impl<W: World + Sync> Shrinker<'_, '_, W> {
    /// Tries the reductions of `plan` from the one numbered `skip` on.
    fn step(&mut self, plan: &W::Plan, skip: usize) -> io::Result<Step<W::Plan>> {
        let mut candidates = self.world.reductions(plan).enumerate().skip(skip);
        let mut running: BTreeMap<usize, Rc<W::Plan>> = BTreeMap::new();
        let mut smaller: Option<(usize, W::Plan, Outcome)> = None;
        loop {
            if self.trials.interrupted() || Instant::now() >= self.options.until {
                self.trials.cancel(|_| true);
                return Ok(smaller.map_or(Step::OutOfTime, |(index, plan, outcome)| {
                    Step::Smaller(index, plan, outcome)
                }));
            }
            while smaller.is_none() && self.trials.len() < self.options.jobs {
                let Some((index, candidate)) = candidates.next() else {
                    break;
                };
                let candidate = Rc::new(candidate);
                self.trials.start(index, candidate.clone(), self.seed)?;
                running.insert(index, candidate);
            }
            if self.trials.is_empty() {
                return Ok(smaller.map_or(Step::NoneSmaller, |(index, plan, outcome)| {
                    Step::Smaller(index, plan, outcome)
                }));
            }
            let look_at = (self.watch)(&self.progress);
            let until = look_at.map_or(self.options.until, |at| at.min(self.options.until));
            for (index, outcome) in self.trials.wait(Some(until))? {
                self.progress.runs += 1;
                let Some(candidate) = running.remove(&index) else {
                    continue;
                };
                let violation = outcome.violation.as_ref();
                let fires = violation.is_some_and(|violation| violation.oracle == self.oracle);
                let is_first = smaller.as_ref().is_none_or(|(first, _, _)| index < *first);
                if fires && is_first {
                    smaller = Some((index, W::Plan::clone(&candidate), outcome));
                    self.trials.cancel(|later| later > index);
                }
            }
        }
    }
}
