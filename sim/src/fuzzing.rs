//! What is done with bytes from anywhere: the fuzz targets, without the fuzzer.
//!
//! Each function takes any bytes at all and panics when something is wrong with the code that they
//! meet. The crate in `fuzz/` has a binary for each, and a test replays the corpus in
//! `fuzz/corpus` through the same functions, so that neither rots.

mod bytes;
mod commands;
mod frames;
mod snapshots;
mod texts;

pub use commands::commands;
pub use frames::frames;
pub use snapshots::{snapshot_edited, snapshot_json};
pub use texts::{script, trace};

/// A fuzz target: its name, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, by the names of their binaries and corpora.
pub const TARGETS: [Target; 6] = [
    ("commands", commands),
    ("frames", frames),
    ("script", script),
    ("snapshot_edited", snapshot_edited),
    ("snapshot_json", snapshot_json),
    ("trace", trace),
];
