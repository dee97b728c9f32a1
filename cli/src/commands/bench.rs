//! `lockwright bench`: how fast a server is.
//!
//! `connection` speaks the session protocol, a frame at a time and as cheaply as it can be done,
//! since it shares the machine with the server; `pairs` and `hand_off` are what is measured;
//! `spawned` is a server for the occasion, and `report` prints.

mod connection;
mod hand_off;
mod pairs;
mod report;
mod spawned;

use crate::{
    cli::{Format, Target},
    exit::{Exit, Failure},
    output, units,
};
use lockwright_client::DurationMs;
use report::Measured;
use spawned::Spawned;
use std::path::PathBuf;

/// Measure a server.
///
/// Each client has a connection and a session of its own. It takes a lock on a key of its own and
/// releases it, again and again: how many such pairs are done a second, and how long one takes.
/// With --hand-off all clients queue for one key: how many grants are made a second, and how long
/// it takes from a release until the next in the queue knows that the lock is theirs.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,

    /// Measure with so many clients; several numbers are measured one after the other
    #[arg(long, value_name = "N,N..", default_values_t = [1, 16, 64], value_delimiter = ',',
          value_parser = units::number(1..=10_000_u32))]
    clients: Vec<u32>,

    /// Measure for so long
    #[arg(long = "for", value_name = "D", default_value = "3s",
          value_parser = units::duration_above_zero)]
    span: DurationMs,

    /// Do not count what happens in the beginning
    #[arg(long, value_name = "D", default_value = "500ms", value_parser = units::duration)]
    warm_up: DurationMs,

    /// Each client takes so many keys in turn
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = units::number(1..=u32::MAX))]
    keys: u32,

    /// Let all clients queue for one key
    #[arg(long)]
    hand_off: bool,

    /// Start a server that keeps its locks in memory, and measure that
    #[arg(long)]
    spawn_memory: bool,

    /// Start a server that keeps its locks in a new directory within this one, and measure that
    #[arg(long, value_name = "DIR")]
    spawn_data: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  lockwright bench --spawn-memory
  lockwright bench --spawn-data /var/tmp --clients 64,256 --for 10s
  lockwright bench --server locks.example.net:9009 --hand-off --json
  lockwright bench --server lock1:9009,lock2:9009,lock3:9009      # clients spread over three nodes

Latencies are those that clients see, with the network and their own work.";

/// What to do with each number of clients.
struct Plan {
    /// Of the servers: the clients are spread over them.
    addresses: Vec<String>,
    namespace: String,
    clients: u32,
    keys: u32,
    warm_up: std::time::Duration,
    span: std::time::Duration,
}

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    if args.hand_off && args.clients.contains(&1) {
        let given = &args.clients;
        if given.len() == 1 {
            return Err(Failure::usage(
                "a hand-off takes two: give --clients 2 or more",
            ));
        }
    }
    let spawned = if args.spawn_memory {
        Some(Spawned::in_memory()?)
    } else {
        let directory = args.spawn_data.as_deref();
        directory.map(Spawned::in_directory).transpose()?
    };
    let addresses = match &spawned {
        Some(spawned) => vec![spawned.address().clone()],
        None => args.target.servers.clone(),
    };
    // What cannot be had shows when it is needed.
    let _ = crate::os::allow_open_files(10_064);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::REFUSED, format!("cannot start: {error}")))?;
    let mut first = true;
    for &clients in args
        .clients
        .iter()
        .filter(|clients| !args.hand_off || **clients > 1)
    {
        let plan = Plan {
            addresses: addresses.clone(),
            namespace: args.target.namespace.as_str().to_owned(),
            clients,
            keys: args.keys,
            warm_up: units::std(args.warm_up),
            span: units::std(args.span),
        };
        let measured: Result<Measured, connection::BenchError> = runtime.block_on(async {
            if args.hand_off {
                hand_off::measure(&plan).await
            } else {
                pairs::measure(&plan).await
            }
        });
        let measured = measured.map_err(|error| error.failure(&addresses.join(",")))?;
        if args.format.json {
            output::say(&measured.json())?;
        } else {
            if first {
                output::say(&measured.heading())?;
            }
            output::say(&measured.row())?;
        }
        first = false;
    }
    Ok(Exit::DONE)
}
