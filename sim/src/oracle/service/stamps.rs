//! Every command carries the time at which it happens, by the server's clock, and what is due
//! happens when it is due (SEMANTICS section 3).

use super::{Happening, ServiceOracle};
use crate::{
    oracle::Verdict,
    plan::{FaultKind, Place, ServicePlan},
};
use std::time::Duration;

/// The oracle.
#[derive(Debug)]
pub struct Stamps {
    /// Whether the server's time flows evenly, so that nothing has a reason to be late.
    even: bool,
}

/// How late a server may let due things happen, in ms: what it takes a timer to fire at ticks of
/// one ms, on a clock that is 0.4 % fast or slow.
const LATE_MS_MAX: u64 = 4;

impl Stamps {
    /// For a plan's world.
    #[must_use]
    pub fn new(plan: &ServicePlan) -> Stamps {
        let paused = plan.faults.iter().any(|fault| {
            matches!(
                fault.kind,
                FaultKind::Pause {
                    place: Place::Server
                }
            )
        });
        Stamps {
            even: !paused && plan.server_clock_is_steady(),
        }
    }
}

impl ServiceOracle for Stamps {
    fn name(&self) -> &'static str {
        "stamps"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 3 every command carries the time at which it happens"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        let Happening::Stamped { at, shown, late_ms } = happening else {
            return Ok(());
        };
        if at != shown {
            return Err(format!(
                "a command came with the time {at} ms, and the server's clock showed {shown} ms"
            ));
        }
        if self.even && *late_ms > LATE_MS_MAX {
            return Err(format!(
                "what was due at {} ms by the server's clock happened {late_ms} ms late",
                shown - late_ms
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_or_late_stamp_is_seen() {
        let see = |even, at, late_ms| {
            let stamped = Happening::Stamped {
                at,
                shown: 100,
                late_ms,
            };
            Stamps { even }.see(Duration::ZERO, &stamped)
        };
        assert_eq!(see(true, 100, 0), Ok(()));
        assert!(see(true, 101, 0).is_err());
        assert!(see(true, 99, 0).is_err());
        assert!(see(true, 100, 5).is_err());
        assert_eq!(see(false, 100, 5), Ok(()));
    }
}
