//! What crosses the wire, as Locktopus' clients read and write it.

use lockwright_engine::{ErrorCode, Token};
use lockwright_protocol::strict;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// The code of a close frame after a [`Complaint`]: the one that Locktopus' own server uses.
pub(super) const CLOSE_COMPLAINT: u16 = 3000;

/// The word for the end of a connection without anything wrong in what the client said.
pub(super) const CLOSED: &str = "closed";

/// The most bytes that WebSocket leaves for the reason in a close frame.
const REASON_BYTES_MAX: usize = 123;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClientMessage {
    /// Asks for all of these at once.
    Lock { resources: Vec<Resource> },
    /// Ends the lock, or leaves the queue.
    Release {},
}

/// A message as it is written. A field that neither Locktopus nor this server knows, such as a lease,
/// is a mistake here: it would be passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    action: Asked,
    resources: Option<Vec<Resource>>,
}

/// What is asked.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Asked {
    Lock,
    Release,
}

/// A path, and how it is to be locked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resource {
    #[serde(rename = "type", deserialize_with = "lock_type")]
    pub(super) kind: LockType,
    /// The empty path is the whole namespace. It must be there: whoever leaves it out, or says
    /// null, has more likely made a mistake than wants everything.
    pub(super) path: Vec<String>,
}

/// How a path is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockType {
    Read,
    Write,
}

/// Reads a type the way Locktopus does: `read` or `r`, `write` or `w`, in any case.
fn lock_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LockType, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.to_ascii_lowercase().as_str() {
        "read" | "r" => Ok(LockType::Read),
        "write" | "w" => Ok(LockType::Write),
        _ => Err(serde::de::Error::custom(format!(
            "the type of a resource is `{text}`, expected `read` or `write`"
        ))),
    }
}

/// Names a lock. Both of the known clients keep it as a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct LockId(pub(super) String);

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    Lock,
    Release,
    /// None of the client's: so that whatever a client waits for, it sees that this is not it.
    Error,
}

/// How a client stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Acquired,
    Enqueued,
    Ready,
    /// The connection is about to be closed.
    Closed,
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Response {
    pub(super) id: LockId,
    pub(super) action: Action,
    pub(super) state: State,
    /// The fencing token of an acquired lock: a field that Locktopus' own server does not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<Token>,
}

impl Response {
    pub(super) fn encode(&self) -> String {
        serde_json::to_string(self).expect("it has text keys and no value that JSON lacks")
    }
}

/// Why the server will not go on with a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) code: ErrorCode,
    pub(super) message: String,
}

/// The last message on a connection. Locktopus' own server sends a text that is not JSON, or
/// nothing, and its client for JavaScript then waits for ever; this ends the waiting with an error.
/// It has all fields of a [`Response`], since the client for Go keeps what it read before in place
/// of those that are missing.
#[derive(Serialize)]
struct Farewell<'a> {
    id: &'a str,
    action: Action,
    state: State,
    error: &'a str,
    message: &'a str,
}

/// What is said before a connection is closed: a word for programs, and a text for people.
pub(super) fn farewell(error: &str, message: &str) -> String {
    let farewell = Farewell {
        id: "",
        action: Action::Error,
        state: State::Closed,
        error,
        message,
    };
    serde_json::to_string(&farewell).expect("it has text keys and no value that JSON lacks")
}

impl Complaint {
    /// What came makes no sense, or not now.
    pub(super) fn invalid(message: impl Into<String>) -> Complaint {
        Complaint {
            code: ErrorCode::InvalidRequest,
            message: message.into(),
        }
    }

    pub(super) fn encode(&self) -> String {
        farewell(self.code.as_str(), &self.message)
    }

    /// As much of it as a close frame has place for: clients show that too.
    pub(super) fn close_reason(&self) -> String {
        let mut reason = self.to_string();
        let mut end = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        reason
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// Reads a message.
pub(super) fn read(text: &str, bytes_max: usize) -> Result<ClientMessage, Complaint> {
    if text.len() > bytes_max {
        return Err(Complaint::invalid(format!(
            "a message has at most {bytes_max} bytes, this one has {}: lock less at once",
            text.len()
        )));
    }
    let unreadable = |fault| Complaint::invalid(format!("the message cannot be read: {fault}"));
    let fields = strict::object(text.as_bytes()).map_err(|fault| unreadable(fault.to_string()))?;
    match fields {
        Fields {
            action: Asked::Lock,
            resources: Some(resources),
        } => Ok(ClientMessage::Lock { resources }),
        Fields {
            action: Asked::Lock,
            resources: None,
        } => Err(unreadable("missing field `resources`".to_owned())),
        // A release is of all that is locked: a list of other resources is a wish that cannot be met.
        Fields {
            action: Asked::Release,
            resources: Some(resources),
        } if !resources.is_empty() => {
            let why = "at `resources`: a release is of the whole lock, and names no resources";
            Err(unreadable(why.to_owned()))
        }
        Fields {
            action: Asked::Release,
            ..
        } => Ok(ClientMessage::Release {}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(resources: &[(LockType, &[&str])]) -> ClientMessage {
        let resource = |(kind, path): &(LockType, &[&str])| Resource {
            kind: *kind,
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
        };
        ClientMessage::Lock {
            resources: resources.iter().map(resource).collect(),
        }
    }

    #[test]
    fn messages_of_the_known_clients_are_read() {
        let message = r#"{"action":"lock","resources":[{"type":"write","path":["a","b"]}]}"#;
        let expected = lock(&[(LockType::Write, &["a", "b"])]);
        assert_eq!(read(message, 1000), Ok(expected));
        let message = r#"{"resources":[{"path":[],"type":"READ"},{"type":"w","path":["/"]}],"action":"lock"}"#;
        let expected = lock(&[(LockType::Read, &[]), (LockType::Write, &["/"])]);
        assert_eq!(read(message, 1000), Ok(expected));
        for message in [
            r#"{"action":"release"}"#,
            r#"{"action":"release","resources":[]}"#,
        ] {
            assert_eq!(read(message, 1000), Ok(ClientMessage::Release {}));
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_reason() {
        let cases = [
            ("", "EOF"),
            ("{}", "missing field `action`"),
            (r#"{"action":"Lock"}"#, "unknown variant `Lock`"),
            (r#"{"action":"lock"}"#, "missing field `resources`"),
            (
                r#"{"action":"lock","resources":[{"type":"read"}]}"#,
                "missing field `path`",
            ),
            (
                r#"{"action":"lock","resources":[{"type":"read","path":null}]}"#,
                "at `resources[0].path`: null is no value",
            ),
            (
                r#"{"action":"lock","resources":[{"type":"read","path":"a/b"}]}"#,
                "expected a sequence",
            ),
            (
                r#"{"action":"lock","resources":[{"type":"","path":["a"]}]}"#,
                "the type of a resource is ``, expected `read` or `write`",
            ),
            (
                r#"{"action":"lock","resources":[{"path":["a"]}]}"#,
                "missing field `type`",
            ),
            (
                r#"{"action":"lock","resources":[{"type":"read","path":["\ud800"]}]}"#,
                "cannot be read",
            ),
            (r#"{"action":"release"}{}"#, "trailing characters"),
            (
                r#"[{"action":"release"}]"#,
                "expected one JSON object, got an array",
            ),
            (
                r#"{"action":"release","ttl_ms":5}"#,
                "at `ttl_ms`: unknown field",
            ),
            (
                r#"{"action":"release","resources":null}"#,
                "at `resources`: null",
            ),
            (
                r#"{"action":"release","resources":[{"type":"read","path":["a"]}]}"#,
                "at `resources`: a release is of the whole lock",
            ),
            (
                r#"{"action":"lock","resources":[{"type":"read","path":["a"],"ttl_ms":5}]}"#,
                "at `resources[0].ttl_ms`: unknown field",
            ),
            (
                r#"{"action":"lock","resources":[["read",["a"]]]}"#,
                "at `resources[0]`: expected an object, got an array",
            ),
            (
                r#"{"action":"lock","action":"release"}"#,
                "at `action`: it comes twice",
            ),
        ];
        for (message, reason) in cases {
            let complaint = read(message, 1000).unwrap_err();
            assert!(complaint.message.contains(reason), "{complaint}");
        }
        let complaint = read(&" ".repeat(11), 10).unwrap_err();
        assert!(complaint.message.contains("at most 10 bytes"));
    }

    #[test]
    fn responses_are_written_as_locktopus_does() {
        let response = Response {
            id: LockId("7".to_owned()),
            action: Action::Lock,
            state: State::Acquired,
            token: Some(Token(9)),
        };
        assert_eq!(
            response.encode(),
            r#"{"id":"7","action":"lock","state":"acquired","token":9}"#
        );
        let response = Response {
            action: Action::Release,
            state: State::Ready,
            token: None,
            ..response
        };
        assert_eq!(
            response.encode(),
            r#"{"id":"7","action":"release","state":"ready"}"#
        );
        let complaint = Complaint::invalid("no");
        assert_eq!(
            complaint.encode(),
            r#"{"id":"","action":"error","state":"closed","error":"invalid_request","message":"no"}"#
        );
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let complaint = Complaint::invalid("ä".repeat(100));
        let reason = complaint.close_reason();
        assert!(complaint.to_string().starts_with(&reason));
        assert!((REASON_BYTES_MAX - 1..=REASON_BYTES_MAX).contains(&reason.len()));
        assert_eq!(
            Complaint::invalid("no").close_reason(),
            "invalid_request: no"
        );
    }
}
