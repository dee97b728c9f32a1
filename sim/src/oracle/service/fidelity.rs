//! What reaches the engine is what the client asked for: nothing added, dropped or changed on the
//! way, and nothing that nobody asked for.

use super::Call;
use super::{Happening, ServiceOracle, Wanted};
use crate::{
    op::{OpClaim, Text},
    oracle::Verdict,
    plan::ServicePlan,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The oracle.
#[derive(Debug, Default)]
pub struct Fidelity {
    asked: BTreeMap<Text, Wanted>,
    /// What was asked for with the ids of other requests.
    mistaken: BTreeMap<Text, Vec<Vec<OpClaim>>>,
    /// The leases that were asked for in renewals.
    renewals: BTreeMap<Text, BTreeSet<u64>>,
    /// Namespace and abandon timeout of every client.
    sessions: BTreeSet<(Text, u64)>,
}

impl Fidelity {
    /// For a plan's world.
    #[must_use]
    pub fn new(plan: &ServicePlan) -> Fidelity {
        let sessions = plan.clients.iter();
        Fidelity {
            sessions: sessions
                .map(|client| (client.namespace.clone(), client.abandon_ms))
                .collect(),
            ..Fidelity::default()
        }
    }
}

impl ServiceOracle for Fidelity {
    fn name(&self) -> &'static str {
        "fidelity"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 2 a request asks for its claims"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::Asked { id, wanted, .. } | Happening::HttpAsked { id, wanted, .. } => {
                self.asked.insert(id.clone(), wanted.clone());
                Ok(())
            }
            Happening::HttpMistaken { id, claims } => {
                let mistaken = self.mistaken.entry(id.clone()).or_default();
                mistaken.push(claims.clone());
                Ok(())
            }
            Happening::Mismatched { id, claims } => {
                let mistaken = self.mistaken.get(id);
                match mistaken.is_some_and(|mistaken| mistaken.contains(claims)) {
                    true => Ok(()),
                    false => Err(format!(
                        "a request with the id of {id} reached the engine, and was refused as another \
                         one than the first, and nobody asked for that"
                    )),
                }
            }
            Happening::Called {
                id,
                call: Call::Renew { ttl },
            }
            | Happening::HttpCalled {
                id,
                call: Call::Renew { ttl },
                ..
            } => {
                self.renewals.entry(id.clone()).or_default().insert(*ttl);
                Ok(())
            }
            Happening::Renewed { id, ttl } => match self.renewals.get(id) {
                Some(asked) if asked.contains(ttl) => Ok(()),
                asked => Err(format!(
                    "a renewal of {id} for {ttl} ms reached the engine, and its client asked for \
                     {asked:?}"
                )),
            },
            Happening::Opened {
                namespace, abandon, ..
            } if !self.sessions.contains(&(namespace.clone(), *abandon)) => Err(format!(
                "a session that is abandoned after {abandon} ms was opened in {namespace}, and no \
                 client asks for that"
            )),
            Happening::Applied { id, wanted, .. } | Happening::HttpApplied { id, wanted, .. } => {
                match self.asked.get(id) {
                    Some(asked) if asked == wanted => Ok(()),
                    Some(asked) => Err(format!(
                        "{id} reached the engine as {wanted}, and its client asked for {asked}"
                    )),
                    None => Err(format!(
                        "{id} reached the engine, and no client asked for it"
                    )),
                }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{op::OpWait, oracle::service::Client};

    fn wanted(path: &str, ttl: Option<u64>) -> Wanted {
        Wanted {
            namespace: "default".into(),
            claims: vec![OpClaim {
                write: true,
                path: path.into(),
            }],
            ttl,
            wait: OpWait::Forever,
        }
    }

    #[test]
    fn a_request_that_changes_on_the_way_is_seen() {
        let mut oracle = Fidelity::default();
        let id = Text::from("L1");
        let asked = Happening::Asked {
            id: id.clone(),
            client: Client { index: 0, host: 0 },
            wanted: wanted("a", Some(10)),
        };
        let applied = |path, ttl| Happening::Applied {
            id: id.clone(),
            session: "s".into(),
            wanted: wanted(path, ttl),
        };
        assert!(oracle.see(Duration::ZERO, &applied("a", Some(10))).is_err());
        oracle.see(Duration::ZERO, &asked).unwrap();
        assert_eq!(oracle.see(Duration::ZERO, &applied("a", Some(10))), Ok(()));
        assert!(oracle.see(Duration::ZERO, &applied("b", Some(10))).is_err());
        assert!(oracle.see(Duration::ZERO, &applied("a", Some(9))).is_err());
        assert!(oracle.see(Duration::ZERO, &applied("a", None)).is_err());
    }

    #[test]
    fn a_mismatch_that_nobody_asked_for_is_seen() {
        let mut oracle = Fidelity::default();
        let mut see = |happening: Happening| oracle.see(Duration::ZERO, &happening);
        let (id, claims) = (Text::from("h1"), wanted("b", None).claims);
        let mismatched = Happening::Mismatched {
            id: id.clone(),
            claims: claims.clone(),
        };
        assert!(see(mismatched.clone()).is_err());
        see(Happening::HttpMistaken { id, claims }).unwrap();
        assert_eq!(see(mismatched), Ok(()));
    }

    #[test]
    fn a_renewal_that_changes_on_the_way_is_seen() {
        let mut oracle = Fidelity::default();
        let mut see = |happening: Happening| oracle.see(Duration::ZERO, &happening);
        let id = Text::from("L1");
        let renewed = |ttl| Happening::Renewed {
            id: id.clone(),
            ttl,
        };
        assert!(see(renewed(10)).is_err());
        let call = Call::Renew { ttl: 10 };
        see(Happening::Called {
            id: id.clone(),
            call,
        })
        .unwrap();
        assert_eq!(see(renewed(10)), Ok(()));
        assert!(see(renewed(9)).is_err());
    }

    #[test]
    fn an_abandon_timeout_that_nobody_has_is_seen() {
        let mut oracle = Fidelity {
            sessions: BTreeSet::from([("default".into(), 90)]),
            ..Fidelity::default()
        };
        let mut see = |abandon| {
            let opened = Happening::Opened {
                session: "s".into(),
                namespace: "default".into(),
                abandon,
            };
            oracle.see(Duration::ZERO, &opened)
        };
        assert_eq!(see(90), Ok(()));
        assert!(see(45).is_err());
    }
}
