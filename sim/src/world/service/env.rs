//! The simulator's side of the seam: turmoil's network and a host's own clock.

use super::{
    disk::{Disk, SimDirectory},
    host::{Host, simulated},
};
use lockwright_env::{Connection, DirectoryError, Env, Listener, Worker};
use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc::UnboundedReceiver,
    task::JoinHandle,
    time::Sleep,
};
use turmoil::net::{TcpListener, TcpStream};

/// A program's view of its simulated host.
#[derive(Debug, Clone)]
pub(crate) struct SimEnv {
    host: Host,
    /// The host's disk; clients have none.
    disk: Option<Disk>,
    /// Is told what is written to those that connect.
    listener: Overhearing,
}

/// What is told of each write to those that connect: the bytes, and whether the peer had hung up.
type Overhear = dyn Fn(&[u8], bool) + Send + Sync;

/// Is told of writes, where writes are overheard.
#[derive(Clone, Default)]
struct Overhearing(Option<Arc<Overhear>>);

impl std::fmt::Debug for Overhearing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Overhearing")
            .field(&self.0.is_some())
            .finish()
    }
}

impl SimEnv {
    pub(crate) fn new(host: Host) -> SimEnv {
        SimEnv {
            host,
            disk: None,
            listener: Overhearing::default(),
        }
    }

    pub(crate) fn with_disk(host: Host, disk: Disk) -> SimEnv {
        SimEnv {
            disk: Some(disk),
            ..SimEnv::new(host)
        }
    }

    /// The same world, and what its program writes to those that connect is told.
    pub(crate) fn overheard(
        mut self,
        hear: impl Fn(&[u8], bool) + Send + Sync + 'static,
    ) -> SimEnv {
        self.listener = Overhearing(Some(Arc::new(hear)));
        self
    }
}

impl Env for SimEnv {
    type Stream = SimStream;
    type Listener = SimListener;
    type Directory = SimDirectory;

    async fn listen(&self, address: &str) -> io::Result<SimListener> {
        let listener = self.host.gated(TcpListener::bind(address)).await?;
        Ok(SimListener {
            listener,
            host: self.host.clone(),
            overhearing: self.listener.clone(),
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

    fn open_directory(&self, _path: &Path) -> Result<SimDirectory, DirectoryError> {
        match &self.disk {
            Some(disk) => disk.open_directory(),
            None => Err(DirectoryError::Io(io::ErrorKind::Unsupported.into())),
        }
    }

    fn spawn_worker<W: Worker>(
        &self,
        mut worker: W,
        mut jobs: UnboundedReceiver<W::Job>,
    ) -> io::Result<()> {
        let (host, disk) = (self.host.clone(), self.disk.clone());
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while jobs.recv_many(&mut batch, usize::MAX).await > 0 {
                host.gate().await;
                let done = worker.work(&mut batch);
                assert!(batch.is_empty(), "a worker takes all its jobs");
                if let Some(disk) = &disk {
                    host.sleep_until_simulated(disk.settles_at()).await;
                }
                worker.finish(done);
            }
        });
        Ok(())
    }
}

/// Connections as they arrive at a simulated host.
pub(crate) struct SimListener {
    listener: TcpListener,
    host: Host,
    overhearing: Overhearing,
}

impl Listener for SimListener {
    type Stream = SimStream;

    async fn accept(&mut self) -> io::Result<SimStream> {
        self.host.gate().await;
        let (stream, _) = self.listener.accept().await?;
        let mut stream = SimStream::new(stream, &self.host);
        stream.overhearing = self.overhearing.clone();
        Ok(stream)
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
    /// Until it is over, a read finds nothing new: see [`poll_read`](AsyncRead::poll_read).
    turn: Option<JoinHandle<()>>,
    /// Whom the last read that found nothing wakes.
    reader: Option<Waker>,
    overhearing: Overhearing,
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
            turn: None,
            reader: None,
            overhearing: Overhearing::default(),
        }
    }

    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(turn) = &mut self.turn {
            // It fails when the host dies.
            let _ = ready!(Pin::new(turn).poll(context));
            self.turn = None;
        }
        Poll::Ready(())
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
    /// A read that did not fill its buffer has emptied the socket, as far as a runtime knows: it asks
    /// the system again only after all that can run has run.
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
        this.reader = Some(context.waker().clone());
        ready!(this.poll_turn(context));
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before && buffer.remaining() > 0 {
            this.turn = Some(tokio::spawn(tokio::task::yield_now()));
        }
        Poll::Ready(Ok(()))
    }
}

impl Connection for SimStream {
    fn peer_address(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    fn has_hung_up(&mut self) -> bool {
        if self.host.resets() != self.born {
            return true;
        }
        let mut byte = [0; 1];
        let mut byte = ReadBuf::new(&mut byte);
        // A connection knows one task that it wakes: that is still the one that reads. It is not woken now:
        // as the one that asks it would run again, and ask again, for ever while a pause keeps it from writing.
        let reader = self.reader.as_ref().unwrap_or(Waker::noop());
        let mut context = Context::from_waker(reader);
        match self.stream.poll_peek(&mut context, &mut byte) {
            Poll::Pending => false,
            Poll::Ready(Ok(count)) => count == 0,
            Poll::Ready(Err(_)) => true,
        }
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
        let Some(hear) = this.overhearing.0.clone() else {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        };
        // Before it: a peer can have the answer and be gone an instant later.
        let is_gone = bytes.starts_with(b"HTTP/1.1 200 ") && this.has_hung_up();
        let count = ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        hear(&bytes[..count], is_gone);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
