//! What people are told of a session or a request beside its names.

use lockwright_engine::{LimitName, Refusal};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most bytes that a [`Label`] may have.
pub const LABEL_BYTES_MAX: usize = 256;

/// A text that says to people what holds a lock or waits for one, as `deploy@web1[4711] ./deploy.sh`:
/// 1 to [`LABEL_BYTES_MAX`] bytes of UTF-8 without [hidden characters](is_hidden).
///
/// It changes nothing about what a lock does, and need not be unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Box<str>);

/// Why a text is no [`Label`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The text is empty.
    #[error("a label must not be empty: leave it out")]
    Empty,
    /// The text is longer than [`LABEL_BYTES_MAX`] bytes.
    #[error("a label has at most {LABEL_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// The length of the text in bytes.
        bytes: usize,
    },
    /// The text has a character that a terminal or a page would act on.
    #[error("a label has no control characters, this one has one at byte {at}")]
    Hidden {
        /// Where the character starts, in bytes.
        at: usize,
    },
}

/// Whether a character is not shown but acted on: a control character, as those of terminals' escape
/// sequences, the end of a line or paragraph, or a change of the direction of writing.
#[must_use]
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

impl Label {
    /// Checks a text and makes a label of it.
    ///
    /// # Errors
    /// [`LabelError`] says what is wrong with the text.
    pub fn new(text: impl Into<String>) -> Result<Label, LabelError> {
        let text = text.into();
        if text.is_empty() {
            return Err(LabelError::Empty);
        }
        if text.len() > LABEL_BYTES_MAX {
            return Err(LabelError::TooLong { bytes: text.len() });
        }
        match text.char_indices().find(|(_, c)| is_hidden(*c)) {
            Some((at, _)) => Err(LabelError::Hidden { at }),
            None => Ok(Label(text.into_boxed_str())),
        }
    }

    /// Makes a label of any text: with a blank for each hidden character, cut to
    /// [`LABEL_BYTES_MAX`] bytes. None when there is nothing to see.
    #[must_use]
    pub fn lossy(text: &str) -> Option<Label> {
        let blank = |c| if is_hidden(c) { ' ' } else { c };
        let mut label = String::with_capacity(text.len().min(LABEL_BYTES_MAX));
        for character in text.chars().map(blank) {
            if label.len() + character.len_utf8() > LABEL_BYTES_MAX {
                break;
            }
            label.push(character);
        }
        let label = label.trim();
        (!label.is_empty()).then(|| Label(label.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LabelError {
    /// As the error that a request with such a label is answered with: `limit_exceeded` with the limit
    /// `label_bytes` when it is too long; none when it is malformed in another way.
    #[must_use]
    pub fn limit(self) -> Option<Refusal> {
        match self {
            LabelError::TooLong { bytes } => Some(Refusal::LimitExceeded {
                limit: LimitName::LabelBytes,
                max: u32::try_from(LABEL_BYTES_MAX).unwrap_or(u32::MAX),
                got: u64::try_from(bytes).unwrap_or(u64::MAX),
            }),
            LabelError::Empty | LabelError::Hidden { .. } => None,
        }
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;
    fn try_from(text: String) -> Result<Label, LabelError> {
        Label::new(text)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> String {
        label.0.into()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded_and_do_nothing_to_a_terminal() {
        assert!(Label::new("x".repeat(256)).is_ok());
        assert!(Label::new("dörte@häuschen[1] ./x 'a b'").is_ok());
        assert_eq!(Label::new(""), Err(LabelError::Empty));
        let long = Label::new("ü".repeat(129)).unwrap_err();
        assert_eq!(long, LabelError::TooLong { bytes: 258 });
        assert!(matches!(
            long.limit(),
            Some(Refusal::LimitExceeded {
                limit: LimitName::LabelBytes,
                max: 256,
                got: 258
            })
        ));
        for hidden in [
            "\u{1b}[2J",
            "\n",
            "\r",
            "\t",
            "\0",
            "\u{7f}",
            "\u{9b}",
            "\u{202e}",
            "\u{2066}",
            "\u{2028}",
        ] {
            let text = format!("a{hidden}");
            assert_eq!(Label::new(text.clone()), Err(LabelError::Hidden { at: 1 }));
            let label = Label::lossy(&text).unwrap();
            assert!(Label::new(label.as_str()).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn any_text_can_be_made_a_label() {
        let cut = Label::lossy(&"ü".repeat(300)).unwrap();
        assert_eq!(cut.as_str(), "ü".repeat(128));
        assert_eq!(Label::lossy("a\nb\n").unwrap().as_str(), "a b");
        assert_eq!(Label::lossy("\n\t"), None);
    }
}
