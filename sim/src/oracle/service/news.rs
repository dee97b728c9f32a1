//! Clients are told the truth, in order, and once (SEMANTICS sections 2 and 4).

use super::{Happening, News, ServiceOracle};
use crate::{op::Text, oracle::Verdict};
use std::{collections::BTreeMap, time::Duration};

/// The oracle.
#[derive(Debug, Default)]
pub struct TrueNews {
    requests: BTreeMap<Text, Known>,
    /// Whether a server has stopped that waited for locks: what it sends away does not reach the engine.
    has_drained: bool,
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
}

impl Known {
    /// Whether the engine has not heard of it.
    fn is_unheard(&self) -> bool {
        !self.queued && self.token.is_none() && self.refused.is_none()
    }

    /// Whether the engine is done with it.
    fn is_gone(&self) -> bool {
        self.ended.is_some() || self.forgotten
    }

    /// Why a client must not be told `news` now.
    fn lie(&self, news: &News, has_drained: bool) -> Option<String> {
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
            News::Refused { code: "busy" } if has_drained && !self.queued => self.token.is_none(),
            News::Refused { code } => self.refused == Some(*code),
            News::Ended {
                reason: "cancelled",
            } if self.is_unheard() => true,
            News::Ended { reason } => self.ended == Some(*reason),
            // A client may give a belief up for reasons of its own; but not say of the server's
            // side what is not so.
            News::Lost { gone, .. } => {
                !gone || self.is_gone() || !(self.queued || self.token.is_some())
            }
        };
        (!true_so_far).then(|| format!("on the server it is {self:?}"))
    }
}

impl TrueNews {
    fn known(&mut self, id: &Text) -> &mut Known {
        self.requests.entry(id.clone()).or_default()
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
            Happening::Queued { id } => self.known(id).queued = true,
            Happening::Granted { id, token } => self.known(id).token = Some(*token),
            Happening::Refused { id, code } => self.known(id).refused = Some(code),
            Happening::Ended { id, reason, .. } => self.known(id).ended = Some(reason),
            Happening::Drains { .. } => self.has_drained = true,
            Happening::Told { id, news } => {
                let has_drained = self.has_drained;
                let known = self.known(id);
                if let Some(lie) = known.lie(news, has_drained) {
                    return Err(format!("the client of {id} is told `{news}`, but {lie}"));
                }
                known.given_up_unheard = matches!(news, News::Ended { .. }) && known.is_unheard();
                known.told_queued |= *news == News::Queued;
                known.told_granted |= matches!(news, News::Granted { .. });
                known.told_last |= news.is_last();
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_lock_that_is_there_is_not_gone() {
        let lost = |gone| News::Lost {
            why: "away".into(),
            gone,
        };
        assert!(story(&[granted()]).told(lost(true)).is_err());
        assert_eq!(story(&[granted()]).told(lost(false)), Ok(()));
        assert_eq!(
            story(&[granted(), Happening::ServerDown]).told(lost(true)),
            Ok(())
        );
    }
}
