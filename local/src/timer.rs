//! The thread that ends leases and waits when nobody comes by: one for each lock space, from its
//! first deadline that needs it on.

use crate::{
    space::{Clocked, Core, Timer},
    time,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs until the last handle, guard and future of the lock space are gone.
pub(crate) fn run(core: &Core) {
    loop {
        // A turn does all that is due. A panic of somebody's waker is theirs: without this thread,
        // others would wait for ever. (If it was ours, the mutex is poisoned, and this ends below.)
        let _ = catch_unwind(AssertUnwindSafe(|| drop(core.turn(Clocked::IfTimed))));
        let Some(mut state) = core.lock_if_sound() else {
            return;
        };
        if state.timer == Timer::Ending {
            return;
        }
        let until = state.next_deadline();
        if until.is_some_and(|at| at <= time::time_at(core.clock.elapsed())) {
            continue;
        }
        state.timer = Timer::Asleep { until };
        match core.clock.wait(&core.timer_wake, state, until) {
            Some(state) if state.timer == Timer::Ending => return,
            Some(mut state) => state.timer = Timer::Awake,
            None => return,
        }
    }
}
