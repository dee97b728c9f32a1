//! Engine time: milliseconds, carried by every command. The engine itself has no clock.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The largest number of milliseconds a time or a duration may have: 2^53 - 1, the largest
/// integer that survives JSON numbers everywhere (about 285,000 years).
pub const MAX_MS: u64 = (1 << 53) - 1;

/// A number of milliseconds above [`MAX_MS`] was given for a time or a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{got} ms is out of range: at most {MAX_MS} ms (2^53 - 1) can be expressed")]
pub struct OutOfRange {
    /// What was given, in milliseconds.
    pub got: u64,
}

/// The latest deadline: the latest time plus the longest duration.
const DEADLINE_MS_MAX: u64 = 2 * MAX_MS;

/// A point in engine time, in milliseconds since an origin that the caller chooses. Callers give
/// times up to [`MAX_MS`]; deadlines that the engine counts from them may be up to twice that.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct TimeMs(u64);

/// A length of engine time in milliseconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct DurationMs(u64);

impl TimeMs {
    /// The origin of engine time.
    pub const ZERO: TimeMs = TimeMs(0);

    /// The latest time that a command may happen at.
    pub const LATEST: TimeMs = TimeMs(MAX_MS);

    /// A time of `ms` milliseconds after the origin.
    ///
    /// # Errors
    /// [`OutOfRange`] above [`MAX_MS`].
    pub const fn new(ms: u64) -> Result<TimeMs, OutOfRange> {
        if ms > MAX_MS {
            Err(OutOfRange { got: ms })
        } else {
            Ok(TimeMs(ms))
        }
    }

    /// Milliseconds since the origin.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// The time `by` later. A sum of a time and a duration may exceed [`MAX_MS`] but never wraps:
    /// both are below 2^53, so a deadline can always be ordered.
    #[must_use]
    pub const fn after(self, by: DurationMs) -> TimeMs {
        TimeMs(self.0.saturating_add(by.0))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: TimeMs) -> DurationMs {
        DurationMs(self.0.saturating_sub(earlier.0))
    }
}

impl DurationMs {
    /// No time at all.
    pub const ZERO: DurationMs = DurationMs(0);

    /// The shortest time that is one.
    pub(crate) const MILLISECOND: DurationMs = DurationMs(1);

    /// A duration of `ms` milliseconds.
    ///
    /// # Errors
    /// [`OutOfRange`] above [`MAX_MS`].
    pub const fn new(ms: u64) -> Result<DurationMs, OutOfRange> {
        if ms > MAX_MS {
            Err(OutOfRange { got: ms })
        } else {
            Ok(DurationMs(ms))
        }
    }

    /// A duration of `seconds` seconds.
    #[must_use]
    pub const fn from_secs(seconds: u32) -> DurationMs {
        DurationMs(seconds as u64 * 1000)
    }

    /// The duration in milliseconds.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// Whether this is no time at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// For times that the engine itself gave, deadlines among them.
impl TryFrom<u64> for TimeMs {
    type Error = OutOfRange;
    fn try_from(ms: u64) -> Result<Self, OutOfRange> {
        if ms > DEADLINE_MS_MAX {
            return Err(OutOfRange { got: ms });
        }
        Ok(TimeMs(ms))
    }
}

impl TryFrom<u64> for DurationMs {
    type Error = OutOfRange;
    fn try_from(ms: u64) -> Result<Self, OutOfRange> {
        DurationMs::new(ms)
    }
}

impl From<TimeMs> for u64 {
    fn from(time: TimeMs) -> u64 {
        time.0
    }
}

impl From<DurationMs> for u64 {
    fn from(duration: DurationMs) -> u64 {
        duration.0
    }
}

impl fmt::Display for TimeMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

impl fmt::Display for DurationMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_above_the_maximum_is_refused() {
        assert_eq!(MAX_MS, 9_007_199_254_740_991, "2^53 - 1");
        assert!(TimeMs::new(MAX_MS).is_ok());
        assert_eq!(TimeMs::new(MAX_MS + 1), Err(OutOfRange { got: MAX_MS + 1 }));
        assert_eq!(DurationMs::new(u64::MAX), Err(OutOfRange { got: u64::MAX }));
    }

    #[test]
    fn a_deadline_is_at_most_the_longest_duration_after_the_latest_time() {
        let latest = 2 * MAX_MS;
        assert_eq!(
            TimeMs::try_from(latest),
            Ok(TimeMs::LATEST.after(DurationMs(MAX_MS)))
        );
        for got in [latest + 1, u64::MAX] {
            assert_eq!(TimeMs::try_from(got), Err(OutOfRange { got }));
        }
        assert!(TimeMs::try_from(5).is_ok());
    }

    #[test]
    fn times_and_durations_are_told_in_milliseconds() {
        assert_eq!(DurationMs::from_secs(3).as_ms(), 3000);
        assert_eq!(DurationMs::from_secs(3).to_string(), "3000 ms");
        assert_eq!(TimeMs(3000).as_ms(), 3000);
        assert_eq!(TimeMs(3000).to_string(), "3000 ms");
    }

    #[test]
    fn deadlines_at_the_far_end_do_not_wrap() {
        let end = TimeMs(MAX_MS).after(DurationMs(MAX_MS));
        assert!(end > TimeMs(MAX_MS));
        assert_eq!(end.since(TimeMs(MAX_MS)), DurationMs(MAX_MS));
        assert_eq!(TimeMs::ZERO.since(end), DurationMs::ZERO);
    }
}
