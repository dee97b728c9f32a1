//! A holder is paused for longer than its lease, wakes up, and writes: the story of Martin Kleppmann's
//! article "How to do distributed locking", with real processes.
//!
//! ```sh
//! cargo run -p lockwright-client --example fencing                     # the store refuses the write
//! cargo run -p lockwright-client --example fencing -- --without-check  # the store is overwritten
//! ```
//!
//! Alice, bob, and the lock server with the store are processes of their own, this program started
//! again; alice is stopped with SIGSTOP right after she has looked whether the lock is still hers.
//! Exit code 0: what bob wrote is there. 1: a write of alice, whose lock was long over, has replaced
//! it. 2: the story could not be told.

use lockwright_client::{AcquireRequest, Client, ClientConfig, Lock, fence::Fence};
use lockwright_engine::{DurationMs, Token};
use lockwright_env::TokioEnv;
use lockwright_server::{Server, ServerConfig};
use std::{
    error::Error,
    io::{self, BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

const RESOURCE: &str = "reports/2026";
const LEASE: DurationMs = DurationMs::from_secs(1);

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let told = match words[..] {
        [] => story(CHECK),
        [WITHOUT_CHECK] => story(WITHOUT_CHECK),
        ["servers", check] => wait_for(servers(check == CHECK)).map(|()| true),
        ["alice", server, store] => wait_for(alice(server, store)).map(|()| true),
        ["bob", server, store] => wait_for(bob(server, store)).map(|()| true),
        _ => Err(format!("the only argument is {WITHOUT_CHECK}").into()),
    };
    match told {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => {
            eprintln!("fencing: {failure}");
            ExitCode::from(2)
        }
    }
}

const CHECK: &str = "--check";
const WITHOUT_CHECK: &str = "--without-check";

fn wait_for<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build()?.block_on(future)
}

/// Tells the story. Gives whether the store has what the last holder wrote.
fn story(check: &str) -> Result<bool, Failure> {
    let does = if check == CHECK {
        "checks"
    } else {
        "does not check"
    };
    println!("the store {does} tokens");
    let mut servers = Process::start("servers", &[check])?;
    let addresses = servers.line()?;
    let addresses: Vec<&str> = addresses.split(' ').collect();

    let mut alice = Process::start("alice", &addresses)?;
    alice.echo_until("it is mine")?;
    alice.kill("-STOP")?;
    println!("(alice's process is stopped)");

    let mut bob = Process::start("bob", &addresses)?;
    bob.echo_until("done")?;

    alice.kill("-CONT")?;
    println!("(alice's process goes on)");
    alice.type_in("the numbers that she has waited for\n")?;
    alice.echo_until("done")?;

    let report = ask(addresses[1], "read")?;
    println!("the report is {report}");
    let is_bobs = report == "bob's";
    let verdict = if is_bobs {
        "as it should be"
    } else {
        "CORRUPTED: bob's work is lost"
    };
    println!("{verdict}");
    Ok(is_bobs)
}

/// The lock server and the store.
async fn servers(checked: bool) -> Result<(), Failure> {
    let server = Server::bind(TokioEnv, ServerConfig::new("127.0.0.1:0")).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let (at, store_at) = (server.local_address()?, listener.local_addr()?);
    say(&format!("{at} {store_at}"))?;
    let store = Store {
        fence: checked.then(Fence::default),
        report: "empty".to_owned(),
    };
    tokio::select! {
        biased;
        served = server.run() => Ok(served?),
        stored = serve(listener, store) => Ok(stored?),
    }
}

/// What the lock is for. Check and write are one step: it does one thing at a time.
struct Store {
    fence: Option<Fence>,
    report: String,
}

impl Store {
    /// Handles `read`, or `TOKEN VALUE`, which is a write.
    fn handle(&mut self, line: &str) -> Result<String, Failure> {
        let Some((token, report)) = line.split_once(' ') else {
            return Ok(self.report.clone());
        };
        let token = Token(token.parse()?);
        if let Some(fence) = &mut self.fence
            && let Err(stale) = fence.check(RESOURCE, token)
        {
            return Ok(format!("refused, {stale}"));
        }
        report.clone_into(&mut self.report);
        Ok("written".to_owned())
    }
}

async fn serve(listener: tokio::net::TcpListener, mut store: Store) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let mut stream = tokio::io::BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let answer = store.handle(line.trim_end());
        let answer = answer.unwrap_or_else(|failure| format!("not understood: {failure}"));
        stream.write_all(format!("{answer}\n").as_bytes()).await?;
    }
}

/// Holds the lock, looks, is stopped, and writes.
async fn alice(server: &str, store: &str) -> Result<(), Failure> {
    let (client, lock) = acquire(server).await?;
    let token = lock.token().ok_or("a lock that is held has a token")?;
    say(&format!(
        "I hold {RESOURCE} for {LEASE}, with token {token}"
    ))?;
    if !lock.believes_held() {
        return Err("it was lost before the story began".into());
    }
    say("I have looked: it is mine")?;
    // Something blocks: a slow disk, a page fault, a long collection of garbage.
    let mut numbers = String::new();
    io::stdin().lock().read_line(&mut numbers)?;
    say(&format!(
        "I write, since it is mine; the store says: {}",
        write(store, token, "alice's")?
    ))?;
    say(&format!(
        "I look again: it is {}",
        if lock.believes_held() {
            "mine"
        } else {
            "mine no more"
        }
    ))?;
    finish(client).await
}

/// Waits for the lock, and writes.
async fn bob(server: &str, store: &str) -> Result<(), Failure> {
    say("I ask, and wait")?;
    let (client, lock) = acquire(server).await?;
    let token = lock.token().ok_or("a lock that is held has a token")?;
    say(&format!("I hold {RESOURCE}, with token {token}"))?;
    say(&format!(
        "I write; the store says: {}",
        write(store, token, "bob's")?
    ))?;
    lock.release().await?;
    finish(client).await
}

async fn acquire(server: &str) -> Result<(Client<TokioEnv>, Lock<TokioEnv>), Failure> {
    let client = Client::connect(TokioEnv, ClientConfig::new(server))?;
    let lock = client
        .acquire(AcquireRequest::write(RESOURCE)?.ttl(LEASE))
        .await?;
    Ok((client, lock))
}

fn write(store: &str, token: Token, report: &str) -> Result<String, Failure> {
    ask(store, &format!("{token} {report}"))
}

/// Says a line to the store, and gives its answer.
fn ask(store: &str, line: &str) -> Result<String, Failure> {
    let mut stream = TcpStream::connect(store)?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}

async fn finish(client: Client<TokioEnv>) -> Result<(), Failure> {
    client.close().await?;
    say("done")
}

fn say(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// This program once more; it ends when the value does.
struct Process {
    name: &'static str,
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Process {
    fn start(name: &'static str, arguments: &[&str]) -> Result<Process, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(name)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("its output is piped")?;
        let says = BufReader::new(stdout);
        Ok(Process { name, child, says })
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.says.read_line(&mut line)? == 0 {
            return Err(format!("{} has gone too soon", self.name).into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Prints what it says, up to the line that ends with `last`.
    fn echo_until(&mut self, last: &str) -> Result<(), Failure> {
        loop {
            let line = self.line()?;
            println!("{}: {line}", self.name);
            if line.ends_with(last) {
                return Ok(());
            }
        }
    }

    fn type_in(&mut self, line: &str) -> Result<(), Failure> {
        let stdin = self.child.stdin.as_mut().ok_or("its input is piped")?;
        Ok(stdin.write_all(line.as_bytes())?)
    }

    fn kill(&self, signal: &str) -> Result<(), Failure> {
        let id = self.child.id().to_string();
        let done = Command::new("kill").args([signal, &id]).status()?;
        if done.success() {
            Ok(())
        } else {
            Err(format!("kill {signal} {id} failed").into())
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
