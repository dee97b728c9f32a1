//! `/healthz` and `/readyz`: what a supervisor asks.

use super::error::ApiError;
use crate::session_endpoint::Gate;
use axum::extract::State;
use lockwright_env::Env;
use std::sync::Arc;

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
