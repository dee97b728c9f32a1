//! The engine as the command language sees it: ops in, lines out.
//!
//! The driver fills in what an op leaves out, makes the engine's command of it, and makes lines of
//! the events and the refusal. It decides nothing about locks.

mod known;

use crate::line::{Line, LineLock, Subject, What};
use crate::model::ModelLimits;
use crate::op::{Action, DEFAULT_NAMESPACE, Op, OpClaim, OpOwner, OpWait, Text};
use known::KnownLocks;
use lockwright_engine::{
    Claim, Command, DurationMs, Engine, ErrorCode, Event, EventKind, Limits, LockKey, LockState,
    Mode, Name, NameError, OutOfRange, Owner, Path, PathError, Refusal, Reply, SessionKey, TimeMs,
    Token, Wait,
};

/// Why an op was refused, for people; a line has only the [`ErrorCode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A name in it is no name. The engine did not see it.
    #[error("{what}: {error}")]
    Name {
        /// What the name is of, such as `owner`.
        what: &'static str,
        /// What is wrong with it.
        error: NameError,
    },
    /// A path in it is no path. The engine did not see it.
    #[error("{0}")]
    Path(PathError),
    /// The engine refused it.
    #[error("{0}")]
    Engine(Refusal),
}

impl Rejection {
    /// The code that a line shows.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Rejection::Name { error, .. } => ErrorCode::from(*error),
            Rejection::Path(error) => ErrorCode::from(*error),
            Rejection::Engine(refusal) => refusal.code(),
        }
    }
}

/// An [`Engine`] that is driven by ops.
pub struct EngineDriver {
    engine: Engine,
    known: KnownLocks,
    default_namespace: Name,
    /// Who is asked about when an op on a lock names no owner and its id was never seen: anyone,
    /// since there is no lock of that id.
    nobody: Owner,
    events: Vec<Event>,
    rejection: Option<Rejection>,
}

impl EngineDriver {
    /// Drives `engine`.
    #[must_use]
    pub fn new(engine: Engine) -> EngineDriver {
        let fixed = |text| Name::new(text).unwrap_or_else(|_| unreachable!("`{text}` is a name"));
        EngineDriver {
            engine,
            known: KnownLocks::default(),
            default_namespace: fixed(DEFAULT_NAMESPACE),
            nobody: Owner::Named(fixed("nobody")),
            events: Vec::new(),
            rejection: None,
        }
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine, to be put in the place of another that has applied the same commands.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Why the latest op was refused, if it was.
    #[must_use]
    pub fn rejection(&self) -> Option<&Rejection> {
        self.rejection.as_ref()
    }

    /// Carries out one op and appends what happens to `lines`, in the order in which it does.
    ///
    /// # Panics
    /// If a number of the op is above [`NUMBER_MAX`](crate::op::NUMBER_MAX), or an assertion of
    /// the engine fails.
    pub fn step(&mut self, op: &Op, lines: &mut Vec<Line>) {
        self.rejection = None;
        let at = in_range(TimeMs::new(op.at));
        if leaves_out_token(&op.action) && self.engine.next_deadline().is_some_and(|due| due <= at)
        {
            // The grant whose token is meant may be among what is due before the op.
            self.tick(at);
            self.say_events(lines);
        }
        let outcome = match self.command_of(op) {
            Ok(command) => self.apply(at, &command).map_err(Rejection::Engine),
            Err(rejection) => {
                // The op is refused without the engine, but its time comes all the same.
                self.tick(at);
                Err(rejection)
            }
        };
        self.say_events(lines);
        let outcome = outcome.and_then(|reply| self.answer(op, reply));
        let what = match outcome {
            Ok(None) => return,
            Ok(Some(what)) => what,
            Err(rejection) => {
                let code = rejection.code();
                self.rejection = Some(rejection);
                self.refused(op, code)
            }
        };
        let at = self.engine.now().as_ms();
        lines.push(Line { at, what });
    }

    fn apply(&mut self, at: TimeMs, command: &Command) -> Result<Reply, Refusal> {
        self.engine.apply(at, command, &mut self.events)
    }

    fn tick(&mut self, at: TimeMs) {
        let ticked = self.apply(at, &Command::Tick);
        assert_eq!(ticked, Ok(Reply::Done), "a tick is never refused");
    }

    /// The engine's command for an op, with the owner and the token that it leaves out, as far as
    /// they are known now. An `inspect` is a tick and then a question.
    ///
    /// # Errors
    /// When a name or a path in it is none.
    pub fn command_of(&self, op: &Op) -> Result<Command, Rejection> {
        Ok(match &op.action {
            Action::Acquire {
                id,
                owner,
                claims,
                ttl,
                wait,
            } => Command::Acquire {
                lock: LockKey {
                    namespace: self.namespace_of(op)?,
                    owner: owner_of(owner)?,
                    id: name("id", id)?,
                },
                claims: claims.iter().map(claim_of).collect::<Result<_, _>>()?,
                ttl: ttl.map(duration),
                wait: match wait {
                    OpWait::No => Wait::No,
                    OpWait::For(ms) => Wait::For(duration(*ms)),
                    OpWait::Forever => Wait::Forever,
                },
            },
            Action::Release { lock, token } => {
                let lock = self.lock_of(op, lock)?;
                let token = token.map(Token).or_else(|| self.known.token(&lock));
                Command::Release {
                    token: token.unwrap_or(NEVER_GRANTED),
                    lock,
                }
            }
            Action::Renew { lock, token, ttl } => {
                let lock = self.lock_of(op, lock)?;
                let token = token.map(Token).or_else(|| self.known.token(&lock));
                Command::Renew {
                    token: token.unwrap_or(NEVER_GRANTED),
                    ttl: duration(*ttl),
                    lock,
                }
            }
            Action::Cancel { lock } => Command::Cancel {
                lock: self.lock_of(op, lock)?,
            },
            Action::Break { lock, token } => {
                let lock = self.lock_of(op, lock)?;
                let token = token.map(Token).or_else(|| self.known.token(&lock));
                Command::Break { lock, token }
            }
            Action::OpenSession { session, abandon } => Command::OpenSession {
                session: self.session_of(op, session)?,
                abandon: duration(*abandon),
            },
            Action::Attach { session } => Command::Attach {
                session: self.session_of(op, session)?,
            },
            Action::Detach { session } => Command::Detach {
                session: self.session_of(op, session)?,
            },
            Action::KeepAlive { session } => Command::KeepAlive {
                session: self.session_of(op, session)?,
            },
            Action::Done { session, ids } => Command::Done {
                session: self.session_of(op, session)?,
                ids: ids
                    .iter()
                    .map(|id| name("id", id))
                    .collect::<Result<_, _>>()?,
            },
            Action::CloseSession { session } => Command::CloseSession {
                session: self.session_of(op, session)?,
            },
            Action::Tick | Action::Inspect { .. } => Command::Tick,
        })
    }

    fn namespace_of(&self, op: &Op) -> Result<Name, Rejection> {
        match &op.namespace {
            Some(namespace) => name("namespace", namespace),
            None => Ok(self.default_namespace.clone()),
        }
    }

    fn session_of(&self, op: &Op, session: &Text) -> Result<SessionKey, Rejection> {
        Ok(SessionKey {
            namespace: self.namespace_of(op)?,
            session: name("session", session)?,
        })
    }

    /// The lock that an op is about. When it names no owner, that of the latest request with this
    /// id, in the namespace that is written or else in that of the request.
    fn lock_of(&self, op: &Op, lock: &crate::op::OpLock) -> Result<LockKey, Rejection> {
        let id = name("id", &lock.id)?;
        if let Some(owner) = &lock.owner {
            return Ok(LockKey {
                namespace: self.namespace_of(op)?,
                owner: owner_of(owner)?,
                id,
            });
        }
        let written = match &op.namespace {
            Some(namespace) => Some(name("namespace", namespace)?),
            None => None,
        };
        let (namespace, owner) = match self.known.latest(&id) {
            Some(known) => (&known.namespace, &known.owner),
            None => (&self.default_namespace, &self.nobody),
        };
        Ok(LockKey {
            namespace: written.unwrap_or_else(|| namespace.clone()),
            owner: owner.clone(),
            id,
        })
    }

    /// Makes lines of the events, and learns tokens from them.
    fn say_events(&mut self, lines: &mut Vec<Line>) {
        for event in self.events.drain(..) {
            match &event.kind {
                EventKind::Queued { lock } => self.known.queued(lock),
                EventKind::Granted { lock, token, .. } => self.known.granted(lock, *token),
                EventKind::Renewed { .. } | EventKind::Ended { .. } | EventKind::Session { .. } => {
                }
            }
            lines.push(line_of(event));
        }
    }

    /// The line that answers an op beside the events: a retry's, or an inspection's.
    fn answer(&self, op: &Op, reply: Reply) -> Result<Option<What>, Rejection> {
        match &op.action {
            Action::Acquire { id, owner, .. } => {
                let Reply::Acquired { state, fresh } = reply else {
                    panic!("the engine answered an acquire with {reply:?}");
                };
                Ok((!fresh).then(|| state_line(self.line_lock_of(op, owner, id), state)))
            }
            Action::Inspect { path } => self.inspect(op, path).map(Some),
            _ => Ok(None),
        }
    }

    fn inspect(&self, op: &Op, path: &Text) -> Result<What, Rejection> {
        let namespace = self.namespace_of(op)?;
        let wanted = Path::parse(path.clone()).map_err(Rejection::Path)?;
        let (mut held, mut queued) = (Vec::new(), Vec::new());
        for info in self.engine.overlapping(&namespace, &wanted) {
            match info.state {
                LockState::Held { .. } => held.push(info.key.id.into()),
                LockState::Queued { .. } => queued.push(info.key.id.into()),
                LockState::Ended { .. } => {
                    panic!("{} has ended and is among the live requests", info.key.id)
                }
            }
        }
        Ok(What::Inspect {
            path: path.clone(),
            held,
            queued,
        })
    }

    /// The line that says that an op was refused.
    fn refused(&self, op: &Op, code: ErrorCode) -> What {
        let error = code.as_str();
        let subject = match &op.action {
            Action::Acquire { id, owner, .. } => {
                return What::Refused {
                    lock: self.line_lock_of(op, owner, id),
                    error,
                };
            }
            Action::Release { lock, .. }
            | Action::Renew { lock, .. }
            | Action::Cancel { lock }
            | Action::Break { lock, .. } => Subject::Lock(lock.id.clone()),
            Action::OpenSession { session, .. }
            | Action::Attach { session }
            | Action::Detach { session }
            | Action::KeepAlive { session }
            | Action::Done { session, .. }
            | Action::CloseSession { session } => Subject::Session(session.clone()),
            Action::Inspect { path } => Subject::Path(path.clone()),
            Action::Tick => unreachable!("a tick is never refused"),
        };
        What::Error {
            op: op.action.name(),
            subject,
            error,
        }
    }

    fn line_lock_of(&self, op: &Op, owner: &OpOwner, id: &Text) -> LineLock {
        let namespace = op.namespace.as_ref();
        LineLock {
            namespace: namespace
                .cloned()
                .unwrap_or_else(|| self.default_namespace.clone().into()),
            owner: owner.clone(),
            id: id.clone(),
        }
    }
}

/// What a release or renewal carries when its id never got a token; no grant has it.
const NEVER_GRANTED: Token = Token(0);

fn leaves_out_token(action: &Action) -> bool {
    matches!(
        action,
        Action::Release { token: None, .. }
            | Action::Renew { token: None, .. }
            | Action::Break { token: None, .. }
    )
}

fn name(what: &'static str, text: &Text) -> Result<Name, Rejection> {
    Name::new(text.clone()).map_err(|error| Rejection::Name { what, error })
}

fn owner_of(owner: &OpOwner) -> Result<Owner, Rejection> {
    Ok(match owner {
        OpOwner::Named(text) => Owner::Named(name("owner", text)?),
        OpOwner::Session(text) => Owner::Session(name("session", text)?),
    })
}

fn claim_of(claim: &OpClaim) -> Result<Claim, Rejection> {
    Ok(Claim {
        path: Path::parse(claim.path.clone()).map_err(Rejection::Path)?,
        mode: if claim.write { Mode::Write } else { Mode::Read },
    })
}

fn duration(ms: u64) -> DurationMs {
    in_range(DurationMs::new(ms))
}

/// A number of an op. Its documentation promises the range, and reading one from JSON checks it.
fn in_range<T>(number: Result<T, OutOfRange>) -> T {
    number.unwrap_or_else(|error| panic!("an op has a number that no op can have: {error}"))
}

/// The line that an event is.
pub fn line_of(event: Event) -> Line {
    let what = match event.kind {
        EventKind::Queued { lock } => What::Queued {
            lock: line_lock(lock),
        },
        EventKind::Granted { lock, token, .. } => What::Granted {
            lock: line_lock(lock),
            token: token.0,
        },
        EventKind::Renewed { lock, expires } => What::Renewed {
            lock: line_lock(lock),
            expires: expires.as_ms(),
        },
        EventKind::Ended { lock, reason } => What::Ended {
            lock: line_lock(lock),
            reason: reason.as_str(),
        },
        EventKind::Session { session, change } => What::Session {
            namespace: session.namespace.into(),
            session: session.session.into(),
            state: change.as_str(),
        },
    };
    Line {
        at: event.at.as_ms(),
        what,
    }
}

/// A lock's identity as lines have it.
pub(crate) fn line_lock(lock: LockKey) -> LineLock {
    LineLock {
        namespace: lock.namespace.into(),
        owner: match lock.owner {
            Owner::Named(name) => OpOwner::Named(name.into()),
            Owner::Session(name) => OpOwner::Session(name.into()),
        },
        id: lock.id.into(),
    }
}

/// The state of a request as a line says it, in answer to a retry.
pub(crate) fn state_line(lock: LineLock, state: LockState) -> What {
    match state {
        LockState::Queued { .. } => What::Queued { lock },
        LockState::Held { token, .. } => What::Granted {
            lock,
            token: token.0,
        },
        LockState::Ended { reason, .. } => What::Ended {
            lock,
            reason: reason.as_str(),
        },
    }
}

impl From<&Limits> for ModelLimits {
    fn from(limits: &Limits) -> ModelLimits {
        let Limits {
            claims_per_request,
            segments_per_path,
            bytes_per_segment,
            queued_requests_per_path,
            locks_per_owner,
            sessions,
            namespaces,
            retention,
            session_ends_per_ms,
        } = limits;
        ModelLimits {
            claims_per_request: u64::from(*claims_per_request),
            segments_per_path: u64::from(*segments_per_path),
            bytes_per_segment: u64::from(*bytes_per_segment),
            queued_requests_per_path: u64::from(*queued_requests_per_path),
            locks_per_owner: u64::from(*locks_per_owner),
            sessions: u64::from(*sessions),
            namespaces: u64::from(*namespaces),
            retention: retention.as_ms(),
            session_ends_per_ms: u64::from(session_ends_per_ms.get()),
        }
    }
}
