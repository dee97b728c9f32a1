//! The real world.

use crate::{Connection, DirectoryError, Env, Listener, TokioDirectory, Worker, tokio_disk};
use std::{
    io,
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::UnboundedReceiver,
};

/// The real world: TCP over tokio, and the machine's clocks. Needs a tokio runtime with I/O and
/// time enabled.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioEnv;

/// A TCP listener.
#[derive(Debug)]
pub struct TokioListener(TcpListener);

/// The longest sleep before the clock is looked at again. The runtime's timers stand still while
/// the machine is suspended and the clock of [`TokioEnv`] does not, so this is how late a wait
/// can end after the machine woke up.
const SLEEP_MAX: Duration = Duration::from_secs(1);

impl Env for TokioEnv {
    type Stream = TcpStream;
    type Listener = TokioListener;
    type Directory = TokioDirectory;

    async fn listen(&self, address: &str) -> io::Result<TokioListener> {
        TcpListener::bind(address).await.map(TokioListener)
    }

    async fn connect(&self, address: &str) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        prepare(&stream)?;
        Ok(stream)
    }

    #[cfg(unix)]
    fn monotonic(&self) -> Duration {
        let now = rustix::time::clock_gettime(BOOT_CLOCK);
        // Both parts are never negative: the clock starts at zero, at boot.
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
        Duration::new(seconds, nanos)
    }

    async fn sleep_until(&self, until: Duration) {
        loop {
            let now = self.monotonic();
            if now >= until {
                return;
            }
            tokio::time::sleep(until.saturating_sub(now).min(SLEEP_MAX)).await;
        }
    }

    fn wall_unix_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            })
    }

    fn open_directory(&self, path: &Path) -> Result<TokioDirectory, DirectoryError> {
        TokioDirectory::open(path)
    }

    fn spawn_worker<W: Worker>(
        &self,
        worker: W,
        jobs: UnboundedReceiver<W::Job>,
    ) -> io::Result<()> {
        tokio_disk::spawn_worker(worker, jobs)
    }
}

/// A clock that starts at boot and goes on while the machine is suspended.
#[cfg(any(target_os = "linux", target_os = "android"))]
const BOOT_CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
/// Elsewhere the monotonic clock is the nearest: some systems stop it in suspension.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const BOOT_CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

impl Connection for TcpStream {
    fn peer_address(&self) -> io::Result<SocketAddr> {
        self.peer_addr()
    }

    /// Asks the system: the runtime would tell what it saw when it looked last.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn has_hung_up(&mut self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // A broken connection is told without being asked for.
        let mut of_interest = [PollFd::new(&*self, PollFlags::RDHUP)];
        let polled = poll(&mut of_interest, Some(&at_once));
        polled.is_ok_and(|count| count > 0)
    }

    /// Asks the system. An end behind bytes that were not read is not seen.
    #[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
    fn has_hung_up(&mut self) -> bool {
        use rustix::{
            io::Errno,
            net::{RecvFlags, recv},
        };
        match recv(&*self, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((count, _)) => count == 0,
            Err(error) => error != Errno::WOULDBLOCK && error != Errno::INTR,
        }
    }
}

impl Listener for TokioListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = self.0.accept().await?;
        prepare(&stream)?;
        Ok(stream)
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// How long a peer may say nothing before the system asks whether it is still there, how long it
/// waits for an answer, and how often it asks. So a machine that was switched off is missed after half
/// a minute, also by who only waits for it to speak.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);

fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Messages are small and each is waited for.
    stream.set_nodelay(true)?;
    keep_alive(stream)
}

#[cfg(unix)]
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    let (idle, interval, count) = KEEPALIVE;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, idle)?;
    sockopt::set_tcp_keepintvl(stream, interval)?;
    sockopt::set_tcp_keepcnt(stream, count)?;
    Ok(())
}

#[cfg(not(unix))]
fn keep_alive(_: &TcpStream) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sleep, timeout};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_sleep_ends_on_the_clock_of_the_env() {
        let until = TokioEnv.monotonic() + Duration::from_millis(3);
        TokioEnv.sleep_until(until).await;
        assert!(TokioEnv.monotonic() >= until);
        TokioEnv.sleep_until(Duration::ZERO).await;
    }

    #[tokio::test]
    async fn a_timeout_prefers_the_future() {
        let done = timeout(&TokioEnv, Duration::ZERO, async { 7 }).await;
        assert_eq!(done, Ok(7));
        let short = Duration::from_millis(1);
        let late = timeout(&TokioEnv, short, sleep(&TokioEnv, Duration::from_secs(60))).await;
        assert!(late.is_err());
    }

    #[tokio::test]
    async fn bytes_cross() -> io::Result<()> {
        let mut listener = TokioEnv.listen("127.0.0.1:0").await?;
        let address = listener.local_address()?.to_string();
        let mut here = TokioEnv.connect(&address).await?;
        let mut there = listener.accept().await?;
        here.write_all(b"hello").await?;
        let mut got = [0; 5];
        there.read_exact(&mut got).await?;
        assert_eq!(&got, b"hello");
        Ok(())
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_system_asks_whether_a_silent_peer_is_still_there() -> io::Result<()> {
        use rustix::net::sockopt;
        let mut listener = TokioEnv.listen("127.0.0.1:0").await?;
        let address = listener.local_address()?.to_string();
        let here = TokioEnv.connect(&address).await?;
        let there = listener.accept().await?;
        for stream in [here, there] {
            assert!(stream.nodelay()?);
            assert!(sockopt::socket_keepalive(&stream)?);
            let (idle, interval, count) = KEEPALIVE;
            assert_eq!(sockopt::tcp_keepidle(&stream)?, idle);
            assert_eq!(sockopt::tcp_keepintvl(&stream)?, interval);
            assert_eq!(sockopt::tcp_keepcnt(&stream)?, count);
        }
        Ok(())
    }
}
