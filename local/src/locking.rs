//! The future of a lock.

use crate::{
    LockError, LockGuard, Request,
    waiting::{Asked, Waiter, Waiting},
};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// The future of a [`LockGuard`], for any executor.
///
/// The request arrives, and takes its place among the others, when this is first polled. Dropping
/// it gives the request up, wherever it is: not yet there, queued (it leaves the queue at once, and
/// whoever waited only for it is granted at once), or just granted (it is released).
#[derive(Debug)]
#[must_use = "a future asks for nothing before it is polled"]
pub struct Locking(pub(crate) Stage);

#[derive(Debug)]
pub(crate) enum Stage {
    Asking(Request),
    Queued(Waiting),
    Over,
}

impl Locking {
    pub(crate) fn new(request: Request) -> Locking {
        Locking(Stage::Asking(request))
    }
}

impl Future for Locking {
    type Output = Result<LockGuard, LockError>;

    /// # Panics
    /// When it is polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waiting = match std::mem::replace(&mut self.0, Stage::Over) {
            Stage::Asking(request) => match request.enter(Waiter::Task)? {
                Asked::Granted(guard) => return Poll::Ready(Ok(guard)),
                Asked::Queued(waiting) => waiting,
            },
            Stage::Queued(waiting) => waiting,
            Stage::Over => panic!("a future is not polled again after it was ready"),
        };
        match waiting.poll_over(context) {
            Poll::Ready(outcome) => Poll::Ready(outcome.map(|token| waiting.granted(token))),
            Poll::Pending => {
                self.0 = Stage::Queued(waiting);
                Poll::Pending
            }
        }
    }
}
