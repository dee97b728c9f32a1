//! What is remembered of requests that have ended (SEMANTICS section 4). There may be millions of them,
//! so each takes as little as it can.

use crate::{
    EndReason, LockState, Name, TimeMs, Token,
    owners::OwnerId,
    slab::{Id, Slab},
};
use std::collections::VecDeque;

#[cfg(test)]
mod tests;

pub(crate) type EndedId = Id<Ended>;

/// A request that has ended: 48 bytes, and those of its id if that has more than 23.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) owner: OwnerId,
    /// What is kept of its claims ([`ClaimsDigest::kept`](crate::claims::ClaimsDigest::kept)).
    pub(crate) digest: u32,
    pub(crate) id: Name,
    /// Zero if it was never granted.
    token: u64,
    /// When it ended, above that how, and above that whether it is done with.
    end: u64,
}

/// The latest time of a command takes so many bits.
const TIME_BITS: u32 = 53;

/// A record that is only there because a list still has its place.
const IS_DONE: u64 = 1 << 63;

/// One that its session keeps beyond the retention.
const IS_KEPT: u64 = 1 << 62;

/// How a request can end, by the number that stands for it.
const REASONS: [EndReason; 6] = [
    EndReason::Released,
    EndReason::Expired,
    EndReason::Cancelled,
    EndReason::TimedOut,
    EndReason::SessionEnded,
    EndReason::Broken,
];

const fn number_of(reason: EndReason) -> u64 {
    match reason {
        EndReason::Released => 0,
        EndReason::Expired => 1,
        EndReason::Cancelled => 2,
        EndReason::TimedOut => 3,
        EndReason::SessionEnded => 4,
        EndReason::Broken => 5,
    }
}

impl Ended {
    pub(crate) fn new(
        owner: OwnerId,
        id: Name,
        (reason, at, token): (EndReason, TimeMs, Option<Token>),
        digest: u32,
    ) -> Ended {
        assert!(at <= TimeMs::LATEST, "nothing ends after the latest time");
        assert_ne!(token, Some(Token(0)), "tokens begin at 1");
        Ended {
            owner,
            digest,
            id,
            token: token.map_or(0, |token| token.0),
            end: at.as_ms() | number_of(reason) << TIME_BITS,
        }
    }

    /// When it ended.
    pub(crate) fn at(&self) -> TimeMs {
        let at = TimeMs::new(self.end & ((1 << TIME_BITS) - 1));
        at.expect("so many bits have no larger times")
    }

    /// How it ended.
    pub(crate) fn reason(&self) -> EndReason {
        let number = (self.end & !(IS_DONE | IS_KEPT)) >> TIME_BITS;
        REASONS[usize::try_from(number).expect("it has three bits")]
    }

    /// The token that it had, if it was granted.
    pub(crate) fn token(&self) -> Option<Token> {
        (self.token != 0).then_some(Token(self.token))
    }

    pub(crate) fn state(&self) -> LockState {
        LockState::Ended {
            reason: self.reason(),
            at: self.at(),
            token: self.token(),
        }
    }

    /// It is in the list of its session from now on.
    pub(crate) fn keep(&mut self) {
        self.end |= IS_KEPT;
    }

    /// Whether its session keeps it. That is not a question of the time: the retention may have been raised
    /// since.
    pub(crate) fn is_kept(&self) -> bool {
        self.end & IS_KEPT != 0
    }

    fn is_done(&self) -> bool {
        self.end & IS_DONE != 0
    }
}

/// Ended requests in the order of their ends. Those that are done with keep their places until there are
/// more of them than others, so that leaving a list costs constant time, amortised.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    ids: VecDeque<EndedId>,
    /// How many of them are done with.
    done: usize,
}

/// So many that are done with are always let be.
const DONE_MAX: usize = 64;

/// An emptied list with room for at most this many keeps its memory.
const KEPT_ROOM: usize = 1024;

impl Ends {
    /// How many there are that are not done with.
    pub(crate) fn len(&self) -> usize {
        self.ids.len() - self.done
    }

    pub(crate) fn push(&mut self, id: EndedId) {
        self.ids.push_back(id);
    }

    /// The first one.
    pub(crate) fn first(&mut self, records: &mut Slab<Ended>) -> Option<EndedId> {
        while let Some(id) = self.ids.front().copied() {
            if !records[id].is_done() {
                return Some(id);
            }
            self.ids.pop_front();
            self.done -= 1;
            records.remove(id);
        }
        None
    }

    /// Takes the first one out, which [`Ends::first`] gave.
    pub(crate) fn pop(&mut self) {
        self.ids.pop_front();
        self.give_back();
    }

    /// The first one, done with or not.
    pub(crate) fn front(&self) -> Option<EndedId> {
        self.ids.front().copied()
    }

    /// The last one, done with or not.
    pub(crate) fn last(&self) -> Option<EndedId> {
        self.ids.back().copied()
    }

    /// Those that are not done with.
    pub(crate) fn iter<'a>(
        &'a self,
        records: &'a Slab<Ended>,
    ) -> impl Iterator<Item = EndedId> + 'a {
        let ids = self.ids.iter().copied();
        ids.filter(|id| !records[*id].is_done())
    }

    /// A record of this list is not asked for any more.
    pub(crate) fn done_with(&mut self, id: EndedId, records: &mut Slab<Ended>) {
        let record = &mut records[id];
        assert!(!record.is_done(), "it is done with once");
        record.end |= IS_DONE;
        record.id = Name::placeholder();
        self.done += 1;
        let others = self.len();
        if others == 0 || (self.done > DONE_MAX && self.done > others) {
            self.sweep(records);
        }
    }

    /// Takes out all that are done with.
    fn sweep(&mut self, records: &mut Slab<Ended>) {
        self.ids.retain(|id| {
            let is_done = records[*id].is_done();
            if is_done {
                records.remove(*id);
            }
            !is_done
        });
        self.done = 0;
        self.give_back();
    }

    fn give_back(&mut self) {
        if self.ids.capacity() > KEPT_ROOM && self.ids.len() * 4 < self.ids.capacity() {
            self.ids.shrink_to(self.ids.len() * 2);
        }
    }

    /// Moves all records to another slab, in order, and tells of each where it was and is.
    pub(crate) fn move_to(
        &mut self,
        from: &mut Slab<Ended>,
        to: &mut Slab<Ended>,
        mut moved: impl FnMut(EndedId, EndedId),
    ) {
        self.sweep(from);
        for id in &mut self.ids {
            let before = *id;
            *id = to.insert(from.remove(before));
            moved(before, *id);
        }
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.ids.capacity()
    }

    #[cfg(test)]
    pub(crate) fn with_capacity(room: usize) -> Ends {
        Ends {
            ids: VecDeque::with_capacity(room),
            done: 0,
        }
    }
}
