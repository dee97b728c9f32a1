//! Keeping the lock, and telling when it is lost.

use super::timing::Timing;
use lockwright_client::{Belief, DurationMs, Lock, Notice};
use lockwright_env::{TokioEnv, sleep, timeout};
use std::{sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// A lock that is being kept.
pub(super) struct Keeper {
    /// Until when it is held, as far as can be known.
    pub(super) belief: Arc<Belief>,
    /// Why it is over, as soon as that is sure.
    pub(super) lost: oneshot::Receiver<String>,
}

/// Until when a lock is believed in, and when what relies on it has to end for that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    deadline: Option<Duration>,
    pub(super) end_at: Duration,
}

impl Keeper {
    /// As it is now; news of the lock move it.
    pub(super) fn due(&self, timing: &Timing) -> Due {
        let deadline = self.belief.deadline();
        let end_at = deadline.map_or(Duration::ZERO, |at| at.saturating_sub(timing.ahead()));
        Due { deadline, end_at }
    }

    /// Why the lock is over or about to be, when `due` has come; none when it was renewed meanwhile.
    pub(super) async fn why_over(&mut self, due: Due, timing: &Timing) -> Option<String> {
        let Some(deadline) = due.deadline else {
            // It has ended, and why is about to be told.
            let told = timeout(&TokioEnv, timing.margin, &mut self.lost).await;
            let told = told.ok().and_then(Result::ok);
            return Some(told.unwrap_or_else(|| "it has ended".to_owned()));
        };
        let is_same = self.belief.deadline() == Some(deadline);
        is_same.then(|| "the server was not heard of for too long".to_owned())
    }
}

/// Keeps a lock until it is lost or the client is closed. The session keeps itself alive; what has
/// a lease of its own is renewed three times as often as needed.
pub(super) fn keep(mut lock: Lock<TokioEnv>, ttl: Option<DurationMs>) -> Keeper {
    let belief = lock.belief();
    let (tell, lost) = oneshot::channel();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                biased;
                notice = lock.next() => match notice {
                    Some(Notice::Ended(reason)) => {
                        let _ = tell.send(format!("it ended at the server: {}", super::ended(reason)));
                        return;
                    }
                    Some(Notice::Lost(lost)) => {
                        let _ = tell.send(lost.to_string());
                        return;
                    }
                    _ => {}
                },
                () = due(ttl) => if let Some(ttl) = ttl {
                    // What it comes to shows in the belief, and in the next notice.
                    let _ = lock.renew(ttl).await;
                },
            }
        }
    });
    Keeper { belief, lost }
}

/// Waits until the lease is to be renewed; for ever without one.
async fn due(ttl: Option<DurationMs>) {
    match ttl {
        Some(ttl) => sleep(&TokioEnv, crate::units::std(ttl) / 3).await,
        None => std::future::pending().await,
    }
}
