//! Plans, each run in a child of its own, several at once.

use crate::last_words::LastWords;
use crate::pool::{ChildId, End, Event, Pool};
use crate::worker;
use crate::world::World;
use lockwright_sim::outcome::Outcome;
use lockwright_sim::plan::RunOptions;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// So often a run whose process is ended from outside is run again. After that it is taken for a run
/// that brings this upon itself, such as one that needs more memory than there is.
pub const OUTSIDE_MAX: u32 = 3;

/// How plans are tried.
#[derive(Debug, Clone, Copy)]
pub struct TrialOptions {
    /// A run that takes longer, in real time, hangs.
    pub time_max: Duration,
    /// What a run keeps.
    pub run: RunOptions,
    /// Whether panics say where they came from, which takes time.
    pub backtraces: bool,
}

struct Trial<P> {
    tag: usize,
    plan: Rc<P>,
    seed: u64,
    outcome: Option<Outcome>,
    /// How often its process was ended from outside.
    outside: u32,
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
        self.start_again(tag, plan, seed, 0)
    }

    fn start_again(
        &mut self,
        tag: usize,
        plan: Rc<W::Plan>,
        seed: u64,
        outside: u32,
    ) -> io::Result<()> {
        let (world, options) = (self.world, self.options);
        world.prepare();
        let id = self.pool.spawn(options.time_max, |sender| {
            lockwright_sim::plan::want_backtraces(options.backtraces);
            worker::run_plan(world, &plan, seed, options.run, sender)
        })?;
        let trial = Trial {
            tag,
            plan,
            seed,
            outcome: None,
            outside,
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
                Event::Ended(id, end, words) => {
                    let Some(trial) = self.running.remove(&id) else {
                        continue;
                    };
                    let outcome = match trial.outcome {
                        Some(outcome) => outcome,
                        None if end.is_from_outside() && trial.outside < OUTSIDE_MAX => {
                            let outside = trial.outside + 1;
                            self.start_again(trial.tag, trial.plan, trial.seed, outside)?;
                            continue;
                        }
                        None => how_it_broke(end, self.options.time_max, *words),
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

/// What comes of a run whose child ended like this in the middle of it, and left these words.
#[must_use]
pub fn how_it_broke(end: End, time_max: Duration, words: LastWords) -> Outcome {
    let at_ms = words.report.at_ms;
    let mut violation = match end {
        End::TimedOut => worker::hang(at_ms, time_max),
        _ => worker::crash(at_ms, &format!("the process of the run {end}")),
    };
    violation.message += &words.text();
    let events = words.report.events;
    Outcome {
        simulated_ms: at_ms,
        history: (!events.is_empty()).then_some(events),
        ..worker::broken(violation)
    }
}
