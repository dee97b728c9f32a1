//! `bug-finder shrink`: a failing trace, made as small as it can be.

use super::{Context, all_cores, say};
use crate::case::{self, Case, Lab, Patience, Second};
use crate::error::{Exit, Failure};
use crate::status::Status;
use crate::units::parse_duration_above_zero;
use lockwright_sim::outcome::Violation;
use lockwright_sim::plan::{Plan, RunOptions};
use lockwright_sim::trace::Trace;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Make a trace as small as it can be.
///
/// Tries ever smaller plans, and keeps those in which the same oracle still speaks. Interrupted, it
/// writes the smallest so far.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The trace
    file: PathBuf,

    /// Where to write the smaller trace [default: in place of the first]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Spend no more than this
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = parse_duration_above_zero)]
    shrink_for: Duration,

    /// How many plans to try at once [default: one per core]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// A run that takes longer than this, in real time, hangs
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = parse_duration_above_zero)]
    seed_timeout: Duration,
}

const EXAMPLES: &str = "\
Exit codes: 1 when the violation is still there (as it should be), 0 when the trace is clean now.

Examples:
  bug-finder shrink findings/engine-7-fifo.json
  bug-finder shrink big.json -o small.json --shrink-for 10m";

/// Runs the command.
///
/// # Errors
/// When the trace cannot be read or written, or a process cannot be had.
pub fn execute(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let trace: Trace<Plan> = Trace::read(&args.file)?;
    let lab = Lab {
        world: &context.world,
        interrupts: &context.interrupts,
        patience: Patience {
            run: args.seed_timeout,
            shrink: args.shrink_for,
            jobs: args.jobs.map_or_else(all_cores, NonZeroUsize::get),
        },
    };
    let start = Instant::now();
    let Some(outcome) = lab.run(&trace.plan, trace.seed, RunOptions::default())? else {
        return Ok(Exit::Interrupted);
    };
    let took = start.elapsed();
    let Some(violation) = outcome.violation else {
        say("clean: the trace breaks no rule, so there is nothing to shrink")?;
        return Ok(Exit::Clean);
    };
    let mut case = Case {
        seed: trace.seed,
        plan: trace.plan,
        history_hash: outcome.history_hash,
        violation,
    };
    match lab.confirm(&case)? {
        Second::Same(_) => {}
        Second::Interrupted => return Ok(Exit::Interrupted),
        Second::Other(other) => {
            let now = other
                .violation
                .map_or("no violation".to_owned(), |v: Violation| v.oracle);
            say(&format!(
                "not deterministic: the same plan ran in two ways\n  first   history {}, {}\n  \
                 then    history {}, {now}",
                case.history_hash, case.violation.oracle, other.history_hash
            ))?;
            return Ok(Exit::Nondeterministic);
        }
    }
    let mut status = Status::new();
    let mut shrunk = lab.shrink(&mut case, took, &mut status)?;
    if let Some(earlier) = trace.shrunk {
        shrunk.from = earlier.from;
        shrunk.runs += earlier.runs;
    }
    let path = args.output.as_ref().unwrap_or(&args.file);
    lab.write(&mut case, Some(shrunk), path)?;
    let path = path.display().to_string();
    say(&format!(
        "violation of {}\n  shrunk  from {} to {}, in {} runs{}\n  trace   {path}\n  replay  {} replay {}",
        case::describe(&case.violation),
        case::size(shrunk.from),
        case::size(shrunk.to),
        shrunk.runs,
        if shrunk.complete {
            ""
        } else {
            "; there was no time for more"
        },
        case::this_program(),
        case::quote(&path),
    ))?;
    Ok(if context.interrupts.pending() {
        Exit::Interrupted
    } else {
        Exit::Violation
    })
}
