//! Every command carries the time at which it happens, by the server's clock, and what is due
//! happens when it is due (SEMANTICS section 3).

use super::{Happening, ServiceOracle, calm::written_ms};
use crate::{
    oracle::Verdict,
    plan::{FaultKind, Place, ServicePlan},
};
use std::time::Duration;

/// The oracle.
#[derive(Debug)]
pub struct Stamps {
    /// How late the server may let due things happen, in ms; for any time if something holds it up.
    late_ms_max: Option<u64>,
}

/// How late a server may let due things happen, in ms: what it takes a timer to fire at ticks of
/// one ms, on a clock that is 0.4 % fast or slow.
const LATE_MS_MAX: u64 = 4;

impl Stamps {
    /// For a plan's world.
    #[must_use]
    pub fn new(plan: &ServicePlan) -> Stamps {
        let held_up = plan.faults.iter().any(|fault| {
            matches!(
                fault.kind,
                FaultKind::Pause {
                    place: Place::Server
                } | FaultKind::DiskFull
                    | FaultKind::DiskFails
                    | FaultKind::DiskSlow { .. }
            )
        });
        // Without a leader nothing happens, and what gives a cluster another one holds it up.
        let cluster = plan.cluster.as_ref();
        let held_up = held_up || cluster.is_some_and(|cluster| !cluster.is_undisturbed());
        let even = !held_up && plan.server_clock_is_steady();
        // What is due is on the disk before it happens, after what is being synced already; and a
        // snapshot may come between.
        let late_ms_max = LATE_MS_MAX + written_ms(plan);
        Stamps {
            late_ms_max: even.then_some(late_ms_max),
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
        match happening {
            Happening::Stamped { at, shown } if at != shown => Err(format!(
                "a command got the time {at} ms, and by the server's clock it was {shown} ms"
            )),
            Happening::Late { shown, late_ms } if self.is_too_late(*late_ms) => Err(format!(
                "what was due at {} ms by the server's clock happened {late_ms} ms late",
                shown - late_ms
            )),
            _ => Ok(()),
        }
    }
}

impl Stamps {
    fn is_too_late(&self, late_ms: u64) -> bool {
        self.late_ms_max.is_some_and(|most| late_ms > most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(late_ms_max: Option<u64>, happening: &Happening) -> Verdict {
        Stamps { late_ms_max }.see(Duration::ZERO, happening)
    }

    #[test]
    fn a_wrong_stamp_is_seen() {
        let stamped = |at| Happening::Stamped { at, shown: 100 };
        assert_eq!(see(None, &stamped(100)), Ok(()));
        assert!(see(None, &stamped(101)).is_err());
        assert!(see(None, &stamped(99)).is_err());
    }

    #[test]
    fn what_happens_late_is_seen_unless_something_holds_it_up() {
        let late = |late_ms| Happening::Late {
            shown: 100,
            late_ms,
        };
        assert_eq!(see(Some(4), &late(4)), Ok(()));
        assert!(see(Some(4), &late(5)).is_err());
        assert_eq!(see(None, &late(5)), Ok(()));
    }
}
