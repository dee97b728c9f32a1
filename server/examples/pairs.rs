//! How many pairs of acquire and release a second a server answers over loopback.
//!
//! ```sh
//! cargo run --release --locked -p lockwright-server --example pairs            # in memory
//! cargo run --release --locked -p lockwright-server --example pairs -- DIR     # in a directory
//! ```
//!
//! Server and clients share the machine. Each client has one connection and one request on its way:
//! it takes a lock that nobody else wants, and releases it. DIR is created, and removed afterwards.

#![expect(
    clippy::disallowed_methods,
    reason = "what is measured is real time, and real files are removed"
)]

use futures_util::{SinkExt, StreamExt};
use lockwright_env::{Env, TokioEnv};
use lockwright_server::{Server, ServerConfig, Storage};
use std::{
    error::Error,
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, runtime::Builder, task::JoinSet};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// How long each number of clients is measured.
const MEASURED: Duration = Duration::from_secs(3);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let directory = std::env::args().nth(1).map(PathBuf::from);
    for clients in [1, 16, 64] {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        let pairs = runtime.block_on(measure(clients, directory.clone()))?;
        let place = directory.as_ref().map_or("memory", |_| "directory");
        println!("{place}, {clients:>2} clients: {pairs:>7.0} pairs/s");
    }
    Ok(())
}

/// Pairs a second of so many clients.
async fn measure(clients: u32, directory: Option<PathBuf>) -> Result<f64> {
    let mut config = ServerConfig::new("127.0.0.1:0");
    if let Some(directory) = &directory {
        config.storage = Storage::Directory(directory.clone());
    }
    let server = Server::bind(TokioEnv, config).await?;
    let address = server.local_address()?.to_string();
    let handle = server.handle();
    let serving = tokio::spawn(server.run());
    let start = Instant::now();
    let mut running = JoinSet::new();
    for client in 0..clients {
        running.spawn(client_pairs(address.clone(), client, start + MEASURED));
    }
    let mut pairs = 0;
    while let Some(done) = running.join_next().await {
        pairs += done??;
    }
    let elapsed = start.elapsed().as_secs_f64();
    handle.shutdown();
    serving.await??;
    if let Some(directory) = directory {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(f64::from(pairs) / elapsed)
}

/// The pairs of one client until a moment.
async fn client_pairs(address: String, client: u32, until: Instant) -> Result<u32> {
    let stream = TokioEnv.connect(&address).await?;
    let (mut socket, _) = client_async(format!("ws://{address}/v1/session"), stream).await?;
    let open = format!(
        r#"{{"type":"open","seq":0,"namespace":"n","session":"s{client}","secret":"0123456789abcdef","abandon_ms":60000}}"#
    );
    ask(&mut socket, open).await?;
    let mut pairs = 0;
    while Instant::now() < until {
        let acquire =
            format!(r#"{{"type":"acquire","seq":1,"id":"{pairs}","claims":["w a/{client}"]}}"#);
        let granted = ask(&mut socket, acquire).await?;
        let token = granted.split(r#""token":"#).nth(1);
        let token = token.and_then(|rest| rest.split(',').next());
        let token = token.ok_or_else(|| format!("expected a grant, got {granted}"))?;
        let release = format!(r#"{{"type":"release","seq":2,"id":"{pairs}","token":{token}}}"#);
        ask(&mut socket, release).await?;
        pairs += 1;
    }
    Ok(pairs)
}

async fn ask(socket: &mut WebSocketStream<TcpStream>, text: String) -> Result<String> {
    socket.send(Message::text(text)).await?;
    match socket.next().await {
        Some(Ok(Message::Text(text))) => Ok(text.as_str().to_owned()),
        other => Err(format!("expected an answer, got {other:?}").into()),
    }
}
