//! One replica of the lock service: the engine, and the sessions of clients that come over
//! WebSockets. Generic over the world it runs in ([`Env`](lockwright_env::Env)), so that what is
//! simulated is what ships.
//!
//! Read [`ServerConfig`] and [`Server`] first. The way of a request: `listen` takes connections
//! and speaks HTTP, `session_endpoint` reads frames, `replica` is the one task that owns all state
//! and decides in which order things happen, `ledger` stamps a command with the time and applies
//! it to the engine, `switchboard` knows which connection speaks for which session and carries
//! answers and events there.
//!
//! State is in memory only: a restart forgets every lock and session, and clients that come back
//! are told `unknown_session`. Until they do, a client may believe in a lock that the new server
//! has granted to another: only fencing tokens protect from that, and they increase over restarts,
//! see [`first_token`].

mod config;
mod connection;
mod handle;
mod ledger;
mod listen;
mod probe;
mod replica;
mod session_endpoint;
mod switchboard;
mod translate;

pub use config::ServerConfig;
pub use handle::{ServerHandle, Usage};
pub use ledger::first_token;
pub use listen::{BindError, Server};
pub use probe::Probe;
