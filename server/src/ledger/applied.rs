//! What the log says, as far as it concerns the ledger.

use super::{ClusterClock, Ledger, Route, Turn};
use crate::{
    forward::ToFollower,
    machine::Outcome,
    proposal::{Action, Ignored, Origin},
    raft::{Applied, News},
};
use lockwright_env::Env;
use tracing::info;

impl<E: Env, C> Ledger<E, C> {
    /// Takes what was applied.
    pub(super) fn applied(&mut self, news: News) -> Turn<C> {
        let turn = match news {
            News::Passed => Turn::Nothing,
            News::Jumped => {
                let next = self.with_machine(|machine| {
                    let engine = machine.engine();
                    (engine.next_deadline(), engine.next_forget())
                });
                self.will_be_due(next.0, next.1);
                self.snapshot_asked = self.node.snapshot_index();
                self.void("it has missed too much, and goes on from a snapshot")
            }
            News::Applied(applied) => self.entry(applied),
        };
        self.finish_reads();
        turn
    }

    fn entry(&mut self, applied: Applied) -> Turn<C> {
        let Applied {
            term,
            proposal,
            result,
        } = applied;
        if let Ok(outcome) = &result {
            self.note(outcome);
            // It may come back with another disk, and what its former process said may still be under way.
            if let Action::Gone {
                node, forget: true, ..
            } = *proposal.action
            {
                self.followers.close_node(node);
            }
        }
        let is_mine = |origin: &Origin| origin.node == self.node.id();
        match (proposal.origin.filter(is_mine), result) {
            (None, Ok(outcome)) => {
                let is_over = self.concerns(&proposal.action, term, &outcome);
                if is_over {
                    return self
                        .void("the leader has not heard of it for too long, or it was removed");
                }
                Turn::Applied {
                    proposal,
                    context: None,
                    outcome,
                }
            }
            (Some(origin), Ok(outcome)) if origin.incarnation == self.incarnation => {
                let done = self.pending.pop_front().expect("it was proposed");
                assert_eq!(origin.number, done.number, "proposals are applied in order");
                self.sent = self.sent.saturating_sub(1);
                self.is_joined |= matches!(*proposal.action, Action::Join { .. });
                Turn::Applied {
                    proposal,
                    context: done.context,
                    outcome,
                }
            }
            (Some(_), Ok(outcome)) => {
                // A former life says something late. If it is that it begins, this one is over.
                if self.is_joined && matches!(*proposal.action, Action::Join { .. }) {
                    return self.void("a former life of this node has begun again");
                }
                Turn::Applied {
                    proposal,
                    context: None,
                    outcome,
                }
            }
            (Some(origin), Err(Ignored::OtherLife))
                if self.is_joined && origin.incarnation == self.incarnation =>
            {
                self.void("this life of the node is over")
            }
            (Some(origin), Err(Ignored::OutOfOrder)) if origin.incarnation == self.incarnation => {
                self.lose_route();
                Turn::Nothing
            }
            (_, Err(_)) => Turn::Nothing,
        }
    }

    /// Follows what a leader proposed by itself. Whether this life of the node is over.
    fn concerns(&mut self, action: &Action, term: u64, outcome: &Outcome) -> bool {
        match action {
            Action::Begin { .. } => {
                if let Route::Preparing { term: own } = self.route
                    && own == term
                {
                    self.lead(term, outcome);
                }
                false
            }
            Action::Tick => {
                self.is_ticking = false;
                false
            }
            // A node that is forgotten counts for nothing any more, whichever life it was in: what it
            // proposed and sends again would be taken for new.
            Action::Gone {
                node,
                incarnation,
                forget,
            } => {
                let is_meant = *forget || *incarnation == self.incarnation;
                self.is_joined && *node == self.node.id() && is_meant
            }
            _ => false,
        }
    }

    /// This node leads, and has applied all that was ever agreed on before.
    fn lead(&mut self, term: u64, outcome: &Outcome) {
        if !self.node.is_alone() {
            info!(term, "this node leads");
        }
        self.probe.leads(outcome.at);
        self.clock = Some(ClusterClock::start(outcome.at, self.env.monotonic()));
        self.route = Route::Leading { term };
        self.retry_at = self.env.monotonic();
        let at = self.now();
        self.followers.say_all(ToFollower::Welcome { at });
        self.forget_removed();
    }
}
