//! A server for the occasion.

use crate::{
    exit::{Exit, Failure},
    os,
};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A server in a process of its own; gone, with its data, when this is dropped.
pub(super) struct Spawned {
    child: Child,
    address: String,
    data: Option<PathBuf>,
}

impl Spawned {
    pub(super) fn in_memory() -> Result<Spawned, Failure> {
        Spawned::start(None)
    }

    pub(super) fn in_directory(directory: &Path) -> Result<Spawned, Failure> {
        let own = directory.join(format!("lockwright-bench-{}", std::process::id()));
        Spawned::start(Some(own))
    }

    pub(super) fn address(&self) -> &String {
        &self.address
    }

    fn start(data: Option<PathBuf>) -> Result<Spawned, Failure> {
        let failed = |what: String| Failure::new(Exit::REFUSED, what);
        let program = std::env::current_exe()
            .map_err(|error| failed(format!("cannot find this program: {error}")))?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--log-level", "warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // The settings are those of a server that runs for good.
            .env_remove("LOCKWRIGHT_CONFIG");
        match &data {
            Some(data) => command.arg("--data").arg(data),
            None => command.arg("--memory"),
        };
        os::bind_to_us(&mut command, false, None);
        let mut child = command
            .spawn()
            .map_err(|error| failed(format!("cannot start a server: {error}")))?;
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let read = lines.read_line(&mut line);
        let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
        let spawned = Spawned {
            child,
            address: address.clone().unwrap_or_default(),
            data,
        };
        match (read, address) {
            (Ok(_), Some(_)) => Ok(spawned),
            _ => Err(failed(
                "the server did not start; it says why above".to_owned(),
            )),
        }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // It fails when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(data) = &self.data {
            let _ = std::fs::remove_dir_all(data);
        }
    }
}
