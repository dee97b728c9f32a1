//! A repeated request is answered with the state of the first; it never locks twice. An id that comes
//! again for something else is refused. What a session is done with is forgotten, and nothing else.

use super::{
    Oracle, Verdict,
    ledger::{Answer, Fact, Ledger, RequestId, State},
};
use crate::{
    line::{Line, What},
    op::{Action, Op, Text},
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
         until its end is forgotten, or its session is done with it; with other claims it is refused \
         as request_mismatch"
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
            Fact::Done { session } => {
                if let Some(live) = ledger.live_among_done(op, session) {
                    return Err(format!(
                        "the session of {} is done with it at {at} ms, but it {}",
                        ledger.describe(live),
                        state(ledger, live),
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn command(&mut self, ledger: &mut Ledger, op: &Op, lines: &[Line]) -> Verdict {
        let answered = std::mem::take(&mut self.answered);
        match &op.action {
            Action::Acquire { id, .. } if !answered => Err(format!(
                "the request {id} at {} ms is not answered",
                ledger.now()
            )),
            Action::Done { session, ids } => match lines.last().map(|line| &line.what) {
                Some(What::Error {
                    op: "done", error, ..
                }) => done_is_refused(ledger, op, (session, ids), error),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// Whether a session that is done with its requests is rightly told that it is not.
fn done_is_refused(
    ledger: &mut Ledger,
    op: &Op,
    (name, ids): (&Text, &[Text]),
    error: &str,
) -> Verdict {
    let session = ledger.session_named(op, name);
    let mut names = op.namespace.iter().chain([name]).chain(ids);
    let is_malformed = !names.all(is_name);
    let is_open = ledger.session(session).open;
    let is_right = match error {
        "unknown_session" => !is_malformed && !is_open,
        "invalid_request" => {
            is_malformed || (is_open && ledger.live_among_done(op, session).is_some())
        }
        _ => false,
    };
    if is_right {
        return Ok(());
    }
    let now = if is_open { "open" } else { "not open" };
    Err(format!(
        "session {name} is done with {} requests at {} ms, which is refused as {error}, but it is {now}, \
         and {}",
        ids.len(),
        ledger.now(),
        match ledger.live_among_done(op, session) {
            Some(live) => format!("{} is live", ledger.describe(live)),
            None => "none of them is live".to_owned(),
        }
    ))
}

/// A name has 1 to 255 bytes and no control characters (SEMANTICS section 1).
fn is_name(text: &Text) -> bool {
    (1..=255).contains(&text.len()) && !text.chars().any(char::is_control)
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

    /// A request that was released at 1 ms, and a command at 50 ms.
    fn released() -> Story<Retries> {
        Story::new(Retries::default())
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .ok(RELEASE, "L1 ended released")
            .ok(r#"{"at":50,"op":"tick"}"#, "")
    }

    #[test]
    fn another_retention_counts_from_then_on() {
        let tick = |at: u64| format!(r#"{{"at":{at},"op":"tick"}}"#);
        let longer = |story: Story<Retries>| story.remembers_for(1_000);
        let shorter = |story: Story<Retries>| story.remembers_for(10);
        let again = |at: u64| acquire(at, "L1", "w x");
        let (known, anew) = ("L1 ended released", "L1 granted 2");
        for (story, at) in [
            (longer(released()), 1_000),
            (
                longer(released()).ok(&tick(500), "").remembers_for(600),
                600,
            ),
        ] {
            story.ok(&again(at), known);
        }
        longer(released()).bad(&again(1_000), anew, "but it ended");
        for (story, at) in [
            (longer(released()), 1_001),
            // What was forgotten comes not back.
            (longer(released().ok(&tick(101), "")), 102),
            (shorter(released()), 50),
            (longer(shorter(released()).ok(&tick(50), "")), 51),
        ] {
            story.ok(&again(at), anew);
        }
    }

    #[test]
    fn what_an_open_session_keeps_does_not_become_what_the_retention_keeps() {
        let open =
            |at: u64| format!(r#"{{"at":{at},"op":"open_session","session":"s","abandon":1000}}"#);
        let ask = |at: u64| {
            format!(r#"{{"at":{at},"op":"acquire","id":"L1","session":"s","claims":["w x"]}}"#)
        };
        let close = r#"{"at":50,"op":"close_session","session":"s"}"#;
        let release = r#"{"at":1,"op":"release","id":"L1","session":"s"}"#;
        let ended = || {
            Story::new(Retries::default())
                .ok(&open(0), "session s open")
                .ok(&ask(0), "s:L1 granted 1")
                .ok(release, "s:L1 ended released")
        };
        let kept = ended().remembers_for(10);
        kept.ok(&ask(49), "s:L1 ended released");
        let closed = ended()
            .remembers_for(10)
            .ok(r#"{"at":49,"op":"tick"}"#, "")
            .remembers_for(1_000)
            .ok(close, "session s ended")
            .ok(&open(51), "session s open");
        closed.ok(&ask(52), "s:L1 granted 2");
        // The session is opened anew before what was due is forgotten, and not before it was due.
        let reopened = ended()
            .ok(close, "session s ended")
            .ok(&open(50), "session s open")
            .remembers_for(10);
        reopened.ok(&ask(51), "s:L1 ended released");
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

    const OPEN: &str = r#"{"at":0,"op":"open_session","session":"s","abandon":10}"#;

    /// The session `s` asks, in the default namespace.
    fn ask(at: u64, id: &str) -> String {
        format!(r#"{{"at":{at},"op":"acquire","id":"{id}","session":"s","claims":["r x"]}}"#)
    }

    /// The session `s` releases.
    fn release(id: &str) -> String {
        format!(r#"{{"at":1,"op":"release","id":"{id}","session":"s"}}"#)
    }

    /// The session `s` is done with these.
    fn done(ids: &str) -> String {
        format!(r#"{{"at":2,"op":"done","session":"s","ids":{ids}}}"#)
    }

    /// The session `s` has ended its L1 and L2, and its L3 is held.
    fn two_of_three_ended() -> Story<Retries> {
        Story::new(Retries::default())
            .ok(OPEN, "session s open")
            .ok(&ask(0, "L1"), "s:L1 granted 1")
            .ok(&ask(0, "L2"), "s:L2 granted 2")
            .ok(&ask(0, "L3"), "s:L3 granted 3")
            .ok(&release("L1"), "s:L1 ended released")
            .ok(&release("L2"), "s:L2 ended released")
    }

    #[test]
    fn remembering_what_a_session_is_done_with_is_seen() {
        let done_with_one = || two_of_three_ended().ok(&done(r#"["L1","none","L1"]"#), "");
        done_with_one().ok(&ask(3, "L1"), "s:L1 granted 4");
        done_with_one().bad(&ask(3, "L1"), "s:L1 ended released", "is not answered");
        done_with_one().bad(
            &ask(3, "L1"),
            "s:L1 refused request_mismatch",
            "its id is free",
        );
        // Also long after the time for which it would have been kept in mind.
        let late = Story::<Retries>::RETENTION * 3;
        done_with_one().bad(&ask(late, "L1"), "s:L1 ended released", "is not answered");
        // The id is that of another request now, which is remembered.
        done_with_one()
            .ok(&ask(3, "L1"), "s:L1 granted 4")
            .ok(
                r#"{"at":4,"op":"release","id":"L1","session":"s"}"#,
                "s:L1 ended released",
            )
            .bad(&ask(5, "L1"), "s:L1 granted 5", "which is remembered");
    }

    #[test]
    fn forgetting_what_a_session_is_not_done_with_is_seen() {
        let remembered = "which is remembered";
        let done_with_one = |story: Story<Retries>| story.ok(&done(r#"["L1"]"#), "");
        done_with_one(two_of_three_ended()).ok(&ask(3, "L2"), "s:L2 ended released");
        done_with_one(two_of_three_ended()).bad(&ask(3, "L2"), "s:L2 granted 4", remembered);
        done_with_one(two_of_three_ended()).bad(&ask(3, "L3"), "s:L3 granted 4", "is held");
        // The same id of another owner, session and namespace.
        let named = r#"{"at":3,"op":"acquire","id":"L1","owner":"s","claims":["r x"]}"#;
        let session = r#"{"at":3,"op":"acquire","id":"L1","session":"t","claims":["r x"]}"#;
        let namespace =
            r#"{"at":3,"op":"acquire","namespace":"n","id":"L1","session":"s","claims":["r x"]}"#;
        for (ask, lock, owner) in [
            (named, "s.L1", r#""owner":"s""#),
            (session, "t:L1", r#""session":"t""#),
            (namespace, "s:L1@n", r#""namespace":"n","session":"s""#),
        ] {
            let granted = |token: u32| format!("{lock} granted {token}");
            let ended = format!("{lock} ended released");
            let release = format!(r#"{{"at":3,"op":"release","id":"L1",{owner}}}"#);
            let both_ended = || {
                two_of_three_ended()
                    .ok(ask, &granted(4))
                    .ok(&release, &ended)
                    .ok(&done(r#"["L1"]"#), "")
            };
            both_ended().ok(ask, &ended);
            both_ended().bad(ask, &granted(5), remembered);
        }
    }

    #[test]
    fn being_done_with_what_is_live_is_seen() {
        let both = done(r#"["L1","L3"]"#);
        let refused = "done s invalid_request";
        two_of_three_ended().bad(&both, "", "is done with it at 2 ms, but it is held");
        two_of_three_ended()
            .ok(&both, refused)
            .ok(&ask(3, "L1"), "s:L1 ended released");
        two_of_three_ended().ok(&both, refused).bad(
            &ask(3, "L1"),
            "s:L1 granted 4",
            "which is remembered",
        );
    }

    #[test]
    fn a_session_that_is_wrongly_refused_is_seen() {
        let ended = done(r#"["L1"]"#);
        let invalid = "done s invalid_request";
        let unknown = "done s unknown_session";
        two_of_three_ended().bad(&ended, invalid, "none of them is live");
        two_of_three_ended().bad(&ended, unknown, "but it is open");
        two_of_three_ended().bad(&ended, "done s busy", "refused as busy");
        two_of_three_ended().ok(&done(r#"["L1",""]"#), invalid);
        let over = || Story::new(Retries::default());
        over().ok(&ended, unknown);
        over().ok(&done(r#"["a\nb"]"#), invalid);
        over().bad(&ended, invalid, "but it is not open");
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
