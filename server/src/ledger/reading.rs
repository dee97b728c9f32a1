//! How a node reads what there is: asks who leads, and looks when it has applied as much.

use super::{Ledger, Route};
use crate::{
    forward::{ToFollower, ToLeader},
    replica::Look,
};
use lockwright_env::Env;

impl<E: Env, C> Ledger<E, C> {
    /// Reads when it is certain that what is read is the present.
    pub(crate) fn read(&mut self, look: Look) {
        self.reads.add(look);
        self.reads_since.get_or_insert(self.env.monotonic());
    }

    /// Asks for the reads that wait, if somebody can be asked.
    pub(super) fn begin_reads(&mut self) {
        if !self.reads.is_due() || self.reads_at > self.env.monotonic() {
            return;
        }
        match &self.route {
            Route::Leading { .. } => {
                let at = self.now();
                if self.next_deadline.is_some_and(|next| next <= at) {
                    // What is due at this moment happens before anybody looks.
                    return self.tick();
                }
                if self.node.is_alone() {
                    self.reads.begin(Some(at), None);
                    self.reads.end(0, at);
                    return self.finish_reads();
                }
                let confirming = self.node.confirm();
                self.reads.begin(Some(at), Some(Box::pin(confirming)));
            }
            Route::Following(forwarder) if forwarder.is_welcome => {
                let id = self.reads.begin(None, None);
                forwarder.say(ToLeader::Read { id });
            }
            _ => {}
        }
    }

    /// It is known whether this node leads.
    pub(super) fn confirmed(&mut self, index: Option<u64>) {
        let at = self.reads.asked().and_then(|round| round.at);
        match (index, at) {
            (Some(index), Some(at)) => {
                for (node, link, id) in self.reads.end(index, at) {
                    let answer = ToFollower::ReadAt { id, index, at };
                    self.followers.say(node, link, answer);
                }
                self.finish_reads();
            }
            // Whoever leads is asked, when it is known who does. A leader that hands over says no at
            // once, however often it is asked.
            _ => {
                self.reads.ask_again();
                self.reads_at = self.env.monotonic() + self.timing.heartbeat / 2;
            }
        }
    }

    pub(super) fn finish_reads(&mut self) {
        // After each entry: mostly nobody reads.
        if self.reads_since.is_none() {
            return;
        }
        let index = self.node.applied_index();
        for (at, look) in self.reads.take_ready(index) {
            let next = self.with_machine(|machine| machine.engine().next_deadline());
            if next.is_some_and(|next| next <= at) {
                // It was proposed before and is applied now: what it makes due has to happen first.
                self.reads.add(look);
                continue;
            }
            self.with_machine(|machine| look(machine, at.max(machine.engine().now())));
        }
        let is_idle = self.reads.count() == 0;
        self.reads_since = self.reads_since.filter(|_| !is_idle);
    }
}
