//! The command line.

use crate::canary::Canary;
use crate::commands::{explain, live, model, regress, replay, run, script, shrink};
use clap::{Parser, Subcommand, ValueEnum};
use lockwright_sim::plan::Profile;

/// Hunts for bugs in Lockwright: randomized worlds, checked against the rules of its locks.
///
/// `run` draws one world after the other from consecutive seeds, on all cores, until one of them
/// breaks a rule. It makes that world as small as it can and writes it down as a trace, which
/// `replay` runs again exactly, on any machine.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Put a bug of this kind into the worlds, to see it found.
    #[arg(long, global = true, hide = true, value_name = "KIND")]
    pub canary: Option<Canary>,

    /// Let the stores of profile `fencing` check no tokens, to see it found.
    #[arg(long, global = true, hide = true)]
    pub unchecked_store: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
    0  clean
    1  a rule was broken (for replay: again)
    2  the command line or an input file cannot be read
    3  not deterministic: the same plan ran in two ways
   70  internal error
  130  interrupted, with what was done so far written";

/// The commands; each is a file of its own.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Hunt, until a rule is broken
    Run(run::Args),
    /// Hunt among real servers that are killed, stopped and cut off
    Live(live::Args),
    /// Check every order of events in a small world
    Model(model::Args),
    /// Run a trace, or one seed, again
    Replay(replay::Args),
    /// Make a trace as small as it can be
    Shrink(shrink::Args),
    /// Drive the engine by hand: JSON lines in, JSON lines out
    Script(script::Args),
    /// Replay every trace and script of a directory against what it expects
    Regress(regress::Args),
    /// Tell the story of a trace
    Explain(explain::Args),
}

/// A profile by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProfileArg {
    /// The engine alone, against the reference model
    Engine,
    /// One server and its clients over a simulated network
    Service,
    /// The same with a store, to which holders write with their tokens
    Fencing,
    /// Several servers that are one, their clients, and faults between all of them
    Cluster,
    /// One of the others, drawn for each seed
    Swarm,
}

impl From<ProfileArg> for Profile {
    fn from(arg: ProfileArg) -> Profile {
        match arg {
            ProfileArg::Engine => Profile::Engine,
            ProfileArg::Service => Profile::Service,
            ProfileArg::Fencing => Profile::Fencing,
            ProfileArg::Cluster => Profile::Cluster,
            ProfileArg::Swarm => Profile::Swarm,
        }
    }
}

/// The name of a profile, as it is given on the command line.
#[must_use]
pub fn profile_name(profile: Profile) -> &'static str {
    match profile {
        Profile::Engine => "engine",
        Profile::Service => "service",
        Profile::Fencing => "fencing",
        Profile::Cluster => "cluster",
        Profile::Swarm => "swarm",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
