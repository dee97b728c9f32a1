//! `bug-finder replay`: a trace, or one seed, run again.

use super::{Context, all_cores, say};
use crate::case::{self, Lab, Patience};
use crate::cli::{ProfileArg, profile_name};
use crate::error::{Exit, Failure};
use crate::units::parse_duration_above_zero;
use crate::world::World;
use lockwright_sim::outcome::Outcome;
use lockwright_sim::plan::{Plan, Profile, RunOptions};
use lockwright_sim::trace::Trace;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// Run a trace, or one seed, again.
///
/// Says whether the same violation came again, and whether the whole history was the same: its
/// fingerprint is compared with that of the trace, or, for a seed, with that of a second run.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The trace
    #[arg(required_unless_present = "seed", conflicts_with = "seed")]
    file: Option<PathBuf>,

    /// The profile to draw the seed's plan for
    #[arg(long, value_enum, requires = "seed")]
    profile: Option<ProfileArg>,

    /// The seed to draw a plan from, instead of a trace
    #[arg(long, requires = "profile")]
    seed: Option<u64>,

    /// Print the whole history
    #[arg(long)]
    history: bool,

    /// A run that takes longer than this, in real time, hangs
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = parse_duration_above_zero)]
    seed_timeout: Duration,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Exit codes: 0 if no rule is broken, 1 if one is, 3 if it ran in another way than before.

Examples:
  bug-finder replay findings/engine-7-fifo.json
  bug-finder replay --profile service --seed 12345 --history";

/// What to compare a run with.
struct Before {
    violation_oracle: Option<String>,
    outcome_hash: lockwright_sim::outcome::HistoryHash,
    is_from_trace: bool,
}

/// Runs the command.
///
/// # Errors
/// When the trace cannot be read, or a process cannot be had.
pub fn execute(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let patience = Patience {
        run: args.seed_timeout,
        shrink: Duration::ZERO,
        jobs: all_cores(),
    };
    let lab = Lab {
        world: &context.world,
        interrupts: &context.interrupts,
        patience,
    };
    let (profile, seed, plan, trace) = match (&args.file, args.profile, args.seed) {
        (Some(file), _, _) => {
            let trace: Trace<Plan> = Trace::read(file)?;
            let before = Before {
                violation_oracle: trace.violation.map(|violation| violation.oracle),
                outcome_hash: trace.history_hash,
                is_from_trace: true,
            };
            (trace.profile, trace.seed, trace.plan, Some(before))
        }
        (None, Some(profile), Some(seed)) => {
            let Some(plan) = lab.draw(profile.into(), seed)? else {
                return Ok(Exit::Interrupted);
            };
            (context.world.profile(&plan), seed, plan, None)
        }
        _ => {
            return Err(Failure::Usage(
                "give a trace file, or --profile and --seed".to_owned(),
            ));
        }
    };
    let run = RunOptions {
        keep_history: args.history,
    };
    let Some(outcome) = lab.run(&plan, seed, run)? else {
        return Ok(Exit::Interrupted);
    };
    let before = match trace {
        Some(before) => before,
        None => {
            let Some(second) = lab.run(&plan, seed, RunOptions::default())? else {
                return Ok(Exit::Interrupted);
            };
            Before {
                violation_oracle: second.violation.map(|violation| violation.oracle),
                outcome_hash: second.history_hash,
                is_from_trace: false,
            }
        }
    };
    let exit = verdict(&outcome, &before);
    if args.json {
        say_json(profile, seed, &outcome, &before, exit)?;
    } else {
        for line in outcome.history.iter().flatten() {
            say(line)?;
        }
        say(&text(profile, seed, &outcome, &before, exit))?;
    }
    Ok(exit)
}

/// A trace whose violation is gone was mended, and then its history is another, too: only a run
/// with the same verdict and another history is suspect.
fn verdict(outcome: &Outcome, before: &Before) -> Exit {
    let oracle = outcome
        .violation
        .as_ref()
        .map(|violation| &violation.oracle);
    let same_verdict = oracle == before.violation_oracle.as_ref();
    let same_history = outcome.history_hash == before.outcome_hash;
    let same = if before.is_from_trace {
        same_history || !same_verdict
    } else {
        same_history && same_verdict
    };
    match oracle {
        _ if !same => Exit::Nondeterministic,
        Some(_) => Exit::Violation,
        None => Exit::Clean,
    }
}

fn text(profile: Profile, seed: u64, outcome: &Outcome, before: &Before, exit: Exit) -> String {
    let mut text = match &outcome.violation {
        Some(violation) => format!("violation of {}\n", case::describe(violation)),
        None => String::new(),
    };
    let profile = profile_name(profile);
    text += &format!(
        "profile {profile}, seed {seed}: {} commands, {} ms simulated\n",
        outcome.commands, outcome.simulated_ms
    );
    let oracle = outcome
        .violation
        .as_ref()
        .map(|violation| &violation.oracle);
    text += &match (oracle, &before.violation_oracle) {
        (None, None) => "no violation".to_owned(),
        (Some(now), Some(then)) if now == then => "the same violation came again".to_owned(),
        (Some(now), Some(then)) => format!("another violation came: {now}, not {then}"),
        (Some(now), None) => format!("a violation came, where none was: {now}"),
        (None, Some(then)) => format!("clean: the violation of {then} did not come again"),
    };
    let (now, then) = (outcome.history_hash, before.outcome_hash);
    text += &if now == then {
        format!("; the same history, {now}")
    } else {
        format!("; another history, {now}, not {then}")
    };
    if exit == Exit::Nondeterministic {
        text += if before.is_from_trace {
            "\neither the code has changed since the trace was written, or runs are not \
             deterministic: replay it twice to tell"
        } else {
            "\nnot deterministic: the same plan ran in two ways"
        };
    }
    text
}

fn say_json(
    profile: Profile,
    seed: u64,
    outcome: &Outcome,
    before: &Before,
    exit: Exit,
) -> Result<(), Failure> {
    let oracle = outcome
        .violation
        .as_ref()
        .map(|violation| &violation.oracle);
    let mut object = json!({
        "profile": profile_name(profile),
        "seed": seed,
        "history_hash": outcome.history_hash,
        "commands": outcome.commands,
        "simulated_ms": outcome.simulated_ms,
        "violation": outcome.violation,
        "same_violation": oracle == before.violation_oracle.as_ref(),
        "same_history": outcome.history_hash == before.outcome_hash,
        "exit": exit as u8,
    });
    if let Some(history) = &outcome.history {
        object["history"] = json!(history);
    }
    say(&object.to_string())
}
