//! Two workers take turns at one resource. The server runs in the same process, so that the
//! example needs nothing else: `cargo run -p lockwright-client --example two_workers`.

use lockwright_client::{AcquireRequest, Client, ClientConfig};
use lockwright_engine::DurationMs;
use lockwright_env::TokioEnv;
use lockwright_server::{Server, ServerConfig};
use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::bind(TokioEnv, ServerConfig::new("127.0.0.1:0")).await?;
    let address = server.local_address()?.to_string();
    let handle = server.handle();
    let serving = tokio::spawn(server.run());

    let (one, two) = tokio::join!(work("one", &address), work("two", &address));
    one?;
    two?;

    handle.shutdown();
    serving.await??;
    Ok(())
}

async fn work(name: &str, address: &str) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(TokioEnv, ClientConfig::new(address))?;
    for turn in 1..=3 {
        let request = AcquireRequest::write("printer/tray")?.ttl(DurationMs::from_secs(10));
        let lock = client.acquire(request).await?;
        // Before each step that must not happen twice: is the lock still ours? And whoever carries
        // out the step gets the token, and refuses any smaller one than the largest it has seen.
        if let Some(token) = lock.token()
            && lock.believes_held()
        {
            println!("worker {name}, turn {turn}: I hold it, with token {token}");
        }
        lock.release().await?;
    }
    client.close().await?;
    Ok(())
}
