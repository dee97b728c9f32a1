//! The sessions that operators end: their clients cannot know before they are told.

use super::{
    Happening,
    breaks::{Asked, Question},
};
use crate::op::Text;
use std::collections::BTreeSet;

/// Which they are.
#[derive(Debug, Default)]
pub(super) struct Unwanted {
    /// Those that operators have asked to end.
    asked: BTreeSet<Text>,
    /// Those of them that a command has ended since. It may have been their client's own, which has no ear for
    /// anything then.
    ended: BTreeSet<Text>,
}

impl Unwanted {
    /// Notes what happens.
    pub(super) fn see(&mut self, happening: &Happening) {
        match happening {
            Happening::BreakAsked {
                question:
                    Question {
                        what: Asked::EndSession { session },
                        ..
                    },
                by_operator: true,
                ..
            } => drop(self.asked.insert(session.clone())),
            Happening::Closes { session } if self.asked.contains(session) => {
                self.ended.insert(session.clone());
            }
            _ => {}
        }
    }

    /// Whether a session was ended after an operator had asked for that.
    pub(super) fn is_ended(&self, session: &Text) -> bool {
        self.ended.contains(session)
    }
}
