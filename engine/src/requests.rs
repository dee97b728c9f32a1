//! The records of live requests.

use crate::{
    DurationMs, LockState, Name, TimeMs, Token,
    owners::OwnerId,
    slab::{Id, Slab},
    tree::{Arrival, EntryId},
};

pub(crate) type RequestId = Id<Request>;

/// Where a live request is in its life: `queued` -> `held` (SEMANTICS section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Queued {
        deadline: Option<TimeMs>,
    },
    Held {
        token: Token,
        granted_at: TimeMs,
        expires: Option<TimeMs>,
    },
}

/// One request, from its arrival until it ends.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) owner: OwnerId,
    pub(crate) id: Name,
    pub(crate) hash: u64,
    pub(crate) arrival: Arrival,
    pub(crate) arrived_at: TimeMs,
    pub(crate) ttl: Option<DurationMs>,
    pub(crate) phase: Phase,
    /// How many of its entries on the tree are blocked; it is granted when none is.
    pub(crate) blocked: u32,
    /// The chain of its entries on the tree; none while it is put there or taken from there.
    pub(crate) first_entry: Option<EntryId>,
    /// Its neighbours in the list of its owner's live requests.
    pub(crate) prev_of_owner: Option<RequestId>,
    pub(crate) next_of_owner: Option<RequestId>,
}

/// The live requests of an owner from this one on, in arrival order.
pub(crate) fn from_on(
    requests: &Slab<Request>,
    first: Option<RequestId>,
) -> impl Iterator<Item = &Request> {
    let record = |id: Option<RequestId>| id.map(|id| &requests[id]);
    std::iter::successors(record(first), move |request| record(request.next_of_owner))
}

impl Request {
    pub(crate) fn is_queued(&self) -> bool {
        matches!(self.phase, Phase::Queued { .. })
    }

    /// The token of its grant, if it was granted.
    pub(crate) fn token(&self) -> Option<Token> {
        match self.phase {
            Phase::Queued { .. } => None,
            Phase::Held { token, .. } => Some(token),
        }
    }

    /// When it is due: its wait deadline while queued, the end of its lease while held.
    pub(crate) fn due(&self) -> Option<TimeMs> {
        match self.phase {
            Phase::Queued { deadline } => deadline,
            Phase::Held { expires, .. } => expires,
        }
    }

    pub(crate) fn state(&self) -> LockState {
        match self.phase {
            Phase::Queued { deadline } => LockState::Queued { deadline },
            Phase::Held {
                token,
                granted_at,
                expires,
            } => LockState::Held {
                token,
                granted_at,
                expires,
            },
        }
    }
}
