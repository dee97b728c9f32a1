//! `lockwright serve` in a process of its own.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// A server. It ends when this is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    /// Where it listens.
    pub(crate) address: String,
}

impl Process {
    /// Starts it, and waits until it listens.
    pub(crate) fn serve<S: AsRef<OsStr>>(program: &str, options: &[S]) -> io::Result<Process> {
        let mut child = Command::new(program)
            .args(["serve", "--log-level", "warn"])
            .args(options)
            .env_remove("LOCKWRIGHT_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is a pipe");
        let mut process = Process {
            child,
            address: String::new(),
        };
        BufReader::new(stdout).read_line(&mut line)?;
        let Some(address) = line.trim().strip_prefix("listening on ") else {
            return Err(io::Error::other(
                "the server does not start; it says why above",
            ));
        };
        // A node of a cluster says more.
        process.address = address.split_whitespace().take(1).collect();
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
