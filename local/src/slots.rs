//! The live requests, each in a slot that its guard or future owns.
//!
//! The engine wants an id for each request. A slot's number is the id, made into text once and
//! used again by the slot's next request: the engine forgets an ended request before it looks at
//! the next one (its retention is zero).

use crate::wakes::{Wake, Wakes};
use lockwright_engine::{
    EndReason, Engine, EventKind, LockInfo, LockKey, Name, Owner, Path, TimeMs, Token,
};
use std::task::Waker;

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Free,
    Queued,
    Held {
        token: Token,
        expires: Option<TimeMs>,
    },
    Ended(EndReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotId(u32);

#[derive(Debug)]
pub(crate) struct Slot {
    /// None only while a command carries it.
    pub(crate) key: Option<LockKey>,
    pub(crate) phase: Phase,
    /// Who waits for the grant.
    pub(crate) waiter: Option<Wake>,
    /// Who wants to know when the lock is lost, each under its number.
    pub(crate) watchers: Vec<(u64, Waker)>,
    /// Whether its key has the name of an owner.
    named: bool,
    /// Whether it has, or will have, a deadline.
    pub(crate) timed: bool,
}

#[derive(Debug)]
pub(crate) struct Slots {
    namespace: Name,
    /// The owner of requests that name none.
    nobody: Name,
    slots: Vec<Slot>,
    free: Vec<SlotId>,
    /// How many have a deadline: while none has, nobody needs to look at the clock.
    timed: usize,
}

/// When this many or more have been in use and none is any more, their memory is given back.
const KEPT_ROOM: usize = 1024;

impl Slots {
    pub(crate) fn new() -> Slots {
        let name = |text: &str| Name::new(text).expect("a short word is a name");
        Slots {
            namespace: name("local"),
            nobody: name("unnamed"),
            slots: Vec::new(),
            free: Vec::new(),
            timed: 0,
        }
    }

    pub(crate) fn any_timed(&self) -> bool {
        self.timed > 0
    }

    /// A slot for a new request, with its key taken out for the command.
    pub(crate) fn take(&mut self, owner: Option<Name>) -> (SlotId, LockKey) {
        let id = self.free.pop().unwrap_or_else(|| self.add());
        let nobody = &self.nobody;
        let slot = &mut self.slots[id.0 as usize];
        assert_eq!(slot.phase, Phase::Free, "a slot serves one request");
        slot.phase = Phase::Queued;
        let mut key = slot.key.take().expect("no command carries the key");
        // Most name no owner, and find the slot as another of them left it.
        if owner.is_some() || slot.named {
            slot.named = owner.is_some();
            key.owner = Owner::Named(owner.unwrap_or_else(|| nobody.clone()));
        }
        (id, key)
    }

    fn add(&mut self) -> SlotId {
        let id = SlotId(u32::try_from(self.slots.len()).expect("memory ends before the numbers"));
        let number = Name::new(id.0.to_string()).expect("digits are a name");
        self.slots.push(Slot {
            key: Some(LockKey {
                namespace: self.namespace.clone(),
                owner: Owner::Named(self.nobody.clone()),
                id: number,
            }),
            phase: Phase::Free,
            waiter: None,
            watchers: Vec::new(),
            named: false,
            timed: false,
        });
        id
    }

    pub(crate) fn put_back(&mut self, id: SlotId) {
        if self[id].timed {
            self[id].timed = false;
            self.timed -= 1;
        }
        let slot = &mut self[id];
        assert!(
            slot.waiter.is_none() && slot.watchers.is_empty(),
            "nobody waits at a free slot"
        );
        slot.phase = Phase::Free;
        self.free.push(id);
        if self.free.len() == self.slots.len() && self.slots.len() >= KEPT_ROOM {
            self.free = Vec::new();
            self.slots = Vec::new();
        }
    }

    pub(crate) fn set_timed(&mut self, id: SlotId) {
        if !self[id].timed {
            self[id].timed = true;
            self.timed += 1;
        }
    }

    /// The live requests that overlap a path, each with its owner if it named one.
    pub(crate) fn overlapping(
        &self,
        engine: &Engine,
        path: &Path,
    ) -> Vec<(Option<Name>, LockInfo)> {
        let found = engine.overlapping(&self.namespace, path).into_iter();
        let with_owner = |lock: LockInfo| {
            let named = self[Slots::id_of(&lock.key)].named;
            (named.then(|| lock.key.owner.name().clone()), lock)
        };
        found.map(with_owner).collect()
    }

    /// Takes down what happened, and who is to be told.
    pub(crate) fn absorb(&mut self, event: EventKind, wakes: &mut Wakes) {
        match event {
            EventKind::Queued { .. } => {}
            EventKind::Granted {
                lock,
                token,
                expires,
                ..
            } => {
                let slot = &mut self[Slots::id_of(&lock)];
                assert_eq!(slot.phase, Phase::Queued, "only who waits is granted");
                slot.phase = Phase::Held { token, expires };
                if let Some(waiter) = slot.waiter.take() {
                    wakes.push(waiter);
                }
            }
            EventKind::Renewed { lock, expires: end } => {
                match &mut self[Slots::id_of(&lock)].phase {
                    Phase::Held { expires, .. } => *expires = Some(end),
                    other => unreachable!("only what is held is renewed, not {other:?}"),
                }
            }
            EventKind::Ended { lock, reason } => {
                let slot = &mut self[Slots::id_of(&lock)];
                assert!(
                    matches!(slot.phase, Phase::Queued | Phase::Held { .. }),
                    "there is exactly one end (SEMANTICS section 2)"
                );
                slot.phase = Phase::Ended(reason);
                if let Some(waiter) = slot.waiter.take() {
                    wakes.push(waiter);
                }
                for (_, watcher) in slot.watchers.drain(..) {
                    wakes.push(Wake::Task(watcher));
                }
            }
            EventKind::Session { .. } => unreachable!("there are no sessions in one process"),
        }
    }

    /// The slot of the request that an event speaks of.
    fn id_of(key: &LockKey) -> SlotId {
        let number = key.id.as_str().parse();
        SlotId(number.expect("all ids are numbers of slots"))
    }
}

impl std::ops::Index<SlotId> for Slots {
    type Output = Slot;
    fn index(&self, id: SlotId) -> &Slot {
        &self.slots[id.0 as usize]
    }
}

impl std::ops::IndexMut<SlotId> for Slots {
    fn index_mut(&mut self, id: SlotId) -> &mut Slot {
        &mut self.slots[id.0 as usize]
    }
}
