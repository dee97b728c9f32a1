//! Paths of resources, and what overlaps (rule: SEMANTICS section 1).

use crate::name::control_character;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// The name of a resource inside a namespace: a list of segments. Locking it locks its whole
/// subtree. The empty path, written `/`, is the whole namespace.
///
/// How many segments and how many bytes in each are limits of the engine
/// ([`Limits`](crate::Limits)), not of this type. Cheap to clone: the text is shared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Arc<str>", into = "Arc<str>")]
pub struct Path(Arc<str>);

/// Why a text is not a [`Path`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The text is empty; the empty path is written `/`.
    #[error("a path must not be empty: write `/` for the whole namespace")]
    Empty,
    /// A segment is empty: the text starts or ends with `/`, or has `//` in it.
    #[error("segment {segment} of the path is empty: write `a/b`, without `/` at either end")]
    EmptySegment {
        /// Which segment, counted from 1.
        segment: usize,
    },
    /// The text has a control character.
    #[error("a path has no control characters, this one has one at byte {at}")]
    ControlCharacter {
        /// Where the character starts, in bytes.
        at: usize,
    },
}

const ROOT_TEXT: &str = "/";

impl Path {
    /// The empty path: the whole namespace.
    #[must_use]
    pub fn root() -> Path {
        Path(Arc::from(ROOT_TEXT))
    }

    /// Reads a path from its text form: segments joined by `/`, or `/` alone.
    ///
    /// # Errors
    /// [`PathError`] says what is wrong and where.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Path, PathError> {
        let text = text.into();
        if &*text == ROOT_TEXT {
            return Ok(Path(text));
        }
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if let Some(index) = text.split('/').position(str::is_empty) {
            return Err(PathError::EmptySegment { segment: index + 1 });
        }
        match control_character(&text) {
            Some(at) => Err(PathError::ControlCharacter { at }),
            None => Ok(Path(text)),
        }
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text itself, so that a caller can hold on to it without a copy.
    #[must_use]
    pub fn shared(&self) -> &Arc<str> {
        &self.0
    }

    /// Whether this is the empty path, the whole namespace.
    #[must_use]
    pub fn is_root(&self) -> bool {
        &*self.0 == ROOT_TEXT
    }

    /// The segments from the root down; none for the empty path.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        let text = if self.is_root() { "" } else { &*self.0 };
        Segments { left: text }
    }

    /// The number of segments.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.segments().count()
    }

    /// Whether this path is `other` or an ancestor of it, by segment and not by byte.
    #[must_use]
    pub fn covers(&self, other: &Path) -> bool {
        if self.is_root() {
            return true;
        }
        match other.0.strip_prefix(&*self.0) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// Whether one of the two paths covers the other.
    #[must_use]
    pub fn overlaps(&self, other: &Path) -> bool {
        self.covers(other) || other.covers(self)
    }
}

/// Whether a text is a segment of a path.
pub(crate) fn is_segment(text: &str) -> bool {
    !text.is_empty() && !text.contains('/') && control_character(text).is_none()
}

/// The segments of a path's text, of which none is empty. A loop over bytes: segments are short, and
/// a search for `/` costs more to begin than to finish.
struct Segments<'a> {
    left: &'a str,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.left.is_empty() {
            return None;
        }
        let end = self.left.bytes().position(|byte| byte == b'/');
        let (segment, left) = match end {
            Some(end) => (&self.left[..end], &self.left[end + 1..]),
            None => (self.left, ""),
        };
        self.left = left;
        Some(segment)
    }
}

impl TryFrom<Arc<str>> for Path {
    type Error = PathError;
    fn try_from(text: Arc<str>) -> Result<Path, PathError> {
        Path::parse(text)
    }
}

impl From<Path> for Arc<str> {
    fn from(path: Path) -> Arc<str> {
        path.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    #[test]
    fn text_form_round_trips() {
        for text in ["/", "a", "a/b/c", "ä/ß"] {
            assert_eq!(path(text).as_str(), text);
            assert_eq!(path(text).to_string(), text);
        }
        assert_eq!(path("/").depth(), 0);
        assert_eq!(path("a/b").segments().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn malformed_text_is_refused_with_its_place() {
        assert_eq!(Path::parse(""), Err(PathError::Empty));
        assert_eq!(
            Path::parse("/a"),
            Err(PathError::EmptySegment { segment: 1 })
        );
        assert_eq!(
            Path::parse("a/"),
            Err(PathError::EmptySegment { segment: 2 })
        );
        assert_eq!(
            Path::parse("a//b"),
            Err(PathError::EmptySegment { segment: 2 })
        );
        assert_eq!(
            Path::parse("//"),
            Err(PathError::EmptySegment { segment: 1 })
        );
        assert_eq!(
            Path::parse("a/\u{1}"),
            Err(PathError::ControlCharacter { at: 2 })
        );
    }

    #[test]
    fn overlap_is_by_segment_not_by_byte() {
        assert!(path("a/b").overlaps(&path("a/b/c")));
        assert!(path("a/b/c").overlaps(&path("a/b")));
        assert!(path("/").overlaps(&path("x")));
        assert!(!path("a/b").overlaps(&path("a/bc")));
        assert!(!path("a/bc").overlaps(&path("a/b")));
        assert!(!path("a").overlaps(&path("b")));
    }
}
