//! `POST /v1/break` and `DELETE /v1/sessions/{session}`: what an operator does to requests and
//! sessions of others.

use super::{
    authority::Operator,
    body::{InPath, Object, Params},
    error::ApiError,
    namespace, path,
    view::{lock_view, owner},
};
use crate::{
    call::{CallAnswer, Unavailable, in_one_word},
    machine::{EndedSession, Labelled},
    proposal::{Action, Right},
    replica::in_words,
    session_endpoint::Gate,
};
use axum::{Json, extract::State};
use lockwright_engine::{LockInfo, LockState, Name, Refusal, SessionKey};
use lockwright_env::Env;
use lockwright_protocol::{
    Label,
    http::{BreakBody, Broken, SessionEnded},
};
use serde::Deserialize;
use std::sync::Arc;
use tracing::info;

pub(super) async fn break_lock<E: Env>(
    _: Operator,
    State(gate): State<Arc<Gate<E>>>,
    Object(body): Object<BreakBody>,
) -> Result<Json<Broken>, ApiError> {
    let (namespace, path, token) = (namespace(body.namespace), path(&body.key)?, body.token);
    let action = match (body.owner, body.id) {
        (Some(view), id) => Action::EndRequests {
            namespace,
            path,
            owner: owner(view),
            id,
            token,
        },
        (None, Some(_)) => {
            return Err(ApiError::invalid(
                "an `id` is unique within its owner: say `owner` too, as inspection tells of it",
            ));
        }
        (None, None) => Action::EndAt {
            namespace,
            path,
            token,
            right: Right::Operator,
        },
    };
    match gate.call(action).await? {
        CallAnswer::Done { locks, more, .. } => {
            let wall = gate.env().wall_unix_ms();
            let now = gate.look(|_, now| now).await;
            let now = now.map_err(Unavailable::after_a_change)?;
            for Labelled { lock, label } in &locks {
                log_broken(lock, label.as_ref());
            }
            let broken = locks.iter().map(|lock| lock_view(lock, now, wall));
            Ok(Json(Broken {
                broken: broken.collect(),
                more,
            }))
        }
        CallAnswer::Refused {
            refusal,
            in_the_way,
        } => {
            let error = ApiError::refused(refusal.clone()).because_of(in_the_way.as_ref());
            Err(match refusal {
                Refusal::NotHeld => error.saying(format!(
                    "no lock claims exactly `{}`: GET /v1/locks/{} tells what is held around it",
                    body.key, body.key
                )),
                Refusal::UnknownLock => error.saying(format!(
                    "that owner has no such request that claims exactly `{}`: GET /v1/locks/{} tells \
                     what is held and queued around it",
                    body.key, body.key
                )),
                _ => error,
            })
        }
        answer => panic!("{answer:?} is no answer to a break"),
    }
}

fn log_broken(lock: &LockInfo, label: Option<&Label>) {
    let (namespace, owner, id) = (
        &lock.key.namespace,
        in_one_word(&lock.key.owner),
        &lock.key.id,
    );
    let (paths, label) = (in_words(&lock.claims), label.map(ToString::to_string));
    let token = match lock.state {
        LockState::Held { token, .. } => Some(token.0),
        LockState::Queued { .. } | LockState::Ended { .. } => None,
    };
    info!(%namespace, owner, %id, paths, token, label, "an operator broke a lock");
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Where {
    namespace: Option<Name>,
}

/// Ends a session, and with it all its requests.
pub(super) async fn end_session<E: Env>(
    _: Operator,
    State(gate): State<Arc<Gate<E>>>,
    InPath(session): InPath<String>,
    Params(asked): Params<Where>,
) -> Result<Json<SessionEnded>, ApiError> {
    let session = Name::new(&session)
        .map_err(|error| ApiError::invalid(format!("`{session}` is no session: {error}")))?;
    let namespace = namespace(asked.namespace);
    let action = Action::EndSession {
        session: SessionKey {
            namespace: namespace.clone(),
            session: session.clone(),
        },
    };
    match gate.call(action).await? {
        CallAnswer::Done {
            locks,
            ended_session: Some(EndedSession {
                label, requests, ..
            }),
            ..
        } => {
            let wall = gate.env().wall_unix_ms();
            let now = gate.look(|_, now| now).await;
            let now = now.map_err(Unavailable::after_a_change)?;
            let label = label.map(String::from);
            info!(%namespace, %session, ?label, requests, "an operator ended a session");
            let locks = locks.iter().map(|lock| lock_view(lock, now, wall));
            Ok(Json(SessionEnded {
                namespace,
                session,
                label,
                ended: true,
                requests,
                locks: locks.collect(),
            }))
        }
        CallAnswer::Refused { refusal, .. } => Err(ApiError::refused(refusal)),
        answer => panic!("{answer:?} is no answer to the end of a session"),
    }
}
