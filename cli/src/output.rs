//! Stdout is data: what cannot be written there is never taken for written. Stderr is for people.

use crate::{exit::Failure, os, stderr};
use lockwright_client::is_hidden;
use nix::{errno::Errno, unistd};
use std::io;

/// Writes a line to stdout, at once.
pub(crate) fn say(line: &str) -> Result<(), Failure> {
    write_line(line).map_err(|error| Failure::output(&error))
}

/// Writes a line to stdout, at once, and leaves it to the caller what a failure means.
///
/// # Errors
/// What the system says, also of a stdout that is closed or cannot be written to, and of a pipe
/// that nobody reads.
pub(crate) fn write_line(line: &str) -> io::Result<()> {
    write(format!("{line}\n").as_bytes())
}

/// Says a line to people, on stderr, in one piece. A stderr that takes nothing is no reason to do
/// anything else than otherwise, nor to wait for it longer than a second: the exit code says what there is
/// to say.
pub(crate) fn tell(line: &str) {
    let _ = stderr::say(format!("{line}\n").as_bytes());
}

/// A text that others have chosen, for a terminal: with an escape for each character that a terminal
/// would act on instead of showing it.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match is_hidden(character) {
            true => shown.extend(character.escape_unicode()),
            false => shown.push(character),
        }
    }
    shown
}

/// Writes to stdout, at once.
///
/// # Errors
/// As [`write_line`].
pub(crate) fn write(mut bytes: &[u8]) -> io::Result<()> {
    if os::stdout_is_closed() {
        return Err(Errno::EBADF.into());
    }
    // The library's own stdout takes one that cannot be written to for one that swallows all.
    let out = io::stdout().lock();
    while !bytes.is_empty() {
        match unistd::write(&out, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
