//! Asking for a lock, and waiting for it: in a task or in a thread.

#[cfg(test)]
use crate::interleavings::planted::{Bug, planted};
use crate::{
    LockError, LockGuard,
    slots::Phase,
    space::{Ask, Clocked, Patience, Space},
    sync,
    ticket::Ticket,
    wakes::Wake,
};
use lockwright_engine::{Claim, EndReason, LockState, TimeMs, Token};
use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// What asking for a lock comes to.
#[derive(Debug)]
pub(crate) enum Asked {
    Granted(LockGuard),
    Queued(Waiting),
}

/// A request that is queued, or was when it was asked last.
#[derive(Debug)]
pub(crate) struct Waiting {
    ticket: Ticket,
    claims: Vec<Claim>,
    timeout: Option<Duration>,
    deadline: Option<TimeMs>,
}

/// Whether the timer thread has to keep the wait's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// Yes: a task cannot wake itself.
    Task,
    /// No: a thread that waits wakes by itself.
    Thread,
}

/// Enters a request into the lock space.
pub(crate) fn ask(space: Arc<Space>, ask: Ask, waiter: Waiter) -> Result<Asked, LockError> {
    let timeout = match ask.patience {
        Patience::For(timeout) => Some(timeout),
        Patience::No | Patience::Forever => None,
    };
    let (slot, claims, state) = {
        let mut turn = if ask.ttl.is_some() || (timeout.is_some() && waiter == Waiter::Task) {
            space.turn_with_timer().map_err(LockError::NoTimer)?
        } else if timeout.is_some() {
            space.core().turn(Clocked::Always)
        } else {
            space.core().turn(Clocked::IfTimed)
        };
        turn.acquire(ask)?
    };
    let ticket = Ticket::new(space, slot);
    Ok(match state {
        LockState::Held { token, .. } => Asked::Granted(LockGuard::new(ticket, token, claims)),
        LockState::Queued { deadline } => Asked::Queued(Waiting {
            ticket,
            claims,
            timeout,
            deadline,
        }),
        LockState::Ended { .. } => unreachable!("a new request has not ended"),
    })
}

impl Waiting {
    /// Whether the wait is over. If not, the task of `context` is woken when it is.
    pub(crate) fn poll_over(&self, context: &Context<'_>) -> Poll<Result<Token, LockError>> {
        let slot = self.ticket.slot();
        {
            let turn = self.ticket.core().turn(Clocked::IfTimed);
            if let Some(outcome) = self.outcome(turn.phase(slot)) {
                return Poll::Ready(outcome);
            }
            if turn.has_waiter(slot, context.waker()) {
                return Poll::Pending;
            }
        }
        // The executor's code, so not within the turn; and the grant may come in between.
        let waker = context.waker().clone();
        let mut turn = self.ticket.core().turn(Clocked::IfTimed);
        if let Some(outcome) = self.outcome(turn.phase(slot)) {
            #[cfg(test)]
            if planted(Bug::NoSecondLook) {
                return Poll::Pending;
            }
            // The mutex first: dropping the waker is the executor's code, too.
            drop(turn);
            return Poll::Ready(outcome);
        }
        turn.set_waiter(slot, Wake::Task(waker));
        Poll::Pending
    }

    /// Waits in this thread until the wait is over.
    pub(crate) fn block(self) -> Result<LockGuard, LockError> {
        let slot = self.ticket.slot();
        loop {
            {
                let mut turn = self.ticket.core().turn(Clocked::IfTimed);
                if let Some(outcome) = self.outcome(turn.phase(slot)) {
                    drop(turn);
                    return outcome.map(|token| self.granted(token));
                }
                turn.set_waiter(slot, Wake::Thread(sync::current()));
            }
            self.ticket.core().clock.park(self.deadline);
        }
    }

    pub(crate) fn granted(self, token: Token) -> LockGuard {
        LockGuard::new(self.ticket, token, self.claims)
    }

    #[cfg(test)]
    pub(crate) fn phase(&self) -> Phase {
        let turn = self.ticket.core().turn(Clocked::IfTimed);
        turn.phase(self.ticket.slot())
    }

    fn outcome(&self, phase: Phase) -> Option<Result<Token, LockError>> {
        match phase {
            Phase::Queued => None,
            Phase::Held { token, .. } => Some(Ok(token)),
            Phase::Ended(EndReason::TimedOut) => Some(Err(LockError::TimedOut {
                after: self.timeout.unwrap_or_default(),
            })),
            Phase::Ended(EndReason::Expired) => Some(Err(LockError::Expired)),
            other => unreachable!("a wait does not end as {other:?}"),
        }
    }
}
