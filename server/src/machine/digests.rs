//! What distinguishes the states of two replicas.
//!
//! Each entry changes the digest by what it did, and by the digest before it. So two replicas that
//! have the same digest after the same entry have, but for an accident of one in 2^64, told the same
//! of all entries. The last ones are kept, for whoever is told an earlier one.

use super::Outcome;
use crate::proposal::Ignored;
use lockwright_engine::{EventKind, LockState, Reply};
use siphasher::sip::SipHasher13;
use std::{
    collections::VecDeque,
    hash::{Hash, Hasher},
};

/// Digests that are kept.
const KEPT_MAX: usize = 1024;

/// The digests of the last entries.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    /// The entry and the digest after it, the oldest first.
    last: VecDeque<(u64, u64)>,
}

impl From<Option<(u64, u64)>> for Digests {
    fn from(last: Option<(u64, u64)>) -> Digests {
        Digests {
            last: last.into_iter().collect(),
        }
    }
}

impl Digests {
    /// The digest after the last entry that was applied, and the index of that.
    pub(crate) fn now(&self) -> Option<(u64, u64)> {
        self.last.back().copied()
    }

    /// The digest after an entry, if it is still known.
    pub(crate) fn after(&self, index: u64) -> Option<u64> {
        let place = self.last.binary_search_by_key(&index, |(index, _)| *index);
        place.ok().map(|place| self.last[place].1)
    }

    /// An entry was applied.
    pub(super) fn add(&mut self, index: u64, result: &Result<Outcome, Ignored>) {
        let mut hasher = SipHasher13::new();
        self.now().map(|(_, digest)| digest).hash(&mut hasher);
        index.hash(&mut hasher);
        match result {
            Ok(outcome) => digest(outcome, &mut hasher),
            Err(ignored) => (*ignored as u8).hash(&mut hasher),
        }
        if self.last.len() == KEPT_MAX {
            self.last.pop_front();
        }
        self.last.push_back((index, hasher.finish()));
    }
}

fn digest(outcome: &Outcome, hasher: &mut impl Hasher) {
    outcome.at.as_ms().hash(hasher);
    outcome.next_deadline.map(|at| at.as_ms()).hash(hasher);
    outcome.size.hash(hasher);
    match &outcome.result {
        Ok(Reply::Acquired { state, .. }) => match state {
            LockState::Held { token, .. } => token.0.hash(hasher),
            LockState::Queued { .. } => 1_u8.hash(hasher),
            LockState::Ended { reason, .. } => reason.as_str().hash(hasher),
        },
        Ok(Reply::Renewed { expires }) => expires.as_ms().hash(hasher),
        Ok(Reply::Done) => 2_u8.hash(hasher),
        Err(_) => 3_u8.hash(hasher),
    }
    for event in &outcome.happened {
        event.at.as_ms().hash(hasher);
        match &event.kind {
            EventKind::Granted { lock, token, .. } => {
                lock.id.as_str().hash(hasher);
                token.0.hash(hasher);
            }
            EventKind::Ended { lock, reason } => {
                lock.id.as_str().hash(hasher);
                reason.as_str().hash(hasher);
            }
            EventKind::Queued { lock } => lock.id.as_str().hash(hasher),
            EventKind::Renewed { lock, expires } => {
                lock.id.as_str().hash(hasher);
                expires.as_ms().hash(hasher);
            }
            EventKind::Session { session, .. } => session.session.as_str().hash(hasher),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_before_counts() {
        let (mut one, mut other) = (Digests::default(), Digests::default());
        one.add(1, &Err(Ignored::OldTerm));
        other.add(1, &Err(Ignored::Repeated));
        for index in 2..4 {
            one.add(index, &Err(Ignored::Repeated));
            other.add(index, &Err(Ignored::Repeated));
            assert_ne!(one.now(), other.now());
        }
        assert_eq!(one.after(3), one.now().map(|(_, digest)| digest));
        assert_eq!(one.after(9), None);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut digests = Digests::default();
        for index in 0..2000 {
            digests.add(index, &Err(Ignored::Repeated));
        }
        assert_eq!(digests.after(900), None);
        assert!(digests.after(1900).is_some());
    }
}
