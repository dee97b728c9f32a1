//! A client believes itself a holder only while the server does (SEMANTICS section 7.4).
//!
//! Judged at each end of a lock, in plans in which the server's clock keeps its rate. A server
//! that died has forgotten its locks: what its clients believe until they learn of it is judged by
//! nobody, since a server without a disk cannot promise it.

use super::{Happening, ServiceOracle, in_ms};
use crate::oracle::Verdict;
use std::time::Duration;

/// The oracle.
#[derive(Debug, Clone, Copy)]
pub struct ClientLease;

impl ServiceOracle for ClientLease {
    fn name(&self) -> &'static str {
        "client_lease"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 7.4 client-side lease"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        let Happening::Ended {
            id,
            reason,
            ended_at,
            believed_until: Some(until),
        } = happening
        else {
            return Ok(());
        };
        if until <= ended_at {
            return Ok(());
        }
        Err(format!(
            "{id} ended ({reason}) on the server at {} ms, and its client goes on believing that \
             it holds it until {} ms",
            in_ms(*ended_at),
            in_ms(*until),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(ended_ms: u64, believed_ms: Option<u64>) -> Happening {
        Happening::Ended {
            id: "L1".into(),
            reason: "expired",
            ended_at: Duration::from_millis(ended_ms),
            believed_until: believed_ms.map(Duration::from_millis),
        }
    }

    #[test]
    fn a_belief_beyond_the_end_is_seen() {
        let see = |happening| ClientLease.see(Duration::ZERO, &happening);
        assert_eq!(see(ended(100, None)), Ok(()));
        assert_eq!(see(ended(100, Some(100))), Ok(()));
        assert!(
            see(ended(100, Some(101)))
                .unwrap_err()
                .contains("until 101 ms")
        );
    }
}
