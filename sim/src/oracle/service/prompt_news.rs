//! No lost wake-ups on the way to the client: who is connected and undisturbed is told of a grant,
//! and of an end that is not its own doing, within a bounded time (SEMANTICS section 7.6).
//!
//! The end of a session may take a while. It is over for its client when that begins, and that is when its
//! client is told, of all of its requests: the answer to a close, or that an operator has ended it. From then on
//! nobody speaks for it: what comes later came over a connection that should have been closed.
//!
//! A push that gets lost would be noticed at the next resume, and a reconnection hides it; so it
//! is judged at once, wherever no fault can be the excuse.

use super::{
    Call, Client, Happening, News, ServiceOracle,
    calm::{Calm, news_within, written_ms},
    in_ms,
    unwanted::Unwanted,
};
use crate::{op::Text, oracle::Verdict, plan::ServicePlan};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// What became of a request whose session an operator has ended.
const OVER: &str = "ended with its session";

/// How late a server may learn of what it has done itself, in ms.
const LEARNT_WITHIN_MS: u64 = 2;

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
    /// Requests that wait or are held.
    live: BTreeSet<Text>,
    /// News on their way, by the time at which they were sent.
    due: BTreeMap<(Duration, Text), Due>,
    unwanted: Unwanted,
    /// How long it takes until a server knows what it, or another node, has done.
    learnt_within: Duration,
    /// Sessions that are over, as operators wanted.
    over: BTreeMap<Text, Over>,
    /// The client of each session that has asked for something.
    owners: BTreeMap<Text, Client>,
    /// Clients that close their sessions, and since when that is done, if it is.
    closing: BTreeMap<Client, Option<Duration>>,
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

/// A session that is over, as an operator wanted.
#[derive(Debug, Clone, Copy)]
struct Over {
    /// When its end began.
    since: Duration,
    /// Since when it was attached then, if it was.
    attached: Option<Duration>,
}

impl PromptNews {
    /// For a plan's world.
    #[must_use]
    pub fn new(plan: Arc<ServicePlan>) -> PromptNews {
        PromptNews {
            patience: news_within(&plan),
            learnt_within: learnt_within(&plan),
            calm: Calm::new(plan),
            listening: BTreeMap::new(),
            attached: BTreeMap::new(),
            queued: BTreeSet::new(),
            live: BTreeSet::new(),
            due: BTreeMap::new(),
            unwanted: Unwanted::default(),
            over: BTreeMap::new(),
            owners: BTreeMap::new(),
            closing: BTreeMap::new(),
        }
    }

    /// Nothing that was to be told by now is missing.
    fn none_is_late(&self, now: Duration) -> Verdict {
        if let Some(((sent, id), Due { what, .. })) = self.due.first_key_value()
            && now > *sent + self.patience
        {
            return Err(format!(
                "the client of {id} was not told that it {what} at {} ms, though nothing \
                 disturbed its connection",
                in_ms(*sent)
            ));
        }
        let done = self.closing.iter();
        let mut done = done.filter_map(|(client, done)| done.map(|done| (client, done)));
        match done.find(|(_, done)| now > *done + self.patience) {
            Some((client, done)) => Err(format!(
                "{client} was not answered that its session is closed, which it was at {} ms, though \
                 nothing disturbed its connection",
                in_ms(done)
            )),
            None => Ok(()),
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

    /// The end of a session begins: its client is told of that now, or was away.
    fn end_begins(&mut self, now: Duration, session: &Text) {
        self.forget_session(session);
        if self.unwanted.is_ended(session) {
            let of_it = self.listening.iter().filter(|(id, listener)| {
                listener.session.as_ref() == Some(session) && self.live.contains(*id)
            });
            let of_it: Vec<Text> = of_it.map(|(id, _)| id.clone()).collect();
            for id in of_it {
                self.expect(now, &id, OVER);
            }
            let (since, attached) = (now, self.attached.get(session).copied());
            self.over.insert(session.clone(), Over { since, attached });
        } else if let Some(attached) = self.attached.get(session)
            && let Some(client) = self.owners.get(session)
            && let Some(done) = self.closing.get_mut(client)
            && let until = now + self.patience
            && self.calm.is_delivery(client.host, *attached, now, until)
            // One that broke before this is asked again on another.
            && self.calm.is_connection(client.host, *attached, until)
        {
            *done = Some(now);
        }
        self.attached.remove(session);
    }

    /// Whether a server may have listened at `at` to what the client of a session says: not when it knew that the
    /// session is over.
    fn is_heard_in_time(&self, now: Duration, session: &Text, at: Duration) -> Verdict {
        let (Some(over), Some(client)) = (self.over.get(session), self.owners.get(session)) else {
            return Ok(());
        };
        let Some(attached) = over.attached else {
            return Ok(());
        };
        let is_late = at > over.since + self.learnt_within;
        if is_late && self.calm.is_connection(client.host, attached, now) {
            return Err(format!(
                "an operator has ended the session of {client} at {} ms, and a server listens to what it says \
                 in it at {} ms",
                in_ms(over.since),
                in_ms(at)
            ));
        }
        Ok(())
    }

    /// Whether the session of a request is over, as an operator wanted.
    fn is_over(&self, id: &Text) -> bool {
        let listener = self.listening.get(id);
        let session = listener.and_then(|listener| listener.session.as_ref());
        session.is_some_and(|session| self.over.contains_key(session))
    }

    /// Whether the client of a request is yet to be told that its session is over, on the connection that it had. One
    /// that broke before that was known leaves it to ask.
    fn was_to_be_told(&self, now: Duration, id: &Text) -> bool {
        let mut due = self.due.iter();
        let due = due.find(|((_, of), due)| of == id && due.what == OVER);
        let over = due.and_then(|(_, due)| self.over.get(&due.session));
        let attached = over.and_then(|over| over.attached);
        match (attached, self.listening.get(id)) {
            (Some(attached), Some(listener)) => {
                self.calm.is_connection(listener.client.host, attached, now)
            }
            _ => false,
        }
    }

    fn forget(&mut self, id: &Text) {
        self.due.retain(|(_, other), _| other != id);
    }

    /// What was on its way on a session's connection when that broke is told in another way.
    fn forget_session(&mut self, session: &Text) {
        self.due.retain(|_, due| due.session != *session);
    }
}

fn learnt_within(plan: &ServicePlan) -> Duration {
    // Each node applies what the others have, in its time.
    let from_others = plan.cluster.as_ref().map_or(0, |_| written_ms(plan));
    Duration::from_millis(LEARNT_WITHIN_MS + from_others)
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
        self.none_is_late(now)?;
        match happening {
            Happening::Asked { id, client, .. } => {
                let (client, session) = (*client, None);
                self.listening
                    .insert(id.clone(), Listener { client, session });
            }
            Happening::Applied { id, session, .. } => {
                if let Some(listener) = self.listening.get_mut(id) {
                    listener.session = Some(session.clone());
                    self.owners.insert(session.clone(), listener.client);
                }
            }
            Happening::Opened { session, .. } | Happening::Attached { session } => {
                self.forget_session(session);
                self.attached.insert(session.clone(), now);
            }
            Happening::EndBegins { session } => self.end_begins(now, session),
            Happening::Heard { session, at } => return self.is_heard_in_time(now, session, *at),
            Happening::Detached { session } => {
                self.forget_session(session);
                self.attached.remove(session);
            }
            Happening::Queued { id } => {
                self.queued.insert(id.clone());
                self.live.insert(id.clone());
            }
            Happening::Granted { id, .. } => {
                self.live.insert(id.clone());
                if self.queued.contains(id) {
                    self.expect(now, id, "was granted");
                }
            }
            Happening::Ended { id, reason, .. } => {
                self.live.remove(id);
                // Of one whose session is over its client was to be told when that began.
                if !self.is_over(id) {
                    self.forget(id);
                    if ["expired", "timed_out", "broken"].contains(reason) {
                        self.expect(now, id, "ended");
                    }
                }
            }
            Happening::Told {
                id,
                news: News::Lost { over: true, .. },
            } if self.was_to_be_told(now, id) => {
                return Err(format!(
                    "the client of {id} was not told that an operator has ended its session, and learns when it \
                     asks that there is no such session, though nothing disturbed its connection"
                ));
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
                self.closing.insert(*client, None);
            }
            Happening::Closed { client, .. } => drop(self.closing.remove(client)),
            Happening::ServerDown | Happening::ServerHalted => {
                self.due.clear();
                self.attached.clear();
                self.closing.values_mut().for_each(|done| *done = None);
            }
            Happening::HostDown { host } => {
                self.listening
                    .retain(|_, listener| listener.client.host != *host);
                self.closing.retain(|client, _| client.host != *host);
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
            Happening::EndBegins {
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
        // The time runs from when the end begins, and not from when the turn of its request comes.
        for all in [&closes[..2], &closes[..3], &closes] {
            let told = Happening::Told {
                id: "L1".into(),
                news: News::Ended {
                    reason: "session_ended",
                },
            };
            for (at, is_right) in [(100_070, true), (100_090, false)] {
                let mut unwanted = story(Vec::new());
                goes_on(&mut unwanted, std::slice::from_ref(&asked));
                goes_on(&mut unwanted, &all[..2]);
                for one in &all[2..] {
                    unwanted.see(Duration::from_millis(100_060), one).unwrap();
                }
                let judged = unwanted.see(Duration::from_millis(at), &told);
                assert_eq!(judged.is_ok(), is_right, "{at}");
                assert_eq!(later(unwanted).is_ok(), is_right, "{at}");
            }
            // That there is no such session is not what its client was to hear, unless its connection had broken.
            let reset = fault(
                100_003,
                1,
                FaultKind::Reset {
                    place: Place::Server,
                },
            );
            for (over, faults, is_right) in [
                (true, Vec::new(), false),
                (true, vec![reset], true),
                (false, Vec::new(), true),
            ] {
                let mut unwanted = story(faults);
                goes_on(&mut unwanted, std::slice::from_ref(&asked));
                goes_on(&mut unwanted, &all[..2]);
                let lost = Happening::Told {
                    id: "L1".into(),
                    news: News::Lost {
                        why: String::new(),
                        gone: false,
                        over,
                    },
                };
                let judged = unwanted.see(Duration::from_millis(100_060), &lost);
                assert_eq!(judged.is_ok(), is_right, "{over}");
            }
        }
    }

    #[test]
    fn what_is_said_in_a_session_that_an_operator_has_ended_is_seen() {
        let session = Text::from("s");
        let asked = Happening::BreakAsked {
            ask: "b".into(),
            host: 0,
            question: Question {
                namespace: "default".into(),
                what: Asked::EndSession {
                    session: session.clone(),
                },
            },
            by_operator: true,
        };
        let ends = [
            Happening::Closes {
                session: session.clone(),
            },
            Happening::EndBegins {
                session: session.clone(),
            },
        ];
        let said = |faults, is_wanted: bool, at| {
            let mut oracle = story(faults);
            if is_wanted {
                goes_on(&mut oracle, std::slice::from_ref(&asked));
            }
            goes_on(&mut oracle, &ends);
            let (session, at) = (session.clone(), Duration::from_millis(at));
            // That it has its place in the log later is no matter.
            let later = Duration::from_millis(100_060);
            oracle.see(later, &Happening::Heard { session, at })
        };
        assert_eq!(said(Vec::new(), true, 100_012), Ok(()));
        assert!(said(Vec::new(), true, 100_013).is_err());
        assert_eq!(said(Vec::new(), false, 100_013), Ok(()));
        let place = Place::Server;
        let paused = vec![fault(100_011, 1, FaultKind::Pause { place })];
        assert_eq!(said(paused, true, 100_013), Ok(()));
    }

    #[test]
    fn a_client_that_closes_its_session_is_answered_when_its_end_begins() {
        let client = Client { index: 0, host: 0 };
        let session = Text::from("s");
        let closes = [
            Happening::Closing { client },
            Happening::Closes {
                session: session.clone(),
            },
            Happening::EndBegins { session },
        ];
        let answered = Happening::Closed {
            client,
            error: None,
        };
        let closed = |faults| {
            let mut oracle = story(faults);
            goes_on(&mut oracle, &closes);
            oracle
        };
        assert!(later(closed(Vec::new())).is_err());
        assert_eq!(later(closed(vec![fault(100_005, 10, CUT)])), Ok(()));
        let mut in_time = closed(Vec::new());
        let at = Duration::from_millis(100_070);
        in_time.see(at, &answered).unwrap();
        assert_eq!(later(in_time), Ok(()));
        // Nothing is done yet that could be told.
        let mut waits = story(Vec::new());
        goes_on(&mut waits, &closes[..1]);
        assert_eq!(later(waits), Ok(()));
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
