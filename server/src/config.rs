//! How a server is set up.

use crate::{Probe, probe::NoProbe};
use lockwright_engine::Limits;
use std::{fmt, sync::Arc, time::Duration};

/// How a server is set up. Start from [`ServerConfig::new`] and change what should differ.
#[derive(Clone)]
pub struct ServerConfig {
    /// Where to listen, written `host:port`; port 0 takes a free one.
    pub listen: String,
    /// The limits of the engine.
    pub limits: Limits,
    /// A connection that nothing comes from for this long is closed, and its session counts as
    /// detached. Clients are told, and keep themselves alive well within it. Default 10 s.
    pub idle_timeout: Duration,
    /// The largest message in bytes that is read. Default 1 MiB.
    pub message_bytes_max: usize,
    /// Connections that may be open at once; one more is closed as soon as it comes. Default
    /// 10,000.
    pub connections_max: usize,
    /// Messages that may wait to be sent on one connection, at least 2. Half of them is for
    /// answers: when that many wait, no more requests are read. When pushes fill the rest, the
    /// client reads too slowly, and the connection is closed. Default 4,096.
    pub outgoing_max: usize,
    /// Is told of what the engine does. Default: nobody.
    pub probe: Arc<dyn Probe>,
}

impl ServerConfig {
    /// The defaults, listening on `listen`.
    #[must_use]
    pub fn new(listen: impl Into<String>) -> ServerConfig {
        ServerConfig {
            listen: listen.into(),
            limits: Limits::default(),
            idle_timeout: Duration::from_secs(10),
            message_bytes_max: 1 << 20,
            connections_max: 10_000,
            outgoing_max: 4096,
            probe: Arc::new(NoProbe),
        }
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("listen", &self.listen)
            .field("limits", &self.limits)
            .field("idle_timeout", &self.idle_timeout)
            .field("message_bytes_max", &self.message_bytes_max)
            .field("connections_max", &self.connections_max)
            .field("outgoing_max", &self.outgoing_max)
            .finish_non_exhaustive()
    }
}
