//! `GET /openapi.json`: the API, described for programs.
//!
//! The routes are described by functions that are never called, since those that serve are generic
//! over the world. A test compares what is described with what is served.
#![expect(dead_code, reason = "descriptions are for a macro to read")]

use super::body::{Nothing, Params};
use axum::Json;
use lockwright_protocol::cluster::{ClusterView, NewLeader, NewNode};
use lockwright_protocol::http::{
    AcquireBody, Acquired, BreakBody, Broken, ErrorBody, FenceAnswer, LockPage, Locked, Namespaces,
    ReleaseBody, Released, RenewBody, Renewed, ResourceView, SessionEnded, SessionPage, Stats,
    WatchLine,
};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lockwright",
        description = "Locks on paths, first come, first served, with leases and fencing tokens.",
        license(name = "MIT")
    ),
    paths(
        front,
        acquire,
        renew,
        release,
        fence,
        is_locked,
        lock,
        unlock,
        locks,
        resource,
        sessions,
        namespaces,
        stats,
        watch,
        break_lock,
        end_session,
        cluster,
        add_node,
        remove_node,
        promote_node,
        lead,
        metrics,
        healthz,
        readyz,
        openapi_json,
        session
    ),
    modifiers(&Schemes)
)]
struct Description;

/// How operators say who they are.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "What is in the server's `--admin-token-file`. A server that listens on loopback and has none \
                 needs none; one that others reach and has none refuses what operators do.",
            ))
            .build();
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("admin_token", SecurityScheme::Http(token));
    }
}

/// The description.
pub(super) async fn describe(
    Params(Nothing {}): Params<Nothing>,
) -> Json<utoipa::openapi::OpenApi> {
    Json(description())
}

pub(super) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// What this is, in one line.
#[utoipa::path(get, path = "/",
    responses((status = 200, description = "A line of text", body = String)))]
fn front() {}

/// The nodes of the cluster, as the one that is asked sees them.
#[utoipa::path(get, path = "/v1/cluster",
    responses((status = 200, description = "The nodes", body = ClusterView))
)]
fn cluster() {}

/// Adds a node, which gets a copy of all and does not vote. Only the leader does it.
#[utoipa::path(post, path = "/v1/cluster/nodes",
    security(("admin_token" = [])), request_body = NewNode, responses(
    (status = 200, description = "The nodes from now on", body = ClusterView),
    (status = 409, description = "`conflict`: it cannot be as the cluster is", body = ErrorBody),
    (status = 503, description = "`unavailable`: another node leads, or none", body = ErrorBody)
))]
fn add_node() {}

/// Removes a node. Only the leader does it, and not itself.
#[utoipa::path(delete, path = "/v1/cluster/nodes/{id}",
    security(("admin_token" = [])),
    params(("id" = u64, Path, description = "The node")),
    responses(
        (status = 200, description = "The nodes from now on", body = ClusterView),
        (status = 409, description = "`conflict`: it cannot be as the cluster is", body = ErrorBody),
        (status = 503, description = "`unavailable`: another node leads, or none", body = ErrorBody)
    )
)]
fn remove_node() {}

/// Has a node vote that has a copy of nearly all. Only the leader does it.
#[utoipa::path(post, path = "/v1/cluster/nodes/{id}/promote",
    security(("admin_token" = [])),
    params(("id" = u64, Path, description = "The node")),
    responses(
        (status = 200, description = "The nodes from now on", body = ClusterView),
        (status = 409, description = "`conflict`: it cannot be as the cluster is", body = ErrorBody),
        (status = 503, description = "`unavailable`: another node leads, or none", body = ErrorBody)
    )
)]
fn promote_node() {}

/// Has a voter lead. Only the leader does it.
#[utoipa::path(post, path = "/v1/cluster/leader",
    security(("admin_token" = [])), request_body = NewLeader, responses(
    (status = 200, description = "It leads", body = ClusterView),
    (status = 409, description = "`conflict`: it cannot be as the cluster is", body = ErrorBody),
    (status = 503, description = "`unavailable`: another node leads, or none", body = ErrorBody)
))]
fn lead() {}

/// Asks for a lock, or for several at once: all or none.
#[utoipa::path(post, path = "/v1/acquire", request_body = AcquireBody, responses(
    (status = 200, description = "They are held", body = Acquired),
    (status = 400, description = "`invalid_request` or `invalid_path`", body = ErrorBody),
    (status = 409, description = "`busy`: held, and the request does not wait; `timed_out`: it has \
        waited in vain; or how a request that was asked for before has ended", body = ErrorBody),
    (status = 413, description = "`too_large`", body = ErrorBody),
    (status = 422, description = "`request_mismatch`: the `request_id` is that of an earlier request, \
        for other claims; `claims` and `ended` say what became of that one", body = ErrorBody),
    (status = 429, description = "`limit_exceeded`", body = ErrorBody),
    (status = 503, description = "`unavailable`: the server stops", body = ErrorBody)
))]
fn acquire() {}

/// Sets the lease of a held lock anew, from now on.
#[utoipa::path(post, path = "/v1/renew", request_body = RenewBody, responses(
    (status = 200, description = "It goes on", body = Renewed),
    (status = 400, description = "`invalid_request` or `invalid_path`", body = ErrorBody),
    (status = 409, description = "`stale_token` or `not_held`", body = ErrorBody),
    (status = 503, description = "`unavailable`", body = ErrorBody)
))]
fn renew() {}

/// Ends a held lock.
#[utoipa::path(post, path = "/v1/release", request_body = ReleaseBody, responses(
    (status = 200, description = "It has ended", body = Released),
    (status = 400, description = "`invalid_request` or `invalid_path`", body = ErrorBody),
    (status = 409, description = "`stale_token` or `not_held`", body = ErrorBody),
    (status = 503, description = "`unavailable`", body = ErrorBody)
))]
fn release() {}

/// The largest token of the held locks that cover a path.
#[utoipa::path(get, path = "/v1/fence",
    params(
        ("key" = String, Query, description = "The path"),
        ("namespace" = Option<String>, Query, description = "The lock space, if not `default`")
    ),
    responses((status = 200, description = "Whether it is held, and the token", body = FenceAnswer))
)]
fn fence() {}

/// Is it locked? Anything that is held and overlaps counts. The name may have slashes.
#[utoipa::path(get, path = "/lock/{name}",
    params(
        ("name" = String, Path, description = "The path"),
        ("namespace" = Option<String>, Query, description = "The lock space, if not `default`"),
        ("consistency" = Option<String>, Query, description = "`linearizable`, or `stale`: what this \
            node knows, which may be of the past")
    ),
    responses(
        (status = 200, description = "It is", body = Locked),
        (status = 404, description = "It is not", body = ErrorBody)
    )
)]
fn is_locked() {}

/// Locks it.
#[utoipa::path(post, path = "/lock/{name}",
    params(
        ("name" = String, Path, description = "The path"),
        ("namespace" = Option<String>, Query, description = "The lock space, if not `default`"),
        ("holder" = Option<String>, Query, description = "Who holds it, if not `http`"),
        ("mode" = Option<String>, Query, description = "`write`, or `read`"),
        ("ttl_ms" = Option<u64>, Query, description = "The lease; without it there is none"),
        ("wait_ms" = Option<String>, Query, description = "How long to wait: ms, or `forever`"),
        ("request_id" = Option<String>, Query, description = "So that a retry never locks twice"),
        ("label" = Option<String>, Query, description = "What people are told of it: up to 256 bytes")
    ),
    responses(
        (status = 200, description = "It is held", body = Acquired),
        (status = 409, description = "`busy` or `timed_out`", body = ErrorBody),
        (status = 422, description = "`request_mismatch`: the `request_id` is that of an earlier \
            request, for another lock or in another mode", body = ErrorBody)
    )
)]
fn lock() {}

/// Unlocks it, if a holder without a session has it.
#[utoipa::path(delete, path = "/lock/{name}",
    params(
        ("name" = String, Path, description = "The path"),
        ("namespace" = Option<String>, Query, description = "The lock space, if not `default`"),
        ("holder" = Option<String>, Query, description = "Only if this one has it"),
        ("token" = Option<u64>, Query, description = "Only if this is its token")
    ),
    responses(
        (status = 200, description = "It was unlocked", body = Released),
        (status = 404, description = "It is not locked", body = ErrorBody),
        (status = 409, description = "`stale_token`, held in another way, or `ambiguous`: several \
            locks are held exactly there, and none was ended", body = ErrorBody)
    )
)]
fn unlock() {}

/// What is held and queued at and below a path, in pages.
#[utoipa::path(get, path = "/v1/locks",
    params(
        ("namespace" = Option<String>, Query, description = "The lock space, if not `default`"),
        ("prefix" = Option<String>, Query, description = "The path, if not all"),
        ("state" = Option<String>, Query, description = "Only `held`, or only `queued`"),
        ("limit" = Option<usize>, Query, description = "Requests of a page, 1 to 1000, else 100; \
            with `state` they may be fewer before the end"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
        ("consistency" = Option<String>, Query, description = "`linearizable`, or `stale`: what this \
            node knows, which may be of the past")
    ),
    responses((status = 200, description = "In the order of arrival", body = LockPage))
)]
fn locks() {}

/// Who holds a path or something that overlaps it, and who waits. The path may have slashes.
#[utoipa::path(get, path = "/v1/locks/{path}",
    params(
        ("path" = String, Path, description = "The path"),
        ("namespace" = Option<String>, Query, description = "The lock space, if not `default`"),
        ("consistency" = Option<String>, Query, description = "`linearizable`, or `stale`: what this \
            node knows, which may be of the past")
    ),
    responses((status = 200, description = "In the order of arrival", body = ResourceView))
)]
fn resource() {}

/// The open sessions, in pages.
#[utoipa::path(get, path = "/v1/sessions",
    params(
        ("namespace" = Option<String>, Query, description = "Only those of this lock space"),
        ("limit" = Option<usize>, Query, description = "Sessions of a page, 1 to 1000, else 100"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
        ("consistency" = Option<String>, Query, description = "`linearizable`, or `stale`: what this \
            node knows, which may be of the past")
    ),
    responses((status = 200, description = "In the order of opening", body = SessionPage))
)]
fn sessions() {}

/// The lock spaces in use.
#[utoipa::path(get, path = "/v1/namespaces",
    params(
        ("namespace" = Option<String>, Query, description = "It changes nothing here"),
        ("consistency" = Option<String>, Query, description = "`linearizable`, or `stale`: what this \
            node knows, which may be of the past")
    ),
    responses((status = 200, description = "By name", body = Namespaces)))]
fn namespaces() {}

/// How much of everything there is.
#[utoipa::path(get, path = "/v1/stats",
    responses((status = 200, description = "Counts", body = Stats)))]
fn stats() {}

/// What happens to locks at and below a path, as it happens: a line of JSON for each event. It goes
/// on until the server stops; until no byte of it is taken for the idle timeout; or until the lines are read too
/// slowly, or the node has missed something itself, which a last line says: `slow_reader`, `events_missed`.
#[utoipa::path(get, path = "/v1/watch",
    params(
        ("namespace" = Option<String>, Query, description = "The lock space, if not `default`"),
        ("prefix" = Option<String>, Query, description = "The path, if not all")
    ),
    responses((status = 200, description = "Lines", body = WatchLine,
        content_type = "application/x-ndjson"))
)]
fn watch() {}

/// An operator ends what is held at exactly one path, by any owner; or with `owner` the requests of
/// that one, those that wait too. At once it ends at most 10,000 requests, and no more than 16 MiB of them:
/// then `more` is true in the answer, and asking again ends the next ones. Without `more` all are ended.
#[utoipa::path(post, path = "/v1/break",
    security(("admin_token" = [])), request_body = BreakBody, responses(
    (status = 200, description = "It is broken", body = Broken),
    (status = 400, description = "`invalid_request` or `invalid_path`", body = ErrorBody),
    (status = 409, description = "`stale_token` or `not_held`; with `owner` also `unknown_lock`",
        body = ErrorBody)
))]
fn break_lock() {}

/// An operator ends a session, and with it all its requests, however many. Its client is told. `requests`
/// counts them; `locks` tells of the first 10,000 at most, and of no more than 16 MiB.
#[utoipa::path(delete, path = "/v1/sessions/{session}",
    security(("admin_token" = [])),
    params(
        ("session" = String, Path, description = "Its name"),
        ("namespace" = Option<String>, Query, description = "The lock space, if not `default`")
    ),
    responses(
        (status = 200, description = "It has ended", body = SessionEnded),
        (status = 404, description = "`unknown_session`", body = ErrorBody)
    )
)]
fn end_session() {}

/// Counters for Prometheus.
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, description = "OpenMetrics text", body = String)))]
fn metrics() {}

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz",
    responses((status = 200, description = "It does", body = String)))]
fn healthz() {}

/// Whether the server does what it is asked.
#[utoipa::path(get, path = "/readyz", responses(
    (status = 200, description = "It does", body = String),
    (status = 503, description = "`unavailable`: it stops, or waits for what `reason` says",
        body = ErrorBody)
))]
fn readyz() {}

/// This description.
#[utoipa::path(get, path = "/openapi.json",
    responses((status = 200, description = "OpenAPI", body = serde_json::Value)))]
fn openapi_json() {}

/// A session's WebSocket, whose messages docs/protocol.md tells.
#[utoipa::path(get, path = "/v1/session",
    responses((status = 101, description = "It is a WebSocket from now on")))]
fn session() {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_bounded_and_what_is_always_there_is_described() {
        let description = serde_json::to_value(description()).unwrap();
        let answer = &description["components"]["schemas"]["SessionEnded"];
        let required = answer["required"].as_array().unwrap();
        for (name, property) in answer["properties"].as_object().unwrap() {
            let is_optional = !required.contains(&json!(name));
            assert_eq!(is_optional, name == "label", "{name}: {property}");
        }
        for (path, method, field) in [
            ("/v1/break", "post", "`more`"),
            ("/v1/sessions/{session}", "delete", "`requests`"),
        ] {
            let operation = &description["paths"][path][method];
            let summary = operation["summary"].as_str().unwrap_or_default();
            let text = operation["description"].as_str().unwrap_or_default();
            let text = format!("{summary} {text}").replace('\n', " ");
            for expected in ["10,000", "16 MiB", field] {
                assert!(text.contains(expected), "{path}: {text}");
            }
        }
    }
}
