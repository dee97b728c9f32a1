//! The locks of Lockwright for the threads and tasks of one process.
//!
//! [`LocalLocks`] is the lock space and [`LockGuard`] what it grants: read these two first. What a
//! lock means is in the project's `docs/semantics.md`; in short: a claim on a path covers its whole
//! subtree, a request gets all of its claims or none, and of two that conflict, the first to come is
//! the first to be served.
//!
//! ```
//! use lockwright_local::{LocalLocks, read, write};
//!
//! let locks = LocalLocks::new();
//! let total = std::sync::Mutex::new(0);
//! std::thread::scope(|scope| {
//!     for account in ["alice", "bob"] {
//!         let (locks, total) = (&locks, &total);
//!         scope.spawn(move || {
//!             let claims = [write(format!("accounts/{account}")), read("rates")];
//!             let guard = locks.lock_blocking(claims).unwrap();
//!             *total.lock().unwrap() += guard.token().0;
//!         });
//!     }
//! });
//! assert_eq!(*total.lock().unwrap(), 1 + 2);
//! ```
//!
//! # Waiting
//!
//! A thread that waits is parked, a task returns pending; both are woken for their own grant and
//! for nothing else. Nothing polls. In a task, use [`lock`](LocalLocks::lock) and await it, on any
//! executor; in a thread, [`lock_blocking`](LocalLocks::lock_blocking). Guards may be held across
//! awaits and go from thread to thread.
//!
//! # Cancelling
//!
//! Dropping a [`Locking`] future gives the request up: it leaves the queue at once, and whoever
//! waited only for it is granted at once. If its grant came just before, the lock is released.
//! Nobody can give up the wait of a thread in [`lock_blocking`](LocalLocks::lock_blocking) for it:
//! let it have a timeout.
//!
//! # Time
//!
//! Times are whole milliseconds since the lock space was made, on the system's monotonic clock. Who
//! touches the lock space first lets everything happen that is due. When nobody does, one timer
//! thread per lock space does it. It is started by the first request in it that has a ttl, or a
//! timeout in a task, and ends when the last handle, guard and future of the lock space are gone.
//! Threads keep the timeouts of their own waits. While no request has a deadline, the clock is not
//! looked at.
//!
//! # Cost
//!
//! That of the engine and one mutex, for which the threads of a lock space queue: about half a
//! microsecond at a time. `sh scripts/bench_local.sh` measures; in nanoseconds, on an idle machine,
//! for taking a lock and releasing it with nobody in the way:
//!
//! | | ns |
//! |---|---|
//! | the engine alone | 390 |
//! | [`lock_blocking`](LocalLocks::lock_blocking) | 520 |
//! | [`lock`](LocalLocks::lock) | 530 |
//! | `tokio::sync::Mutex` | 35 |
//! | a map of mutexes by name | 34 |
//! | `std::sync::Mutex` | 12 |
//!
//! `docs/local.md` in the repository has more, and how the crate works and is tested. Where one
//! mutex for one thing will do, use a mutex.

mod claims;
mod error;
mod guard;
mod inspect;
#[cfg(test)]
mod interleavings;
mod locking;
mod locks;
mod lost;
mod request;
mod slots;
mod space;
mod sync;
mod ticket;
mod time;
mod timer;
mod waiting;
mod wakes;

pub use claims::{Claims, read, write};
pub use error::{LockError, NotHeld, RenewError};
pub use guard::LockGuard;
pub use inspect::Live;
pub use locking::Locking;
pub use locks::LocalLocks;
pub use lost::Lost;
pub use request::Request;

pub use lockwright_engine::{
    Claim, EndReason, ErrorCode, InvalidRequest, LimitName, Limits, Mode, Name, NameError, Path,
    PathError, Token, Usage,
};

// The code in the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
