//! What a run comes to.

use serde::{Deserialize, Serialize};

/// A rule that was broken: what happened, to whom, when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The oracle that saw it, by its file's name, such as `mutual_exclusion`.
    pub oracle: String,
    /// The rule, such as `SEMANTICS 7.1 mutual exclusion`.
    pub rule: String,
    /// When, in simulated ms since the start of the run.
    pub at_ms: u64,
    /// What happened, to whom.
    pub message: String,
}

/// What a run of a plan gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The fingerprint of the history.
    pub history_hash: HistoryHash,
    /// Engine commands (profile `engine`) or client operations (others) that were checked.
    pub commands: u64,
    /// Simulated time in ms.
    pub simulated_ms: u64,
    /// The first violation, if any.
    pub violation: Option<Violation>,
    /// The history as text, a line an event, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<String>>,
}

/// The fingerprint of a history: 16 hexadecimal digits in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct HistoryHash(pub u64);

impl std::fmt::Display for HistoryHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for HistoryHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HistoryHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let valid = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !valid {
            return Err(serde::de::Error::custom(format!(
                "`{text}` is not a history hash: 16 hexadecimal digits are expected"
            )));
        }
        u64::from_str_radix(&text, 16)
            .map(HistoryHash)
            .map_err(serde::de::Error::custom)
    }
}
