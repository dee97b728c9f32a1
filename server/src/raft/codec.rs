//! How rows are written: postcard, whose format is stable. What the bytes of each kind of row are is
//! pinned by a test, so that a change of the types is noticed before it meets old data.

use crate::store::StoreError;
use serde::{Serialize, de::DeserializeOwned};

/// The bytes of a value.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value)
        .expect("memory takes every value, and no value refuses to be written")
}

/// The value of bytes that were read; `what` names it.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, StoreError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(StoreError::damaged(format!(
            "{what} has {} bytes too many",
            rest.len()
        ))),
        Err(error) => Err(StoreError::damaged(format!(
            "{what} cannot be read: {error}"
        ))),
    }
}
