//! Whoever asks over HTTP is told the truth (SEMANTICS sections 2 and 3): a token is one that the
//! engine granted to this very request, an error says what the engine said, and what is answered as
//! done is done. And nobody's lock is released but by who has its token.

use super::{Call, Happening, HttpAnswer, ServiceOracle};
use crate::{op::Text, oracle::Verdict};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

/// The oracle.
#[derive(Debug, Default)]
pub struct HttpAnswers {
    requests: BTreeMap<Text, Known>,
}

/// A request as the engine has it, and what its caller did.
#[derive(Debug, Default)]
struct Known {
    /// Tokens that it was granted with; more than one when its end was forgotten meanwhile.
    tokens: BTreeSet<u64>,
    /// The error codes and the ends that it came to.
    said: BTreeSet<&'static str>,
    /// The token that it is held with now.
    held: Option<u64>,
    /// Tokens with which it was released.
    released: BTreeSet<u64>,
    /// Tokens with which its caller asked for its release, and was told that it is done.
    release_called: BTreeSet<u64>,
    release_told: BTreeSet<u64>,
    /// How often the engine has renewed it, and how often that was told.
    renewed: u32,
    renewals_told: u32,
    is_told: bool,
}

/// Codes that need no command of the engine.
const OF_THE_SERVER: [&str; 1] = ["unavailable"];

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens: Vec<String> = self.tokens.iter().map(ToString::to_string).collect();
        let said: Vec<String> = self.said.iter().map(|said| format!("`{said}`")).collect();
        match tokens.is_empty() {
            true => f.write_str("it was never granted")?,
            false => write!(f, "it was granted with token {}", tokens.join(", then "))?,
        }
        match said.is_empty() {
            true => Ok(()),
            false => write!(f, ", and came to {}", said.join(" or ")),
        }
    }
}

impl Known {
    fn lie(&self, answer: &HttpAnswer) -> Option<String> {
        let is_true = match answer {
            HttpAnswer::Granted { token, .. } => self.tokens.contains(token),
            HttpAnswer::Refused { code } => {
                self.said.contains(code.as_str()) || OF_THE_SERVER.contains(&code.as_str())
            }
        };
        (!is_true).then(|| format!("on the server {self}"))
    }

    /// Why the answer to a call must not be this one.
    fn lie_about(&self, call: Call, token: u64, error: Option<&str>) -> Option<String> {
        let is_held = self.held == Some(token);
        match (call, error) {
            (_, Some(code)) if OF_THE_SERVER.contains(&code) => None,
            (_, Some("not_held" | "stale_token")) => {
                is_held.then(|| "it is held with this token".to_owned())
            }
            (_, Some(code)) => Some(format!("`{code}` is no answer to a {call}")),
            (Call::Release, None) if !self.released.contains(&token) => {
                Some("it was not released with this token".to_owned())
            }
            (Call::Release, None) if self.release_told.contains(&token) => {
                Some("that it was released was told before".to_owned())
            }
            (Call::Renew { .. }, None) if self.renewals_told >= self.renewed => {
                Some(format!("it was renewed {} times", self.renewed))
            }
            _ => None,
        }
    }
}

impl HttpAnswers {
    fn known(&mut self, id: &Text) -> Option<&mut Known> {
        self.requests.get_mut(id)
    }
}

impl ServiceOracle for HttpAnswers {
    fn name(&self) -> &'static str {
        "http_answers"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 2 and 3: what is answered is what happened, and only its token releases a lock"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::HttpAsked { id, .. } => {
                self.requests.entry(id.clone()).or_default();
            }
            Happening::Granted { id, token } => {
                if let Some(known) = self.known(id) {
                    known.tokens.insert(*token);
                    known.held = Some(*token);
                }
            }
            Happening::Refused { id, code } => {
                if let Some(known) = self.known(id) {
                    known.said.insert(code);
                }
            }
            Happening::Renewed { id, .. } => {
                if let Some(known) = self.known(id) {
                    known.renewed += 1;
                }
            }
            Happening::Ended { id, reason, .. } => {
                let Some(known) = self.known(id) else {
                    return Ok(());
                };
                known.said.insert(reason);
                let held = known.held.take();
                if let (Some(token), "released") = (held, *reason) {
                    known.released.insert(token);
                    // Who was never told of it cannot release it, and the server may.
                    if known.is_told && !known.release_called.contains(&token) {
                        return Err(format!(
                            "{id} is released, and its caller, who was told of its token {token}, \
                             did not ask for that"
                        ));
                    }
                }
            }
            Happening::HttpAnswered { id, answer } => {
                let known = self.requests.entry(id.clone()).or_default();
                if let Some(lie) = known.lie(answer) {
                    return Err(format!("the caller of {id} is told `{answer}`, but {lie}"));
                }
                known.is_told |= matches!(answer, HttpAnswer::Granted { .. });
            }
            Happening::HttpCalled {
                id,
                call: Call::Release,
                token,
            } => {
                let known = self.requests.entry(id.clone()).or_default();
                known.release_called.insert(*token);
            }
            Happening::HttpDone {
                id,
                call,
                token,
                error,
            } => {
                let known = self.requests.entry(id.clone()).or_default();
                if let Some(lie) = known.lie_about(*call, *token, error.as_deref()) {
                    let answer = error.as_deref().unwrap_or("done");
                    return Err(format!(
                        "the caller of {id} is told that its {call} with token {token} is \
                         `{answer}`, but {lie}"
                    ));
                }
                match (call, error) {
                    (Call::Release, None) => drop(known.release_told.insert(*token)),
                    (Call::Renew { .. }, None) => known.renewals_told += 1,
                    _ => {}
                }
            }
            // It forgets what is held, and nobody says so.
            Happening::ServerDown => self.requests.values_mut().for_each(|known| {
                known.held = None;
            }),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{op::OpWait, oracle::service::Wanted};

    struct Story(HttpAnswers);

    impl Story {
        fn see(&mut self, happening: &Happening) -> Verdict {
            self.0.see(Duration::ZERO, happening)
        }

        fn granted(mut self, token: u64) -> Story {
            let id = Text::from("h1");
            self.see(&Happening::Granted { id, token }).unwrap();
            self
        }

        fn told(&mut self, token: u64) -> Verdict {
            self.see(&Happening::HttpAnswered {
                id: "h1".into(),
                answer: HttpAnswer::Granted {
                    token,
                    believed_until: None,
                },
            })
        }

        fn refused(&mut self, code: &str) -> Verdict {
            self.see(&Happening::HttpAnswered {
                id: "h1".into(),
                answer: HttpAnswer::Refused { code: code.into() },
            })
        }

        fn ended(&mut self, reason: &'static str) -> Verdict {
            self.see(&Happening::Ended {
                id: "h1".into(),
                reason,
                ended_at: Duration::ZERO,
                believed_until: None,
            })
        }

        fn calls(&mut self, call: Call) {
            let called = Happening::HttpCalled {
                id: "h1".into(),
                call,
                token: 3,
            };
            self.see(&called).unwrap();
        }

        fn done(&mut self, call: Call, error: Option<&str>) -> Verdict {
            self.see(&Happening::HttpDone {
                id: "h1".into(),
                call,
                token: 3,
                error: error.map(Text::from),
            })
        }
    }

    fn asked() -> Story {
        let mut story = Story(HttpAnswers::default());
        let asked = Happening::HttpAsked {
            id: "h1".into(),
            host: 0,
            node: 0,
            since: Duration::ZERO,
            holder: "alice".into(),
            wanted: Wanted {
                namespace: "default".into(),
                claims: Vec::new(),
                ttl: Some(100),
                wait: OpWait::Forever,
            },
        };
        story.see(&asked).unwrap();
        story
    }

    #[test]
    fn a_token_that_was_not_granted_to_this_request_is_seen() {
        assert_eq!(asked().granted(3).told(3), Ok(()));
        assert!(asked().granted(3).told(4).is_err());
        assert!(asked().told(3).is_err());
    }

    #[test]
    fn a_wait_that_timed_out_and_is_told_as_another_end_is_seen() {
        let mut story = asked();
        story.ended("timed_out").unwrap();
        assert!(story.refused("busy").is_err());
        assert!(story.told(3).is_err());
        assert_eq!(story.refused("timed_out"), Ok(()));
    }

    #[test]
    fn a_release_that_is_answered_and_not_done_is_seen() {
        let mut story = asked().granted(3);
        story.told(3).unwrap();
        story.calls(Call::Release);
        assert!(story.done(Call::Release, None).is_err());
        story.ended("released").unwrap();
        assert_eq!(story.done(Call::Release, None), Ok(()));
        let twice = story.done(Call::Release, None);
        assert!(twice.unwrap_err().contains("told before"));
        assert_eq!(story.done(Call::Release, Some("not_held")), Ok(()));
    }

    #[test]
    fn a_release_of_what_nobody_asked_to_release_is_seen() {
        let mut story = asked().granted(3);
        story.told(3).unwrap();
        assert!(story.ended("released").is_err());
        let mut unheard = asked().granted(3);
        assert_eq!(unheard.ended("released"), Ok(()), "it was given up");
    }

    #[test]
    fn a_lock_that_is_held_and_denied_is_seen() {
        let mut story = asked().granted(3);
        story.told(3).unwrap();
        assert!(story.done(Call::Release, Some("not_held")).is_err());
        assert!(story.done(Call::Release, Some("stale_token")).is_err());
        assert!(story.done(Call::Release, Some("invalid_request")).is_err());
        story.see(&Happening::ServerDown).unwrap();
        assert_eq!(story.done(Call::Release, Some("not_held")), Ok(()));
    }

    #[test]
    fn a_renewal_that_is_answered_and_not_done_is_seen() {
        let renew = Call::Renew { ttl: 10 };
        let mut story = asked().granted(3);
        assert!(story.done(renew, None).is_err());
        let renewed = Happening::Renewed {
            id: "h1".into(),
            ttl: 10,
        };
        story.see(&renewed).unwrap();
        assert_eq!(story.done(renew, None), Ok(()));
        assert!(story.done(renew, None).is_err());
    }
}
