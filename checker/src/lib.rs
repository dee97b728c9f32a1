//! Every order of events, not a sample: a model for the model checker `stateright` whose state
//! contains the engine that ships.
//!
//! A [`State`] is an [`Engine`](lockwright_engine::Engine) and a [`Book`], which knows only what
//! was asked and what the engine said. A [`Step`] is a command at the present time, a millisecond
//! that passes without anybody telling the engine, or the [probe](Step::Probe). The checker takes
//! all steps from all states. Each answer of the engine is read by a naive judge (`judge.rs`),
//! which works out from the book alone what the rules allow; the first [`Rule`] that is broken goes
//! into the state, where the checker sees it. A [`Sight`] is something that must be reached, or
//! else the checker looked at too little.
//!
//! Read [`Exhaustive`] and [`Instance`] first; `docs/model-checking.md` has the bounds, and why
//! what a fingerprint leaves out makes no difference.

mod ask;
mod book;
mod guard;
mod instance;
mod judge;
mod machine;
mod model;
mod probe;
mod rules;
mod search;
mod sights;
mod text;
mod trace;

pub use ask::Step;
pub use book::{Book, Life};
pub use guard::QuietPanics;
pub use instance::{CLIENTS_MAX, Instance, Menu, REQUESTS_MAX, Size};
pub use machine::Machine;
pub use model::{Exhaustive, State};
pub use rules::{Breach, Rule};
pub use search::{search, serve};
pub use sights::Sight;
