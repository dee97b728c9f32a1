//! A client believes itself a holder only while the server does (SEMANTICS section 7.4).
//!
//! Judged at each end of a lock, in plans in which the server's clock keeps its rate. A server
//! that died has forgotten its locks: what its clients believe until they learn of it is judged by
//! nobody, since a server without a disk cannot promise it.
//!
//! When an operator breaks a lock or ends a session, the client cannot know before it is told. `prompt_news` says
//! how soon that is where nothing is in the way; here, that it is over soon in any case: nothing that
//! the client heard of its session was asked later than now, and it believes in what it heard for no longer than
//! its session is kept for it, counted from when the end of that begins. That an operator asked for it at all is
//! judged by `breaks`.

use super::{Client, Happening, ServiceOracle, in_ms, unwanted::Unwanted};
use crate::{op::Text, oracle::Verdict, plan::ServicePlan};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The oracle.
#[derive(Debug)]
pub struct ClientLease {
    plan: Arc<ServicePlan>,
    /// Whose each request is, and the session that it came in last.
    clients: BTreeMap<Text, Client>,
    sessions: BTreeMap<Text, Text>,
    unwanted: Unwanted,
    /// When the end of each session began.
    begun: BTreeMap<Text, Duration>,
}

impl ClientLease {
    /// For a plan's world.
    #[must_use]
    pub fn new(plan: Arc<ServicePlan>) -> ClientLease {
        ClientLease {
            plan,
            clients: BTreeMap::new(),
            sessions: BTreeMap::new(),
            unwanted: Unwanted::default(),
            begun: BTreeMap::new(),
        }
    }

    /// Until when a client may believe in a lock that an operator has ended now; none for one that nobody
    /// but the client or the time has ended.
    fn excused_until(&self, now: Duration, id: &Text, reason: &str) -> Option<Duration> {
        let session = self.sessions.get(id);
        let is_closed = session.is_some_and(|session| self.unwanted.is_ended(session));
        let is_by_operator = reason == "broken" || (reason == "session_ended" && is_closed);
        let client = self.clients.get(id).filter(|_| is_by_operator)?;
        let abandon_ms = self.plan.clients.get(client.index)?.abandon_ms;
        let begun = session.and_then(|session| self.begun.get(session));
        let over = begun.filter(|_| is_closed).copied().unwrap_or(now);
        Some(over + Duration::from_millis(abandon_ms))
    }

    fn ended(
        &self,
        now: Duration,
        id: &Text,
        reason: &str,
        ended_at: Duration,
        until: Duration,
    ) -> Verdict {
        let excused_until = self.excused_until(now, id, reason);
        if until <= excused_until.unwrap_or(ended_at) {
            return Ok(());
        }
        Err(format!(
            "{id} ended ({reason}) on the server at {} ms, and its client goes on believing that \
             it holds it until {} ms",
            in_ms(ended_at),
            in_ms(until),
        ))
    }
}

impl ServiceOracle for ClientLease {
    fn name(&self) -> &'static str {
        "client_lease"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 7.4 client-side lease"
    }

    fn see(&mut self, now: Duration, happening: &Happening) -> Verdict {
        self.unwanted.see(happening);
        match happening {
            Happening::Asked { id, client, .. } => drop(self.clients.insert(id.clone(), *client)),
            Happening::Applied { id, session, .. } => {
                self.sessions.insert(id.clone(), session.clone());
            }
            Happening::EndBegins { session } => drop(self.begun.insert(session.clone(), now)),
            Happening::Ended {
                id,
                reason,
                ended_at,
                believed_until: Some(until),
            } => return self.ended(now, id, reason, *ended_at, *until),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        op::OpWait,
        oracle::service::{
            Wanted,
            breaks::{Asked, Question},
        },
        plan::ClientPlan,
    };

    fn ended(ended_ms: u64, believed_ms: Option<u64>) -> Happening {
        Happening::Ended {
            id: "L1".into(),
            reason: "expired",
            ended_at: Duration::from_millis(ended_ms),
            believed_until: believed_ms.map(Duration::from_millis),
        }
    }

    fn oracle() -> ClientLease {
        let plan = crate::oracle::service::calm::tests::plan(Vec::new());
        let mut plan = ServicePlan::clone(&plan);
        plan.clients.push(ClientPlan {
            host: 0,
            namespace: "default".into(),
            abandon_ms: 300,
            keep_alive_ms: 100,
            call_timeout_ms: 100,
            attempts: Vec::new(),
            closes_at_ms: None,
        });
        ClientLease::new(Arc::new(plan))
    }

    #[test]
    fn a_belief_beyond_the_end_is_seen() {
        let see = |happening| oracle().see(Duration::ZERO, &happening);
        assert_eq!(see(ended(100, None)), Ok(()));
        assert_eq!(see(ended(100, Some(100))), Ok(()));
        assert!(
            see(ended(100, Some(101)))
                .unwrap_err()
                .contains("until 101 ms")
        );
    }

    fn asks(oracle: &mut ClientLease) {
        let wanted = Wanted {
            namespace: "default".into(),
            claims: Vec::new(),
            ttl: None,
            wait: OpWait::Forever,
        };
        let asked = Happening::Asked {
            id: "L1".into(),
            client: Client { index: 0, host: 0 },
            wanted: wanted.clone(),
        };
        let applied = Happening::Applied {
            id: "L1".into(),
            session: "s".into(),
            wanted,
        };
        for happening in [asked, applied] {
            oracle.see(Duration::ZERO, &happening).unwrap();
        }
    }

    fn ends(reason: &'static str, until_ms: u64) -> Happening {
        let Happening::Ended { id, ended_at, .. } = ended(100, None) else {
            unreachable!("it is one")
        };
        let believed_until = Some(Duration::from_millis(until_ms));
        Happening::Ended {
            id,
            reason,
            ended_at,
            believed_until,
        }
    }

    #[test]
    fn what_an_operator_ends_is_believed_in_for_as_long_as_a_session_is_kept() {
        let mut oracle = oracle();
        asks(&mut oracle);
        let abandon = oracle.plan.clients[0].abandon_ms;
        let now = Duration::from_millis(110);
        let mut see = |happening| oracle.see(now, &happening);
        assert_eq!(see(ends("broken", 110 + abandon)), Ok(()));
        assert!(see(ends("broken", 111 + abandon)).is_err());
        assert!(see(ends("session_ended", 110 + abandon)).is_err());
        let closes = || Happening::Closes {
            session: "s".into(),
        };
        see(closes()).unwrap();
        assert!(see(ends("session_ended", 110 + abandon)).is_err());
        let asked = Happening::BreakAsked {
            ask: "b".into(),
            host: 0,
            question: Question {
                namespace: "default".into(),
                what: Asked::EndSession {
                    session: "s".into(),
                },
            },
            by_operator: true,
        };
        see(asked).unwrap();
        see(closes()).unwrap();
        assert_eq!(see(ends("session_ended", 110 + abandon)), Ok(()));
        assert!(see(ends("expired", 110 + abandon)).is_err());
        // What ends a while after its session is over is believed in for no longer.
        let session = Text::from("s");
        see(Happening::EndBegins { session }).unwrap();
        let mut later = |happening| oracle.see(now + Duration::from_millis(20), &happening);
        assert_eq!(later(ends("session_ended", 110 + abandon)), Ok(()));
        assert!(later(ends("session_ended", 111 + abandon)).is_err());
        assert!(later(ends("broken", 111 + abandon)).is_err());
    }
}
