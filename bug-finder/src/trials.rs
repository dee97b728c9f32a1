//! Plans, each run in a child of its own, several at once.

use crate::pool::{ChildId, End, Event, Pool};
use crate::worker;
use crate::world::World;
use lockwright_sim::outcome::Outcome;
use lockwright_sim::plan::RunOptions;
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How plans are tried.
#[derive(Debug, Clone, Copy)]
pub struct TrialOptions {
    /// A run that takes longer, in real time, hangs.
    pub time_max: Duration,
    /// What a run keeps.
    pub run: RunOptions,
}

struct Trial<P> {
    tag: usize,
    plan: Rc<P>,
    seed: u64,
    outcome: Option<Outcome>,
    is_retry: bool,
}

/// Plans that are being run; each is told apart by a tag of its caller's.
pub struct Trials<'a, W: World> {
    world: &'a W,
    pool: Pool<'a>,
    options: TrialOptions,
    running: BTreeMap<ChildId, Trial<W::Plan>>,
}

impl<'a, W: World + Sync> Trials<'a, W> {
    /// None yet.
    #[must_use]
    pub fn new(world: &'a W, pool: Pool<'a>, options: TrialOptions) -> Trials<'a, W> {
        Trials {
            world,
            pool,
            options,
            running: BTreeMap::new(),
        }
    }

    /// How many run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether this process was asked to end.
    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.pool.interrupted()
    }

    /// Starts to run `plan`.
    ///
    /// # Errors
    /// When the system has no room for another process.
    pub fn start(&mut self, tag: usize, plan: Rc<W::Plan>, seed: u64) -> io::Result<()> {
        self.start_again(tag, plan, seed, false)
    }

    fn start_again(
        &mut self,
        tag: usize,
        plan: Rc<W::Plan>,
        seed: u64,
        is_retry: bool,
    ) -> io::Result<()> {
        let (world, options) = (self.world, self.options);
        world.prepare();
        let id = self.pool.spawn(options.time_max, |sender| {
            worker::run_plan(world, &plan, seed, options.run, sender)
        })?;
        let trial = Trial {
            tag,
            plan,
            seed,
            outcome: None,
            is_retry,
        };
        self.running.insert(id, trial);
        Ok(())
    }

    /// The trials that ended since the last call, waiting for one until `until` or until this
    /// process is asked to end.
    ///
    /// # Errors
    /// When the system refuses, or a child says what is no outcome.
    pub fn wait(&mut self, until: Option<Instant>) -> io::Result<Vec<(usize, Outcome)>> {
        let mut ended = Vec::new();
        for event in self.pool.wait(until)? {
            match event {
                Event::Message(id, message) => {
                    if let Some(trial) = self.running.get_mut(&id) {
                        trial.outcome = Some(serde_json::from_slice(&message)?);
                    }
                }
                Event::Ended(id, end) => {
                    let Some(trial) = self.running.remove(&id) else {
                        continue;
                    };
                    // Somebody, or the system short of memory, may have killed it from outside.
                    if end == End::Signal(Signal::SIGKILL) && !trial.is_retry {
                        self.start_again(trial.tag, trial.plan, trial.seed, true)?;
                        continue;
                    }
                    let outcome = match trial.outcome {
                        Some(outcome) => outcome,
                        None => worker::broken(how_it_broke(end, self.options.time_max)),
                    };
                    ended.push((trial.tag, outcome));
                }
            }
        }
        Ok(ended)
    }

    /// Kills the trials whose tag is `unwanted`; nothing more is heard of them.
    pub fn cancel(&mut self, unwanted: impl Fn(usize) -> bool) {
        let ids: Vec<ChildId> = self
            .running
            .iter()
            .filter(|(_, trial)| unwanted(trial.tag))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.running.remove(&id);
            self.pool.kill(id);
        }
    }

    /// Runs one plan; none if this process was asked to end meanwhile.
    ///
    /// # Errors
    /// As [`Trials::wait`].
    pub fn run_one(&mut self, plan: &W::Plan, seed: u64) -> io::Result<Option<Outcome>> {
        assert!(self.is_empty(), "another trial runs");
        self.start(0, Rc::new(plan.clone()), seed)?;
        while !self.interrupted() {
            if let Some((_, outcome)) = self.wait(None)?.pop() {
                return Ok(Some(outcome));
            }
        }
        self.cancel(|_| true);
        Ok(None)
    }
}

/// What a child that ended like this, in the middle of a run, broke.
#[must_use]
pub fn how_it_broke(end: End, time_max: Duration) -> lockwright_sim::outcome::Violation {
    match end {
        End::TimedOut => worker::hang(time_max),
        End::Signal(signal) => worker::crash(&format!("the process of the run died of {signal}")),
        End::Clean | End::Status(_) => worker::crash(&format!(
            "the process of the run ended in the middle of it ({end:?})"
        )),
    }
}
