//! How a client counts its leases: always on the safe side (SEMANTICS 7.4).
//!
//! The server says how long something lasts on *its* clock; the client must know a moment on *its
//! own* clock that is not later. Two things make that sound:
//!
//! **An anchor.** What the server counts from must not have happened before a moment that the
//! client knows. A message is not applied before it is sent, so:
//!
//! | what is reported | lasts, from its application on | anchor |
//! |---|---|---|
//! | answer `granted` to `acquire` | `lease_ms` (what is left) | when this message was sent |
//! | answer `renewed` | `lease_ms` | when this message was sent |
//! | a held lock in `resumed` | `lease_ms` (what is left) | when `resume` was sent |
//! | push `granted` | `waited_ms + lease_ms` from the request's arrival | when the request was *first* sent |
//! | the same, after a `resumed` that listed the request as queued for `w` ms | `waited_ms - w + lease_ms` | when that `resume` was sent |
//! | any answer at all | the abandon timeout: the session was attached then | when the answered message was sent |
//!
//! A request that is sent again counts from its first sending, because that one may have been the
//! one that arrived; until a `resumed` does not list it: then none of the earlier ones has arrived
//! and none ever will (the server takes nothing more from a connection that was replaced), and the
//! next sending is the first.
//!
//! A renewal can also make a lease *shorter*, and it may have been applied although its answer is
//! missing. So from its sending on, a lock's deadline is at most what that renewal would give.
//!
//! **A rate.** A span of `d` on the server's clock takes at least `d * (1 - bound)` on the
//! client's, when the rates of the two differ by no more than the bound. One millisecond of `d` is
//! not counted: the server takes the time in whole milliseconds, rounded down, so what it counts
//! from may lie up to 1 ms before the application.

use lockwright_engine::DurationMs;
use std::time::Duration;

const PPM: u32 = 1_000_000;

/// By how much the rates of two clocks may differ, in millionths of the faster one. Default
/// 10,000: one percent, a hundred times what is usual between machines, and enough for clocks that
/// are being slewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockRateBound(u32);

impl ClockRateBound {
    /// A bound of `ppm` millionths.
    ///
    /// None from 1,000,000 on: then no span could be relied on.
    #[must_use]
    pub const fn from_ppm(ppm: u32) -> Option<ClockRateBound> {
        if ppm < PPM {
            Some(ClockRateBound(ppm))
        } else {
            None
        }
    }

    /// The bound in millionths.
    #[must_use]
    pub const fn ppm(self) -> u32 {
        self.0
    }

    /// The moment up to which something that the server counts `lasts` for cannot be over, when
    /// what it counts from was not before `anchor`.
    #[must_use]
    pub fn deadline(self, anchor: Duration, lasts: DurationMs) -> Duration {
        let counted = Duration::from_millis(lasts.as_ms().saturating_sub(1));
        let parts = u128::from(PPM - self.0);
        let nanos = counted.as_nanos() * parts / u128::from(PPM);
        let span = u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos);
        anchor.saturating_add(span)
    }
}

impl Default for ClockRateBound {
    fn default() -> ClockRateBound {
        ClockRateBound(10_000)
    }
}

/// From when a queued request's time is counted: it had waited for `waited` when a message was
/// applied that was sent at `sent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) sent: Duration,
    pub(crate) waited: DurationMs,
}

impl Anchor {
    /// The request is sent for the first time: had it arrived at once, it would have waited for
    /// no time.
    pub(crate) fn first_sent(sent: Duration) -> Anchor {
        Anchor {
            sent,
            waited: DurationMs::ZERO,
        }
    }

    /// The deadline of a grant that came after `waited` in all, with this lease.
    pub(crate) fn deadline(
        self,
        bound: ClockRateBound,
        waited: DurationMs,
        lease: DurationMs,
    ) -> Duration {
        let since = waited.as_ms().saturating_sub(self.waited.as_ms());
        let lasts = DurationMs::new(since.saturating_add(lease.as_ms()));
        // Out of range is more than anybody counts.
        bound.deadline(self.sent, lasts.unwrap_or(lease))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> DurationMs {
        DurationMs::new(ms).unwrap()
    }

    const ONE_PERCENT: ClockRateBound = ClockRateBound(10_000);

    #[test]
    fn a_deadline_is_a_millisecond_and_a_percent_early() {
        let at = Duration::from_secs(100);
        assert_eq!(
            ONE_PERCENT.deadline(at, ms(1001)),
            at + Duration::from_millis(990)
        );
        assert_eq!(ONE_PERCENT.deadline(at, ms(0)), at);
        assert_eq!(ONE_PERCENT.deadline(at, ms(1)), at);
    }

    #[test]
    fn the_longest_lease_does_not_overflow() {
        let longest = ms(lockwright_engine::MAX_MS);
        let anchor = Anchor::first_sent(Duration::from_secs(1));
        assert!(anchor.deadline(ONE_PERCENT, longest, longest) > Duration::from_secs(1 << 33));
    }

    #[test]
    fn time_waited_before_the_anchor_does_not_count() {
        let exact = ClockRateBound(0);
        let sent = Duration::from_secs(10);
        let anchor = Anchor {
            sent,
            waited: ms(300),
        };
        assert_eq!(
            anchor.deadline(exact, ms(500), ms(1001)),
            sent + Duration::from_millis(1200)
        );
    }

    #[test]
    fn a_bound_that_leaves_nothing_is_refused() {
        assert_eq!(ClockRateBound::from_ppm(1_000_000), None);
        assert!(ClockRateBound::from_ppm(999_999).is_some());
    }
}
