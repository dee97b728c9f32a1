//! The program of Lockwright: `lockwright serve` is the server, `lockwright lock` holds a lock
//! while a command runs, and the rest is for operators.
//!
//! [`cli`] is what can be typed, `settings` fills in what the environment and a file say, and
//! `commands` has one file per command. `exit` has the exit codes, which are public.

mod cli;
mod commands;
mod exit;
mod http;
mod logging;
mod os;
mod output;
mod panics;
mod settings;
mod units;

use exit::{Exit, Failure};
use std::process::ExitCode;

fn main() -> ExitCode {
    panics::say_plainly();
    let exit = match panics::catch(run) {
        Some(Ok(exit)) => exit,
        Some(Err(failure)) => {
            if let Some(message) = failure.message() {
                eprintln!("error: {message}");
            }
            failure.exit()
        }
        None => Exit::INTERNAL,
    };
    exit.into()
}

fn run() -> Result<Exit, Failure> {
    let (command, matches) = settings::read(std::env::args_os())?;
    commands::execute(&command, &matches)
}
