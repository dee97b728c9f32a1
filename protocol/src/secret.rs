//! What proves that a connection may speak for a session.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The fewest bytes that a [`Secret`] may have.
pub const SECRET_BYTES_MIN: usize = 16;
/// The most bytes that a [`Secret`] may have.
pub const SECRET_BYTES_MAX: usize = 255;

/// A session's secret, drawn at random by the client that opens it: [`SECRET_BYTES_MIN`] to
/// [`SECRET_BYTES_MAX`] bytes of UTF-8. It is never shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret(String);

/// Why a text is not a [`Secret`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes, this one has {bytes}")]
pub struct SecretError {
    /// The length of the text in bytes.
    pub bytes: usize,
}

impl Secret {
    /// Checks a text and makes a secret of it.
    ///
    /// # Errors
    /// [`SecretError`] when it is too short or too long.
    pub fn new(text: impl Into<String>) -> Result<Secret, SecretError> {
        let text = text.into();
        if (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&text.len()) {
            Ok(Secret(text))
        } else {
            Err(SecretError { bytes: text.len() })
        }
    }
}

impl PartialEq for Secret {
    /// In a time that tells nothing of where the two differ.
    fn eq(&self, other: &Secret) -> bool {
        let (ours, theirs) = (self.0.as_bytes(), other.0.as_bytes());
        let difference = ours
            .iter()
            .zip(theirs)
            .fold(0, |seen, (a, b)| std::hint::black_box(seen | (a ^ b)));
        ours.len() == theirs.len() && difference == 0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl TryFrom<String> for Secret {
    type Error = SecretError;
    fn try_from(text: String) -> Result<Secret, SecretError> {
        Secret::new(text)
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> String {
        secret.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_enough_and_never_shown() {
        assert_eq!(Secret::new("short"), Err(SecretError { bytes: 5 }));
        assert_eq!(
            Secret::new("x".repeat(256)),
            Err(SecretError { bytes: 256 })
        );
        let secret = Secret::new("0123456789abcdef").unwrap();
        assert!(!format!("{secret:?}").contains("0123"));
    }

    #[test]
    fn secrets_are_equal_only_byte_for_byte() {
        let secret = |text: &str| Secret::new(text).unwrap();
        assert_eq!(secret("0123456789abcdef"), secret("0123456789abcdef"));
        assert_ne!(secret("0123456789abcdef"), secret("0123456789abcdeF"));
        assert_ne!(secret("0123456789abcdef"), secret("0123456789abcdef0"));
    }
}
