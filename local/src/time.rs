//! Between the durations of callers and the whole milliseconds of the engine.

use lockwright_engine::{DurationMs, MAX_MS, TimeMs};
use std::time::Duration;

/// The engine time at `elapsed` after its origin: the millisecond that has been reached.
pub(crate) fn time_at(elapsed: Duration) -> TimeMs {
    let ms = u64::try_from(elapsed.as_millis()).unwrap_or(MAX_MS);
    TimeMs::new(ms).unwrap_or(TimeMs::LATEST)
}

/// A ttl in whole milliseconds, rounded up; beyond the engine's longest, that.
pub(crate) fn ttl(ttl: Duration) -> DurationMs {
    ms_rounded_up(ttl)
}

/// How long a wait that begins at `elapsed` lasts on the engine's clock, so that it never ends
/// before `timeout` has passed.
pub(crate) fn wait(elapsed: Duration, timeout: Duration) -> DurationMs {
    let until = ms_rounded_up(elapsed.saturating_add(timeout));
    let begins = time_at(elapsed).as_ms();
    DurationMs::new(until.as_ms().saturating_sub(begins)).expect("less than what is in range")
}

fn ms_rounded_up(duration: Duration) -> DurationMs {
    let ms = duration.as_nanos().div_ceil(1_000_000);
    let ms = u64::try_from(ms).map_or(MAX_MS, |ms| ms.min(MAX_MS));
    DurationMs::new(ms).expect("at most the maximum")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_shorter_than_asked() {
        let micros = Duration::from_micros;
        assert_eq!(wait(micros(900), micros(200)).as_ms(), 2);
        assert_eq!(wait(micros(1_000), micros(1_000)).as_ms(), 1);
        assert_eq!(wait(micros(1_999), micros(1)).as_ms(), 1);
        assert_eq!(wait(micros(500), Duration::ZERO).as_ms(), 1);
        assert_eq!(wait(micros(0), Duration::MAX).as_ms(), MAX_MS);
    }

    #[test]
    fn a_ttl_is_rounded_up_and_never_to_nothing() {
        assert_eq!(ttl(Duration::from_nanos(1)).as_ms(), 1);
        assert_eq!(ttl(Duration::from_micros(1_001)).as_ms(), 2);
        assert_eq!(ttl(Duration::ZERO).as_ms(), 0);
        assert_eq!(ttl(Duration::MAX).as_ms(), MAX_MS);
    }
}
