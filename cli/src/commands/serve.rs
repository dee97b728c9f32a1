//! `lockwright serve`: the server.

mod cluster;

use crate::{
    cli,
    exit::{Exit, Failure},
    logging::{self, LogFormat, LogLevel},
    os, output, secrets, units,
};
use cluster::Cluster;
use lockwright_client::DurationMs;
use lockwright_env::{TokioEnv, timeout};
use lockwright_server::{CONNECTIONS_RESERVE, Drain, Limits, Server, ServerConfig, Storage};
use nix::sys::signal::Signal as NixSignal;
use std::{io, num::NonZeroU32, path::PathBuf, time::Duration};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{error, info, warn};

/// Run the server.
///
/// It says `listening on ADDR` on stdout as soon as it serves, and logs on stderr. SIGTERM or
/// Ctrl-C ends it: it takes no more connections, answers what it was asked before, and closes those
/// that are open, which ends no session; a second signal ends it at once. With --drain locks it
/// grants nothing new and stays, before all that, until what is held has been released or has
/// expired. Nothing that was answered is lost in any case.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where to listen, as host:port; port 0 takes a free one [default: 127.0.0.1:9009, or of a
    /// node of a cluster its client address in --peers]
    #[arg(long, value_name = "ADDR", value_parser = cli::address)]
    listen: Option<String>,

    /// Keep locks, sessions and tokens in this directory; it is created if it is not there
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Keep everything in memory: a restart forgets all locks
    #[arg(long)]
    memory: bool,

    /// What a server that is told to end waits for; in a cluster the other voters keep the locks, and
    /// there is nothing to wait for but answers
    #[arg(long, value_name = "WHAT", default_value = "answers")]
    drain: DrainFor,

    /// How long a server that is told to end waits for that at most
    #[arg(long, value_name = "D", default_value = "5s", value_parser = units::duration)]
    drain_timeout: DurationMs,

    /// How log lines are written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,

    /// What is logged
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: LogLevel,

    #[command(flatten)]
    usage: UsageLog,

    #[command(flatten)]
    access: Access,

    #[command(flatten)]
    cluster: Cluster,

    #[command(flatten)]
    connections: Connections,

    #[command(flatten)]
    limits: EngineLimits,
}

/// What else is logged, at level info.
#[derive(Debug, clap::Args)]
struct UsageLog {
    /// Log this often how many connections, sessions, held locks and queued requests there are, and
    /// what was granted and had to wait since the last time
    #[arg(long, value_name = "D", value_parser = units::duration_above_zero)]
    stats_interval: Option<DurationMs>,

    /// Log the begin and the end of each session
    #[arg(long)]
    log_clients: bool,

    /// Log the grant and the end of each lock: namespace, owner, paths, token, how long it waited and
    /// was held, and how it ended
    #[arg(long)]
    log_locks: bool,
}

/// Who may ask the server.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Access")]
struct Access {
    /// Another name by which clients reach the server, without a port; *.example.net is all below one, * every
    /// name. Addresses, localhost, this machine's name, and what --listen and --peers name, are known. Requests
    /// for other names are refused: a web page may have been given the server's address
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', value_parser = cli::host)]
    allow_host: Vec<String>,

    /// Origins of web pages that may use the server from a browser, such as `https://example.net`; * is all.
    /// Those of others are refused
    #[arg(long, value_name = "ORIGIN,..", value_delimiter = ',', value_parser = cli::origin)]
    allow_origin: Vec<String>,

    /// The file with a secret that operators must send to break locks, end sessions, and change the
    /// cluster (as `Authorization: Bearer`, or with the same option of those commands). Without it only a server
    /// that listens on loopback does that, for everybody
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
}

/// How much connections may do.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits of connections")]
struct Connections {
    /// A connection that nothing comes from for this long is closed
    #[arg(long, value_name = "D", default_value = "10s", value_parser = units::duration_above_zero)]
    idle_timeout: DurationMs,

    /// How long a session outlives its connection that names no abandon timeout
    #[arg(long, value_name = "D", default_value = "60s", value_parser = units::duration)]
    default_abandon_timeout: DurationMs,

    /// Connections that may be open at once; 32 more are for health checks and operators
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = units::number(1..=usize::MAX))]
    connections_max: usize,

    /// How many of them one address may have [default: nine tenths]
    #[arg(long, value_name = "N", value_parser = units::number(1..=usize::MAX))]
    connections_per_address_max: Option<usize>,

    /// Bytes of the largest message that is read
    #[arg(long, value_name = "N", default_value_t = 1 << 20, value_parser = units::number(1..=usize::MAX))]
    message_bytes_max: usize,

    /// Bytes that the server holds of messages that have not come to their ends, of all connections together,
    /// beyond 16 KiB of each; not less than those of the largest message
    #[arg(long, value_name = "N", default_value_t = 256 << 20, value_parser = units::number(0..=usize::MAX))]
    unread_bytes_max: usize,

    /// Messages that may wait to be sent on one connection, at least 2
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = units::number(2..=usize::MAX))]
    outgoing_max: usize,

    /// Entries of the log after which a snapshot is taken
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = units::number(0..=u64::MAX))]
    snapshot_entries: u64,
}

/// How much the engine takes on.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits of locks")]
struct EngineLimits {
    /// Claims that one request may ask for
    #[arg(long, value_name = "N", default_value_t = Limits::default().claims_per_request, value_parser = units::number(0..=u32::MAX))]
    claims_per_request: u32,

    /// Segments that a path may have
    #[arg(long, value_name = "N", default_value_t = Limits::default().segments_per_path, value_parser = units::number(0..=u32::MAX))]
    segments_per_path: u32,

    /// Bytes that a segment may have
    #[arg(long, value_name = "N", default_value_t = Limits::default().bytes_per_segment, value_parser = units::number(0..=u32::MAX))]
    bytes_per_segment: u32,

    /// Requests that may be queued with a claim on exactly one path
    #[arg(long, value_name = "N", default_value_t = Limits::default().queued_requests_per_path, value_parser = units::number(0..=u32::MAX))]
    queued_requests_per_path: u32,

    /// Requests, held or queued, that one owner may have
    #[arg(long, value_name = "N", default_value_t = Limits::default().locks_per_owner, value_parser = units::number(0..=u32::MAX))]
    locks_per_owner: u32,

    /// Sessions that may be open at once
    #[arg(long, value_name = "N", default_value_t = Limits::default().sessions, value_parser = units::number(0..=u32::MAX))]
    sessions: u32,

    /// Namespaces that may be in use at once
    #[arg(long, value_name = "N", default_value_t = Limits::default().namespaces, value_parser = units::number(0..=u32::MAX))]
    namespaces: u32,

    /// How long the end of a request is remembered, so that asking again is recognised
    #[arg(long, value_name = "D", default_value = "60s", value_parser = units::duration)]
    retention: DurationMs,

    /// Requests of an ending session that end in one millisecond
    #[arg(long, value_name = "N", default_value_t = Limits::default().session_ends_per_ms, value_parser = units::number(NonZeroU32::MIN..=NonZeroU32::MAX))]
    session_ends_per_ms: NonZeroU32,
}

/// What a server that is told to end waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum DrainFor {
    /// It answers what it was asked before
    Answers,
    /// It grants nothing new, and stays until no locks are held any more
    Locks,
}

impl From<DrainFor> for Drain {
    fn from(drain: DrainFor) -> Drain {
        match drain {
            DrainFor::Answers => Drain::Answers,
            DrainFor::Locks => Drain::Locks,
        }
    }
}

/// Where a server listens that is told nothing of it.
const LISTEN: &str = "127.0.0.1:9009";

const EXAMPLES: &str = "\
Examples:
  lockwright serve --memory
  lockwright serve --data /var/lib/lockwright --listen 0.0.0.0:9009 --log-format json
  lockwright serve --data /var/lib/lockwright --id 1 \\
    --peers 1=db1:7401/db1:9009,2=db2:7401/db2:9009,3=db3:7401/db3:9009

Exit codes:
    0  it was told to end, and has
    1  it cannot start, or cannot go on: the message says why, and what to do
    2  the command line, the environment or the file cannot be used
   70  a bug
  130, 143  ended at once by a second Ctrl-C or SIGTERM";

/// How much longer than it should take a server is given to end.
const STUCK: Duration = Duration::from_secs(5);

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let storage = storage(args)?;
    let mut config = config(args, storage)?;
    config.allowed_hosts.extend(os::host_name());
    // Its caller may have blocked them, and then it could not be ended.
    os::unblock([NixSignal::SIGTERM, NixSignal::SIGINT])
        .map_err(|error| Failure::new(Exit::REFUSED, format!("cannot start: {error}")))?;
    let _flush = logging::start(args.log_format, args.log_level).map_err(no_threads)?;
    make_room(&mut config);
    let runtime = runtime().map_err(no_threads)?;
    let served = runtime.block_on(serve(config, args.drain_timeout));
    // What is still there waits for the network, and nobody waits for it.
    runtime.shutdown_background();
    served
}

/// Sees to it that connections leave open files to what the server needs itself: without one for the next
/// piece of its log it would have to stop.
fn make_room(config: &mut ServerConfig) {
    /// The data, the listeners, the log, the event loop.
    const OWN: usize = 64;
    /// Links of other nodes, and those that are about to be.
    const LINKS: usize = 384;
    let own = match &config.cluster {
        Some(_) => OWN + CONNECTIONS_RESERVE + LINKS,
        None => OWN + CONNECTIONS_RESERVE,
    };
    let wanted = config.connections_max.saturating_add(own);
    let Some(allowed) = os::allow_open_files(wanted).filter(|allowed| *allowed < wanted) else {
        return;
    };
    // Links are not many at once but when somebody floods the port for nodes.
    let half = (allowed / 2).saturating_sub(CONNECTIONS_RESERVE);
    let left = allowed.saturating_sub(own).max(half).max(1);
    warn!(
        connections_max = config.connections_max,
        open_files = allowed,
        "the system allows too few open files for so many connections: {left} are taken. Raise the limit (ulimit \
         -n), or say --connections-max {left}"
    );
    config.connections_max = left;
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what an error is mapped with"
)]
fn no_threads(error: io::Error) -> Failure {
    Failure::new(Exit::REFUSED, format!("cannot start threads: {error}"))
}

/// What the server runs on: one thread. Every request passes through the one task that decides the
/// order, so that a second thread adds wake-ups and no work that could be done beside it. The disk
/// has a thread of its own.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Where it keeps its state. That not both are given is seen to by the settings.
fn storage(args: &Args) -> Result<Storage, Failure> {
    match &args.data {
        Some(directory) => Ok(Storage::Directory(directory.clone())),
        None if args.memory => Ok(Storage::Memory),
        None => Err(Failure::usage(
            "where should the server keep its locks? Give --data DIR, and they survive a restart, \
             or --memory, and they do not",
        )),
    }
}

fn config(args: &Args, storage: Storage) -> Result<ServerConfig, Failure> {
    let listen = args.listen.as_deref();
    let listen = listen.or(args.cluster.client_address());
    let mut config = ServerConfig::new(listen.unwrap_or(LISTEN));
    config.cluster = args.cluster.config(&storage)?;
    config.storage = storage;
    let connections = &args.connections;
    config.idle_timeout = units::std(connections.idle_timeout);
    config.default_abandon_timeout = units::std(connections.default_abandon_timeout);
    config.connections_max = connections.connections_max;
    config.connections_per_address_max = connections.connections_per_address_max;
    config.message_bytes_max = connections.message_bytes_max;
    config.unread_bytes_max = connections.unread_bytes_max;
    config.outgoing_max = connections.outgoing_max;
    config.snapshot_entries = connections.snapshot_entries;
    config.stats_interval = args.usage.stats_interval.map(units::std);
    config.log_clients = args.usage.log_clients;
    config.log_locks = args.usage.log_locks;
    config.allowed_hosts.clone_from(&args.access.allow_host);
    config.allowed_origins.clone_from(&args.access.allow_origin);
    let token = args.access.admin_token_file.as_deref();
    config.admin_token = secrets::read_if_given("--admin-token-file", token)?;
    config.drain = args.drain.into();
    config.drain_timeout = units::std(args.drain_timeout);
    let limits = &args.limits;
    config.limits = Limits {
        claims_per_request: limits.claims_per_request,
        segments_per_path: limits.segments_per_path,
        bytes_per_segment: limits.bytes_per_segment,
        queued_requests_per_path: limits.queued_requests_per_path,
        locks_per_owner: limits.locks_per_owner,
        sessions: limits.sessions,
        namespaces: limits.namespaces,
        retention: limits.retention,
        session_ends_per_ms: limits.session_ends_per_ms,
    };
    Ok(config)
}

async fn serve(config: ServerConfig, drain: DurationMs) -> Result<Exit, Failure> {
    let fatal = |error: &dyn std::fmt::Display| Failure::new(Exit::REFUSED, error.to_string());
    let mut interrupts = Interrupts::catch().map_err(|error| fatal(&error))?;
    let storage = config.storage.clone();
    let binding = Server::bind(TokioEnv, config);
    let server = tokio::select! {
        biased;
        signal = interrupts.next() => return Ok(Exit::by_signal(signal)),
        bound = binding => bound.map_err(|error| fatal(&error))?,
    };
    let address = server.local_address().map_err(|error| fatal(&error))?;
    let handle = server.handle();
    let mut serving = Box::pin(server.run());
    info!(%address, ?storage, version = env!("CARGO_PKG_VERSION"), "the server listens");
    announce(&format!("listening on {address}"));
    let ended = tokio::select! {
        biased;
        signal = interrupts.next() => {
            info!(signal, "told to end");
            handle.shutdown();
            None
        }
        served = &mut serving => Some(served),
    };
    let ended = match ended {
        Some(served) => Some(served),
        None => tokio::select! {
            biased;
            signal = interrupts.next() => {
                warn!(signal, "told to end at once");
                return Ok(Exit::by_signal(signal));
            }
            served = timeout(&TokioEnv, units::std(drain) + STUCK, serving) => served.ok(),
        },
    };
    match ended {
        Some(Ok(())) => info!("the server has ended"),
        None => warn!("the server ends, and leaves connections that would not"),
        Some(Err(error)) => {
            error!(%error, "the server cannot go on");
            return Err(fatal(&error));
        }
    }
    Ok(Exit::DONE)
}

/// Says it to whoever waits for it. A server that nobody listens to on stdout serves all the same.
fn announce(line: &str) {
    if output::say(line).is_err() {
        warn!("stdout is closed");
    }
}

/// SIGTERM and Ctrl-C.
struct Interrupts {
    terminate: Signal,
    interrupt: Signal,
}

impl Interrupts {
    fn catch() -> io::Result<Interrupts> {
        Ok(Interrupts {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The number of the next one.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches};

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let command = Args::augment_args(clap::Command::new("serve"));
        let matches = command.get_matches_from(["serve", "--memory"]);
        let args = Args::from_arg_matches(&matches).unwrap();
        let ours = config(&args, storage(&args).unwrap()).unwrap();
        let theirs = ServerConfig::new(LISTEN);
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }
}
