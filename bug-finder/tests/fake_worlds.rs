//! Fake worlds.
fn main() {}
