//! Agreeing on the log: all use of openraft is in here.
//!
//! [`Node`] is what the rest of the server sees: it takes proposals, and tells what was applied, in
//! the order of the log. `types` ties openraft to our types, `log` keeps the log in the
//! [`Store`](crate::store::Store), `state` applies it to the [`Machine`](crate::machine::Machine)
//! and keeps its snapshots, `ticket` notices what is not taken, `network` calls other replicas and
//! `calls` answers them, `formation` makes a cluster of those who start together, `members` says which nodes
//! it has and which changes make sense, `reconfiguration` makes them, `lost` notices nodes that have lost
//! entries, `admission` keeps rebuilt nodes out of elections, `codec` writes rows, `facts` gathers what says why a
//! node does not serve.

mod admission;
mod calls;
mod codec;
mod facts;
mod formation;
mod log;
mod lost;
mod members;
mod network;
mod node;
mod reconfiguration;
mod state;
#[cfg(test)]
mod tests;
mod ticket;
mod types;

pub(crate) use facts::Readiness;
pub(crate) use members::{Members, NotChanged};
pub(crate) use node::{Leadership, Node, NodeEvent, RaftDoor};
pub(crate) use state::{Applied, News};
pub(crate) use ticket::Maker;
pub(crate) use types::Stopped;
