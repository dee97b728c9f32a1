//! Once faults stop, every live request is granted or ends, and nothing is left when all have gone
//! (SEMANTICS section 7.6; docs/simulation.md, the two phases).

use super::{Client, in_ms};
use crate::outcome::Violation;
use std::time::Duration;

const RULE: &str =
    "SEMANTICS 7.6 liveness: once faults stop, every live request is granted or ends";

/// Nothing happens any more, and `waiting` describes who still waits.
#[must_use]
pub fn stalled(now: Duration, still_for: Duration, waiting: &str) -> Violation {
    Violation {
        oracle: "liveness".to_owned(),
        rule: RULE.to_owned(),
        at_ms: in_ms(now),
        message: format!(
            "all faults are over, nothing has happened for {} ms, and there still waits: {waiting}",
            in_ms(still_for)
        ),
    }
}

/// A client that nobody asks anything of any more still has something in hand.
#[must_use]
pub fn kept(now: Duration, client: Client, usage: &str) -> Violation {
    Violation {
        oracle: "bounded".to_owned(),
        rule: "SEMANTICS 6 an idle resource costs no memory".to_owned(),
        at_ms: in_ms(now),
        message: format!(
            "all faults are over, all that {client} was asked for is done, and it still has {usage}"
        ),
    }
}

/// All clients have gone, and the server still has something in hand.
#[must_use]
pub fn left_over(now: Duration, usage: &str) -> Violation {
    Violation {
        oracle: "bounded".to_owned(),
        rule: "SEMANTICS 6 an idle resource costs no memory".to_owned(),
        at_ms: in_ms(now),
        message: format!(
            "all clients have gone and every timeout has passed, and the server still has {usage}"
        ),
    }
}
