//! Whom to wake, once the mutex is free again.

use crate::sync::Thread;
use std::task::Waker;

/// How one waiter is woken.
#[derive(Debug)]
pub(crate) enum Wake {
    Task(Waker),
    Thread(Thread),
}

impl Wake {
    fn wake(self) {
        match self {
            Wake::Task(waker) => waker.wake(),
            Wake::Thread(thread) => thread.unpark(),
        }
    }
}

/// Waiters to be woken, in the order of their grants, when this is dropped.
///
/// Waking, cloning and dropping a [`Waker`] runs an executor's code, which may drop a task that has
/// a guard in it and so come back for the mutex: none of the three happens while it is held.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    /// Nearly always there is at most one, which then costs no allocation.
    first: Option<Wake>,
    more: std::collections::VecDeque<Wake>,
    /// Not to be woken, only dropped.
    discarded: Vec<Wake>,
}

impl Wakes {
    pub(crate) fn push(&mut self, wake: Wake) {
        if self.first.is_none() && self.more.is_empty() {
            self.first = Some(wake);
        } else {
            self.more.push_back(wake);
        }
    }

    pub(crate) fn discard(&mut self, wake: Wake) {
        self.discarded.push(wake);
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        /// Goes on with the others when one panics.
        struct Rest<'a>(&'a mut Wakes);
        impl Rest<'_> {
            fn wake_all(&mut self) {
                while let Some(wake) = self.0.first.take().or_else(|| self.0.more.pop_front()) {
                    wake.wake();
                }
            }
        }
        impl Drop for Rest<'_> {
            fn drop(&mut self) {
                self.wake_all();
            }
        }
        if self.first.is_some() {
            Rest(self).wake_all();
        }
    }
}
