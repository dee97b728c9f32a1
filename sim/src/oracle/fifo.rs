//! Of two conflicting requests the earlier to arrive is the earlier to be granted.

use super::{
    Oracle, Verdict,
    ledger::{Fact, Ledger},
};
use crate::op::Op;

/// The oracle of SEMANTICS 7.2.
#[derive(Debug)]
pub struct Fifo;

impl Oracle for Fifo {
    fn name(&self) -> &'static str {
        "fifo"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 7.2: of two conflicting requests, the earlier to arrive is the earlier to be \
         granted, or has ended before"
    }

    fn fact(&mut self, ledger: &Ledger, _op: &Op, fact: &Fact, at: u64) -> Verdict {
        let Fact::Granted { request, .. } = *fact else {
            return Ok(());
        };
        let mut earlier = ledger.earlier_conflicts(request);
        match earlier.find(|other| other.is_queued()) {
            None => Ok(()),
            Some(other) => Err(format!(
                "{} is granted at {at} ms, and so overtakes {}, which has waited since {} ms",
                ledger.describe(request),
                ledger.describe(other.id),
                other.arrived,
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, acquire};
    use super::*;

    #[test]
    fn a_reader_that_slips_past_a_queued_writer_is_seen() {
        Story::new(Fifo)
            .ok(&acquire(0, "L1", "r x"), "L1 granted 1")
            .ok(&acquire(0, "L2", "w x"), "L2 queued")
            .bad(
                &acquire(1, "L3", "r x"),
                "L3 granted 2",
                "a's L3 (r x) is granted at 1 ms, and so overtakes a's L2 (w x)",
            );
    }

    #[test]
    fn a_later_waiter_that_is_granted_first_is_seen() {
        Story::new(Fifo)
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .ok(&acquire(0, "L2", "w x"), "L2 queued")
            .ok(&acquire(0, "L3", "w x"), "L3 queued")
            .bad(
                r#"{"at":5,"op":"release","id":"L1","owner":"a"}"#,
                "L1 ended released; L3 granted 2",
                "overtakes a's L2",
            );
    }

    #[test]
    fn overtaking_a_stranger_or_one_that_gave_up_is_no_overtaking() {
        Story::new(Fifo)
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .ok(&acquire(0, "L2", "w x"), "L2 queued")
            .ok(&acquire(0, "L3", "w y"), "L3 granted 2")
            .ok(&acquire(0, "L4", "w x"), "L4 queued")
            .ok(
                r#"{"at":5,"op":"cancel","id":"L2","owner":"a"}"#,
                "L2 ended cancelled",
            )
            .ok(
                r#"{"at":5,"op":"release","id":"L1","owner":"a"}"#,
                "L1 ended released; L4 granted 3",
            );
    }
}
