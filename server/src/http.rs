//! The HTTP API: routes, and who serves them.

mod body;
mod connection;
mod error;
mod fence;
mod inspect;
mod locks;
mod operator;
mod probes;
mod shell;
mod view;

pub(crate) use connection::serve;

use crate::session_endpoint::{self, Gate};
use axum::{
    Router,
    routing::{get, post},
};
use error::ApiError;
use lockwright_engine::{Name, Path};
use lockwright_env::Env;
use lockwright_protocol::{HEALTH_PATH, SESSION_PATH};
use std::sync::Arc;

/// The namespace of requests that name none.
const DEFAULT_NAMESPACE: &str = "default";

/// All that a server answers over HTTP.
pub(crate) fn router<E: Env>(gate: Arc<Gate<E>>) -> Router {
    Router::new()
        .route(SESSION_PATH, get(session_endpoint::upgrade::<E>))
        .route(HEALTH_PATH, get(probes::is_alive))
        .route("/readyz", get(probes::is_ready::<E>))
        .route("/v1/acquire", post(locks::acquire::<E>))
        .route("/v1/renew", post(locks::renew::<E>))
        .route("/v1/release", post(locks::release::<E>))
        .route("/v1/fence", get(fence::fence::<E>))
        .route("/v1/locks", get(inspect::locks::<E>))
        .route("/v1/locks/{*path}", get(inspect::resource::<E>))
        .route("/v1/sessions", get(inspect::sessions::<E>))
        .route("/v1/namespaces", get(inspect::namespaces::<E>))
        .route("/v1/stats", get(inspect::stats::<E>))
        .route("/v1/break", post(operator::break_lock::<E>))
        .route(
            "/lock/{*name}",
            get(shell::is_locked::<E>)
                .post(shell::lock::<E>)
                .delete(shell::unlock::<E>),
        )
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::wrong_method)
        .with_state(gate)
}

/// The namespace that a request names.
fn namespace(given: Option<Name>) -> Name {
    given.unwrap_or_else(|| Name::new(DEFAULT_NAMESPACE).expect("it is a name"))
}

/// Reads a path.
fn path(text: &str) -> Result<Path, ApiError> {
    Path::parse(text).map_err(|error| ApiError::path(text, &error))
}
