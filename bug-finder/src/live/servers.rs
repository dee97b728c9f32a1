//! The servers: real processes, with data of their own, that can be killed, stopped and started
//! again.

use super::happening::Happening;
use super::judge::Broken;
use super::link::{Link, Proxy, free_ports};
use super::stage::Stage;
use crate::os;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

/// How the servers of a run are set up.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// The binary `lockwright`.
    pub(super) program: PathBuf,
    /// How many.
    pub(super) nodes: usize,
    /// Where their data and logs are.
    pub(super) dir: PathBuf,
    /// Whether a server that is started again has lost its data: to see that found.
    pub(super) forgetful: bool,
}

/// A server, whether it runs or not.
pub(super) struct Node {
    /// Its number, from 1.
    pub(super) number: usize,
    /// Where it listens for clients.
    pub(super) address: String,
    arguments: Vec<String>,
    child: RefCell<Option<Child>>,
    /// Whether a fault has it now.
    pub(super) busy: Cell<bool>,
}

/// All of them, and the links between them.
pub(super) struct Servers {
    setup: Setup,
    pub(super) nodes: Vec<Node>,
    /// That from one to another.
    links: Vec<Vec<Link>>,
}

impl Servers {
    /// Starts them. Called within a local set.
    pub(super) async fn start(setup: Setup) -> io::Result<Rc<Servers>> {
        let count = setup.nodes;
        let links = vec_of(count, |_| vec_of(count, |_| Link::new()));
        let mut clients = free_ports(2 * count).await?;
        let peers = clients.split_off(count);
        let mut members = Vec::new();
        for (to, port) in peers.iter().enumerate() {
            let to_it = links.iter().map(|from| from[to].clone()).collect();
            let proxy = Proxy::of_node(format!("127.0.0.1:{port}"), to_it);
            let address = proxy.await?.address;
            members.push(format!("{}={address}/127.0.0.1:{}", to + 1, clients[to]));
        }
        let nodes = vec_of(count, |index| {
            let address = format!("127.0.0.1:{}", clients[index]);
            let mut arguments = vec!["--listen".to_owned(), address.clone()];
            if count > 1 {
                let (id, peer) = (
                    (index + 1).to_string(),
                    format!("127.0.0.1:{}", peers[index]),
                );
                for (option, value) in [
                    ("--id", id),
                    ("--peer-listen", peer),
                    ("--peers", members.join(",")),
                ] {
                    arguments.extend([option.to_owned(), value]);
                }
            }
            Node {
                number: index + 1,
                address,
                arguments,
                child: RefCell::new(None),
                busy: Cell::new(false),
            }
        });
        let started = Rc::new(Servers {
            setup,
            nodes,
            links,
        });
        for node in &started.nodes {
            started.run(node)?;
        }
        Ok(started)
    }

    /// The link from one node to another, by their places.
    pub(super) fn link(&self, from: usize, to: usize) -> &Link {
        &self.links[from][to]
    }

    /// Starts a node that does not run.
    pub(super) fn run(&self, node: &Node) -> io::Result<()> {
        let dir = &self.setup.dir;
        let data = dir.join(format!("data{}", node.number));
        if self.setup.forgetful {
            // It fails when it is not there yet.
            let _ = fs::remove_dir_all(&data);
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(dir.join(format!("node{}.log", node.number)))?;
        let mut command = Command::new(&self.setup.program);
        command
            .arg("serve")
            .args(&node.arguments)
            .arg("--data")
            .arg(data)
            // So that snapshots are taken, and the log is cut off, within a run.
            .args(["--snapshot-entries", "500", "--log-level", "info"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LOCKWRIGHT_") {
                command.env_remove(name);
            }
        }
        os::die_with_us(&mut command);
        *node.child.borrow_mut() = Some(command.spawn()?);
        Ok(())
    }

    /// Looks whether one has ended that nobody has ended.
    pub(super) fn look(&self, stage: &Stage) {
        for node in &self.nodes {
            let mut child = node.child.borrow_mut();
            let Some(running) = child.as_mut() else {
                continue;
            };
            if let Ok(Some(status)) = running.try_wait() {
                *child = None;
                let log = self.setup.dir.join(format!("node{}.log", node.number));
                let last = last_lines(&log);
                stage.happen(Happening::Fault {
                    what: format!("node {} ends by itself: {status}", node.number),
                });
                stage.break_off(Broken {
                    rule: "a server goes on (SEMANTICS 7.6)",
                    message: format!(
                        "node {} has ended by itself: {status}; its last words: {last}",
                        node.number
                    ),
                });
            }
        }
    }
}

impl Node {
    /// Ends it at once, wherever it is.
    pub(super) fn kill(&self) {
        if let Some(mut child) = self.child.borrow_mut().take() {
            // It fails when it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it, or lets it go on.
    pub(super) fn pause(&self, stop: bool) {
        let signal = if stop {
            Signal::SIGSTOP
        } else {
            Signal::SIGCONT
        };
        if let Some(child) = self.child.borrow().as_ref() {
            let pid = i32::try_from(child.id()).expect("it is a process");
            // It fails when it has ended by itself.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn vec_of<T>(count: usize, make: impl FnMut(usize) -> T) -> Vec<T> {
    (0..count).map(make).collect()
}

/// The end of a log.
fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}
