//! `bug-finder explain`: the story of a trace.

mod breaker;
mod cluster;
mod http;
mod service;
mod store;
mod story;

use super::{Context, all_cores, say};
use crate::case::{self, Lab, Patience};
use crate::cli::profile_name;
use crate::error::{Exit, Failure};
use crate::units::parse_duration_above_zero;
use crate::world::World;
use lockwright_sim::plan::{Plan, RunOptions};
use lockwright_sim::trace::Trace;
use std::path::PathBuf;
use std::time::Duration;

/// Tell the story of a trace.
///
/// Who takes part, what they do in order, what goes wrong around them, which rule is broken, and
/// the end of the history, up to the moment at which it is.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The trace
    file: PathBuf,

    /// How many lines of the history to show
    #[arg(long, value_name = "N", default_value_t = 40)]
    history: usize,

    /// A run that takes longer than this, in real time, hangs
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = parse_duration_above_zero)]
    seed_timeout: Duration,
}

const EXAMPLES: &str = "\
Examples:
  bug-finder explain findings/engine-7-fifo.json
  bug-finder explain findings/service-9-tokens.json --history 200";

/// Runs the command.
///
/// # Errors
/// When the trace cannot be read, or a process cannot be had.
pub fn execute(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let trace: Trace<Plan> = Trace::read(&args.file)?;
    let lab = Lab {
        world: &context.world,
        interrupts: &context.interrupts,
        patience: Patience {
            run: args.seed_timeout,
            shrink: Duration::ZERO,
            jobs: all_cores(),
        },
    };
    say(&head(&trace, context))?;
    say("\nThe plan")?;
    for line in story::of_plan(&trace.plan) {
        say(&format!("  {line}"))?;
    }
    let keep = RunOptions { keep_history: true };
    let Some(outcome) = lab.run(&trace.plan, trace.seed, keep)? else {
        return Ok(Exit::Interrupted);
    };
    // Another build may tell another story; the trace has its own.
    let is_same = outcome.history_hash == trace.history_hash;
    let (title, history) = match (&trace.history, outcome.history) {
        (Some(history), _) if !is_same => ("The history, as the trace has it", history.clone()),
        (_, Some(history)) => ("The history", history),
        (Some(history), None) => ("The history, as the trace has it", history.clone()),
        (None, None) => (
            "The history cannot be had: the run never ends by itself",
            Vec::new(),
        ),
    };
    say(&format!("\n{title}"))?;
    let skipped = history.len().saturating_sub(args.history);
    if skipped > 0 {
        say(&format!("  ({skipped} lines before; --history shows more)"))?;
    }
    for line in &history[skipped..] {
        say(&format!("  {line}"))?;
    }
    if !is_same {
        say(&format!(
            "\nThis build runs the plan in another way: history {}, not {}",
            outcome.history_hash, trace.history_hash
        ))?;
    }
    say(&match &trace.violation {
        Some(violation) => format!("\nViolation of {}", case::describe(violation)),
        None => "\nNo rule was broken".to_owned(),
    })?;
    say(&format!(
        "\nTo run it again: {} replay {}",
        case::this_program(),
        case::quote(&args.file.display().to_string())
    ))?;
    Ok(Exit::Clean)
}

/// What the trace is.
fn head(trace: &Trace<Plan>, context: &Context) -> String {
    let mut text = format!(
        "Profile {}, seed {}: {}",
        profile_name(trace.profile),
        trace.seed,
        case::size(context.world.size(&trace.plan))
    );
    if let Some(shrunk) = trace.shrunk {
        text += &format!(
            ", shrunk from {} in {} runs{}",
            case::size(shrunk.from),
            shrunk.runs,
            if shrunk.complete {
                ""
            } else {
                ", not to the end"
            }
        );
    }
    text
}
