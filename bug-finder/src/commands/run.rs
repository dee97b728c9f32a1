//! `bug-finder run`: the hunt.

use super::{Context, all_cores, say};
use crate::case::{self, Case, Lab, Patience, Second};
use crate::cli::{ProfileArg, profile_name};
use crate::error::{Exit, Failure};
use crate::pool::Pool;
use crate::queue::{SeedQueue, Shard};
use crate::status::Status;
use crate::sweep::{Found, FoundWhat, Stop, Sweep, SweepOptions, Totals, Watch};
use crate::units::{parse_duration_above_zero, parse_seeds, parse_shard, short_count, short_span};
use crate::worker::{self, Ran};
use crate::world::World;
use lockwright_sim::outcome::{HistoryHash, Violation};
use lockwright_sim::plan::Profile;
use lockwright_sim::trace::Shrunk;
use serde::Serialize;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Hunt, until a rule is broken.
///
/// Each seed is a world: its plan, its faults and all its chances are drawn from the profile and
/// the seed, and run in a process of their own. The hunt stops at the first violation, shrinks it,
/// writes its trace, and prints the line that replays it. Without `--seeds` or `--for` it goes on
/// for ever, from a seed that is drawn anew each time.
///
/// On a terminal it shows how far it is; elsewhere it is silent until a violation. It ends with one line
/// on stderr that sums up the hunt.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// What kind of worlds to hunt in
    #[arg(long, value_enum, default_value = "swarm")]
    profile: ProfileArg,

    /// Only these seeds: A..B (without B), A..=B, or one
    #[arg(long, value_name = "A..B", value_parser = parse_seeds)]
    seeds: Option<RangeInclusive<u64>>,

    /// Start at this seed, and go on without end
    #[arg(long, value_name = "SEED", conflicts_with = "seeds")]
    start: Option<u64>,

    /// Stop after this time, such as 30s, 5m or 1h30m
    #[arg(long = "for", value_name = "DUR", value_parser = parse_duration_above_zero)]
    budget: Option<Duration>,

    /// How many worlds to run at once [default: one per core]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Only every N-th seed, so that N machines share the work: I of each is its own, 1 to N
    #[arg(long, value_name = "I/N", value_parser = parse_shard)]
    shard: Option<Shard>,

    /// Where to write traces; made when there is something to write
    #[arg(long, value_name = "DIR", default_value = "findings")]
    out: PathBuf,

    /// Go on after a violation, and collect
    #[arg(long)]
    keep_going: bool,

    /// Run each seed twice, in two processes, and compare
    #[arg(long)]
    check_determinism: bool,

    /// A seed that takes longer than this, in real time, hangs
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = parse_duration_above_zero)]
    seed_timeout: Duration,

    /// Spend no more than this on shrinking a violation
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = crate::units::parse_duration)]
    shrink_for: Duration,

    /// Print a JSON object for each seed as it ends, and one for all, last
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  bug-finder run                                   until something is found
  bug-finder run --profile engine --for 10m        ten minutes of the engine alone
  bug-finder run --seeds 0..1000 --json            these thousand, for a program to read
  bug-finder run --seeds 0..200 --check-determinism
                                                   does every seed always run the same way?
  bug-finder run --for 8h --shard 2/4 --keep-going the second of four machines, all night

A line of --json: profile (that was drawn), seed, history_hash, commands, simulated_ms, cpu_ms,
violation (null, or oracle, rule, at_ms, message). The last line has \"summary\": true.";

/// Runs the command.
///
/// # Errors
/// When processes or files cannot be had, or the output is closed.
pub fn execute(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let range = match (&args.seeds, args.start) {
        (Some(seeds), _) => seeds.clone(),
        (None, Some(start)) => start..=u64::MAX,
        (None, None) => random_seed()?..=u64::MAX,
    };
    Hunt::new(args, context, *range.start()).run(range)
}

/// A seed that nobody has chosen, small enough for readers of JSON to whom all numbers are
/// floating.
fn random_seed() -> Result<u64, Failure> {
    const BITS: u32 = 48;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes) >> (u64::BITS - BITS))
}

/// The state of the command.
struct Hunt<'a> {
    args: &'a Args,
    context: &'a Context,
    profile: Profile,
    jobs: usize,
    lab: Lab<'a, crate::canary::WithCanary<crate::world::SimWorld>>,
    observer: Observer,
    /// CPU time that was used before the hunt: a script that becomes this process leaves it the time of
    /// its children, such as compilers.
    cpu_before_us: u64,
    violations: u64,
    nondeterministic: u64,
    traces: Vec<String>,
}

impl<'a> Hunt<'a> {
    fn new(args: &'a Args, context: &'a Context, first_seed: u64) -> Hunt<'a> {
        let jobs = args.jobs.map_or_else(all_cores, NonZeroUsize::get);
        let patience = Patience {
            run: args.seed_timeout,
            shrink: args.shrink_for,
            jobs,
        };
        Hunt {
            args,
            context,
            profile: args.profile.into(),
            jobs,
            lab: Lab {
                world: &context.world,
                interrupts: &context.interrupts,
                patience,
            },
            observer: Observer {
                json: args.json,
                status: Status::new(),
                start: Instant::now(),
                first_seed,
                profile: args.profile.into(),
                findings: 0,
            },
            cpu_before_us: all_cpu_us(),
            violations: 0,
            nondeterministic: 0,
            traces: Vec::new(),
        }
    }

    fn run(mut self, range: RangeInclusive<u64>) -> Result<Exit, Failure> {
        let options = SweepOptions {
            profile: self.profile,
            jobs: self.jobs,
            seed_time_max: self.args.seed_timeout,
            until: self.args.budget.map(|budget| self.observer.start + budget),
            twice: self.args.check_determinism,
        };
        let shard = self.args.shard.unwrap_or(Shard::WHOLE);
        let queue = SeedQueue::new(range, shard, options.twice);
        let pool = Pool::new(&self.context.interrupts, true);
        let mut sweep = Sweep::new(&self.context.world, options, queue, pool);
        let stopped = loop {
            let found = match sweep.hunt(&mut self.observer)? {
                Stop::Found(found) => found,
                Stop::Exhausted => break "exhausted",
                Stop::TimeUp => break "time_up",
                Stop::Interrupted => break "interrupted",
            };
            self.observer.findings += 1;
            self.observer.status.clear();
            self.look_into(*found)?;
            if self.context.interrupts.pending() {
                break "interrupted";
            }
            if !self.args.keep_going {
                break "found";
            }
        };
        self.observer.status.clear();
        let exit = match stopped {
            "interrupted" => Exit::Interrupted,
            _ if self.nondeterministic > 0 => Exit::Nondeterministic,
            _ if self.violations > 0 => Exit::Violation,
            _ => Exit::Clean,
        };
        self.summarize(&sweep.totals, sweep.next_fresh(), stopped, exit)?;
        Ok(exit)
    }

    /// Shrinks what was found, writes it down, tells of it.
    fn look_into(
        &mut self,
        found: Found<<crate::world::SimWorld as World>::Plan>,
    ) -> Result<(), Failure> {
        let seed = found.seed;
        let (ran, plan) = match found.what {
            FoundWhat::Nondeterministic { ways } => return self.tell_nondeterministic(seed, &ways),
            FoundWhat::Violation { ran, plan } => (ran, plan),
        };
        let plan = match plan {
            Some(plan) => plan,
            None => match self.lab.draw(self.profile, seed)? {
                Some(plan) => plan,
                None => return Ok(()),
            },
        };
        let Some(violation) = ran.outcome.violation else {
            return Ok(());
        };
        let mut case = Case {
            seed,
            plan,
            history_hash: ran.outcome.history_hash,
            violation,
        };
        let profile = profile_name(self.context.world.profile(&case.plan));
        let path = case::trace_path(&self.args.out, profile, seed, &case.violation.oracle);
        std::fs::create_dir_all(&self.args.out)
            .map_err(|error| Failure::Usage(format!("{}: {error}", self.args.out.display())))?;
        // Written before anything else can go wrong; replaced when it is smaller.
        self.lab.write(&mut case, None, &path)?;
        let shrunk = match self.lab.confirm(&case)? {
            Second::Same(took) => {
                let shrunk = self
                    .lab
                    .shrink(&mut case, took, &mut self.observer.status)?;
                self.lab.write(&mut case, Some(shrunk), &path)?;
                Some(shrunk)
            }
            Second::Other(outcome) => {
                let ways = [
                    format!("history {}, {}", case.history_hash, case.violation.oracle),
                    format!(
                        "history {}, {}",
                        outcome.history_hash,
                        outcome
                            .violation
                            .map_or("no violation".to_owned(), |v| v.oracle)
                    ),
                ];
                self.tell_nondeterministic(seed, &ways)?;
                None
            }
            Second::Interrupted => None,
        };
        self.violations += 1;
        self.traces.push(path.display().to_string());
        self.tell_violation(profile, &case, shrunk)
    }

    /// Text for a person: on stdout, unless that is for a program to read.
    fn tell(&self, text: &str) -> Result<(), Failure> {
        if self.args.json {
            eprintln!("{text}");
            return Ok(());
        }
        say(text)
    }

    fn tell_violation<P>(
        &self,
        profile: &str,
        case: &Case<P>,
        shrunk: Option<Shrunk>,
    ) -> Result<(), Failure> {
        let path = self.traces.last().map_or("", String::as_str);
        let mut text = format!("violation of {}\n", case::describe(&case.violation));
        text += &format!("  found   profile {profile}, seed {}\n", case.seed);
        if let Some(shrunk) = shrunk {
            text += &format!(
                "  shrunk  from {} to {}, in {} runs{}\n",
                case::size(shrunk.from),
                case::size(shrunk.to),
                shrunk.runs,
                if shrunk.complete {
                    ""
                } else {
                    "; there was no time for more"
                }
            );
        }
        text += &format!("  trace   {path}\n");
        text += &format!(
            "  replay  {} replay {}",
            case::this_program(),
            case::quote(path)
        );
        if let Some(canary) = self.context.world.canary {
            text += &format!(" --canary {}", canary_name(canary));
        }
        self.tell(&text)
    }

    fn tell_nondeterministic(&mut self, seed: u64, ways: &[String; 2]) -> Result<(), Failure> {
        self.nondeterministic += 1;
        let profile = profile_name(self.profile);
        self.tell(&format!(
            "not deterministic: profile {profile}, seed {seed} ran in two ways\n  \
             first   {}\n  then    {}\n  again   {} run --profile {profile} --seeds {seed} \
             --check-determinism",
            ways[0],
            ways[1],
            case::this_program(),
        ))
    }

    fn summarize(
        &self,
        totals: &Totals,
        next_seed: Option<u64>,
        stopped: &'static str,
        exit: Exit,
    ) -> Result<(), Failure> {
        let elapsed = self.observer.start.elapsed();
        let cpu = Duration::from_micros(all_cpu_us().saturating_sub(self.cpu_before_us));
        let commands_per_cpu_s = totals.commands as f64 / cpu.as_secs_f64().max(1e-6);
        if self.args.json {
            let summary = SummaryLine {
                summary: true,
                profile: self.profile,
                first_seed: self.observer.first_seed,
                next_seed,
                seeds: totals.seeds,
                commands: totals.commands,
                simulated_ms: totals.simulated_ms,
                elapsed_ms: ms(elapsed),
                cpu_ms: ms(cpu),
                commands_per_cpu_s: commands_per_cpu_s.round(),
                children_lost: totals.children_lost,
                violations: self.violations,
                nondeterministic: self.nondeterministic,
                traces: &self.traces,
                stopped,
                exit: exit as u8,
            };
            say(&serde_json::to_string(&summary).map_err(io::Error::from)?)?;
        }
        let mut text = format!(
            "{}: {}, {} seeds, {} commands, {} simulated; {} elapsed, {} CPU, {} commands per CPU second",
            match stopped {
                "found" => "stopped at a finding",
                "time_up" => "time is up",
                "exhausted" => "all seeds are done",
                other => other,
            },
            count(self.observer.findings, "finding"),
            totals.seeds,
            short_count(totals.commands as f64),
            short_span(Duration::from_millis(totals.simulated_ms)),
            short_span(elapsed),
            short_span(cpu),
            short_count(commands_per_cpu_s),
        );
        if totals.children_lost > 0 {
            let runs = count(totals.children_lost, "run");
            text += &format!("; {runs} ended from outside, and done again");
        }
        let profile = profile_name(self.profile);
        let first = self.observer.first_seed;
        if let Some(next) = next_seed.filter(|next| *next > first) {
            let program = case::this_program();
            text += &format!("; again: {program} run --profile {profile} --seeds {first}..{next}");
        }
        // Talk; nobody may be there to listen.
        let _ = writeln!(io::stderr(), "{text}");
        Ok(())
    }
}

/// CPU time of this process and of its children that have ended, in microseconds.
fn all_cpu_us() -> u64 {
    worker::cpu_us() + worker::children_cpu_us()
}

fn count(n: u64, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        _ => format!("{n} {what}s"),
    }
}

fn canary_name(canary: crate::canary::Canary) -> String {
    use clap::ValueEnum;
    canary
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Milliseconds, as JSON wants them.
fn ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

/// What `--json` prints for a seed.
#[derive(Serialize)]
struct SeedLine<'a> {
    profile: Profile,
    seed: u64,
    history_hash: HistoryHash,
    commands: u64,
    simulated_ms: u64,
    cpu_ms: f64,
    violation: Option<&'a Violation>,
}

/// What `--json` prints last.
#[derive(Serialize)]
struct SummaryLine<'a> {
    summary: bool,
    profile: Profile,
    first_seed: u64,
    /// The lowest seed that was never begun; null after the last.
    next_seed: Option<u64>,
    seeds: u64,
    commands: u64,
    simulated_ms: u64,
    elapsed_ms: f64,
    cpu_ms: f64,
    commands_per_cpu_s: f64,
    children_lost: u64,
    violations: u64,
    nondeterministic: u64,
    traces: &'a [String],
    /// `found`, `exhausted`, `time_up` or `interrupted`.
    stopped: &'static str,
    exit: u8,
}

/// Prints seeds as they end, and the live line.
struct Observer {
    json: bool,
    status: Status,
    start: Instant,
    first_seed: u64,
    profile: Profile,
    findings: u64,
}

impl Watch for Observer {
    fn seed_ended(&mut self, ran: &Ran) -> io::Result<()> {
        if !self.json {
            return Ok(());
        }
        let line = SeedLine {
            profile: ran.profile,
            seed: ran.seed,
            history_hash: ran.outcome.history_hash,
            commands: ran.outcome.commands,
            simulated_ms: ran.outcome.simulated_ms,
            cpu_ms: ms(Duration::from_micros(ran.cpu_us)),
            violation: ran.outcome.violation.as_ref(),
        };
        let line = serde_json::to_string(&line)?;
        writeln!(io::stdout(), "{line}")
    }

    fn look(&mut self, totals: &Totals) -> Option<Instant> {
        let elapsed = self.start.elapsed();
        let seconds = elapsed.as_secs_f64().max(1e-3);
        let simulated = Duration::from_millis(totals.simulated_ms);
        let per_second = |count: u64| short_count(count as f64 / seconds);
        let (profile, first_seed, findings) = (self.profile, self.first_seed, self.findings);
        self.status.show(|| {
            format!(
                "{}, {}, {} from seed {first_seed}: {} seeds ({}/s), {} commands ({}/s), {} \
                 simulated ({}x real time)",
                count(findings, "finding"),
                short_span(elapsed),
                profile_name(profile),
                short_count(totals.seeds as f64),
                per_second(totals.seeds),
                short_count(totals.commands as f64),
                per_second(totals.commands),
                short_span(simulated),
                short_count(simulated.as_secs_f64() / seconds),
            )
        })
    }
}
