//! One file per command.

use crate::{
    cli::{Cli, Command},
    exit::{Exit, Failure},
};

pub(crate) mod acquire;
mod agreement;
pub(crate) mod bench;
pub(crate) mod break_lock;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod end_session;
pub(crate) mod inspect;
pub(crate) mod lock;
pub(crate) mod ls;
pub(crate) mod namespaces;
pub(crate) mod release;
pub(crate) mod renew;
pub(crate) mod serve;
pub(crate) mod sessions;
pub(crate) mod stats;
pub(crate) mod watch;

/// Does what a command says.
pub(crate) fn execute(cli: &Cli) -> Result<Exit, Failure> {
    match &cli.command {
        Command::Serve(args) => serve::execute(args),
        Command::Lock(args) => lock::execute(args),
        Command::Acquire(args) => acquire::execute(args),
        Command::Renew(args) => renew::execute(args),
        Command::Release(args) => release::execute(args),
        Command::Ls(args) => ls::execute(args),
        Command::Inspect(args) => inspect::execute(args),
        Command::Break(args) => break_lock::execute(args),
        Command::Watch(args) => watch::execute(args),
        Command::Sessions(args) => sessions::execute(args),
        Command::EndSession(args) => end_session::execute(args),
        Command::Namespaces(args) => namespaces::execute(args),
        Command::Stats(args) => stats::execute(args),
        Command::Cluster(args) => cluster::execute(args),
        Command::Bench(args) => bench::execute(args),
        Command::Completions(args) => completions::execute(args),
    }
}
