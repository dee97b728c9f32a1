//! Leases run out and waits end when they are due: not earlier, not later, and in order.

use super::{
    Oracle, Verdict,
    deadlines::Deadlines,
    ledger::{Fact, Ledger, RequestId, State},
};
use crate::{
    line::Line,
    op::{Action, Op, OpWait},
};

/// The oracle of leases and wait deadlines.
#[derive(Debug, Default)]
pub struct Leases {
    deadlines: Deadlines<RequestId>,
}

impl Oracle for Leases {
    fn name(&self) -> &'static str {
        "leases"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 3: a lease runs out at granted_at + ttl (or renewed_at + ttl), a wait ends at \
         its deadline, in the order of (due time, arrival), before any command of that time"
    }

    fn fact(&mut self, ledger: &Ledger, op: &Op, fact: &Fact, at: u64) -> Verdict {
        let first = self.deadlines.first(|id| ledger.request(id).due());
        if let Some((due, id)) = first {
            let too_late = if comes_after_deadlines(fact) {
                due <= at
            } else {
                due < at
            };
            if too_late {
                return Err(late(ledger, id, due, at));
            }
        }
        match *fact {
            Fact::Ended {
                request,
                reason: reason @ ("expired" | "timed_out"),
            } => on_time(ledger, request, reason, first, at),
            Fact::Granted { request, .. } => {
                if let Some(ttl) = ledger.request(request).ttl {
                    self.deadlines.push(at.saturating_add(ttl), request);
                }
                Ok(())
            }
            Fact::Arrived { request, .. } => {
                if let (
                    Some(deadline),
                    Action::Acquire {
                        wait: OpWait::For(_),
                        ..
                    },
                ) = (ledger.request(request).due(), &op.action)
                {
                    self.deadlines.push(deadline, request);
                }
                Ok(())
            }
            Fact::Renewed { request, expires } => self.renewed(ledger, op, request, expires, at),
            _ => Ok(()),
        }
    }

    fn command(&mut self, ledger: &mut Ledger, _op: &Op, _lines: &[Line]) -> Verdict {
        match self.deadlines.first(|id| ledger.request(id).due()) {
            Some((due, id)) if due <= ledger.now() => Err(late(ledger, id, due, ledger.now())),
            _ => Ok(()),
        }
    }
}

impl Leases {
    fn renewed(
        &mut self,
        ledger: &Ledger,
        op: &Op,
        request: RequestId,
        expires: u64,
        at: u64,
    ) -> Verdict {
        self.deadlines.push(expires, request);
        match &op.action {
            Action::Renew { lock, token, ttl } => {
                let record = ledger.request(request);
                if *record.lock.id != *lock.id {
                    return Err(format!(
                        "{} is renewed at {at} ms by a command on {}",
                        ledger.describe(request),
                        lock.id
                    ));
                }
                if let (State::Held { token: held, .. }, Some(token)) = (record.state, *token)
                    && token != held
                {
                    return Err(format!(
                        "{} is renewed at {at} ms with token {token}, but its token is {held}",
                        ledger.describe(request)
                    ));
                }
                let expected = at.saturating_add(*ttl);
                if expires != expected {
                    return Err(format!(
                        "{} is renewed at {at} ms for {ttl} ms, and so ends at {expected} ms, but \
                         is said to end at {expires} ms",
                        ledger.describe(request)
                    ));
                }
                Ok(())
            }
            _ => Err(format!(
                "{} is renewed at {at} ms, but nobody asked for it",
                ledger.describe(request)
            )),
        }
    }
}

/// Whether the fact is the effect of a command or the end of a session, before which everything
/// happens that is due at its time. (A grant may come within an event of its own time.)
fn comes_after_deadlines(fact: &Fact) -> bool {
    match fact {
        Fact::Ended { reason, .. } => !matches!(*reason, "expired" | "timed_out"),
        Fact::Arrived { .. } | Fact::Renewed { .. } | Fact::Session { .. } => true,
        _ => false,
    }
}

fn late(ledger: &Ledger, id: RequestId, due: u64, at: u64) -> String {
    let what = if ledger.request(id).is_held() {
        "the lease of"
    } else {
        "the wait of"
    };
    format!(
        "{what} {} is over at {due} ms, but at {at} ms it is still alive",
        ledger.describe(id)
    )
}

fn on_time(
    ledger: &Ledger,
    id: RequestId,
    reason: &str,
    first: Option<(u64, RequestId)>,
    at: u64,
) -> Verdict {
    match ledger.request(id).due() {
        Some(due) if due == at => {}
        Some(due) => {
            return Err(format!(
                "{} ends as {reason} at {at} ms, but that is due at {due} ms",
                ledger.describe(id)
            ));
        }
        None => {
            return Err(format!(
                "{} ends as {reason} at {at} ms, but has no deadline",
                ledger.describe(id)
            ));
        }
    }
    match first {
        Some((_, first)) if first != id => Err(format!(
            "{} ends as {reason} at {at} ms before {}, which arrived earlier and is due at the \
             same time",
            ledger.describe(id),
            ledger.describe(first)
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, acquire};
    use super::*;

    fn lease(at: u64, id: &str, ttl: u64) -> String {
        format!(
            r#"{{"at":{at},"op":"acquire","id":"{id}","owner":"a","claims":["w {id}"],"ttl":{ttl}}}"#
        )
    }

    fn tick(at: u64) -> String {
        format!(r#"{{"at":{at},"op":"tick"}}"#)
    }

    #[test]
    fn expiry_a_millisecond_early_or_late_is_seen() {
        Story::new(Leases::default())
            .ok(&lease(5, "L1", 10), "L1 granted 1")
            .ok(&tick(14), "")
            .ok(&tick(15), "L1 ended expired");
        Story::new(Leases::default())
            .ok(&lease(5, "L1", 10), "L1 granted 1")
            .bad(
                &tick(14),
                "L1 ended expired",
                "at 14 ms, but that is due at 15 ms",
            );
        Story::new(Leases::default())
            .ok(&lease(5, "L1", 10), "L1 granted 1")
            .bad(
                &tick(15),
                "",
                "is over at 15 ms, but at 15 ms it is still alive",
            );
        Story::new(Leases::default())
            .ok(&lease(5, "L1", 10), "L1 granted 1")
            .bad(
                &tick(20),
                "20: L1 ended expired",
                "is over at 15 ms, but at 20 ms",
            );
    }

    #[test]
    fn a_lock_without_a_lease_does_not_expire() {
        Story::new(Leases::default())
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .bad(&tick(9), "L1 ended expired", "has no deadline");
    }

    #[test]
    fn a_command_before_what_is_due_is_seen() {
        Story::new(Leases::default())
            .ok(&lease(0, "L1", 10), "L1 granted 1")
            .bad(
                r#"{"at":10,"op":"release","id":"L1","owner":"a"}"#,
                "L1 ended released",
                "is over at 10 ms",
            );
    }

    #[test]
    fn equal_deadlines_in_the_wrong_order_are_seen() {
        Story::new(Leases::default())
            .ok(&lease(0, "L1", 10), "L1 granted 1")
            .ok(&lease(0, "L2", 10), "L2 granted 2")
            .bad(
                &tick(10),
                "L2 ended expired; L1 ended expired",
                "before a's L1 (w L1), which arrived earlier",
            );
    }

    #[test]
    fn waits_end_when_they_should() {
        let wait = r#"{"at":2,"op":"acquire","id":"L2","owner":"b","claims":["w x"],"wait":5}"#;
        Story::new(Leases::default())
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .ok(wait, "b.L2 queued")
            .ok(&tick(7), "b.L2 ended timed_out");
        Story::new(Leases::default())
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .ok(wait, "b.L2 queued")
            .bad(&tick(8), "", "the wait of b's L2 (w x) is over at 7 ms");
    }

    #[test]
    fn renewals_count_from_their_own_time_and_need_the_token() {
        let renew = |token: u64| {
            format!(r#"{{"at":4,"op":"renew","id":"L1","owner":"a","token":{token},"ttl":10}}"#)
        };
        Story::new(Leases::default())
            .ok(&lease(0, "L1", 5), "L1 granted 1")
            .ok(&renew(1), "L1 renewed 14")
            .ok(&tick(13), "")
            .bad(&tick(14), "", "is over at 14 ms");
        Story::new(Leases::default())
            .ok(&lease(0, "L1", 5), "L1 granted 1")
            .bad(
                &renew(1),
                "L1 renewed 15",
                "ends at 14 ms, but is said to end at 15 ms",
            );
        Story::new(Leases::default())
            .ok(&lease(0, "L1", 5), "L1 granted 1")
            .bad(
                &renew(2),
                "L1 renewed 14",
                "with token 2, but its token is 1",
            );
    }
}
