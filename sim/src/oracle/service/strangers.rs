//! Who does not know a session's secret gets nowhere near it (SEMANTICS section 4: a session's
//! locks are its own).

use super::{Happening, ServiceOracle};
use crate::{oracle::Verdict, plan::Knock};
use std::time::Duration;

/// The oracle.
#[derive(Debug, Clone, Copy)]
pub struct Strangers;

impl ServiceOracle for Strangers {
    fn name(&self) -> &'static str {
        "strangers"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 4 a session is its owner's"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        let Happening::Knocked {
            what,
            answer: Some(answer),
        } = happening
        else {
            return Ok(());
        };
        // All that a stranger may get is a refusal: not a session, not a list of locks, not what was done.
        let refusals: &[&str] = match what {
            Knock::Page | Knock::Rebound => &["\"error\":\"forbidden\""],
            Knock::Operator | Knock::Guess => &["\"error\":\"unauthorized\""],
            // It may be told nothing at all.
            Knock::Node => &[],
            Knock::Resume | Knock::Acquire | Knock::Garbage | Knock::Silence => {
                &["\"type\":\"error\""]
            }
        };
        if refusals.iter().any(|refusal| answer.contains(refusal)) {
            return Ok(());
        }
        Err(format!(
            "somebody without a session tried: {what}; expected an error, the server said: {answer}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_stranger_who_gets_in_is_seen() {
        let see = |answer: Option<&str>| {
            let knocked = Happening::Knocked {
                what: Knock::Resume,
                answer: answer.map(str::to_owned),
            };
            Strangers.see(Duration::ZERO, &knocked)
        };
        assert_eq!(see(None), Ok(()));
        let refused = r#"{"seq":1,"type":"error","error":"unknown_session","message":"no"}"#;
        assert_eq!(see(Some(refused)), Ok(()));
        let resumed = r#"{"seq":1,"type":"resumed","idle_timeout_ms":500,"locks":[]}"#;
        assert!(see(Some(resumed)).is_err());
    }

    #[test]
    fn each_is_refused_as_it_has_to_be() {
        let see = |what: Knock, answer: &str| {
            let answer = Some(answer.to_owned());
            let knocked = Happening::Knocked { what, answer };
            Strangers.see(Duration::ZERO, &knocked).is_ok()
        };
        for (what, code) in [
            (Knock::Page, "forbidden"),
            (Knock::Rebound, "forbidden"),
            (Knock::Operator, "unauthorized"),
            (Knock::Guess, "unauthorized"),
        ] {
            assert!(see(
                what,
                &format!(r#"{{"error":"{code}","message":"no"}}"#)
            ));
            for other in ["busy", "unavailable", "unknown_session", "invalid_request"] {
                assert!(!see(
                    what,
                    &format!(r#"{{"error":"{other}","message":"no"}}"#)
                ));
            }
            assert!(!see(what, r#"{"token":7}"#));
        }
        assert!(!see(Knock::Node, "32 bytes that prove who it is"));
    }
}
