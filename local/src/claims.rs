//! What a request asks for.

use crate::LockError;
use lockwright_engine::{Claim, Mode, Path};

/// The claims of one request: all of them are granted at once, or none.
///
/// Made with [`read`] and [`write`](fn@write), joined with [`and`](Claims::and) or from an array or iterator.
/// A malformed path is reported by whoever is asked for the lock, so that nothing in between has
/// to be unwrapped. Claims that are used again and again are best kept, and lent: `lock(&claims)`
/// reads no path anew.
///
/// ```
/// use lockwright_local::{Claims, LocalLocks, read, write};
///
/// let locks = LocalLocks::new();
/// let guard = locks.try_lock(write("accounts/alice").and(read("rates")))?;
/// drop(guard);
/// let guard = locks.try_lock([write("accounts/alice"), write("accounts/bob")])?;
/// drop(guard);
/// let seats: Claims = (7..10).map(|seat| write(format!("row/4/seat/{seat}"))).collect();
/// let guard = locks.try_lock(&seats)?;
/// assert_eq!(guard.claims().len(), 3);
/// # Ok::<(), lockwright_local::LockError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims(Result<Vec<Claim>, LockError>);

/// A `read` claim on a path and its whole subtree: shared with other readers.
#[must_use]
pub fn read(path: impl AsRef<str>) -> Claims {
    Claims::one(path.as_ref(), Mode::Read)
}

/// A `write` claim on a path and its whole subtree: exclusive.
#[must_use]
pub fn write(path: impl AsRef<str>) -> Claims {
    Claims::one(path.as_ref(), Mode::Write)
}

impl Claims {
    fn one(text: &str, mode: Mode) -> Claims {
        Claims(match Path::parse(text) {
            Ok(path) => Ok(vec![Claim { path, mode }]),
            Err(reason) => {
                let path = text.into();
                Err(LockError::InvalidPath { path, reason })
            }
        })
    }

    /// These claims and those, in one request.
    #[must_use]
    pub fn and(mut self, others: impl Into<Claims>) -> Claims {
        self.extend([others.into()]);
        self
    }

    pub(crate) fn into_result(self) -> Result<Vec<Claim>, LockError> {
        self.0
    }
}

impl Extend<Claims> for Claims {
    /// The first malformed path is the one that is reported.
    fn extend<I: IntoIterator<Item = Claims>>(&mut self, others: I) {
        for other in others {
            match (&mut self.0, other.0) {
                (Ok(claims), Ok(more)) => claims.extend(more),
                (Ok(_), Err(error)) => self.0 = Err(error),
                (Err(_), _) => return,
            }
        }
    }
}

impl FromIterator<Claims> for Claims {
    fn from_iter<I: IntoIterator<Item = Claims>>(parts: I) -> Claims {
        let mut claims = Claims(Ok(Vec::new()));
        claims.extend(parts);
        claims
    }
}

impl<const N: usize> From<[Claims; N]> for Claims {
    fn from(parts: [Claims; N]) -> Claims {
        parts.into_iter().collect()
    }
}

impl From<Vec<Claims>> for Claims {
    fn from(parts: Vec<Claims>) -> Claims {
        parts.into_iter().collect()
    }
}

impl From<&Claims> for Claims {
    fn from(claims: &Claims) -> Claims {
        claims.clone()
    }
}

impl From<Claim> for Claims {
    fn from(claim: Claim) -> Claims {
        Claims(Ok(vec![claim]))
    }
}

impl From<Vec<Claim>> for Claims {
    fn from(claims: Vec<Claim>) -> Claims {
        Claims(Ok(claims))
    }
}
