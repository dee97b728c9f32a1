//! Leases, fencing tokens and the store that they protect, in every order in which things can
//! happen: messages are lost, repeated and reordered, clients pause where it hurts most, and clocks
//! drift. `docs/proofs.md` tells what that proves, and what not.
//!
//! The model is of the protocol, with one resource and a server of a few lines; only the client's
//! arithmetic, [`ClockRateBound::deadline`](lockwright_client::ClockRateBound::deadline), is the
//! code that ships. That the engine keeps its rules is checked elsewhere.

mod belief;
mod client;
mod fencing;
mod protocol;
mod server;
mod store;

use protocol::{Protocol, Step, World};
use stateright::{Checker, Model, Path};

/// A way through the protocol that ends where a rule is broken.
type Way = Path<World, Step>;

/// Goes through all states, and fails on a state that breaks a rule, or when something that should
/// happen somewhere does not.
fn holds(protocol: Protocol) {
    // Two threads are what the machines of the workflow have to spare.
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

/// The shortest way to a state that breaks `rule`.
fn shortest_way_to_break(rule: &'static str, protocol: Protocol) -> Way {
    let wanted = stateright::HasDiscoveries::AnyOf([rule].into());
    // With one thread the search is breadth first, so that the first way found is the shortest.
    let checker = protocol
        .checker()
        .threads(1)
        .finish_when(wanted)
        .spawn_bfs()
        .join();
    let way = checker.discovery(rule);
    let states = checker.unique_state_count();
    let way = way.unwrap_or_else(|| panic!("{states} states, and `{rule}` holds in all of them"));
    println!("{states} states\n{}", story(&way));
    way
}

fn story(way: &Way) -> String {
    let steps = way.clone().into_actions().into_iter();
    steps.map(|step| format!("  {step:?}\n")).collect()
}
