//! What holds for every script of commands. Scripts are drawn at random over a few small trees and
//! names, so that everything meets everything; one that fails is made small and printed as it can
//! be run by `bug-finder script`, and kept under `traces/scripts`.
//!
//! `PROPTEST_CASES` sets how many scripts each property is tried with.

mod coverage;
mod draw;
mod reference;
mod refusals;
mod restore;
mod same_commands;
mod script;
mod ticks;

use proptest::test_runner::Config;

/// How each property is tried: with `cases` scripts, unless the environment says otherwise. What
/// fails is not kept in a file of seeds, which the next change of the strategies would make
/// meaningless: it is printed as a script.
fn config(cases: u32) -> Config {
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default().cases,
        None => cases,
    };
    Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    }
}
