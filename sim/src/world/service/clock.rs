//! The clock of one simulated host: an offset, a rate of its own, and jumps.
//!
//! It is a pure function of simulated time, so that it can be asked in both directions: what it
//! shows at an instant, and when it will show a time. It goes on while its host is down or paused.

use crate::plan::ClockPlan;
use std::time::Duration;

const NANOS_PER_MS: u128 = 1_000_000;
const MILLION: u128 = 1_000_000;

/// A host's monotonic clock.
#[derive(Debug, Clone)]
pub(crate) struct HostClock {
    offset: u128,
    /// Nanoseconds that it goes in a million nanoseconds of simulated time.
    rate: u128,
    /// Simulated instant and leap of each jump, in order, in nanoseconds.
    jumps: Vec<(u128, u128)>,
}

impl HostClock {
    pub(crate) fn new(plan: &ClockPlan) -> HostClock {
        let mut jumps: Vec<(u128, u128)> = plan
            .jumps
            .iter()
            .map(|jump| {
                (
                    u128::from(jump.at_ms) * NANOS_PER_MS,
                    u128::from(jump.by_ms) * NANOS_PER_MS,
                )
            })
            .collect();
        jumps.sort_unstable();
        let rate = i64::from(plan.drift_ppm) + 1_000_000;
        HostClock {
            offset: u128::from(plan.offset_ms) * NANOS_PER_MS,
            rate: u128::try_from(rate)
                .expect("a clock goes forward: drift is above -1,000,000 ppm"),
            jumps,
        }
    }

    /// What it shows `simulated` time after the start.
    pub(crate) fn shows(&self, simulated: Duration) -> Duration {
        let now = simulated.as_nanos();
        let leaps: u128 = self
            .jumps
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, by)| by)
            .sum();
        nanos(self.offset + now * self.rate / MILLION + leaps)
    }

    /// The first simulated instant, to the nanosecond, at which it shows `local` or more.
    pub(crate) fn when(&self, local: Duration) -> Duration {
        let wanted = local.as_nanos();
        let mut leaps = 0;
        for (at, by) in &self.jumps {
            // The straight piece before this jump may get there, or the jump itself may.
            let reached = self.straight(wanted, leaps);
            if reached < *at {
                return nanos(reached);
            }
            leaps += by;
            if self.offset + at * self.rate / MILLION + leaps >= wanted {
                return nanos(*at);
            }
        }
        nanos(self.straight(wanted, leaps))
    }

    /// When it would show `wanted` with these leaps behind it.
    fn straight(&self, wanted: u128, leaps: u128) -> u128 {
        let to_go = wanted.saturating_sub(self.offset + leaps);
        (to_go * MILLION).div_ceil(self.rate)
    }
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).expect("584 years are not simulated"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ClockJump;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_perfect_clock_shows_simulated_time() {
        let clock = HostClock::new(&ClockPlan::default());
        assert_eq!(clock.shows(ms(1234)), ms(1234));
        assert_eq!(clock.when(ms(1234)), ms(1234));
    }

    #[test]
    fn when_is_the_first_instant_at_which_it_shows_a_time() {
        for drift_ppm in [-4000, -1, 0, 7, 4000] {
            let jumps = vec![
                ClockJump {
                    at_ms: 50,
                    by_ms: 300,
                },
                ClockJump {
                    at_ms: 60,
                    by_ms: 1,
                },
            ];
            let clock = HostClock::new(&ClockPlan {
                offset_ms: 77,
                drift_ppm,
                jumps,
            });
            for local in 0..600 {
                let at = clock.when(ms(local));
                assert!(clock.shows(at) >= ms(local), "{drift_ppm} {local}");
                if let Some(before) = at.checked_sub(Duration::from_nanos(1)) {
                    assert!(clock.shows(before) < ms(local), "{drift_ppm} {local}");
                }
            }
        }
    }

    #[test]
    fn a_jump_is_seen_from_its_instant_on() {
        let jumps = vec![ClockJump {
            at_ms: 10,
            by_ms: 100,
        }];
        let clock = HostClock::new(&ClockPlan {
            offset_ms: 0,
            drift_ppm: 0,
            jumps,
        });
        assert_eq!(clock.shows(ms(9)), ms(9));
        assert_eq!(clock.shows(ms(10)), ms(110));
        assert_eq!(clock.when(ms(50)), ms(10));
        assert_eq!(clock.when(ms(111)), ms(11));
    }
}
