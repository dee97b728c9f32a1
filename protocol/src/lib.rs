//! What crosses the wire between clients and servers: messages and their JSON form, no I/O.
//!
//! A session is spoken over a WebSocket at [`SESSION_PATH`], one JSON object in each text frame.
//! Read [`Request`] first, what a client says, then [`Message`], what a server says: each goes in
//! a frame, [`ClientFrame`] or [`ServerFrame`], with its [`Seq`]. `docs/protocol.md` tells the
//! same to those who write a client in another language. Whoever wants no session asks over plain
//! HTTP: [`http`]. Operators ask the same way about the nodes of a cluster: [`cluster`]. Servers read
//! what clients say with [`strict`].

mod claim_text;
pub mod cluster;
mod frame;
pub mod http;
mod label;
mod request;
mod response;
mod secret;
pub mod strict;
mod wait;

pub use claim_text::{ClaimError, ClaimText};
pub use frame::{ClientFrame, DecodeError, Seq, ServerFrame};
pub use label::{LABEL_BYTES_MAX, Label, LabelError, is_hidden};
pub use request::{DONE_IDS_MAX, Request};
pub use response::{LockStatus, Message};
pub use secret::{SECRET_BYTES_MAX, SECRET_BYTES_MIN, Secret, SecretError};
pub use wait::WaitMs;

/// The path of the WebSocket that sessions are spoken over.
pub const SESSION_PATH: &str = "/v1/session";

/// The path that answers `ok` over plain HTTP while the server runs.
pub const HEALTH_PATH: &str = "/healthz";

/// Why a server closes a connection: the codes of WebSocket close frames.
///
/// None of them ends the session, which lives on for its abandon timeout; with
/// [`SESSION_ENDED`](close_code::SESSION_ENDED) it has ended before.
pub mod close_code {
    /// The client closed its session, or the connection, and was answered.
    pub const NORMAL: u16 = 1000;
    /// The server shuts down.
    pub const SHUTDOWN: u16 = 1001;
    /// What came is not WebSocket, or so large that the server does not read on.
    pub const UNREADABLE: u16 = 1002;
    /// Nothing came for the idle timeout. Send `keep_alive` more often.
    pub const IDLE: u16 = 4000;
    /// Another connection has taken the session over.
    pub const REPLACED: u16 = 4001;
    /// The client reads too slowly: too many messages wait for it.
    pub const SLOW_READER: u16 = 4002;
    /// The node knows of no leader, and can do nothing without one: go on with another node.
    pub const NO_LEADER: u16 = 4003;
    /// An operator ended the session, and with it all its locks.
    pub const SESSION_ENDED: u16 = 4004;
    /// What came as the secret of a session is another one.
    pub const WRONG_SECRET: u16 = 4005;
}

/// For fields that are left out when they are zero.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
