//! The command language: what scripts and the plans of the engine profile are written in.
//!
//! One [`Op`] is one JSON object. Texts are kept as the writer gave them, valid or not: whether a
//! path is a path is for the engine, and for the reference model, to say.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A shared text.
pub type Text = Arc<str>;

/// The namespace of an op that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// One command and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "json::OpObject", into = "json::OpObject")]
pub struct Op {
    /// When, in ms.
    pub at: u64,
    /// In which namespace. For an op on a lock that names no owner, the namespace is that of the
    /// lock with this id, when none is written.
    pub namespace: Option<Text>,
    /// What.
    pub action: Action,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpOwner {
    /// `"owner": NAME`
    Named(Text),
    /// `"session": NAME`
    Session(Text),
}

/// `"r a/b"` or `"w a/b"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpClaim {
    /// `w`, not `r`.
    pub write: bool,
    /// The path's text, which may be malformed.
    pub path: Text,
}

/// `"wait"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpWait {
    /// `"no"`
    No,
    /// Milliseconds.
    For(u64),
    /// `"forever"`, the default.
    Forever,
}

/// Which lock an op is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpLock {
    /// The request's id.
    pub id: Text,
    /// Whose; scripts may leave it out, since ids are unique in a script.
    pub owner: Option<OpOwner>,
}

/// What an [`Op`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `acquire`
    Acquire {
        /// The request's id.
        id: Text,
        /// Who asks.
        owner: OpOwner,
        /// For what.
        claims: Vec<OpClaim>,
        /// The lease in ms, if any.
        ttl: Option<u64>,
        /// How long to wait.
        wait: OpWait,
    },
    /// `release`; without a token, the one that the id got.
    Release {
        /// Which lock.
        lock: OpLock,
        /// With which token.
        token: Option<u64>,
    },
    /// `renew`
    Renew {
        /// Which lock.
        lock: OpLock,
        /// With which token.
        token: Option<u64>,
        /// The new lease in ms.
        ttl: u64,
    },
    /// `cancel`
    Cancel {
        /// Which request.
        lock: OpLock,
    },
    /// `break`; without a token, the one that the id got, if it got one.
    Break {
        /// Which lock.
        lock: OpLock,
        /// Guarded by which token.
        token: Option<u64>,
    },
    /// `open_session`; it starts attached.
    OpenSession {
        /// Its name.
        session: Text,
        /// The abandon timeout in ms.
        abandon: u64,
    },
    /// `attach`
    Attach {
        /// Its name.
        session: Text,
    },
    /// `detach`
    Detach {
        /// Its name.
        session: Text,
    },
    /// `keep_alive`
    KeepAlive {
        /// Its name.
        session: Text,
    },
    /// `close_session`
    CloseSession {
        /// Its name.
        session: Text,
    },
    /// `tick`
    Tick,
    /// `inspect`
    Inspect {
        /// Which path.
        path: Text,
    },
}

mod json;
