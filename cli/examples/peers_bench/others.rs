//! Servers of others, for the occasion.

use crate::{
    Error,
    servers::{Folder, address, free_ports},
};
use std::{
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Redis,
    RedisAlways,
    Postgres,
    Etcd,
    EtcdCluster,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Redis => "Redis, nothing on disk",
            Kind::RedisAlways => "Redis, appendfsync always",
            Kind::Postgres => "PostgreSQL, advisory locks",
            Kind::Etcd => "etcd over HTTP",
            Kind::EtcdCluster => "etcd over HTTP, three nodes",
        }
    }

    /// The program that it needs and that is not here.
    pub(crate) fn missing(self) -> Option<&'static str> {
        let needed: &[&str] = match self {
            Kind::Redis | Kind::RedisAlways => &["redis-server"],
            // It does not run as root.
            Kind::Postgres if is_root() => &["initdb", "postgres", "runuser"],
            Kind::Postgres => &["initdb", "postgres"],
            Kind::Etcd | Kind::EtcdCluster => &["etcd"],
        };
        needed
            .iter()
            .copied()
            .find(|program| !is_installed(program))
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Processes that end, and data that goes, when this is dropped.
pub(crate) struct Server {
    children: Vec<Child>,
    ports: Vec<u16>,
    data: Folder,
}

impl Server {
    pub(crate) fn start(kind: Kind) -> Result<Server, Error> {
        let mut server = Server {
            children: Vec::new(),
            ports: free_ports(6)?,
            data: Folder::new()?,
        };
        match kind {
            Kind::Redis => server.redis(&["--save", "", "--appendonly", "no"])?,
            Kind::RedisAlways => {
                server.redis(&[
                    "--save",
                    "",
                    "--appendonly",
                    "yes",
                    "--appendfsync",
                    "always",
                ])?;
            }
            Kind::Postgres => server.postgres()?,
            Kind::Etcd => server.etcd(1)?,
            Kind::EtcdCluster => server.etcd(3)?,
        }
        server.wait(kind)?;
        Ok(server)
    }

    /// Where clients connect, who are spread over all nodes.
    pub(crate) fn addresses(&self, kind: Kind) -> Vec<String> {
        let nodes = if kind == Kind::EtcdCluster { 3 } else { 1 };
        let ports = self.ports.iter().take(nodes);
        ports.copied().map(address).collect()
    }

    fn spawn(&mut self, command: &mut Command) -> Result<(), Error> {
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.children.push(quiet.spawn()?);
        Ok(())
    }

    fn redis(&mut self, options: &[&str]) -> Result<(), Error> {
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.ports[0].to_string(), "--bind", "127.0.0.1"])
            .args(["--dir", &self.data.path("")])
            .args(options);
        self.spawn(&mut command)
    }

    fn postgres(&mut self) -> Result<(), Error> {
        let data = self.data.path("postgres");
        if is_root() {
            std::fs::create_dir_all(&data)?;
            let owner = Command::new("chown").args(["postgres", &data]).status()?;
            if !owner.success() {
                return Err("there is no user `postgres` to run PostgreSQL".into());
            }
        }
        let made = as_its_user("initdb")
            .args(["-D", &data, "-U", "postgres", "-A", "trust", "-N"])
            .stdout(Stdio::null())
            .status()?;
        if !made.success() {
            return Err("`initdb` fails; it says why above".into());
        }
        let port = self.ports[0].to_string();
        let mut command = as_its_user("postgres");
        command.args(["-D", &data, "-p", &port, "-c", "unix_socket_directories="]);
        self.spawn(&mut command)
    }

    fn etcd(&mut self, nodes: usize) -> Result<(), Error> {
        let url = |port: u16| format!("http://{}", address(port));
        let (clients, peers) = self.ports.split_at(3);
        let (clients, peers) = (clients.to_vec(), peers.to_vec());
        let all: Vec<String> = (0..nodes)
            .map(|index| format!("n{index}={}", url(peers[index])))
            .collect();
        for index in 0..nodes {
            let (client, peer) = (url(clients[index]), url(peers[index]));
            let mut command = Command::new("etcd");
            command
                .args(["--name", &format!("n{index}")])
                .args(["--data-dir", &self.data.path(&format!("etcd{index}"))])
                .args([
                    "--listen-client-urls",
                    &client,
                    "--advertise-client-urls",
                    &client,
                ])
                .args([
                    "--listen-peer-urls",
                    &peer,
                    "--initial-advertise-peer-urls",
                    &peer,
                ])
                .args(["--initial-cluster", &all.join(","), "--log-level", "error"]);
            self.spawn(&mut command)?;
        }
        Ok(())
    }

    /// Waits until it does what it is asked.
    fn wait(&self, kind: Kind) -> Result<(), Error> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if TcpStream::connect(address(self.ports[0])).is_ok() {
                // A leader is to be found, or a log to be read.
                let is_slow = matches!(kind, Kind::Etcd | Kind::EtcdCluster | Kind::Postgres);
                std::thread::sleep(Duration::from_secs(if is_slow { 3 } else { 0 }));
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("{} does not start", kind.name()).into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for child in &mut self.children {
            stop(child);
        }
    }
}

/// Asks it to end, since what runs as another user may have been started by a child of ours; then ends it.
fn stop(child: &mut Child) {
    let pid = i32::try_from(child.id()).map(nix::unistd::Pid::from_raw);
    if let Ok(pid) = pid {
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    }
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// A program of PostgreSQL, which does not run as root.
fn as_its_user(program: &str) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--", program]);
    command.current_dir(Path::new("/"));
    command
}
