//! The clocks of the cluster's time.

use lockwright_engine::{DurationMs, TimeMs};
use std::time::Duration;

/// The clock of a leader: it goes on from the last time that was applied, as fast as the clock of
/// the machine. So the time in which nobody led makes leases longer, and never shorter.
///
/// A node that follows has one too, which it sets by what the leader says: to the leader's time, at
/// the moment at which it asked for it. So it is never behind the leader's by more than the rates of
/// the two machines' clocks differ.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClusterClock {
    /// The engine's time when the leader began,
    began: TimeMs,
    /// and what the machine's clock showed then, in whole ms.
    machine: Duration,
}

impl ClusterClock {
    pub(super) fn start(began: TimeMs, monotonic: Duration) -> ClusterClock {
        let machine = whole_ms(monotonic);
        ClusterClock { began, machine }
    }

    /// What it shows when the machine's clock shows `monotonic`. So a lease ends up to 1 ms before a
    /// clock that counts from the moment itself would say; clients take that into account.
    pub(super) fn shows(&self, monotonic: Duration) -> TimeMs {
        let passed = monotonic.saturating_sub(self.machine);
        let passed = u64::try_from(passed.as_millis()).ok();
        let passed = passed.and_then(|ms| DurationMs::new(ms).ok());
        self.began
            .after(passed.expect("a machine is not up for 285,000 years"))
    }

    /// For how long this clock does not show `at`, when the machine's shows `monotonic`: whole milliseconds,
    /// of which none is too many.
    pub(super) fn left(&self, at: TimeMs, monotonic: Duration) -> DurationMs {
        let left = whole_ms(self.when(at).saturating_sub(monotonic));
        let left = u64::try_from(left.as_millis()).ok();
        let left = left.and_then(|ms| DurationMs::new(ms).ok());
        left.expect("no lease is longer than time itself")
    }

    /// What the machine's clock shows when this one shows `at`.
    pub(super) fn when(&self, at: TimeMs) -> Duration {
        self.machine + Duration::from_millis(at.since(self.began).as_ms())
    }
}

pub(super) fn whole_ms(moment: Duration) -> Duration {
    Duration::from_millis(u64::try_from(moment.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaders_time_goes_on_from_the_last_one_in_whole_milliseconds() {
        let began = TimeMs::new(1_000).unwrap();
        let clock = ClusterClock::start(began, Duration::from_nanos(7_999_999));
        assert_eq!(clock.shows(Duration::from_nanos(7_999_999)), began);
        assert_eq!(clock.shows(Duration::from_millis(8)).as_ms(), 1_001);
        assert_eq!(clock.shows(Duration::from_millis(3)), began, "never back");
        assert_eq!(
            clock.when(TimeMs::new(1_005).unwrap()),
            Duration::from_millis(12)
        );
        assert_eq!(
            clock.shows(clock.when(TimeMs::new(1_005).unwrap())).as_ms(),
            1_005
        );
    }

    #[test]
    fn what_is_left_is_over_before_the_time_comes() {
        let began = TimeMs::new(1_000).unwrap();
        let clock = ClusterClock::start(began, Duration::from_nanos(7_999_999));
        for phase in [
            0, 1, 499_999, 500_000, 999_999, 1_000_000, 1_000_001, 50_000_000,
        ] {
            let asked = Duration::from_nanos(8_000_000 + phase);
            let expires = clock.shows(asked).after(DurationMs::new(50).unwrap());
            let left = clock.left(expires, asked).as_ms();
            assert!((49..=50).contains(&left), "{phase}: {left}");
            let counted = asked + Duration::from_millis(left);
            let last = counted.saturating_sub(Duration::from_nanos(1));
            assert!(clock.shows(last) < expires, "{phase}: {left}");
            assert_eq!(clock.left(clock.shows(asked), asked), DurationMs::ZERO);
        }
    }
}
