//! Who is there.

use crate::{Claim, LocalLocks, LockError, Path, Token, space::Clocked};
use lockwright_engine::{LockState, Name};
use std::time::Instant;

/// A request that is held or queued, as [`LocalLocks::inspect`] finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Live {
    /// Whose it is; none if its request named nobody.
    pub owner: Option<Name>,
    /// What it claims, without duplicates and covered claims.
    pub claims: Vec<Claim>,
    /// The token of its grant; none while it is queued.
    pub token: Option<Token>,
    /// When its wait or its lease ends, if it has an end that the system's clock can express.
    pub deadline: Option<Instant>,
}

impl LocalLocks {
    /// Who holds or waits for something that overlaps `path`, in the order of arrival: for whoever
    /// wants to know what everybody is waiting for. Cost: that of what is found, during which the
    /// lock space stands still.
    ///
    /// ```
    /// use lockwright_local::{LocalLocks, write};
    ///
    /// let locks = LocalLocks::new();
    /// let guard = locks.request(write("printer/2")).owner("monthly report").try_lock()?;
    /// let found = locks.inspect("printer")?;
    /// assert_eq!(found[0].owner.as_ref().unwrap().as_str(), "monthly report");
    /// assert_eq!(found[0].token, Some(guard.token()));
    /// # Ok::<(), lockwright_local::LockError>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidPath`](LockError::InvalidPath).
    pub fn inspect(&self, path: impl AsRef<str>) -> Result<Vec<Live>, LockError> {
        let text = path.as_ref();
        let path = Path::parse(text).map_err(|reason| LockError::InvalidPath {
            path: text.into(),
            reason,
        })?;
        let core = self.space.core();
        let found = core.turn(Clocked::IfTimed).inspect(&path);
        let live = found.into_iter().map(|(owner, lock)| {
            let (token, deadline) = match lock.state {
                LockState::Queued { deadline } => (None, deadline),
                LockState::Held { token, expires, .. } => (Some(token), expires),
                LockState::Ended { .. } => unreachable!("what has ended overlaps nothing"),
            };
            Live {
                owner,
                claims: lock.claims,
                token,
                deadline: deadline.and_then(|at| core.clock.instant(at)),
            }
        });
        Ok(live.collect())
    }
}
