//! `/healthz`, `/readyz` and `/metrics`: what a supervisor asks.

use super::error::ApiError;
use crate::{handle, session_endpoint::Gate};
use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use lockwright_env::Env;
use std::sync::Arc;

/// What `GET /metrics` is written in.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The process answers.
pub(super) async fn is_alive() -> &'static str {
    "ok\n"
}

/// The replica leads, and does what it is asked.
pub(super) async fn is_ready<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
) -> Result<&'static str, ApiError> {
    gate.look(|_, _| ()).await?;
    Ok("ready\n")
}

/// What was counted, and what there is.
pub(super) async fn metrics<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
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
    ];
    let text = gate.metrics().text(&now);
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}
