//! Saving an engine and bringing it back.
//!
//! A snapshot is the state without its indexes, in an order that depends on nothing but the
//! commands that were applied: equal engines give equal bytes in any serialization.

use crate::{
    Claim, DurationMs, Engine, HashKey, Limits, LockInfo, LockKey, LockState, SessionKey, TimeMs,
    Token,
    owners::OwnerId,
    requests::{Request, RequestId},
};
use serde::{Deserialize, Serialize};

/// The whole state of an [`Engine`], to be serialized as the caller likes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub(crate) limits: Limits,
    pub(crate) now: TimeMs,
    pub(crate) next_token: Token,
    pub(crate) next_arrival: u64,
    pub(crate) next_opening: u64,
    /// Open sessions in the order of opening.
    pub(crate) sessions: Vec<SavedSession>,
    /// Live requests in arrival order.
    pub(crate) live: Vec<SavedRequest>,
    /// Ended requests in the order of their ends.
    pub(crate) remembered: Vec<SavedRequest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedSession {
    pub(crate) key: SessionKey,
    pub(crate) opening: u64,
    pub(crate) abandon: DurationMs,
    pub(crate) ends_at: Option<TimeMs>,
    /// Ended requests that are remembered only because the session lives.
    pub(crate) kept: Vec<SavedRequest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedRequest {
    pub(crate) key: LockKey,
    pub(crate) arrival: u64,
    pub(crate) arrived_at: TimeMs,
    pub(crate) claims: Vec<Claim>,
    pub(crate) ttl: Option<DurationMs>,
    pub(crate) state: LockState,
}

/// Why a snapshot is not the state of an engine: it was damaged, or made by something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Two records of one request, or of one session.
    #[error("the snapshot has {what} twice")]
    Twice {
        /// What is there twice.
        what: String,
    },
    /// A number is out of order or beyond the counter that gives such numbers.
    #[error("the snapshot has {what} out of order")]
    OutOfOrder {
        /// What is out of order.
        what: String,
    },
    /// A request is of a session that is not open, or in a state that it cannot be in.
    #[error("the snapshot has {what}, which cannot be")]
    Impossible {
        /// What cannot be.
        what: String,
    },
}

impl Snapshot {
    /// The same state under other limits. What is beyond them stays: they only refuse what comes.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Snapshot {
        Snapshot { limits, ..self }
    }
}

impl PartialEq for Engine {
    fn eq(&self, other: &Engine) -> bool {
        self.snapshot() == other.snapshot()
    }
}

impl Eq for Engine {}

impl Engine {
    /// The whole state, but for the hash key. Cost: linear in what is in use.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut live: Vec<&Request> = self
            .requests
            .iter()
            .map(|(_, r)| r)
            .filter(|r| r.is_live())
            .collect();
        live.sort_unstable_by_key(|request| request.arrival);
        Snapshot {
            limits: self.limits.clone(),
            now: self.now,
            next_token: self.next_token,
            next_arrival: self.next_arrival.0,
            next_opening: self.next_opening.0,
            sessions: self
                .sessions
                .values()
                .map(|owner| self.save_session(*owner))
                .collect(),
            live: live
                .into_iter()
                .map(|request| self.save_request(request))
                .collect(),
            remembered: self
                .forget
                .iter()
                .map(|(_, id)| self.save_ended(*id))
                .collect(),
        }
    }

    fn save_session(&self, owner: OwnerId) -> SavedSession {
        let session = self.session(owner);
        SavedSession {
            key: self.owners.session_key(owner),
            opening: session.opening.0,
            abandon: session.abandon,
            ends_at: session.ends_at,
            kept: session.kept.iter().map(|id| self.save_ended(*id)).collect(),
        }
    }

    fn save_ended(&self, id: RequestId) -> SavedRequest {
        self.save_request(&self.requests[id])
    }

    fn save_request(&self, request: &Request) -> SavedRequest {
        let LockInfo {
            key,
            claims,
            state,
            arrived_at,
        } = self.info_of(request);
        let (arrival, ttl) = (request.arrival.0, request.ttl);
        SavedRequest {
            key,
            arrival,
            arrived_at,
            claims,
            ttl,
            state,
        }
    }

    /// The engine of a snapshot, with a hash key of its own. Cost: linear in what is saved.
    ///
    /// # Errors
    /// [`SnapshotError`] when the snapshot cannot be the state of an engine.
    pub fn restore(snapshot: &Snapshot, hash_key: HashKey) -> Result<Engine, SnapshotError> {
        crate::restore::restore(snapshot, hash_key)
    }
}
