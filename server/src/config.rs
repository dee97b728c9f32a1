//! How a server is set up.

use crate::{Probe, Secret, probe::NoProbe};
use lockwright_engine::Limits;
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

/// Where a server keeps its locks, sessions and tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Storage {
    /// In memory: when the server stops, they are gone. Tokens then start anew as
    /// [`first_token`](crate::first_token) says.
    #[default]
    Memory,
    /// In a directory, which is created if it is not there. Nothing is acknowledged before it is on
    /// the disk, and a server that starts with what another one left goes on from there. Its
    /// tokens go on at least as [`first_token`](crate::first_token) says, but for a cluster's.
    Directory(PathBuf),
}

/// What a server that is told to stop waits for. The later one stops sooner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drain {
    /// It grants nothing new, and stays until what is held has been released or has ended, at most for
    /// the [`drain_timeout`](ServerConfig::drain_timeout). Renewals, releases, sessions and looking go on
    /// meanwhile. Requests that wait are given up, and connections that wait or ask for more are sent
    /// away. A node of a cluster with other voters has nothing to wait for, since they keep its locks: it
    /// hands leadership over and stops as with [`Drain::Answers`]. The only voter waits, and leaves the
    /// learners without a leader.
    Locks,
    /// It answers what it was asked before.
    #[default]
    Answers,
}

/// What a replica must know to be one of several. Start from [`ClusterConfig::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// The name of the cluster. Nodes of another one are refused. Default `lockwright`.
    pub name: String,
    /// This node's id: 1 or more, and never that of another node of the cluster.
    pub id: u64,
    /// Where to listen for other nodes, written `host:port`.
    pub listen: String,
    /// Those who form the cluster when it starts for the first time, this node among them. All of
    /// them are told the same. Empty for a node that waits until it is added to a cluster. What is
    /// stored counts more than this.
    pub members: Vec<Member>,
    /// What only nodes of the cluster know. A link is taken and used only when both sides have proved that they
    /// know it, before anything else is read. All nodes have the same, or none has one. Default: none.
    pub secret: Option<Secret>,
    /// How often a leader says that it is there. At least 10 ms; default 100 ms.
    pub heartbeat: Duration,
    /// A node that hears of no leader for this long, or up to twice as long, tries to become one.
    /// At least three heartbeats, and ten times as long as a message and its answer and a sync of
    /// the disk take: openraft gives up a heartbeat that is not answered within a third of it.
    /// Default 400 ms.
    pub election_timeout: Duration,
    /// A node that the leader does not hear of for this long is taken for dead: the sessions of
    /// its connections count as detached. At least the election timeout; default 5 s.
    pub node_timeout: Duration,
}

/// A node of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id, 1 or more.
    pub id: u64,
    /// Where other nodes reach it, written `host:port`.
    pub address: String,
    /// Where clients reach it, written `host:port`.
    pub client_address: String,
}

impl ClusterConfig {
    /// The defaults, for the node `id` that listens for other nodes on `listen`.
    #[must_use]
    pub fn new(id: u64, listen: impl Into<String>, members: Vec<Member>) -> ClusterConfig {
        ClusterConfig {
            name: "lockwright".to_owned(),
            id,
            listen: listen.into(),
            members,
            secret: None,
            heartbeat: Duration::from_millis(100),
            election_timeout: Duration::from_millis(400),
            node_timeout: Duration::from_secs(5),
        }
    }
}

/// How a server is set up. Start from [`ServerConfig::new`] and change what should differ.
#[derive(Clone)]
pub struct ServerConfig {
    /// Where to listen, written `host:port`; port 0 takes a free one.
    pub listen: String,
    /// Where it keeps its state. Default: in memory.
    pub storage: Storage,
    /// The limits of the engine. They hold from the start on, also for what is stored.
    pub limits: Limits,
    /// A snapshot of the state is taken after this many entries of the log, or after as many as
    /// the state has records, if that is more; then the log is cut off. Default 10,000.
    pub snapshot_entries: u64,
    /// How long a file of the log is, in bytes, when the next one begins; at least 1,024. Space on
    /// the disk is taken and given back by whole files. Default 16 MiB.
    pub log_segment_bytes: u64,
    /// A connection that nothing comes from for this long is closed, and its session counts as
    /// detached. Clients are told, and keep themselves alive well within it. Default 10 s.
    pub idle_timeout: Duration,
    /// The largest message in bytes that is read. Default 1 MiB.
    pub message_bytes_max: usize,
    /// Bytes of messages and requests that have not come to their ends that the server holds at most, of all
    /// connections together, beyond 16 KiB of each. Who sends more is closed. Not less than
    /// [`message_bytes_max`](ServerConfig::message_bytes_max). Default 256 MiB.
    pub unread_bytes_max: usize,
    /// Connections that may be open at once. Of those that come when there are as many, 32 at a time can ask
    /// how the server does, and do what operators do; others are closed as soon as they come. Default 10,000.
    pub connections_max: usize,
    /// How many of them one address may have (of the sixth version of IP: its first 64 bits), at least 1.
    /// Default: nine tenths.
    pub connections_per_address_max: Option<usize>,
    /// Messages that may wait to be sent on one connection, at least 2. Half of them is for
    /// answers: when that many wait, no more requests are read. When pushes fill the rest, the
    /// client reads too slowly, and the connection is closed. Default 4,096.
    pub outgoing_max: usize,
    /// Locks that one message lists, at least 1: a client that resumes a session with more is told of them in
    /// several. Default 1,000.
    pub locks_per_message: usize,
    /// What a server that is told to stop waits for. Default: for answers.
    pub drain: Drain,
    /// How long a server that is told to stop waits at most for what it [drains](Drain). Default 5 s.
    pub drain_timeout: Duration,
    /// How long a session outlives its connection that names no abandon timeout. Default 60 s.
    pub default_abandon_timeout: Duration,
    /// How often the use is logged, at level info: connections, sessions, locks, and what was granted
    /// and had to wait since the last time. At least 1 ms. Default: never.
    pub stats_interval: Option<Duration>,
    /// Whether the begin and the end of each session are logged at level info, and not at debug.
    /// Default: no.
    pub log_clients: bool,
    /// Whether the grant and the end of each lock, and the end of each request that was not granted, are
    /// logged at level info. Default: no.
    pub log_locks: bool,
    /// Host names by which clients may ask it, without ports, beside `localhost`, addresses, the host of
    /// `listen`, and where clients reach the nodes of its cluster; `*.example.com` is all names below it, and
    /// `*` every name. Requests for another host are refused: a web page can have a browser ask any address
    /// under a name of its own. Default: none.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may use it, such as `https://example.com`, or `*` for all. What a browser
    /// sends for other pages than its own is refused. Default: none.
    pub allowed_origins: Vec<String>,
    /// What operators send to break locks, end sessions, and change the cluster. Without it only a server that
    /// listens on loopback does that, for everybody. Default: none.
    pub admin_token: Option<Secret>,
    /// The cluster that it is a node of; alone without one. A node of a cluster keeps its state in
    /// a directory: one that forgot its vote could break the promises of all.
    pub cluster: Option<ClusterConfig>,
    /// Is told of what the engine does. Default: nobody.
    pub probe: Arc<dyn Probe>,
}

impl ServerConfig {
    /// The defaults, listening on `listen`.
    #[must_use]
    pub fn new(listen: impl Into<String>) -> ServerConfig {
        ServerConfig {
            listen: listen.into(),
            storage: Storage::default(),
            limits: Limits::default(),
            snapshot_entries: 10_000,
            log_segment_bytes: 16 << 20,
            idle_timeout: Duration::from_secs(10),
            message_bytes_max: 1 << 20,
            unread_bytes_max: 256 << 20,
            connections_max: 10_000,
            connections_per_address_max: None,
            outgoing_max: 4096,
            locks_per_message: 1000,
            drain: Drain::default(),
            drain_timeout: Duration::from_secs(5),
            default_abandon_timeout: Duration::from_secs(60),
            stats_interval: None,
            log_clients: false,
            log_locks: false,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            admin_token: None,
            cluster: None,
            probe: Arc::new(NoProbe),
        }
    }

    /// How many connections one address may have.
    pub(crate) fn connections_per_address_max(&self) -> usize {
        let others = self.connections_max.div_ceil(10);
        self.connections_per_address_max
            .unwrap_or((self.connections_max - others).max(1))
    }

    /// Where clients reach this server and the nodes of its cluster, by what it is told.
    pub(crate) fn client_addresses(&self) -> impl Iterator<Item = &str> {
        let members = self.cluster.iter().flat_map(|cluster| &cluster.members);
        let members = members.map(|member| member.client_address.as_str());
        std::iter::once(self.listen.as_str()).chain(members)
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("listen", &self.listen)
            .field("storage", &self.storage)
            .field("limits", &self.limits)
            .field("snapshot_entries", &self.snapshot_entries)
            .field("log_segment_bytes", &self.log_segment_bytes)
            .field("idle_timeout", &self.idle_timeout)
            .field("message_bytes_max", &self.message_bytes_max)
            .field("unread_bytes_max", &self.unread_bytes_max)
            .field("connections_max", &self.connections_max)
            .field(
                "connections_per_address_max",
                &self.connections_per_address_max,
            )
            .field("outgoing_max", &self.outgoing_max)
            .field("locks_per_message", &self.locks_per_message)
            .field("drain", &self.drain)
            .field("drain_timeout", &self.drain_timeout)
            .field("default_abandon_timeout", &self.default_abandon_timeout)
            .field("stats_interval", &self.stats_interval)
            .field("log_clients", &self.log_clients)
            .field("log_locks", &self.log_locks)
            .field("allowed_hosts", &self.allowed_hosts)
            .field("allowed_origins", &self.allowed_origins)
            .field("admin_token", &self.admin_token)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}
