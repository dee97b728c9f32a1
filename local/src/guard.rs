//! A lock that is held.

use crate::{Lost, NotHeld, RenewError, slots::Phase, space::Clocked, ticket::Ticket};
use lockwright_engine::{Claim, EndReason, Refusal, TimeMs, Token};
use std::{
    fmt,
    time::{Duration, Instant},
};

/// A lock on all claims of one request. Dropping it releases them all, in any thread.
///
/// A lock without a lease is held for as long as this exists. A lock with one may end before;
/// [`is_held`](LockGuard::is_held), [`deadline`](LockGuard::deadline) and
/// [`lost`](LockGuard::lost) tell.
#[must_use = "the lock is released as soon as its guard is dropped: bind it to a name"]
pub struct LockGuard {
    ticket: Ticket,
    token: Token,
    claims: Vec<Claim>,
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("token", &self.token)
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

impl LockGuard {
    pub(crate) fn new(ticket: Ticket, token: Token, claims: Vec<Claim>) -> LockGuard {
        LockGuard {
            ticket,
            token,
            claims,
        }
    }

    /// The fencing token: the number of this grant in its lock space, larger than that of any
    /// grant before. What is protected can refuse whoever comes with a smaller one than the
    /// largest that it has seen.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// What was asked for, as it was asked.
    #[must_use]
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// Whether the lock is still held. Always so without a lease.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self.phase(), Phase::Held { .. })
    }

    /// When the lease runs out; none without a lease (or with one that ends beyond what the system's
    /// clock can express), and none once the lock has ended.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase() {
            Phase::Held {
                expires: Some(at), ..
            } => self.instant(at),
            _ => None,
        }
    }

    /// Sets the end of the lease to `ttl` from now, also for a lock that had none. Returns the new
    /// [`deadline`](LockGuard::deadline).
    ///
    /// # Errors
    /// [`RenewError`]; then nothing has changed.
    pub fn renew(&self, ttl: Duration) -> Result<Option<Instant>, RenewError> {
        let slot = self.ticket.slot();
        let mut turn = self
            .ticket
            .space()
            .turn_with_timer()
            .map_err(RenewError::NoTimer)?;
        if let Phase::Ended(reason) = turn.phase(slot) {
            return Err(RenewError::NotHeld(NotHeld { reason }));
        }
        match turn.renew(slot, self.token, ttl) {
            Ok(expires) => Ok(self.instant(expires)),
            Err(Refusal::InvalidRequest(_)) => Err(RenewError::ZeroTtl),
            Err(other) => unreachable!("a held lock's renewal is not refused as {other}"),
        }
    }

    /// Waits until the lock is lost because its lease runs out. For ever if it never does: to be
    /// raced against the work that the lock is for.
    ///
    /// ```
    /// use lockwright_local::{EndReason, LocalLocks, write};
    /// use std::time::Duration;
    ///
    /// # pollster::block_on(async {
    /// let locks = LocalLocks::new();
    /// let guard = locks.request(write("a")).ttl(Duration::from_millis(5)).await?;
    /// assert_eq!(guard.lost().await, EndReason::Expired);
    /// assert!(!guard.is_held());
    /// # Ok::<(), lockwright_local::LockError>(())
    /// # }).unwrap();
    /// ```
    pub fn lost(&self) -> Lost<'_> {
        Lost::new(&self.ticket)
    }

    /// Releases the lock, as dropping does, and says whether it was held until now.
    ///
    /// # Errors
    /// [`NotHeld`] when its lease ran out before: then what was done since was not protected.
    pub fn release(self) -> Result<(), NotHeld> {
        match self.ticket.end() {
            Phase::Ended(reason) => Err(NotHeld { reason }),
            Phase::Held { .. } => Ok(()),
            other @ (Phase::Queued | Phase::Free) => {
                unreachable!("a guard is of a lock that was granted, not {other:?}")
            }
        }
    }

    fn phase(&self) -> Phase {
        let turn = self.ticket.core().turn(Clocked::IfTimed);
        turn.phase(self.ticket.slot())
    }

    fn instant(&self, at: TimeMs) -> Option<Instant> {
        self.ticket.core().clock.instant(at)
    }
}

/// How a lock that was lost has ended, for [`Lost`].
pub(crate) fn lost(phase: Phase) -> Option<EndReason> {
    match phase {
        Phase::Ended(reason) => Some(reason),
        Phase::Held { .. } => None,
        other @ (Phase::Queued | Phase::Free) => {
            unreachable!("a guard is of a lock that was granted, not {other:?}")
        }
    }
}
