//! How long others wait while a server does something large.
//!
//! ```sh
//! sh scripts/stall_bench.sh                      # in memory, on a disk, and as three nodes
//! sh scripts/stall_bench.sh --storage memory --locks 100000 --json
//! ```
//!
//! One session holds many locks (`session`). While the server answers, saves, or ends them, a prober
//! takes and releases a lock of its own on another connection, a millisecond after the last time, and notes how
//! long each pair took (`prober`). What is printed is the worst of those pairs, beside how long the large
//! thing itself took.

#[path = "../common/process.rs"]
mod process;
#[path = "../common/servers.rs"]
mod servers;

mod prober;
mod session;

use prober::{Prober, Seen};
use servers::{Servers, Storage};
use session::Session;
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

type Error = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "usage: stall_bench PROGRAM [--locks N] [--storage memory|disk|cluster]... [--only PART] [--json]";

/// For how long the server is watched while it has nothing large to do.
const A_WHILE: Duration = Duration::from_secs(2);

/// For how long it is watched after each large thing.
const AFTERWARDS: Duration = Duration::from_millis(300);

struct Options {
    program: String,
    locks: u32,
    storages: Vec<Storage>,
    only: Option<String>,
    json: bool,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stall bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options, Error> {
    let mut args = std::env::args().skip(1);
    let mut options = Options {
        program: args.next().ok_or(USAGE)?,
        locks: 1_000_000,
        storages: Vec::new(),
        only: None,
        json: false,
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--locks" => options.locks = args.next().ok_or(USAGE)?.parse()?,
            "--storage" => {
                let storage = args.next().ok_or(USAGE)?;
                options
                    .storages
                    .push(Storage::named(&storage).ok_or(USAGE)?);
            }
            "--only" => options.only = Some(args.next().ok_or(USAGE)?),
            "--json" => options.json = true,
            _ => return Err(USAGE.into()),
        }
    }
    if options.storages.is_empty() {
        options.storages = Storage::ALL.to_vec();
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for storage in &options.storages {
        let servers = Servers::start(&options.program, *storage)?;
        let bench = Bench {
            options,
            storage: *storage,
            address: &servers.addresses[0],
            prober: Prober::start(&servers.addresses[0])?,
        };
        runtime.block_on(bench.all())?;
    }
    Ok(())
}

/// The measurements of one kind of server.
struct Bench<'a> {
    options: &'a Options,
    storage: Storage,
    address: &'a str,
    prober: Prober,
}

impl Bench<'_> {
    async fn all(&self) -> Result<(), Error> {
        self.measure("nothing", rest()).await?;
        let address = self.address;
        let mut session = Session::open(address).await?;
        let locks = self.options.locks;
        self.measure("taking the locks", session.fill(locks))
            .await?;
        self.measure("nothing, beside them", rest()).await?;
        for (what, target) in [
            ("GET /v1/stats", "/v1/stats"),
            ("GET /v1/namespaces", "/v1/namespaces"),
            ("GET /v1/sessions", "/v1/sessions"),
            ("GET /stats_v1", "/stats_v1?namespace=default"),
            ("GET /metrics", "/metrics"),
            ("GET /v1/locks, the largest page", "/v1/locks?limit=1000"),
            ("GET /lock/, one of them", "/lock/stalls/0/0"),
            ("GET /v1/fence, over all of them", "/v1/fence?key=stalls"),
            ("GET /v1/locks/.., over all of them", "/v1/locks/stalls"),
        ] {
            self.measure(what, session::get(address, target)).await?;
        }
        self.measure("GET /v1/locks, all pages", session::all_pages(address))
            .await?;
        self.measure("resuming the session", session.resume(address))
            .await?;
        // A snapshot comes after 10,000 entries: a slow disk may need longer for one.
        self.measure("snapshots, under load", session::load(address, A_WHILE * 4))
            .await?;
        // Its connection was idle for too long.
        session.resume(address).await?;
        tokio::time::sleep(AFTERWARDS).await;
        self.measure("closing the session", session.close()).await
    }

    /// Does something, and shows how long the prober waited meanwhile, and a little longer.
    async fn measure(
        &self,
        what: &str,
        doing: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        let _ = self.prober.take()?;
        let start = Instant::now();
        doing.await?;
        let took = start.elapsed();
        tokio::time::sleep(AFTERWARDS).await;
        let seen = self.prober.take()?;
        let is_shown = self.options.only.as_ref();
        if is_shown.is_none_or(|only| what.contains(only.as_str())) {
            self.show(what, took, &seen);
        }
        Ok(())
    }

    fn show(&self, what: &str, took: Duration, seen: &Seen) {
        let storage = self.storage.name();
        let (took, worst) = (took.as_secs_f64() * 1e3, seen.worst.as_secs_f64() * 1e3);
        let (usual, probes) = (seen.median.as_secs_f64() * 1e3, seen.probes);
        if self.options.json {
            let row = serde_json::json!({
                "storage": storage, "what": what, "took_ms": took, "worst_ms": worst,
                "median_ms": usual, "probes": probes,
            });
            println!("{row}");
        } else {
            println!(
                "{storage:8} {what:42} took {took:9.1} ms; of {probes:6} pairs the worst {worst:8.2} ms, \
                 the median {usual:6.2} ms"
            );
        }
    }
}

/// Leaves the server alone for a while.
async fn rest() -> Result<(), Error> {
    tokio::time::sleep(A_WHILE).await;
    Ok(())
}
