//! The command language: what scripts and the plans of the engine profile are written in.
//!
//! One [`Op`] is one JSON object. Texts are kept as the writer gave them, valid or not: whether a
//! path is a path is for the engine, and for the reference model, to say.

use std::fmt;

mod json;

/// A text that is cheap to clone: short ones are copied in place, others are shared.
pub type Text = smol_str::SmolStr;

/// The namespace of an op that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The largest number of the command language, for times, durations and tokens: 2^53 - 1, the
/// largest integer that survives JSON numbers everywhere.
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// One command and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// When, in ms, at most [`NUMBER_MAX`] (as all numbers of an op).
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
    /// `done`: the session will never ask for these ended requests again.
    Done {
        /// Its name.
        session: Text,
        /// The ids of its requests.
        ids: Vec<Text>,
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

impl Op {
    /// The namespace that is written, or the default one.
    #[must_use]
    pub fn namespace_or_default(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }
}

impl OpOwner {
    /// The name of the owner or session.
    #[must_use]
    pub fn name(&self) -> &Text {
        match self {
            OpOwner::Named(name) | OpOwner::Session(name) => name,
        }
    }
}

impl fmt::Display for OpClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.write { 'w' } else { 'r' }, self.path)
    }
}

impl Action {
    /// The names of all ops.
    pub const NAMES: [&str; 13] = [
        "acquire",
        "release",
        "renew",
        "cancel",
        "break",
        "open_session",
        "attach",
        "detach",
        "keep_alive",
        "done",
        "close_session",
        "tick",
        "inspect",
    ];

    /// The op's name, as in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Action::Acquire { .. } => "acquire",
            Action::Release { .. } => "release",
            Action::Renew { .. } => "renew",
            Action::Cancel { .. } => "cancel",
            Action::Break { .. } => "break",
            Action::OpenSession { .. } => "open_session",
            Action::Attach { .. } => "attach",
            Action::Detach { .. } => "detach",
            Action::KeepAlive { .. } => "keep_alive",
            Action::Done { .. } => "done",
            Action::CloseSession { .. } => "close_session",
            Action::Tick => "tick",
            Action::Inspect { .. } => "inspect",
        }
    }
}
