//! The bug finder: runs randomized worlds of Lockwright until one of them breaks a rule.
//!
//! Read [`sweep`] first, the hunt itself, and [`world`], all that it knows of what it hunts in.
//! A hunt forks children ([`pool`], [`os`]) that run seeds ([`worker`]) and answer over a pipe
//! ([`frame`]); what they find is looked into as a [`case`], with [`shrink`] and [`trials`].
//! [`live`] hunts among real processes instead. [`commands`] holds one file per subcommand.
//!
//! It is a library only so that its tests can hunt in worlds of their own.

pub mod canary;
pub mod case;
pub mod cli;
pub mod commands;
pub mod error;
pub mod frame;
pub mod last_words;
pub mod live;
pub mod os;
pub mod patience;
pub mod pool;
pub mod queue;
pub mod shrink;
pub mod status;
pub mod sweep;
pub mod trials;
pub mod units;
pub mod worker;
pub mod world;

use crate::canary::WithCanary;
use crate::commands::Context;
use crate::error::{Exit, Failure};
use crate::world::SimWorld;
use clap::Parser;
use std::process::ExitCode;

/// Reads the command line, does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let done = std::panic::catch_unwind(|| {
        let context = Context {
            world: WithCanary {
                inner: SimWorld {
                    store_unchecked: cli.unchecked_store,
                },
                canary: cli.canary,
            },
            interrupts: os::Interrupts::catch()?,
        };
        commands::execute(&cli.command, &context)
    });
    let exit = match done {
        Ok(Ok(exit)) => exit,
        Ok(Err(failure)) => {
            match &failure {
                Failure::Usage(_) => eprintln!("error: {failure}"),
                Failure::OutputClosed => {}
                Failure::Internal(_) => eprintln!("internal error: {failure}"),
            }
            failure.exit()
        }
        Err(_) => {
            eprintln!(
                "internal error: the bug finder itself panicked (above); please report it, with \
                 the command line and this output"
            );
            Exit::Internal
        }
    };
    exit.into()
}
