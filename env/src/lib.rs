//! The seam between Lockwright and the world.
//!
//! The server and the client are generic over [`Env`], which supplies byte streams, clocks and
//! files.
//! [`TokioEnv`] is the real world; the simulator brings its own. Server and client wait for time
//! through their `Env` alone, since a simulated host has a clock that drifts and can be paused:
//! read [`Env`] first, then [`timeout`].

mod disk;
#[cfg(unix)]
mod tokio_disk;
mod tokio_env;
mod wait;

pub use disk::{Directory, DirectoryError, DiskFile, Worker};
#[cfg(unix)]
pub use tokio_disk::{TokioDirectory, TokioFile};
pub use tokio_env::{TokioEnv, TokioListener};
pub use wait::{Elapsed, sleep, timeout};

use std::{future::Future, io, net::SocketAddr, path::Path, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc::UnboundedReceiver,
};

/// A world to run in. Clones are the same world, seen from the same host.
pub trait Env: Clone + Send + Sync + 'static {
    /// A connection.
    type Stream: Connection;
    /// Where connections arrive.
    type Listener: Listener<Stream = Self::Stream>;
    /// Where files are.
    type Directory: Directory;

    /// Listens on `address`, written `host:port`; port 0 lets the world choose.
    ///
    /// # Errors
    /// When the address cannot be read, is taken, or is not this host's.
    fn listen(&self, address: &str) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// Connects to `address`, written `host:port`. It may wait for as long as the network likes:
    /// put a [`timeout`] around it.
    ///
    /// # Errors
    /// When nobody listens there, or the network says no.
    fn connect(&self, address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// The time since an origin that stays the same as long as the machine is up, whatever
    /// happens to this process. It never goes back, and goes on while the machine is suspended.
    /// Times of different hosts cannot be compared.
    fn monotonic(&self) -> Duration;

    /// Waits until [`monotonic`](Env::monotonic) is at `until` or after it; at once if it is.
    fn sleep_until(&self, until: Duration) -> impl Future<Output = ()> + Send;

    /// Milliseconds since 1970 by the clock on the wall, which may be wrong and may jump: for
    /// display only.
    fn wall_unix_ms(&self) -> u64;

    /// A directory, created if it is not there, for this process alone. The names that are in it
    /// then are not undone by a loss of power: a process that was killed may have left some that
    /// would be. What it left in files is not synced by this.
    ///
    /// # Errors
    /// [`DirectoryError`] when another process has it, or the system says no.
    fn open_directory(&self, path: &Path) -> Result<Self::Directory, DirectoryError>;

    /// Starts a worker where its blocking does no harm. It is given everything that waits at once,
    /// and ends when nobody can send it a job any more. Called within the world's runtime.
    ///
    /// # Errors
    /// When the system has no place for it.
    fn spawn_worker<W: Worker>(&self, worker: W, jobs: UnboundedReceiver<W::Job>)
    -> io::Result<()>;
}

/// A connection: bytes both ways, in order.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Whether the peer has closed or broken the connection, or its direction of it, as far as this
    /// host was told by now; also when not all was read that the peer sent before. It does not wait,
    /// and does not depend on what the runtime has seen yet.
    fn has_hung_up(&mut self) -> bool;

    /// The peer's address.
    ///
    /// # Errors
    /// When the world cannot tell, since the connection is over, say.
    fn peer_address(&self) -> io::Result<SocketAddr>;
}

/// Where connections arrive. Dropping it stops listening.
pub trait Listener: Send + 'static {
    /// A connection that arrived.
    type Stream;

    /// The next connection. Cancel safe: dropping the future loses no connection.
    ///
    /// # Errors
    /// When one connection could not be taken. The listener can be used on; a caller that gets
    /// errors without end waits a little between them.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// The address it listens on, with the port that was chosen.
    ///
    /// # Errors
    /// When the world cannot tell.
    fn local_address(&self) -> io::Result<SocketAddr>;
}
