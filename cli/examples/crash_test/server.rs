//! The server that is killed, and its data.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A server in a process of its own.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    /// Starts it on the data. What keeps it from starting is a violation of its own.
    pub(crate) fn start(program: &str, data: &Data) -> io::Result<Server> {
        let mut child = Command::new(program)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--log-level",
                "warn",
                "--data",
            ])
            .arg(data.live())
            // So that a snapshot is taken, and the log cut off, within a round.
            .args(["--snapshot-entries", "500"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is a pipe")).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on ");
        let Some(address) = address.map(str::to_owned) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(io::Error::other("the server does not start on its data"));
        };
        Ok(Server { child, address })
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The directory of the data, and a copy of what was in it at the start before.
pub(crate) struct Data(PathBuf);

impl Data {
    pub(crate) fn new() -> io::Result<Data> {
        let name = format!("lockwright-crash-test-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path)?;
        Ok(Data(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn live(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Puts back what was there when this was done last: what was written since is lost.
    pub(crate) fn lose_round(&self) -> io::Result<()> {
        let (live, kept) = (self.live(), self.0.join("kept"));
        if kept.exists() {
            copy(&kept, &live)
        } else {
            copy(&live, &kept)
        }
    }

    pub(crate) fn remove(&self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
