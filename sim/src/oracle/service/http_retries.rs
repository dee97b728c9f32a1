//! A request over HTTP that is sent again never locks twice (SEMANTICS section 4): as long as its
//! end is remembered, one id has one grant.

use super::{Happening, ServiceOracle};
use crate::{op::Text, oracle::Verdict, plan::ServicePlan};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The oracle.
#[derive(Debug)]
pub struct HttpRetries {
    /// How long an end is remembered at least, in simulated time.
    retention: Duration,
    /// Requests over HTTP: a client with a session may ask again in another one.
    over_http: BTreeSet<Text>,
    grants: BTreeMap<Text, Grant>,
}

#[derive(Debug)]
struct Grant {
    token: u64,
    ended_at: Option<Duration>,
}

impl HttpRetries {
    /// For a plan's world.
    #[must_use]
    pub fn new(plan: &ServicePlan) -> HttpRetries {
        let retention = plan.server.limits.to_limits().retention.as_ms();
        // The server's clock may be fast, and leap.
        let leaps: u64 = match &plan.cluster {
            Some(cluster) => cluster.leaps_ms(),
            None => plan.server.clock.jumps.iter().map(|jump| jump.by_ms).sum(),
        };
        let retention = retention.saturating_sub(retention / 100 + leaps + 1);
        HttpRetries {
            retention: Duration::from_millis(retention),
            over_http: BTreeSet::new(),
            grants: BTreeMap::new(),
        }
    }
}

impl ServiceOracle for HttpRetries {
    fn name(&self) -> &'static str {
        "http_retries"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 4 a retry after a lost answer never locks twice"
    }

    fn see(&mut self, now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::HttpAsked { id, .. } => {
                self.over_http.insert(id.clone());
            }
            Happening::Granted { id, token } if self.over_http.contains(id) => {
                let granted = Grant {
                    token: *token,
                    ended_at: None,
                };
                let Some(before) = self.grants.insert(id.clone(), granted) else {
                    return Ok(());
                };
                let is_forgotten = before
                    .ended_at
                    .is_some_and(|ended_at| now >= ended_at + self.retention);
                if !is_forgotten {
                    return Err(format!(
                        "{id} is granted with token {token}, and it was granted with {} before",
                        before.token
                    ));
                }
            }
            Happening::Ended { id, ended_at, .. } => {
                if let Some(grant) = self.grants.get_mut(id) {
                    grant.ended_at = Some(*ended_at);
                }
            }
            Happening::ServerDown => self.grants.clear(),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oracle() -> HttpRetries {
        HttpRetries {
            retention: Duration::from_millis(100),
            over_http: BTreeSet::from(["h1".into()]),
            grants: BTreeMap::new(),
        }
    }

    fn granted(token: u64) -> Happening {
        let id = Text::from("h1");
        Happening::Granted { id, token }
    }

    fn ended(at_ms: u64) -> Happening {
        Happening::Ended {
            id: "h1".into(),
            reason: "released",
            ended_at: Duration::from_millis(at_ms),
            believed_until: None,
        }
    }

    #[test]
    fn a_retry_that_locks_twice_is_seen() {
        let mut oracle = oracle();
        let mut see = |ms, happening| oracle.see(Duration::from_millis(ms), &happening);
        see(0, granted(1)).unwrap();
        assert!(see(1, granted(2)).is_err());
        see(10, ended(10)).unwrap();
        assert!(see(109, granted(3)).is_err());
    }

    #[test]
    fn an_id_that_is_forgotten_is_free() {
        let mut oracle = oracle();
        let mut see = |ms, happening| oracle.see(Duration::from_millis(ms), &happening);
        see(0, granted(1)).unwrap();
        see(10, ended(10)).unwrap();
        assert_eq!(see(110, granted(2)), Ok(()));
        see(111, Happening::ServerDown).unwrap();
        assert_eq!(see(112, granted(3)), Ok(()));
    }
}
