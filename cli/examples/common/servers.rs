//! The servers that are measured.

use crate::Error;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
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

/// Processes that end, and data that goes, when this is dropped.
pub(crate) struct Servers {
    children: Vec<Child>,
    address: String,
    data: PathBuf,
}

/// How long three nodes may take to agree on a leader.
const PATIENCE: Duration = Duration::from_secs(30);

impl Servers {
    pub(crate) fn start(program: &str, storage: Storage) -> Result<Servers, Error> {
        let name = format!("lockwright-stall-bench-{}", std::process::id());
        let mut servers = Servers {
            children: Vec::new(),
            address: String::new(),
            // Not where files are in memory.
            data: Path::new("/var/tmp").join(name),
        };
        match storage {
            Storage::Memory => servers.serve(program, &["--memory".to_owned()])?,
            Storage::Disk => {
                let data = servers.data.join("data");
                servers.serve(program, &["--data".to_owned(), data.display().to_string()])?;
            }
            Storage::Cluster => servers.form(program)?,
        }
        Ok(servers)
    }

    /// Where to ask; of a cluster the leader.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Starts one that takes a port that is free.
    fn serve(&mut self, program: &str, options: &[String]) -> Result<(), Error> {
        let listen = ["--listen".to_owned(), "127.0.0.1:0".to_owned()];
        self.address = self.spawn(program, &[&listen, options].concat())?;
        Ok(())
    }

    /// Starts three nodes, and waits until one leads.
    fn form(&mut self, program: &str) -> Result<(), Error> {
        let ports: Vec<u16> = free_ports(6)?;
        let address = |port: u16| format!("127.0.0.1:{port}");
        let (peers, clients) = ports.split_at(3);
        let members: Vec<String> = (0..3)
            .map(|index| {
                let (peer, client) = (address(peers[index]), address(clients[index]));
                format!("{}={peer}/{client}", index + 1)
            })
            .collect();
        for id in 1..=3 {
            let data = self.data.join(format!("node{id}"));
            let options = [
                "--id".to_owned(),
                id.to_string(),
                "--data".to_owned(),
                data.display().to_string(),
                "--peers".to_owned(),
                members.join(","),
            ];
            self.spawn(program, &options)?;
        }
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let leads = |port: &&u16| answers_ready_and_leads(&address(**port));
            if let Some(leader) = clients.iter().find(leads) {
                self.address = address(*leader);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("no node leads".into())
    }

    /// Gives the address at which it listens.
    fn spawn(&mut self, program: &str, options: &[String]) -> Result<String, Error> {
        let mut child = Command::new(program)
            .args(["serve", "--log-level", "warn"])
            .args(options)
            .env_remove("LOCKWRIGHT_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let read = BufReader::new(child.stdout.take().expect("it is a pipe")).read_line(&mut line);
        self.children.push(child);
        read?;
        let address = line.trim().strip_prefix("listening on ");
        let address = address.ok_or("a server does not start; it says why above")?;
        Ok(address
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It fails when it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// Ports that nobody uses now.
fn free_ports(count: usize) -> Result<Vec<u16>, Error> {
    let listeners: Result<Vec<TcpListener>, _> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect();
    let ports = listeners?.into_iter();
    ports
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}

/// Whether a node says that it leads itself.
fn answers_ready_and_leads(address: &str) -> bool {
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
