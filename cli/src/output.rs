//! Stdout is data, and may be closed by whoever reads it.

use crate::exit::Failure;
use std::io::Write;

/// Writes a line to stdout, at once.
pub(crate) fn say(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output(&error))
}
