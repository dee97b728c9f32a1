//! The client of the lock service.
//!
//! A [`Client`] is one session: it opens it, keeps it alive, and takes it up again on a new
//! connection when one breaks, to the same server or to another node of its cluster, so that locks
//! and places in queues outlive connections and nodes. [`Client::acquire`] gives a
//! [`Lock`]; read these two first. Many locks can be held, and many calls be under way, at once.
//!
//! What a holder may rely on is its **deadline**, counted on its own clock and always on the safe
//! side (module [`deadline`] has the arithmetic): [`Lock::believes_held`] is true only while the
//! server holds the lock for it, as long as the rates of the two clocks differ by no more than the
//! configured bound. A holder that was cut off learns that its lock is lost when the deadline
//! passes, not when the network comes back.
//!
//! What no client can know is whether its write arrives while it still holds: a process may be paused
//! between looking and writing. So a store takes the fencing token with each write, and checks it:
//! module [`fence`] is for whoever owns such a store.
//!
//! All decisions are made in [`SessionCore`], which does no I/O; `shell` is the one task that
//! moves its messages.

mod belief;
mod client;
mod config;
mod connection;
pub mod core;
mod credentials;
pub mod deadline;
mod error;
pub mod fence;
mod lock;
mod notice;
mod request;
mod shell;
mod trouble;

/// What the ids begin with that the client draws itself, and no other ones.
pub(crate) const DRAWN_ID: char = '#';

pub use crate::core::SessionCore;
pub use belief::{Belief, SessionBelief};
pub use client::Client;
pub use config::{ClientConfig, ConfigError};
pub use credentials::Credentials;
pub use deadline::ClockRateBound;
pub use error::{AcquireError, CallError, Refused};
pub use lock::Lock;
pub use notice::{Lost, Notice};
pub use request::AcquireRequest;
pub use trouble::Trouble;

/// The values that requests and answers are made of, so that a caller needs the engine for nothing.
pub use lockwright_engine::{
    Claim, DurationMs, EndReason, ErrorCode, LimitName, Mode, Name, Path, PathError, Token, Wait,
};
/// What people are told of sessions and requests.
pub use lockwright_protocol::{LABEL_BYTES_MAX, Label, LabelError, is_hidden};
