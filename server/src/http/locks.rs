//! `POST /v1/acquire`, `/v1/renew` and `/v1/release`.

use super::{body::Object, delivery::Delivered, error::ApiError, namespace, path};
use crate::{
    admission::Place,
    call::{Acquire, CallAnswer, Expiry, Found, SESSION_PREFIX},
    machine::Labelled,
    proposal::{Action, Purpose},
    session_endpoint::Gate,
    translate,
};
use axum::{Extension, Json, extract::State};
use lockwright_engine::{Claim, EndReason, LockKey, Mode, Name, Owner, Refusal, Wait};
use lockwright_env::Env;
use lockwright_protocol::http::{
    AcquireBody, Acquired, ClaimForm, ReleaseBody, Released, RenewBody, Renewed,
};
use std::sync::Arc;

pub(super) async fn acquire<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Extension(place): Extension<Place>,
    Object(body): Object<AcquireBody>,
) -> Result<Delivered<Acquired>, ApiError> {
    lock(&gate, &place, body).await
}

/// Asks for locks, and waits for them.
pub(super) async fn lock<E: Env>(
    gate: &Gate<E>,
    place: &Place,
    body: AcquireBody,
) -> Result<Delivered<Acquired>, ApiError> {
    let claims = claims(&body)?;
    if body.holder.as_str().starts_with(SESSION_PREFIX) {
        return Err(ApiError::invalid(format!(
            "`holder` is `{}`, and `{SESSION_PREFIX}` begins the names of sessions, as they are shown: \
             choose another name",
            body.holder
        )));
    }
    let label = translate::label(body.label)?;
    let namespace = namespace(body.namespace);
    let is_known = body.request_id.is_some();
    let request_id = body.request_id.unwrap_or_else(|| gate.request_id());
    let request = Acquire {
        lock: LockKey {
            namespace: namespace.clone(),
            owner: Owner::Named(body.holder.clone()),
            id: request_id.clone(),
        },
        claims,
        ttl: body.ttl_ms,
        wait: body.wait_ms.map_or(Wait::No, |wait| wait.0),
        label,
        from: place.address(),
    };
    let (answer, receipt) = gate.acquire(request, is_known).await?;
    match answer {
        CallAnswer::Granted {
            token,
            waited,
            expiry,
        } => {
            let answer = Acquired {
                key: body.key,
                claims: body.claims,
                namespace,
                holder: body.holder,
                request_id,
                token,
                lease_ms: expiry.map(|expiry| expiry.left),
                expires_at_unix_ms: expiry.map(|expiry| expiry.unix_ms),
                waited_ms: waited,
            };
            Ok(Delivered { answer, receipt })
        }
        CallAnswer::Ended { reason, in_the_way } => {
            let error = ApiError::ended(reason).because_of(in_the_way.as_ref());
            Err(match reason {
                EndReason::TimedOut => error.behind(in_the_way.as_ref()),
                _ => error,
            })
        }
        CallAnswer::Refused {
            refusal,
            in_the_way,
        } => {
            let is_busy = refusal == Refusal::Busy;
            let held = in_the_way.as_ref().and_then(|found| found.held.as_ref());
            let by = held.map_or_else(String::new, |held| format!(" by {}", held.in_words()));
            let error = ApiError::refused(refusal);
            let error = match is_busy {
                true => error
                    .saying(format!(
                        "it is locked{by}: wait for it with `wait_ms`, or ask again later"
                    ))
                    .because_of(in_the_way.as_ref())
                    .behind(in_the_way.as_ref()),
                false => error,
            };
            Err(error)
        }
        answer @ (CallAnswer::Done { .. } | CallAnswer::NotTaken | CallAnswer::Stopping) => {
            panic!("{answer:?} is no answer to an acquire")
        }
    }
}

fn claims(body: &AcquireBody) -> Result<Vec<Claim>, ApiError> {
    match (&body.key, &body.claims) {
        (Some(key), None) => {
            let path = path(key)?;
            let mode = body.mode.unwrap_or(Mode::Write);
            Ok(vec![Claim { path, mode }])
        }
        (None, Some(claims)) if body.mode.is_none() => claims.iter().map(claim).collect(),
        (None, Some(_)) => Err(ApiError::invalid(
            "`mode` belongs to `key`: each of `claims` has its own",
        )),
        (None, None) => Err(ApiError::invalid(
            "say what to lock: `key`, or `claims` for several paths at once",
        )),
        (Some(_), Some(_)) => Err(ApiError::invalid("say `key` or `claims`, not both")),
    }
}

fn claim(form: &ClaimForm) -> Result<Claim, ApiError> {
    match form {
        ClaimForm::Words { mode, path: text } => Ok(Claim {
            path: path(text)?,
            mode: *mode,
        }),
        ClaimForm::Text(text) => text.parse().map_err(|error| {
            let status = axum::http::StatusCode::BAD_REQUEST;
            ApiError::new(status, error.code().as_str(), error.to_string())
        }),
    }
}

pub(super) async fn renew<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Object(body): Object<RenewBody>,
) -> Result<Json<Renewed>, ApiError> {
    let namespace = namespace(body.namespace);
    let action = Action::Use {
        namespace: namespace.clone(),
        path: path(&body.key)?,
        holder: body.holder,
        token: body.token,
        purpose: Purpose::Renew { ttl: body.ttl_ms },
    };
    let (holder, expiry) = used(gate.call(action).await?)?;
    let expiry = expiry.expect("a renewed lock has a lease");
    Ok(Json(Renewed {
        key: body.key,
        namespace,
        holder,
        token: body.token,
        lease_ms: expiry.left,
        expires_at_unix_ms: expiry.unix_ms,
    }))
}

pub(super) async fn release<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Object(body): Object<ReleaseBody>,
) -> Result<Json<Released>, ApiError> {
    let namespace = namespace(body.namespace);
    let action = Action::Use {
        namespace: namespace.clone(),
        path: path(&body.key)?,
        holder: body.holder,
        token: body.token,
        purpose: Purpose::Release,
    };
    let (holder, _) = used(gate.call(action).await?)?;
    Ok(Json(Released {
        key: body.key,
        namespace,
        holder,
        token: body.token,
        released: true,
    }))
}

/// What the use of a lock by its token came to: its holder, and its lease.
fn used(answer: CallAnswer) -> Result<(Name, Option<Expiry>), ApiError> {
    match answer {
        CallAnswer::Done { locks, expiry, .. } => {
            let [Labelled { lock, .. }] = locks.as_slice() else {
                panic!("one lock has the token, got {locks:?}");
            };
            Ok((lock.key.owner.name().clone(), expiry))
        }
        CallAnswer::Refused {
            refusal,
            in_the_way,
        } => Err(not_yours(&refusal, in_the_way.as_ref())),
        answer => panic!("{answer:?} is no answer to the use of a token"),
    }
}

/// Why a lock cannot be used with a token.
pub(super) fn not_yours(refusal: &Refusal, found: Option<&Found>) -> ApiError {
    let error = ApiError::refused(refusal.clone()).because_of(found);
    match refusal {
        Refusal::NotHeld => error.saying(
            "nothing is held there: the lock was released, or its lease ran out. Do not write any \
             more, and acquire it again",
        ),
        // The token is right, and the caller that gives it is not the owner.
        Refusal::StaleToken { given }
            if let Some(held) = found.and_then(|found| found.held.as_ref())
                && held.token.0 == given.0 =>
        {
            error.saying(match &held.owner {
                Owner::Session(_) => format!(
                    "the lock with the token {given} belongs to {}, which alone can renew or \
                     release it; break it if it is to end all the same",
                    held.in_words()
                ),
                Owner::Named(holder) => format!(
                    "the lock with the token {given} is held by `{holder}`: name that holder, and a key \
                     that it locks"
                ),
            })
        }
        Refusal::StaleToken { given } => error.saying(format!(
            "the token {given} is not that of the lock that is held there: yours was released, or \
             its lease ran out. Do not write any more, and acquire it again"
        )),
        _ => error,
    }
}
