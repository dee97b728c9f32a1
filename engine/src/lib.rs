//! The lock engine of Lockwright as a pure state machine.
//!
//! [`Engine`] is the machine and [`Command`] is what it can be asked: read these two first. The
//! caller feeds one command at a time, each with its time, and gets a reply and the events that it
//! caused, in order. There is no I/O, no clock, no randomness and no thread in here; whoever
//! applies the same commands gets the same engine.

mod acquire;
mod claims;
mod command;
mod copy;
mod ended;
mod ended_claims;
mod engine;
mod event;
mod index;
mod inspect;
mod limits;
mod name;
mod owners;
mod parts;
mod path;
mod requests;
mod restore;
mod sessions;
mod slab;
mod snapshot;
mod table;
mod time;
mod tree;

pub use command::{Claim, Command, LockKey, Mode, Owner, SessionKey, Token, Wait};
pub use copy::{EngineCopy, SessionCopy, SessionRequest};
pub use engine::{Engine, EngineConfig};
pub use event::{
    EndReason, ErrorCode, Event, EventKind, FirstRequest, InvalidRequest, LockState, Refusal,
    Reply, SessionChange,
};
pub use inspect::{Arrived, Cursor, LockInfo, Page, SessionInfo, Usage};
pub use limits::{LimitName, Limits};
pub use name::{NAME_BYTES_MAX, Name, NameError};
pub use path::{Path, PathError};
pub use snapshot::{Snapshot, SnapshotError};
pub use table::HashKey;
pub use time::{DurationMs, MAX_MS, OutOfRange, TimeMs};
