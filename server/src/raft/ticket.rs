//! Bringing back what a proposal came to.

use super::types::Types;
use openraft::{OptionalSend, raft::responder::Responder};
use tokio::sync::mpsc;

/// What openraft holds for a proposal until it is done with it.
pub(super) struct Ticket<T> {
    number: u64,
    told: mpsc::UnboundedSender<(u64, Option<T>)>,
    is_used: bool,
}

impl<T> Ticket<T> {
    pub(super) fn new(number: u64, told: mpsc::UnboundedSender<(u64, Option<T>)>) -> Ticket<T> {
        Ticket {
            number,
            told,
            is_used: false,
        }
    }
}

impl<T: OptionalSend + 'static> Responder<Types, T> for Ticket<T> {
    fn on_complete(mut self, result: T) {
        self.is_used = true;
        // Nobody listens any more when the server stops.
        let _ = self.told.send((self.number, Some(result)));
    }
}

impl<T> Drop for Ticket<T> {
    /// A replica that dies drops its tickets, and whoever waits must know.
    fn drop(&mut self) {
        if !self.is_used {
            let _ = self.told.send((self.number, None));
        }
    }
}
