//! No two conflicting locks are held at once.

use super::{
    Oracle, Verdict,
    ledger::{Fact, Ledger},
};
use crate::op::Op;

/// The oracle of SEMANTICS 7.1.
#[derive(Debug)]
pub struct MutualExclusion;

impl Oracle for MutualExclusion {
    fn name(&self) -> &'static str {
        "mutual_exclusion"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 7.1: no two conflicting locks are held at the same engine time"
    }

    fn fact(&mut self, ledger: &Ledger, _op: &Op, fact: &Fact, at: u64) -> Verdict {
        let Fact::Granted { request, .. } = *fact else {
            return Ok(());
        };
        let earlier = ledger.earlier_conflicts(request);
        let later = ledger.later_conflicts(request);
        match earlier.chain(later).find(|other| other.is_held()) {
            None => Ok(()),
            Some(other) => Err(format!(
                "{} is granted at {at} ms while {} is held, and the two conflict",
                ledger.describe(request),
                ledger.describe(other.id),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, acquire};
    use super::*;

    #[test]
    fn two_writers_of_one_path_are_seen() {
        Story::new(MutualExclusion)
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .bad(
                r#"{"at":3,"op":"acquire","id":"L2","owner":"b","claims":["w x"]}"#,
                "b.L2 granted 2",
                "b's L2 (w x) is granted at 3 ms while a's L1 (w x) is held",
            );
    }

    #[test]
    fn a_descendant_under_a_held_ancestor_is_seen() {
        for (first, second) in [
            ("w x", "r x/y/z"),
            ("r x/y/z", "w x"),
            ("w /", "w q"),
            ("r q", "w /"),
        ] {
            Story::new(MutualExclusion)
                .ok(&acquire(0, "L1", first), "L1 granted 1")
                .bad(
                    &acquire(0, "L2", second),
                    "L2 granted 2",
                    "is held, and the two conflict",
                );
        }
    }

    #[test]
    fn readers_and_strangers_may_hold_at_once() {
        Story::new(MutualExclusion)
            .ok(&acquire(0, "L1", "r x"), "L1 granted 1")
            .ok(&acquire(0, "L2", "r x/y"), "L2 granted 2")
            .ok(&acquire(0, "L3", "w xy"), "L3 granted 3")
            .ok(
                r#"{"at":0,"op":"acquire","id":"L4","owner":"a","claims":["w x"],"namespace":"other"}"#,
                "L4@other granted 4",
            );
    }

    #[test]
    fn what_was_released_no_longer_excludes() {
        Story::new(MutualExclusion)
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .ok(
                r#"{"at":1,"op":"release","id":"L1","owner":"a"}"#,
                "L1 ended released",
            )
            .ok(&acquire(1, "L2", "w x"), "L2 granted 2");
    }
}
