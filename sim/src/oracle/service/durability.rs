//! What was answered is not lost: a server that comes back has all that the one before it had
//! applied, and is as if nobody had ever died (SEMANTICS section 7.5).
//!
//! A replica applies an entry of its log when that is durable, and answers when it has applied it.
//! So whatever was applied must come back: not only what a client had heard of by then. A server whose
//! log has lost its end while it was stopped must not start at all.

use super::{Happening, ServiceOracle};
use crate::oracle::Verdict;
use std::time::Duration;

/// The oracle.
#[derive(Debug, Clone, Copy)]
pub struct Durability;

impl ServiceOracle for Durability {
    fn name(&self) -> &'static str {
        "durability"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 7.5 durability: what was answered is not lost"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::StartedAfterLogLoss => Err(
                "the server starts, and the end of the log is gone that the one before had written \
                 when it stopped"
                    .to_owned(),
            ),
            Happening::ServerBack { entries, last, .. } if entries <= last => Err(format!(
                "the log of the server ends before entry {entries}, and entry {last} was applied \
                 before it died"
            )),
            Happening::ServerBack {
                last,
                is_same: false,
                ..
            } => Err(format!(
                "the server is back with all entries up to {last}, and its locks, sessions or \
                 tokens are not those that these entries made"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(entries: u64, last: u64, is_same: bool) -> Verdict {
        let back = Happening::ServerBack {
            entries,
            last,
            is_same,
        };
        Durability.see(Duration::ZERO, &back)
    }

    #[test]
    fn a_server_that_has_everything_is_accepted() {
        assert_eq!(back(8, 7, true), Ok(()));
        assert_eq!(back(12, 7, true), Ok(()), "more was durable than applied");
    }

    #[test]
    fn a_log_that_lost_its_end_is_seen() {
        assert!(back(7, 7, true).unwrap_err().contains("entry 7"));
        assert!(back(3, 7, false).is_err());
    }

    #[test]
    fn a_start_without_the_end_of_the_log_is_seen() {
        let started = Durability.see(Duration::ZERO, &Happening::StartedAfterLogLoss);
        assert!(started.unwrap_err().contains("end of the log"));
    }

    #[test]
    fn a_state_that_is_another_is_seen() {
        assert!(back(8, 7, false).unwrap_err().contains("not those"));
    }
}
