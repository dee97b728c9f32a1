//! What a child does: runs plans, and tells what came of them.

use crate::frame::Sender;
use crate::os;
use crate::world::World;
use lockwright_sim::outcome::{HistoryHash, Outcome, Violation};
use lockwright_sim::plan::{self, PlanSize, Profile, RunOptions};
use lockwright_sim::{crash_report, entropy};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

/// A seed that was run to its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ran {
    /// The seed.
    pub seed: u64,
    /// The profile that was drawn, never `swarm`.
    pub profile: Profile,
    /// The size of the plan that was drawn.
    pub size: PlanSize,
    /// What came of it.
    pub outcome: Outcome,
    /// CPU time in microseconds, from drawing the plan to the end of the run.
    pub cpu_us: u64,
}

/// What a child that runs seeds sends for each.
#[derive(Debug, Serialize, Deserialize)]
pub struct SeedReport<P> {
    /// What came of it.
    pub ran: Ran,
    /// Its plan, if it broke a rule.
    pub plan: Option<P>,
}

/// Runs `seeds` in turn and sends a [`SeedReport`] for each. Stops early, with at least one seed
/// run, when what is left needs a process of its own.
///
/// # Errors
/// When nobody listens any more.
pub fn run_seeds<W: World + Sync>(
    world: &W,
    profile: Profile,
    seeds: &[u64],
    sender: &mut Sender<impl Write>,
) -> io::Result<()> {
    keep_panics_quiet();
    plan::want_backtraces(true);
    let mut cpu_before_us = 0;
    for (index, &seed) in seeds.iter().enumerate() {
        let plan = world.generate(profile, seed);
        let isolated = world.is_isolated(&plan);
        if isolated && index > 0 {
            return Ok(());
        }
        run_alone(world, &plan, seed, RunOptions::default(), |outcome| {
            let cpu_us = cpu_us();
            let ran = Ran {
                seed,
                profile: world.profile(&plan),
                size: world.size(&plan),
                cpu_us: cpu_us - cpu_before_us,
                outcome,
            };
            cpu_before_us = cpu_us;
            let plan = ran.outcome.violation.is_some().then_some(&plan);
            sender.send(&SeedReport { ran, plan })
        })?;
        if isolated {
            return Ok(());
        }
    }
    Ok(())
}

/// Runs one plan and sends its [`Outcome`].
///
/// # Errors
/// When nobody listens any more.
pub fn run_plan<W: World + Sync>(
    world: &W,
    plan: &W::Plan,
    seed: u64,
    options: RunOptions,
    sender: &mut Sender<impl Write>,
) -> io::Result<()> {
    keep_panics_quiet();
    run_alone(world, plan, seed, options, |outcome| sender.send(&outcome))
}

/// What comes of a run on a thread of its own.
enum Told {
    /// It ended, or panicked where no simulator catches it.
    Ended(std::thread::Result<Outcome>),
    /// It panicked, and its thread stands still where it did.
    Stuck(Outcome),
}

/// Runs a plan on a thread of its own, whose thread-locals (the keys of hash maps among them) are
/// as fresh in the hundredth run of a process as in the first, and reports what came of it.
fn run_alone<W: World + Sync>(
    world: &W,
    plan: &W::Plan,
    seed: u64,
    options: RunOptions,
    report: impl FnOnce(Outcome) -> io::Result<()>,
) -> io::Result<()> {
    const STACK_BYTES: usize = 16 << 20;
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let run = move || {
            entropy::seed(seed);
            stand_still_at_first_panic(tell.clone());
            // Caught here and not at the join, so that it is this thread that knows.
            let run = std::panic::catch_unwind(AssertUnwindSafe(|| world.run(plan, seed, options)));
            entropy::release();
            let _ = tell.send(Told::Ended(run));
        };
        std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, run)
            .unwrap_or_else(|error| panic!("no thread to run a plan on: {error}"));
        match told.recv() {
            Ok(Told::Ended(Ok(outcome))) => report(outcome),
            Ok(Told::Ended(Err(_))) | Err(_) => report(escaped_panic()),
            Ok(Told::Stuck(outcome)) => {
                // The thread never ends, and so this process has to.
                let reported = report(outcome);
                os::exit_now(if reported.is_ok() { 0 } else { FAILED });
            }
        }
    })
}

/// What unwinds within a runtime may take the process with it, so a run of one does not unwind.
fn stand_still_at_first_panic(tell: mpsc::Sender<Told>) {
    plan::end_at_first_panic(move |outcome| {
        entropy::release();
        let _ = tell.send(Told::Stuck(outcome));
        loop {
            std::thread::park();
        }
    });
}

/// The status of a child that could not do its work; never that of what it simulates.
pub const FAILED: i32 = 70;

/// Where the last panic was and what it said.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Panics of what is simulated are findings, not news for the terminal.
fn keep_panics_quiet() {
    std::panic::set_hook(Box::new(|info| {
        let text = plan::escaped_panic(info);
        *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }));
}

/// The outcome of a run whose panic the simulator did not catch.
fn escaped_panic() -> Outcome {
    let panic = LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner);
    let at_ms = crash_report::so_far().map_or(0, |report| report.at_ms);
    broken(crash(
        at_ms,
        &format!("a panic escaped the simulator: {panic}"),
    ))
}

/// The outcome of a run that told nothing itself.
#[must_use]
pub fn broken(violation: Violation) -> Outcome {
    Outcome {
        history_hash: HistoryHash::default(),
        commands: 0,
        simulated_ms: 0,
        violation: Some(violation),
        history: None,
    }
}

/// A run whose process died.
#[must_use]
pub fn crash(at_ms: u64, message: &str) -> Violation {
    Violation {
        oracle: "crash".to_owned(),
        rule: "a run ends by itself".to_owned(),
        at_ms,
        message: message.to_owned(),
    }
}

/// A run that did not end, and was at `at_ms` when it was ended.
#[must_use]
pub fn hang(at_ms: u64, limit: Duration) -> Violation {
    Violation {
        oracle: "hang".to_owned(),
        rule: "a run ends within its time limit".to_owned(),
        at_ms,
        message: format!("the run used {limit:?}, or slept for as long, and did not end"),
    }
}

/// CPU time of this process so far, in microseconds.
#[must_use]
pub fn cpu_us() -> u64 {
    cpu_us_of(UsageWho::RUSAGE_SELF)
}

/// CPU time of the children that have ended, in microseconds.
#[must_use]
pub fn children_cpu_us() -> u64 {
    cpu_us_of(UsageWho::RUSAGE_CHILDREN)
}

fn cpu_us_of(who: UsageWho) -> u64 {
    let usage = getrusage(who).expect("a process may always ask for its own usage");
    let us = (usage.user_time() + usage.system_time()).num_microseconds();
    u64::try_from(us).unwrap_or(0)
}
