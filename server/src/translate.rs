//! Between the words of the wire and those of the engine.

use lockwright_engine::{
    Command, EndReason, ErrorCode, EventKind, FirstRequest, LimitName, LockKey, LockState, Name,
    Owner, Refusal, SessionChange, SessionKey, SessionRequest, TimeMs,
};
use lockwright_protocol::{
    ClaimError, ClaimText, DONE_IDS_MAX, DecodeError, Label, LockStatus, Message, Request,
};

/// Why a message is refused, as the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    pub(crate) limit: Option<LimitName>,
    pub(crate) first: Option<FirstRequest>,
}

impl Rejection {
    /// The message is malformed, or comes at the wrong time.
    pub(crate) fn invalid(message: impl Into<String>) -> Rejection {
        Rejection {
            code: ErrorCode::InvalidRequest,
            message: message.into(),
            limit: None,
            first: None,
        }
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Rejection {
        Rejection {
            code: refusal.code(),
            message: refusal.to_string(),
            limit: match &refusal {
                Refusal::LimitExceeded { limit, .. } => Some(*limit),
                _ => None,
            },
            first: match refusal {
                Refusal::RequestMismatch(first) => Some(*first),
                _ => None,
            },
        }
    }
}

impl From<&DecodeError> for Rejection {
    fn from(error: &DecodeError) -> Rejection {
        Rejection {
            code: error.code(),
            message: error.to_string(),
            limit: None,
            first: None,
        }
    }
}

impl From<ClaimError> for Rejection {
    fn from(error: ClaimError) -> Rejection {
        Rejection {
            code: error.code(),
            message: error.to_string(),
            limit: None,
            first: None,
        }
    }
}

impl From<Rejection> for Message {
    fn from(rejection: Rejection) -> Message {
        let first = rejection.first.as_ref();
        let claims = first.map(|first| first.claims.iter().map(ClaimText::from).collect());
        Message::Error {
            error: rejection.code,
            message: rejection.message,
            limit: rejection.limit,
            claims: claims.unwrap_or_default(),
            claims_left_out: first.map_or(0, |first| first.left_out),
            ended: first.and_then(|first| first.ended),
        }
    }
}

/// Why a label is not taken.
pub(crate) enum LabelRefused {
    Limit(Refusal),
    Invalid(String),
}

impl From<LabelRefused> for Rejection {
    fn from(refused: LabelRefused) -> Rejection {
        match refused {
            LabelRefused::Limit(refusal) => refusal.into(),
            LabelRefused::Invalid(message) => Rejection::invalid(message),
        }
    }
}

/// The label that a client gives, if it gives one.
pub(crate) fn label(text: Option<String>) -> Result<Option<Label>, LabelRefused> {
    let label = text.map(Label::new).transpose();
    label.map_err(|error| match error.limit() {
        Some(refusal) => LabelRefused::Limit(refusal),
        None => LabelRefused::Invalid(format!("`label` is none: {error}")),
    })
}

/// The command that a session's request stands for, and the label of the request that it makes.
pub(crate) fn command(
    session: &SessionKey,
    request: Request,
) -> Result<(Command, Option<Label>), Rejection> {
    let mut given = None;
    let command = unlabelled(session, request, &mut given)?;
    Ok((command, label(given)?))
}

fn unlabelled(
    session: &SessionKey,
    request: Request,
    given: &mut Option<String>,
) -> Result<Command, Rejection> {
    let lock = |id| LockKey {
        namespace: session.namespace.clone(),
        owner: Owner::Session(session.session.clone()),
        id,
    };
    Ok(match request {
        Request::Open { .. } | Request::Resume { .. } => {
            return Err(Rejection::invalid(
                "this connection speaks for a session already: open another connection",
            ));
        }
        Request::Acquire {
            id,
            claims,
            ttl_ms,
            wait,
            label,
        } => {
            *given = label;
            Command::Acquire {
                lock: lock(id),
                claims: claims
                    .iter()
                    .map(|claim| claim.parse())
                    .collect::<Result<_, _>>()?,
                ttl: ttl_ms,
                wait: wait.0,
            }
        }
        Request::Cancel { id } => Command::Cancel { lock: lock(id) },
        Request::Release { id, token } => Command::Release {
            lock: lock(id),
            token,
        },
        Request::Renew { id, token, ttl_ms } => Command::Renew {
            lock: lock(id),
            token,
            ttl: ttl_ms,
        },
        Request::Done { ids } => match ids.len() {
            0..=DONE_IDS_MAX => Command::Done {
                session: session.clone(),
                ids,
            },
            more => {
                return Err(Rejection::invalid(format!(
                    "`ids` has {more} ids, and may have {DONE_IDS_MAX}: send several"
                )));
            }
        },
        Request::KeepAlive {} => Command::KeepAlive {
            session: session.clone(),
        },
        Request::Close {} => Command::CloseSession {
            session: session.clone(),
        },
    })
}

/// What a command itself does, so that the answer takes its place among the events. What was due
/// before the command, and the grants that it sets free, are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnEffect {
    /// It is queued or granted.
    Acquire(LockKey),
    /// It is renewed.
    Renew(LockKey),
    /// It is over.
    Cancel(LockKey),
    /// It is over.
    Release(LockKey),
    /// The session is over.
    Close(SessionKey),
    /// Nothing that anybody else is told of.
    Nothing,
}

impl OwnEffect {
    pub(crate) fn of(command: &Command) -> OwnEffect {
        match command {
            Command::Acquire { lock, .. } => OwnEffect::Acquire(lock.clone()),
            Command::Renew { lock, .. } => OwnEffect::Renew(lock.clone()),
            Command::Cancel { lock } => OwnEffect::Cancel(lock.clone()),
            Command::Release { lock, .. } => OwnEffect::Release(lock.clone()),
            Command::CloseSession { session } => OwnEffect::Close(session.clone()),
            _ => OwnEffect::Nothing,
        }
    }

    /// Whether it is the end of the session of `lock`.
    pub(crate) fn closes(&self, lock: &LockKey) -> bool {
        matches!(self, OwnEffect::Close(session) if session_of(lock).as_ref() == Some(session))
    }

    /// Whether `event` is it.
    pub(crate) fn is(&self, event: &EventKind) -> bool {
        match (self, event) {
            (
                OwnEffect::Acquire(lock),
                EventKind::Queued { lock: of } | EventKind::Granted { lock: of, .. },
            )
            | (OwnEffect::Renew(lock), EventKind::Renewed { lock: of, .. })
            | (
                OwnEffect::Cancel(lock),
                EventKind::Ended {
                    lock: of,
                    reason: EndReason::Cancelled,
                },
            )
            | (
                OwnEffect::Release(lock),
                EventKind::Ended {
                    lock: of,
                    reason: EndReason::Released,
                },
            ) => lock == of,
            (
                OwnEffect::Close(session),
                EventKind::Session {
                    session: of,
                    change: SessionChange::Ended,
                },
            ) => session == of,
            _ => false,
        }
    }
}

/// How a request that arrived at `arrived_at` stands, as the answer to its `acquire` at time `at`.
pub(crate) fn acquired(id: Name, state: LockState, arrived_at: TimeMs, at: TimeMs) -> Message {
    match state {
        LockState::Queued { .. } => Message::Queued { id },
        LockState::Held {
            token,
            granted_at,
            expires,
        } => Message::Granted {
            id,
            token,
            lease_ms: expires.map(|expires| expires.since(at)),
            waited_ms: granted_at.since(arrived_at),
        },
        LockState::Ended { reason, .. } => Message::Ended { id, reason },
    }
}

/// How a live lock stands at time `at`.
pub(crate) fn status(lock: SessionRequest, at: TimeMs) -> LockStatus {
    let id = lock.id;
    match lock.state {
        LockState::Queued { .. } => LockStatus::Queued {
            id,
            waited_ms: at.since(lock.arrived_at),
        },
        LockState::Held {
            token,
            granted_at,
            expires,
        } => LockStatus::Held {
            id,
            token,
            lease_ms: expires.map(|expires| expires.since(at)),
            waited_ms: granted_at.since(lock.arrived_at),
        },
        LockState::Ended { .. } => panic!("a live lock was asked for, {id} has ended"),
    }
}

/// The push that tells a lock's owner of an event at time `at`; none for what a client learns
/// otherwise: what it did itself is in the answer.
pub(crate) fn push(event: &EventKind, at: TimeMs) -> Option<Message> {
    match event {
        EventKind::Granted {
            lock,
            token,
            expires,
            arrived_at,
        } => Some(Message::Granted {
            id: lock.id.clone(),
            token: *token,
            lease_ms: expires.map(|expires| expires.since(at)),
            waited_ms: at.since(*arrived_at),
        }),
        EventKind::Ended { lock, reason } => Some(Message::Ended {
            id: lock.id.clone(),
            reason: *reason,
        }),
        EventKind::Queued { .. } | EventKind::Renewed { .. } | EventKind::Session { .. } => None,
    }
}

/// The session that a lock belongs to, if it belongs to one.
pub(crate) fn session_of(lock: &LockKey) -> Option<SessionKey> {
    match &lock.owner {
        Owner::Session(session) => Some(SessionKey {
            namespace: lock.namespace.clone(),
            session: session.clone(),
        }),
        Owner::Named(_) => None,
    }
}
