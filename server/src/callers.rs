//! Who waits for the locks of named holders.

use crate::call::{CallAnswer, CallerId};
use lockwright_engine::{Claim, LockKey};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// Those who have asked for locks and were not answered.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    /// Several may wait for one request: a retry comes on a connection of its own.
    waiting: BTreeMap<LockKey, Vec<Caller>>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Caller {
    id: CallerId,
    pub(crate) claims: Vec<Claim>,
    pub(crate) reply: oneshot::Sender<CallAnswer>,
    /// The [place](lockwright_engine::Arrived::place) of the request, once that was applied and is queued.
    /// What happened before is not news to it.
    pub(crate) place: Option<u64>,
}

impl Callers {
    /// A caller asks for locks.
    pub(crate) fn add(
        &mut self,
        id: CallerId,
        lock: LockKey,
        claims: Vec<Claim>,
        reply: oneshot::Sender<CallAnswer>,
    ) {
        let caller = Caller {
            id,
            claims,
            reply,
            place: None,
        };
        self.waiting.entry(lock).or_default().push(caller);
    }

    /// The caller's request is queued, with this place among all.
    pub(crate) fn decided(&mut self, id: CallerId, lock: &LockKey, place: u64) {
        let callers = self.waiting.get_mut(lock).into_iter().flatten();
        for caller in callers.filter(|caller| caller.id == id) {
            caller.place = Some(place);
        }
    }

    /// The caller is answered, or has gone.
    pub(crate) fn remove(
        &mut self,
        id: CallerId,
        lock: &LockKey,
    ) -> Option<oneshot::Sender<CallAnswer>> {
        let callers = self.waiting.get_mut(lock)?;
        let place = callers.iter().position(|caller| caller.id == id)?;
        let caller = callers.remove(place);
        if callers.is_empty() {
            self.waiting.remove(lock);
        }
        Some(caller.reply)
    }

    /// Whether somebody waits for this request.
    pub(crate) fn any(&self, lock: &LockKey) -> bool {
        self.waiting.contains_key(lock)
    }

    /// Those whose request was queued: it is over now, or granted.
    pub(crate) fn take_decided(&mut self, lock: &LockKey) -> Vec<Caller> {
        let Some(callers) = self.waiting.remove(lock) else {
            return Vec::new();
        };
        let (decided, others): (Vec<Caller>, Vec<Caller>) = callers
            .into_iter()
            .partition(|caller| caller.place.is_some());
        if !others.is_empty() {
            self.waiting.insert(lock.clone(), others);
        }
        decided
    }

    /// Drops them all: whoever waits is told by that.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.waiting.values().map(Vec::len).sum()
    }
}
