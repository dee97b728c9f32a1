//! What a server says of its HTTP API, in the words of the command line.

use crate::units;
use serde_json::Value;

/// Fields of requests, and the options that set them.
const FIELDS: [(&str, &str); 4] = [
    ("`wait_ms`", "--wait"),
    ("`ttl_ms`", "--ttl"),
    ("`label`", "--label"),
    ("`request_id`", "--request-id"),
];

/// Where a path is inspected.
const INSPECT: &str = "GET /v1/locks/";

/// What is said of a route that a server does not have.
const NO_ROUTE: &str = "there is nothing at ";

/// The message of a refusal.
pub(super) fn message(answer: &Value) -> String {
    let Some(text) = answer["message"].as_str() else {
        return "the server says no more".to_owned();
    };
    if text.starts_with(NO_ROUTE) {
        return "the server does not know this command: it may be older than this program"
            .to_owned();
    }
    let text = FIELDS
        .iter()
        .fold(text.to_owned(), |text, (field, option)| {
            text.replace(field, option)
        });
    commands(&text)
}

/// Has a route be the command that asks for it.
fn commands(text: &str) -> String {
    let text = text.replace("POST /v1/break", "`lockwright break`");
    let inspected = text.split_once(INSPECT).and_then(|(before, behind)| {
        let (path, behind) = behind.split_once(" tells ")?;
        Some(format!(
            "{before}`lockwright inspect {path}` tells {behind}"
        ))
    });
    inspected.unwrap_or(text)
}

/// The facts of a refusal, in brackets behind the message; nothing when there are none.
pub(super) fn facts(answer: &Value) -> String {
    // What the message says already.
    let label = answer["label"].as_str();
    let message = answer["message"].as_str();
    let is_told = label
        .zip(message)
        .is_some_and(|(label, told)| told.contains(label));
    let is_news =
        |(name, _): &(&String, &Value)| !is_told || !["label", "held_ms"].contains(&name.as_str());
    let facts = answer.as_object().into_iter().flatten().filter(is_news);
    let facts: Vec<String> = facts
        .filter_map(|(name, value)| fact(name, value))
        .collect();
    match facts.as_slice() {
        [] => String::new(),
        facts => format!(" ({})", facts.join(", ")),
    }
}

fn fact(name: &str, value: &Value) -> Option<String> {
    match (name, value) {
        ("error" | "message" | "done" | "locked", _) | (_, Value::Null) => None,
        ("lease_remaining_ms", value) => {
            let left = value.as_u64().map(units::short_span);
            Some(format!(
                "lease left {}",
                left.unwrap_or_else(|| value.to_string())
            ))
        }
        ("held_ms", value) => {
            let held = value.as_u64().map(units::short_span);
            Some(format!(
                "held for {}",
                held.unwrap_or_else(|| value.to_string())
            ))
        }
        ("queue_position", ahead) => Some(format!("{ahead} ahead in the queue")),
        (name, Value::String(text)) => Some(format!("{name} {text}")),
        (name, value) => Some(format!("{name} {value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_and_commands_are_named() {
        for (text, expected) in [
            (
                "wait for it with `wait_ms`, or ask again",
                "wait for it with --wait, or ask again",
            ),
            ("`ttl_ms` is 0", "--ttl is 0"),
            (
                "ask with another `request_id`",
                "ask with another --request-id",
            ),
            (
                "no lock claims exactly `a/b`: GET /v1/locks/a/b tells what is held around it",
                "no lock claims exactly `a/b`: `lockwright inspect a/b` tells what is held around it",
            ),
            (
                "or break it with POST /v1/break",
                "or break it with `lockwright break`",
            ),
            ("`key` is locked", "`key` is locked"),
            (
                "there is nothing at POST /v1/break: GET /openapi.json lists what there is",
                "the server does not know this command: it may be older than this program",
            ),
        ] {
            assert_eq!(message(&json!({ "message": text })), expected);
        }
        assert_eq!(message(&json!({})), "the server says no more");
    }

    #[test]
    fn facts_are_for_people() {
        let answer = json!({
            "error": "busy", "message": "x", "holder": "alice", "token": 7, "limit": null,
            "lease_remaining_ms": 59_990, "queue_position": 3, "done": false,
        });
        let shown = facts(&answer);
        for part in [
            "holder alice",
            "token 7",
            "lease left 59.9s",
            "3 ahead in the queue",
        ] {
            assert!(shown.contains(part), "{shown}");
        }
        assert_eq!(shown.matches(", ").count(), 3, "{shown}");
        assert_eq!(facts(&json!({"error": "x", "message": "y"})), "");
    }
}
