//! `/lock/{name}`: one lock, for shell scripts and people with curl.

use super::{
    body::{InPath, Params},
    delivery::Delivered,
    error::ApiError,
    locks, namespace, path,
    view::lock_view,
};
use crate::{
    admission::Place,
    call::{CallAnswer, Consistency, HeldBy},
    machine::Labelled,
    proposal::{Action, Right},
    session_endpoint::Gate,
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use lockwright_engine::{Claim, LockState, Mode, Name, Path, Refusal, Token};
use lockwright_env::Env;
use lockwright_protocol::{
    WaitMs,
    http::{AcquireBody, Acquired, Locked, Released},
};
use serde::Deserialize;
use std::sync::Arc;

/// Who holds a lock that is asked for without saying who.
const DEFAULT_HOLDER: &str = "http";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Where {
    namespace: Option<Name>,
    #[serde(default)]
    consistency: Consistency,
}

/// Is it locked? Anything that is held and overlaps counts.
pub(super) async fn is_locked<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    InPath(key): InPath<String>,
    Params(asked): Params<Where>,
) -> Result<Json<Locked>, ApiError> {
    let (namespace, path) = (namespace(asked.namespace), path(&key)?);
    let wall = gate.env().wall_unix_ms();
    let everything = [Claim::write(path)];
    let held = gate
        .look_at(asked.consistency, move |machine, now| {
            let found = machine.in_the_way(&namespace, &everything, None);
            found.held.and_then(|lock| HeldBy::at(now, &lock))
        })
        .await?;
    let Some(held) = held else {
        return Err(ApiError::refused(Refusal::NotHeld)
            .with_status(StatusCode::NOT_FOUND)
            .saying(format!("`{key}` is not locked"))
            .locked(false));
    };
    Ok(Json(Locked {
        key,
        locked: true,
        holder: held.holder(),
        label: held.label.as_ref().map(ToString::to_string),
        held_ms: Some(held.held),
        token: held.token,
        lease_remaining_ms: held.left,
        expires_at_unix_ms: held.left.map(|left| wall.saturating_add(left.as_ms())),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    namespace: Option<Name>,
    holder: Option<Name>,
    mode: Option<Mode>,
    ttl_ms: Option<u64>,
    wait_ms: Option<String>,
    request_id: Option<Name>,
    label: Option<String>,
}

/// Locks it.
pub(super) async fn lock<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Extension(place): Extension<Place>,
    InPath(key): InPath<String>,
    Params(how): Params<How>,
) -> Result<Delivered<Acquired>, ApiError> {
    let ttl_ms = how.ttl_ms.map(|ms| {
        ms.try_into()
            .map_err(|error| ApiError::invalid(format!("`ttl_ms` is {ms}: {error}")))
    });
    let body = AcquireBody {
        key: Some(key),
        mode: how.mode,
        claims: None,
        holder: how.holder.unwrap_or_else(default_holder),
        ttl_ms: ttl_ms.transpose()?,
        wait_ms: how.wait_ms.as_deref().map(wait).transpose()?,
        namespace: how.namespace,
        request_id: how.request_id,
        label: how.label,
    };
    locks::lock(&gate, &place, body).await
}

fn default_holder() -> Name {
    Name::new(DEFAULT_HOLDER).expect("it is a name")
}

/// `forever`, `no`, or milliseconds.
fn wait(text: &str) -> Result<WaitMs, ApiError> {
    let json = match text.parse::<u64>() {
        Ok(ms) => serde_json::from_str(&ms.to_string()),
        Err(_) => serde_json::from_value(serde_json::Value::String(text.to_owned())),
    };
    json.map_err(|error| ApiError::invalid(format!("`wait_ms` is `{text}`: {error}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    namespace: Option<Name>,
    holder: Option<Name>,
    token: Option<Token>,
}

/// Unlocks it.
pub(super) async fn unlock<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    InPath(key): InPath<String>,
    Params(whose): Params<Whose>,
) -> Result<Json<Released>, ApiError> {
    let (namespace, path) = (namespace(whose.namespace), path(&key)?);
    let right = Right::Holder(whose.holder);
    let action = Action::EndAt {
        namespace: namespace.clone(),
        path: path.clone(),
        token: whose.token,
        right: right.clone(),
    };
    let (refusal, found) = match gate.call(action).await? {
        CallAnswer::Done { locks, .. } => {
            let Labelled { lock, .. } = locks.first().expect("at least one was ended");
            let LockState::Held { token, .. } = lock.state else {
                panic!("what was ended was held: {lock:?}");
            };
            return Ok(Json(Released {
                key,
                namespace,
                holder: lock.key.owner.name().clone(),
                token,
                released: true,
            }));
        }
        CallAnswer::Refused {
            refusal,
            in_the_way,
        } => (refusal, in_the_way),
        answer => panic!("{answer:?} is no answer to an unlock"),
    };
    if refusal == Refusal::NotHeld
        && whose.token.is_none()
        && let Some(ambiguous) = several(&gate, namespace, path, right).await?
    {
        return Err(ambiguous);
    }
    let error = ApiError::refused(refusal.clone()).because_of(found.as_ref());
    let held = found.as_ref().and_then(|found| found.held.as_ref());
    Err(match (&refusal, held) {
        (Refusal::NotHeld, None) => error
            .with_status(StatusCode::NOT_FOUND)
            .saying(format!("`{key}` is not locked"))
            .locked(false),
        (Refusal::NotHeld, Some(held)) => error
            .saying(format!(
                "`{key}` is locked by {} in a way that this does not unlock: name the `holder` \
                 and the `token` of the lock exactly at `{key}`, or break it with POST /v1/break",
                held.in_words()
            ))
            .locked(true),
        _ => locks::not_yours(&refusal, found.as_ref()).locked(true),
    })
}

/// The locks that may be meant, if there are several: none of them was ended.
async fn several<E: Env>(
    gate: &Gate<E>,
    namespace: Name,
    path: Path,
    right: Right,
) -> Result<Option<ApiError>, ApiError> {
    /// Locks that are shown.
    const SHOWN_MAX: usize = 100;
    let (wall, key) = (gate.env().wall_unix_ms(), path.to_string());
    let (locks, count) = gate
        .look(move |machine, now| {
            let held = machine.engine().held_at(&namespace, &path);
            let (mut shown, mut count) = (Vec::new(), 0);
            for lock in held.filter(|lock| right.covers(&lock.key.owner)) {
                count += 1;
                if shown.len() < SHOWN_MAX {
                    shown.push(lock_view(&machine.labelled(lock), now, wall));
                }
            }
            (shown, count)
        })
        .await?;
    Ok((count > 1).then(|| ApiError::ambiguous(&key, locks, count)))
}
