//! Tokens increase in the order of grants, and no two grants have the same.

use super::{Verdict, broken};
use crate::live::happening::RequestId;
use std::collections::BTreeMap;

/// The rule.
const RULE: &str = "fencing tokens (SEMANTICS 2)";

/// All tokens that were told.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    of: BTreeMap<u64, RequestId>,
}

impl Tokens {
    /// The largest.
    pub(super) fn largest(&self) -> u64 {
        self.of.last_key_value().map_or(0, |(token, _)| *token)
    }

    /// A request that was made when `floor` was the largest token that was known: the grant of that
    /// one was before its own.
    pub(super) fn granted(&mut self, id: RequestId, floor: u64, token: u64) -> Verdict {
        if let Some(other) = self.of.insert(token, id)
            && other != id
        {
            return broken(RULE, format!("{other} and {id} both have token {token}"));
        }
        if token <= floor {
            let (_, earlier) = self.of.range(floor..).next().expect("it was told");
            return broken(
                RULE,
                format!(
                    "{id} has token {token}, and was asked for after {earlier} was granted with \
                     token {floor}"
                ),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::live::judge::testing::{asks, granted, judged};

    #[test]
    fn a_token_that_comes_twice_or_too_late_is_found() {
        let twice = [(0, asks(1, "w a")), (0, asks(2, "w b")), (1, granted(1, 5))];
        assert!(judged(&[&twice[..], &[(2, granted(2, 5))]].concat()).is_err());
        // Both were under way at once: either may have been first.
        assert!(judged(&[&twice[..], &[(2, granted(2, 4))]].concat()).is_ok());
        let late = [(0, asks(1, "w a")), (1, granted(1, 5)), (1, asks(2, "w b"))];
        assert!(judged(&[&late[..], &[(2, granted(2, 4))]].concat()).is_err());
        assert!(judged(&[&late[..], &[(2, granted(2, 6))]].concat()).is_ok());
    }

    #[test]
    fn a_grant_may_be_told_twice() {
        let told = [(0, asks(1, "w a")), (1, granted(1, 5)), (2, granted(1, 5))];
        assert!(judged(&told).is_ok());
    }
}
