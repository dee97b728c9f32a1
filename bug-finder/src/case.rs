//! What is done with a plan that breaks a rule: it is run again, shrunk, written down.

use crate::error::Failure;
use crate::os::Interrupts;
use crate::pool::{End, Event, Pool};
use crate::shrink::{Progress, ShrinkOptions, shrink};
use crate::status::Status;
use crate::trials::{OUTSIDE_MAX, TrialOptions, Trials};
use crate::units::short_span;
use crate::world::World;
use lockwright_sim::outcome::{HistoryHash, Outcome, Violation};
use lockwright_sim::plan::{PlanSize, Profile, RunOptions};
use lockwright_sim::trace::{FORMAT, Shrunk, Trace};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// So many of the last lines of its history go into a trace.
const HISTORY_LINES_MAX: usize = 200;

/// How long things may take, in real time.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A run that takes longer hangs.
    pub run: Duration,
    /// Shrinking stops after this.
    pub shrink: Duration,
    /// How many plans are tried at once.
    pub jobs: usize,
}

/// A plan that broke a rule.
#[derive(Debug)]
pub struct Case<P> {
    /// The seed that the plan was drawn from.
    pub seed: u64,
    /// The plan.
    pub plan: P,
    /// The fingerprint of the run.
    pub history_hash: HistoryHash,
    /// What was broken.
    pub violation: Violation,
}

/// What came of running a case again.
#[derive(Debug)]
pub enum Second {
    /// The same, in this time.
    Same(Duration),
    /// Something else.
    Other(Box<Outcome>),
    /// This process was asked to end.
    Interrupted,
}

/// The tools to look into cases with.
pub struct Lab<'a, W: World> {
    /// The worlds.
    pub world: &'a W,
    /// Ctrl-C.
    pub interrupts: &'a Interrupts,
    /// How long things may take.
    pub patience: Patience,
}

impl<'a, W: World + Sync> Lab<'a, W> {
    /// Runs one plan in a child; none if this process was asked to end.
    ///
    /// # Errors
    /// When the system refuses a process.
    pub fn run(
        &self,
        plan: &W::Plan,
        seed: u64,
        run: RunOptions,
    ) -> Result<Option<Outcome>, Failure> {
        let options = TrialOptions {
            time_max: self.patience.run,
            run,
            backtraces: true,
        };
        let pool = Pool::new(self.interrupts, true);
        Ok(Trials::new(self.world, pool, options).run_one(plan, seed)?)
    }

    /// Draws the plan of a seed, in a child; none if this process was asked to end.
    ///
    /// # Errors
    /// When the plan cannot be drawn: that is a bug of the generator, not of what it draws for.
    pub fn draw(&self, profile: Profile, seed: u64) -> Result<Option<W::Plan>, Failure> {
        let mut end = End::Clean;
        for _ in 0..=OUTSIDE_MAX {
            let mut pool = Pool::new(self.interrupts, true);
            let world = self.world;
            pool.spawn(self.patience.run, |sender| {
                sender.send(&world.generate(profile, seed))
            })?;
            let mut plan = None;
            end = loop {
                if pool.interrupted() {
                    return Ok(None);
                }
                match pool.wait(None)?.pop() {
                    Some(Event::Message(_, message)) => {
                        plan = Some(serde_json::from_slice(&message).map_err(io::Error::from)?);
                    }
                    Some(Event::Ended(_, end, _)) => break end,
                    None => {}
                }
            };
            if plan.is_some() && end == End::Clean {
                return Ok(plan);
            }
            if !end.is_from_outside() {
                break;
            }
        }
        Err(Failure::Internal(format!(
            "the plan of {profile:?} seed {seed} cannot be drawn: the process that draws it {end}; \
             please report it"
        )))
    }

    /// Runs a case again, to see whether it is one.
    ///
    /// # Errors
    /// As [`Lab::run`].
    pub fn confirm(&self, case: &Case<W::Plan>) -> Result<Second, Failure> {
        let start = Instant::now();
        let Some(outcome) = self.run(&case.plan, case.seed, RunOptions::default())? else {
            return Ok(Second::Interrupted);
        };
        let violation = outcome.violation.as_ref();
        let same_oracle = violation.is_some_and(|again| again.oracle == case.violation.oracle);
        if same_oracle && outcome.history_hash == case.history_hash {
            Ok(Second::Same(start.elapsed()))
        } else {
            Ok(Second::Other(Box::new(outcome)))
        }
    }

    /// Makes a case as small as it can be. `took` is how long its run took.
    ///
    /// # Errors
    /// As [`Lab::run`].
    pub fn shrink(
        &self,
        case: &mut Case<W::Plan>,
        took: Duration,
        status: &mut Status,
    ) -> Result<Shrunk, Failure> {
        /// A smaller plan takes about as long as a larger one; one that takes far longer is not
        /// worth waiting for.
        const TRIAL_MIN: Duration = Duration::from_secs(10);
        /// A plan that hangs has to be waited for each time, so this is short; the result is run
        /// again with all patience.
        const HANG_TRIAL: Duration = Duration::from_secs(2);
        let is_hang = case.violation.oracle == "hang";
        let trial_time_max = if is_hang {
            HANG_TRIAL
        } else {
            TRIAL_MIN.max(took * 4)
        };
        let start = Instant::now();
        let options = ShrinkOptions {
            jobs: self.patience.jobs,
            run_time_max: trial_time_max.min(self.patience.run),
            until: start + self.patience.shrink,
        };
        let oracle = case.violation.oracle.clone();
        let pool = Pool::new(self.interrupts, true);
        let mut watch = |progress: &Progress| {
            status.show(|| {
                format!(
                    "shrinking {oracle}: {} to {}, {} runs, {}",
                    size(progress.from),
                    size(progress.to),
                    progress.runs,
                    short_span(start.elapsed())
                )
            })
        };
        let subject = (case.plan.clone(), case.seed);
        let mut smallest = shrink(self.world, pool, options, subject, &oracle, &mut watch)?;
        status.clear();
        let from = self.world.size(&case.plan);
        if let Some(outcome) = smallest.outcome.take() {
            let small = Case {
                seed: case.seed,
                plan: smallest.plan,
                history_hash: outcome.history_hash,
                violation: outcome.violation.unwrap_or_else(|| case.violation.clone()),
            };
            // A run that was only slow is no hang.
            let holds = !is_hang || matches!(self.confirm(&small)?, Second::Same(_));
            if holds {
                *case = small;
            } else {
                smallest.complete = false;
            }
        }
        Ok(Shrunk {
            from,
            to: self.world.size(&case.plan),
            runs: smallest.runs,
            complete: smallest.complete,
        })
    }

    /// Writes a case down as a trace; when it is `shrunk`, with the end of its history, if that can be
    /// had, and with all that its violation has to say.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(
        &self,
        case: &mut Case<W::Plan>,
        shrunk: Option<Shrunk>,
        path: &Path,
    ) -> Result<(), Failure> {
        // The first, hasty writing of a case goes without.
        let history = match shrunk {
            Some(_) => self.look_back(case)?,
            None => None,
        };
        let trace = Trace {
            format: FORMAT,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            profile: self.world.profile(&case.plan),
            seed: case.seed,
            shrunk,
            violation: Some(case.violation.clone()),
            history_hash: case.history_hash,
            plan: &case.plan,
            history,
        };
        write_trace(&trace, path)
    }

    /// The end of the history of a case. Plans that were tried while shrinking do not say all: neither
    /// where a panic came from, nor what happened last before a crash.
    fn look_back(&self, case: &mut Case<W::Plan>) -> Result<Option<Vec<String>>, Failure> {
        if case.violation.oracle == "hang" {
            return Ok(None);
        }
        let keep = RunOptions { keep_history: true };
        let Some(outcome) = self.run(&case.plan, case.seed, keep)? else {
            return Ok(None);
        };
        let violation = outcome.violation;
        if let Some(violation) = violation.filter(|one| one.oracle == case.violation.oracle) {
            case.violation = violation;
        }
        let history = outcome.history;
        Ok(history.map(|mut lines| lines.split_off(lines.len().saturating_sub(HISTORY_LINES_MAX))))
    }
}

/// Writes a trace; that it cannot be written is the fault of whoever named the place.
///
/// # Errors
/// When the file cannot be written.
pub fn write_trace<P: serde::Serialize>(trace: &Trace<P>, path: &Path) -> Result<(), Failure> {
    Ok(trace.write(path)?)
}

/// Where the trace of a finding goes.
#[must_use]
pub fn trace_path(dir: &Path, profile: &str, seed: u64, oracle: &str) -> PathBuf {
    // Names of oracles are names of files of ours, but a panic message is not far away.
    let oracle: String = oracle
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    dir.join(format!("{profile}-{seed}-{oracle}.json"))
}

/// The size of a plan, for a person.
#[must_use]
pub fn size(size: PlanSize) -> String {
    let count = |n: usize, what: &str| match n {
        1 => format!("1 {what}"),
        _ => format!("{n} {what}s"),
    };
    let mut parts = vec![
        count(size.clients, "client"),
        count(size.commands, "command"),
    ];
    if size.faults > 0 {
        parts.push(count(size.faults, "fault"));
    }
    parts.join(", ")
}

/// What was broken, for a person: the oracle and its rule, then the story, indented.
#[must_use]
pub fn describe(violation: &Violation) -> String {
    let mut text = format!(
        "{} ({}) at {} ms",
        violation.oracle, violation.rule, violation.at_ms
    );
    for line in violation.message.lines() {
        text.push_str("\n  ");
        text.push_str(line);
    }
    text
}

/// How to call this program again: as it was called, quoted for a shell.
#[must_use]
pub fn this_program() -> String {
    std::env::args_os().next().map_or_else(
        || "bug-finder".to_owned(),
        |name| quote(&name.to_string_lossy()),
    )
}

/// A word of a shell's command line.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=+:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(
            quote("findings/engine-1-fifo.json"),
            "findings/engine-1-fifo.json"
        );
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn paths_of_traces_stay_in_their_directory() {
        let path = trace_path(Path::new("out"), "engine", 7, "../x");
        assert_eq!(path, Path::new("out/engine-7-___x.json"));
    }
}
