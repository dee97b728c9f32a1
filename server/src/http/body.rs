//! Reading what comes with a request: all of it, or an error that says what is not understood.
//!
//! Every handler takes either an [`Object`], which refuses a query, or [`Params`], which refuse a
//! body; those that take neither have `Params<Nothing>`. So nothing that a client says is passed over.

use super::error::ApiError;
use crate::{session_endpoint::Gate, unread::Unread};
use axum::{
    body::{Body, HttpBody},
    extract::{FromRequest, FromRequestParts, Path as UrlPath, Query, Request},
    http::{Method, StatusCode, Uri, request::Parts},
};
use http_body_util::BodyExt;
use lockwright_env::{Env, timeout};
use lockwright_protocol::strict;
use serde::{Deserialize, de::DeserializeOwned};
use std::sync::Arc;

/// The body of a request, which is one JSON object, whatever its content type. There are no
/// parameters beside it.
pub(crate) struct Object<T>(pub(crate) T);

impl<T: DeserializeOwned, E: Env> FromRequest<Arc<Gate<E>>> for Object<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, gate: &Arc<Gate<E>>) -> Result<Object<T>, ApiError> {
        let (method, uri) = (request.method(), request.uri());
        if let Some(query) = uri.query().filter(|query| !query.is_empty()) {
            return Err(ApiError::invalid(format!(
                "{method} {} takes no query parameters, got `?{}`: what it is to do is said in its \
                 body, a JSON object",
                uri.path(),
                brief(query)
            )));
        }
        let max = gate.message_bytes_max();
        let unread = request.extensions().get::<Arc<Unread>>().cloned();
        let bytes = in_time(gate, whole(request.into_body(), max)).await??;
        // It may wait for long from here on, and has all that it needs.
        if let Some(unread) = unread {
            unread.clear();
        }
        strict::object(&bytes)
            .map(Object)
            .map_err(|fault| ApiError::invalid(format!("invalid request body: {fault}")))
    }
}

/// All of a body, in one piece: each of its chunks may be as small as a byte.
async fn whole(mut body: Body, max: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unreadable(&error))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if bytes.len() + data.len() > max {
            let message = format!("a body has at most {max} bytes: ask for less at once");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(ApiError::new(status, "too_large", message));
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

/// What a read of a body gives, if that does not take too long.
async fn in_time<T, E: Env>(
    gate: &Gate<E>,
    reading: impl Future<Output = T>,
) -> Result<T, ApiError> {
    let read = timeout(gate.env(), gate.idle_timeout(), reading).await;
    read.map_err(|_| {
        let message = "the rest of the body did not come for the idle timeout";
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "invalid_request", message)
    })
}

fn unreadable(error: &axum::Error) -> ApiError {
    ApiError::invalid(format!("the body cannot be read: {error}"))
}

/// What follows the question mark. There is no body beside it.
pub(crate) struct Params<T>(pub(crate) T);

/// No parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

impl<T: DeserializeOwned + Send, E: Env> FromRequest<Arc<Gate<E>>> for Params<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, gate: &Arc<Gate<E>>) -> Result<Params<T>, ApiError> {
        let params = params(request.uri())?;
        NoBody::from_request(request, gate).await?;
        Ok(Params(params))
    }
}

/// Reads the query of a URL.
fn params<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    match Query::try_from_uri(uri) {
        Ok(Query(params)) => Ok(params),
        Err(error) => Err(ApiError::invalid(format!(
            "invalid query: {}",
            std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string)
        ))),
    }
}

/// A request without a body.
pub(crate) struct NoBody;

impl<E: Env> FromRequest<Arc<Gate<E>>> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, gate: &Arc<Gate<E>>) -> Result<NoBody, ApiError> {
        let (parts, mut body) = request.into_parts();
        // In chunks there may be none.
        while !body.is_end_stream() {
            let Some(frame) = in_time(gate, body.frame()).await? else {
                break;
            };
            let frame = frame.map_err(|error| unreadable(&error))?;
            if frame.data_ref().is_some_and(|data| !data.is_empty()) {
                return Err(has_a_body(&parts.method, &parts.uri));
            }
        }
        Ok(NoBody)
    }
}

fn has_a_body(method: &Method, uri: &Uri) -> ApiError {
    ApiError::invalid(format!(
        "{method} {} takes no body: what it is to do is said in the query, as in `?name=value`; GET \
         /openapi.json lists the parameters",
        uri.path()
    ))
}

/// What the path of a URL has in the places of a route.
pub(crate) struct InPath<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<InPath<T>, ApiError> {
        match UrlPath::from_request_parts(parts, state).await {
            Ok(UrlPath(value)) => Ok(InPath(value)),
            Err(rejection) => Err(ApiError::invalid(format!(
                "invalid path `{}`: {}",
                brief(parts.uri.path()),
                rejection.body_text()
            ))),
        }
    }
}

/// Whether each `%` of a URL stands for a byte, and these are text. Readers of URLs take others as
/// they are, or put other characters in their place: a lock by another name.
pub(crate) fn well_encoded(uri: &Uri) -> Result<(), ApiError> {
    let query = uri.query().unwrap_or_default();
    for (part, text) in [("path", uri.path()), ("query", query)] {
        if !is_well_encoded(text) {
            return Err(ApiError::invalid(format!(
                "invalid {part} `{}`: each `%` must begin the two hexadecimal digits of a byte, \
                 and the bytes must be UTF-8; a `%` itself is `%25`",
                brief(text)
            )));
        }
    }
    Ok(())
}

fn is_well_encoded(text: &str) -> bool {
    if !text.contains('%') {
        return true;
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let Some(digits) = (byte == b'%').then(|| after.get(..2)) else {
            decoded.push(byte);
            rest = after;
            continue;
        };
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return false;
        };
        decoded.push(byte);
        rest = &after[2..];
    }
    std::str::from_utf8(&decoded).is_ok()
}

/// A text for an error message: short, however long it is.
fn brief(text: &str) -> String {
    strict::brief(text, 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_percent_sign_stands_for_a_byte_of_text() {
        for right in [
            "",
            "/a/b",
            "/a%20b",
            "/%C3%BC",
            "/\u{fc}",
            "a=%25&b=+",
            "/%2f%2F",
        ] {
            assert!(is_well_encoded(right), "{right}");
        }
        for wrong in [
            "%", "/100%", "/%2", "/%zz", "/%+1", "/%\u{fc}", "/%ff", "/%C3x", "/%C3%28",
        ] {
            assert!(!is_well_encoded(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_parameter_that_is_wrong_is_named() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "they are read to see what is wrong with them")]
        struct Asked {
            key: String,
            ms: Option<u64>,
            limit: Option<u64>,
        }
        let wrong = |query: &str| {
            let uri: Uri = format!("/?{query}").parse().unwrap();
            let error = params::<Asked>(&uri).unwrap_err();
            error.status_and_json().1
        };
        for (query, expected) in [
            ("key=a&ms=x", "invalid query: ms: invalid digit"),
            ("ms=1&limit=&key=a", "invalid query: limit: "),
            ("key=a&sm=1", "invalid query: sm: unknown field `sm`"),
            ("key=a&key=a", "invalid query: duplicate field `key`"),
            ("ms=1", "invalid query: missing field `key`"),
        ] {
            let got = wrong(query);
            assert!(got.contains(expected), "{query}: {got}");
        }
    }
}
