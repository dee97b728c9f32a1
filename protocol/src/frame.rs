//! Frames: a message with its seq, as one JSON object.

mod any;
mod usual;

use crate::{
    Message, Request,
    strict::{self, Tree},
};
use lockwright_engine::ErrorCode;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::fmt;

/// Numbers a client's messages, so that it knows which one an answer is to. Chosen by the client;
/// the server only repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a client sends in one frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientFrame {
    /// Comes back in the answer.
    pub seq: Seq,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

/// What a server sends in one frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerFrame {
    /// That of the request that is answered; none in a push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// What is said.
    #[serde(flatten)]
    pub message: Message,
}

/// Why a frame cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is not a JSON object.
    #[error("expected one JSON object: {reason}")]
    NotAnObject {
        /// What the JSON reader says.
        reason: String,
    },
    /// It has no seq, or one that is not a number.
    #[error("expected `seq`, an integer from 0 to 2^64 - 1, got {got}")]
    NoSeq {
        /// What is there instead.
        got: String,
    },
    /// It is an object with a seq, but no message.
    #[error("{reason}")]
    NotAMessage {
        /// The seq, if it has one.
        seq: Option<Seq>,
        /// What is wrong.
        reason: String,
    },
}

impl DecodeError {
    /// The seq of the message, if that could be read.
    #[must_use]
    pub const fn seq(&self) -> Option<Seq> {
        match self {
            DecodeError::NotAnObject { .. } | DecodeError::NoSeq { .. } => None,
            DecodeError::NotAMessage { seq, .. } => *seq,
        }
    }

    /// The error's code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::InvalidRequest
    }
}

impl ClientFrame {
    /// The frame as JSON.
    #[must_use]
    pub fn encode(&self) -> String {
        encode(self)
    }

    /// Reads a frame. Fields that the message does not have are refused: a misspelt `ttl_ms`
    /// must not give a lock without a lease.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong.
    pub fn decode(text: &str) -> Result<ClientFrame, DecodeError> {
        usual::decode(text).map_or_else(|| ClientFrame::decode_any(text), Ok)
    }

    /// Reads any frame, and says what is wrong with it.
    fn decode_any(text: &str) -> Result<ClientFrame, DecodeError> {
        let not_an_object = |reason: String| DecodeError::NotAnObject { reason };
        let tree = strict::tree(text.as_bytes());
        let Tree { value, fault } = tree.map_err(|fault| not_an_object(fault.to_string()))?;
        let Value::Object(mut fields) = value else {
            return Err(not_an_object(format!("got {}", brief(&value))));
        };
        let seq = match fields.remove("seq") {
            Some(value) => seq_of(&value)?,
            None => {
                return Err(DecodeError::NoSeq {
                    got: "nothing".into(),
                });
            }
        };
        let request = match fault {
            Some(fault) => Err(fault),
            None => any::request(fields),
        };
        match request {
            Ok(request) => Ok(ClientFrame { seq, request }),
            Err(fault) => Err(DecodeError::NotAMessage {
                seq: Some(seq),
                reason: fault.to_string(),
            }),
        }
    }
}

impl ServerFrame {
    /// The answer to the request `seq`.
    #[must_use]
    pub fn answer(seq: Seq, message: Message) -> ServerFrame {
        ServerFrame {
            seq: Some(seq),
            message,
        }
    }

    /// A message that answers nothing.
    #[must_use]
    pub fn push(message: Message) -> ServerFrame {
        ServerFrame { seq: None, message }
    }

    /// The frame as JSON.
    #[must_use]
    pub fn encode(&self) -> String {
        encode(self)
    }

    /// Reads a frame. Fields that the message does not have are passed over: a newer server may
    /// say more.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong.
    pub fn decode(text: &str) -> Result<ServerFrame, DecodeError> {
        let mut fields = object(text)?;
        let seq = match fields.remove("seq") {
            Some(value) => Some(seq_of(&value)?),
            None => None,
        };
        Ok(ServerFrame {
            seq,
            message: message(fields, seq)?,
        })
    }
}

fn encode(frame: &impl Serialize) -> String {
    serde_json::to_string(frame).expect("a frame has text keys and no value that JSON lacks")
}

fn object(text: &str) -> Result<Map<String, Value>, DecodeError> {
    serde_json::from_str(text).map_err(|error| DecodeError::NotAnObject {
        reason: error.to_string(),
    })
}

fn seq_of(value: &Value) -> Result<Seq, DecodeError> {
    value
        .as_u64()
        .map(Seq)
        .ok_or_else(|| DecodeError::NoSeq { got: brief(value) })
}

fn message<T: DeserializeOwned>(
    fields: Map<String, Value>,
    seq: Option<Seq>,
) -> Result<T, DecodeError> {
    serde_json::from_value(Value::Object(fields)).map_err(|error| DecodeError::NotAMessage {
        seq,
        reason: error.to_string(),
    })
}

/// A value for an error message: short, however long it is.
fn brief(value: &Value) -> String {
    strict::brief(&value.to_string(), 40)
}

#[cfg(test)]
mod tests;
