//! Links between processes, which can be cut and silenced: a small proxy for each.

use lockwright_env::{Env, TokioEnv, sleep, timeout};
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::spawn_local;

/// What a link does with what is sent over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Passes it on.
    Open,
    /// Keeps it until the link is open again, both ways.
    Silent,
    /// Breaks: what was sent is lost, and connections end as soon as they come.
    Cut,
}

/// A link that can be made to do something else.
#[derive(Debug, Clone)]
pub(super) struct Link {
    mode: Rc<watch::Sender<Mode>>,
    /// How many faults there are on it; it opens when all are over.
    faults: Rc<Cell<u32>>,
}

impl Link {
    pub(super) fn new() -> Link {
        Link {
            mode: Rc::new(watch::Sender::new(Mode::Open)),
            faults: Rc::default(),
        }
    }

    /// Begins a fault.
    pub(super) fn begin(&self, mode: Mode) {
        self.faults.set(self.faults.get() + 1);
        self.mode.send_replace(mode);
    }

    /// Ends a fault that was begun.
    pub(super) fn end(&self) {
        self.faults.set(self.faults.get() - 1);
        if self.faults.get() == 0 {
            self.mode.send_replace(Mode::Open);
        }
    }
}

/// An address, and where what comes there goes.
pub(super) struct Proxy {
    /// Where it listens.
    pub(super) address: String,
}

impl Proxy {
    /// Starts one for what goes over one link. Called within a local set.
    pub(super) async fn of_link(target: String, link: Link) -> io::Result<Proxy> {
        Proxy::start(move |stream| carry(stream, target.clone(), link.clone())).await
    }

    /// Starts one for what nodes say to the one that listens at `target`. `links` are those that it
    /// comes over, by the place of the node that calls.
    pub(super) async fn of_node(target: String, links: Vec<Link>) -> io::Result<Proxy> {
        Proxy::start(move |stream| {
            let (target, links) = (target.clone(), links.clone());
            async move {
                let from = timeout(&TokioEnv, HELLO, caller(&stream)).await;
                let link = from.ok().flatten().and_then(|node| links.get(node - 1));
                if let Some(link) = link {
                    carry(stream, target, link.clone()).await;
                }
            }
        })
        .await
    }

    async fn start<C: Future<Output = ()> + 'static>(
        carry: impl Fn(TcpStream) -> C + 'static,
    ) -> io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        spawn_local(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(spawn_local(carry(stream))),
                    Err(_) => sleep(&TokioEnv, Duration::from_millis(10)).await,
                }
            }
        });
        Ok(Proxy { address })
    }
}

/// How long a node that calls may take to say who it is.
const HELLO: Duration = Duration::from_secs(1);

/// The number of the node that calls: it says so before it is told anything. What it says is left
/// for the one that it calls.
async fn caller(stream: &TcpStream) -> Option<usize> {
    let mut bytes = [0; 64];
    loop {
        let read = stream.peek(&mut bytes).await.ok()?;
        if let Some(node) = named(&bytes[..read]) {
            return Some(node);
        }
        if read == 0 || read == bytes.len() {
            return None;
        }
        sleep(&TokioEnv, Duration::from_millis(1)).await;
    }
}

/// The number of the node, as it says first: after what this is, the version, and whether there is a secret.
fn named(opening: &[u8]) -> Option<usize> {
    let number = opening.get(9..17)?.try_into().ok()?;
    let number = usize::try_from(u64::from_le_bytes(number)).ok()?;
    (number > 0).then_some(number)
}

/// Carries one connection until either side or the link ends it.
async fn carry(from: TcpStream, target: String, link: Link) {
    let mut mode = link.mode.subscribe();
    if !open(&mut mode).await {
        return;
    }
    let Ok(to) = TokioEnv.connect(&target).await else {
        return;
    };
    let (from_read, from_write) = from.into_split();
    let (to_read, to_write) = tokio::io::split(to);
    tokio::select! {
        biased;
        () = cut(link.mode.subscribe()) => {}
        () = pump(from_read, to_write, link.mode.subscribe()) => {}
        () = pump(to_read, from_write, link.mode.subscribe()) => {}
    }
}

/// Waits until the link is open; false if it is cut instead.
async fn open(mode: &mut watch::Receiver<Mode>) -> bool {
    match mode.wait_for(|mode| *mode != Mode::Silent).await {
        Ok(mode) => *mode == Mode::Open,
        Err(_) => false,
    }
}

async fn cut(mut mode: watch::Receiver<Mode>) {
    // It fails when the run is over.
    let _ = mode.wait_for(|mode| *mode == Mode::Cut).await;
}

async fn pump(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    mut mode: watch::Receiver<Mode>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        if !open(&mut mode).await || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// So many ports that are free, and below those that the system gives to whoever wants any: so they
/// stay so while a server is down.
pub(super) async fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    const PORTS: u32 = 12_000;
    let first = std::process::id().wrapping_mul(131) % PORTS;
    let mut free = Vec::new();
    for next in 0..PORTS {
        if free.len() == count {
            return Ok(free);
        }
        let port = u16::try_from(20_000 + (first + next) % PORTS).expect("it is one");
        if TokioEnv.listen(&format!("127.0.0.1:{port}")).await.is_ok() {
            free.push(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_what_it_says_first() {
        let opening = b"LWPL\x07\0\0\0\x01\x03\0\0\0\0\0\0\0drawn";
        assert_eq!(named(opening), Some(3));
        for length in 0..17 {
            assert_eq!(named(&opening[..length]), None, "{length}");
        }
    }
}
