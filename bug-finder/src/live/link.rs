//! Links between processes, which can be cut and silenced: a small proxy for each.

use lockwright_env::{Env, Listener, TokioEnv};
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

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
    /// Starts one. `link` says over which link a connection from a port goes; without one it is
    /// refused. Called within a local set.
    pub(super) async fn start(
        target: String,
        link: impl Fn(Option<u16>) -> Option<Link> + 'static,
    ) -> io::Result<Proxy> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        tokio::task::spawn_local(async move {
            loop {
                let Ok((stream, from)) = listener.accept().await else {
                    lockwright_env::sleep(&TokioEnv, std::time::Duration::from_millis(10)).await;
                    continue;
                };
                if let Some(link) = link(Some(from.port())) {
                    tokio::task::spawn_local(carry(stream, target.clone(), link));
                }
            }
        });
        Ok(Proxy { address })
    }
}

/// Carries one connection until either side or the link ends it.
async fn carry(from: tokio::net::TcpStream, target: String, link: Link) {
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

/// A port that is free now, and is likely to be for a while.
pub(super) async fn free_port() -> io::Result<u16> {
    Ok(TokioEnv
        .listen("127.0.0.1:0")
        .await?
        .local_address()?
        .port())
}
