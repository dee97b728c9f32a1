//! What of threads and time the crate stands on: the standard library's, and in the unit tests a
//! model of it, in which shuttle chooses every interleaving and a test moves the clock by hand.
//!
//! No other file knows which of the two it runs on.

#[cfg(not(test))]
mod real;
#[cfg(test)]
mod simulated;

#[cfg(not(test))]
pub(crate) use real::{Clock, Condvar, Mutex, MutexGuard, Thread, current, spawn};
#[cfg(test)]
pub(crate) use simulated::{Clock, Condvar, Mutex, MutexGuard, Thread, current, spawn};
