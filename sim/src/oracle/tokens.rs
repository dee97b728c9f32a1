//! Each grant takes the next number of one counter.

use super::{
    Oracle, Verdict,
    ledger::{Fact, Ledger},
};
use crate::op::Op;

/// The oracle of the fencing tokens.
#[derive(Debug)]
pub struct Tokens {
    next: u64,
}

impl Tokens {
    /// For an engine whose first grant has this token.
    #[must_use]
    pub fn starting_at(first: u64) -> Tokens {
        Tokens { next: first }
    }
}

impl Oracle for Tokens {
    fn name(&self) -> &'static str {
        "tokens"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 2, fencing token: each grant takes the next number of one counter"
    }

    fn tokens_from(&mut self, first: u64) {
        self.next = self.next.max(first);
    }

    fn fact(&mut self, ledger: &Ledger, _op: &Op, fact: &Fact, at: u64) -> Verdict {
        let Fact::Granted { request, token } = *fact else {
            return Ok(());
        };
        if token != self.next {
            let repeats = if token < self.next {
                "a token that was given away before"
            } else {
                "and tokens are left out"
            };
            return Err(format!(
                "{} is granted at {at} ms with token {token}, but the next one is {}: {repeats}",
                ledger.describe(request),
                self.next,
            ));
        }
        self.next += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, acquire};
    use super::*;

    #[test]
    fn a_leap_at_a_start_is_followed_and_no_step_back() {
        let grant = acquire(0, "L1", "w x");
        let mut oracle = Tokens::starting_at(5);
        oracle.tokens_from(9);
        oracle.tokens_from(7);
        Story::new(oracle).ok(&grant, "L1 granted 9").bad(
            &acquire(0, "L2", "w y"),
            "L2 granted 9",
            "given away before",
        );
    }

    #[test]
    fn a_reused_token_is_seen() {
        Story::new(Tokens::starting_at(1))
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .bad(
                &acquire(2, "L2", "w y"),
                "L2 granted 1",
                "given away before",
            );
    }

    #[test]
    fn a_skipped_token_is_seen() {
        Story::new(Tokens::starting_at(7)).bad(
            &acquire(0, "L1", "w x"),
            "L1 granted 8",
            "with token 8, but the next one is 7: and tokens are left out",
        );
    }

    #[test]
    fn the_answer_to_a_retry_takes_no_token() {
        Story::new(Tokens::starting_at(7))
            .ok(&acquire(0, "L1", "w x"), "L1 granted 7")
            .ok(&acquire(0, "L1", "w x"), "L1 granted 7")
            .ok(&acquire(0, "L2", "w y"), "L2 granted 8");
    }
}
