//! How long a request waits, as it is written: `"no"`, `"forever"`, or milliseconds.

use lockwright_engine::{DurationMs, Wait};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};
use std::fmt;

/// A [`Wait`] in its written form: `"no"`, `"forever"`, or a number of milliseconds. It waits for
/// ever when nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitMs(pub Wait);

impl Default for WaitMs {
    fn default() -> WaitMs {
        WaitMs(Wait::Forever)
    }
}

impl Serialize for WaitMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Wait::No => serializer.serialize_str("no"),
            Wait::Forever => serializer.serialize_str("forever"),
            Wait::For(wait) => serializer.serialize_u64(wait.as_ms()),
        }
    }
}

impl<'de> Deserialize<'de> for WaitMs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WaitMs, D::Error> {
        deserializer.deserialize_any(WaitVisitor)
    }
}

struct WaitVisitor;

impl Visitor<'_> for WaitVisitor {
    type Value = WaitMs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`\"no\"`, `\"forever\"`, or a number of milliseconds")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<WaitMs, E> {
        match text {
            "no" => Ok(WaitMs(Wait::No)),
            "forever" => Ok(WaitMs(Wait::Forever)),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, ms: u64) -> Result<WaitMs, E> {
        DurationMs::new(ms)
            .map(|wait| WaitMs(Wait::For(wait)))
            .map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_words_or_milliseconds() {
        for text in ["\"no\"", "\"forever\"", "250"] {
            let wait: WaitMs = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&wait).unwrap(), text);
        }
        for text in ["\"never\"", "-1", "1.5", "null", "9007199254740992"] {
            assert!(serde_json::from_str::<WaitMs>(text).is_err(), "{text}");
        }
    }
}
