//! The exit codes, and why a command gives up: part of the interface, documented in `docs/cli.md`.

use std::{io, process::ExitCode};

/// How a command ended. The numbers are public and do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    /// It was done.
    pub(crate) const DONE: Exit = Exit(0);
    /// The server cannot start or go on, or refused what was asked.
    pub(crate) const REFUSED: Exit = Exit(1);
    /// The command line, the environment or the file of settings cannot be used.
    pub(crate) const USAGE: Exit = Exit(2);
    /// The server cannot be reached.
    pub(crate) const UNREACHABLE: Exit = Exit(69);
    /// The output cannot be written. What was asked may be done: the message says so.
    pub(crate) const NOT_WRITTEN: Exit = Exit(74);
    /// A bug.
    pub(crate) const INTERNAL: Exit = Exit(70);
    /// `lock`: the lock was lost, and the command ended for it.
    pub(crate) const LOST: Exit = Exit(123);
    /// `lock`: the lock was not to be had, or not in time.
    pub(crate) const NOT_ACQUIRED: Exit = Exit(124);
    /// `lock`: something else was wrong, not with the command.
    pub(crate) const LOCK_FAILED: Exit = Exit(125);
    /// `lock`: the command cannot be run.
    pub(crate) const CANNOT_RUN: Exit = Exit(126);
    /// `lock`: there is no such command.
    pub(crate) const NO_SUCH_COMMAND: Exit = Exit(127);

    /// Whether it is one of those that mean the same for every command but `lock`, where the
    /// command could have ended with them.
    pub(crate) fn is_of_all_commands(self) -> bool {
        [
            Exit::REFUSED,
            Exit::USAGE,
            Exit::UNREACHABLE,
            Exit::INTERNAL,
            Exit::NOT_WRITTEN,
        ]
        .contains(&self)
    }

    /// As shells tell of a process that a signal has ended.
    pub(crate) fn by_signal(signal: i32) -> Exit {
        Exit(u8::try_from(128 + signal).unwrap_or(u8::MAX))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.0)
    }
}

/// Why a command could not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is told on stderr, and the process ends with this code.
    Told {
        /// The exit code.
        exit: Exit,
        /// What was got, what was expected, and what to do.
        message: String,
    },
    /// Somebody else has told it already.
    Silent(Exit),
    /// Nobody reads the output any more: as for any filter, no failure.
    OutputClosed,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        let message = message.into();
        Failure::Told { exit, message }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::USAGE, message)
    }

    pub(crate) fn message(&self) -> Option<&str> {
        match self {
            Failure::Told { message, .. } => Some(message),
            Failure::Silent(_) | Failure::OutputClosed => None,
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Failure::Told { exit, .. } | Failure::Silent(exit) => *exit,
            Failure::OutputClosed => Exit::DONE,
        }
    }

    /// What the error of writing to stdout means.
    pub(crate) fn output(error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::OutputClosed
        } else {
            Failure::not_written(error, "")
        }
    }

    /// The output cannot be written, and what that means.
    pub(crate) fn not_written(error: &io::Error, meaning: &str) -> Failure {
        let message = format!("cannot write the output: {error}{meaning}");
        Failure::new(Exit::NOT_WRITTEN, message)
    }

    /// The same, of what was done before the output could not be written.
    pub(crate) fn but_done(self, done: &str) -> Failure {
        match self {
            Failure::Told { exit, message } if exit == Exit::NOT_WRITTEN => {
                Failure::new(exit, format!("{message}; {done}"))
            }
            other => other,
        }
    }
}
