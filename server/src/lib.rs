//! One replica of the lock service: the engine, and the sessions of clients that come over
//! WebSockets. Generic over the world it runs in ([`Env`](lockwright_env::Env)), so that what is
//! simulated is what ships.
//!
//! Read [`ServerConfig`] and [`Server`] first. The way of a request: `listen` takes connections
//! and speaks HTTP, `session_endpoint` reads frames, `replica` is the one task that decides in which
//! order things are proposed and hands out what they came to, `ledger` stamps a proposal with the
//! time, `raft` makes it a durable entry of the log, kept by `store`, and applies it to the
//! `machine`: the engine, and who may speak for which session. `switchboard` knows which connection
//! does speak for it and carries answers and events there.
//!
//! With [`Storage::Directory`] nothing is said to anybody before it is on the disk. With
//! [`Storage::Memory`] a restart forgets every lock and session, and clients that come back are
//! told `unknown_session`. Until they do, a client may believe in a lock that the new server has
//! granted to another: only fencing tokens protect from that, and they increase over restarts, see
//! [`first_token`].

mod admission;
mod call;
mod callers;
mod config;
mod connection;
mod error;
mod forward;
mod handle;
mod http;
mod idle;
mod ledger;
mod listen;
mod locktopus;
mod machine;
mod metrics;
mod peer;
mod probe;
mod proposal;
mod raft;
mod readiness;
mod replica;
mod resumed;
mod secret;
mod session_endpoint;
mod shares;
mod sighting;
mod store;
mod switchboard;
mod translate;
mod unread;

pub use admission::CONNECTIONS_RESERVE;
pub use config::{ClusterConfig, Drain, Member, ServerConfig, Storage};
pub use error::ServerError;
pub use handle::{ServerHandle, StateReader, Usage};
pub use ledger::first_token;
pub use listen::{BindError, Server};
/// The engine's, for [`ServerConfig::limits`].
pub use lockwright_engine::Limits;
/// What a node waits for, as [`StateReader`] tells it.
pub use lockwright_protocol::cluster::{NodeState, Waiting};
pub use probe::{DrainEvent, Probe, RaftEvent};
pub use secret::{Secret, SecretError};
pub use store::StoreError;
