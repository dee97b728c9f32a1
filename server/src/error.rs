//! Why a server ends by itself.

use crate::StoreError;

/// Why a server ended without being told to. It has acknowledged nothing since.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// It cannot keep what it has to keep.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The replica has stopped for another reason.
    #[error("{why}; start the server again")]
    Stopped {
        /// Which.
        why: String,
    },
}
