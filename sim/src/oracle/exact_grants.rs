//! Every line is the one that the reference model gives.

use super::{Oracle, Verdict, ledger::Ledger};
use crate::{
    line::Line,
    model::{Model, ModelLimits},
    op::Op,
};
use std::fmt::Write as _;

/// The oracle that compares with the [`Model`].
pub struct ExactGrants {
    model: Model,
    expected: Vec<Line>,
}

impl ExactGrants {
    /// Against a model with these limits, whose first grant takes `first_token`.
    #[must_use]
    pub fn new(limits: ModelLimits, first_token: u64) -> ExactGrants {
        ExactGrants {
            model: Model::with_first_token(limits, first_token),
            expected: Vec::new(),
        }
    }
}

impl Oracle for ExactGrants {
    fn name(&self) -> &'static str {
        "exact_grants"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 2, FIFO and nothing else: what happens is exactly what the reference model says"
    }

    fn tokens_from(&mut self, first: u64) {
        self.model.tokens_from(first);
    }

    fn relimit(&mut self, limits: &ModelLimits) {
        self.model.relimit(limits.clone());
    }

    fn command(&mut self, _ledger: &mut Ledger, op: &Op, lines: &[Line]) -> Verdict {
        self.expected.clear();
        self.model.step(op, &mut self.expected);
        if self.expected == lines {
            return Ok(());
        }
        let op = serde_json::to_string(op).unwrap_or_else(|error| error.to_string());
        Err(format!(
            "after {op} expected {}, got {}",
            listed(&self.expected),
            listed(lines),
        ))
    }
}

fn listed(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "nothing".to_owned();
    }
    let mut list = String::new();
    for line in lines {
        let separator = if list.is_empty() { "" } else { ", " };
        write!(list, "{separator}{line}").expect("a string takes everything");
    }
    list
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, acquire};
    use super::*;
    use lockwright_engine::Limits;

    fn story() -> Story<ExactGrants> {
        Story::new(ExactGrants::new(ModelLimits::from(&Limits::default()), 1))
    }

    #[test]
    fn a_line_that_the_model_does_not_give_is_seen() {
        story()
            .ok(&acquire(0, "L1", "w x"), "L1 granted 1")
            .ok(&acquire(0, "L2", "w x"), "L2 queued")
            .bad(
                r#"{"at":3,"op":"release","id":"L1","owner":"a","token":1}"#,
                "L1 ended released",
                r#"expected {"at":3,"event":"ended","id":"L1","reason":"released"}, {"at":3,"event":"granted","id":"L2","token":2}, got {"at":3,"event":"ended","id":"L1","reason":"released"}"#,
            );
    }

    #[test]
    fn a_missing_refusal_is_seen() {
        let no_claims = r#"{"at":0,"op":"acquire","id":"L1","owner":"a","claims":[]}"#;
        story().bad(no_claims, "L1 granted 1", "invalid_request");
        story().bad(no_claims, "", "got nothing");
    }
}
