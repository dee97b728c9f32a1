//! `bug-finder live`: the hunt among real processes.

use super::{Context, say};
use crate::error::{Exit, Failure};
use crate::live::{self, Counts, Options, Report};
use crate::os::Interrupts;
use crate::units::parse_duration_above_zero;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Hunt among real servers, which are killed, stopped and cut off.
///
/// Starts `lockwright serve`, alone or as a cluster, and clients of the library that ships, over
/// TCP on this machine. Servers get SIGKILL and are started again, or SIGSTOP for a while; links
/// between nodes, and between clients and nodes, are cut or go silent. Every few seconds all of
/// that ends, and every queue must drain.
///
/// What is held against the servers: nobody believes in a lock while somebody else believes in one
/// in its way; tokens increase; who was told to wait before another asked is served before; what
/// was acknowledged is kept, and what was released does not come back; nobody waits for ever.
/// Whatever is concluded is certain, however slow the machine is.
///
/// A seed draws what clients want and what goes wrong. When it happens is up to the machine, so no
/// run is the same twice: a violation is written down with all that happened, and with the logs of
/// the servers.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// How many servers: 1, or so many nodes of a cluster
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=7))]
    nodes: u8,

    /// How many clients
    #[arg(long, value_name = "N", default_value_t = 6,
          value_parser = clap::value_parser!(u8).range(1..=64))]
    clients: u8,

    /// Stop after this time, such as 30s, 5m or 1h30m
    #[arg(long = "for", value_name = "DUR", default_value = "1m",
          value_parser = parse_duration_above_zero)]
    span: Duration,

    /// What programs and faults are drawn from [default: drawn anew each time]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,

    /// The server [default: `lockwright` next to this program]
    #[arg(long, value_name = "FILE")]
    server_bin: Option<PathBuf>,

    /// Where to write what was found; made when there is something to write
    #[arg(long, value_name = "DIR", default_value = "findings")]
    out: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Let servers that are started again have lost their data, to see it found
    #[arg(long, hide = true)]
    forget: bool,
}

const EXAMPLES: &str = "\
Exit codes: 0 if no rule is broken; 1 if one is; 2 if there is no such server; 130 after Ctrl-C.

Examples:
  cargo build --release -p lockwright -p bug-finder && target/release/bug-finder live
  bug-finder live --nodes 3 --for 1h
  bug-finder live --nodes 5 --clients 20 --seed 7 --json";

/// What is printed as JSON.
#[derive(Serialize)]
struct Told<'a> {
    nodes: u8,
    clients: u8,
    seed: u64,
    seconds: f64,
    #[serde(flatten)]
    counts: Counts,
    violation: Option<ToldViolation<'a>>,
    written: Option<&'a Path>,
}

#[derive(Serialize)]
struct ToldViolation<'a> {
    rule: &'a str,
    at_ms: u128,
    message: &'a str,
}

/// Runs the command.
///
/// # Errors
/// When there is no such server, or no room for it.
pub fn execute(args: &Args, _context: &Context) -> Result<Exit, Failure> {
    let program = program(args)?;
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let dir = std::env::temp_dir().join(format!("lockwright-live-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let options = Options {
        program,
        nodes: usize::from(args.nodes),
        clients: usize::from(args.clients),
        seed,
        span: args.span,
        dir: dir.clone(),
        forgetful: args.forget,
    };
    let began = std::time::Instant::now();
    let report = live::run(&options, Interrupts::asked);
    let told = report
        .map_err(Failure::from)
        .and_then(|report| tell(args, seed, began.elapsed(), &dir, &report));
    // It is ours alone.
    let _ = fs::remove_dir_all(&dir);
    told
}

fn program(args: &Args) -> Result<PathBuf, Failure> {
    let program = match &args.server_bin {
        Some(given) => given.clone(),
        None => std::env::current_exe()?.with_file_name("lockwright"),
    };
    if program.is_file() {
        return Ok(program);
    }
    Err(Failure::Usage(format!(
        "there is no server at `{}`: build it (cargo build --release -p lockwright), or say where it \
         is with --server-bin",
        program.display()
    )))
}

/// Any that was not there before.
fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.map_or(0, |now| now.as_nanos());
    // Short enough to be typed.
    u64::try_from(nanos / 1_000_000 % 1_000_000_000).unwrap_or(0)
}

fn tell(
    args: &Args,
    seed: u64,
    span: Duration,
    dir: &Path,
    report: &Report,
) -> Result<Exit, Failure> {
    let written = match &report.violation {
        Some(_) => Some(write_down(&args.out, seed, dir, &report.story)?),
        None => None,
    };
    let violation = report.violation.as_ref().map(|(at, broken)| ToldViolation {
        rule: broken.rule,
        at_ms: at.as_millis(),
        message: &broken.message,
    });
    if args.json {
        let told = Told {
            nodes: args.nodes,
            clients: args.clients,
            seed,
            seconds: span.as_secs_f64(),
            counts: report.counts,
            violation,
            written: written.as_deref(),
        };
        let json = serde_json::to_string(&told).map_err(io::Error::from)?;
        say(&json)?;
    } else {
        say(&summary(args, seed, span, &report.counts))?;
        if let (Some(violation), Some(written)) = (violation, &written) {
            say(&format!(
                "violation after {} ms: {}\n  {}\nall that happened, and the servers' logs: {}",
                violation.at_ms,
                violation.rule,
                violation.message,
                written.display()
            ))?;
        }
    }
    Ok(match (&report.violation, report.interrupted) {
        (Some(_), _) => Exit::Violation,
        (None, true) => Exit::Interrupted,
        (None, false) => Exit::Clean,
    })
}

fn summary(args: &Args, seed: u64, span: Duration, counts: &Counts) -> String {
    format!(
        "seed {seed}: {} servers, {} clients, {:.0} s: {} requests, {} grants, {} calls, {} lists \
         compared; {} kills, {} stops, {} cuts; calm {} times",
        args.nodes,
        args.clients,
        span.as_secs_f64(),
        counts.requests,
        counts.grants,
        counts.calls,
        counts.lists,
        counts.kills,
        counts.stops,
        counts.cuts,
        counts.calms
    )
}

/// Keeps what happened, and the servers' logs.
fn write_down(out: &Path, seed: u64, dir: &Path, story: &str) -> Result<PathBuf, Failure> {
    let to = out.join(format!("live-{seed}"));
    fs::create_dir_all(&to)?;
    fs::write(to.join("events.log"), story)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(to)
}
