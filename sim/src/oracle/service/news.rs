//! Clients are told the truth, in order, and once (SEMANTICS sections 2 and 4).

use super::{Client, Happening, News, ServiceOracle, unwanted::Unwanted};
use crate::{op::Text, oracle::Verdict};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

/// The oracle.
#[derive(Debug, Default)]
pub struct TrueNews {
    requests: BTreeMap<Text, Known>,
    /// Whether a server has stopped that waited for locks: what it sends away does not reach the engine.
    has_drained: bool,
    /// Sessions that operators have ended. What their clients ask for meanwhile does not reach the engine; and
    /// what had ended in another way while they were away, or was refused, they have no session any more to hear
    /// of: that it is over with its session at the latest is all that they can be told.
    unwanted: Unwanted,
    /// The client of each request, and of each session that has asked for something.
    clients: BTreeMap<Text, Client>,
    owners: BTreeMap<Text, Client>,
    /// Those that have lost a session so; none for those that are not known by their requests.
    losers: Vec<Option<Client>>,
    /// The sessions that they have lost.
    lost: BTreeSet<Text>,
}

/// What else may be the reason for what a client is told.
#[derive(Debug, Clone, Copy)]
struct Reasons {
    has_drained: bool,
    has_lost_its_session: bool,
}

/// A request as the engine has it, and as its client was told.
#[derive(Debug, Default)]
struct Known {
    queued: bool,
    token: Option<u64>,
    refused: Option<&'static str>,
    ended: Option<&'static str>,
    /// The server that knew it died.
    forgotten: bool,
    told_queued: bool,
    told_granted: bool,
    told_last: bool,
    /// It was told that it is cancelled before the engine had heard of it: it never must.
    given_up_unheard: bool,
    /// It was told that its session is over, and was not known: it never must be queued or held.
    is_lost: bool,
    /// The session that it came in last.
    session: Option<Text>,
    /// It lived when the end of its session began. It may live on for a while, and end in another way, but to
    /// its client it is over.
    is_over: bool,
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ended, self.token, self.refused) {
            (Some(reason), ..) => write!(f, "it has ended: {reason}")?,
            (None, Some(token), _) => write!(f, "it is held with token {token}")?,
            (None, None, _) if self.queued => f.write_str("it waits")?,
            (None, None, Some(code)) => write!(f, "it was refused as `{code}`")?,
            (None, None, None) => f.write_str("it never arrived")?,
        }
        if self.is_over {
            f.write_str(", after the end of its session had begun")?;
        }
        if self.forgotten {
            f.write_str(", and that is forgotten")?;
        }
        Ok(())
    }
}

impl Known {
    /// Whether the engine has not heard of it.
    fn is_unheard(&self) -> bool {
        !self.queued && self.token.is_none() && self.refused.is_none()
    }

    /// Whether it is nothing to the engine: not heard of, or refused, which leaves nothing behind.
    fn is_nothing(&self) -> bool {
        !self.queued && self.token.is_none()
    }

    /// Whether the engine is done with it.
    fn is_gone(&self) -> bool {
        self.ended.is_some() || self.forgotten
    }

    /// Whether it waits or is held.
    fn is_live(&self) -> bool {
        (self.queued || self.token.is_some()) && !self.is_gone()
    }

    /// Why a client must not be told `news` now.
    fn lie(&self, news: &News, reasons: Reasons) -> Option<String> {
        if self.told_last {
            return Some("it was told before that the request is over".to_owned());
        }
        let true_so_far = match news {
            News::Queued if self.told_queued || self.told_granted => {
                return Some("it was told so before, or of the grant".to_owned());
            }
            News::Granted { .. } if self.told_granted => {
                return Some("it was told of a grant before".to_owned());
            }
            News::Queued => self.queued,
            News::Granted { token } => self.token == Some(*token),
            News::Refused { code: "busy" } if reasons.has_drained && !self.queued => {
                self.token.is_none()
            }
            News::Refused { code } => self.refused == Some(*code),
            News::Ended {
                reason: "cancelled",
            } if self.is_unheard() => true,
            News::Ended {
                reason: "session_ended",
            } if self.is_over => true,
            News::Ended {
                reason: "session_ended",
            } if reasons.has_lost_its_session => self.is_nothing() || self.ended.is_some(),
            News::Ended { reason } => self.ended == Some(*reason),
            // A client may give a belief up for reasons of its own; but not say of the server's
            // side what is not so.
            News::Lost { gone, .. } => {
                !gone || self.is_gone() || !(self.queued || self.token.is_some())
            }
        };
        (!true_so_far).then(|| format!("on the server {self}"))
    }
}

impl TrueNews {
    fn known(&mut self, id: &Text) -> &mut Known {
        self.requests.entry(id.clone()).or_default()
    }

    /// Whether the client of a request has lost the session that it was asked in; or may have, if it never arrived.
    fn has_lost_its_session(&self, id: &Text) -> bool {
        let known = self.requests.get(id);
        if let Some(session) = known.and_then(|known| known.session.as_ref()) {
            return self.lost.contains(session);
        }
        let client = self.clients.get(id);
        self.losers.contains(&None) || client.is_some_and(|one| self.losers.contains(&Some(*one)))
    }

    fn told(&mut self, id: &Text, news: &News) -> Verdict {
        let reasons = Reasons {
            has_drained: self.has_drained,
            has_lost_its_session: self.has_lost_its_session(id),
        };
        let known = self.known(id);
        if let Some(lie) = known.lie(news, reasons) {
            return Err(format!("the client of {id} is told `{news}`, but {lie}"));
        }
        let is_over = |why| matches!(news, News::Ended { reason } if *reason == why);
        known.is_lost = is_over("session_ended") && known.is_nothing();
        known.given_up_unheard = is_over("cancelled") && known.is_unheard();
        known.told_queued |= *news == News::Queued;
        known.told_granted |= matches!(news, News::Granted { .. });
        known.told_last |= news.is_last();
        Ok(())
    }
}

impl ServiceOracle for TrueNews {
    fn name(&self) -> &'static str {
        "news"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 2 life of a lock: what clients are told is what happened"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        self.unwanted.see(happening);
        match happening {
            Happening::ServerDown => {
                self.requests
                    .values_mut()
                    .for_each(|known| known.forgotten = true);
            }
            Happening::Applied { id, .. } if self.known(id).given_up_unheard => {
                return Err(format!(
                    "{id} reaches the engine, and its client was told that it is cancelled"
                ));
            }
            Happening::Applied { id, session, .. } => {
                self.known(id).session = Some(session.clone());
                if let Some(client) = self.clients.get(id) {
                    self.owners.insert(session.clone(), *client);
                }
            }
            Happening::EndBegins { session } => {
                let requests = self.requests.values_mut();
                let of_it = requests.filter(|known| known.session.as_ref() == Some(session));
                for known in of_it.filter(|known| known.is_live()) {
                    known.is_over = true;
                }
            }
            Happening::Queued { id } | Happening::Granted { id, .. } if self.known(id).is_lost => {
                return Err(format!(
                    "{id} is taken, and its client was told that it is over with its session"
                ));
            }
            Happening::Queued { id } => self.known(id).queued = true,
            Happening::Granted { id, token } => self.known(id).token = Some(*token),
            Happening::Refused { id, code } => self.known(id).refused = Some(code),
            Happening::Ended { id, reason, .. } => self.known(id).ended = Some(reason),
            Happening::Drains { .. } => self.has_drained = true,
            Happening::Told { id, news } => return self.told(id, news),
            Happening::Asked { id, client, .. } => drop(self.clients.insert(id.clone(), *client)),
            Happening::Closes { session } if self.unwanted.is_ended(session) => {
                self.lost.insert(session.clone());
                self.losers.push(self.owners.get(session).copied());
            }
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
    };

    struct Story(TrueNews);

    impl Story {
        fn see(&mut self, happening: &Happening) -> Verdict {
            self.0.see(Duration::ZERO, happening)
        }

        fn told(&mut self, news: News) -> Verdict {
            self.see(&Happening::Told {
                id: "L1".into(),
                news,
            })
        }
    }

    fn story(happenings: &[Happening]) -> Story {
        let mut story = Story(TrueNews::default());
        happenings
            .iter()
            .for_each(|happening| story.see(happening).unwrap());
        story
    }

    fn queued() -> Happening {
        Happening::Queued { id: "L1".into() }
    }

    fn granted() -> Happening {
        Happening::Granted {
            id: "L1".into(),
            token: 3,
        }
    }

    fn ended() -> Happening {
        Happening::Ended {
            id: "L1".into(),
            reason: "expired",
            ended_at: Duration::ZERO,
            believed_until: None,
        }
    }

    #[test]
    fn the_truth_is_accepted() {
        let mut story = story(&[queued(), granted(), ended()]);
        assert_eq!(story.told(News::Queued), Ok(()));
        assert_eq!(story.told(News::Granted { token: 3 }), Ok(()));
        assert_eq!(story.told(News::Ended { reason: "expired" }), Ok(()));
    }

    #[test]
    fn a_grant_that_was_not_is_seen() {
        assert!(story(&[queued()]).told(News::Granted { token: 3 }).is_err());
        assert!(
            story(&[granted()])
                .told(News::Granted { token: 4 })
                .is_err()
        );
    }

    #[test]
    fn an_end_that_was_not_or_was_another_is_seen() {
        assert!(
            story(&[granted()])
                .told(News::Ended { reason: "expired" })
                .is_err()
        );
        assert!(
            story(&[ended()])
                .told(News::Ended {
                    reason: "timed_out"
                })
                .is_err()
        );
        assert!(story(&[]).told(News::Refused { code: "busy" }).is_err());
    }

    #[test]
    fn news_that_come_twice_or_after_the_last_are_seen() {
        let mut twice = story(&[queued(), granted()]);
        twice.told(News::Granted { token: 3 }).unwrap();
        assert!(twice.told(News::Granted { token: 3 }).is_err());
        assert!(twice.told(News::Queued).is_err());
        let mut after = story(&[granted(), ended()]);
        after.told(News::Ended { reason: "expired" }).unwrap();
        assert!(after.told(News::Granted { token: 3 }).is_err());
    }

    #[test]
    fn what_was_asked_in_a_session_that_an_operator_ended_never_was() {
        let wanted = || Wanted {
            namespace: "default".into(),
            claims: Vec::new(),
            ttl: None,
            wait: OpWait::Forever,
        };
        let client = Client { index: 0, host: 0 };
        let asked = |id: &str, client| Happening::Asked {
            id: id.into(),
            client,
            wanted: wanted(),
        };
        let applied = |id: &str| Happening::Applied {
            id: id.into(),
            session: "s".into(),
            wanted: wanted(),
        };
        let unwanted = Happening::BreakAsked {
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
        let closes = Happening::Closes {
            session: "s".into(),
        };
        let over = || News::Ended {
            reason: "session_ended",
        };
        let before = [asked("L0", client), applied("L0"), asked("L1", client)];
        let mut closed = story(&before);
        closed.see(&closes).unwrap();
        assert!(closed.told(over()).is_err(), "nobody wanted that");
        let mut ended = story(&before);
        ended.see(&unwanted).unwrap();
        ended.see(&closes).unwrap();
        assert_eq!(ended.told(over()), Ok(()));
        // It may be on its way, and must not be taken.
        assert_eq!(ended.see(&applied("L1")), Ok(()));
        assert!(ended.see(&queued()).is_err());
        // What comes to an end in a later session of the same client is told as it was.
        let mut later = story(&before);
        for happening in [&unwanted, &closes] {
            later.see(happening).unwrap();
        }
        let in_another = Happening::Applied {
            id: "L1".into(),
            session: "t".into(),
            wanted: wanted(),
        };
        later.see(&in_another).unwrap();
        let (id, code) = ("L1".into(), "busy");
        later.see(&Happening::Refused { id, code }).unwrap();
        assert!(later.told(over()).is_err());
        let mut late = story(&before);
        for happening in [&unwanted, &closes, &applied("L1")] {
            late.see(happening).unwrap();
        }
        let id = Text::from("L1");
        let code = "unknown_session";
        late.see(&Happening::Refused { id, code }).unwrap();
        assert_eq!(late.told(over()), Ok(()));
        // It was refused, and the answer was lost with a connection.
        let refused = || Happening::Refused {
            id: "L1".into(),
            code: "busy",
        };
        for is_wanted in [true, false] {
            let mut away = story(&before);
            for happening in [applied("L1"), refused()] {
                away.see(&happening).unwrap();
            }
            if is_wanted {
                away.see(&unwanted).unwrap();
            }
            away.see(&closes).unwrap();
            assert_eq!(away.told(over()).is_ok(), is_wanted);
            assert_eq!(away.see(&queued()).is_err(), is_wanted);
        }
        // It timed out while its client was away, which nobody could tell it.
        let timed_out = Happening::Ended {
            id: "L1".into(),
            reason: "timed_out",
            ended_at: Duration::ZERO,
            believed_until: None,
        };
        for (ends, is_right) in [(Some(&timed_out), true), (None, false)] {
            let mut away = story(&before);
            away.see(&queued()).unwrap();
            ends.into_iter().for_each(|ends| away.see(ends).unwrap());
            away.see(&unwanted).unwrap();
            assert!(away.told(over()).is_err(), "its session lives");
            away.see(&closes).unwrap();
            assert_eq!(away.told(over()).is_ok(), is_right);
        }
        let other = Client { index: 1, host: 0 };
        let mut of_another = story(&[asked("L0", other), applied("L0"), asked("L1", client)]);
        of_another.see(&unwanted).unwrap();
        of_another.see(&closes).unwrap();
        assert!(of_another.told(over()).is_err());
    }

    #[test]
    fn a_request_is_over_with_the_beginning_of_the_end_of_its_session() {
        let applied = || Happening::Applied {
            id: "L1".into(),
            session: "s".into(),
            wanted: Wanted {
                namespace: "default".into(),
                claims: Vec::new(),
                ttl: None,
                wait: OpWait::Forever,
            },
        };
        let begins = |session: &str| Happening::EndBegins {
            session: session.into(),
        };
        let over = || News::Ended {
            reason: "session_ended",
        };
        let lives = [applied(), granted()];
        assert!(story(&lives).told(over()).is_err());
        for (more, is_right) in [
            (vec![begins("s")], true),
            (vec![begins("t")], false),
            // It runs out before its turn comes, which nobody is there to be told of.
            (vec![begins("s"), ended()], true),
            (vec![ended(), begins("s")], false),
        ] {
            let mut story = story(&lives);
            more.iter().for_each(|one| story.see(one).unwrap());
            assert_eq!(story.told(over()).is_ok(), is_right, "{more:?}");
            assert!(story.told(over()).is_err(), "it is told twice");
        }
    }

    #[test]
    fn a_lock_that_is_there_is_not_gone() {
        let lost = |gone| News::Lost {
            why: "away".into(),
            gone,
            over: false,
        };
        assert!(story(&[granted()]).told(lost(true)).is_err());
        assert_eq!(story(&[granted()]).told(lost(false)), Ok(()));
        assert_eq!(
            story(&[granted(), Happening::ServerDown]).told(lost(true)),
            Ok(())
        );
    }
}
