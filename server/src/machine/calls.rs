//! What holders without a session and operators do to locks.

use super::{InTheWay, Labelled, Machine, Step};
use crate::proposal::{Purpose, Right};
use lockwright_engine::{
    Claim, Command, LockInfo, LockKey, LockState, Name, Owner, Path, Refusal, Reply, SessionKey,
    Token,
};
use lockwright_protocol::Label;

/// Locks that are ended at once: more would hold up others. An operator that breaks more is told so.
pub(crate) const END_MAX: usize = 10_000;

/// A refusal, and what is held there instead.
pub(super) type Refused = (Refusal, Box<InTheWay>);

impl Step<'_> {
    /// Uses the lock of a named holder that has `token`. Gives it as it was before.
    pub(super) fn use_lock(
        &mut self,
        namespace: &Name,
        path: &Path,
        holder: Option<&Name>,
        token: Token,
        purpose: Purpose,
    ) -> Result<(Reply, Labelled), Refused> {
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
        let lock = machine.labelled(lock);
        let key = lock.lock.key.clone();
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
                let found = self.machine.in_the_way(namespace, &lock.lock.claims, None);
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
    ) -> Result<Vec<Labelled>, Refused> {
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
        let ended = found.iter().cloned();
        let ended = ended.map(|lock| self.machine.labelled(lock)).collect();
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
            let done = self.run(&command);
            assert_eq!(done, Ok(Reply::Done), "what is held can be ended");
        }
        Ok(ended)
    }

    /// An operator ends the live requests of an owner that claim exactly `path`, held or queued: all of
    /// them, or the one with an id; with a token only a held one. Gives them as they were before.
    pub(super) fn end_requests(
        &mut self,
        namespace: &Name,
        path: &Path,
        owner: &Owner,
        id: Option<&Name>,
        token: Option<Token>,
    ) -> Result<Vec<Labelled>, Refused> {
        self.pass_time();
        let mut found = self.machine.live_requests(namespace, owner, id);
        found.retain(|lock| lock.claims.iter().any(|claim| claim.path == *path));
        if let Some(token) = token {
            let has_it = |lock: &LockInfo| matches!(lock.state, LockState::Held { token: held, .. } if held == token);
            let is_there = !found.is_empty();
            found.retain(has_it);
            if found.is_empty() && is_there {
                let (_, in_the_way) = self.nothing_with(namespace, path, Some(token));
                return Err((Refusal::StaleToken { given: token }, in_the_way));
            }
        }
        if found.is_empty() {
            let (_, in_the_way) = self.nothing_with(namespace, path, None);
            let has_ended = id.is_some_and(|id| {
                let lock = self.machine.engine.lock(&LockKey {
                    namespace: namespace.clone(),
                    owner: owner.clone(),
                    id: id.clone(),
                });
                lock.is_some_and(|lock| matches!(lock.state, LockState::Ended { .. }))
            });
            let refusal = match has_ended {
                true => Refusal::NotHeld,
                false => Refusal::UnknownLock,
            };
            return Err((refusal, in_the_way));
        }
        let machine = &*self.machine;
        let ended: Vec<Labelled> = found
            .into_iter()
            .map(|lock| machine.labelled(lock))
            .collect();
        // The latest first: so none of them is granted on the way by the end of another.
        for Labelled { lock, .. } in ended.iter().rev() {
            let lock = lock.key.clone();
            let done = self.run(&Command::Break { lock, token });
            assert_eq!(done, Ok(Reply::Done), "what lives can be ended");
        }
        Ok(ended)
    }

    /// An operator ends a session. Gives its label and its requests as they were before.
    pub(super) fn end_session(
        &mut self,
        session: &SessionKey,
    ) -> Result<(Option<Label>, Vec<Labelled>), Refusal> {
        self.pass_time();
        let label = self.machine.session_label(session).cloned();
        let locks = self.machine.session_locks(session);
        let session = session.clone();
        self.run(&Command::CloseSession { session })?;
        Ok((label, locks))
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

impl Machine {
    /// The live requests of an owner in the order of their arrival; only the one with an id, if it is
    /// given.
    fn live_requests(&self, namespace: &Name, owner: &Owner, id: Option<&Name>) -> Vec<LockInfo> {
        let of = |id: &Name| LockKey {
            namespace: namespace.clone(),
            owner: owner.clone(),
            id: id.clone(),
        };
        let mut found: Vec<LockInfo> = match (id, owner) {
            (Some(id), _) => self.engine.lock(&of(id)).into_iter().collect(),
            (None, Owner::Session(name)) => self.engine.session_locks(&SessionKey {
                namespace: namespace.clone(),
                session: name.clone(),
            }),
            (None, Owner::Named(_)) => {
                let keys = self.named.of_owner(namespace, owner);
                keys.filter_map(|key| self.engine.lock(key)).collect()
            }
        };
        found.retain(|lock| !matches!(lock.state, LockState::Ended { .. }));
        found.sort_by_key(|lock| lock.arrived_at);
        found
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
