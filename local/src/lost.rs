//! Being told that a lock is lost.

use crate::{guard::lost, space::Clocked, ticket::Ticket};
use lockwright_engine::EndReason;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// The future of the end of a lock that its holder did not bring about; see
/// [`LockGuard::lost`](crate::LockGuard::lost).
#[derive(Debug)]
#[must_use = "a future tells nothing before it is polled"]
pub struct Lost<'a> {
    ticket: &'a Ticket,
    /// Its number among those who want to know, once it has asked.
    number: Option<u64>,
}

impl<'a> Lost<'a> {
    pub(crate) fn new(ticket: &'a Ticket) -> Lost<'a> {
        Lost {
            ticket,
            number: None,
        }
    }
}

impl Future for Lost<'_> {
    type Output = EndReason;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<EndReason> {
        let slot = self.ticket.slot();
        // The executor's code, so not within the turn.
        let waker = context.waker().clone();
        let mut turn = self.ticket.core().turn(Clocked::IfTimed);
        if let Some(reason) = lost(turn.phase(slot)) {
            drop(turn);
            return Poll::Ready(reason);
        }
        let number = turn.set_watcher(slot, self.number, waker);
        drop(turn);
        self.number = Some(number);
        Poll::Pending
    }
}

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number
            && let Some(mut turn) = self.ticket.core().turn_if_sound()
        {
            turn.remove_watcher(self.ticket.slot(), number);
        }
    }
}
