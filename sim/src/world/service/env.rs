//! The simulator's side of the seam: turmoil's network and a host's own clock.

use super::host::{Host, simulated};
use lockwright_env::{Env, Listener};
use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};
use turmoil::net::{TcpListener, TcpStream};

/// A program's view of its simulated host.
#[derive(Debug, Clone)]
pub(crate) struct SimEnv {
    host: Host,
}

impl SimEnv {
    pub(crate) fn new(host: Host) -> SimEnv {
        SimEnv { host }
    }
}

impl Env for SimEnv {
    type Stream = SimStream;
    type Listener = SimListener;

    async fn listen(&self, address: &str) -> io::Result<SimListener> {
        let listener = self.host.gated(TcpListener::bind(address)).await?;
        Ok(SimListener {
            listener,
            host: self.host.clone(),
        })
    }

    async fn connect(&self, address: &str) -> io::Result<SimStream> {
        let stream = self.host.gated(TcpStream::connect(address)).await?;
        Ok(SimStream::new(stream, &self.host))
    }

    fn monotonic(&self) -> Duration {
        self.host.local()
    }

    async fn sleep_until(&self, until: Duration) {
        self.host.gate().await;
        while self.host.local() < until {
            let at = self.host.clock().when(until);
            tokio::time::sleep(at.saturating_sub(simulated())).await;
        }
        self.host.gate().await;
    }

    fn wall_unix_ms(&self) -> u64 {
        const EPOCH_MS: u64 = 1_700_000_000_000;
        EPOCH_MS + u64::try_from(self.host.local().as_millis()).unwrap_or(u64::MAX / 2)
    }
}

/// Connections as they arrive at a simulated host.
pub(crate) struct SimListener {
    listener: TcpListener,
    host: Host,
}

impl Listener for SimListener {
    type Stream = SimStream;

    async fn accept(&mut self) -> io::Result<SimStream> {
        self.host.gate().await;
        let (stream, _) = self.listener.accept().await?;
        Ok(SimStream::new(stream, &self.host))
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection of a simulated host.
#[derive(Debug)]
pub(crate) struct SimStream {
    stream: TcpStream,
    host: Host,
    /// The host's count of resets when the connection was made.
    born: u64,
    /// Runs while the gate is closed to who reads, and to who writes.
    reading: Gate,
    writing: Gate,
}

/// Holds one direction of a stream back during a pause.
#[derive(Debug, Default)]
struct Gate {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Gate {
    fn poll_open(&mut self, host: &Host, context: &mut Context<'_>) -> Poll<()> {
        while let Some(until) = host.closed_until() {
            let wait = until.saturating_sub(simulated());
            let sleep = self
                .sleep
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
            ready!(sleep.as_mut().poll(context));
            self.sleep = None;
        }
        self.sleep = None;
        Poll::Ready(())
    }
}

impl SimStream {
    fn new(stream: TcpStream, host: &Host) -> SimStream {
        SimStream {
            stream,
            host: host.clone(),
            born: host.resets(),
            reading: Gate::default(),
            writing: Gate::default(),
        }
    }

    /// Ready with an error when the host's connections were reset since this one was made.
    fn poll_alive(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.host.resets() != self.born {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.host.wake_on_reset(context.waker());
        Poll::Pending
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.reading.poll_open(&this.host, context));
        if let Poll::Ready(dead) = this.poll_alive(context) {
            return Poll::Ready(dead);
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.writing.poll_open(&this.host, context));
        if let Poll::Ready(Err(dead)) = this.poll_alive(context) {
            return Poll::Ready(Err(dead));
        }
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
