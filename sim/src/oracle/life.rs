//! A request is queued, then held, then over, with exactly one end; and time does not go back.

use super::{
    Oracle, Verdict,
    ledger::{Fact, Ledger, RequestId, State},
};
use crate::{
    line::Line,
    op::{Action, Op, OpWait},
};

/// The oracle of the life of a lock.
#[derive(Debug, Default)]
pub struct Life {
    latest: u64,
}

impl Oracle for Life {
    fn name(&self) -> &'static str {
        "life"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 2, life of a lock: queued, held, ended, with exactly one end that fits; time \
         never goes back"
    }

    fn fact(&mut self, ledger: &Ledger, op: &Op, fact: &Fact, at: u64) -> Verdict {
        if at < self.latest || at > ledger.now() {
            return Err(format!(
                "something is said to have happened at {at} ms, but it is between {} and {} ms",
                self.latest,
                ledger.now(),
            ));
        }
        self.latest = at;
        match *fact {
            Fact::Stray { said, request } => Err(stray(ledger, said, request, at)),
            Fact::Granted { request, .. } if ledger.request(request).is_held() => Err(format!(
                "{} is granted at {at} ms, and is held already",
                ledger.describe(request)
            )),
            Fact::Renewed { request, .. } if !ledger.request(request).is_held() => Err(format!(
                "{} is renewed at {at} ms, but is not held",
                ledger.describe(request)
            )),
            Fact::Ended { request, reason } => end_fits(ledger, op, request, reason, at),
            Fact::Arrived {
                request,
                waits: true,
            } if may_not_wait(op) => Err(format!(
                "{} is queued at {at} ms, but it said that it does not wait",
                ledger.describe(request)
            )),
            _ => Ok(()),
        }
    }

    fn command(&mut self, ledger: &mut Ledger, _op: &Op, _lines: &[Line]) -> Verdict {
        self.latest = ledger.now();
        Ok(())
    }
}

fn may_not_wait(op: &Op) -> bool {
    matches!(
        op.action,
        Action::Acquire {
            wait: OpWait::No | OpWait::For(0),
            ..
        }
    )
}

fn stray(ledger: &Ledger, said: &str, request: Option<RequestId>, at: u64) -> String {
    match request {
        None => format!("at {at} ms a request is said to be {said} that nobody made"),
        Some(id) => match ledger.request(id).state {
            State::Ended { reason, at: end } => format!(
                "{} is said to be {said} at {at} ms, but it ended as {reason} at {end} ms",
                ledger.describe(id)
            ),
            State::Queued { .. } | State::Held { .. } => format!(
                "{} is said to be {said} at {at} ms, by a command that is not about it",
                ledger.describe(id)
            ),
        },
    }
}

/// Whether a request in this state can have this end, and the command can have caused it.
fn end_fits(ledger: &Ledger, op: &Op, id: RequestId, reason: &'static str, at: u64) -> Verdict {
    let request = ledger.request(id);
    let fits = match reason {
        "released" => request.is_held() && matches!(op.action, Action::Release { .. }),
        "cancelled" => request.is_queued() && matches!(op.action, Action::Cancel { .. }),
        "broken" => matches!(op.action, Action::Break { .. }),
        "expired" => request.is_held(),
        "timed_out" => request.is_queued(),
        "session_ended" => request.session.is_some(),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let state = if request.is_held() { "held" } else { "queued" };
    Err(format!(
        "{}, which is {state}, ends as {reason} at {at} ms, which neither its state nor the \
         command explains",
        ledger.describe(id)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, acquire};
    use super::*;

    #[test]
    fn a_second_end_is_seen() {
        Story::new(Life::default())
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .ok(
                r#"{"at":1,"op":"release","id":"L1","owner":"a"}"#,
                "L1 ended released",
            )
            .bad(
                r#"{"at":2,"op":"release","id":"L1","owner":"a"}"#,
                "L1 ended released",
                "a's L1 (w x) is said to be ended at 2 ms, but it ended as released at 1 ms",
            );
    }

    #[test]
    fn ends_that_do_not_fit_are_seen() {
        for (line, message) in [
            ("L1 ended timed_out", "which is held, ends as timed_out"),
            ("L1 ended cancelled", "which is held, ends as cancelled"),
            ("L1 ended session_ended", "ends as session_ended"),
            ("L2 ended expired", "which is queued, ends as expired"),
            ("L1 ended broken", "ends as broken"),
            ("L9 ended expired", "that nobody made"),
        ] {
            Story::new(Life::default())
                .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
                .ok(&acquire(0, "L2", "w x"), "L2 queued")
                .bad(r#"{"at":5,"op":"tick"}"#, line, message);
        }
    }

    #[test]
    fn a_second_grant_and_a_grant_after_the_end_are_seen() {
        Story::new(Life::default())
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .bad(r#"{"at":5,"op":"tick"}"#, "L1 granted 2", "is held already");
        Story::new(Life::default())
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .ok(&acquire(0, "L2", "w x"), "L2 queued")
            .ok(
                r#"{"at":5,"op":"cancel","id":"L2","owner":"a"}"#,
                "L2 ended cancelled",
            )
            .bad(
                r#"{"at":5,"op":"release","id":"L1","owner":"a"}"#,
                "L1 ended released; L2 granted 2",
                "a's L2 (w x) is said to be granted at 5 ms, but it ended as cancelled",
            );
    }

    #[test]
    fn time_that_goes_back_or_ahead_is_seen() {
        for at in ["1", "9"] {
            Story::new(Life::default())
                .ok(r#"{"at":2,"op":"tick"}"#, "")
                .ok(&acquire(2, "L1", "w x"), "L1 granted 1")
                .bad(
                    r#"{"at":5,"op":"tick"}"#,
                    &format!("{at}: L1 ended expired"),
                    "but it is between 2 and 5 ms",
                );
        }
    }

    #[test]
    fn queueing_who_will_not_wait_is_seen() {
        Story::new(Life::default())
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .bad(
                r#"{"at":0,"op":"acquire","id":"L2","owner":"a","claims":["w x"],"wait":"no"}"#,
                "L2 queued",
                "it said that it does not wait",
            );
    }
}
