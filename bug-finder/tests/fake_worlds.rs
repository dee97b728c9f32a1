//! The finder in worlds that hang, crash and waver at will.
//!
//! The finder forks, so it has to be the only thread of its process: these tests bring their own
//! `main` and run one after the other.

use bug_finder::case::{Lab, Patience};
use bug_finder::os::Interrupts;
use bug_finder::pool::Pool;
use bug_finder::queue::{SeedQueue, Shard};
use bug_finder::shrink::{ShrinkOptions, Smallest, shrink};
use bug_finder::sweep::{Found, FoundWhat, Stop, Sweep, SweepOptions, Totals, Watch};
use bug_finder::worker::Ran;
use bug_finder::world::World;
use lockwright_sim::crash_report;
use lockwright_sim::outcome::{HistoryHash, Outcome, Violation};
use lockwright_sim::plan::{PlanSize, Profile, RunOptions};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// What commands do; all others do nothing.
const BREAK_A_RULE: u32 = 1000;
const HANG: u32 = 1001;
const ABORT: u32 = 1002;
const PANIC: u32 = 1003;
const WAVER: u32 = 1004;
const PANIC_TWICE: u32 = 1005;
const FILL_STACK: u32 = 1006;
/// Stopped for a while, longer than a run may take.
const STOPPED: u32 = 1007;
/// And for ever.
const SLEEP: u32 = 1008;
/// And the number of a signal, which the run sends to itself the first time.
const SIGNAL_ONCE: u32 = 1100;
/// And the number of a signal, which the run sends to itself each time.
const SIGNAL: u32 = 1200;

/// Plans are lists of commands; the fingerprint covers them, and what the system's randomness is.
struct Fake {
    /// The last command of a seed's plan; the others do nothing.
    special: Box<dyn Fn(u64) -> u32 + Sync>,
    isolated: fn(u64) -> bool,
}

impl Fake {
    fn new(special: impl Fn(u64) -> u32 + Sync + 'static) -> Fake {
        Fake {
            special: Box::new(special),
            isolated: |_| false,
        }
    }
}

/// Stops this process, which another one wakes up again.
fn stop_for_a_while() {
    let wake = format!("sleep 2; kill -CONT {}", std::process::id());
    let mut wake = std::process::Command::new("sh")
        .args(["-c", &wake])
        .spawn()
        .expect("there is a shell");
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).expect("any process may stop");
    wake.wait().expect("it is a child");
}

fn seed_of(plan: &[u32]) -> u64 {
    u64::from(plan[0])
}

impl World for Fake {
    type Plan = Vec<u32>;

    fn generate(&self, _profile: Profile, seed: u64) -> Vec<u32> {
        let mut plan = vec![u32::try_from(seed).expect("tests use small seeds")];
        plan.extend(0..20);
        plan.push((self.special)(seed));
        plan
    }

    fn profile(&self, _plan: &Vec<u32>) -> Profile {
        Profile::Engine
    }

    fn is_isolated(&self, plan: &Vec<u32>) -> bool {
        (self.isolated)(seed_of(plan))
    }

    fn size(&self, plan: &Vec<u32>) -> PlanSize {
        PlanSize {
            clients: 1,
            commands: plan.len() - 1,
            faults: 0,
        }
    }

    fn reductions<'a>(&self, plan: &'a Vec<u32>) -> Box<dyn Iterator<Item = Vec<u32>> + 'a> {
        Box::new((1..plan.len()).map(|at| {
            let mut smaller = plan.clone();
            smaller.remove(at);
            smaller
        }))
    }

    fn run(&self, plan: &Vec<u32>, seed: u64, _options: RunOptions) -> Outcome {
        let mut hash = RandomState::new().hash_one(plan);
        let mut violation = None;
        for command in plan[1..].iter().copied() {
            match command {
                BREAK_A_RULE => {
                    violation = Some(Violation {
                        oracle: "fake".to_owned(),
                        rule: "no rule is broken".to_owned(),
                        at_ms: 1,
                        message: "one was".to_owned(),
                    });
                }
                HANG => loop {
                    std::thread::yield_now();
                },
                ABORT => std::process::abort(),
                PANIC => panic!("as told"),
                WAVER => hash = u64::from(std::process::id()),
                PANIC_TWICE => panic_twice(),
                FILL_STACK => drop(fill_stack(0)),
                STOPPED => stop_for_a_while(),
                SLEEP => loop {
                    std::thread::sleep(Duration::from_secs(60));
                },
                SIGNAL_ONCE..SIGNAL if is_first_time(seed) => raise(command - SIGNAL_ONCE),
                SIGNAL.. => raise(command - SIGNAL),
                _ => {}
            }
        }
        Outcome {
            history_hash: HistoryHash(hash),
            commands: plan.len() as u64,
            simulated_ms: 10,
            violation,
            history: None,
        }
    }
}

/// Whether no process has run this seed before; the second asks last.
fn is_first_time(seed: u64) -> bool {
    let finder = nix::unistd::getppid();
    let mark = std::env::temp_dir().join(format!("lockwright-killed-{finder}-{seed}"));
    let is_first = !mark.exists();
    if is_first {
        std::fs::write(&mark, "").expect("the directory is ours to write to");
    } else {
        let _ = std::fs::remove_file(&mark);
    }
    is_first
}

/// Has the system send a signal to this process, by its number, until it dies of it: the handler that
/// a program of Rust has for SIGSEGV and SIGBUS takes the first for an access, which it lets come again.
fn raise(signal: u32) {
    let own = std::process::id();
    let script = format!("kill -{signal} {own}");
    for _ in 0..3 {
        let _ = std::process::Command::new("sh")
            .args(["-c", &script])
            .status();
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn panic_twice() {
    struct Falls;
    impl Drop for Falls {
        fn drop(&mut self) {
            panic!("the second");
        }
    }
    crash_report::at(42);
    crash_report::event("42 ms: it happens");
    let _falls = Falls;
    panic!("the first");
}

fn fill_stack(depth: u64) -> u64 {
    let more = std::hint::black_box([depth; 64]);
    if depth == u64::MAX {
        return 0;
    }
    fill_stack(depth + 1) + more[0]
}

/// Keeps the fingerprints of the seeds that ended.
#[derive(Default)]
struct Log(BTreeMap<u64, HistoryHash>);

impl Watch for Log {
    fn seed_ended(&mut self, ran: &Ran) -> io::Result<()> {
        let before = self.0.insert(ran.seed, ran.outcome.history_hash);
        assert!(before.is_none(), "seed {} was told of twice", ran.seed);
        Ok(())
    }

    fn look(&mut self, _totals: &Totals) -> Option<Instant> {
        None
    }
}

struct Test<'a> {
    interrupts: &'a Interrupts,
}

impl Test<'_> {
    fn options(jobs: usize) -> SweepOptions {
        SweepOptions {
            profile: Profile::Engine,
            jobs,
            seed_time_max: Duration::from_secs(3),
            until: None,
            twice: false,
        }
    }

    fn sweep<'w>(
        &'w self,
        world: &'w Fake,
        options: SweepOptions,
        seeds: RangeInclusive<u64>,
    ) -> Sweep<'w, Fake> {
        let queue = SeedQueue::new(seeds, Shard::WHOLE, options.twice);
        Sweep::new(world, options, queue, Pool::new(self.interrupts, true))
    }

    /// The finding at which a hunt through seeds 0 to 99 stops, whatever the number of jobs.
    fn found(&self, world: &Fake, twice: bool) -> Found<Vec<u32>> {
        let mut seeds = Vec::new();
        let mut last = None;
        for jobs in [1, 2, 7] {
            let mut options = Test::options(jobs);
            options.twice = twice;
            let mut sweep = self.sweep(world, options, 0..=99);
            match sweep
                .hunt(&mut Log::default())
                .expect("processes can be had")
            {
                Stop::Found(found) => {
                    seeds.push(found.seed);
                    last = Some(*found);
                }
                other => panic!("nothing was found: {other:?}"),
            }
        }
        assert!(seeds.iter().all(|seed| *seed == seeds[0]), "{seeds:?}");
        last.expect("there were hunts")
    }

    fn oracle_found(&self, world: &Fake) -> (u64, String) {
        let found = self.found(world, false);
        let FoundWhat::Violation { ran, .. } = found.what else {
            panic!("{found:?}");
        };
        let violation = ran.outcome.violation.expect("a finding has one");
        (found.seed, violation.oracle)
    }

    fn shrink(&self, world: &Fake, seed: u64, oracle: &str, jobs: usize) -> Smallest<Vec<u32>> {
        let options = ShrinkOptions {
            jobs,
            run_time_max: Duration::from_millis(300),
            // Enough on any machine.
            until: Instant::now() + Duration::from_secs(600),
        };
        let plan = world.generate(Profile::Engine, seed);
        let pool = Pool::new(self.interrupts, true);
        shrink(world, pool, options, (plan, seed), oracle, &mut |_| None)
            .expect("processes can be had")
    }

    fn a_clean_hunt_runs_every_seed_once_and_the_same_way_at_any_number_of_jobs(&self) {
        let world = Fake {
            special: Box::new(|_| 0),
            isolated: |seed| seed % 3 == 0,
        };
        let mut logs = Vec::new();
        for (jobs, twice) in [(1, false), (2, false), (5, true)] {
            let mut options = Test::options(jobs);
            options.twice = twice;
            let mut log = Log::default();
            let mut sweep = self.sweep(&world, options, 0..=299);
            let stop = sweep.hunt(&mut log).expect("processes can be had");
            assert!(matches!(stop, Stop::Exhausted), "{stop:?}");
            assert_eq!(sweep.totals.seeds, 300);
            assert_eq!(sweep.totals.commands, 300 * 22);
            logs.push(log.0);
        }
        assert_eq!(logs[0].len(), 300);
        assert!(logs.iter().all(|log| *log == logs[0]));
        // Alone in its process, too.
        let mut log = Log::default();
        let mut sweep = self.sweep(&world, Test::options(1), 217..=217);
        sweep.hunt(&mut log).expect("processes can be had");
        assert_eq!(log.0[&217], logs[0][&217]);
    }

    fn the_lowest_violation_is_found(&self) {
        let world = Fake::new(|seed| if seed % 40 == 37 { BREAK_A_RULE } else { 0 });
        assert_eq!(self.oracle_found(&world), (37, "fake".to_owned()));
    }

    fn the_lowest_violation_is_found_among_seeds_that_have_to_be_run_again(&self) {
        let world = Fake {
            special: Box::new(|seed| match seed {
                0..23 => 0,
                23 => ABORT,
                _ => BREAK_A_RULE,
            }),
            isolated: |seed| seed % 3 != 1,
        };
        assert_eq!(self.oracle_found(&world), (23, "crash".to_owned()));
    }

    fn a_hunt_goes_on_behind_a_finding(&self) {
        let world = Fake::new(|seed| if seed % 40 == 37 { BREAK_A_RULE } else { 0 });
        let mut sweep = self.sweep(&world, Test::options(3), 0..=99);
        let mut log = Log::default();
        let mut seeds = Vec::new();
        while let Stop::Found(found) = sweep.hunt(&mut log).expect("processes can be had") {
            seeds.push(found.seed);
        }
        assert_eq!(seeds, [37, 77]);
        assert_eq!(log.0.len(), 100);
        assert_eq!(sweep.totals.seeds, 100);
    }

    fn a_hang_is_found(&self) {
        let world = Fake::new(|seed| if seed == 11 { HANG } else { 0 });
        assert_eq!(self.oracle_found(&world), (11, "hang".to_owned()));
    }

    fn a_run_that_is_stopped_is_no_hang_and_one_that_waits_for_ever_is(&self) {
        let found = |special: u32| {
            let world = Fake::new(move |seed| if seed == 3 { special } else { 0 });
            let mut options = Test::options(2);
            options.seed_time_max = Duration::from_millis(400);
            let mut sweep = self.sweep(&world, options, 0..=9);
            match sweep.hunt(&mut Log::default()) {
                Ok(Stop::Found(found)) => Some(found.seed),
                Ok(_) => None,
                Err(error) => panic!("processes can be had: {error}"),
            }
        };
        assert_eq!(found(STOPPED), None);
        assert_eq!(found(SLEEP), Some(3));
    }

    fn a_crash_is_found_in_the_middle_of_its_batch(&self) {
        let world = Fake::new(|seed| if seed == 61 { ABORT } else { 0 });
        assert_eq!(self.oracle_found(&world), (61, "crash".to_owned()));
    }

    fn a_panic_that_nobody_catches_is_found(&self) {
        let world = Fake::new(|seed| if seed == 5 { PANIC } else { 0 });
        assert_eq!(self.oracle_found(&world), (5, "crash".to_owned()));
    }

    fn a_run_that_wavers_is_found(&self) {
        let world = Fake::new(|seed| if seed == 13 { WAVER } else { 0 });
        let found = self.found(&world, true);
        assert_eq!(found.seed, 13);
        assert!(matches!(found.what, FoundWhat::Nondeterministic { .. }));
    }

    fn a_child_ended_from_outside_is_run_again(&self) {
        // SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGUSR1, SIGALRM, SIGTERM, SIGXCPU, and one without a name.
        for signal in [1, 2, 3, 9, 10, 14, 15, 24, 34] {
            let world = Fake {
                special: Box::new(move |seed| match seed {
                    20 | 21 => SIGNAL_ONCE + signal,
                    _ => 0,
                }),
                isolated: |seed| seed == 21,
            };
            let mut sweep = self.sweep(&world, Test::options(2), 0..=99);
            let mut log = Log::default();
            let stop = sweep.hunt(&mut log).expect("processes can be had");
            assert!(matches!(stop, Stop::Exhausted), "signal {signal}: {stop:?}");
            assert_eq!(log.0.len(), 100);
            assert_eq!(sweep.totals.children_lost, 2, "signal {signal}");
        }
    }

    fn a_plan_that_is_looked_into_is_run_again_too(&self) {
        let world = Fake::new(|_| SIGNAL_ONCE + 15);
        let outcome = self.run(&world, 7).expect("it was not interrupted");
        assert_eq!(outcome.violation, None);
    }

    fn a_run_that_always_ends_from_outside_is_found(&self) {
        let world = Fake::new(|seed| if seed == 5 { SIGNAL + 9 } else { 0 });
        assert_eq!(self.oracle_found(&world), (5, "crash".to_owned()));
        let outcome = self.run(&world, 5).expect("it was not interrupted");
        assert_eq!(
            outcome.violation.map(|one| one.oracle),
            Some("crash".into())
        );
    }

    fn a_run_that_dies_by_its_own_fault_only_once_is_not_deterministic(&self) {
        // SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS.
        for signal in [4, 5, 6, 7, 8, 11, 31] {
            let world = Fake::new(move |seed| if seed == 20 { SIGNAL_ONCE + signal } else { 0 });
            let mut sweep = self.sweep(&world, Test::options(2), 0..=20);
            let stop = sweep.hunt(&mut Log::default());
            let Ok(Stop::Found(found)) = stop else {
                panic!("signal {signal}: {stop:?}");
            };
            let is_so = matches!(found.what, FoundWhat::Nondeterministic { .. });
            assert!(is_so, "signal {signal}: {found:?}");
        }
    }

    /// What comes of the plan of a seed, run as whoever looks into it does.
    fn run(&self, world: &Fake, seed: u64) -> Option<Outcome> {
        let patience = Patience {
            run: Duration::from_secs(60),
            shrink: Duration::ZERO,
            jobs: 1,
        };
        let lab = Lab {
            world,
            interrupts: self.interrupts,
            patience,
        };
        let plan = world.generate(Profile::Engine, seed);
        lab.run(&plan, seed, RunOptions::default())
            .expect("processes can be had")
    }

    fn a_crash_says_what_panicked_when_and_after_what(&self) {
        let world = Fake::new(|seed| if seed == 3 { PANIC_TWICE } else { 0 });
        let FoundWhat::Violation { ran, .. } = self.found(&world, false).what else {
            panic!("it is a violation");
        };
        let again = self.run(&world, 3).expect("it was not interrupted");
        for outcome in [ran.outcome, again] {
            let violation = outcome.violation.expect("it crashed");
            assert_eq!((&*violation.oracle, violation.at_ms), ("crash", 42));
            let mut rest = violation.message.as_str();
            for says in [
                "SIGABRT",
                "tests/fake_worlds.rs:",
                "the first",
                "panic_twice",
                "the second",
                "last events:",
                "42 ms: it happens",
            ] {
                let at = rest.find(says);
                let at = at.unwrap_or_else(|| panic!("no `{says}` in {}", violation.message));
                rest = &rest[at + says.len()..];
            }
        }
    }

    fn a_stack_that_is_full_is_named(&self) {
        let outcome = self.run(&Fake::new(|_| FILL_STACK), 3);
        let violation = outcome.and_then(|outcome| outcome.violation);
        let violation = violation.expect("it crashed");
        assert!(
            violation.message.contains("has overflowed its stack"),
            "{}",
            violation.message
        );
    }

    fn time_ends_a_hunt_in_the_middle_of_a_run(&self) {
        let world = Fake::new(|_| HANG);
        let mut options = Test::options(2);
        options.seed_time_max = Duration::from_secs(600);
        let start = Instant::now();
        options.until = Some(start + Duration::from_millis(200));
        let mut sweep = self.sweep(&world, options, 0..=99);
        let stop = sweep
            .hunt(&mut Log::default())
            .expect("processes can be had");
        assert!(matches!(stop, Stop::TimeUp), "{stop:?}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    fn shrinking_leaves_what_the_rule_needs_at_any_number_of_jobs(&self) {
        let world = Fake::new(|_| BREAK_A_RULE);
        for jobs in [1, 2, 5] {
            let smallest = self.shrink(&world, 7, "fake", jobs);
            assert_eq!(smallest.plan, [7, BREAK_A_RULE]);
            assert!(smallest.complete);
            assert!(smallest.outcome.is_some());
        }
    }

    fn shrinking_a_crash_or_a_hang_keeps_it(&self) {
        let abort = self.shrink(&Fake::new(|_| ABORT), 7, "crash", 2);
        assert_eq!(abort.plan, [7, ABORT]);
        let hang = self.shrink(&Fake::new(|_| HANG), 7, "hang", 4);
        assert_eq!(hang.plan, [7, HANG]);
    }

    fn shrinking_never_trades_one_violation_for_another(&self) {
        let world = Fake::new(|_| BREAK_A_RULE);
        let smallest = self.shrink(&world, 7, "another", 2);
        assert_eq!(smallest.plan.len(), 22);
        assert!(smallest.outcome.is_none());
        assert!(smallest.complete);
    }
}

fn main() {
    let interrupts = Interrupts::catch().expect("signals can be caught");
    let test = Test {
        interrupts: &interrupts,
    };
    macro_rules! run {
        ($($name:ident),* $(,)?) => {
            $(
                print!("test {} ... ", stringify!($name));
                test.$name();
                println!("ok");
            )*
        };
    }
    run!(
        a_clean_hunt_runs_every_seed_once_and_the_same_way_at_any_number_of_jobs,
        the_lowest_violation_is_found,
        the_lowest_violation_is_found_among_seeds_that_have_to_be_run_again,
        a_hunt_goes_on_behind_a_finding,
        a_hang_is_found,
        a_run_that_is_stopped_is_no_hang_and_one_that_waits_for_ever_is,
        a_crash_is_found_in_the_middle_of_its_batch,
        a_panic_that_nobody_catches_is_found,
        a_run_that_wavers_is_found,
        a_child_ended_from_outside_is_run_again,
        a_plan_that_is_looked_into_is_run_again_too,
        a_run_that_always_ends_from_outside_is_found,
        a_run_that_dies_by_its_own_fault_only_once_is_not_deterministic,
        a_crash_says_what_panicked_when_and_after_what,
        a_stack_that_is_full_is_named,
        time_ends_a_hunt_in_the_middle_of_a_run,
        shrinking_leaves_what_the_rule_needs_at_any_number_of_jobs,
        shrinking_a_crash_or_a_hang_keeps_it,
        shrinking_never_trades_one_violation_for_another,
    );
}
