//! The program of Lockwright: `lockwright serve` is the server, `lockwright lock` holds a lock
//! while a command runs, and the rest is for operators.
//!
//! [`cli`] is what can be typed, `settings` fills in what the environment and a file say, and
//! `commands` has one file per command. `exit` has the exit codes, which are public.

mod cli;
mod commands;
mod exit;
mod http;
mod label;
mod logging;
mod os;
mod output;
mod panics;
mod secrets;
mod settings;
mod stderr;
mod units;

use exit::{Exit, Failure};
use std::{ffi::OsString, process::ExitCode};

fn main() -> ExitCode {
    panics::say_plainly();
    let args: Vec<OsString> = std::env::args_os().collect();
    let exit = match panics::catch(|| run(&args)) {
        Some(Ok(exit)) => exit,
        Some(Err(failure)) => {
            if let Some(message) = failure.message() {
                output::tell(&format!("error: {message}"));
            }
            match failure.exit() {
                Exit::DONE => Exit::DONE,
                exit => of_command(exit, &args),
            }
        }
        None => of_command(Exit::INTERNAL, &args),
    };
    exit.into()
}

fn run(args: &[OsString]) -> Result<Exit, Failure> {
    commands::execute(&settings::read(args)?)
}

/// The exit code of something that went wrong. `lock` has the codes of its command, and those that
/// tell its own failures from them.
fn of_command(exit: Exit, args: &[OsString]) -> Exit {
    if exit.is_of_all_commands() && settings::is_lock(args) {
        Exit::LOCK_FAILED
    } else {
        exit
    }
}
