//! A session that nothing disturbs keeps its connection: it lives while that is attached
//! (SEMANTICS section 4).
//!
//! Server and client mend most of what goes wrong between them by connecting anew: an answer that
//! never comes, a sign of life that is forgotten. Judged where no fault can be the excuse, each
//! such cure betrays the illness.

use super::{Client, Happening, ServiceOracle, calm::Calm, in_ms};
use crate::{op::Text, oracle::Verdict, plan::ServicePlan};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// The oracle.
#[derive(Debug)]
pub struct Connections {
    calm: Calm,
    /// The client of each request.
    clients: BTreeMap<Text, Client>,
    /// Since when each session is attached.
    attached: BTreeMap<Text, Duration>,
    /// The client of each session that has asked for something.
    owners: BTreeMap<Text, Client>,
    /// Clients that are done with their sessions.
    closing: BTreeSet<Client>,
}

impl Connections {
    /// For a plan's world.
    #[must_use]
    pub fn new(plan: Arc<ServicePlan>) -> Connections {
        Connections {
            calm: Calm::new(plan),
            clients: BTreeMap::new(),
            attached: BTreeMap::new(),
            owners: BTreeMap::new(),
            closing: BTreeSet::new(),
        }
    }
}

impl ServiceOracle for Connections {
    fn name(&self) -> &'static str {
        "connections"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 4 a session lives while its connection is attached or is kept alive"
    }

    fn see(&mut self, now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::Asked { id, client, .. } => {
                self.clients.insert(id.clone(), *client);
            }
            Happening::Applied { id, session, .. } => {
                if let Some(client) = self.clients.remove(id) {
                    self.owners.insert(session.clone(), client);
                }
            }
            Happening::Opened { session, .. } | Happening::Attached { session } => {
                self.attached.insert(session.clone(), now);
            }
            Happening::Detached { session } => {
                let attached = self.attached.remove(session);
                let owner = self.owners.get(session);
                if let (Some(since), Some(client)) = (attached, owner)
                    && !self.closing.contains(client)
                    && self.calm.is_connection(client.host, since, now)
                {
                    return Err(format!(
                        "the session of {client} lost the connection that it had since {} ms, \
                         though nothing disturbed it",
                        in_ms(since)
                    ));
                }
            }
            Happening::EndBegins { session } => {
                self.attached.remove(session);
                self.owners.remove(session);
            }
            Happening::Closing { client } => {
                self.closing.insert(*client);
            }
            Happening::ServerDown => {
                self.attached.clear();
                self.owners.clear();
            }
            // Its sessions live on without connections.
            Happening::ServerHalted => self.attached.clear(),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::calm::tests::{CUT, fault, plan},
        *,
    };
    use crate::{
        op::OpWait,
        oracle::service::Wanted,
        plan::{Fault, FaultKind},
    };

    const CLIENT: Client = Client { index: 0, host: 0 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A session of a client on host 0, attached at 1 s.
    fn story(faults: Vec<Fault>) -> Connections {
        let mut oracle = Connections::new(plan(faults));
        let wanted = Wanted {
            namespace: "default".into(),
            claims: Vec::new(),
            ttl: None,
            wait: OpWait::Forever,
        };
        let session = Text::from("s");
        for happening in [
            Happening::Asked {
                id: "L1".into(),
                client: CLIENT,
                wanted: wanted.clone(),
            },
            Happening::Attached {
                session: session.clone(),
            },
            Happening::Applied {
                id: "L1".into(),
                session,
                wanted,
            },
        ] {
            oracle.see(ms(1_000), &happening).unwrap();
        }
        oracle
    }

    fn detached() -> Happening {
        Happening::Detached {
            session: "s".into(),
        }
    }

    #[test]
    fn a_connection_that_breaks_for_no_reason_is_seen() {
        assert!(story(Vec::new()).see(ms(3_000), &detached()).is_err());
        let early = fault(100, 100, CUT);
        assert!(story(vec![early]).see(ms(3_000), &detached()).is_err());
    }

    #[test]
    fn a_fault_is_an_excuse_and_so_is_the_end_of_the_session() {
        let hold = fault(2_000, 10, FaultKind::Hold { host: 0 });
        assert_eq!(story(vec![hold]).see(ms(3_000), &detached()), Ok(()));
        let mut closing = story(Vec::new());
        let closes = Happening::Closing { client: CLIENT };
        closing.see(ms(2_000), &closes).unwrap();
        assert_eq!(closing.see(ms(3_000), &detached()), Ok(()));
        let mut restarted = story(Vec::new());
        restarted.see(ms(2_000), &Happening::ServerDown).unwrap();
        assert_eq!(restarted.see(ms(3_000), &detached()), Ok(()));
    }
}
