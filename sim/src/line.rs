//! What comes out: the lines of a script's output, which are also what the engine and the
//! reference model are compared by, and what the oracles of the engine profile see.

use crate::op::{OpOwner, Text};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;
use std::sync::Arc;

/// Full identity of a lock. The id comes first, so that two mostly differ where they are compared
/// first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineLock {
    /// Its request id; the only part that a script's output shows.
    pub id: Text,
    /// Its owner.
    pub owner: OpOwner,
    /// Its namespace.
    pub namespace: Text,
}

/// What an error line is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// `"id"`
    Lock(Text),
    /// `"session"`
    Session(Text),
    /// `"path"`
    Path(Text),
}

/// One thing that happened. As JSON it is one flat object whose keys have a fixed order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When, in ms: an event's own time.
    pub at: u64,
    /// What.
    pub what: What,
}

/// What a [`Line`] says. Error codes, end reasons and session states are those of the engine's
/// `ErrorCode::as_str`, `EndReason::as_str` and `SessionChange::as_str`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A request was granted.
    Granted {
        /// Which.
        lock: LineLock,
        /// Its token.
        token: u64,
    },
    /// A request was queued.
    Queued {
        /// Which.
        lock: LineLock,
    },
    /// A request was refused.
    Refused {
        /// Which.
        lock: LineLock,
        /// The error code.
        error: &'static str,
    },
    /// A request ended.
    Ended {
        /// Which.
        lock: LineLock,
        /// Why.
        reason: &'static str,
    },
    /// A lease was renewed.
    Renewed {
        /// Which.
        lock: LineLock,
        /// Its new end, in ms.
        expires: u64,
    },
    /// A session changed.
    Session {
        /// Its namespace; not shown.
        namespace: Text,
        /// Its name.
        session: Text,
        /// Its state.
        state: &'static str,
    },
    /// The live requests that overlap a path, in arrival order.
    Inspect {
        /// The path.
        path: Text,
        /// Ids of the held ones.
        held: Vec<Text>,
        /// Ids of the queued ones.
        queued: Vec<Text>,
    },
    /// An op other than an acquire was refused.
    Error {
        /// The op's name.
        op: &'static str,
        /// What it was about.
        subject: Subject,
        /// The error code.
        error: &'static str,
    },
}

/// A list of lines, shared.
pub type Lines = Arc<[Line]>;

impl What {
    /// The value of the key `event`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            What::Granted { .. } => "granted",
            What::Queued { .. } => "queued",
            What::Refused { .. } => "refused",
            What::Ended { .. } => "ended",
            What::Renewed { .. } => "renewed",
            What::Session { .. } => "session",
            What::Inspect { .. } => "inspect",
            What::Error { .. } => "error",
        }
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("at", &self.at)?;
        map.serialize_entry("event", self.what.name())?;
        match &self.what {
            What::Granted { lock, token } => {
                map.serialize_entry("id", &*lock.id)?;
                map.serialize_entry("token", token)?;
            }
            What::Queued { lock } => map.serialize_entry("id", &*lock.id)?,
            What::Refused { lock, error } => {
                map.serialize_entry("id", &*lock.id)?;
                map.serialize_entry("error", error)?;
            }
            What::Ended { lock, reason } => {
                map.serialize_entry("id", &*lock.id)?;
                map.serialize_entry("reason", reason)?;
            }
            What::Renewed { lock, expires } => {
                map.serialize_entry("id", &*lock.id)?;
                map.serialize_entry("expires", expires)?;
            }
            What::Session { session, state, .. } => {
                map.serialize_entry("session", &**session)?;
                map.serialize_entry("state", state)?;
            }
            What::Inspect { path, held, queued } => {
                map.serialize_entry("path", &**path)?;
                map.serialize_entry("held", held)?;
                map.serialize_entry("queued", queued)?;
            }
            What::Error { op, subject, error } => {
                map.serialize_entry("op", op)?;
                match subject {
                    Subject::Lock(id) => map.serialize_entry("id", &**id)?,
                    Subject::Session(session) => map.serialize_entry("session", &**session)?,
                    Subject::Path(path) => map.serialize_entry("path", &**path)?,
                }
                map.serialize_entry("error", error)?;
            }
        }
        map.end()
    }
}

/// The line as JSON, as scripts print it.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // All keys are texts and no number is a float, so nothing in a line has no JSON.
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> LineLock {
        LineLock {
            namespace: Text::from("default"),
            owner: OpOwner::Named(Text::from("alice")),
            id: Text::from("L\"1"),
        }
    }

    #[test]
    fn lines_are_json_with_keys_in_a_fixed_order() {
        let text = Text::from;
        for (what, json) in [
            (
                What::Granted {
                    lock: lock(),
                    token: 7,
                },
                r#"{"at":5,"event":"granted","id":"L\"1","token":7}"#,
            ),
            (
                What::Queued { lock: lock() },
                r#"{"at":5,"event":"queued","id":"L\"1"}"#,
            ),
            (
                What::Refused {
                    lock: lock(),
                    error: "busy",
                },
                r#"{"at":5,"event":"refused","id":"L\"1","error":"busy"}"#,
            ),
            (
                What::Ended {
                    lock: lock(),
                    reason: "expired",
                },
                r#"{"at":5,"event":"ended","id":"L\"1","reason":"expired"}"#,
            ),
            (
                What::Renewed {
                    lock: lock(),
                    expires: 1005,
                },
                r#"{"at":5,"event":"renewed","id":"L\"1","expires":1005}"#,
            ),
            (
                What::Session {
                    namespace: text("default"),
                    session: text("s1"),
                    state: "open",
                },
                r#"{"at":5,"event":"session","session":"s1","state":"open"}"#,
            ),
            (
                What::Inspect {
                    path: text("a"),
                    held: vec![text("L1")],
                    queued: vec![],
                },
                r#"{"at":5,"event":"inspect","path":"a","held":["L1"],"queued":[]}"#,
            ),
            (
                What::Error {
                    op: "release",
                    subject: Subject::Lock(text("L1")),
                    error: "not_held",
                },
                r#"{"at":5,"event":"error","op":"release","id":"L1","error":"not_held"}"#,
            ),
            (
                What::Error {
                    op: "attach",
                    subject: Subject::Session(text("s1")),
                    error: "unknown_session",
                },
                r#"{"at":5,"event":"error","op":"attach","session":"s1","error":"unknown_session"}"#,
            ),
        ] {
            assert_eq!(Line { at: 5, what }.to_string(), json);
        }
    }
}
