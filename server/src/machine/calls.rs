//! What holders without a session and operators do to locks.

use super::{EndedSession, InTheWay, Labelled, Machine, Step};
use crate::proposal::{Purpose, Right};
use lockwright_engine::{
    Claim, Command, LockInfo, LockKey, LockState, Name, Owner, Path, Refusal, Reply, SessionKey,
    Token,
};
use std::collections::BTreeMap;

/// Locks that are ended at once: more would hold up others. An operator that breaks more is told so. Of
/// the requests of a session, which end together, as many are told.
const END_MAX: usize = 10_000;

/// Bytes of what is told of them: all is in memory at once, and in one answer.
const END_BYTES_MAX: usize = 16 << 20;

/// What was ended at once.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// As it was before.
    pub(super) locks: Vec<Labelled>,
    /// Whether more is meant, and was not ended.
    pub(super) more: bool,
}

/// The locks that one answer tells of: as many as [`END_MAX`] and [`END_BYTES_MAX`] let it, but one always.
#[derive(Debug, Default)]
struct Share {
    locks: Vec<Labelled>,
    bytes: usize,
}

impl Share {
    /// The first of these locks, and whether there are more.
    fn of(locks: impl IntoIterator<Item = Labelled>) -> Ended {
        let mut share = Share::default();
        let more = locks.into_iter().any(|lock| !share.takes(lock));
        let locks = share.locks;
        Ended { locks, more }
    }

    /// Takes a lock, if there is room for it; whether it did.
    fn takes(&mut self, lock: Labelled) -> bool {
        let bytes = bytes(&lock);
        let is_full = self.locks.len() == END_MAX || self.bytes + bytes > END_BYTES_MAX;
        if is_full && !self.locks.is_empty() {
            return false;
        }
        self.bytes += bytes;
        self.locks.push(lock);
        true
    }
}

/// What a lock takes in memory, nearly: on each machine the same, since it decides which locks are ended,
/// and so what an entry of the log means.
fn bytes(Labelled { lock, label }: &Labelled) -> usize {
    const LOCK: usize = 256;
    const CLAIM: usize = 64;
    let claim = |claim: &Claim| CLAIM + claim.path.as_str().len();
    let claims: usize = lock.claims.iter().map(claim).sum();
    LOCK + claims + label.as_ref().map_or(0, |label| label.as_str().len())
}

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

    /// Ends what is held exactly at `path`: all that an operator means, as far as it can be told at once,
    /// and the one that a holder means. Nothing is ended when a holder may mean several. Gives what was ended as it
    /// was before.
    pub(super) fn end_at(
        &mut self,
        namespace: &Name,
        path: &Path,
        token: Option<Token>,
        right: &Right,
    ) -> Result<Ended, Refused> {
        self.pass_time();
        let engine = &self.machine.engine;
        let is_meant = |lock: &LockInfo| {
            let has_token =
                |given| matches!(lock.state, LockState::Held { token, .. } if token == given);
            token.is_none_or(has_token) && right.covers(&lock.key.owner)
        };
        let found = engine.held_at(namespace, path).filter(is_meant);
        let Ended { locks: found, more } = Share::of(found.map(|lock| self.machine.labelled(lock)));
        let is_ambiguous = *right != Right::Operator && (found.len() > 1 || more);
        if found.is_empty() || is_ambiguous {
            return Err(self.nothing_with(namespace, path, token));
        }
        for Labelled { lock, .. } in &found {
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
        Ok(Ended { locks: found, more })
    }

    /// An operator ends the live requests of an owner that claim exactly `path`, held or queued: all of
    /// them, or the latest as far as they can be told at once, or the one with an id; with a token only a
    /// held one. Gives them as they were before.
    pub(super) fn end_requests(
        &mut self,
        namespace: &Name,
        path: &Path,
        owner: &Owner,
        id: Option<&Name>,
        token: Option<Token>,
    ) -> Result<Ended, Refused> {
        self.pass_time();
        let mut more = false;
        let mut is_there = false;
        // The latest ones, in the order of arrival.
        let mut found: BTreeMap<u64, LockKey> = BTreeMap::new();
        let machine = &*self.machine;
        machine.each_request(namespace, owner, id, |lock| {
            if !lock.claims.iter().any(|claim| claim.path == *path) {
                return;
            }
            is_there = true;
            let has_it =
                |token| matches!(lock.state, LockState::Held { token: held, .. } if held == token);
            if token.is_none_or(has_it) {
                let arrival = machine.engine.arrival(&lock.key);
                found.insert(arrival.expect("it lives"), lock.key);
            }
            if found.len() > END_MAX {
                found.pop_first();
                more = true;
            }
        });
        if let Some(token) = token
            && found.is_empty()
            && is_there
        {
            let (_, in_the_way) = self.nothing_with(namespace, path, Some(token));
            return Err((Refusal::StaleToken { given: token }, in_the_way));
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
        // The latest first: so none of them is granted on the way by the end of another.
        let found = found.values().rev();
        let found = found.filter_map(|key| machine.engine.lock(key));
        let mut ended = Share::of(found.map(|lock| machine.labelled(lock)));
        ended.more |= more;
        for Labelled { lock, .. } in &ended.locks {
            let lock = lock.key.clone();
            let done = self.run(&Command::Break { lock, token });
            assert_eq!(done, Ok(Reply::Done), "what lives can be ended");
        }
        ended.locks.reverse();
        Ok(ended)
    }

    /// An operator ends a session. Gives what it was, and its first requests as they were before.
    pub(super) fn end_session(
        &mut self,
        session: &SessionKey,
    ) -> Result<(EndedSession, Vec<Labelled>), Refusal> {
        self.pass_time();
        let machine = &*self.machine;
        let info = machine.engine.session_info(session);
        let ended = EndedSession {
            session: session.clone(),
            label: machine.session_label(session).cloned(),
            requests: info.map_or(0, |info| info.live_requests),
        };
        let locks = machine.engine.session_locks(session);
        let Ended { locks, .. } = Share::of(locks.map(|lock| machine.labelled(lock)));
        let session = session.clone();
        self.run(&Command::CloseSession { session })?;
        Ok((ended, locks))
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
    /// Goes through the live requests of an owner, of a session in the order of their arrival; only the one
    /// with an id, if it is given.
    fn each_request(
        &self,
        namespace: &Name,
        owner: &Owner,
        id: Option<&Name>,
        mut see: impl FnMut(LockInfo),
    ) {
        let is_live = |lock: &LockInfo| !matches!(lock.state, LockState::Ended { .. });
        match (id, owner) {
            (Some(id), _) => {
                let key = LockKey {
                    namespace: namespace.clone(),
                    owner: owner.clone(),
                    id: id.clone(),
                };
                if let Some(lock) = self.engine.lock(&key).filter(is_live) {
                    see(lock);
                }
            }
            (None, Owner::Session(name)) => {
                let session = SessionKey {
                    namespace: namespace.clone(),
                    session: name.clone(),
                };
                self.engine.session_locks(&session).for_each(see);
            }
            (None, Owner::Named(_)) => {
                let keys = self.named.of_owner(namespace, owner);
                for lock in keys.filter_map(|key| self.engine.lock(key)) {
                    see(lock);
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        machine::{Denial, Outcome},
        proposal::{Action, Attachment, DiskId, Origin, Proposal, SecretHash},
    };
    use lockwright_engine::{DurationMs, InvalidRequest, Limits, TimeMs, Wait};
    use lockwright_protocol::Secret;
    use std::{num::NonZeroU32, sync::Arc};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    /// A state, and what was applied to it.
    struct World {
        machine: Machine,
        index: u64,
    }

    impl World {
        fn new(limits: Limits) -> World {
            let machine = Machine::new(crate::machine::Setup::without_probe());
            let mut world = World { machine, index: 0 };
            world.apply(Action::Begin {
                limits,
                first_token: Token(1),
            });
            world.apply(Action::Join { disk: DiskId(1) });
            world
        }

        fn apply(&mut self, action: Action) -> Outcome {
            self.apply_at(TimeMs::ZERO, action)
        }

        fn apply_at(&mut self, at: TimeMs, action: Action) -> Outcome {
            let is_own = matches!(action, Action::Begin { .. });
            let origin = (!is_own).then_some(Origin {
                node: 1,
                incarnation: 1,
                number: self.index.saturating_sub(1),
            });
            let proposal = Proposal {
                at,
                term: 1,
                origin,
                action: Arc::new(action),
            };
            self.index += 1;
            self.machine
                .apply(self.index, 1, &proposal)
                .unwrap()
                .unwrap()
        }

        /// A request of the holder `h`, at the one millisecond that there is.
        fn acquire(&mut self, id: &str, claims: Vec<Claim>) {
            let lock = LockKey {
                namespace: name("n"),
                owner: Owner::Named(name("h")),
                id: name(id),
            };
            let wait = Wait::Forever;
            let command = Command::Acquire {
                lock,
                claims,
                ttl: None,
                wait,
            };
            let label = None;
            assert!(
                self.apply(Action::Call { command, label }).result.is_ok(),
                "{id}"
            );
        }
    }

    #[test]
    fn those_of_one_millisecond_end_latest_first_whatever_their_ids() {
        let mut world = World::new(Limits::default());
        for id in ["b", "a", "c"] {
            world.acquire(id, vec![Claim::write(path("p"))]);
        }
        let ended = world.apply(Action::EndRequests {
            namespace: name("n"),
            path: path("p"),
            owner: Owner::Named(name("h")),
            id: None,
            token: None,
        });
        let ids = ended.locks.iter().map(|lock| lock.lock.key.id.as_str());
        assert_eq!(ids.collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(world.machine.usage().live_requests, 0);
        let next = world.machine.engine.next_token();
        assert_eq!(next, Token(2), "none was granted on the way");
    }

    #[test]
    fn a_session_whose_end_takes_its_time_is_over_and_not_opened_anew() {
        let mut world = World::new(Limits {
            session_ends_per_ms: NonZeroU32::MIN,
            ..Limits::default()
        });
        let session = SessionKey {
            namespace: name("n"),
            session: name("s"),
        };
        let secret = |text: &str| SecretHash::of(Secret::new(text).unwrap());
        let open = |text: &str| Action::Open {
            session: session.clone(),
            secret: secret(text),
            abandon: DurationMs::ZERO,
            label: None,
        };
        let (own, other) = ("0123456789abcdef", "fedcba9876543210");
        let attachment = Attachment(world.apply(open(own)).index);
        for id in ["L1", "L2"] {
            let lock = LockKey {
                namespace: name("n"),
                owner: Owner::Session(name("s")),
                id: name(id),
            };
            let command = Command::Acquire {
                lock,
                claims: vec![Claim::write(path(id))],
                ttl: None,
                wait: Wait::No,
            };
            let asked = world.apply(Action::Ask {
                session: session.clone(),
                attachment,
                command,
                label: None,
            });
            assert!(asked.result.is_ok());
        }
        assert_eq!(world.apply(open(other)).result, Err(Denial::WrongSecret));
        let end = || Action::EndSession {
            session: session.clone(),
        };
        let ended = world.apply(end());
        assert_eq!(ended.ended_session.unwrap().requests, 2);
        assert_eq!(world.machine.usage().live_requests, 1);
        // Nobody has the wrong secret for what is over.
        let refused = Denial::Refused(Refusal::InvalidRequest(InvalidRequest::SessionOpen));
        for text in [own, other] {
            assert_eq!(world.apply(open(text)).result, Err(refused.clone()));
        }
        let unknown = Err(Denial::Refused(Refusal::UnknownSession));
        assert_eq!(world.apply(end()).result, unknown);
        let resume = Action::Resume {
            session: session.clone(),
            secret: secret(own),
        };
        assert_eq!(world.apply(resume).result, unknown);
        let detach = Action::Detach {
            session: session.clone(),
            attachment,
        };
        assert_eq!(world.apply(detach).result, Ok(Reply::Done));
        let restored = Machine::restore(
            world.machine.copy().save(),
            crate::machine::Setup::without_probe(),
        );
        world.machine = restored.unwrap();
        assert_eq!(world.machine.secrets(), 1);
        let opened = world.apply_at(TimeMs::new(1).unwrap(), open(other));
        assert!(opened.result.is_ok());
        assert_eq!(world.machine.usage().live_requests, 0);
        assert_eq!(world.machine.secrets(), 1);
    }

    #[test]
    fn a_holder_that_may_mean_more_than_can_be_told_ends_nothing() {
        let limits = Limits {
            claims_per_request: 30_000,
            ..Limits::default()
        };
        let mut world = World::new(limits);
        for id in ["one", "two"] {
            let long = |n| Claim::read(path(&format!("{id}-{n}-{}", "x".repeat(240))));
            let claims = (0..30_000 - 1).map(long);
            let here = [Claim::read(path("here"))];
            world.acquire(id, claims.chain(here).collect());
        }
        let mut end = |right| {
            world.apply(Action::EndAt {
                namespace: name("n"),
                path: path("here"),
                token: None,
                right,
            })
        };
        let refused = end(Right::Holder(Some(name("h"))));
        assert!(refused.result.is_err());
        let first = end(Right::Operator);
        assert!(first.locks.len() == 1 && first.more);
        let second = end(Right::Holder(Some(name("h"))));
        assert!(second.result.is_ok() && second.locks.len() == 1);
    }

    /// What an entry of the log does must not hang on the machine that applies it.
    #[test]
    fn what_a_lock_takes_is_the_same_on_each_machine() {
        let key = LockKey {
            namespace: name("n"),
            owner: Owner::Named(name("h")),
            id: name("L"),
        };
        let lock = LockInfo {
            key,
            claims: vec![Claim::read(path("abc")), Claim::write(path("d/e"))],
            state: LockState::Queued { deadline: None },
            arrived_at: TimeMs::ZERO,
        };
        assert_eq!(bytes(&Labelled { lock, label: None }), 256 + 2 * (64 + 3));
    }
}
