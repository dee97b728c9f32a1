//! Reads any request, or says what is wrong with it, and where.
//!
//! The fields are read as those of the type that is named. A type that serde finds among the fields is read
//! from what it has kept of them, and a fault in that has no place.

use crate::{
    ClaimText, Request, Secret, WaitMs,
    request::there,
    strict::{Fault, Reader, expected},
};
use lockwright_engine::{DurationMs, Name, Token};
use serde::{Deserialize, de::Error};
use serde_json::{Map, Value};

/// A [`Request`] as `{type: fields}`.
#[derive(Deserialize)]
#[serde(remote = "Request", rename_all = "snake_case", deny_unknown_fields)]
enum ByType {
    Open {
        namespace: Name,
        session: Name,
        secret: Secret,
        #[serde(default, deserialize_with = "there")]
        abandon_ms: Option<DurationMs>,
        label: Option<String>,
    },
    Resume {
        namespace: Name,
        session: Name,
        secret: Secret,
    },
    Acquire {
        id: Name,
        claims: Vec<ClaimText>,
        ttl_ms: Option<DurationMs>,
        #[serde(default)]
        wait: WaitMs,
        label: Option<String>,
    },
    Cancel {
        id: Name,
    },
    Release {
        id: Name,
        token: Token,
    },
    Renew {
        id: Name,
        token: Token,
        ttl_ms: DurationMs,
    },
    Done {
        ids: Vec<Name>,
    },
    KeepAlive {},
    Close {},
}

/// Reads what is asked.
pub(super) fn request(mut fields: Map<String, Value>) -> Result<Request, Fault> {
    let kind = match fields.remove("type") {
        Some(Value::String(kind)) => kind,
        Some(other) => return Err(expected("a word", &other).in_field("type")),
        None => return Err(Fault::missing_field("type")),
    };
    let mut whole = Map::new();
    whole.insert(kind, Value::Object(fields));
    ByType::deserialize(Reader::new(&Value::Object(whole))).map_err(|fault| {
        let fault = fault.without_first();
        // One of a field would have a place.
        match fault.to_string().starts_with("unknown variant") {
            true => fault.in_field("type"),
            false => fault,
        }
    })
}
