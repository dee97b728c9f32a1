//! Worlds: what runs a plan, one for each profile.

pub mod engine;
mod engine_answers;
mod engine_checks;
pub mod service;
