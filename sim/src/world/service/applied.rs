//! What a server applied, in the words of the command language, so that the oracles that judge an
//! engine alone judge the server's too.

use super::http_caller::request_of;
use crate::{
    driver::{line_lock, line_of, state_line},
    line::{Line, Subject, What},
    op::{Action, Op, OpClaim, OpLock, OpOwner, OpWait, Text},
    oracle::service::{Happening, Wanted},
};
use lockwright_engine::{
    Claim, Command, Event, LockKey, Mode, Owner, Refusal, Reply, SessionKey, TimeMs, Wait,
};

/// The op that an engine command is.
pub(super) fn op_of(at: TimeMs, command: &Command) -> Op {
    let (namespace, action) = match command {
        Command::Acquire {
            lock,
            claims,
            ttl,
            wait,
        } => (
            Some(&lock.namespace),
            Action::Acquire {
                id: lock.id.clone().into(),
                owner: owner_of(&lock.owner),
                claims: claims.iter().map(claim_of).collect(),
                ttl: ttl.map(u64::from),
                wait: wait_of(*wait),
            },
        ),
        Command::Cancel { lock } => (
            Some(&lock.namespace),
            Action::Cancel {
                lock: lock_of(lock),
            },
        ),
        Command::Release { lock, token } => {
            let action = Action::Release {
                lock: lock_of(lock),
                token: Some(token.0),
            };
            (Some(&lock.namespace), action)
        }
        Command::Renew { lock, token, ttl } => {
            let lock_of = lock_of(lock);
            let action = Action::Renew {
                lock: lock_of,
                token: Some(token.0),
                ttl: ttl.as_ms(),
            };
            (Some(&lock.namespace), action)
        }
        Command::Break { lock, token } => {
            let token = token.map(|token| token.0);
            (
                Some(&lock.namespace),
                Action::Break {
                    lock: lock_of(lock),
                    token,
                },
            )
        }
        Command::OpenSession { session, abandon } => {
            let (session_text, abandon) = (text_of(session), abandon.as_ms());
            let action = Action::OpenSession {
                session: session_text,
                abandon,
            };
            (Some(&session.namespace), action)
        }
        Command::Attach { session } => (
            Some(&session.namespace),
            Action::Attach {
                session: text_of(session),
            },
        ),
        Command::Detach { session } => (
            Some(&session.namespace),
            Action::Detach {
                session: text_of(session),
            },
        ),
        Command::KeepAlive { session } => (
            Some(&session.namespace),
            Action::KeepAlive {
                session: text_of(session),
            },
        ),
        Command::Done { session, ids } => (
            Some(&session.namespace),
            Action::Done {
                session: text_of(session),
                ids: ids.iter().map(|id| id.clone().into()).collect(),
            },
        ),
        Command::CloseSession { session } => (
            Some(&session.namespace),
            Action::CloseSession {
                session: text_of(session),
            },
        ),
        Command::Tick => (None, Action::Tick),
    };
    Op {
        at: at.as_ms(),
        namespace: namespace.map(|name| name.clone().into()),
        action,
    }
}

/// The lines that it gave.
pub(super) fn lines_of(
    op: &Op,
    command: &Command,
    result: &Result<Reply, Refusal>,
    events: &[Event],
) -> Vec<Line> {
    let mut lines: Vec<Line> = events.iter().map(|event| line_of(event.clone())).collect();
    let last = match (command, result) {
        (
            Command::Acquire { lock, .. },
            Ok(Reply::Acquired {
                state,
                fresh: false,
            }),
        ) => Some(state_line(line_lock(lock.clone()), *state)),
        (_, Ok(_)) => None,
        (Command::Acquire { lock, .. }, Err(refusal)) => Some(What::Refused {
            lock: line_lock(lock.clone()),
            error: refusal.code().as_str(),
        }),
        (_, Err(refusal)) => Some(What::Error {
            op: op.action.name(),
            subject: subject_of(&op.action),
            error: refusal.code().as_str(),
        }),
    };
    lines.extend(last.map(|what| Line { at: op.at, what }));
    lines
}

/// What the arrival of a command means to the oracles of the service, if it means anything.
pub(super) fn arrival(op: &Op, result: &Result<Reply, Refusal>) -> Option<Happening> {
    let is_done = result.is_ok();
    if let (
        Err(Refusal::RequestMismatch(_)),
        Action::Acquire {
            id, owner, claims, ..
        },
    ) = (result, &op.action)
    {
        return Some(Happening::Mismatched {
            id: request_of(owner, id),
            claims: claims.clone(),
        });
    }
    match &op.action {
        Action::Acquire {
            id,
            owner: OpOwner::Session(session),
            claims,
            ttl,
            wait,
        } => Some(Happening::Applied {
            id: id.clone(),
            session: session.clone(),
            wanted: Wanted {
                namespace: op.namespace.clone()?,
                claims: claims.clone(),
                ttl: *ttl,
                wait: *wait,
            },
        }),
        Action::Acquire {
            id,
            owner: owner @ OpOwner::Named(holder),
            claims,
            ttl,
            wait,
        } => Some(Happening::HttpApplied {
            id: request_of(owner, id),
            holder: holder.clone(),
            wanted: Wanted {
                namespace: op.namespace.clone()?,
                claims: claims.clone(),
                ttl: *ttl,
                wait: *wait,
            },
        }),
        Action::Renew { lock, ttl, .. } => Some(Happening::Renewed {
            id: match &lock.owner {
                Some(owner) => request_of(owner, &lock.id),
                None => lock.id.clone(),
            },
            ttl: *ttl,
        }),
        Action::OpenSession { session, abandon } if is_done => Some(Happening::Opened {
            session: session.clone(),
            namespace: op.namespace.clone()?,
            abandon: *abandon,
        }),
        Action::Attach { session } if is_done => Some(Happening::Attached {
            session: session.clone(),
        }),
        Action::Detach { session } if is_done => Some(Happening::Detached {
            session: session.clone(),
        }),
        Action::CloseSession { session } if is_done => Some(Happening::Closes {
            session: session.clone(),
        }),
        _ => None,
    }
}

/// The session whose client has sent a command, if one has: the others are a server's own, or begin or end one.
pub(super) fn speaker(op: &Op) -> Option<&Text> {
    let owner = match &op.action {
        Action::Acquire { owner, .. } => Some(owner),
        Action::Release { lock, .. } | Action::Renew { lock, .. } | Action::Cancel { lock } => {
            lock.owner.as_ref()
        }
        Action::KeepAlive { session } | Action::Done { session, .. } => return Some(session),
        _ => None,
    };
    match owner {
        Some(OpOwner::Session(session)) => Some(session),
        _ => None,
    }
}

fn subject_of(action: &Action) -> Subject {
    match action {
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
        Action::Acquire { .. } | Action::Tick | Action::Inspect { .. } => {
            unreachable!("an acquire has a line of its own, and the others are not refused")
        }
    }
}

fn owner_of(owner: &Owner) -> OpOwner {
    match owner {
        Owner::Named(name) => OpOwner::Named(name.clone().into()),
        Owner::Session(name) => OpOwner::Session(name.clone().into()),
    }
}

fn lock_of(lock: &LockKey) -> OpLock {
    OpLock {
        id: lock.id.clone().into(),
        owner: Some(owner_of(&lock.owner)),
    }
}

fn text_of(session: &SessionKey) -> Text {
    session.session.clone().into()
}

pub(super) fn claim_of(claim: &Claim) -> OpClaim {
    OpClaim {
        write: claim.mode == Mode::Write,
        path: claim.path.as_str().into(),
    }
}

fn wait_of(wait: Wait) -> OpWait {
    match wait {
        Wait::No => OpWait::No,
        Wait::For(duration) => OpWait::For(duration.as_ms()),
        Wait::Forever => OpWait::Forever,
    }
}
