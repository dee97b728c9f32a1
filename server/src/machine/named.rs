//! The requests of holders without a session: who waits, and which token is whose.
//!
//! All of it follows from the engine, and is made again when a machine is restored.

use lockwright_engine::{
    Engine, EventKind, LockInfo, LockKey, LockState, Name, Owner, Path, Token,
};
use std::collections::BTreeMap;

/// Live requests that are looked at at once when an engine is gone through.
const PAGE: usize = 1024;

/// The live requests of named holders.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Each live request; its token, if it is held.
    requests: BTreeMap<LockKey, Option<Token>>,
    by_token: BTreeMap<Token, LockKey>,
}

impl Named {
    /// Those of an engine. Cost: linear in its live requests.
    pub(crate) fn of(engine: &Engine) -> Named {
        let mut named = Named::default();
        each(engine, |lock| named.add(lock));
        named
    }

    fn add(&mut self, lock: &LockInfo) {
        if lock.key.owner.is_session() {
            return;
        }
        let token = match lock.state {
            LockState::Held { token, .. } => Some(token),
            _ => None,
        };
        self.put(&lock.key, token);
    }

    fn put(&mut self, lock: &LockKey, token: Option<Token>) {
        self.requests.insert(lock.clone(), token);
        if let Some(token) = token {
            let before = self.by_token.insert(token, lock.clone());
            assert!(before.is_none(), "a token is given once");
        }
    }

    /// Follows the engine.
    pub(crate) fn note(&mut self, event: &EventKind) {
        match event {
            EventKind::Queued { lock } if !lock.owner.is_session() => self.put(lock, None),
            EventKind::Granted { lock, token, .. } if !lock.owner.is_session() => {
                self.put(lock, Some(*token));
            }
            EventKind::Ended { lock, .. } if !lock.owner.is_session() => {
                let was = self.requests.remove(lock);
                let token = was.expect("what ends was queued or granted before");
                if let Some(token) = token {
                    let held = self.by_token.remove(&token);
                    assert_eq!(held.as_ref(), Some(lock), "a token is of one lock");
                }
            }
            _ => {}
        }
    }

    /// The live requests of a named holder, by id.
    pub(crate) fn of_owner<'a>(
        &'a self,
        namespace: &'a Name,
        owner: &'a Owner,
    ) -> impl Iterator<Item = &'a LockKey> {
        let first = LockKey {
            namespace: namespace.clone(),
            owner: owner.clone(),
            // Names are not empty, and have no control characters.
            id: Name::new(" ").expect("it is a name"),
        };
        let is_of = move |key: &&LockKey| key.owner == *owner && key.namespace == *namespace;
        let from = self.requests.range(first..);
        from.map(|(key, _)| key).take_while(is_of)
    }

    /// The held lock that has a token.
    pub(crate) fn with_token(&self, token: Token) -> Option<&LockKey> {
        self.by_token.get(&token)
    }
}

/// The requests of named holders that wait, the latest to arrive first: whoever ends them in this
/// order sets none of them free on the way.
pub(crate) fn latest_waiting(engine: &Engine) -> Vec<LockKey> {
    queued(engine, |lock| !lock.owner.is_session())
}

/// All requests that wait, in the same order.
pub(crate) fn latest_queued(engine: &Engine) -> Vec<LockKey> {
    queued(engine, |_| true)
}

fn queued(engine: &Engine, is_meant: impl Fn(&LockKey) -> bool) -> Vec<LockKey> {
    let mut queued = Vec::new();
    each(engine, |lock| {
        if is_meant(&lock.key) && matches!(lock.state, LockState::Queued { .. }) {
            queued.push(lock.key.clone());
        }
    });
    queued.reverse();
    queued
}

/// The live requests, in each namespace in the order of arrival.
pub(crate) fn live(engine: &Engine) -> Vec<LockInfo> {
    let mut live = Vec::new();
    each(engine, |lock| live.push(lock.clone()));
    live
}

/// How many locks are held, and the first of them, at most `most`.
pub(crate) fn held(engine: &Engine, most: usize) -> (usize, Vec<LockInfo>) {
    let (mut count, mut first) = (0, Vec::new());
    each(engine, |lock| {
        if matches!(lock.state, LockState::Held { .. }) {
            count += 1;
            if first.len() < most {
                first.push(lock.clone());
            }
        }
    });
    (count, first)
}

/// Goes through the live requests, in each namespace in the order of arrival.
fn each(engine: &Engine, mut see: impl FnMut(&LockInfo)) {
    for namespace in engine.namespaces() {
        let mut from = None;
        loop {
            let page = engine.locks_under(&namespace, &Path::root(), from, PAGE);
            page.locks.iter().for_each(&mut see);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
    }
}
