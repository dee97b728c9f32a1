//! No lost wake-ups on the way to the client: who is connected and undisturbed is told of a grant,
//! and of an end that is not its own doing, within a bounded time (SEMANTICS section 7.6).
//!
//! A push that gets lost would be noticed at the next resume, and a reconnection hides it; so it
//! is judged at once, wherever no fault can be the excuse.

use super::{
    Call, Client, Happening, ServiceOracle,
    calm::{Calm, news_within},
    in_ms,
    unwanted::Unwanted,
};
use crate::{op::Text, oracle::Verdict, plan::ServicePlan};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// The oracle.
#[derive(Debug)]
pub struct PromptNews {
    calm: Calm,
    /// How long news may take.
    patience: Duration,
    /// The requests whose clients listen.
    listening: BTreeMap<Text, Listener>,
    /// Since when each session is attached.
    attached: BTreeMap<Text, Duration>,
    /// Requests that are queued: their grants are news, not answers.
    queued: BTreeSet<Text>,
    /// News on their way, by the time at which they were sent.
    due: BTreeMap<(Duration, Text), Due>,
    unwanted: Unwanted,
}

/// Who is told of a request.
#[derive(Debug)]
struct Listener {
    client: Client,
    /// The session, once the request has reached the engine.
    session: Option<Text>,
}

/// News on their way.
#[derive(Debug)]
struct Due {
    session: Text,
    /// What happened to the request.
    what: &'static str,
}

impl PromptNews {
    /// For a plan's world.
    #[must_use]
    pub fn new(plan: Arc<ServicePlan>) -> PromptNews {
        PromptNews {
            patience: news_within(&plan),
            calm: Calm::new(plan),
            listening: BTreeMap::new(),
            attached: BTreeMap::new(),
            queued: BTreeSet::new(),
            due: BTreeMap::new(),
            unwanted: Unwanted::default(),
        }
    }

    fn expect(&mut self, now: Duration, id: &Text, what: &'static str) {
        let Some(Listener {
            client,
            session: Some(session),
        }) = self.listening.get(id)
        else {
            return;
        };
        let Some(attached) = self.attached.get(session) else {
            return;
        };
        let until = now + self.patience;
        if self.calm.is_delivery(client.host, *attached, now, until) {
            let session = session.clone();
            self.due.insert((now, id.clone()), Due { session, what });
        }
    }

    /// Whether the session of a request was closed for an operator.
    fn is_closed(&self, id: &Text) -> bool {
        let listener = self.listening.get(id);
        let session = listener.and_then(|listener| listener.session.as_ref());
        session.is_some_and(|session| self.unwanted.is_ended(session))
    }

    fn forget(&mut self, id: &Text) {
        self.due.retain(|(_, other), _| other != id);
    }

    /// What was on its way on a session's connection when that broke is told in another way.
    fn forget_session(&mut self, session: &Text) {
        self.due.retain(|_, due| due.session != *session);
    }
}

impl ServiceOracle for PromptNews {
    fn name(&self) -> &'static str {
        "prompt_news"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 7.6 liveness: no lost wake-up"
    }

    fn see(&mut self, now: Duration, happening: &Happening) -> Verdict {
        self.unwanted.see(happening);
        if let Some(((sent, id), Due { what, .. })) = self.due.first_key_value()
            && now > *sent + self.patience
        {
            return Err(format!(
                "the client of {id} was not told that it {what} at {} ms, though nothing \
                 disturbed its connection",
                in_ms(*sent)
            ));
        }
        match happening {
            Happening::Asked { id, client, .. } => {
                let (client, session) = (*client, None);
                self.listening
                    .insert(id.clone(), Listener { client, session });
            }
            Happening::Applied { id, session, .. } => {
                if let Some(listener) = self.listening.get_mut(id) {
                    listener.session = Some(session.clone());
                }
            }
            Happening::Opened { session, .. } | Happening::Attached { session } => {
                self.forget_session(session);
                self.attached.insert(session.clone(), now);
            }
            // The end of its connection tells its client of the end of its locks.
            Happening::SessionEnded { session } if self.unwanted.is_ended(session) => {
                self.attached.remove(session);
            }
            Happening::Detached { session } | Happening::SessionEnded { session } => {
                self.forget_session(session);
                self.attached.remove(session);
            }
            Happening::Queued { id } => {
                self.queued.insert(id.clone());
            }
            Happening::Granted { id, .. } if self.queued.contains(id) => {
                self.expect(now, id, "was granted");
            }
            Happening::Ended { id, reason, .. } => {
                self.forget(id);
                let with_its_session = *reason == "session_ended" && self.is_closed(id);
                if ["expired", "timed_out", "broken"].contains(reason) || with_its_session {
                    self.expect(now, id, "ended");
                }
            }
            Happening::Told { id, .. } => self.forget(id),
            Happening::Left { id } => {
                self.listening.remove(id);
                self.queued.remove(id);
                self.forget(id);
            }
            // The answer tells of what happened meanwhile.
            Happening::Called {
                id,
                call: Call::Cancel | Call::Release,
            } => self.forget(id),
            // A client that closes its session has no ear for anything else.
            Happening::Closing { client } => {
                self.listening
                    .retain(|_, listener| listener.client != *client);
                let listening = &self.listening;
                self.due.retain(|(_, id), _| listening.contains_key(id));
            }
            Happening::ServerDown | Happening::ServerHalted => {
                self.due.clear();
                self.attached.clear();
            }
            Happening::HostDown { host } => {
                self.listening
                    .retain(|_, listener| listener.client.host != *host);
                let listening = &self.listening;
                self.due.retain(|(_, id), _| listening.contains_key(id));
            }
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
        oracle::service::{
            News, Wanted,
            breaks::{Asked, Question},
        },
        plan::{Fault, FaultKind, Place},
    };

    /// A story of a client whose request is queued, and granted at 100 s.
    fn story(faults: Vec<Fault>) -> PromptNews {
        let mut oracle = PromptNews::new(plan(faults));
        let wanted = Wanted {
            namespace: "default".into(),
            claims: Vec::new(),
            ttl: None,
            wait: OpWait::Forever,
        };
        let (id, session) = (Text::from("L1"), Text::from("s"));
        let before = [
            Happening::Attached {
                session: session.clone(),
            },
            Happening::Asked {
                id: id.clone(),
                client: Client { index: 0, host: 0 },
                wanted: wanted.clone(),
            },
            Happening::Applied {
                id: id.clone(),
                session,
                wanted,
            },
            Happening::Queued { id: id.clone() },
        ];
        for happening in before {
            oracle.see(Duration::from_secs(99), &happening).unwrap();
        }
        let granted = Happening::Granted { id, token: 1 };
        oracle.see(Duration::from_secs(100), &granted).unwrap();
        oracle
    }

    fn later(mut oracle: PromptNews) -> Verdict {
        oracle.see(Duration::from_secs(200), &Happening::Healed)
    }

    #[test]
    fn a_grant_that_is_never_told_is_seen() {
        let mut oracle = story(Vec::new());
        let mut see = |ms| oracle.see(Duration::from_millis(ms), &Happening::Healed);
        assert_eq!(see(100_070), Ok(()));
        assert!(see(100_071).is_err());
    }

    #[test]
    fn a_grant_that_is_told_in_time_is_fine() {
        let mut oracle = story(Vec::new());
        let told = Happening::Told {
            id: "L1".into(),
            news: News::Granted { token: 1 },
        };
        oracle.see(Duration::from_millis(100_020), &told).unwrap();
        assert_eq!(later(oracle), Ok(()));
    }

    fn ended(reason: &'static str) -> Happening {
        Happening::Ended {
            id: "L1".into(),
            reason,
            ended_at: Duration::ZERO,
            believed_until: None,
        }
    }

    fn goes_on(oracle: &mut PromptNews, happenings: &[Happening]) {
        for happening in happenings {
            oracle
                .see(Duration::from_millis(100_010), happening)
                .unwrap();
        }
    }

    #[test]
    fn what_an_operator_ends_is_told() {
        let mut broken = story(Vec::new());
        goes_on(&mut broken, &[ended("broken")]);
        assert!(later(broken).is_err());
        let session = Text::from("s");
        let closes = [
            Happening::Closes {
                session: session.clone(),
            },
            ended("session_ended"),
            Happening::SessionEnded {
                session: session.clone(),
            },
        ];
        // Its client closes it.
        let mut closed = story(Vec::new());
        goes_on(&mut closed, &closes);
        assert_eq!(later(closed), Ok(()));
        let asked = Happening::BreakAsked {
            ask: "b".into(),
            host: 0,
            question: Question {
                namespace: "default".into(),
                what: Asked::EndSession { session },
            },
            by_operator: true,
        };
        let mut unwanted = story(Vec::new());
        goes_on(&mut unwanted, &[asked]);
        goes_on(&mut unwanted, &closes);
        assert!(later(unwanted).is_err());
    }

    #[test]
    fn a_connection_that_breaks_takes_its_news_along() {
        let mut oracle = story(Vec::new());
        let detached = Happening::Detached {
            session: "s".into(),
        };
        oracle
            .see(Duration::from_millis(100_010), &detached)
            .unwrap();
        assert_eq!(later(oracle), Ok(()));
    }

    #[test]
    fn a_fault_is_an_excuse_where_and_when_it_strikes() {
        let reset = |at_ms, host| {
            let place = Place::Host(host);
            story(vec![fault(at_ms, 1, FaultKind::Reset { place })])
        };
        assert_eq!(later(reset(100_003, 0)), Ok(()));
        assert!(later(reset(100_003, 1)).is_err());
        assert!(later(reset(90_000, 0)).is_err());
        assert_eq!(later(story(vec![fault(99_500, 10, CUT)])), Ok(()));
    }
}
