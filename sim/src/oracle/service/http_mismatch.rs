//! Who asks over HTTP with the id of another request, for something else, is refused, and told what the
//! first request asked for or how it ended, and nothing of how it stands (SEMANTICS section 4).

use super::{Happening, MistakenAnswer, ServiceOracle};
use crate::{
    op::{OpClaim, Text},
    oracle::{Verdict, same_claims},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What a refusal is answered with.
const STATUS: u16 = 422;
const CODE: &str = "request_mismatch";

/// Fields of every error.
const OF_EVERY_ERROR: [&str; 1] = ["message"];

/// The oracle.
#[derive(Debug, Default)]
pub struct HttpMismatch {
    /// What each request asked for, when it was first asked for.
    asked: BTreeMap<Text, Vec<OpClaim>>,
    /// How each ended.
    ended: BTreeMap<Text, BTreeSet<&'static str>>,
    /// What the engine refused, by the id that it came with.
    refused: BTreeMap<Text, Vec<Vec<OpClaim>>>,
    /// Whether what the server knew of ids is lost, so that any of them may be free.
    is_forgetful: bool,
}

impl HttpMismatch {
    fn judge(&self, id: &Text, claims: &[OpClaim], answer: &MistakenAnswer) -> Verdict {
        let code = answer.error.as_deref();
        if code == Some("unavailable") || self.is_forgetful {
            return Ok(());
        }
        if (answer.status, code) != (STATUS, Some(CODE)) {
            return Err(format!("expected {STATUS} {CODE}"));
        }
        let refused = self.refused.get(id);
        if !refused.is_some_and(|refused| refused.iter().any(|other| other == claims)) {
            return Err("the engine has not refused that".to_owned());
        }
        let first = self.asked.get(id).map_or(&[][..], Vec::as_slice);
        match &answer.ended {
            None if !same_claims(first, &answer.claims) => {
                return Err("that is not what the first request asked for".to_owned());
            }
            Some(_) if !answer.claims.is_empty() => {
                return Err("what an ended request asked for is not remembered".to_owned());
            }
            Some(reason) => {
                let ends = self.ended.get(id);
                if !ends.is_some_and(|ends| ends.contains(&**reason)) {
                    return Err(format!("the first request has not ended as {reason}"));
                }
            }
            None => {}
        }
        let known = |name: &&String| OF_EVERY_ERROR.contains(&name.as_str());
        match answer.others.iter().find(|name| !known(name)) {
            Some(other) => Err(format!(
                "it says `{other}`, which is not about this request"
            )),
            None => Ok(()),
        }
    }
}

impl ServiceOracle for HttpMismatch {
    fn name(&self) -> &'static str {
        "http_mismatch"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 4: the same id with other claims is refused as request_mismatch, names the first \
         request's claims, and changes nothing"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::HttpAsked { id, wanted, .. } => {
                let claims = || wanted.claims.clone();
                self.asked.entry(id.clone()).or_insert_with(claims);
            }
            Happening::Ended { id, reason, .. } if self.asked.contains_key(id) => {
                self.ended.entry(id.clone()).or_default().insert(reason);
            }
            Happening::Mismatched { id, claims } => {
                let refused = self.refused.entry(id.clone()).or_default();
                refused.push(claims.clone());
            }
            Happening::HttpMistakenAnswered { id, claims, answer } => {
                return self.judge(id, claims, answer).map_err(|why| {
                    format!(
                        "who asks with the id of {id} for something else is told {answer}: {why}"
                    )
                });
            }
            Happening::ServerDown => self.is_forgetful = true,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{op::OpWait, oracle::service::Wanted};

    fn claims(text: &str) -> Vec<OpClaim> {
        vec![OpClaim {
            write: true,
            path: text.into(),
        }]
    }

    /// `h1` asked for `a`, and the engine has refused `b` with its id.
    fn asked() -> HttpMismatch {
        let mut oracle = HttpMismatch::default();
        let asked = Happening::HttpAsked {
            id: "h1".into(),
            host: 0,
            node: 0,
            since: Duration::ZERO,
            holder: "alice".into(),
            wanted: Wanted {
                namespace: "default".into(),
                claims: claims("a"),
                ttl: Some(100),
                wait: OpWait::Forever,
            },
        };
        let refused = Happening::Mismatched {
            id: "h1".into(),
            claims: claims("b"),
        };
        for happening in [asked, refused] {
            oracle.see(Duration::ZERO, &happening).unwrap();
        }
        oracle
    }

    fn right() -> MistakenAnswer {
        MistakenAnswer {
            status: 422,
            error: Some("request_mismatch".into()),
            claims: claims("a"),
            ended: None,
            others: vec!["message".to_owned()],
        }
    }

    fn told(oracle: &mut HttpMismatch, claimed: &str, answer: MistakenAnswer) -> bool {
        let answered = Happening::HttpMistakenAnswered {
            id: "h1".into(),
            claims: claims(claimed),
            answer,
        };
        oracle.see(Duration::ZERO, &answered).is_ok()
    }

    #[test]
    fn an_answer_that_is_no_refusal_or_says_what_is_not_so_is_seen() {
        assert!(told(&mut asked(), "b", right()));
        assert!(
            !told(&mut asked(), "c", right()),
            "the engine did not refuse that"
        );
        let wrong: [fn(&mut MistakenAnswer); 6] = [
            |answer| answer.status = 200,
            |answer| answer.status = 409,
            |answer| answer.error = Some("busy".into()),
            |answer| answer.claims = claims("b"),
            |answer| answer.others.push("token".to_owned()),
            |answer| answer.ended = Some("released".into()),
        ];
        for (number, wrong) in wrong.into_iter().enumerate() {
            let mut answer = right();
            wrong(&mut answer);
            assert!(!told(&mut asked(), "b", answer), "wrong answer {number}");
        }
    }

    #[test]
    fn what_has_ended_is_told_by_its_end() {
        let over = || MistakenAnswer {
            claims: Vec::new(),
            ended: Some("released".into()),
            ..right()
        };
        assert!(!told(&mut asked(), "b", over()), "it has not ended");
        let mut oracle = asked();
        let ended = Happening::Ended {
            id: "h1".into(),
            reason: "released",
            ended_at: Duration::ZERO,
            believed_until: None,
        };
        oracle.see(Duration::ZERO, &ended).unwrap();
        assert!(told(&mut oracle, "b", over()));
        let answer = MistakenAnswer {
            claims: claims("a"),
            ..over()
        };
        assert!(!told(&mut oracle, "b", answer), "that is not remembered");
    }

    #[test]
    fn a_server_that_cannot_serve_or_has_forgotten_may_say_something_else() {
        let unavailable = MistakenAnswer {
            status: 503,
            error: Some("unavailable".into()),
            claims: Vec::new(),
            ..right()
        };
        assert!(told(&mut asked(), "b", unavailable));
        let mut oracle = asked();
        oracle.see(Duration::ZERO, &Happening::ServerDown).unwrap();
        let granted = MistakenAnswer {
            status: 200,
            error: None,
            ..right()
        };
        assert!(told(&mut oracle, "b", granted));
    }
}
