//! Reading what comes with a request.

use super::error::ApiError;
use crate::session_endpoint::Gate;
use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::{StatusCode, request::Parts},
};
use lockwright_env::{Env, timeout};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The body of a request, which is one JSON object.
pub(super) struct Object<T>(pub(super) T);

impl<T: DeserializeOwned, E: Env> FromRequest<Arc<Gate<E>>> for Object<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, gate: &Arc<Gate<E>>) -> Result<Object<T>, ApiError> {
        let max = gate.message_bytes_max();
        let reading = to_bytes(request.into_body(), max);
        let bytes = timeout(gate.env(), gate.idle_timeout(), reading).await;
        let bytes = bytes.map_err(|_| {
            let message = "the rest of the body did not come for the idle timeout";
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "invalid_request", message)
        })?;
        let bytes = bytes.map_err(|error| unreadable(&error, max))?;
        serde_json::from_slice(&bytes)
            .map(Object)
            .map_err(|error| ApiError::invalid(format!("the body is not what it must be: {error}")))
    }
}

fn unreadable(error: &axum::Error, max: usize) -> ApiError {
    let source = std::error::Error::source(error);
    if source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
        let message = format!("a body has at most {max} bytes: ask for less at once");
        return ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
    }
    ApiError::invalid(format!("the body cannot be read: {error}"))
}

/// What follows the question mark.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, E: Env> FromRequestParts<Arc<Gate<E>>> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &Arc<Gate<E>>,
    ) -> Result<Params<T>, ApiError> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Params(params)),
            Err(error) => Err(ApiError::invalid(format!(
                "the query is not what it must be: {}",
                std::error::Error::source(&error)
                    .map_or_else(|| error.to_string(), ToString::to_string)
            ))),
        }
    }
}
