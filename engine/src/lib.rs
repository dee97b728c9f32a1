//! The lock engine of Lockwright as a pure state machine.
//!
//! [`Engine`] is the machine and [`Command`] is what it can be asked: read these two first. The
//! caller feeds one command at a time, each with its time, and gets a reply and the events that it
//! caused, in order. There is no I/O, no clock, no randomness and no thread in here; whoever
//! applies the same commands gets the same engine.

mod command;
mod engine;
mod event;
mod limits;
mod name;
mod path;
mod time;

pub use command::{Claim, Command, LockKey, Mode, Owner, SessionKey, Token, Wait};
pub use engine::{Engine, HashKey};
pub use event::{
    EndReason, ErrorCode, Event, EventKind, InvalidRequest, LockState, Refusal, Reply,
    SessionChange,
};
pub use limits::{LimitName, Limits};
pub use name::{NAME_BYTES_MAX, Name, NameError};
pub use path::{Path, PathError};
pub use time::{DurationMs, MAX_MS, OutOfRange, TimeMs};
