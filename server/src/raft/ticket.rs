//! Noticing that a proposal was not taken.

use super::types::Types;
use openraft::{
    OptionalSend,
    raft::{ClientWriteResult, responder::Responder},
};
use std::{any::Any, marker::PhantomData};
use tokio::sync::mpsc;

/// Who made a proposal: this node, or one that has a link to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    /// This node.
    Own,
    /// The other end of the link with this number.
    Link(u64),
}

/// What openraft holds for a proposal until it is done with it.
pub(super) struct Ticket<T> {
    maker: Maker,
    refused: mpsc::UnboundedSender<Maker>,
    is_taken: bool,
    result: PhantomData<fn(T)>,
}

impl<T> Ticket<T> {
    pub(super) fn new(maker: Maker, refused: mpsc::UnboundedSender<Maker>) -> Ticket<T> {
        Ticket {
            maker,
            refused,
            is_taken: false,
            result: PhantomData,
        }
    }
}

impl<T: OptionalSend + 'static> Responder<Types, T> for Ticket<T> {
    fn on_complete(mut self, result: T) {
        let result = (&result as &dyn Any).downcast_ref::<ClientWriteResult<Types>>();
        self.is_taken = result.is_some_and(Result::is_ok);
    }
}

impl<T> Drop for Ticket<T> {
    /// A replica that dies drops its tickets, and whoever waits must know.
    fn drop(&mut self) {
        if !self.is_taken {
            // Nobody listens any more when the server stops.
            let _ = self.refused.send(self.maker);
        }
    }
}
