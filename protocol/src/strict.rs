//! Reading JSON of which every part counts.
//!
//! What is passed over is a wish that is not granted: a lock without the lease that was asked for in
//! a misspelt field, or as `null`, which is what `JSON.stringify` makes of a number that is none. So
//! unknown fields, fields that come twice, `null`, and arrays in the place of objects are refused, at
//! every depth and with their place.
//!
//! Types deny unknown fields themselves (`#[serde(deny_unknown_fields)]`); the rest is done here for
//! all of them.

mod reader;
mod tree;

pub(crate) use reader::Reader;
pub(crate) use tree::{Tree, tree};

use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;

/// How much of a field's name is told.
const NAME_CHARS_MAX: usize = 40;

/// What is wrong with a JSON text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The way to it, the innermost step first.
    steps: Vec<Step>,
    message: String,
}

/// A step on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Element(usize),
}

impl Fault {
    fn new(message: impl fmt::Display) -> Fault {
        Fault {
            steps: Vec::new(),
            message: message.to_string(),
        }
    }

    /// Seen from one level further out.
    fn within(mut self, step: Step) -> Fault {
        self.steps.push(step);
        self
    }

    pub(crate) fn in_field(self, name: &str) -> Fault {
        self.within(Step::Field(name.to_owned()))
    }

    /// Seen from the value that the way leads to first.
    pub(crate) fn without_first(mut self) -> Fault {
        self.steps.pop();
        self
    }

    /// The way to the value, such as `claims[1].path`; empty when it is the whole.
    #[must_use]
    pub fn place(&self) -> String {
        let mut place = String::new();
        for step in self.steps.iter().rev() {
            match step {
                Step::Field(name) if place.is_empty() => {
                    place.push_str(&brief(name, NAME_CHARS_MAX));
                }
                Step::Field(name) => {
                    place.push('.');
                    place.push_str(&brief(name, NAME_CHARS_MAX));
                }
                Step::Element(index) => place.push_str(&format!("[{index}]")),
            }
        }
        place
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.steps.as_slice() {
            [] => f.write_str(&self.message),
            _ => write!(f, "at `{}`: {}", self.place(), self.message),
        }
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        Fault::new(message)
    }
}

/// Reads one JSON object.
///
/// # Errors
/// [`Fault`] says what is wrong, and where.
pub fn object<T: DeserializeOwned>(text: &[u8]) -> Result<T, Fault> {
    let Tree { value, fault } = tree(text)?;
    if !value.is_object() {
        return Err(expected("one JSON object", &value));
    }
    match fault {
        Some(fault) => Err(fault),
        None => T::deserialize(Reader::new(&value)),
    }
}

/// There is another value than is wanted.
pub(crate) fn expected(wanted: &str, got: &Value) -> Fault {
    Fault::new(format!("expected {wanted}, got {}", kind(got)))
}

/// What sort of value this is, for people.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A text for an error message: short, however long it is.
#[must_use]
pub fn brief(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: Option<String>,
        list: Option<Vec<Inner>>,
        way: Option<Way>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        n: u64,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Way {
        Plain,
        Of(Inner),
    }

    fn read(text: &str) -> Result<Outer, String> {
        object(text.as_bytes()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn what_is_right_is_read() {
        let inner = |n| Inner { n };
        let all = Outer {
            name: Some("x".to_owned()),
            list: Some(vec![inner(1), inner(2)]),
            way: Some(Way::Of(inner(3))),
        };
        let text = r#" {"way":{"of":{"n":3}},"name":"x","list":[{"n":1},{"n":2}]} "#;
        assert_eq!(read(text), Ok(all));
        let none = Outer {
            name: None,
            list: None,
            way: Some(Way::Plain),
        };
        assert_eq!(read(r#"{"way":"plain"}"#), Ok(none));
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        for (text, expected) in [
            ("[]", "expected one JSON object, got an array"),
            ("null", "expected one JSON object, got null"),
            ("", "EOF while parsing"),
            ("{} {}", "trailing characters"),
            (r#"{"nmae":"x"}"#, "at `nmae`: unknown field `nmae`"),
            (r#"{"name":null}"#, "at `name`: null is no value"),
            (r#"{"x":{"y":[1,null]}}"#, "at `x.y[1]`: null is no value"),
            (r#"{"name":"x","name":"x"}"#, "at `name`: it comes twice"),
            (
                r#"{"list":[{"n":1},{"n":1,"n":2}]}"#,
                "at `list[1].n`: it comes twice",
            ),
            (
                r#"{"list":[[1]]}"#,
                "at `list[0]`: expected an object, got an array",
            ),
            (
                r#"{"list":[{"n":1,"m":1}]}"#,
                "at `list[0].m`: unknown field `m`",
            ),
            (
                r#"{"list":[{"n":"1"}]}"#,
                "at `list[0].n`: invalid type: string",
            ),
            (r#"{"list":[{}]}"#, "at `list[0]`: missing field `n`"),
            (
                r#"{"way":{"of":[3]}}"#,
                "at `way.of`: expected an object, got an array",
            ),
            (r#"{"way":"of"}"#, "at `way`: "),
            (r#"{"way":"off"}"#, "at `way`: unknown variant `off`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
