//! Kills a server again and again, and checks that it keeps what it has acknowledged.
//!
//! ```sh
//! sh scripts/crash_test.sh           # 20 kills
//! sh scripts/crash_test.sh 500       # more
//! ```
//!
//! Clients take, renew and release locks over the session protocol, each in a session that outlives
//! the server, and take down what they were told (`ledger`). At a random moment the server gets
//! SIGKILL and is started again on the same data; the clients take up their sessions, and compare
//! (`client`). `server` is the process that is killed.
//!
//! With `--lose-rounds` each start finds the data of the start before, as if nothing had reached
//! the disk since: then it has to fail.

#[path = "../common/process.rs"]
mod process;

mod client;
mod ledger;
mod random;
mod server;

use ledger::Ledger;
use random::Random;
use server::Data;
use std::{
    cell::RefCell,
    process::ExitCode,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::LocalSet, time::sleep};

/// Clients; each has a session.
const CLIENTS: u32 = 16;

/// How long a server lives, in ms.
const LIFE_MS: std::ops::Range<u64> = 50..600;

/// How long clients are given to find their way after a start. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

type Error = Box<dyn std::error::Error>;

struct Options {
    program: String,
    rounds: u32,
    seed: u64,
    lose_rounds: bool,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("crash test: {error}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options, Error> {
    let usage = "usage: crash_test PROGRAM [--rounds N] [--seed N] [--lose-rounds]";
    let mut args = std::env::args().skip(1);
    let mut options = Options {
        program: args.next().ok_or(usage)?,
        rounds: 20,
        seed: u64::from(std::process::id()),
        lose_rounds: false,
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => options.rounds = args.next().ok_or(usage)?.parse()?,
            "--seed" => options.seed = args.next().ok_or(usage)?.parse()?,
            "--lose-rounds" => options.lose_rounds = true,
            _ => return Err(usage.into()),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let start = Instant::now();
    let data = Data::new()?;
    let local = LocalSet::new();
    let ran = local.block_on(&runtime, rounds(options, &data, &ledger));
    let ledger = ledger.borrow();
    if let Err(error) = ran {
        eprintln!("crash test: {error}");
    } else if ledger.violations.is_empty() {
        println!(
            "{} kills in {:.1} s: {}; all that was acknowledged is there",
            options.rounds,
            start.elapsed().as_secs_f64(),
            ledger.counts()
        );
        data.remove();
        return Ok(ExitCode::SUCCESS);
    }
    for violation in ledger.violations.iter().take(10) {
        println!("VIOLATION: {violation}");
    }
    println!(
        "{} violations; seed {}; the data is in {}",
        ledger.violations.len(),
        options.seed,
        data.path().display()
    );
    Ok(ExitCode::FAILURE)
}

/// Starts, loads and kills servers.
async fn rounds(options: &Options, data: &Data, ledger: &Rc<RefCell<Ledger>>) -> Result<(), Error> {
    let mut random = Random::new(options.seed);
    let (tell, told) = watch::channel(client::Phase::default());
    for number in 0..CLIENTS {
        let client = client::Client::new(number, random.fork(), ledger.clone());
        tokio::task::spawn_local(client.run(told.clone()));
    }
    for round in 0..=options.rounds {
        let server = server::start(&options.program, data)?;
        ledger.borrow_mut().back = 0;
        tell.send_replace(client::Phase {
            round: round + 1,
            address: server.address.clone(),
        });
        let waiting = Instant::now();
        // Whoever is back has compared.
        while ledger.borrow().back < CLIENTS {
            if !ledger.borrow().violations.is_empty() {
                return Ok(());
            }
            if waiting.elapsed() > PATIENCE {
                let back = ledger.borrow().back;
                return Err(format!("{back} of {CLIENTS} clients found their way").into());
            }
            sleep(Duration::from_millis(2)).await;
        }
        sleep(Duration::from_millis(random.within(LIFE_MS))).await;
        server::kill(server)?;
        if options.lose_rounds {
            data.lose_round()?;
        }
        if !ledger.borrow().violations.is_empty() {
            return Ok(());
        }
    }
    Ok(())
}
