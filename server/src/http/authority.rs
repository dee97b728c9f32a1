//! Who may do what operators do: break locks, end sessions, change the cluster.

use super::error::ApiError;
use crate::{
    Secret,
    secret::{Guesses, is_exposed},
    session_endpoint::Gate,
};
use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, StatusCode, header, request::Parts},
};
use lockwright_env::Env;
use std::{net::SocketAddr, sync::Arc};
use tracing::warn;

/// What a server asks of operators.
pub(crate) struct Authority {
    token: Option<Secret>,
    /// Whether others than this machine reach it.
    is_exposed: bool,
    guesses: Guesses,
}

impl Authority {
    /// Of a server that listens at `address`.
    pub(crate) fn new(token: Option<Secret>, address: SocketAddr) -> Authority {
        Authority {
            token,
            is_exposed: is_exposed(address),
            guesses: Guesses::new(),
        }
    }

    /// Whether a request with this authorization may do what operators do.
    fn judge(&self, given: Option<&HeaderValue>) -> Result<(), Refused> {
        let Some(token) = &self.token else {
            return match self.is_exposed {
                true => Err(Refused::Asked(ApiError::new(
                    StatusCode::FORBIDDEN,
                    "forbidden",
                    "others than this machine reach this server, and it has no admin token: what \
                     operators do is refused. Start it with --admin-token-file FILE, and send what is \
                     in the file as `Authorization: Bearer`",
                ))),
                false => Ok(()),
            };
        };
        let Some(given) = given else {
            let why = "this is for operators, and the admin token is missing";
            return Err(Refused::Asked(unauthorized(why)));
        };
        match bearer(given.as_bytes()) {
            Some(given) if token.is(given) => Ok(()),
            Some(_) => Err(Refused::Guessed(
                "what came as its admin token is another one",
            )),
            None => Err(Refused::Guessed(
                "what came as its admin token is no bearer token",
            )),
        }
    }
}

/// Why a request may not do what operators do.
enum Refused {
    /// It did not try to.
    Asked(ApiError),
    /// What it came with is wrong: it may try many.
    Guessed(&'static str),
}

fn unauthorized(why: &str) -> ApiError {
    let message = format!(
        "{why}: send what is in the server's --admin-token-file as `Authorization: Bearer`"
    );
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

/// The token of `Bearer TOKEN`.
fn bearer(text: &[u8]) -> Option<&[u8]> {
    let place = text.iter().position(|byte| *byte == b' ')?;
    let (scheme, token) = text.split_at(place);
    scheme
        .eq_ignore_ascii_case(b"bearer")
        .then(|| token.trim_ascii())
}

/// A request of an operator. What comes from another caller is refused before it is read.
pub(crate) struct Operator;

impl<E: Env> FromRequestParts<Arc<Gate<E>>> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        gate: &Arc<Gate<E>>,
    ) -> Result<Operator, ApiError> {
        let mut given = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (first, more) = (given.next(), given.next());
        if more.is_some() {
            return Err(ApiError::invalid(
                "the header `authorization` comes more than once",
            ));
        }
        match gate.authority().judge(first) {
            Ok(()) => Ok(Operator),
            Err(Refused::Asked(error)) => Err(error),
            Err(Refused::Guessed(why)) => {
                let log = || warn!("an operator is refused: {why}");
                gate.authority().guesses.wrong(gate.env(), log).await;
                Err(unauthorized(why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn status(token: Option<&str>, address: &str, given: Option<&str>) -> u16 {
        let token = token.map(|token| Secret::new(token).unwrap());
        let authority = Authority::new(token, address.parse().unwrap());
        let given = given.map(|given| HeaderValue::from_str(given).unwrap());
        match authority.judge(given.as_ref()) {
            Ok(()) => 200,
            Err(Refused::Asked(error)) => error.status_and_json().0.as_u16(),
            // As if it had been told already.
            Err(Refused::Guessed(_)) => 0,
        }
    }

    #[test]
    fn without_a_token_only_this_machine_is_served() {
        for (address, expected) in [
            ("127.0.0.1:1", 200),
            ("127.9.9.9:1", 200),
            ("[::1]:1", 200),
            ("[::ffff:127.0.0.1]:1", 200),
            ("0.0.0.0:1", 403),
            ("[::]:1", 403),
            ("10.0.0.1:1", 403),
        ] {
            assert_eq!(status(None, address, None), expected, "{address}");
            let given = Some("Bearer 0123456789abcdef");
            assert_eq!(status(None, address, given), expected, "{address}");
        }
    }

    #[test]
    fn with_a_token_everybody_needs_it() {
        for address in ["127.0.0.1:1", "0.0.0.0:1"] {
            for (given, expected) in [
                (None, 401),
                (Some("Bearer 0123456789abcdef"), 200),
                (Some("bearer   0123456789abcdef "), 200),
                (Some("Bearer 0123456789abcdeg"), 0),
                (Some("Bearer"), 0),
                (Some("Bearer "), 0),
                (Some("Basic 0123456789abcdef"), 0),
                (Some("0123456789abcdef"), 0),
                (Some(""), 0),
            ] {
                let got = status(Some(TOKEN), address, given);
                assert_eq!(got, expected, "{address} {given:?}");
            }
        }
    }
}
