//! The searches, compiled in this crate: a program that shows them need not be optimized itself.

use crate::{Exhaustive, Instance};
use lockwright_engine::Engine;
use stateright::{Checker, HasDiscoveries, Model};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Starts to take all steps from all states, on `threads` threads of its own, until a rule is
/// broken, nothing is left, or `stop` is set.
#[must_use]
pub fn search(
    instance: Arc<Instance>,
    stop: Arc<AtomicBool>,
    threads: usize,
) -> impl Checker<Exhaustive<Engine>> {
    Exhaustive::<Engine>::new(instance, stop)
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_dfs()
}

/// Serves the states to browsers at `address`, for ever.
///
/// # Panics
/// When nothing can listen at `address`.
pub fn serve(address: SocketAddr, instance: Arc<Instance>) {
    Exhaustive::<Engine>::new(instance, Arc::default())
        .checker()
        .serve(address);
}
