//! What crosses plain HTTP: for whoever asks for one lock at a time, without a session.

use crate::{ClaimText, WaitMs};
use lockwright_engine::{DurationMs, EndReason, Mode, Name, Token};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::fmt;

/// Body of `POST /v1/acquire`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AcquireBody {
    /// The path to lock; or `claims`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, required = false))]
    pub key: Option<String>,
    /// How to lock `key`: `write` (as without it) or `read`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = schema::Mode, required = false))]
    pub mode: Option<Mode>,
    /// Several paths at once: all of them or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<schema::Claim>, required = false))]
    pub claims: Option<Vec<ClaimForm>>,
    /// Who holds the lock.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub holder: Name,
    /// The lease in ms, counted from the grant; without it the lock lasts until it is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = u64, required = false))]
    pub ttl_ms: Option<DurationMs>,
    /// How long to wait: milliseconds, `"forever"`, or `"no"` (as without it, and as 0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = schema::Wait, required = false))]
    pub wait_ms: Option<WaitMs>,
    /// The lock space; `default` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, required = false))]
    pub namespace: Option<Name>,
    /// Names the request within its holder: asking again with the same id never locks twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, required = false))]
    pub request_id: Option<Name>,
    /// What people are told of the request: at most 256 bytes, without control characters. That of the
    /// first request with its `request_id` counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, required = false))]
    pub label: Option<String>,
}

/// A claim in a body: `{"mode":"write","path":"a/b"}` or `"w a/b"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ClaimForm {
    /// As text.
    Text(ClaimText),
    /// In words.
    Words {
        /// How.
        mode: Mode,
        /// What.
        path: String,
    },
}

impl<'de> Deserialize<'de> for ClaimForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ClaimForm, D::Error> {
        deserializer.deserialize_any(ClaimFormVisitor)
    }
}

/// Tells what is wrong with a claim, and where, which a reader that tries one form after the other
/// cannot.
struct ClaimFormVisitor;

impl<'de> Visitor<'de> for ClaimFormVisitor {
    type Value = ClaimForm;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a claim, `{"mode":"write","path":"a/b"}` or `"w a/b"`"#)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ClaimForm, E> {
        Ok(ClaimForm::Text(ClaimText::new(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<ClaimForm, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Words {
            mode: Mode,
            path: String,
        }
        let Words { mode, path } = Words::deserialize(MapAccessDeserializer::new(fields))?;
        Ok(ClaimForm::Words { mode, path })
    }
}

/// Body of `POST /v1/renew`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RenewBody {
    /// A path that the lock claims.
    pub key: String,
    /// Its holder; when given, it must be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, required = false))]
    pub holder: Option<Name>,
    /// The token of its grant.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub token: Token,
    /// The new lease in ms, from now on.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub ttl_ms: DurationMs,
    /// The lock space; `default` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, required = false))]
    pub namespace: Option<Name>,
}

/// Body of `POST /v1/release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReleaseBody {
    /// A path that the lock claims.
    pub key: String,
    /// Its holder; when given, it must be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, required = false))]
    pub holder: Option<Name>,
    /// The token of its grant.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub token: Token,
    /// The lock space; `default` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, required = false))]
    pub namespace: Option<Name>,
}

/// A lock that was granted: the answer to `POST /v1/acquire`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Acquired {
    /// The path, when `key` was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The claims, when `claims` were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<schema::Claim>>))]
    pub claims: Option<Vec<ClaimForm>>,
    /// The lock space.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub namespace: Name,
    /// Who holds it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub holder: Name,
    /// The id of the request.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub request_id: Name,
    /// Its fencing token.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub token: Token,
    /// What is left of its lease, in ms; null when it has none.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub lease_ms: Option<DurationMs>,
    /// When the lease ends by the server's clock on the wall, in ms since 1970, for display; null
    /// when it has none.
    pub expires_at_unix_ms: Option<u64>,
    /// How long the request waited, in ms.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub waited_ms: DurationMs,
}

/// A lease that was set anew: the answer to `POST /v1/renew`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Renewed {
    /// As it was asked.
    pub key: String,
    /// The lock space.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub namespace: Name,
    /// Who holds it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub holder: Name,
    /// Its fencing token.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub token: Token,
    /// What is left of its lease, in ms.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub lease_ms: DurationMs,
    /// When the lease ends by the server's clock on the wall, in ms since 1970, for display.
    pub expires_at_unix_ms: u64,
}

/// A lock that was released: the answer to `POST /v1/release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Released {
    /// As it was asked.
    pub key: String,
    /// The lock space.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub namespace: Name,
    /// Who held it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub holder: Name,
    /// The token that it had.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub token: Token,
    /// True.
    pub released: bool,
}

/// The answer to `GET /v1/fence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FenceAnswer {
    /// As it was asked.
    pub key: String,
    /// Whether a held lock covers it.
    pub held: bool,
    /// The largest token of those that do; null when none does.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub token: Option<Token>,
}

/// The answer to `GET /lock/{name}` when it is locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Locked {
    /// As it was asked.
    pub key: String,
    /// True.
    pub locked: bool,
    /// Who holds what is in the way: a name, or `session:` and the name of a session.
    pub holder: String,
    /// What people are told of it; left out when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Since when it is held, as ms until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub held_ms: Option<DurationMs>,
    /// Its fencing token.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub token: Token,
    /// What is left of its lease, in ms; null when it has none.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub lease_remaining_ms: Option<DurationMs>,
    /// When the lease ends by the server's clock on the wall, in ms since 1970, for display; null
    /// when it has none.
    pub expires_at_unix_ms: Option<u64>,
}

/// Every answer that is no success.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// The code, to act on.
    pub error: String,
    /// What was wrong and what to do, for people.
    pub message: String,
    /// With `limit_exceeded`, which limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Who holds what is in the way: a name, or `session:` and the name of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// What people are told of that lock; left out when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Since when it is held, as ms until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub held_ms: Option<DurationMs>,
    /// Its fencing token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub token: Option<Token>,
    /// What is left of its lease, in ms; left out when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub lease_remaining_ms: Option<DurationMs>,
    /// With `busy` and `timed_out`: how many live requests are ahead, up to a hundred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<usize>,
    /// On `/lock/...`: whether it is locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
    /// With `unavailable`: false when it is certain that nothing was done, so that anything may be
    /// asked of another node; left out when it is not, and then only what does no harm if it is
    /// done twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<bool>,
    /// With `unavailable`: where clients reach the leader, when it is known and another node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// With `request_mismatch`: what the first request with this `request_id` asked for; left out
    /// when it has ended, since that is not remembered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimView>,
    /// With `request_mismatch`: how many more claims it has, with paths too long to name them all;
    /// left out when there are none.
    #[serde(default, skip_serializing_if = "crate::is_zero")]
    pub claims_left_out: usize,
    /// With `request_mismatch`: how the first request with this `request_id` ended; left out while
    /// it is queued or held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<schema::EndReason>))]
    pub ended: Option<EndReason>,
    /// With `ambiguous`: the locks that may be meant, a hundred of them at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<LockView>,
    /// With `ambiguous`: how many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// From `GET /readyz`: what the node waits for; left out when it does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<crate::cluster::Waiting>,
}

/// A live request as inspection tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LockView {
    /// The lock space.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub namespace: Name,
    /// The id of the request, unique within its owner.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: Name,
    /// Whose it is.
    #[cfg_attr(feature = "openapi", schema(value_type = schema::Owner))]
    pub owner: OwnerView,
    /// What people are told of it: its own label, or that of its session; left out when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it claims.
    pub claims: Vec<ClaimView>,
    /// Where it is in its life.
    pub state: StateView,
    /// The fencing token of a held lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub token: Option<Token>,
    /// Since the request arrived, in ms.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub age_ms: DurationMs,
    /// Since the grant of a held lock, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub held_ms: Option<DurationMs>,
    /// What is left of the lease of a held lock, in ms; left out when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub lease_remaining_ms: Option<DurationMs>,
    /// When the lease ends by the server's clock on the wall, in ms since 1970, for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_unix_ms: Option<u64>,
    /// How long a queued request goes on to wait, in ms; left out when for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub wait_remaining_ms: Option<DurationMs>,
}

/// Whose a request is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerView {
    /// A named holder's.
    Holder(Name),
    /// A session's.
    Session(Name),
}

/// A claim as inspection tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClaimView {
    /// How.
    #[cfg_attr(feature = "openapi", schema(value_type = schema::Mode))]
    pub mode: Mode,
    /// What.
    pub path: String,
}

/// Where a live request is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StateView {
    /// It waits.
    Queued,
    /// It is held.
    Held,
}

/// The answer to `GET /v1/locks`: one page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LockPage {
    /// Live requests in the order of their arrival.
    pub locks: Vec<LockView>,
    /// What to ask with for the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// The answer to `GET /v1/locks/{path}`: what overlaps it, in the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourceView {
    /// The lock space.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub namespace: Name,
    /// As it was asked.
    pub path: String,
    /// Who holds it, or something above or below it.
    pub held: Vec<LockView>,
    /// Who waits.
    pub queued: Vec<LockView>,
    /// Whether there is more than is told.
    pub truncated: bool,
}

/// An open session as inspection tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionView {
    /// The lock space.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub namespace: Name,
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub session: Name,
    /// What people are told of it; left out when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Whether a connection speaks for it.
    pub attached: bool,
    /// When it ends if nobody returns, in ms; left out while it is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub ends_in_ms: Option<DurationMs>,
    /// Its live requests, held or queued.
    pub locks: u32,
}

/// The answer to `GET /v1/sessions`: one page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionPage {
    /// Open sessions in the order of their opening.
    pub sessions: Vec<SessionView>,
    /// What to ask with for the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// The answer to `GET /v1/namespaces`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Namespaces {
    /// Those in use, by name.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub namespaces: Vec<Name>,
}

/// The answer to `GET /v1/stats`: how much of everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Stats {
    /// Requests that are held or queued.
    pub live_requests: usize,
    /// Requests that have ended and are remembered, so that a retry is answered.
    pub remembered_requests: usize,
    /// Nodes of the tree of resources.
    pub nodes: usize,
    /// Owners with a live or remembered request or an open session.
    pub owners: usize,
    /// Open sessions.
    pub sessions: usize,
    /// Namespaces in use.
    pub namespaces: usize,
    /// Leases, wait deadlines and abandon timeouts that are running.
    pub deadlines: usize,
    /// The token of the next grant.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub next_token: Token,
    /// The time of the engine, in ms: how long the service has run.
    pub engine_time_ms: u64,
    /// Connections of sessions.
    pub connections: usize,
    /// Sessions that a connection speaks for.
    pub attached_sessions: usize,
    /// HTTP requests that wait for a lock.
    pub waiting_calls: usize,
}

/// Body of `POST /v1/break`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BreakBody {
    /// The path whose locks are to be broken: those that claim exactly it.
    pub key: String,
    /// When given, only requests of this owner, as inspection tells of it; those that wait, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = schema::Owner, required = false))]
    pub owner: Option<OwnerView>,
    /// When given, only the request with this id of `owner`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, required = false))]
    pub id: Option<Name>,
    /// When given, only the lock with this token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = u64, required = false))]
    pub token: Option<Token>,
    /// The lock space; `default` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, required = false))]
    pub namespace: Option<Name>,
}

/// The answer to `DELETE /v1/sessions/{session}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionEnded {
    /// The lock space.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub namespace: Name,
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub session: Name,
    /// What people are told of it; left out when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// True.
    pub ended: bool,
    /// How many requests it had, held and queued: all of them have ended with it.
    // Servers of before do not say it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub requests: u32,
    /// These requests as they were before: the first ten thousand, and less of long ones.
    pub locks: Vec<LockView>,
}

/// The answer to `POST /v1/break`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Broken {
    /// What was broken, as it was before.
    pub broken: Vec<LockView>,
    /// Whether more was meant than was broken, since not more than ten thousand locks are broken at once,
    /// and fewer with many or long claims: ask again. Left out when it was not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// A line of `GET /v1/watch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WatchLine {
    /// What happened.
    pub event: WatchEvent,
    /// The lock space.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub namespace: Name,
    /// The id of the request, unique within its owner.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: Name,
    /// Whose it is.
    #[cfg_attr(feature = "openapi", schema(value_type = schema::Owner))]
    pub owner: OwnerView,
    /// What people are told of it: its own label, or that of its session; left out when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it claims.
    pub claims: Vec<ClaimView>,
    /// The fencing token of a grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub token: Option<Token>,
    /// The lease of a grant or renewal, in ms; left out when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub lease_remaining_ms: Option<DurationMs>,
    /// How a request ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WatchEvent {
    /// It has to wait.
    Queued,
    /// It is held from now on.
    Granted,
    /// Its lease was set anew.
    Renewed,
    /// It is over.
    Ended,
}

/// How values of other crates look in the description of the API.
#[cfg(feature = "openapi")]
mod schema {
    /// How to lock: `read` is shared, `write` is exclusive.
    #[derive(serde::Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[expect(dead_code, reason = "it is there for its derived schema")]
    pub(super) enum Mode {
        Read,
        Write,
    }

    /// How long to wait: milliseconds, or `forever`, or `no`.
    #[derive(serde::Serialize, utoipa::ToSchema)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "it is there for its derived schema")]
    pub(super) enum Wait {
        Ms(u64),
        Word(String),
    }

    /// A claim: in words, or as text (`r` or `w`, a space, and a path).
    #[derive(serde::Serialize, utoipa::ToSchema)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "it is there for its derived schema")]
    pub(super) enum Claim {
        Words(ClaimInWords),
        Text(String),
    }

    /// A claim in words.
    #[derive(serde::Serialize, utoipa::ToSchema)]
    #[serde(deny_unknown_fields)]
    pub(super) struct ClaimInWords {
        mode: Mode,
        path: String,
    }

    /// How a request ended.
    #[derive(serde::Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[expect(dead_code, reason = "it is there for its derived schema")]
    pub(super) enum EndReason {
        Released,
        Expired,
        Cancelled,
        TimedOut,
        SessionEnded,
        Broken,
    }

    /// Whose a request is: a named holder's, or a session's.
    #[derive(serde::Serialize, utoipa::ToSchema)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "it is there for its derived schema")]
    pub(super) enum Owner {
        Holder(OfHolder),
        Session(OfSession),
    }

    /// A named holder.
    #[derive(serde::Serialize, utoipa::ToSchema)]
    #[serde(deny_unknown_fields)]
    pub(super) struct OfHolder {
        holder: String,
    }

    /// A session.
    #[derive(serde::Serialize, utoipa::ToSchema)]
    #[serde(deny_unknown_fields)]
    pub(super) struct OfSession {
        session: String,
    }
}
