//! What can be asked of the engine.

use crate::{DurationMs, Name, Path, claims};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a claim wants its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Shared: any number of readers at once.
    Read,
    /// Exclusive.
    Write,
}

/// A path and a mode. Two claims conflict when their paths overlap and they are not both `read`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// The resource; its whole subtree is meant.
    pub path: Path,
    /// Shared or exclusive.
    pub mode: Mode,
}

impl Claim {
    /// A `read` claim on `path`.
    #[must_use]
    pub fn read(path: Path) -> Claim {
        Claim {
            path,
            mode: Mode::Read,
        }
    }

    /// A `write` claim on `path`.
    #[must_use]
    pub fn write(path: Path) -> Claim {
        Claim {
            path,
            mode: Mode::Write,
        }
    }

    /// Whether this claim makes `other` redundant in the same request: an equal or ancestor path with
    /// an equal or stronger mode.
    #[must_use]
    pub(crate) fn covers(&self, other: &Claim) -> bool {
        (self.mode == Mode::Write || other.mode == Mode::Read) && self.path.covers(&other.path)
    }

    /// What is left of the claims of a request without those that others of them cover, as a [`LockInfo`]
    /// tells of it.
    ///
    /// [`LockInfo`]: crate::LockInfo
    #[must_use]
    pub fn uncovered(asked: &[Claim]) -> Vec<Claim> {
        let mut left: Vec<Claim> = claims::uncovered(asked).into_iter().cloned().collect();
        left.sort_unstable();
        left
    }

    /// Whether the two claims conflict.
    #[must_use]
    pub fn conflicts(&self, other: &Claim) -> bool {
        (self.mode == Mode::Write || other.mode == Mode::Write) && self.path.overlaps(&other.path)
    }
}

/// As scripts and the protocol write it: `r a/b` or `w a/b`.
impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::Read => 'r',
            Mode::Write => 'w',
        };
        write!(f, "{mode} {}", self.path)
    }
}

/// A fencing token: the number of a grant, 1, 2, 3, ... over the whole engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub u64);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who asks: a name given with each request, or a session. Owners belong to a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A name, which needs no opening and never ends.
    Named(Name),
    /// A session, which must be open, and whose end ends its requests.
    Session(Name),
}

impl Owner {
    /// The name of the owner or session.
    #[must_use]
    pub fn name(&self) -> &Name {
        match self {
            Owner::Named(name) | Owner::Session(name) => name,
        }
    }

    /// Whether the owner is a session.
    #[must_use]
    pub fn is_session(&self) -> bool {
        matches!(self, Owner::Session(_))
    }
}

/// Names a lock: the id that the client chose for its request, unique within its owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LockKey {
    /// The namespace that the lock is in.
    pub namespace: Name,
    /// Whose request it is.
    pub owner: Owner,
    /// The request's id.
    pub id: Name,
}

/// Names a session: sessions belong to a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionKey {
    /// The namespace that the session is in.
    pub namespace: Name,
    /// The session's name.
    pub session: Name,
}

/// How long a request waits when it cannot be granted at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Not at all: it is refused as `busy`.
    No,
    /// This long, then it ends as `timed_out`. Zero is the same as [`Wait::No`].
    For(DurationMs),
    /// Until it is granted.
    Forever,
}

/// One command. A time goes with each: see [`Engine::apply`](crate::Engine::apply).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Asks for locks: all of the claims or none.
    Acquire {
        /// The request: its id is free, or this is a retry for the same claims and is answered with
        /// the state of the first one.
        lock: LockKey,
        /// What is asked for; see [`Limits::claims_per_request`](crate::Limits).
        claims: Vec<Claim>,
        /// The lease, counted from the grant; none for a lock without one. Zero is refused.
        ttl: Option<DurationMs>,
        /// How long to wait.
        wait: Wait,
    },
    /// Gives up a queued request.
    Cancel {
        /// Which request.
        lock: LockKey,
    },
    /// Ends a held lock.
    Release {
        /// Which lock.
        lock: LockKey,
        /// The token of its grant.
        token: Token,
    },
    /// Sets the end of a held lock's lease to the command's time plus `ttl`.
    Renew {
        /// Which lock.
        lock: LockKey,
        /// The token of its grant.
        token: Token,
        /// The new lease. Zero is refused.
        ttl: DurationMs,
    },
    /// An operator ends a live request of anyone, held or queued.
    Break {
        /// Which lock.
        lock: LockKey,
        /// When given, the lock must be held with this token.
        token: Option<Token>,
    },
    /// Opens a session; it starts attached. Opening one that is there is refused: open, ending, or ended
    /// and not all given back.
    OpenSession {
        /// Which session.
        session: SessionKey,
        /// How long it lives after it was detached.
        abandon: DurationMs,
    },
    /// A connection of the session is there: it lives as long as that stays so.
    Attach {
        /// Which session.
        session: SessionKey,
    },
    /// The session's connection is gone: it ends, as by [`Command::CloseSession`], when its abandon timeout
    /// passes without a return.
    /// Detaching a detached session changes nothing.
    Detach {
        /// Which session.
        session: SessionKey,
    },
    /// A sign of life without a connection: a detached session's abandon timeout starts anew.
    KeepAlive {
        /// Which session.
        session: SessionKey,
    },
    /// A session will never ask for these requests again: they are forgotten at once. All have ended;
    /// those that are not known, because they were forgotten before, need nothing. Cost: that of the ids.
    Done {
        /// Which session.
        session: SessionKey,
        /// The ids of its requests.
        ids: Vec<Name>,
    },
    /// Ends a session: it is over for every command from now on that names it, and none of its requests is
    /// granted any more. Its end takes a millisecond for each
    /// [so many](crate::Limits::session_ends_per_ms) of its live requests, beginning now; until then they
    /// stay what they are. Those that it kept beyond their retention are forgotten now, and are given back
    /// after the live ones at the same rate.
    CloseSession {
        /// Which session.
        session: SessionKey,
    },
    /// Nothing but the time.
    Tick,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(text: &str) -> Claim {
        let path = Path::parse(&text[2..]).unwrap();
        match &text[..1] {
            "w" => Claim::write(path),
            _ => Claim::read(path),
        }
    }

    #[test]
    fn claims_conflict_when_their_paths_overlap_and_they_are_not_both_read() {
        let cases = [
            ("w a", "w a", true),
            ("w a", "w a/b", true),
            ("w a", "r a/b", true),
            ("r a", "w a/b", true),
            ("r /", "w a/b", true),
            ("r a", "r a", false),
            ("r a", "r a/b", false),
            ("w a", "w b", false),
            ("w a", "r b", false),
            ("w a/b", "w a/bc", false),
            ("r a", "r b", false),
        ];
        for (one, other, conflict) in cases {
            let (one, other) = (claim(one), claim(other));
            assert_eq!(one.conflicts(&other), conflict, "{one:?} and {other:?}");
            assert_eq!(other.conflicts(&one), conflict, "{other:?} and {one:?}");
        }
    }
}
