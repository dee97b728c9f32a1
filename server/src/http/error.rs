//! Answers that are no success.

use super::view::claim_views;
use crate::{
    call::{Found, Unavailable},
    translate::LabelRefused,
};
use axum::{
    Json,
    extract::ws::rejection::WebSocketUpgradeRejection,
    http::{Method, StatusCode, Uri, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use lockwright_engine::{Claim, EndReason, ErrorCode, FirstRequest, Mode, PathError, Refusal};
use lockwright_protocol::{
    cluster::{NodeState, Waiting},
    http::{ErrorBody, LockView},
};

/// An error, as whoever asked is told.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    /// In a box, since results are handed on by value and most are no errors.
    body: Box<ErrorBody>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> ApiError {
        let body = Box::new(ErrorBody {
            error: code.to_owned(),
            message: message.into(),
            ..ErrorBody::default()
        });
        ApiError { status, body }
    }

    /// The request cannot be read, or asks for what cannot be.
    pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
        let code = ErrorCode::InvalidRequest.as_str();
        ApiError::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn path(text: &str, error: &PathError) -> ApiError {
        let message = format!("`{text}` is no path: {error}");
        let code = ErrorCode::InvalidPath.as_str();
        ApiError::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The engine refuses.
    pub(crate) fn refused(refusal: Refusal) -> ApiError {
        let code = refusal.code();
        let mut error = ApiError::new(status_of(code), code.as_str(), refusal.to_string());
        match refusal {
            Refusal::LimitExceeded { limit, .. } => error.body.limit = Some(limit.to_string()),
            Refusal::RequestMismatch(first) => error = error.first(&first),
            _ => {}
        }
        error
    }

    /// With what the request asked for that has the `request_id`, and not with how it stands: that
    /// is the answer to another question.
    fn first(mut self, first: &FirstRequest) -> ApiError {
        let claims: Vec<String> = first.claims.iter().map(in_words).collect();
        let claims = match claims.as_slice() {
            [] => "other claims".to_owned(),
            _ if first.left_out > 0 => {
                format!("{} and {} more", claims.join(", "), first.left_out)
            }
            _ => claims.join(", "),
        };
        let ended = match first.ended {
            Some(reason) => format!(", which ended as {reason}"),
            None => String::new(),
        };
        self.body.message = format!(
            "this `request_id` is that of an earlier request of this holder, for {claims}{ended}: \
             nothing was locked; ask for something else with another `request_id`"
        );
        self.body.claims = claim_views(&first.claims);
        self.body.claims_left_out = first.left_out;
        self.body.ended = first.ended;
        self
    }

    /// A request that was asked for before has ended, or waited in vain.
    pub(super) fn ended(reason: EndReason) -> ApiError {
        let message = match reason {
            EndReason::TimedOut => "the request was not granted within `wait_ms`",
            EndReason::Released => {
                "the lock of this request was released: ask with another `request_id`"
            }
            EndReason::Expired => {
                "the lease of this request ran out: ask with another `request_id`"
            }
            EndReason::Cancelled => {
                "the request was given up, because the connection that waited for it broke: ask \
                 with another `request_id`"
            }
            EndReason::Broken => "an operator ended this request: ask with another `request_id`",
            EndReason::SessionEnded => "the session of this lock has ended",
        };
        ApiError::new(StatusCode::CONFLICT, reason.as_str(), message)
    }

    /// With who is in the way.
    pub(super) fn because_of(mut self, found: Option<&Found>) -> ApiError {
        if let Some(held) = found.and_then(|found| found.held.as_ref()) {
            self.body.holder = Some(held.holder());
            self.body.label = held.label.as_ref().map(ToString::to_string);
            self.body.held_ms = Some(held.held);
            self.body.token = Some(held.token);
            self.body.lease_remaining_ms = held.left;
        }
        self
    }

    /// With how many are ahead.
    pub(super) fn behind(mut self, found: Option<&Found>) -> ApiError {
        self.body.queue_position = found.map(|found| found.ahead);
        self
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> ApiError {
        self.status = status;
        self
    }

    /// With whether it is locked.
    pub(super) fn locked(mut self, locked: bool) -> ApiError {
        self.body.locked = Some(locked);
        self
    }

    /// Several locks may be meant, of which these are shown.
    pub(super) fn ambiguous(key: &str, locks: Vec<LockView>, count: usize) -> ApiError {
        let message = format!(
            "{count} locks are held exactly at `{key}`, and none was ended: say which one with \
             `token`, or with `holder` if that has one of them"
        );
        let mut error = ApiError::new(StatusCode::CONFLICT, "ambiguous", message).locked(true);
        error.body.locks = locks;
        error.body.count = Some(count);
        error
    }

    /// With what the node waits for, if it does.
    pub(super) fn waiting(mut self, state: &NodeState) -> ApiError {
        self.body.reason = state.reason;
        if !state.ready {
            self.body.message = format!("this node does not serve: {}", state.text);
        }
        self
    }

    /// There are as many connections as may be, in all or of the caller's address.
    pub(super) fn full() -> ApiError {
        let message = "there are as many connections as may be, in all or from your address \
                       (--connections-max, --connections-per-address-max): this one is only for health checks \
                       and operators, and nothing was done. Ask again later";
        let mut error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        error.body.done = Some(false);
        error
    }

    /// The request for a WebSocket is none.
    pub(crate) fn no_upgrade(rejection: &WebSocketUpgradeRejection) -> ApiError {
        let message = format!(
            "this path is a WebSocket, and the request does not ask for one: {}",
            rejection.body_text()
        );
        ApiError::invalid(message).with_status(rejection.status())
    }

    #[cfg(test)]
    pub(super) fn status_and_json(&self) -> (StatusCode, String) {
        let json = serde_json::to_string(&self.body);
        (self.status, json.expect("an error is JSON"))
    }

    /// With another text for people.
    pub(super) fn saying(mut self, message: impl Into<String>) -> ApiError {
        self.body.message = message.into();
        self
    }
}

impl From<LabelRefused> for ApiError {
    fn from(refused: LabelRefused) -> ApiError {
        match refused {
            LabelRefused::Limit(refusal) => ApiError::refused(refusal),
            LabelRefused::Invalid(message) => ApiError::invalid(message),
        }
    }
}

impl From<Unavailable> for ApiError {
    fn from(unavailable: Unavailable) -> ApiError {
        let why = match unavailable.done {
            Some(false) => "this node can do nothing now, and has done nothing",
            _ => "this node cannot answer now, and what it was asked to do may be done or not",
        };
        let message = match &unavailable.leader {
            _ if unavailable.stops => "this server stops and grants nothing new: nothing was locked. Ask \
                                       again later, with another `request_id`, or ask another server"
                .to_owned(),
            Some(leader) => format!(
                "{why}: ask again, with the same `request_id` if there is one, the leader, {leader}, or \
                 this node"
            ),
            None => format!(
                "{why}: it stops, or knows of no leader that a majority follows. Ask again, with the same \
                 `request_id` if there is one, this node or another"
            ),
        };
        let mut error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        error.body.done = unavailable.done;
        error.body.reason = unavailable.stops.then_some(Waiting::Draining);
        error.body.leader = unavailable.leader;
        error
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        // HTTP says so of this status.
        let challenge = (self.status == StatusCode::UNAUTHORIZED)
            .then(|| AppendHeaders([(header::WWW_AUTHENTICATE, "Bearer")]));
        (self.status, challenge, Json(self.body)).into_response()
    }
}

pub(super) async fn no_such_route(method: Method, uri: Uri) -> ApiError {
    let message = format!(
        "there is nothing at {method} {}: GET /openapi.json lists what there is",
        uri.path()
    );
    ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!(
        "{} is there, but not for {method}: GET /openapi.json lists what there is",
        uri.path()
    );
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
    )
}

/// A claim as people say it.
fn in_words(claim: &Claim) -> String {
    match claim.mode {
        Mode::Read => format!("read `{}`", claim.path),
        Mode::Write => format!("write `{}`", claim.path),
    }
}

fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidPath | ErrorCode::InvalidRequest => StatusCode::BAD_REQUEST,
        ErrorCode::UnknownSession => StatusCode::NOT_FOUND,
        ErrorCode::LimitExceeded => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Busy
        | ErrorCode::NotHeld
        | ErrorCode::StaleToken
        | ErrorCode::NotQueued
        | ErrorCode::UnknownLock => StatusCode::CONFLICT,
        ErrorCode::RequestMismatch => StatusCode::UNPROCESSABLE_ENTITY,
    }
}
