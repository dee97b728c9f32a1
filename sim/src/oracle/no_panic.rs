//! No input makes what is simulated panic.

use crate::outcome::Violation;

/// The violation that a panic is; `panic` says what it said, and where.
#[must_use]
pub fn violation(at_ms: u64, panic: &dyn std::fmt::Display) -> Violation {
    Violation {
        oracle: "no_panic".to_owned(),
        rule: "SEMANTICS 5: what cannot be done is refused with an error; nothing panics"
            .to_owned(),
        at_ms,
        message: panic.to_string(),
    }
}
