//! The simulated world of Lockwright: plans, the worlds that run them, faults, the reference
//! model and the oracles.
//!
//! [`plan::generate`] draws a [`plan::Plan`] from a profile and a seed, and [`plan::run`] turns a
//! plan into an [`outcome::Outcome`]: read these first.

pub mod crash_report;
pub mod draw;
pub mod driver;
pub mod entropy;
pub mod fuzzing;
pub mod history;
pub mod line;
pub mod memory;
pub mod model;
pub mod op;
pub mod oracle;
pub mod outcome;
pub mod plan;
pub mod script;
mod table;
pub mod trace;
pub mod world;
