//! One file per subcommand.

use crate::canary::WithCanary;
use crate::cli::Command;
use crate::error::{Exit, Failure};
use crate::os::Interrupts;
use crate::world::SimWorld;
use std::io::Write;

pub mod explain;
pub mod live;
pub mod model;
pub mod regress;
pub mod replay;
pub mod run;
pub mod script;
pub mod shrink;

/// What every command works with.
#[derive(Debug)]
pub struct Context {
    /// The worlds.
    pub world: WithCanary<SimWorld>,
    /// Ctrl-C.
    pub interrupts: Interrupts,
}

/// Does what a command says.
///
/// # Errors
/// When it cannot be done: see [`Failure`].
pub fn execute(command: &Command, context: &Context) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => run::execute(args, context),
        Command::Live(args) => live::execute(args, context),
        Command::Model(args) => model::execute(args, context),
        Command::Replay(args) => replay::execute(args, context),
        Command::Shrink(args) => shrink::execute(args, context),
        Command::Script(args) => script::execute(args),
        Command::Regress(args) => regress::execute(args, context),
        Command::Explain(args) => explain::execute(args, context),
    }
}

/// Writes a line to stdout, at once.
///
/// # Errors
/// [`Failure::OutputClosed`] when nobody reads.
pub fn say(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// How many children to run at once when nothing is said: one per core.
#[must_use]
pub fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
