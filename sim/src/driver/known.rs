//! What the driver has seen of requests: for ops that leave out the owner or the token.

use crate::table::Table;
use lockwright_engine::{LockKey, Name, Owner, Token};

/// Requests by id. Ids are unique in a script; in plans several owners may use one.
#[derive(Default)]
pub(super) struct KnownLocks {
    by_id: Table<Name, Vec<Known>>,
}

/// A request that got as far as the queue or a grant.
pub(super) struct Known {
    pub(super) namespace: Name,
    pub(super) owner: Owner,
    /// The token of its latest grant; none while it is queued.
    token: Option<Token>,
}

impl Known {
    fn is(&self, lock: &LockKey) -> bool {
        self.namespace == lock.namespace && self.owner == lock.owner
    }
}

impl KnownLocks {
    /// Notes that a request was queued: it has no token yet, also if its id once had one.
    pub(super) fn queued(&mut self, lock: &LockKey) {
        self.note(lock, None);
    }

    /// Notes the token of a grant.
    pub(super) fn granted(&mut self, lock: &LockKey, token: Token) {
        self.note(lock, Some(token));
    }

    fn note(&mut self, lock: &LockKey, token: Option<Token>) {
        let Some(known) = self.by_id.get_mut(&lock.id) else {
            let known = vec![Known::of(lock, token)];
            self.by_id.insert(lock.id.clone(), known);
            return;
        };
        match known.iter_mut().find(|known| known.is(lock)) {
            Some(known) => known.token = token,
            None => known.push(Known::of(lock, token)),
        }
    }

    /// The token that the request got, if it got one.
    pub(super) fn token(&self, lock: &LockKey) -> Option<Token> {
        let known = self.by_id.get(&lock.id)?;
        known.iter().find(|known| known.is(lock))?.token
    }

    /// The request that was the latest to use this id for the first time.
    pub(super) fn latest(&self, id: &Name) -> Option<&Known> {
        self.by_id.get(id)?.last()
    }
}

impl Known {
    fn of(lock: &LockKey, token: Option<Token>) -> Known {
        Known {
            namespace: lock.namespace.clone(),
            owner: lock.owner.clone(),
            token,
        }
    }
}
