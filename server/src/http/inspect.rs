//! What is locked, by whom, and who waits: `GET /v1/locks`, `/v1/sessions` and the like.

use super::{
    body::{InPath, Nothing, Params},
    error::ApiError,
    namespace, path,
    view::lock_view,
};
use crate::{call::Consistency, handle, session_endpoint::Gate};
use axum::{Json, extract::State};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockwright_engine::{Claim, Cursor, Name, SessionInfo};
use lockwright_env::Env;
use lockwright_protocol::http::{
    LockPage, Namespaces, ResourceView, SessionPage, SessionView, StateView, Stats,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// Records of a page when it is not said how many.
const PAGE: usize = 100;

/// Records of a page at most.
const PAGE_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    namespace: Option<Name>,
    prefix: Option<String>,
    state: Option<StateView>,
    limit: Option<usize>,
    cursor: Option<String>,
    #[serde(default)]
    consistency: Consistency,
}

pub(super) async fn locks<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Params(which): Params<Which>,
) -> Result<Json<LockPage>, ApiError> {
    let namespace = namespace(which.namespace);
    let prefix = path(which.prefix.as_deref().unwrap_or("/"))?;
    let limit = limit(which.limit)?;
    let from: Option<Cursor> = which.cursor.as_deref().map(read_cursor).transpose()?;
    let wall = gate.env().wall_unix_ms();
    let (locks, next) = gate
        .look_at(which.consistency, move |machine, now| {
            let page = machine
                .engine()
                .locks_under(&namespace, &prefix, from, limit);
            let locks = page.locks.into_iter().map(|lock| machine.labelled(lock));
            let locks = locks.map(|lock| lock_view(&lock, now, wall));
            (locks.collect::<Vec<_>>(), page.next)
        })
        .await?;
    let is_wanted = |found| which.state.is_none_or(|state| state == found);
    let locks = locks.into_iter().filter(|lock| is_wanted(lock.state));
    Ok(Json(LockPage {
        locks: locks.collect(),
        next_cursor: next.as_ref().map(write_cursor),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Where {
    namespace: Option<Name>,
    #[serde(default)]
    consistency: Consistency,
}

pub(super) async fn resource<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    InPath(text): InPath<String>,
    Params(asked): Params<Where>,
) -> Result<Json<ResourceView>, ApiError> {
    let (namespace, path) = (namespace(asked.namespace), path(&text)?);
    let wall = gate.env().wall_unix_ms();
    let (space, everything) = (namespace.clone(), [Claim::write(path)]);
    let mut found = gate
        .look_at(asked.consistency, move |machine, now| {
            let engine = machine.engine();
            let found = engine.conflicting(&space, &everything, None, PAGE_MAX + 1);
            let found = found.into_iter().map(|lock| machine.labelled(lock));
            let found = found.map(|lock| lock_view(&lock, now, wall));
            found.collect::<Vec<_>>()
        })
        .await?;
    let truncated = found.len() > PAGE_MAX;
    found.truncate(PAGE_MAX);
    let (held, queued) = found
        .into_iter()
        .partition(|lock| lock.state == StateView::Held);
    Ok(Json(ResourceView {
        namespace,
        path: text,
        held,
        queued,
        truncated,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sessions {
    namespace: Option<Name>,
    limit: Option<usize>,
    cursor: Option<String>,
    #[serde(default)]
    consistency: Consistency,
}

/// Where a page of sessions ended: after so many of them. One that ends meanwhile moves the others.
#[derive(Serialize, Deserialize)]
struct After(usize);

pub(super) async fn sessions<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Params(asked): Params<Sessions>,
) -> Result<Json<SessionPage>, ApiError> {
    let limit = limit(asked.limit)?;
    let from: Option<After> = asked.cursor.as_deref().map(read_cursor).transpose()?;
    let skipped = from.map_or(0, |after| after.0);
    let mut sessions = gate
        .look_at(asked.consistency, move |machine, now| {
            let of = |info: &SessionInfo| {
                let namespace = asked.namespace.as_ref();
                namespace.is_none_or(|namespace| info.key.namespace == *namespace)
            };
            let sessions = machine.engine().sessions().filter(of);
            let view = |info: SessionInfo| SessionView {
                label: machine.session_label(&info.key).map(ToString::to_string),
                namespace: info.key.namespace,
                session: info.key.session,
                attached: info.ends_at.is_none(),
                ends_in_ms: info.ends_at.map(|at| at.since(now)),
                locks: info.live_requests,
            };
            sessions
                .skip(skipped)
                .take(limit + 1)
                .map(view)
                .collect::<Vec<_>>()
        })
        .await?;
    let has_more = sessions.len() > limit;
    sessions.truncate(limit);
    Ok(Json(SessionPage {
        next_cursor: has_more.then(|| write_cursor(&After(skipped + limit))),
        sessions,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    #[serde(default)]
    consistency: Consistency,
    /// It may be given everywhere; here it changes nothing.
    #[serde(default)]
    #[expect(dead_code, reason = "what is not known is refused, and this is known")]
    namespace: Option<Name>,
}

pub(super) async fn namespaces<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Params(asked): Params<How>,
) -> Result<Json<Namespaces>, ApiError> {
    let namespaces = gate
        .look_at(asked.consistency, |machine, _| {
            machine.engine().namespaces()
        })
        .await?;
    Ok(Json(Namespaces { namespaces }))
}

pub(super) async fn stats<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Json<Stats>, ApiError> {
    let usage = handle::usage(&gate.inputs()).await?;
    let (next_token, now) = gate
        .look(|machine, now| (machine.engine().next_token(), now))
        .await?;
    Ok(Json(Stats {
        live_requests: usage.engine.live_requests,
        remembered_requests: usage.engine.remembered_requests,
        nodes: usage.engine.nodes,
        owners: usage.engine.owners,
        sessions: usage.engine.sessions,
        namespaces: usage.engine.namespaces,
        deadlines: usage.engine.deadlines,
        next_token,
        engine_time_ms: now.as_ms(),
        connections: usage.connections,
        attached_sessions: usage.attached_sessions,
        waiting_calls: usage.waiting_calls,
    }))
}

fn limit(given: Option<usize>) -> Result<usize, ApiError> {
    match given.unwrap_or(PAGE) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        other => Err(ApiError::invalid(format!(
            "`limit` is {other}, and must be from 1 to {PAGE_MAX}"
        ))),
    }
}

/// A cursor as text. What is in it is nobody's business.
fn write_cursor<T: Serialize>(cursor: &T) -> String {
    let bytes = postcard::to_allocvec(cursor).expect("numbers can be written");
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_cursor<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor = bytes.and_then(|bytes| postcard::from_bytes(&bytes).ok());
    cursor.ok_or_else(|| {
        ApiError::invalid("`cursor` is none: give back the `next_cursor` of the page before")
    })
}
