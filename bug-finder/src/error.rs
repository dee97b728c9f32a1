//! Why a command gives up, and the exit codes: part of the interface, documented in
//! `docs/bug-finder.md`.

use std::io;
use std::process::ExitCode;

/// How a command ended. The numbers are public and do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Nothing was found.
    Clean = 0,
    /// A rule was broken; for `replay`: again.
    Violation = 1,
    /// The command line or an input file cannot be read.
    Usage = 2,
    /// The same plan did not run the same way twice.
    Nondeterministic = 3,
    /// The finder itself failed.
    Internal = 70,
    /// Asked to end; what was done so far is written.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The input is at fault; the message says what to do.
    #[error("{0}")]
    Usage(String),
    /// Nobody reads the output any more.
    #[error("the output is closed")]
    OutputClosed,
    /// The system, or the finder, is at fault.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// The exit code that goes with it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Usage(_) => Exit::Usage,
            // As for any filter whose reader has had enough.
            Failure::OutputClosed => Exit::Clean,
            Failure::Internal(_) => Exit::Internal,
        }
    }
}

impl From<lockwright_sim::trace::TraceError> for Failure {
    fn from(error: lockwright_sim::trace::TraceError) -> Failure {
        Failure::Usage(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::OutputClosed
        } else {
            Failure::Internal(error.to_string())
        }
    }
}
