//! One file per command.

use crate::{
    cli::{Cli, Command},
    exit::{Exit, Failure},
};
use clap::ArgMatches;

pub(crate) mod lock;
pub(crate) mod serve;

/// Does what a command says. `matches` know where each of its settings comes from.
pub(crate) fn execute(cli: &Cli, matches: &ArgMatches) -> Result<Exit, Failure> {
    let (_, settings) = matches.subcommand().expect("clap demands a command");
    match &cli.command {
        Command::Serve(args) => serve::execute(args, settings),
        Command::Lock(args) => lock::execute(args),
    }
}
