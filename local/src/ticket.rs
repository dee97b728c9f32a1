//! A request that is in the lock space: whoever has its ticket is the one who waits or holds.

use crate::{
    slots::{Phase, SlotId},
    space::{Clocked, Core, Space},
};
use std::sync::Arc;

/// Ends its request when it is dropped: cancels it when it is queued, releases it when it is held.
/// A future that is dropped just when its grant has come is thereby a lock that is released.
#[derive(Debug)]
pub(crate) struct Ticket {
    space: Arc<Space>,
    /// None once it has ended.
    slot: Option<SlotId>,
}

impl Ticket {
    pub(crate) fn new(space: Arc<Space>, slot: SlotId) -> Ticket {
        Ticket {
            space,
            slot: Some(slot),
        }
    }

    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    pub(crate) fn core(&self) -> &Core {
        self.space.core()
    }

    pub(crate) fn slot(&self) -> SlotId {
        self.slot.expect("it ends only when it is given up")
    }

    /// Ends the request, and says where it was until then.
    pub(crate) fn end(mut self) -> Phase {
        let slot = self.slot.take().expect("it ends once");
        self.core().turn(Clocked::IfTimed).end(slot)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take()
            && let Some(mut turn) = self.core().turn_if_sound()
        {
            turn.end(slot);
        }
    }
}
