//! Pairs of lock and unlock a second, of Lockwright and of what else is installed here.
//!
//! ```sh
//! sh scripts/peers_bench.sh                          # in memory, on a disk, and of three nodes
//! sh scripts/peers_bench.sh --clients 1,64 --for 10s --only memory --json
//! ```
//!
//! Each server is started for the occasion (`servers`, `others`), alone, and each client takes a lock on a key of its
//! own and gives it back, again and again, on a connection of its own. Lockwright is measured by
//! `lockwright bench`; Redis with `SET NX PX` and the script that its documentation gives for unlocking;
//! PostgreSQL with its advisory locks; etcd through its HTTP gateway, since there is no smaller client
//! (`peers`). What is not installed is left out, and said so. Ratios of one run are what counts.

#[path = "../common/process.rs"]
mod process;
#[path = "../common/servers.rs"]
mod servers;

mod others;
mod peers;

use others::{Kind, Server};
use servers::{Servers, Storage};
use std::{
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

type Error = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "usage: peers_bench PROGRAM [--clients N,N..] [--for SECONDSs] [--only memory|disk|cluster] [--json]";

struct Options {
    program: String,
    clients: Vec<usize>,
    span: Duration,
    only: Option<Storage>,
    json: bool,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options, Error> {
    let mut args = std::env::args().skip(1);
    let mut options = Options {
        program: args.next().ok_or(USAGE)?,
        clients: vec![1, 16, 64],
        span: Duration::from_secs(3),
        only: None,
        json: false,
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--clients" => {
                let list = args.next().ok_or(USAGE)?;
                let parsed: Result<_, _> = list.split(',').map(str::parse).collect();
                options.clients = parsed?;
            }
            "--for" => {
                let text = args.next().ok_or(USAGE)?;
                options.span = Duration::from_secs(text.trim_end_matches('s').parse()?);
            }
            "--only" => {
                let storage = args.next().ok_or(USAGE)?;
                options.only = Some(Storage::named(&storage).ok_or(USAGE)?);
            }
            "--json" => options.json = true,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

/// What Lockwright is compared with, as it keeps its locks.
const ROWS: [(Storage, &[Kind]); 3] = [
    (Storage::Memory, &[Kind::Redis, Kind::Postgres]),
    (Storage::Disk, &[Kind::RedisAlways, Kind::Etcd]),
    (Storage::Cluster, &[Kind::EtcdCluster]),
];

fn run(options: &Options) -> Result<(), Error> {
    let is_wanted = |storage: Storage| options.only.is_none_or(|only| only == storage);
    for (storage, kinds) in ROWS.iter().filter(|(storage, _)| is_wanted(*storage)) {
        let row = storage.name();
        let own = own_rates(options, *storage)?;
        show(options, row, "Lockwright", &own, None);
        for kind in *kinds {
            let name = kind.name();
            if let Some(missing) = kind.missing() {
                eprintln!("left out: {name}, since there is no {missing} here");
                continue;
            }
            let rates = rates_of(options, *kind)?;
            show(options, row, name, &rates, Some(&own));
        }
    }
    Ok(())
}

/// Pairs a second of Lockwright, for each number of clients.
fn own_rates(options: &Options, storage: Storage) -> Result<Vec<f64>, Error> {
    let servers = Servers::start(&options.program, storage)?;
    let clients = options.clients.iter();
    clients
        .map(|clients| bench(options, &servers.addresses, *clients))
        .collect()
}

/// Pairs a second of another server, for each number of clients.
fn rates_of(options: &Options, kind: Kind) -> Result<Vec<f64>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let server = Server::start(kind)?;
    let addresses = server.addresses(kind);
    let clients = options.clients.iter();
    clients
        .map(|clients| runtime.block_on(measure(kind, &addresses, *clients, options.span)))
        .collect()
}

fn show(options: &Options, row: &str, name: &str, rates: &[f64], own: Option<&[f64]>) {
    for (index, (clients, rate)) in options.clients.iter().zip(rates).enumerate() {
        let times = own.map(|own| own[index] / rate);
        if options.json {
            let line = serde_json::json!({
                "storage": row, "server": name, "clients": clients, "pairs_per_second": rate.round(),
                "lockwright_is_times": times,
            });
            println!("{line}");
        } else {
            let times = times.map_or(String::new(), |times| {
                format!("; Lockwright {times:.2} times that")
            });
            println!("{row:8} {name:28} {clients:4} clients {rate:9.0} pairs/s{times}");
        }
    }
}

/// What `lockwright bench` says.
fn bench(options: &Options, addresses: &[String], clients: usize) -> Result<f64, Error> {
    let output = Command::new(&options.program)
        .args(["bench", "--json", "--server", &addresses.join(",")])
        .args(["--clients", &clients.to_string()])
        .args(["--for", &format!("{}s", options.span.as_secs())])
        .stderr(Stdio::inherit())
        .output()?;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let rate = said["per_second"].as_f64();
    rate.ok_or_else(|| "`lockwright bench` does not say how many pairs it did".into())
}

/// Pairs a second of so many clients.
async fn measure(
    kind: Kind,
    addresses: &[String],
    clients: usize,
    span: Duration,
) -> Result<f64, Error> {
    let mut peers = Vec::new();
    for (client, address) in addresses.iter().cycle().take(clients).enumerate() {
        peers.push(peers::connect(kind, address, client).await?);
    }
    let begin = Instant::now() + Duration::from_millis(500);
    let end = begin + span;
    let mut running = JoinSet::new();
    for mut peer in peers {
        running.spawn(async move {
            let mut pairs = 0_u32;
            loop {
                peer.pair().await?;
                let now = Instant::now();
                if now >= end {
                    return Ok::<u32, Error>(pairs);
                }
                pairs += u32::from(now >= begin);
            }
        });
    }
    let mut all = 0;
    while let Some(pairs) = running.join_next().await {
        all += pairs??;
    }
    Ok(f64::from(all) / span.as_secs_f64())
}
