//! Claims as text: `r a/b` or `w a/b`.

use lockwright_engine::{Claim, ErrorCode, Mode, Path, PathError};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A claim as it is written: `r` or `w`, one space, and a path (`/` for the whole namespace).
///
/// It may be malformed: a server reads it with [`parse`](ClaimText::parse) and can then say which
/// of the error codes applies, which a failure to read the whole message could not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClaimText(String);

/// Why a text is not a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// It does not start with a mode and a space.
    #[error("the claim `{got}` does not start with `r ` or `w `: write `w a/b`")]
    Mode {
        /// The text.
        got: String,
    },
    /// What follows is no path.
    #[error("in the claim `{got}`: {source}")]
    Path {
        /// The text.
        got: String,
        /// What is wrong with its path.
        source: PathError,
    },
}

impl ClaimError {
    /// The error's code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            ClaimError::Mode { .. } => ErrorCode::InvalidRequest,
            ClaimError::Path { .. } => ErrorCode::InvalidPath,
        }
    }
}

impl ClaimText {
    /// A claim as the writer gave it, valid or not.
    #[must_use]
    pub fn new(text: impl Into<String>) -> ClaimText {
        ClaimText(text.into())
    }

    /// Reads the claim.
    ///
    /// # Errors
    /// [`ClaimError`] says what is wrong with the text.
    pub fn parse(&self) -> Result<Claim, ClaimError> {
        let (mode, path) = match self.0.split_at_checked(2) {
            Some(("r ", path)) => (Mode::Read, path),
            Some(("w ", path)) => (Mode::Write, path),
            _ => {
                return Err(ClaimError::Mode {
                    got: self.0.clone(),
                });
            }
        };
        match Path::parse(path) {
            Ok(path) => Ok(Claim { path, mode }),
            Err(source) => Err(ClaimError::Path {
                got: self.0.clone(),
                source,
            }),
        }
    }
}

impl From<&Claim> for ClaimText {
    fn from(claim: &Claim) -> ClaimText {
        ClaimText(claim.to_string())
    }
}

impl fmt::Display for ClaimText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_round_trip() {
        for text in ["r a/b", "w /", "w a b/ c"] {
            let claim = ClaimText::new(text).parse().unwrap();
            assert_eq!(ClaimText::from(&claim).to_string(), text);
        }
    }

    #[test]
    fn a_malformed_claim_says_which_part_is_wrong() {
        for text in ["", "w", "x a", "wa", "W a", "é a"] {
            let error = ClaimText::new(text).parse().unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidRequest, "{text}");
        }
        for text in ["w ", "w a//b", "r /a", "r a\n"] {
            let error = ClaimText::new(text).parse().unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidPath, "{text}");
        }
    }
}
