//! The HTTP API of a server, as commands use it.
//!
//! [`Api`] asks, and turns what the server refuses into a failure; `round` goes from one server to
//! the next, and `reach` tells whether one was reached; `lock` is a lock as the API tells of it, and
//! `table` prints in columns, and `words` has what a server says be about options and commands.

mod api;
mod lock;
mod reach;
mod round;
mod table;
mod words;

pub(crate) use api::{Api, LinesEnd, Patience, in_path};
pub(crate) use lock::{LockFacts, Owner, owner};
pub(crate) use round::Asked;
pub(crate) use table::Table;

use crate::exit::{Exit, Failure};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Hands out what a list has, page by page.
pub(crate) fn pages(
    api: &Api,
    path: &str,
    query: &[(&str, String)],
    list: &str,
    mut each: impl FnMut(&Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut query = query.to_vec();
    query.push(("limit", "1000".to_owned()));
    let filters = query.len();
    loop {
        let page = api.get(path, &query)?;
        for item in page[list].as_array().into_iter().flatten() {
            each(item)?;
        }
        let Some(cursor) = page["next_cursor"].as_str() else {
            return Ok(());
        };
        query.truncate(filters);
        query.push(("cursor", cursor.to_owned()));
    }
}

/// Reads a part of an answer.
pub(crate) fn understood<T: DeserializeOwned>(value: &Value) -> Result<T, Failure> {
    T::deserialize(value).map_err(|error| {
        let message = format!("the server says what this version does not know: {error}: {value}");
        Failure::new(Exit::REFUSED, message)
    })
}
