//! What the checker must come across: a check that never meets a case says nothing about it.

use crate::book::{Book, Life};
use crate::instance::Instance;

/// Something that must be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Sight {
    /// A reader waits behind a writer that waits itself, though it conflicts with no holder.
    ReaderBehindQueuedWriter,
    /// Two readers of overlapping paths hold at once.
    TwoReadersHold,
    /// A request for several claims waits for two holders.
    GroupWaitsForTwo,
    /// Somebody waits behind two others in a row.
    QueueOfTwo,
    /// A release hands over.
    ReleaseHandsOver,
    /// The end of a lease hands over.
    ExpiryHandsOver,
    /// A cancelled waiter sets a later one free.
    CancelHandsOver,
    /// A waiter that gives up at its deadline sets a later one free.
    TimeOutHandsOver,
    /// A broken lock hands over.
    BreakHandsOver,
    /// The end of a session hands over.
    SessionEndHandsOver,
    /// The end of a session ends several requests.
    SessionEndsSeveral,
    /// One end sets two free.
    TwoSetFree,
    /// A grant at the instant at which the wait would have been over.
    GrantAtDeadline,
    /// A wait is over at its deadline.
    TimeOut,
    /// Several things are due in one command.
    SeveralDue,
    /// A session is abandoned for its whole timeout.
    Abandoned,
    /// A session's connection comes back before the timeout.
    CameBack,
    /// A sign of life puts off the end of a session.
    KeptAlive,
    /// A renewal puts off the end of a lease.
    RenewalSaves,
    /// A renewal gives a lease to a lock that has none.
    RenewalGivesLease,
    /// A release comes at the very instant at which the lease has run out, and is refused.
    LateRelease,
    /// A request that may not wait is refused, while something is due.
    Busy,
    /// A stale token is refused.
    StaleToken,
    /// An id is used again once its first request is forgotten.
    IdUsedAgain,
    /// A session is done with a request that is remembered.
    DoneWith,
}

/// A set of sights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sights(u32);

impl Sights {
    pub(crate) fn add(&mut self, sight: Sight) {
        self.0 |= 1 << sight as u32;
    }

    pub(crate) fn has(self, sight: Sight) -> bool {
        self.0 & (1 << sight as u32) != 0
    }
}

impl Sight {
    /// All of them, in their order.
    pub const ALL: [Sight; 25] = [
        Sight::ReaderBehindQueuedWriter,
        Sight::TwoReadersHold,
        Sight::GroupWaitsForTwo,
        Sight::QueueOfTwo,
        Sight::ReleaseHandsOver,
        Sight::ExpiryHandsOver,
        Sight::CancelHandsOver,
        Sight::TimeOutHandsOver,
        Sight::BreakHandsOver,
        Sight::SessionEndHandsOver,
        Sight::SessionEndsSeveral,
        Sight::TwoSetFree,
        Sight::GrantAtDeadline,
        Sight::TimeOut,
        Sight::SeveralDue,
        Sight::Abandoned,
        Sight::CameBack,
        Sight::KeptAlive,
        Sight::RenewalSaves,
        Sight::RenewalGivesLease,
        Sight::LateRelease,
        Sight::Busy,
        Sight::StaleToken,
        Sight::IdUsedAgain,
        Sight::DoneWith,
    ];

    /// Its name in reports and in the explorer.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Sight::ReaderBehindQueuedWriter => "a reader waits behind a waiting writer",
            Sight::TwoReadersHold => "two readers hold at once",
            Sight::GroupWaitsForTwo => "a request for several claims waits for two holders",
            Sight::QueueOfTwo => "somebody waits behind somebody who waits",
            Sight::ReleaseHandsOver => "a release hands over",
            Sight::ExpiryHandsOver => "the end of a lease hands over",
            Sight::CancelHandsOver => "a cancelled waiter sets a later one free",
            Sight::TimeOutHandsOver => "a timed-out waiter sets a later one free",
            Sight::BreakHandsOver => "a broken lock hands over",
            Sight::SessionEndHandsOver => "the end of a session hands over",
            Sight::SessionEndsSeveral => "the end of a session ends several requests",
            Sight::TwoSetFree => "one end sets two free",
            Sight::GrantAtDeadline => "a grant at the instant of the wait deadline",
            Sight::TimeOut => "a wait is over",
            Sight::SeveralDue => "several things are due in one command",
            Sight::Abandoned => "a session is abandoned",
            Sight::CameBack => "a connection comes back in time",
            Sight::KeptAlive => "a sign of life puts off the end of a session",
            Sight::RenewalSaves => "a renewal puts off the end of a lease",
            Sight::RenewalGivesLease => "a renewal gives a lease",
            Sight::LateRelease => "a release at the instant of expiry is refused",
            Sight::Busy => "a request that may not wait is refused",
            Sight::StaleToken => "a stale token is refused",
            Sight::IdUsedAgain => "an id is used again once it is forgotten",
            Sight::DoneWith => "a session is done with a request",
        }
    }

    /// Whether a state shows it. `step` has what the latest step showed.
    pub(crate) fn is_in(self, instance: &Instance, book: &Book, step: Sights) -> bool {
        let depth = instance.size.depth;
        let goes_on = depth.is_none_or(|depth| book.steps < depth);
        match self {
            Sight::ReaderBehindQueuedWriter => book.live().any(|(id, request)| {
                request.is_queued()
                    && !instance.claim_sets[usize::from(request.claims)].writes
                    && book
                        .blockers(instance, id)
                        .all(|(_, other)| other.is_queued())
            }),
            Sight::TwoReadersHold => book.live().any(|(a, one)| {
                book.live().any(|(b, two)| {
                    a < b
                        && one.is_held()
                        && two.is_held()
                        && instance.overlap(one.claims, two.claims)
                })
            }),
            Sight::GroupWaitsForTwo => book.live().any(|(id, request)| {
                let holders = book.blockers(instance, id).filter(|(_, r)| r.is_held());
                request.is_queued()
                    && instance.claim_sets[usize::from(request.claims)]
                        .claims
                        .len()
                        > 1
                    && holders.count() > 1
            }),
            Sight::QueueOfTwo => book.live().any(|(id, request)| {
                request.is_queued()
                    && book
                        .blockers(instance, id)
                        .any(|(_, other)| other.is_queued())
            }),
            // Of these, the state after them may be one that is known from elsewhere, which nobody
            // looks at again. So they are seen where they are about to happen: the checker takes
            // every step from there, and the judge sees that it does happen.
            Sight::StaleToken => {
                goes_on && book.clock == book.told && book.live().any(|(_, r)| r.is_held())
            }
            Sight::DoneWith => {
                let is_over = |id: usize| matches!(book.requests[id].life, Life::Ended { .. });
                let is_open = |id: usize| book.sessions[instance.client_of[id]].is_some();
                goes_on
                    && book.clock == book.told
                    && (0..instance.locks.len()).any(|id| is_over(id) && is_open(id))
            }
            Sight::Abandoned => {
                let mut open = book.sessions.iter().flatten();
                goes_on && open.any(|session| session.ends_at.is_some_and(|at| at <= book.clock))
            }
            Sight::LateRelease => {
                goes_on
                    && book.live().any(|(_, r)| {
                        matches!(r.life, Life::Held { expires: Some(at), .. } if at <= book.clock)
                    })
            }
            Sight::RenewalGivesLease => {
                goes_on
                    && book
                        .live()
                        .any(|(_, r)| matches!(r.life, Life::Held { expires: None, .. }))
            }
            Sight::Busy => {
                let free = |id: usize| {
                    book.requests[id].life == Life::Unknown && instance.may_ask(book, id)
                };
                // The first claim set of each menu writes above or at what all others claim.
                goes_on
                    && usize::from(book.asked) < instance.size.requests
                    && (0..instance.locks.len()).any(free)
                    && book.live().any(|(_, r)| instance.conflict(0, r.claims))
            }
            _ => step.has(self),
        }
    }
}
