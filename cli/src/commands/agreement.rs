//! Asking before what others have is ended.

use crate::exit::Failure;
use std::io::{IsTerminal, Write, stderr, stdin};

/// Whether there is anything to ask on.
///
/// # Errors
/// When there is not: `what` of others is to be ended.
pub(super) fn need_terminal(what: &str) -> Result<(), Failure> {
    if stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "this ends a {what} of another owner, and there is no terminal to ask on: give --yes"
    )))
}

/// Asks whether to go on. What cannot be asked is not agreed to.
pub(super) fn is_given(question: &str) -> bool {
    if write!(stderr(), "{question}? [y/N] ").is_err() {
        return false;
    }
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
