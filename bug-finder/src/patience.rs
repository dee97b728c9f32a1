//! How long a child may be silent: for as long as its limit, of the time that it could have used.
//!
//! A child that is one of too many on a busy machine, or that was stopped, is as silent as one that
//! hangs, for any length of real time. So what counts is the CPU time that it used, and the time in
//! which it neither ran nor wanted to: the time in which it waited for a CPU is not its own.

use nix::unistd::Pid;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the system says of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// CPU time of all its threads.
    pub ran: Duration,
    /// The time for which its threads were ready to run, and did not.
    pub starved: Duration,
    /// It was stopped, or waits for the disk or for memory.
    pub is_held: bool,
}

impl Reading {
    /// What it is now; all zero for a process that is gone.
    pub fn of(pid: Pid) -> Reading {
        let mut reading = Reading::default();
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            return reading;
        };
        for thread in threads.flatten() {
            reading.add(&thread.path());
        }
        reading
    }

    /// Adds what is known of one thread. One that ends meanwhile adds nothing.
    fn add(&mut self, thread: &Path) {
        let text = |name: &str| std::fs::read_to_string(thread.join(name)).unwrap_or_default();
        // proc_pid_stat: the state comes after the name in brackets, which may have brackets in it, and
        // the ticks in user and system mode eleven fields later.
        let stat = text("stat");
        let stat: Vec<&str> = stat
            .rsplit_once(") ")
            .map_or(Vec::new(), |(_, rest)| rest.split(' ').collect());
        let state = stat.first().copied();
        self.is_held |= matches!(state, Some("T" | "t" | "D"));
        // proc_pid_schedstat: nanoseconds on a CPU, nanoseconds of waiting for one.
        let times = text("schedstat");
        let mut times = times.split_whitespace().map_while(|word| word.parse().ok());
        if let (Some(ran), Some(starved)) = (times.next(), times.next()) {
            self.ran += Duration::from_nanos(ran);
            self.starved += Duration::from_nanos(starved);
            return;
        }
        // Not every kernel counts these. What it has is coarse, and does not tell a thread that runs
        // from one that may not.
        let ticks = stat.iter().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        self.ran += Duration::from_millis(10 * ticks);
        self.is_held |= state == Some("R");
    }
}

/// Judges the silence of a child.
#[derive(Debug)]
pub struct Patience {
    /// What is too long.
    max: Duration,
    /// It was heard of since it was looked at last.
    is_heard: bool,
    /// The CPU time that it had used when it was looked at first after it was heard of.
    ran_at_heard: Duration,
    /// What it was when it was looked at last, and when that was.
    last: Reading,
    looked_at: Instant,
    /// For how long it has slept without a break.
    asleep: Duration,
}

impl Patience {
    /// How often a child is looked at in the time that it has.
    const LOOKS: u32 = 4;

    /// A child that begins.
    pub fn new(max: Duration, now: Instant) -> Patience {
        Patience {
            max,
            is_heard: false,
            ran_at_heard: Duration::ZERO,
            last: Reading::default(),
            looked_at: now,
            asleep: Duration::ZERO,
        }
    }

    /// When to look at it next.
    pub fn look_at(&self) -> Instant {
        self.looked_at + self.max / Patience::LOOKS
    }

    /// The child said something. Its time begins with the next look, so that this costs nothing.
    pub fn heard(&mut self, now: Instant) {
        self.is_heard = true;
        self.looked_at = now;
    }

    /// Whether it has been silent for as long as it may.
    pub fn is_over(&mut self, now: Instant, reading: Reading) -> bool {
        if std::mem::take(&mut self.is_heard) {
            self.ran_at_heard = reading.ran;
            self.last = reading;
            self.asleep = Duration::ZERO;
            self.looked_at = now;
            return false;
        }
        // Of a long time without a look, in which this process was itself stopped or starved, no
        // more is known than of a short one.
        let elapsed = now.saturating_duration_since(self.looked_at);
        let elapsed = elapsed.min(self.max / Patience::LOOKS);
        let was_awake = |reading: Reading| reading.ran + reading.starved;
        let awake = was_awake(reading).saturating_sub(was_awake(self.last));
        // What hangs may wake up now and then.
        let slept = !reading.is_held && awake < elapsed / 10;
        self.asleep = if slept {
            self.asleep + elapsed
        } else {
            Duration::ZERO
        };
        self.last = reading;
        self.looked_at = now;
        let ran = reading.ran.saturating_sub(self.ran_at_heard);
        ran >= self.max || self.asleep >= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(60);

    /// After how many seconds it is over, for a child that each second is as said; at most 10,000.
    fn over_after(each_second: Reading) -> Option<u64> {
        let begun = Instant::now();
        let mut patience = Patience::new(MAX, begun);
        (1..10_000_u32).find_map(|second| {
            let now = begun + Duration::from_secs(u64::from(second));
            if now < patience.look_at() {
                return None;
            }
            let reading = Reading {
                ran: each_second.ran * second,
                starved: each_second.starved * second,
                is_held: each_second.is_held,
            };
            patience.is_over(now, reading).then_some(u64::from(second))
        })
    }

    fn ms(ran: u64, starved: u64) -> Reading {
        Reading {
            ran: Duration::from_millis(ran),
            starved: Duration::from_millis(starved),
            is_held: false,
        }
    }

    #[test]
    fn it_is_over_for_what_was_used_and_for_what_was_slept() {
        assert_eq!(over_after(ms(1000, 0)), Some(60), "it spins");
        assert_eq!(over_after(ms(0, 0)), Some(60), "it waits for ever");
        assert_eq!(
            over_after(ms(5, 1)),
            Some(60),
            "it looks for something, again and again"
        );
        assert_eq!(over_after(ms(500, 500)), Some(120), "it has half a CPU");
        assert_eq!(
            over_after(ms(100, 900)),
            Some(600),
            "it has a tenth of a CPU"
        );
        assert_eq!(over_after(ms(3, 997)), None, "it has hardly any");
        let held = Reading {
            is_held: true,
            ..ms(0, 0)
        };
        assert_eq!(over_after(held), None, "it is stopped");
    }

    #[test]
    fn a_time_without_a_look_is_not_slept() {
        let begun = Instant::now();
        let mut patience = Patience::new(MAX, begun);
        assert!(!patience.is_over(begun + 100 * MAX, ms(1, 0)));
        assert_eq!(patience.look_at(), begun + 100 * MAX + MAX / 4);
    }

    #[test]
    fn what_was_heard_begins_anew() {
        let begun = Instant::now();
        let mut patience = Patience::new(MAX, begun);
        let ran = |seconds: u64| ms(1000 * seconds, 0);
        assert!(!patience.is_over(begun + MAX / 2, ran(30)));
        patience.heard(begun + MAX / 2);
        assert_eq!(patience.look_at(), begun + 3 * MAX / 4);
        assert!(!patience.is_over(begun + 3 * MAX / 4, ran(45)));
        assert!(!patience.is_over(begun + MAX, ran(60)));
        assert!(patience.is_over(begun + 7 * MAX / 4, ran(105)));
    }

    #[test]
    fn the_system_tells_of_this_process() {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(30) {}
        let reading = Reading::of(Pid::this());
        assert!(reading.ran > Duration::ZERO, "{reading:?}");
        assert!(Reading::of(Pid::from_raw(i32::MAX)) == Reading::default());
    }
}
