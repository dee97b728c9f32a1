//! The simulated world of Lockwright: plans, the worlds that run them, faults, the reference
//! model and the oracles.
//!
//! [`plan::generate`] draws a [`plan::Plan`] from a profile and a seed, and [`plan::run`] turns a
//! plan into an [`outcome::Outcome`]: read these first.

pub mod entropy;
pub mod driver;
pub mod line;
pub mod model;
pub mod op;
pub mod outcome;
pub mod plan;
pub mod script;
pub mod trace;
