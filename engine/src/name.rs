//! Names chosen by clients: of namespaces, owners, sessions and requests.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::fmt;

/// The most bytes a [`Name`] may have.
pub const NAME_BYTES_MAX: usize = 255;

/// A name chosen by a client: 1 to [`NAME_BYTES_MAX`] bytes of UTF-8 without control characters.
///
/// Cheap to clone: up to 23 bytes are copied in place, a longer text is shared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "SmolStr", into = "SmolStr")]
pub struct Name(SmolStr);

/// Why a text is not a [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name must not be empty")]
    Empty,
    /// The text is longer than [`NAME_BYTES_MAX`] bytes.
    #[error("a name has at most {NAME_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// The length of the text in bytes.
        bytes: usize,
    },
    /// The text has a control character.
    #[error("a name has no control characters, this one has one at byte {at}")]
    ControlCharacter {
        /// Where the character starts, in bytes.
        at: usize,
    },
}

impl Name {
    /// Checks a text and makes a name of it.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong with the text.
    pub fn new(text: impl AsRef<str>) -> Result<Name, NameError> {
        let text = text.as_ref();
        Name::check(text)?;
        Ok(Name(SmolStr::new(text)))
    }

    /// Stands where a name is not needed any more.
    pub(crate) const fn placeholder() -> Name {
        Name(SmolStr::new_inline("-"))
    }

    fn check(text: &str) -> Result<(), NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong { bytes: text.len() });
        }
        match control_character(text) {
            Some(at) => Err(NameError::ControlCharacter { at }),
            None => Ok(()),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where the first control character of `text` starts, in bytes.
pub(crate) fn control_character(text: &str) -> Option<usize> {
    // Most names are printable ASCII, which one pass over the bytes settles.
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return None;
    }
    text.char_indices()
        .find(|(_, c)| c.is_control())
        .map(|(at, _)| at)
}

impl TryFrom<SmolStr> for Name {
    type Error = NameError;
    fn try_from(text: SmolStr) -> Result<Name, NameError> {
        Name::check(&text)?;
        Ok(Name(text))
    }
}

impl From<Name> for SmolStr {
    fn from(name: Name) -> SmolStr {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_printable() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert!(Name::new("x".repeat(255)).is_ok());
        assert_eq!(
            Name::new("x".repeat(256)),
            Err(NameError::TooLong { bytes: 256 })
        );
        assert_eq!(
            Name::new("a\nb"),
            Err(NameError::ControlCharacter { at: 1 })
        );
        assert_eq!(
            Name::new("é\u{85}"),
            Err(NameError::ControlCharacter { at: 2 })
        );
        assert!(Name::new("名前 / ✓").is_ok());
    }

    #[test]
    fn a_name_is_its_text() {
        let name = Name::new("名前 / ✓").unwrap();
        assert_eq!(name.as_str(), "名前 / ✓");
        assert_eq!(name.to_string(), "名前 / ✓");
    }
}
