//! A repeated request is answered with the state of the first; it never locks twice. An id that comes
//! again for something else is refused.

use super::{
    Oracle, Verdict,
    ledger::{Answer, Fact, Ledger, RequestId, State},
};
use crate::{
    line::Line,
    op::{Action, Op},
};

/// The oracle of request ids.
#[derive(Debug, Default)]
pub struct Retries {
    answered: bool,
}

impl Oracle for Retries {
    fn name(&self) -> &'static str {
        "retries"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 4: the same id again is answered with the current state of the first request, \
         until its end is forgotten; with other claims it is refused as request_mismatch"
    }

    fn fact(&mut self, ledger: &Ledger, op: &Op, fact: &Fact, at: u64) -> Verdict {
        match *fact {
            Fact::Refused { error: MISMATCH } => {
                self.answered = true;
                return Err(format!(
                    "a request is refused at {at} ms as {MISMATCH}, and its id is free"
                ));
            }
            Fact::Arrived { .. } | Fact::Refused { .. } => self.answered = true,
            Fact::Answered { request, answer } => {
                self.answered = true;
                let is_same = ledger.asks_the_same(request, op);
                if !is_answer(ledger, request, answer, is_same) {
                    let claims = if is_same { "the same" } else { "other claims" };
                    return Err(format!(
                        "{} is asked for again, for {claims}, at {at} ms and {}, but it {}",
                        ledger.describe(request),
                        said(answer),
                        state(ledger, request),
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn command(&mut self, ledger: &mut Ledger, op: &Op, _lines: &[Line]) -> Verdict {
        let answered = std::mem::take(&mut self.answered);
        match &op.action {
            Action::Acquire { id, .. } if !answered => Err(format!(
                "the request {id} at {} ms is not answered",
                ledger.now()
            )),
            _ => Ok(()),
        }
    }
}

/// The code of a refusal because of an id that comes again for other claims.
const MISMATCH: &str = "request_mismatch";

fn is_answer(ledger: &Ledger, id: RequestId, answer: Answer, is_same: bool) -> bool {
    match (answer, ledger.request(id).state) {
        (Answer::Refused { error: MISMATCH }, _) => !is_same,
        (Answer::Held { token }, State::Held { token: held, .. }) => is_same && token == held,
        (Answer::Queued, State::Queued { .. }) => is_same,
        (Answer::Ended { reason }, State::Ended { reason: end, .. }) => is_same && reason == end,
        // What is malformed is refused before anyone looks at the id.
        (Answer::Refused { error }, _) => {
            matches!(error, "invalid_request" | "invalid_path" | "limit_exceeded")
        }
        _ => false,
    }
}

fn said(answer: Answer) -> String {
    match answer {
        Answer::Held { token } => format!("answered as granted with token {token}"),
        Answer::Queued => "answered as queued".to_owned(),
        Answer::Ended { reason } => format!("answered as ended: {reason}"),
        Answer::Refused { error } => format!("refused as {error}"),
    }
}

fn state(ledger: &Ledger, id: RequestId) -> String {
    match ledger.request(id).state {
        State::Queued { .. } => "is queued".to_owned(),
        State::Held { token, .. } => format!("is held with token {token}"),
        State::Ended { reason, at } => format!("ended as {reason} at {at} ms, which is remembered"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, acquire};
    use super::*;

    const RELEASE: &str = r#"{"at":1,"op":"release","id":"L1","owner":"a"}"#;

    #[test]
    fn a_retry_that_locks_twice_is_seen() {
        Story::new(Retries::default())
            .ok(&acquire(0, "L1", "r x"), "L1 granted 1")
            .ok(&acquire(0, "L1", "r x"), "L1 granted 1")
            .bad(
                &acquire(1, "L1", "r x"),
                "L1 granted 2",
                "answered as granted with token 2, but it is held with token 1",
            );
    }

    #[test]
    fn an_answer_for_other_claims_is_seen() {
        let held = || Story::new(Retries::default()).ok(&acquire(0, "L1", "w x"), "L1 granted 1");
        let refused = "L1 refused request_mismatch";
        for (claim, is_same) in [
            ("w x", true),
            ("r x", false),
            ("w x/y", false),
            ("w y", false),
        ] {
            let again = acquire(1, "L1", claim);
            let (right, wrong) = match is_same {
                true => ("L1 granted 1", refused),
                false => (refused, "L1 granted 1"),
            };
            held().ok(&again, right);
            held().bad(&again, wrong, "is asked for again");
            let end = |story: Story<Retries>| story.ok(RELEASE, "L1 ended released");
            let (right, wrong) = match is_same {
                true => ("L1 ended released", refused),
                false => (refused, "L1 ended released"),
            };
            end(held()).ok(&again, right);
            end(held()).bad(&again, wrong, "is asked for again");
        }
        let covered =
            r#"{"at":1,"op":"acquire","id":"L1","owner":"a","claims":["r x/y","w x","w x"]}"#;
        held().ok(covered, "L1 granted 1");
        held().bad(
            &acquire(1, "L2", "w y"),
            "L2 refused request_mismatch",
            "its id is free",
        );
    }

    #[test]
    fn forgetting_too_early_or_too_late_is_seen() {
        let released = || {
            Story::new(Retries::default())
                .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
                .ok(RELEASE, "L1 ended released")
        };
        let last = Story::<Retries>::RETENTION;
        released().ok(&acquire(last, "L1", "w x"), "L1 ended released");
        released().bad(
            &acquire(last, "L1", "w x"),
            "L1 granted 2",
            "but it ended as released at 1 ms, which is remembered",
        );
        released().ok(&acquire(last + 1, "L1", "w x"), "L1 granted 2");
        released().bad(
            &acquire(last + 1, "L1", "w x"),
            "L1 ended released",
            "is not answered",
        );
    }

    #[test]
    fn a_wrong_state_or_no_answer_is_seen() {
        let queued = || {
            Story::new(Retries::default())
                .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
                .ok(&acquire(0, "L2", "w x"), "L2 queued")
        };
        queued().ok(&acquire(0, "L2", "w x"), "L2 queued");
        queued().bad(
            &acquire(0, "L2", "w x"),
            "L2 refused busy",
            "refused as busy",
        );
        queued().bad(
            &acquire(0, "L3", "w x"),
            "",
            "the request L3 at 0 ms is not answered",
        );
    }
}
