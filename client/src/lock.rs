//! A lock, or a request for one, in the hands of a caller.

use crate::{
    AcquireError, Belief, CallError, Lost, Notice,
    core::{LockId, Outcome},
    shell::Call,
};
use lockwright_engine::{DurationMs, Name, Token};
use lockwright_env::Env;
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// A lock, or a request for one that is under way.
///
/// Dropping it gives it back: a queued request is cancelled and a held lock released, as soon as
/// the server can be reached. Nobody waits for that; [`release`](Lock::release) does.
#[derive(Debug)]
pub struct Lock<E: Env> {
    pub(crate) env: E,
    pub(crate) lock: LockId,
    pub(crate) id: Name,
    pub(crate) token: Option<Token>,
    pub(crate) belief: Arc<Belief>,
    pub(crate) notices: mpsc::UnboundedReceiver<Notice>,
    pub(crate) calls: mpsc::UnboundedSender<Call>,
    pub(crate) over: bool,
}

impl<E: Env> Lock<E> {
    /// The id of the request.
    #[must_use]
    pub fn id(&self) -> &Name {
        &self.id
    }

    /// The fencing token, once [`next`](Lock::next) or [`granted`](Lock::granted) has told of the
    /// grant.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        self.token
    }

    /// Whether it is held, as far as the client can know. Ask it right before doing what the lock
    /// is for. It is true only while the server holds the lock for this client too (SEMANTICS
    /// 7.4), which another process cannot see: hand the token to whoever must be sure.
    #[must_use]
    pub fn believes_held(&self) -> bool {
        self.belief.holds(self.env.monotonic())
    }

    /// Until when it is believed to be held, on the monotonic clock of the Env, if nothing is
    /// heard until then; none while it is not held.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.belief.deadline()
    }

    /// The belief itself, to be asked from elsewhere.
    #[must_use]
    pub fn belief(&self) -> Arc<Belief> {
        self.belief.clone()
    }

    /// What happens to it next; none after the last notice. Cancel safe.
    pub async fn next(&mut self) -> Option<Notice> {
        if self.over {
            return None;
        }
        // The task that tells is gone only when the client is.
        let notice = self.notices.recv().await;
        let notice = notice.unwrap_or(Notice::Lost(Lost::Closed));
        self.over = notice.is_last();
        if let Notice::Granted { token, .. } = notice {
            self.token = Some(token);
        }
        Some(notice)
    }

    /// Waits until it is granted.
    ///
    /// # Errors
    /// [`AcquireError`] when it is over instead.
    pub async fn granted(&mut self) -> Result<Token, AcquireError> {
        loop {
            match self.next().await {
                Some(Notice::Granted { token, .. }) => return Ok(token),
                Some(Notice::Queued) => {}
                Some(Notice::Refused(refused)) => return Err(AcquireError::Refused(refused)),
                Some(Notice::Ended(reason)) => return Err(AcquireError::Ended(reason)),
                Some(Notice::Lost(lost)) => return Err(AcquireError::Lost(lost)),
                None => return Err(AcquireError::Lost(Lost::Closed)),
            }
        }
    }

    /// Ends the lock. The client stops believing in it at once, and this returns when the server
    /// has answered, over however many connections that takes.
    ///
    /// Ok also when the answer got lost and the lock turns out to be over: nobody can tell any
    /// more whether this or something else ended it.
    ///
    /// # Errors
    /// [`CallError`] when it was not held, or was over before this could have ended it.
    pub async fn release(&self) -> Result<(), CallError> {
        self.call(|lock, reply| Call::Release { lock, reply })
            .await
            .map(|_| ())
    }

    /// Sets the end of the lease to the server's now plus `ttl`. Gives the new deadline.
    ///
    /// # Errors
    /// [`CallError`] when it is not held any more.
    pub async fn renew(&self, ttl: DurationMs) -> Result<Duration, CallError> {
        let outcome = self
            .call(|lock, reply| Call::Renew { lock, ttl, reply })
            .await?;
        match outcome {
            Outcome::Renewed { deadline } => Ok(deadline),
            Outcome::Done => panic!("a renewal was answered as if it were something else"),
        }
    }

    /// Gives up a request that is queued. When it is Ok, the request is over, and the last notice
    /// says how: `cancelled`, unless an answer got lost and something else had ended it first.
    ///
    /// # Errors
    /// [`CallError`] when it is not queued: it was granted meanwhile, say.
    pub async fn cancel(&self) -> Result<(), CallError> {
        self.call(|lock, reply| Call::Cancel { lock, reply })
            .await
            .map(|_| ())
    }

    async fn call(
        &self,
        call: impl FnOnce(LockId, oneshot::Sender<Result<Outcome, CallError>>) -> Call,
    ) -> Result<Outcome, CallError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.calls.send(call(self.lock, reply));
        sent.map_err(|_| CallError::Closed)?;
        answer.await.unwrap_or(Err(CallError::Closed))
    }
}

impl<E: Env> Drop for Lock<E> {
    fn drop(&mut self) {
        if !self.over {
            self.belief.end();
            // It fails when the client is gone, and then so is the session.
            let _ = self.calls.send(Call::Abandon { lock: self.lock });
        }
    }
}
