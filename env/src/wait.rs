//! Waiting on the clock of an [`Env`].

use crate::Env;
use std::{fmt, future::Future, time::Duration};

/// The time ran out before the future was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed {
    /// How long was waited.
    pub after: Duration,
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not done within {:?}", self.after)
    }
}

impl std::error::Error for Elapsed {}

/// Waits for `duration`.
pub async fn sleep<E: Env>(env: &E, duration: Duration) {
    env.sleep_until(env.monotonic().saturating_add(duration))
        .await;
}

/// What `future` gives if it is done within `duration`; it is dropped if not. A future that is
/// done at the very instant at which the time runs out has made it.
///
/// # Errors
/// [`Elapsed`] when the time ran out.
pub async fn timeout<E: Env, F: Future>(
    env: &E,
    duration: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    let until = env.monotonic().saturating_add(duration);
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = env.sleep_until(until) => Err(Elapsed { after: duration }),
    }
}
