//! One simulated host as its programs feel it: a clock, pauses, and connections that are cut.
//!
//! A pause is a host that computes nothing while time passes (a stopped process, a long collection
//! of garbage, a frozen virtual machine). turmoil has none, so every wait of the host goes through
//! its gate, which stays closed until the pause ends; then all that is due comes at once.

use super::clock::HostClock;
use crate::plan::ClockPlan;
use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    time::Duration,
};

/// A host. Clones are the same host.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: HostClock,
    /// When the current or last pause ends, in nanoseconds of simulated time.
    paused_until: AtomicU64,
    /// How often the host's connections were reset: a stream of an earlier count is dead.
    resets: AtomicU64,
    /// Who waits on a stream and must learn of a reset.
    waiting: Mutex<Vec<Waker>>,
}

/// Simulated time since the start of the run.
pub(crate) fn simulated() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

impl Host {
    pub(crate) fn new(clock: &ClockPlan) -> Host {
        Host {
            shared: Arc::new(Shared {
                clock: HostClock::new(clock),
                paused_until: AtomicU64::new(0),
                resets: AtomicU64::new(0),
                waiting: Mutex::new(Vec::new()),
            }),
        }
    }

    pub(crate) fn clock(&self) -> &HostClock {
        &self.shared.clock
    }

    /// What the host's clock shows now.
    pub(crate) fn local(&self) -> Duration {
        self.shared.clock.shows(simulated())
    }

    /// Pauses the host until the simulated time `until`; an earlier pause is not shortened.
    pub(crate) fn pause_until(&self, until: Duration) {
        self.shared
            .paused_until
            .fetch_max(in_nanos(until), Ordering::Relaxed);
    }

    /// When the gate opens, if it is closed.
    pub(crate) fn closed_until(&self) -> Option<Duration> {
        let until = Duration::from_nanos(self.shared.paused_until.load(Ordering::Relaxed));
        (until > simulated()).then_some(until)
    }

    /// Waits until the gate is open.
    pub(crate) async fn gate(&self) {
        while let Some(until) = self.closed_until() {
            tokio::time::sleep(until - simulated()).await;
        }
    }

    /// Waits for the simulated time `at`, and for the gate.
    pub(crate) async fn sleep_until_simulated(&self, at: Duration) {
        loop {
            let now = simulated();
            if now >= at {
                break;
            }
            tokio::time::sleep(at - now).await;
        }
        self.gate().await;
    }

    /// Runs `future` and then waits for the gate: what came in during a pause is seen after it.
    pub(crate) async fn gated<F: Future>(&self, future: F) -> F::Output {
        self.gate().await;
        let output = future.await;
        self.gate().await;
        output
    }

    /// Breaks every connection that the host has now.
    pub(crate) fn reset_connections(&self) {
        self.shared.resets.fetch_add(1, Ordering::Relaxed);
        for waker in self.waiting().drain(..) {
            waker.wake();
        }
    }

    /// The count of resets that a new connection belongs to.
    pub(crate) fn resets(&self) -> u64 {
        self.shared.resets.load(Ordering::Relaxed)
    }

    /// Wakes `waker` at the next reset.
    pub(crate) fn wake_on_reset(&self, waker: &Waker) {
        let mut waiting = self.waiting();
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.shared
            .waiting
            .lock()
            .expect("nobody panics while it is locked")
    }
}

fn in_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("584 years are not simulated")
}
