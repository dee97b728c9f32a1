//! What was asked and what the engine said: all that the judge knows.

use crate::instance::RETENTION;
use crate::{CLIENTS_MAX, Instance, REQUESTS_MAX};
use lockwright_engine::{EndReason, LockState, Token};
use std::hash::{Hash, Hasher};

/// Where a request is in its life, as far as the engine has said. Times in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Its id is free.
    Unknown,
    /// It waits.
    Queued {
        /// When it gives up.
        deadline: Option<u64>,
    },
    /// It is granted.
    Held {
        /// The token of the grant.
        token: u64,
        /// When that was.
        granted_at: u64,
        /// When the lease runs out.
        expires: Option<u64>,
    },
    /// It is over, and remembered.
    Ended {
        /// How.
        reason: EndReason,
        /// When.
        at: u64,
        /// The token that it had.
        token: Option<u64>,
    },
}

/// A request, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) life: Life,
    /// Which claim set.
    pub(crate) claims: u8,
    pub(crate) ttl: Option<u64>,
    /// Its place in the order of arrival.
    pub(crate) arrival: u32,
    pub(crate) arrived_at: u64,
}

/// An open session. Times in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) opening: u32,
    /// None while it is attached.
    pub(crate) ends_at: Option<u64>,
}

/// What was asked and what the engine said. Times in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Book {
    /// The time, whether the engine knows it or not.
    pub clock: u64,
    /// The latest time that the engine was told.
    pub told: u64,
    /// How many requests were not refused.
    pub asked: u8,
    /// How many steps led here; counted only where they are bounded.
    pub steps: u16,
    pub(crate) requests: [Request; REQUESTS_MAX],
    pub(crate) sessions: [Option<Session>; CLIENTS_MAX],
    pub(crate) last_token: u64,
    pub(crate) arrivals: u32,
    pub(crate) openings: u32,
}

/// What is due next, in the order of SEMANTICS section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Request { arrival: u32, id: usize },
    Session { opening: u32, client: usize },
}

/// An id that is free.
pub(crate) const NOTHING: Request = Request {
    life: Life::Unknown,
    claims: 0,
    ttl: None,
    arrival: 0,
    arrived_at: 0,
};

impl Request {
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.life, Life::Queued { .. } | Life::Held { .. })
    }

    pub(crate) fn is_held(&self) -> bool {
        matches!(self.life, Life::Held { .. })
    }

    pub(crate) fn is_queued(&self) -> bool {
        matches!(self.life, Life::Queued { .. })
    }

    /// Its token, if it ever had one.
    pub(crate) fn token(&self) -> Option<u64> {
        match self.life {
            Life::Held { token, .. } => Some(token),
            Life::Ended { token, .. } => token,
            Life::Unknown | Life::Queued { .. } => None,
        }
    }

    /// When its wait or its lease is over.
    pub(crate) fn due(&self) -> Option<u64> {
        match self.life {
            Life::Queued { deadline } => deadline,
            Life::Held { expires, .. } => expires,
            Life::Unknown | Life::Ended { .. } => None,
        }
    }

    /// The same in the engine's words; none when the id is free.
    pub(crate) fn state(&self) -> Option<LockState> {
        let time = |ms: Option<u64>| ms.map(crate::instance::time);
        Some(match self.life {
            Life::Unknown => return None,
            Life::Queued { deadline } => LockState::Queued {
                deadline: time(deadline),
            },
            Life::Held {
                token,
                granted_at,
                expires,
            } => LockState::Held {
                token: Token(token),
                granted_at: crate::instance::time(granted_at),
                expires: time(expires),
            },
            Life::Ended { reason, at, token } => LockState::Ended {
                reason,
                at: crate::instance::time(at),
                token: token.map(Token),
            },
        })
    }
}

impl Book {
    pub(crate) fn new() -> Book {
        Book {
            clock: 0,
            told: 0,
            asked: 0,
            steps: 0,
            requests: [NOTHING; REQUESTS_MAX],
            sessions: [None; CLIENTS_MAX],
            last_token: 0,
            arrivals: 0,
            openings: 0,
        }
    }

    /// Live requests with their ids.
    pub(crate) fn live(&self) -> impl Iterator<Item = (usize, &Request)> {
        self.requests
            .iter()
            .enumerate()
            .filter(|(_, r)| r.is_live())
    }

    /// Live requests that arrived before `id` and conflict with it.
    pub(crate) fn blockers(
        &self,
        instance: &Instance,
        id: usize,
    ) -> impl Iterator<Item = (usize, &Request)> {
        let mine = self.requests[id];
        self.live().filter(move |(other, request)| {
            *other != id
                && request.arrival < mine.arrival
                && instance.conflict(request.claims, mine.claims)
        })
    }

    /// A queued request that no earlier live one conflicts with, if there is one: by section 2 it
    /// should have been granted.
    pub(crate) fn waits_for_nothing(&self, instance: &Instance) -> Option<usize> {
        self.live()
            .filter(|(_, request)| request.is_queued())
            .map(|(id, _)| id)
            .find(|id| self.blockers(instance, *id).next().is_none())
    }

    /// What is due first, and when.
    pub(crate) fn first_due(&self) -> Option<(u64, Due)> {
        let requests = self.live().filter_map(|(id, request)| {
            let arrival = request.arrival;
            Some((request.due()?, Due::Request { arrival, id }))
        });
        let sessions = self.sessions.iter().enumerate();
        let sessions = sessions.filter_map(|(client, session)| {
            let Session { opening, ends_at } = (*session)?;
            Some((ends_at?, Due::Session { opening, client }))
        });
        requests.chain(sessions).min()
    }

    /// Section 4: an end is remembered for the retention time, and as long as its session lives.
    pub(crate) fn is_forgotten_at(&self, instance: &Instance, id: usize, now: u64) -> bool {
        match self.requests[id].life {
            Life::Ended { at, .. } => {
                at + RETENTION <= now && self.sessions[instance.client_of[id]].is_none()
            }
            _ => false,
        }
    }

    pub(crate) fn forget(&mut self, instance: &Instance) {
        for id in 0..instance.locks.len() {
            if self.is_forgotten_at(instance, id, self.told) {
                self.requests[id] = NOTHING;
            }
        }
    }

    /// Feeds a fingerprint with all that the future depends on (`docs/model-checking.md` says why
    /// the rest makes no difference).
    pub(crate) fn feed(&self, hasher: &mut impl Hasher) {
        (self.clock, self.told, self.asked, self.steps).hash(hasher);
        for request in &self.requests {
            match request.life {
                Life::Unknown => 0u8.hash(hasher),
                Life::Queued { deadline } => {
                    (1u8, deadline, request.ttl).hash(hasher);
                    (request.claims, self.rank(request.arrival)).hash(hasher);
                }
                Life::Held { expires, .. } => {
                    (2u8, expires).hash(hasher);
                    (request.claims, self.rank(request.arrival)).hash(hasher);
                }
                Life::Ended { reason, at, token } => {
                    let remembered = (at + RETENTION).saturating_sub(self.told);
                    (3u8, reason, token.is_some(), remembered).hash(hasher);
                }
            }
        }
        for session in &self.sessions {
            let rank = |opening| {
                let open = self.sessions.iter().flatten();
                open.filter(|other| other.opening < opening).count()
            };
            session.map(|s| (s.ends_at, rank(s.opening))).hash(hasher);
        }
    }

    /// How many live requests arrived earlier.
    fn rank(&self, arrival: u32) -> usize {
        self.live().filter(|(_, r)| r.arrival < arrival).count()
    }
}
