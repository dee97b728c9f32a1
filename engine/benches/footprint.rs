//! How much memory the engine takes, as the kernel counts it: resident bytes of a process that
//! does nothing else. Prints one JSON object a line.
//!
//! Each measurement runs in a process of its own, so that none finds memory that another freed.

use lockwright_engine::*;
use std::{env, fs, process};

const MILLION: u64 = 1_000_000;

/// Gives bytes for each of a number of things.
type Measure = fn() -> f64;

/// What is measured: a name, and how.
const MEASUREMENTS: [(&str, Measure); 6] = [
    ("bytes_per_lock/three_levels", || {
        held(|n| format!("{}/{}/{n}", n % 100, n % 10_000))
    }),
    ("bytes_per_lock/nothing_shared", || {
        held(|n| format!("a{n}/b{n}/c{n}"))
    }),
    ("bytes_per_lock/with_lease", leased),
    ("bytes_per_cycle/beside_an_old_lock", cycles),
    ("bytes_per_ended/remembered", || ended(0)),
    ("bytes_per_ended/once_forgotten", || ended(60_000)),
];

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let [_, flag, name] = arguments.as_slice()
        && flag == "--measure"
    {
        let (_, measure) = MEASUREMENTS
            .iter()
            .find(|(known, _)| known == name)
            .expect("the parent asks for what is known");
        println!("{{\"name\":\"{name}\",\"bytes\":{:.3}}}", measure());
        return;
    }
    let program = env::current_exe().expect("a process knows its program");
    for (name, _) in MEASUREMENTS {
        let status = process::Command::new(&program)
            .args(["--measure", name])
            .status()
            .expect("a program can start itself");
        assert!(status.success(), "measuring {name} failed: {status}");
    }
}

/// Resident bytes of this process.
fn resident() -> f64 {
    const PAGE_BYTES: f64 = 4096.0;
    let text = fs::read_to_string("/proc/self/statm").expect("this needs the /proc of Linux");
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<f64>().ok());
    pages.expect("the second number of statm is the resident pages") * PAGE_BYTES
}

fn name(text: &str) -> Name {
    Name::new(text).expect("it is a name")
}

fn acquire(id: &str, path: &str, ttl: Option<DurationMs>) -> Command {
    Command::Acquire {
        lock: LockKey {
            namespace: name("default"),
            owner: Owner::Named(name("owner")),
            id: name(id),
        },
        claims: vec![Claim::write(Path::parse(path).expect("it is a path"))],
        ttl,
        wait: Wait::No,
    }
}

fn engine() -> Engine {
    let limits = Limits {
        locks_per_owner: u32::MAX,
        ..Limits::default()
    };
    Engine::new(EngineConfig {
        limits,
        ..EngineConfig::default()
    })
}

/// Bytes for each of a million locks held.
fn held(path: impl Fn(u64) -> String) -> f64 {
    million(|n| acquire(&format!("request-{n}"), &path(n), None))
}

fn leased() -> f64 {
    million(|n| {
        let path = format!("{}/{}/{n}", n % 100, n % 10_000);
        let ttl = DurationMs::new(60_000 + n).expect("it is in range");
        acquire(&format!("request-{n}"), &path, Some(ttl))
    })
}

#[expect(clippy::cast_precision_loss, reason = "a million is exact")]
fn million(command: impl Fn(u64) -> Command) -> f64 {
    let mut engine = engine();
    let mut events = Vec::new();
    let before = resident();
    for n in 0..MILLION {
        events.clear();
        engine
            .apply(TimeMs::ZERO, &command(n), &mut events)
            .expect("nothing is in the way");
    }
    let bytes = (resident() - before) / MILLION as f64;
    assert_eq!(engine.usage().live_requests, 1_000_000);
    bytes
}

/// An engine with a lock that is never given back, and others that are taken and given back beside it.
struct Cycles {
    engine: Engine,
    events: Vec<Event>,
}

impl Cycles {
    fn new() -> Cycles {
        let mut cycles = Cycles {
            engine: engine(),
            events: Vec::new(),
        };
        cycles.apply(0, &acquire("old", "old/lock", None));
        cycles
    }

    fn apply(&mut self, at: u64, command: &Command) -> Reply {
        self.events.clear();
        let at = TimeMs::new(at).expect("it is in range");
        self.engine
            .apply(at, command, &mut self.events)
            .expect("nothing is in the way")
    }

    /// Takes a lock and gives it back, at once.
    fn cycle(&mut self, at: u64, id: u64) {
        let command = acquire(&id.to_string(), "a/b/c", None);
        let Reply::Acquired {
            state: LockState::Held { token, .. },
            ..
        } = self.apply(at, &command)
        else {
            unreachable!("nothing is in the way")
        };
        let Command::Acquire { lock, .. } = command else {
            unreachable!("it is an acquire")
        };
        self.apply(at, &Command::Release { lock, token });
    }
}

/// By how much memory grows for each of ten million times that a lock is taken and given back
/// beside one that is never given back, one each millisecond. What ended is remembered for the
/// default retention, so the first million only fill that memory.
#[expect(clippy::cast_precision_loss, reason = "ten million is exact")]
fn cycles() -> f64 {
    let mut cycles = Cycles::new();
    (1..=MILLION).for_each(|now| cycles.cycle(now, now));
    let before = resident();
    (MILLION + 1..=11 * MILLION).for_each(|now| cycles.cycle(now, now));
    (resident() - before) / (10 * MILLION) as f64
}

/// Bytes for each of a million requests that were granted and have ended `later` ms ago, beside a lock that
/// is still held.
#[expect(clippy::cast_precision_loss, reason = "a million is exact")]
fn ended(later: u64) -> f64 {
    let mut cycles = Cycles::new();
    let before = resident();
    (0..MILLION).for_each(|id| cycles.cycle(0, id));
    cycles.apply(later, &Command::Tick);
    (resident() - before) / MILLION as f64
}
