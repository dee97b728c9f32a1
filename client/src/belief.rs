//! Whether a client believes that it holds a lock: readable at any moment, without asking anyone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Until when a client believes in its session. It is shared by all beliefs of the session.
#[derive(Debug, Default)]
pub struct SessionBelief {
    /// Nanoseconds on the client's monotonic clock.
    until: AtomicU64,
}

/// Until when a client believes that it holds one lock.
///
/// It is kept apart from the task that speaks with the server, since that task may be late: a
/// process that was paused asks its belief, and the belief asks the clock.
#[derive(Debug)]
pub struct Belief {
    /// Nanoseconds on the client's monotonic clock: [`NOT_HELD`] while it is not held,
    /// [`NO_LEASE`] while it is held without a lease.
    lease_until: AtomicU64,
    session: Arc<SessionBelief>,
}

const NOT_HELD: u64 = 0;
const NO_LEASE: u64 = u64::MAX;

impl SessionBelief {
    /// When the belief ends, on the client's monotonic clock.
    #[must_use]
    pub fn until(&self) -> Duration {
        Duration::from_nanos(self.until.load(Ordering::Acquire))
    }

    pub(crate) fn set(&self, until: Duration) {
        self.until.store(nanos(until), Ordering::Release);
    }
}

impl Belief {
    /// The belief of a lock that is not held yet.
    #[must_use]
    pub fn new(session: Arc<SessionBelief>) -> Belief {
        Belief {
            lease_until: AtomicU64::new(NOT_HELD),
            session,
        }
    }

    /// When the belief ends on the client's monotonic clock, if nothing is heard until then; none
    /// if the lock is not held.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        match self.lease_until.load(Ordering::Acquire) {
            NOT_HELD => None,
            until => Some(Duration::from_nanos(until).min(self.session.until())),
        }
    }

    /// Whether the client believes that it holds the lock at `now`.
    #[must_use]
    pub fn holds(&self, now: Duration) -> bool {
        self.deadline().is_some_and(|deadline| now < deadline)
    }

    /// Sets the end of the lease; none for a lock without one.
    pub(crate) fn set_lease(&self, until: Option<Duration>) {
        let until = until.map_or(NO_LEASE, |until| nanos(until).max(NOT_HELD + 1));
        self.lease_until.store(until, Ordering::Release);
    }

    /// Ends the belief.
    pub(crate) fn end(&self) {
        self.lease_until.store(NOT_HELD, Ordering::Release);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NO_LEASE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_belief_ends_with_its_lease_or_its_session() {
        let second = Duration::from_secs;
        let session = Arc::new(SessionBelief::default());
        let belief = Belief::new(session.clone());
        session.set(second(10));
        assert_eq!(belief.deadline(), None);
        belief.set_lease(Some(second(5)));
        assert!(belief.holds(second(5) - Duration::from_nanos(1)));
        assert!(!belief.holds(second(5)));
        belief.set_lease(None);
        assert_eq!(belief.deadline(), Some(second(10)));
        belief.end();
        assert!(!belief.holds(Duration::ZERO));
    }
}
