//! Agreeing on the log: all use of openraft is in here.
//!
//! [`Node`] is what the rest of the server sees: it takes proposals, and tells what each came to,
//! in the order of the log. `types` ties openraft to our types, `log` keeps the log in the
//! [`Store`](crate::store::Store), `state` applies it to the [`Machine`](crate::machine::Machine)
//! and keeps its snapshots, `ticket` brings back what a proposal came to, `network` is for a
//! cluster of one, `codec` writes rows.

mod codec;
mod log;
mod network;
mod node;
mod state;
#[cfg(test)]
mod tests;
mod ticket;
mod types;

pub(crate) use node::{Completion, Node};
pub(crate) use types::Stopped;
