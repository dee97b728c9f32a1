//! `bug-finder model`: every order of events in a small world, by a model checker.

mod counterexample;
mod report;

use super::{Context, all_cores};
use crate::error::{Exit, Failure};
use crate::status::Status;
use crate::units::{parse_duration_above_zero, short_count, short_span};
use clap::ValueEnum;
use lockwright_checker::{
    Exhaustive, Instance, Menu, QuietPanics, Rule, Sight, Size, Step, search, serve,
};
use lockwright_engine::Engine;
use report::Report;
use stateright::Checker;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Check every order of events in a small world.
///
/// A model checker drives the engine that ships through every order in which a few clients can
/// ask, wait, renew, release, give up, lose their sessions and let time pass, and judges each
/// answer by the rules. Unlike `run` it leaves nothing to chance, and comes to an end: then no
/// rule is broken anywhere in that world. What breaks one is shortened and written as a trace.
///
/// On a terminal it shows how far it is.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// How many ask: sessions and named owners in turn, 1 to 4
    #[arg(long, value_name = "N", default_value_t = 2)]
    clients: usize,

    /// How often they ask for something, in all, 1 to 6
    #[arg(long, value_name = "N", default_value_t = 3)]
    requests: usize,

    /// How many milliseconds pass, in all
    #[arg(long, value_name = "MS", default_value_t = 2)]
    ms: u64,

    /// How many kinds of requests there are
    #[arg(long, value_enum, default_value = "small")]
    menu: MenuArg,

    /// No more than this many steps from the beginning [default: as many as there are]
    #[arg(long, value_name = "D")]
    depth: Option<u16>,

    /// Stop after this time, such as 30s, 5m or 1h30m, however far it is
    #[arg(long = "for", value_name = "DUR", value_parser = parse_duration_above_zero)]
    budget: Option<Duration>,

    /// How many threads [default: one per core]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Where to write traces; made when there is something to write
    #[arg(long, value_name = "DIR", default_value = "findings")]
    out: PathBuf,

    /// Instead of checking, serve the states to a browser at this address, until Ctrl-C
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:3000",
        conflicts_with_all = ["json", "budget", "out"])]
    explore: Option<SocketAddr>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Exit codes: 0 if no rule is broken; 1 if one is, or if everything was looked at and something that
must be reached was not (that world is too small to say much); 130 after Ctrl-C.

Examples:
  bug-finder model                                    two clients, three requests, 2 ms
  bug-finder model --clients 3 --menu full --for 1h   as much as an hour gives
  bug-finder model --depth 6 --json                   all there is within six steps
  bug-finder model --explore                          walk through the states in a browser";

/// What may be asked for, by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MenuArg {
    /// Four sets of claims, with and without a lease, three ways to wait
    Small,
    /// Eight sets of claims, three kinds of leases, three ways to wait
    Full,
}

/// Why a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Exhausted,
    Found,
    TimeUp,
    Interrupted,
}

/// Runs the command.
///
/// # Errors
/// When the instance makes no sense, the address cannot be had, or a file cannot be written.
pub fn execute(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let size = Size {
        clients: args.clients,
        requests: args.requests,
        ms: args.ms,
        menu: match args.menu {
            MenuArg::Small => Menu::Small,
            MenuArg::Full => Menu::Full,
        },
        depth: args.depth,
    };
    let instance = Arc::new(Instance::new(size).map_err(Failure::Usage)?);
    if let Some(address) = args.explore {
        return explore(address, instance, context);
    }
    let (report, paths) = check(args, context, &instance);
    let found = match paths.first() {
        None => None,
        Some((rule, path)) => {
            let model = Exhaustive::<Engine>::new(instance, Arc::default());
            counterexample::look_into(&args.out, context, &model, *rule, path)?
        }
    };
    report.tell(args.json, found.as_ref())
}

/// Runs the checker to its end, and gives what it found: rules with the paths that break them.
fn check(
    args: &Args,
    context: &Context,
    instance: &Arc<Instance>,
) -> (Report, Vec<(Rule, Vec<Step>)>) {
    /// How often the command looks up.
    const PERIOD: Duration = Duration::from_millis(50);
    let quiet = QuietPanics::new();
    let stop = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let threads = args.jobs.map_or_else(all_cores, NonZeroUsize::get);
    let mut checker = search(Arc::clone(instance), Arc::clone(&stop), threads);
    let workers = checker.handles();
    let mut status = Status::new();
    let mut stopped = Stopped::Exhausted;
    while !workers.iter().all(std::thread::JoinHandle::is_finished) {
        if context.interrupts.pending() {
            stopped = Stopped::Interrupted;
        } else if args.budget.is_some_and(|budget| start.elapsed() >= budget) {
            stopped = Stopped::TimeUp;
        }
        if stopped != Stopped::Exhausted {
            stop.store(true, Ordering::Relaxed);
        }
        status.show(|| progress(&checker, start.elapsed()));
        std::thread::sleep(PERIOD);
    }
    for worker in workers {
        if let Err(panic) = worker.join() {
            std::panic::resume_unwind(panic);
        }
    }
    let elapsed = start.elapsed();
    status.clear();
    // Paths are followed through the model again.
    stop.store(false, Ordering::Relaxed);
    let mut discoveries = checker.discoveries();
    drop(quiet);
    let broken: Vec<(Rule, Vec<Step>)> = Rule::ALL
        .into_iter()
        .filter_map(|rule| Some((rule, discoveries.remove(rule.name())?.into_actions())))
        .collect();
    if !broken.is_empty() {
        stopped = Stopped::Found;
    }
    let report = Report {
        size: instance.size(),
        stopped,
        unique_states: checker.unique_state_count(),
        states: checker.state_count(),
        // The checker counts states, and a path of one state has no step.
        depth: checker.max_depth().saturating_sub(1),
        elapsed,
        reached: Sight::ALL
            .into_iter()
            .map(|sight| (sight, discoveries.contains_key(sight.name())))
            .collect(),
        broken: broken.iter().map(|(rule, _)| *rule).collect(),
    };
    (report, broken)
}

fn progress(checker: &impl Checker<Exhaustive>, elapsed: Duration) -> String {
    let states = checker.state_count() as f64;
    format!(
        "model: {} unique states of {} ({}/s), depth {}, {}",
        short_count(checker.unique_state_count() as f64),
        short_count(states),
        short_count(states / elapsed.as_secs_f64().max(1e-3)),
        checker.max_depth().saturating_sub(1),
        short_span(elapsed)
    )
}

/// Serves the checker's explorer until Ctrl-C.
fn explore(
    address: SocketAddr,
    instance: Arc<Instance>,
    context: &Context,
) -> Result<Exit, Failure> {
    const PERIOD: Duration = Duration::from_millis(100);
    // The explorer itself would panic.
    TcpListener::bind(address).map_err(|error| Failure::Usage(format!("{address}: {error}")))?;
    let server = std::thread::spawn(move || serve(address, instance));
    super::say(&format!("http://{address}/ shows the states, until Ctrl-C"))?;
    while !context.interrupts.pending() {
        if server.is_finished() {
            return Err(Failure::Internal("the explorer has ended".to_owned()));
        }
        std::thread::sleep(PERIOD);
    }
    Ok(Exit::Interrupted)
}
