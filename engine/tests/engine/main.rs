//! The engine through its public interface.

mod common;
mod copies;
mod ends_of_sessions;
mod grants;
mod hostile_snapshots;
mod inspection;
mod retries;
mod snapshots_and_questions;
mod time_and_sessions;
