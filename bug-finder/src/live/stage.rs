//! Where everything that happens is taken down and judged, and where everybody learns in which
//! phase the run is.

use super::happening::{Call, Happening, RequestId};
use super::judge::{Broken, Judge};
use lockwright_env::{Env, TokioEnv};
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::sync::watch;

/// What everybody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Asks for locks, and makes faults.
    Work,
    /// Asks for nothing more, and gives back what it has.
    Settle,
    /// Nothing: the run is over.
    Over,
}

/// What was done in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests that were made.
    pub requests: u64,
    /// Grants that were told.
    pub grants: u64,
    /// Releases, renewals and cancellations that were answered.
    pub calls: u64,
    /// Lists of all locks that were held against what was acknowledged.
    pub lists: u64,
    /// Servers that were killed.
    pub kills: u64,
    /// Servers that were stopped for a while.
    pub stops: u64,
    /// Links that were cut or silenced.
    pub cuts: u64,
    /// Times at which all faults were over and every queue had drained.
    pub calms: u64,
}

/// What one run has in common.
pub(super) struct Stage {
    began: Duration,
    log: RefCell<Vec<(Duration, Happening)>>,
    judge: RefCell<Judge>,
    violation: RefCell<Option<(Duration, Broken)>>,
    counts: Cell<Counts>,
    phase: watch::Sender<Phase>,
    next: Cell<u32>,
}

impl Stage {
    pub(super) fn new() -> Stage {
        Stage {
            began: TokioEnv.monotonic(),
            log: RefCell::default(),
            judge: RefCell::default(),
            violation: RefCell::default(),
            counts: Cell::default(),
            phase: watch::Sender::new(Phase::Work),
            next: Cell::new(1),
        }
    }

    /// The time since the start.
    pub(super) fn now(&self) -> Duration {
        TokioEnv.monotonic().saturating_sub(self.began)
    }

    /// A time of the monotonic clock as one since the start.
    pub(super) fn since_start(&self, monotonic: Duration) -> Duration {
        monotonic.saturating_sub(self.began)
    }

    /// An id that nobody had.
    pub(super) fn draw_id(&self) -> RequestId {
        let id = self.next.get();
        self.next.set(id + 1);
        RequestId(id)
    }

    /// Takes down and judges what happens now.
    pub(super) fn happen(&self, happening: Happening) {
        let at = self.now();
        self.count(|counts| match &happening {
            Happening::Asked { .. } => counts.requests += 1,
            Happening::Granted { .. } => counts.grants += 1,
            Happening::Answered { call, .. } if *call != Call::Leave => counts.calls += 1,
            Happening::List { .. } => counts.lists += 1,
            _ => {}
        });
        let verdict = self.judge.borrow_mut().see(at, &happening);
        self.log.borrow_mut().push((at, happening));
        if let Err(broken) = verdict {
            self.break_off(broken);
        }
    }

    pub(super) fn fault(&self, what: String) {
        self.happen(Happening::Fault { what });
    }

    pub(super) fn count(&self, add: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        add(&mut counts);
        self.counts.set(counts);
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.get()
    }

    /// A rule was broken: the run is over. The first one counts.
    pub(super) fn break_off(&self, broken: Broken) {
        let mut violation = self.violation.borrow_mut();
        if violation.is_none() {
            *violation = Some((self.now(), broken));
        }
        drop(violation);
        self.enter(Phase::Over);
    }

    pub(super) fn violation(&self) -> Option<(Duration, Broken)> {
        self.violation.borrow().clone()
    }

    /// What is not over, for people.
    pub(super) fn unfinished(&self) -> Vec<String> {
        self.judge.borrow().unfinished()
    }

    /// Enters a phase, unless the run is over.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let changes = *now != Phase::Over && *now != phase;
            if changes {
                *now = phase;
            }
            changes
        });
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until the phase is `phase` or a later one.
    pub(super) async fn reached(&self, phase: Phase) {
        let mut seen = self.phase.subscribe();
        // It fails when the stage is gone, and then nobody waits.
        let _ = seen.wait_for(|now| *now >= phase).await;
    }

    /// Waits for `time`, or until the phase is `phase` or a later one.
    pub(super) async fn wait(&self, time: Duration, phase: Phase) {
        let _ = lockwright_env::timeout(&TokioEnv, time, self.reached(phase)).await;
    }

    /// Everything that happened, a line each.
    pub(super) fn story(&self) -> String {
        use std::fmt::Write;
        let mut story = String::new();
        for (at, happening) in self.log.borrow().iter() {
            let ms = at.as_secs_f64() * 1000.0;
            writeln!(story, "{ms:>12.3} {happening}").expect("a String takes everything");
        }
        story
    }
}
