//! Links between nodes: their own port, a handshake that refuses what it does not understand, and
//! frames on it.
//!
//! `wire` reads and writes frames, `hello` is the handshake, `dial` opens links, `listen` takes
//! them. What is said on them is in `raft` and in [`forward`](crate::forward).

mod dial;
mod hello;
mod listen;
pub(crate) mod wire;

pub(crate) use dial::{Dialer, Link};
pub(crate) use hello::{Identity, Purpose};
pub(crate) use listen::{Doors, listen};
