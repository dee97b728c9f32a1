//! The servers that are measured.

use crate::{Error, process::Process};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Where the locks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In memory.
    Memory,
    /// On a disk.
    Disk,
    /// On the disks of three nodes.
    Cluster,
}

impl Storage {
    pub(crate) const ALL: [Storage; 3] = [Storage::Memory, Storage::Disk, Storage::Cluster];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Storage::Memory => "memory",
            Storage::Disk => "disk",
            Storage::Cluster => "cluster",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Storage> {
        Storage::ALL
            .into_iter()
            .find(|storage| storage.name() == name)
    }
}

/// How long three nodes may take to agree on a leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// Servers that end, and data that goes, when this is dropped.
pub(crate) struct Servers {
    _processes: Vec<Process>,
    /// Where to ask; of a cluster all nodes, the leader first.
    pub(crate) addresses: Vec<String>,
    // After the processes, whose it is.
    _data: Folder,
}

impl Servers {
    pub(crate) fn start(program: &str, storage: Storage) -> Result<Servers, Error> {
        let data = Folder::new()?;
        let alone = |options: &[&str]| {
            let listen = ["--listen", "127.0.0.1:0"];
            Process::serve(program, &[&listen, options].concat())
        };
        let processes = match storage {
            Storage::Memory => vec![alone(&["--memory"])?],
            Storage::Disk => vec![alone(&["--data", &data.path("data")])?],
            Storage::Cluster => form(program, &data)?,
        };
        let addresses = processes.iter().map(|process| process.address.clone());
        let mut addresses: Vec<String> = addresses.collect();
        if storage == Storage::Cluster {
            let leader = leader_among(&addresses)?;
            addresses.swap(0, leader);
        }
        Ok(Servers {
            _processes: processes,
            addresses,
            _data: data,
        })
    }
}

/// Starts three nodes.
fn form(program: &str, data: &Folder) -> Result<Vec<Process>, Error> {
    let ports = free_ports(6)?;
    let (peers, clients) = ports.split_at(3);
    let members: Vec<String> = (0..3)
        .map(|index| {
            let (peer, client) = (address(peers[index]), address(clients[index]));
            format!("{}={peer}/{client}", index + 1)
        })
        .collect();
    let node = |id: u32| {
        let (id, members) = (id.to_string(), members.join(","));
        let data = data.path(&format!("node{id}"));
        let options = ["--id", &id, "--data", &data, "--peers", &members];
        Ok(Process::serve(program, &options)?)
    };
    (1..=3).map(node).collect()
}

/// Waits until one of the nodes leads; gives its place.
fn leader_among(addresses: &[String]) -> Result<usize, Error> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(leader) = addresses.iter().position(|address| leads(address)) {
            return Ok(leader);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err("no node leads".into())
}

/// A folder of this process, not where files are in memory; gone when this is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Folder, Error> {
        let name = format!("lockwright-bench-{}", std::process::id());
        let path = Path::new("/var/tmp").join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }

    /// Of something in it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Of this machine.
pub(crate) fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Ports that nobody uses now.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>, Error> {
    let listeners: Result<Vec<TcpListener>, _> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect();
    let ports = listeners?.into_iter();
    ports
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}

/// Whether a node says that it leads itself.
fn leads(address: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(
            stream,
            "GET /v1/cluster HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let Ok(text) = ask() else {
        return false;
    };
    let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
    let view: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    !view["leader"].is_null() && view["leader"] == view["id"]
}
