//! Who holds a lock over HTTP, and counts its lease from the moment at which it asked, believes in
//! it only while the server does too (SEMANTICS section 7.4).

use super::{Call, Happening, HttpAnswer, ServiceOracle, in_ms};
use crate::{op::Text, oracle::Verdict};
use std::{collections::BTreeMap, time::Duration};

/// The oracle.
#[derive(Debug, Default)]
pub struct HttpLease {
    /// Until when the callers believe; none once they asked for something that ends it.
    believed_until: BTreeMap<Text, Duration>,
    /// When each lock ended without its caller's doing.
    ended_at: BTreeMap<Text, Duration>,
}

impl HttpLease {
    fn judge(&self, id: &Text) -> Verdict {
        match (self.believed_until.get(id), self.ended_at.get(id)) {
            (Some(believed_until), Some(ended_at)) if believed_until > ended_at => Err(format!(
                "{id} ended at {} ms, and its caller was told of a lease by which it believes in \
                 it until {} ms",
                in_ms(*ended_at),
                in_ms(*believed_until)
            )),
            _ => Ok(()),
        }
    }
}

impl ServiceOracle for HttpLease {
    fn name(&self) -> &'static str {
        "http_lease"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 7.4 client-side lease: it believes itself a holder only while the server does too"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::HttpAnswered {
                id,
                answer:
                    HttpAnswer::Granted {
                        believed_until: Some(until),
                        ..
                    },
            } => {
                self.believed_until.insert(id.clone(), *until);
                self.judge(id)
            }
            // A renewal may make it shorter; and who releases does not believe any more.
            Happening::HttpCalled {
                id,
                call: Call::Release | Call::Renew { .. },
                ..
            } => {
                self.believed_until.remove(id);
                Ok(())
            }
            Happening::Granted { id, .. } => {
                self.ended_at.remove(id);
                Ok(())
            }
            // Nobody tells it: it finds out at its next renewal. That an operator asked for it is judged by
            // `breaks`.
            Happening::Ended {
                reason: "broken", ..
            } => Ok(()),
            Happening::Ended { id, ended_at, .. } => {
                self.ended_at.insert(id.clone(), *ended_at);
                self.judge(id)
            }
            // What is only in memory is not promised.
            Happening::ServerDown => {
                self.believed_until.clear();
                self.ended_at.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(until_ms: u64) -> Happening {
        Happening::HttpAnswered {
            id: "h1".into(),
            answer: HttpAnswer::Granted {
                token: 1,
                believed_until: Some(Duration::from_millis(until_ms)),
            },
        }
    }

    fn ended(at_ms: u64) -> Happening {
        Happening::Ended {
            id: "h1".into(),
            reason: "expired",
            ended_at: Duration::from_millis(at_ms),
            believed_until: None,
        }
    }

    fn story(happenings: &[Happening]) -> Verdict {
        let mut oracle = HttpLease::default();
        let see = |happening| oracle.see(Duration::ZERO, happening);
        happenings.iter().try_for_each(see)
    }

    #[test]
    fn a_lease_that_is_told_longer_than_it_is_is_seen() {
        assert!(story(&[told(101), ended(100)]).is_err());
        assert!(story(&[ended(100), told(101)]).is_err());
        assert_eq!(story(&[told(100), ended(100)]), Ok(()));
    }

    #[test]
    fn what_an_operator_breaks_is_believed_in() {
        let mut broken = ended(50);
        if let Happening::Ended { reason, .. } = &mut broken {
            *reason = "broken";
        }
        assert_eq!(story(&[told(101), broken]), Ok(()));
    }

    #[test]
    fn who_releases_does_not_believe_any_more() {
        let released = Happening::HttpCalled {
            id: "h1".into(),
            call: Call::Release,
            token: 1,
        };
        assert_eq!(story(&[told(101), released, ended(50)]), Ok(()));
    }
}
