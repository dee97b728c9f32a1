//! The hunt: seeds out, findings in.

use crate::last_words::LastWords;
use crate::pool::{ChildId, End, Event, Pool};
use crate::queue::{Pass, SeedQueue};
use crate::trials::{OUTSIDE_MAX, how_it_broke};
use crate::worker::{self, Ran, SeedReport};
use crate::world::World;
use lockwright_sim::outcome::Outcome;
use lockwright_sim::plan::{PlanSize, Profile};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

/// How to hunt.
#[derive(Debug, Clone, Copy)]
pub struct SweepOptions {
    /// What kind of worlds.
    pub profile: Profile,
    /// How many children at once.
    pub jobs: usize,
    /// A seed that takes longer, in real time, hangs.
    pub seed_time_max: Duration,
    /// When to stop.
    pub until: Option<Instant>,
    /// Run each seed twice, in two processes, and compare.
    pub twice: bool,
}

/// What was done so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Seeds run to their end.
    pub seeds: u64,
    /// Commands checked in them.
    pub commands: u64,
    /// Time simulated in them, in ms.
    pub simulated_ms: u64,
    /// Children that were ended from outside, and whose seed was then run again.
    pub children_lost: u64,
}

/// Somebody who watches the hunt.
pub trait Watch {
    /// A seed has ended.
    ///
    /// # Errors
    /// When it can no longer be told.
    fn seed_ended(&mut self, ran: &Ran) -> io::Result<()>;

    /// Something may have changed. Returns when to call at the latest, if nothing does.
    fn look(&mut self, totals: &Totals) -> Option<Instant>;
}

/// A seed that stops the hunt.
#[derive(Debug)]
pub struct Found<P> {
    /// The seed.
    pub seed: u64,
    /// Why.
    pub what: FoundWhat<P>,
}

/// Why a seed stops the hunt.
#[derive(Debug)]
pub enum FoundWhat<P> {
    /// It broke a rule.
    Violation {
        /// What came of it.
        ran: Ran,
        /// Its plan; none if its process did not live to tell.
        plan: Option<P>,
    },
    /// It ran twice, and not in the same way.
    Nondeterministic {
        /// How it ran, first and then.
        ways: [String; 2],
    },
}

/// Why the hunt stopped.
#[derive(Debug)]
pub enum Stop<P> {
    /// There is no seed left.
    Exhausted,
    /// It is time.
    TimeUp,
    /// This process was asked to end.
    Interrupted,
    /// A seed is to be looked at: the lowest of its kind, whatever the number of jobs.
    Found(Box<Found<P>>),
}

/// Seeds that a child was given and has not told of yet, in the order in which it runs them.
struct Batch {
    pass: Pass,
    left: VecDeque<u64>,
    given: usize,
    started: Instant,
}

/// How the processes died that ran a seed.
#[derive(Debug, Clone, Copy, Default)]
struct Suspect {
    /// Once by the fault of the run, so that it gets one more chance.
    at_fault: Option<End>,
    /// So often from outside.
    outside: u32,
}

/// A hunt through the seeds of a queue.
pub struct Sweep<'a, W: World> {
    world: &'a W,
    options: SweepOptions,
    queue: SeedQueue,
    pool: Pool<'a>,
    batches: BTreeMap<ChildId, Batch>,
    batch_len: usize,
    /// Seeds in whose run a process died: each is run again, alone.
    suspects: BTreeMap<u64, Suspect>,
    /// How one of the two runs of a seed ended, until the other has.
    halves: BTreeMap<u64, Ran>,
    found: Option<Found<W::Plan>>,
    /// What was done so far.
    pub totals: Totals,
}

impl<'a, W: World + Sync> Sweep<'a, W> {
    /// A hunt that has not started.
    #[must_use]
    pub fn new(world: &'a W, options: SweepOptions, queue: SeedQueue, pool: Pool<'a>) -> Self {
        Sweep {
            world,
            options,
            queue,
            pool,
            batches: BTreeMap::new(),
            batch_len: 1,
            suspects: BTreeMap::new(),
            halves: BTreeMap::new(),
            found: None,
            totals: Totals::default(),
        }
    }

    /// The lowest seed that was never handed out.
    #[must_use]
    pub fn next_fresh(&self) -> Option<u64> {
        self.queue.next_fresh()
    }

    /// Hunts until there is a reason to stop. No child is left when it returns; it may be called
    /// again.
    ///
    /// # Errors
    /// When the system refuses processes, or `watch` can no longer be told.
    pub fn hunt(&mut self, watch: &mut dyn Watch) -> io::Result<Stop<W::Plan>> {
        loop {
            if self.pool.interrupted() {
                self.take_back(|_| true);
                return Ok(Stop::Interrupted);
            }
            let time_is_up = self.options.until.is_some_and(|at| Instant::now() >= at);
            if time_is_up {
                self.take_back(|_| true);
            } else {
                if let Some(seed) = self.found.as_ref().map(|found| found.seed) {
                    // Lower seeds may yet turn out to be findings; higher ones are of no use now.
                    self.take_back(|batch| batch.left.iter().all(|&left| left > seed));
                }
                self.hand_out()?;
            }
            if self.pool.is_empty() {
                return self.settle(time_is_up, watch);
            }
            let look_at = watch.look(&self.totals);
            let until = self.options.until.into_iter().chain(look_at).min();
            for event in self.pool.wait(until)? {
                match event {
                    Event::Message(id, message) => {
                        let report = serde_json::from_slice(&message)?;
                        self.seed_ended(id, report, watch)?;
                    }
                    Event::Ended(id, end, words) => self.child_ended(id, end, *words),
                }
            }
        }
    }

    /// Nothing runs any more: why the hunt stops.
    fn settle(&mut self, time_is_up: bool, watch: &mut dyn Watch) -> io::Result<Stop<W::Plan>> {
        let Some(found) = self.found.take() else {
            let stop = if time_is_up {
                Stop::TimeUp
            } else {
                Stop::Exhausted
            };
            watch.look(&self.totals);
            return Ok(stop);
        };
        self.queue.forget(found.seed);
        self.suspects.remove(&found.seed);
        self.halves.remove(&found.seed);
        if let FoundWhat::Violation { ran, .. } = &found.what {
            self.count(ran, watch)?;
        }
        Ok(Stop::Found(Box::new(found)))
    }

    /// Starts children until all jobs are taken.
    fn hand_out(&mut self) -> io::Result<()> {
        let below = self.found.as_ref().map(|found| found.seed);
        while self.pool.len() < self.options.jobs {
            // Near the end, what is left is shared by all.
            let share = self.queue.left() / (2 * self.options.jobs as u64) + 1;
            let len = usize::try_from(share).unwrap_or(usize::MAX);
            let (pass, seeds) = self.queue.take(len.min(self.batch_len), below);
            if seeds.is_empty() {
                break;
            }
            let (world, profile) = (self.world, self.options.profile);
            world.prepare();
            let id = self.pool.spawn(self.options.seed_time_max, |sender| {
                worker::run_seeds(world, profile, &seeds, sender)
            })?;
            let batch = Batch {
                pass,
                given: seeds.len(),
                left: seeds.into(),
                started: Instant::now(),
            };
            self.batches.insert(id, batch);
        }
        Ok(())
    }

    /// Kills the children whose batch is `unwanted`, and puts their seeds back.
    fn take_back(&mut self, unwanted: impl Fn(&Batch) -> bool) {
        let ids: Vec<ChildId> = self
            .batches
            .iter()
            .filter(|(_, batch)| unwanted(batch))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.pool.kill(id);
            if let Some(batch) = self.batches.remove(&id) {
                self.give_back(batch.pass, batch.left);
            }
        }
    }

    fn give_back(&mut self, pass: Pass, seeds: impl IntoIterator<Item = u64>) {
        for seed in seeds {
            if self.suspects.contains_key(&seed) {
                self.queue.give_back_alone(pass, seed);
            } else {
                self.queue.give_back(pass, [seed]);
            }
        }
    }

    fn seed_ended(
        &mut self,
        id: ChildId,
        report: SeedReport<W::Plan>,
        watch: &mut dyn Watch,
    ) -> io::Result<()> {
        let SeedReport { ran, plan } = report;
        let Some(batch) = self.batches.get_mut(&id) else {
            return Ok(());
        };
        let expected = batch.left.pop_front();
        assert_eq!(
            expected,
            Some(ran.seed),
            "a child ran another seed than it was to"
        );
        let suspect = self.suspects.remove(&ran.seed).unwrap_or_default();
        self.totals.children_lost += u64::from(suspect.outside);
        if let Some(end) = suspect.at_fault {
            let ways = [format!("its process {end}"), describe(&ran.outcome)];
            self.find(ran.seed, FoundWhat::Nondeterministic { ways });
            return Ok(());
        }
        let ran = if self.options.twice {
            match self.halves.remove(&ran.seed) {
                None => {
                    self.halves.insert(ran.seed, ran);
                    return Ok(());
                }
                Some(other) if other.outcome != ran.outcome => {
                    let ways = [describe(&other.outcome), describe(&ran.outcome)];
                    self.find(ran.seed, FoundWhat::Nondeterministic { ways });
                    return Ok(());
                }
                Some(_) => ran,
            }
        } else {
            ran
        };
        if ran.outcome.violation.is_some() {
            // Counted when it is reported: a lower seed may push it back.
            self.find(ran.seed, FoundWhat::Violation { ran, plan });
            return Ok(());
        }
        self.count(&ran, watch)
    }

    fn count(&mut self, ran: &Ran, watch: &mut dyn Watch) -> io::Result<()> {
        self.totals.seeds += 1;
        self.totals.commands += ran.outcome.commands;
        self.totals.simulated_ms += ran.outcome.simulated_ms;
        watch.seed_ended(ran)
    }

    fn child_ended(&mut self, id: ChildId, end: End, words: LastWords) {
        let Some(mut batch) = self.batches.remove(&id) else {
            return;
        };
        let Some(seed) = batch.left.front().copied() else {
            self.adapt(&batch);
            return;
        };
        if end == End::Clean {
            assert!(
                batch.left.len() < batch.given,
                "a child ended without a word on seed {seed}"
            );
            self.give_back(batch.pass, batch.left);
            return;
        }
        batch.left.pop_front();
        self.give_back(batch.pass, batch.left);
        if end == End::TimedOut || !self.has_another_chance(seed, end) {
            let outcome = how_it_broke(end, self.options.seed_time_max, words);
            let ran = Ran {
                seed,
                profile: self.options.profile,
                size: PlanSize {
                    clients: 0,
                    commands: 0,
                    faults: 0,
                },
                outcome,
                cpu_us: 0,
            };
            let what = FoundWhat::Violation { ran, plan: None };
            self.find(seed, what);
        } else {
            self.queue.give_back_alone(batch.pass, seed);
        }
    }

    /// Notes that a process died in the run of a seed. False when it has done so too often.
    fn has_another_chance(&mut self, seed: u64, end: End) -> bool {
        let suspect = self.suspects.entry(seed).or_default();
        if end.is_from_outside() {
            suspect.outside += 1;
            suspect.outside <= OUTSIDE_MAX
        } else {
            suspect.at_fault.replace(end).is_none()
        }
    }

    /// Keeps the lowest of what is found; a higher seed is run again in its turn.
    fn find(&mut self, seed: u64, what: FoundWhat<W::Plan>) {
        let higher = match self.found.as_ref().map(|lowest| lowest.seed) {
            Some(lowest) if seed == lowest => return,
            Some(lowest) if seed > lowest => Some(seed),
            lowest => {
                self.found = Some(Found { seed, what });
                lowest
            }
        };
        if let Some(higher) = higher {
            self.queue.forget(higher);
            self.queue.give_back(Pass::First, [higher]);
            self.halves.remove(&higher);
            if self.options.twice {
                self.queue.give_back(Pass::Second, [higher]);
            }
        }
    }

    /// Batches last about a quarter of a second, so that forking costs next to nothing and the
    /// last ones do not keep everybody waiting.
    fn adapt(&mut self, batch: &Batch) {
        const TARGET: Duration = Duration::from_millis(250);
        const LEN_MAX: usize = 4096;
        if batch.given < self.batch_len {
            return;
        }
        let took = batch.started.elapsed();
        if took < TARGET / 2 {
            self.batch_len = (self.batch_len * 2).min(LEN_MAX);
        } else if took > TARGET * 2 {
            self.batch_len = (self.batch_len / 2).max(1);
        }
    }
}

fn describe(outcome: &Outcome) -> String {
    let verdict = outcome
        .violation
        .as_ref()
        .map_or("no violation", |violation| &violation.oracle);
    format!(
        "history {}, {} commands, {} ms, {verdict}",
        outcome.history_hash, outcome.commands, outcome.simulated_ms
    )
}
