//! The HTTP API: routes, and who serves them.

mod authority;
mod body;
mod cluster;
mod connection;
mod delivery;
mod error;
mod fence;
mod inspect;
mod locks;
mod openapi;
mod operator;
mod origin;
mod probes;
mod shell;
mod view;
mod watch;

pub(crate) use authority::Authority;
pub(crate) use body::{NoBody, Nothing, Params};
pub(crate) use connection::serve;
pub(crate) use error::ApiError;
pub(crate) use origin::Admitted;

use crate::{
    locktopus::{self, LOCKTOPUS_PATH, LOCKTOPUS_STATS_PATH},
    session_endpoint::{self, Gate},
};
use axum::{
    Router,
    routing::{MethodRouter, delete, get, post},
};
use lockwright_engine::{Name, Path};
use lockwright_env::Env;
use lockwright_protocol::{HEALTH_PATH, SESSION_PATH};
use std::sync::Arc;

/// The namespace of requests that name none.
const DEFAULT_NAMESPACE: &str = "default";

/// All that a server answers over HTTP: what `openapi` describes, and what Locktopus' clients ask for.
pub(crate) fn router<E: Env>(gate: Arc<Gate<E>>) -> Router {
    let mut router = Router::new();
    for (path, methods) in routes::<E>() {
        router = router.route(path, methods);
    }
    let router = router
        .route(LOCKTOPUS_PATH, get(locktopus::upgrade::<E>))
        .route(LOCKTOPUS_STATS_PATH, get(locktopus::stats::<E>))
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::wrong_method);
    let router = match gate.admitted().pages() {
        None => router,
        Some(pages) => router.layer(pages),
    };
    router.with_state(gate)
}

/// Every path, and what answers there. `openapi` describes the same.
fn routes<E: Env>() -> Vec<(&'static str, MethodRouter<Arc<Gate<E>>>)> {
    let name = get(shell::is_locked::<E>)
        .post(shell::lock::<E>)
        .delete(shell::unlock::<E>);
    vec![
        ("/", get(probes::front)),
        (SESSION_PATH, get(session_endpoint::upgrade::<E>)),
        ("/v1/acquire", post(locks::acquire::<E>)),
        ("/v1/renew", post(locks::renew::<E>)),
        ("/v1/release", post(locks::release::<E>)),
        ("/v1/fence", get(fence::fence::<E>)),
        ("/v1/locks", get(inspect::locks::<E>)),
        ("/v1/locks/{*path}", get(inspect::resource::<E>)),
        ("/v1/sessions", get(inspect::sessions::<E>)),
        ("/v1/sessions/{session}", delete(operator::end_session::<E>)),
        ("/v1/namespaces", get(inspect::namespaces::<E>)),
        ("/v1/stats", get(inspect::stats::<E>)),
        ("/v1/watch", get(watch::watch::<E>)),
        ("/v1/break", post(operator::break_lock::<E>)),
        ("/v1/cluster", get(cluster::view::<E>)),
        ("/v1/cluster/nodes", post(cluster::add::<E>)),
        ("/v1/cluster/nodes/{id}", delete(cluster::remove::<E>)),
        (
            "/v1/cluster/nodes/{id}/promote",
            post(cluster::promote::<E>),
        ),
        ("/v1/cluster/leader", post(cluster::lead::<E>)),
        ("/lock/{*name}", name),
        (HEALTH_PATH, get(probes::is_alive)),
        ("/readyz", get(probes::is_ready::<E>)),
        ("/metrics", get(probes::metrics::<E>)),
        ("/openapi.json", get(openapi::describe)),
    ]
}

/// Whether what is at a path is also for those for whom there is no place: to see how the server does, what
/// takes its places, and to end it.
fn is_for_guests(path: &str) -> bool {
    let whole = [
        "/",
        HEALTH_PATH,
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/v1/stats",
        "/v1/namespaces",
        "/v1/break",
    ];
    let parts = ["/v1/locks", "/v1/sessions", "/v1/cluster"];
    let is_part = |part: &&str| {
        path.strip_prefix(part)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    whole.contains(&path) || parts.iter().any(is_part)
}

/// The namespace that a request names.
fn namespace(given: Option<Name>) -> Name {
    given.unwrap_or_else(|| Name::new(DEFAULT_NAMESPACE).expect("it is a name"))
}

/// Reads a path.
fn path(text: &str) -> Result<Path, ApiError> {
    Path::parse(text).map_err(|error| ApiError::path(text, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockwright_env::TokioEnv;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_described_is_what_is_served() {
        let description = openapi::description();
        let described: BTreeSet<&str> =
            description.paths.paths.keys().map(String::as_str).collect();
        let served: Vec<String> = routes::<TokioEnv>()
            .iter()
            .map(|(path, _)| path.replace("{*", "{"))
            .collect();
        assert_eq!(described, served.iter().map(String::as_str).collect());
    }
}
