//! Keeping the lock, and telling when it is lost.

use lockwright_client::{Belief, DurationMs, Lock, Notice};
use lockwright_env::{TokioEnv, sleep};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A lock that is being kept.
pub(super) struct Keeper {
    /// Until when it is held, as far as can be known.
    pub(super) belief: Arc<Belief>,
    /// Why it is over, as soon as that is sure.
    pub(super) lost: oneshot::Receiver<String>,
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
                        let _ = tell.send(format!("it ended at the server: {reason}"));
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
