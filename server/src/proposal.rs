//! What the log is made of.

use lockwright_engine::{
    Claim, Command, DurationMs, Limits, LockKey, Name, Owner, Path, SessionKey, TimeMs, Token,
};
use lockwright_protocol::{Label, Secret};
use serde::{Deserialize, Deserializer, Serialize, de};
use sha2::{Digest, Sha256};
use std::{cell::Cell, fmt, sync::Arc};

/// Something to be done at a time: an entry of the log. Whoever applies the same proposals in the
/// same order gets the same [`Machine`](crate::machine::Machine).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposal {
    /// When, by the clock of the leader that made it; later ones are never earlier.
    pub(crate) at: TimeMs,
    /// The term of that leader. In a later one its time may be over, and it does not count.
    pub(crate) term: u64,
    /// Who wants it; nobody but the leader itself without one.
    pub(crate) origin: Option<Origin>,
    /// What. Shared, since its node keeps it until it is applied.
    pub(crate) action: Arc<Action>,
}

/// Which proposal of which node something is. A node's proposals are applied in the order of their
/// numbers, each once, however often they were sent to however many leaders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The node.
    pub(crate) node: u64,
    /// Which of its lives: a node that cannot vouch for its connections any more begins another.
    pub(crate) incarnation: u64,
    /// 0 for the one with which the life begins, and one more for each that follows.
    pub(crate) number: u64,
}

/// What is to be done. The order of the variants is part of the format of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    /// A node begins to lead. Its time does not count.
    Begin {
        /// The limits from now on.
        limits: Limits,
        /// No grant takes a smaller token from now on.
        first_token: Token,
    },
    /// A connection opens a session, or comes back to it.
    Open {
        /// Which.
        session: SessionKey,
        /// What proves that a connection may speak for it.
        secret: SecretHash,
        /// How long it lives without a connection.
        abandon: DurationMs,
        /// What people are told of it, if this opens it.
        label: Option<Label>,
    },
    /// A connection comes back to a session.
    Resume {
        /// Which.
        session: SessionKey,
        /// What proves that the connection may speak for it.
        secret: SecretHash,
    },
    /// A connection has gone.
    Detach {
        /// Whose.
        session: SessionKey,
        /// How it was attached: a later connection is left alone.
        attachment: Attachment,
    },
    /// The connection of a session has a request.
    Ask {
        /// Whose.
        session: SessionKey,
        /// How it is attached: what a replaced connection still says does not count.
        attachment: Attachment,
        /// What it asks for.
        command: Command,
        /// What people are told of the request that it makes, if it makes one.
        label: Option<Label>,
    },
    /// Nothing but the time.
    Tick,
    /// Somebody without a session has a request: a named holder, or an operator.
    Call {
        /// What is asked for.
        command: Command,
        /// What people are told of the request that it makes, if it makes one.
        label: Option<Label>,
    },
    /// A named holder uses a lock that it knows by its token.
    Use {
        /// The lock's namespace.
        namespace: Name,
        /// One of the paths that it claims.
        path: Path,
        /// The holder, when it is said who it is.
        holder: Option<Name>,
        /// The token of its grant.
        token: Token,
        /// What for.
        purpose: Purpose,
    },
    /// Ends what is held exactly at a path.
    EndAt {
        /// The path's namespace.
        namespace: Name,
        /// Where.
        path: Path,
        /// When given, only a lock with this token.
        token: Option<Token>,
        /// By what right.
        right: Right,
    },
    /// Whoever waited for the answer to a named holder's request has gone: the request is given up
    /// if it still waits.
    GiveUp {
        /// Which.
        lock: LockKey,
        /// Whether it ends too if it was granted meanwhile, since nobody else knows of it.
        even_held: bool,
    },
    /// A node begins a life: no connection of its former one is there any more.
    Join {
        /// The disk that it is on.
        disk: DiskId,
    },
    /// The leader has not heard of a node for long: none of its connections count any more.
    Gone {
        /// Which.
        node: u64,
        /// Which of its lives.
        incarnation: u64,
        /// Whether it may come back with another disk.
        forget: bool,
    },
    /// The leader writes down how far it has come, and how far others have, so that whoever has
    /// come elsewhere, or goes back, is found out.
    Witness {
        /// An entry that the leader has applied.
        index: u64,
        /// Its [digest](crate::machine::Digests) then.
        digest: u64,
        /// The nodes that have acknowledged entries, and the last one of each.
        acknowledged: Vec<(u64, u64)>,
    },
    /// A node has lost what it had acknowledged.
    Distrust {
        /// Which.
        node: u64,
    },
    /// An operator ends requests of one owner that claim exactly a path, held or queued.
    EndRequests {
        /// The path's namespace.
        namespace: Name,
        /// Where.
        path: Path,
        /// Whose.
        owner: Owner,
        /// When given, only the request with this id.
        id: Option<Name>,
        /// When given, only a held lock with this token.
        token: Option<Token>,
    },
    /// An operator ends a session.
    EndSession {
        /// Which.
        session: SessionKey,
    },
    /// An `acquire` of a session or of a named holder that counts only if its request is known already:
    /// a server that stops grants nothing new.
    Again(#[serde(deserialize_with = "asked_again")] Box<Action>),
}

impl Action {
    /// What an `acquire` asks for.
    pub(crate) fn acquired(&self) -> Option<(&LockKey, &[Claim])> {
        match self {
            Action::Again(asked) => asked.acquired(),
            Action::Ask {
                command: Command::Acquire { lock, claims, .. },
                ..
            }
            | Action::Call {
                command: Command::Acquire { lock, claims, .. },
                ..
            } => Some((lock, claims)),
            _ => None,
        }
    }

    /// The same for what is known already, and nothing for an `acquire` that would be new.
    pub(crate) fn known_only(self) -> Action {
        match self {
            Action::Again(_) => self,
            _ if self.acquired().is_some() => Action::Again(Box::new(self)),
            _ => self,
        }
    }
}

/// Reads what is asked again, which is not asked again itself: however deep another node nests it, one level is
/// read.
fn asked_again<'de, D: Deserializer<'de>>(from: D) -> Result<Box<Action>, D::Error> {
    thread_local! {
        static IS_WITHIN: Cell<bool> = const { Cell::new(false) };
    }
    /// Is within until it is dropped.
    struct Within;
    impl Drop for Within {
        fn drop(&mut self) {
            IS_WITHIN.set(false);
        }
    }
    if IS_WITHIN.replace(true) {
        return Err(de::Error::custom(
            "what is asked again is asked again itself",
        ));
    }
    let _within = Within;
    Action::deserialize(from).map(Box::new)
}

/// Names the disk of a node: drawn at random when its data is made.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiskId(pub(crate) u64);

impl fmt::Debug for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a lock is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// To end it.
    Release,
    /// To set its lease anew.
    Renew {
        /// The lease from now on.
        ttl: DurationMs,
    },
}

/// By what right somebody ends what is held at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Right {
    /// An operator breaks it, whoever holds it.
    Operator,
    /// A holder without a session releases it: this one, or any.
    Holder(Option<Name>),
}

/// Which connection a session has: the index of the log entry that attached it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Attachment(pub(crate) u64);

/// Why an entry of the log does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// The leader that gave it its time had lost its term when it was appended.
    OldTerm,
    /// It was applied before.
    Repeated,
    /// One that its node made before it was not applied.
    OutOfOrder,
    /// Its node has begun another life since, or has not begun this one.
    OtherLife,
}

/// A replica's state is not that of the leader, though both have applied the same entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the state of this node after entry {index} is not that of the leader: one of the two is \
     damaged. Look at the machine's memory and disk; rebuild this node from the others with \
     `lockwright cluster remove` and `lockwright cluster add`"
)]
pub(crate) struct Diverged {
    /// The entry.
    pub(crate) index: u64,
}

/// The SHA-256 of a session's secret: what is kept and sent to others proves nothing to anybody.
/// Secrets are drawn at random by clients and long, so they cannot be guessed from it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretHash([u8; 32]);

impl SecretHash {
    pub(crate) fn of(secret: Secret) -> SecretHash {
        SecretHash(Sha256::digest(String::from(secret).as_bytes()).into())
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} ms", self.action, self.at.as_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_again_is_read_to_one_level() {
        let again = Action::Again(Box::new(Action::Tick));
        let mut bytes = postcard::to_allocvec(&again).unwrap();
        let read = |bytes: &[u8]| postcard::from_bytes::<Action>(bytes);
        assert_eq!(read(&bytes), Ok(again.clone()));
        let nested = [&bytes[..1], &bytes].concat();
        assert!(read(&nested).is_err());
        bytes.splice(..0, std::iter::repeat_n(bytes[0], 1 << 20));
        assert!(read(&bytes).is_err(), "it takes no stack");
        // One that was refused leaves nothing behind.
        let two = postcard::to_allocvec(&[&again, &again]).unwrap();
        assert_eq!(postcard::from_bytes(&two), Ok([again.clone(), again]));
    }
}
