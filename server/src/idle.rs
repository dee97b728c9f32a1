//! Noticing that nothing has come for a while.

use lockwright_env::Env;
use std::{future::Future, pin::Pin, time::Duration};

/// Waits for one thing after the other, each for so long. It has one timer for all of them, which is
/// set anew only when it fires: a timer for each message would cost more than to read it.
pub(crate) struct Idle<'a, E> {
    env: &'a E,
    patience: Duration,
    /// Fires when the patience may have ended.
    timer: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
}

impl<'a, E: Env> Idle<'a, E> {
    /// Nothing is waited for yet.
    pub(crate) fn new(env: &'a E, patience: Duration) -> Idle<'a, E> {
        let until = env.monotonic().saturating_add(patience);
        Idle {
            env,
            patience,
            timer: Box::pin(env.sleep_until(until)),
        }
    }

    /// What `next` gives; none if it is not done within the patience.
    pub(crate) async fn unless<F: Future>(&mut self, next: F) -> Option<F::Output> {
        let until = self.env.monotonic().saturating_add(self.patience);
        let mut next = std::pin::pin!(next);
        loop {
            tokio::select! {
                biased;
                done = &mut next => return Some(done),
                () = &mut self.timer => {}
            }
            let is_over = self.env.monotonic() >= until;
            // A timer that has fired is of no use for what is waited for next.
            let fires_at = match is_over {
                true => until.saturating_add(self.patience),
                false => until,
            };
            self.timer = Box::pin(self.env.sleep_until(fires_at));
            if is_over {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockwright_env::{TokioEnv, sleep};

    #[tokio::test]
    async fn patience_begins_anew_with_each_thing_that_comes() {
        let patience = Duration::from_millis(50);
        let mut idle = Idle::new(&TokioEnv, patience);
        let begin = TokioEnv.monotonic();
        for _ in 0..4 {
            let soon = sleep(&TokioEnv, Duration::from_millis(20));
            assert_eq!(idle.unless(soon).await, Some(()));
        }
        let heard = TokioEnv.monotonic();
        assert!(heard - begin >= Duration::from_millis(80));
        // And after it has ended, too.
        for _ in 0..2 {
            assert_eq!(idle.unless(std::future::pending::<()>()).await, None);
        }
        assert_eq!(idle.unless(std::future::ready(())).await, Some(()));
        assert!(TokioEnv.monotonic() >= heard + patience - Duration::from_millis(1));
    }
}
