//! What holders without a session and operators do to locks.

use super::{InTheWay, Step};
use crate::proposal::{Purpose, Right};
use lockwright_engine::{
    Claim, Command, LockInfo, LockKey, LockState, Name, Owner, Path, Refusal, Reply, Token,
};

/// Locks that are ended at once: more would hold up others. Whoever breaks more is told so.
pub(crate) const END_MAX: usize = 10_000;

/// A refusal, and what is held there instead.
type Refused = (Refusal, Box<InTheWay>);

impl Step<'_> {
    /// Uses the lock of a named holder that has `token`. Gives it as it was before.
    pub(super) fn use_lock(
        &mut self,
        namespace: &Name,
        path: &Path,
        holder: Option<&Name>,
        token: Token,
        purpose: Purpose,
    ) -> Result<(Reply, LockInfo), Refused> {
        self.pass_time();
        let machine = &*self.machine;
        let lock = machine.named.with_token(token);
        let lock = lock.and_then(|key| machine.engine.lock(key));
        let lock = lock.filter(|lock| {
            lock.key.namespace == *namespace
                // A claim that another one covers is not kept, and is a path of the lock all the same.
                && lock.claims.iter().any(|claim| claim.path.covers(path))
                && holder.is_none_or(|holder| lock.key.owner.name() == holder)
        });
        let Some(lock) = lock else {
            return Err(self.nothing_with(namespace, path, Some(token)));
        };
        let key = lock.key.clone();
        let command = match purpose {
            Purpose::Release => Command::Release { lock: key, token },
            Purpose::Renew { ttl } => Command::Renew {
                lock: key,
                token,
                ttl,
            },
        };
        match self.run(&command) {
            Ok(reply) => Ok((reply, lock)),
            Err(refusal) => {
                let found = self.machine.in_the_way(namespace, &lock.claims, None);
                Err((refusal, Box::new(found)))
            }
        }
    }

    /// Ends what is held exactly at `path`: all that an operator means, up to [`END_MAX`], and the one
    /// that a holder means. Nothing is ended when a holder may mean several. Gives what was ended as it
    /// was before.
    pub(super) fn end_at(
        &mut self,
        namespace: &Name,
        path: &Path,
        token: Option<Token>,
        right: &Right,
    ) -> Result<Vec<LockInfo>, Refused> {
        self.pass_time();
        let engine = &self.machine.engine;
        let is_meant = |lock: &LockInfo| {
            let has_token =
                |given| matches!(lock.state, LockState::Held { token, .. } if token == given);
            token.is_none_or(has_token) && right.covers(&lock.key.owner)
        };
        let found = engine.held_at(namespace, path).filter(is_meant);
        let found: Vec<LockInfo> = found.take(END_MAX).collect();
        let is_ambiguous = *right != Right::Operator && found.len() > 1;
        if found.is_empty() || is_ambiguous {
            return Err(self.nothing_with(namespace, path, token));
        }
        for lock in &found {
            let LockState::Held { token, .. } = lock.state else {
                unreachable!("only held ones were kept")
            };
            let key = lock.key.clone();
            let command = match right {
                Right::Operator => Command::Break {
                    lock: key,
                    token: Some(token),
                },
                Right::Holder(_) => Command::Release { lock: key, token },
            };
            let ended = self.run(&command);
            assert_eq!(ended, Ok(Reply::Done), "what is held can be ended");
        }
        Ok(found)
    }

    /// Whoever waited for the answer to a request has gone.
    pub(super) fn give_up(&mut self, lock: &LockKey, even_held: bool) -> Result<Reply, Refusal> {
        self.pass_time();
        if self.is_waited_for_elsewhere(lock) {
            return Ok(Reply::Done);
        }
        match self.machine.engine.lock(lock).map(|lock| lock.state) {
            Some(LockState::Queued { .. }) => self.run(&Command::Cancel { lock: lock.clone() }),
            Some(LockState::Held { token, .. }) if even_held => {
                let lock = lock.clone();
                self.run(&Command::Release { lock, token })
            }
            _ => Ok(Reply::Done),
        }
    }

    /// Lets everything happen that is due, so that what is looked at is the present.
    pub(super) fn pass_time(&mut self) {
        let passed = self.run(&Command::Tick);
        assert_eq!(passed, Ok(Reply::Done), "time always passes");
    }

    /// Why there is no lock with `token` to use at `path`, and what is there.
    fn nothing_with(&self, namespace: &Name, path: &Path, token: Option<Token>) -> Refused {
        let claims = [Claim::write(path.clone())];
        let found = self.machine.in_the_way(namespace, &claims, None);
        let refusal = match (&found.held, token) {
            (Some(_), Some(given)) => Refusal::StaleToken { given },
            _ => Refusal::NotHeld,
        };
        (refusal, Box::new(found))
    }
}

impl Right {
    pub(crate) fn covers(&self, owner: &Owner) -> bool {
        match (self, owner) {
            (Right::Operator, _) | (Right::Holder(None), Owner::Named(_)) => true,
            (Right::Holder(Some(holder)), Owner::Named(name)) => holder == name,
            (Right::Holder(_), Owner::Session(_)) => false,
        }
    }
}
