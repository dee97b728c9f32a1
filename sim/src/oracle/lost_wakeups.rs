//! A request waits only for what it conflicts with.

use super::{
    Oracle, Verdict,
    ledger::{Fact, Ledger, RequestId, describe_lock},
};
use crate::{
    line::{Line, What},
    op::{Action, Op},
};

/// The oracle of "never granted later" in SEMANTICS 2.
#[derive(Debug)]
pub struct LostWakeups;

impl Oracle for LostWakeups {
    fn name(&self) -> &'static str {
        "lost_wakeups"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 2, FIFO: a request is granted at the first instant at which no earlier live \
         request conflicts with it"
    }

    fn fact(&mut self, ledger: &Ledger, _op: &Op, fact: &Fact, at: u64) -> Verdict {
        // What an event sets free is granted at the event's time: when the next event has another
        // time, nobody may be left over. The present one may be the grant itself.
        let Fact::Ended { .. } = fact else {
            return Ok(());
        };
        match ledger.waiting_for_nothing().find(|&(_, since)| since < at) {
            None => Ok(()),
            Some((id, _)) => Err(waits_for_nothing(ledger, id)),
        }
    }

    fn command(&mut self, ledger: &mut Ledger, op: &Op, lines: &[Line]) -> Verdict {
        if let Some((id, _)) = ledger.waiting_for_nothing().next() {
            return Err(waits_for_nothing(ledger, id));
        }
        let Some(What::Refused {
            lock,
            error: "busy",
        }) = lines.last().map(|line| &line.what)
        else {
            return Ok(());
        };
        match &op.action {
            Action::Acquire { claims, .. } if ledger.first_conflict(op, claims).is_none() => {
                Err(format!(
                    "{} is refused as busy at {} ms, but conflicts with no live request",
                    describe_lock(lock),
                    ledger.now(),
                ))
            }
            _ => Ok(()),
        }
    }
}

fn waits_for_nothing(ledger: &Ledger, id: RequestId) -> String {
    format!(
        "{} still waits at {} ms (since {} ms), but no earlier live request conflicts with it",
        ledger.describe(id),
        ledger.now(),
        ledger.request(id).arrived,
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, acquire};
    use super::*;

    #[test]
    fn a_lost_wake_up_is_seen() {
        Story::new(LostWakeups)
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .ok(&acquire(0, "L2", "w x"), "L2 queued")
            .bad(
                r#"{"at":4,"op":"release","id":"L1","owner":"a"}"#,
                "L1 ended released",
                "a's L2 (w x) still waits at 4 ms (since 0 ms)",
            );
    }

    #[test]
    fn a_cancelled_waiter_that_keeps_blocking_is_seen() {
        Story::new(LostWakeups)
            .ok(&acquire(0, "L1", "r x"), "L1 granted 1")
            .ok(&acquire(0, "L2", "w x"), "L2 queued")
            .ok(&acquire(0, "L3", "r x"), "L3 queued")
            .bad(
                r#"{"at":4,"op":"cancel","id":"L2","owner":"a"}"#,
                "L2 ended cancelled",
                "a's L3 (r x) still waits",
            );
    }

    #[test]
    fn readers_that_do_not_share_are_seen() {
        Story::new(LostWakeups)
            .ok(&acquire(0, "L1", "r x"), "L1 granted 1")
            .bad(
                &acquire(0, "L2", "r x"),
                "L2 queued",
                "a's L2 (r x) still waits",
            );
    }

    #[test]
    fn a_needless_refusal_is_seen() {
        let busy = r#"{"at":0,"op":"acquire","id":"L2","owner":"b","claims":["r x"],"wait":"no"}"#;
        Story::new(LostWakeups)
            .ok(&acquire(0, "L1", "r x"), "L1 granted 1")
            .bad(busy, "b.L2 refused busy", "b's L2 is refused as busy");
        Story::new(LostWakeups)
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .ok(busy, "b.L2 refused busy");
    }

    #[test]
    fn a_wake_up_at_a_later_event_is_seen() {
        Story::new(LostWakeups)
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .ok(&acquire(0, "L2", "w x"), "L2 queued")
            .ok(&acquire(0, "L3", "w y"), "L3 granted 2")
            .bad(
                r#"{"at":9,"op":"tick"}"#,
                "2: L1 ended expired; 3: L3 ended expired; 3: L2 granted 3",
                "a's L2 (w x) still waits",
            );
    }

    #[test]
    fn only_a_request_of_an_ending_session_waits_for_nothing() {
        let ask = |id: &str, claim: &str| {
            format!(r#"{{"at":0,"op":"acquire","id":"{id}","session":"s","claims":["{claim}"]}}"#)
        };
        let open = r#"{"at":0,"op":"open_session","session":"s","abandon":10}"#;
        let close = r#"{"at":4,"op":"close_session","session":"s"}"#;
        let waiting = || {
            Story::new(LostWakeups)
                .ok(open, "session s open")
                .ok(&ask("L1", "w x"), "s:L1 granted 1")
                .ok(&ask("L2", "w y"), "s:L2 granted 2")
                .ok(&ask("L3", "w x"), "s:L3 queued")
                .ok(&acquire(0, "L4", "w y"), "L4 queued")
        };
        waiting()
            .ok(close, "s:L1 ended session_ended")
            .ok(r#"{"at":4,"op":"tick"}"#, "")
            .ok(
                r#"{"at":5,"op":"tick"}"#,
                "s:L2 ended session_ended; L4 granted 3",
            );
        waiting().bad(
            close,
            "s:L1 ended session_ended; s:L2 ended session_ended",
            "a's L4 (w y) still waits",
        );
        let release = r#"{"at":4,"op":"release","id":"L1","session":"s"}"#;
        waiting().bad(
            release,
            "s:L1 ended released",
            "session s's L3 (w x) still waits",
        );
    }

    #[test]
    fn who_waits_for_a_queued_request_waits_rightly() {
        Story::new(LostWakeups)
            .ok(&acquire(0, "L1", "r x"), "L1 granted 1")
            .ok(&acquire(0, "L2", "w x"), "L2 queued")
            .ok(&acquire(0, "L3", "r x/y"), "L3 queued")
            .ok(
                r#"{"at":4,"op":"release","id":"L1","owner":"a"}"#,
                "L1 ended released; L2 granted 2",
            )
            .ok(
                r#"{"at":5,"op":"release","id":"L2","owner":"a"}"#,
                "L2 ended released; L3 granted 3",
            );
    }
}
