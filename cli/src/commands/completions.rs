//! `lockwright completions`: for shells.

use crate::{
    exit::{Exit, Failure},
    output, settings,
};
use clap_complete::Shell;

/// Print what a shell needs to complete command lines.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which shell
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  lockwright completions bash >~/.local/share/bash-completion/completions/lockwright
  lockwright completions fish >~/.config/fish/completions/lockwright.fish";

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut settings::command(),
        "lockwright",
        &mut script,
    );
    output::write(&script).map_err(|error| Failure::output(&error))?;
    Ok(Exit::DONE)
}
