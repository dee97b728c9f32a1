//! A server that begins to lead goes on from the last time that was applied: the time in which none
//! led makes leases longer, and never shorter, and not longer than that either (SEMANTICS section 3).

use super::{Happening, ServiceOracle};
use crate::oracle::Verdict;
use std::time::Duration;

/// The oracle.
#[derive(Debug, Clone, Copy)]
pub struct LeaderTime;

impl ServiceOracle for LeaderTime {
    fn name(&self) -> &'static str {
        "leader_time"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 3 engine time never goes back; leases go on over a restart"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::ServerLeads { at, last } if at != last => Err(format!(
                "the server leads from {at} ms on, and the latest time that was applied is {last} \
                 ms: {} ms of each lease are {}",
                at.abs_diff(*last),
                if at > last { "cut off" } else { "there twice" }
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(at: u64, last: u64) -> Verdict {
        LeaderTime.see(Duration::ZERO, &Happening::ServerLeads { at, last })
    }

    #[test]
    fn a_time_that_goes_on_is_accepted() {
        assert_eq!(leads(0, 0), Ok(()));
        assert_eq!(leads(70, 70), Ok(()));
    }

    #[test]
    fn a_time_that_leaps_or_goes_back_is_seen() {
        assert!(leads(71, 70).unwrap_err().contains("cut off"));
        assert!(leads(69, 70).unwrap_err().contains("there twice"));
    }
}
