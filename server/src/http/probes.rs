//! `/healthz`, `/readyz` and `/metrics`: what a supervisor asks.

use super::{
    body::{Nothing, Params},
    error::ApiError,
};
use crate::{call::Unavailable, handle, session_endpoint::Gate};
use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use lockwright_env::Env;
use lockwright_protocol::cluster::NodeState;
use std::sync::Arc;

/// What `GET /metrics` is written in.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What this is, for a visitor with a browser.
pub(super) async fn front(Params(Nothing {}): Params<Nothing>) -> &'static str {
    concat!(
        "Lockwright ",
        env!("CARGO_PKG_VERSION"),
        ", a lock service. GET /openapi.json describes its HTTP API; its manual is docs/http.md.\n"
    )
}

/// The process answers.
pub(super) async fn is_alive(Params(Nothing {}): Params<Nothing>) -> &'static str {
    "ok\n"
}

/// The node does what it is asked.
pub(super) async fn is_ready<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<&'static str, ApiError> {
    let looked = gate.look(|_, _| ()).await;
    let state = gate.readiness().state();
    judge(looked, &state, || gate.unavailable())
}

/// A node is ready when it can read what is present, and what it knows of itself says no other: it may
/// read before it has joined, and does nothing for clients then.
fn judge(
    looked: Result<(), Unavailable>,
    state: &NodeState,
    unavailable: impl FnOnce() -> Unavailable,
) -> Result<&'static str, ApiError> {
    let looked = looked.and_then(|()| match state.ready {
        true => Ok("ready\n"),
        false => Err(unavailable()),
    });
    looked.map_err(|unavailable| ApiError::from(unavailable).waiting(state))
}

/// What was counted, and what there is.
pub(super) async fn metrics<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Response, ApiError> {
    let usage = handle::usage(&gate.inputs()).await?;
    let (engine, count) = (usage.engine, |n: usize| {
        u64::try_from(n).unwrap_or(u64::MAX)
    });
    let now = [
        (
            "live_requests",
            "Requests that are held or queued",
            count(engine.live_requests),
        ),
        (
            "remembered_requests",
            "Requests that have ended and are remembered",
            count(engine.remembered_requests),
        ),
        (
            "nodes",
            "Nodes of the tree of resources",
            count(engine.nodes),
        ),
        ("sessions", "Open sessions", count(engine.sessions)),
        ("namespaces", "Namespaces in use", count(engine.namespaces)),
        (
            "deadlines",
            "Leases and other deadlines that run",
            count(engine.deadlines),
        ),
        (
            "connections",
            "Connections of sessions",
            count(usage.connections),
        ),
        (
            "attached_sessions",
            "Sessions that a connection speaks for",
            count(usage.attached_sessions),
        ),
        (
            "waiting_calls",
            "HTTP requests that wait for a lock",
            count(usage.waiting_calls),
        ),
        (
            "queued_messages",
            "Messages that wait to be sent to sessions",
            count(usage.queued_messages),
        ),
        (
            "unread_bytes",
            "Bytes of messages that have not come to their ends, beyond 16 KiB of each connection",
            count(gate.unread().held()),
        ),
    ];
    let text = gate.metrics().text(&now);
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use lockwright_protocol::cluster::Waiting;

    fn answer(looked: bool, reason: Option<Waiting>) -> Result<&'static str, (StatusCode, String)> {
        let gone = || Unavailable {
            done: Some(false),
            leader: Some("h:9009".to_owned()),
            stops: false,
        };
        let state = NodeState {
            ready: reason.is_none(),
            reason,
            text: "has not joined for 36 s".to_owned(),
            for_ms: 36_000,
            behind: 936,
        };
        let looked = looked.then_some(()).ok_or_else(gone);
        let judged = judge(looked, &state, gone);
        judged.map_err(|error| error.status_and_json())
    }

    #[test]
    fn a_node_that_can_read_and_has_not_joined_is_not_ready() {
        assert_eq!(answer(true, None), Ok("ready\n"));
        let (status, body) = answer(true, Some(Waiting::VoteGate)).unwrap_err();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        for part in [
            r#""error":"unavailable""#,
            r#""message":"this node does not serve: has not joined for 36 s""#,
            r#""reason":"vote_gate""#,
            r#""leader":"h:9009""#,
            r#""done":false"#,
        ] {
            assert!(body.contains(part), "{part}: {body}");
        }
    }

    #[test]
    fn a_node_that_cannot_read_is_not_ready_even_if_it_knows_no_reason() {
        let (status, body) = answer(false, None).unwrap_err();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!body.contains("reason"), "{body}");
        let (_, body) = answer(false, Some(Waiting::NoLeader)).unwrap_err();
        assert!(body.contains(r#""reason":"no_leader""#), "{body}");
    }
}
