//! How the time of a lease is shared out: it must be enough for signs of life that come late, and
//! for the command to end.

use crate::units;
use lockwright_client::DurationMs;
use std::time::Duration;

/// The longest grace that is given unasked.
const GRACE_MAX: Duration = Duration::from_secs(5);

/// What is kept for SIGKILL to do its work.
const MARGIN_MIN: Duration = Duration::from_millis(20);
const MARGIN_MAX: Duration = Duration::from_millis(500);

/// When what happens, seen from the end of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timing {
    /// Between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
    /// Between SIGKILL and the moment from which the lock may be somebody else's.
    pub(super) margin: Duration,
    /// How long the server is given for an answer.
    pub(super) call_timeout: Duration,
}

impl Timing {
    /// The timing for a lock that lasts for `lease` after the last sign of life.
    pub(super) fn new(lease: DurationMs, grace: Option<DurationMs>) -> Result<Timing, String> {
        let span = units::std(lease);
        let margin = (span / 20).clamp(MARGIN_MIN, MARGIN_MAX);
        let grace = grace.map_or((span / 4).min(GRACE_MAX), units::std);
        if grace + margin > span / 2 {
            return Err(format!(
                "a grace of {grace:?}, and {margin:?} for SIGKILL, are more than half of the lease, \
                 which is {span:?}: nothing would be left for a message that comes late; give a \
                 longer --ttl or --abandon, or a shorter --grace"
            ));
        }
        Ok(Timing {
            grace,
            margin,
            call_timeout: call_timeout(lease),
        })
    }

    /// How long before the end of the lease the command is told to end.
    pub(super) fn ahead(&self) -> Duration {
        self.grace + self.margin
    }
}

/// How long the server is given for an answer, so that another connection can be tried in time.
pub(super) fn call_timeout(lease: DurationMs) -> Duration {
    (units::std(lease) / 4).clamp(Duration::from_millis(1), Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> DurationMs {
        DurationMs::new(ms).unwrap()
    }

    #[test]
    fn half_of_the_lease_is_left_for_signs_of_life() {
        let timing = Timing::new(ms(30_000), None).unwrap();
        assert_eq!(timing.grace, Duration::from_secs(5));
        assert_eq!(timing.margin, Duration::from_millis(500));
        assert!(Timing::new(ms(200), None).is_ok());
        assert!(Timing::new(ms(50), None).is_err());
        assert!(Timing::new(ms(10_000), Some(ms(5_000))).is_err());
        assert!(Timing::new(ms(10_000), Some(ms(4_500))).is_ok());
    }
}
