//! `bug-finder regress`: every trace and script of a directory, against what it expects.

use super::{Context, all_cores, say};
use crate::case::{self, Lab, Patience};
use crate::error::{Exit, Failure};
use crate::units::parse_duration_above_zero;
use lockwright_sim::plan::{Plan, RunOptions};
use lockwright_sim::script::{CheckError, ScriptError, check_script, rewrite_script};
use lockwright_sim::trace::Trace;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Replay every trace and script of a directory against what it expects.
///
/// A trace (*.json) is the story of a bug that was mended: it must run clean, and twice the same
/// way. A script (*.script) carries its expected output.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Where to look, directories below included
    #[arg(default_value = "traces")]
    dir: PathBuf,

    /// Make the output that scripts give now the expected one
    #[arg(long)]
    rewrite: bool,

    /// A run that takes longer than this, in real time, hangs
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = parse_duration_above_zero)]
    seed_timeout: Duration,
}

const EXAMPLES: &str = "\
Exit codes: 0 if all are as expected, 1 if one is not, 2 if one cannot be read, 3 if a trace ran in
two ways.

Examples:
  bug-finder regress
  bug-finder regress --rewrite && git diff traces";

/// What came of one file.
enum Fate {
    AsExpected,
    Rewritten,
    Broken(Exit, String),
}

/// Runs the command.
///
/// # Errors
/// When the directory cannot be read, or a process cannot be had.
pub fn execute(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let mut files = Vec::new();
    collect(&args.dir, &mut files)
        .map_err(|error| Failure::Usage(format!("{}: {error}", args.dir.display())))?;
    files.sort();
    let lab = Lab {
        world: &context.world,
        interrupts: &context.interrupts,
        patience: Patience {
            run: args.seed_timeout,
            shrink: Duration::ZERO,
            jobs: all_cores(),
        },
    };
    let (mut traces, mut scripts, mut broken) = (0, 0, 0);
    let mut exit = Exit::Clean;
    for file in &files {
        let is_script = file
            .extension()
            .is_some_and(|extension| extension == "script");
        let fate = if is_script {
            scripts += 1;
            run_script(file, args.rewrite)?
        } else {
            traces += 1;
            run_trace(&lab, file)?
        };
        if context.interrupts.pending() {
            exit = Exit::Interrupted;
            break;
        }
        match fate {
            Fate::AsExpected => {}
            Fate::Rewritten => say(&format!("{}: rewritten", file.display()))?,
            Fate::Broken(how, text) => {
                broken += 1;
                exit = worse(exit, how);
                // Errors of files name them already.
                let name = file.display().to_string();
                if text.starts_with(&name) {
                    say(&text)?;
                } else {
                    say(&format!("{name}: {text}"))?;
                }
            }
        }
    }
    eprintln!("{traces} traces and {scripts} scripts: {broken} not as expected");
    Ok(exit)
}

/// The worse of two ends: what cannot be read hides what it would have said, and what is not
/// deterministic casts doubt on all else.
fn worse(one: Exit, other: Exit) -> Exit {
    let weight = |exit| match exit {
        Exit::Clean => 0,
        Exit::Violation => 1,
        Exit::Nondeterministic => 2,
        Exit::Usage => 3,
        Exit::Interrupted | Exit::Internal => 4,
    };
    if weight(other) > weight(one) {
        other
    } else {
        one
    }
}

/// All traces and scripts under `dir`.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "json" || extension == "script")
        {
            files.push(path);
        }
    }
    Ok(())
}

fn run_script(file: &Path, rewrite: bool) -> Result<Fate, Failure> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return Ok(Fate::Broken(Exit::Usage, error.to_string())),
    };
    if rewrite {
        return match rewrite_script(&text) {
            Ok(rewritten) if rewritten == text => Ok(Fate::AsExpected),
            Ok(rewritten) => {
                replace(file, &rewritten)?;
                Ok(Fate::Rewritten)
            }
            Err(error) => Ok(broken_script(&error)),
        };
    }
    Ok(match check_script(&text) {
        Ok(()) => Fate::AsExpected,
        Err(CheckError::Script(error)) => broken_script(&error),
        Err(error @ CheckError::Mismatch(_)) => Fate::Broken(Exit::Violation, error.to_string()),
    })
}

fn broken_script(error: &ScriptError) -> Fate {
    let exit = match error {
        ScriptError::Violation { .. } => Exit::Violation,
        ScriptError::Unreadable { .. } | ScriptError::Read(_) | ScriptError::Write(_) => {
            Exit::Usage
        }
    };
    Fate::Broken(exit, error.to_string())
}

/// Replaces a file, whole or not at all.
fn replace(file: &Path, text: &str) -> Result<(), Failure> {
    let part = file.with_extension(format!("{}.part", std::process::id()));
    std::fs::write(&part, text)
        .and_then(|()| std::fs::rename(&part, file))
        .map_err(|error| {
            let _ = std::fs::remove_file(&part);
            Failure::Usage(format!("{}: {error}", file.display()))
        })
}

fn run_trace<W: crate::world::World<Plan = Plan> + Sync>(
    lab: &Lab<'_, W>,
    file: &Path,
) -> Result<Fate, Failure> {
    let trace: Trace<Plan> = match Trace::read(file) {
        Ok(trace) => trace,
        Err(error) => return Ok(Fate::Broken(Exit::Usage, error.to_string())),
    };
    let run = || lab.run(&trace.plan, trace.seed, RunOptions::default());
    let (Some(first), Some(second)) = (run()?, run()?) else {
        // Interrupted, as the caller sees.
        return Ok(Fate::AsExpected);
    };
    if first.history_hash != second.history_hash {
        return Ok(Fate::Broken(
            Exit::Nondeterministic,
            format!(
                "not deterministic: history {}, then {}",
                first.history_hash, second.history_hash
            ),
        ));
    }
    Ok(match first.violation {
        None => Fate::AsExpected,
        Some(violation) => {
            let text = format!("violation of {}", case::describe(&violation));
            Fate::Broken(Exit::Violation, text)
        }
    })
}
