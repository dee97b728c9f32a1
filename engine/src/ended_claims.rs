//! What requests claimed that have ended: it is in no event, since most of those who are told do not need it.

use crate::Claim;

/// Bytes that each request and each claim counts for beside its path.
const BYTES_EACH: usize = 64;

/// What each request claimed that has ended, up to so many bytes.
#[derive(Debug, Clone)]
pub(crate) struct EndedClaims {
    kept: Option<Vec<Vec<Claim>>>,
    bytes: usize,
    bytes_max: usize,
}

impl EndedClaims {
    pub(crate) fn new(bytes_max: usize) -> EndedClaims {
        EndedClaims {
            kept: Some(Vec::new()),
            bytes: 0,
            bytes_max,
        }
    }

    /// A request ends that claims this. What is too much is not even looked up.
    pub(crate) fn keep(&mut self, claims: impl FnOnce() -> Vec<Claim>) {
        let Some(kept) = &mut self.kept else { return };
        let claims = claims();
        let paths: usize = claims.iter().map(|claim| claim.path.as_str().len()).sum();
        self.bytes += paths + BYTES_EACH * (claims.len() + 1);
        match self.bytes <= self.bytes_max {
            true => kept.push(claims),
            false => self.kept = None,
        }
    }

    /// All of it; none if it was too much.
    pub(crate) fn take(&mut self) -> Option<Vec<Vec<Claim>>> {
        let next = EndedClaims::new(self.bytes_max);
        std::mem::replace(self, next).kept
    }
}
