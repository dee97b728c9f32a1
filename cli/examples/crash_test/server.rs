//! The server that is killed, and its data.

use crate::process::Process;
use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

/// Starts a server on the data. What keeps it from starting is a violation of its own.
pub(crate) fn start(program: &str, data: &Data) -> io::Result<Process> {
    let live = data.live();
    // So that a snapshot is taken, and the log cut off, within a round.
    let often = ["--snapshot-entries", "500"].map(OsStr::new);
    let listen = ["--listen", "127.0.0.1:0", "--data"].map(OsStr::new);
    Process::serve(
        program,
        &[&listen[..], &[live.as_os_str()], &often].concat(),
    )
}

/// Ends it at once.
pub(crate) fn kill(mut server: Process) -> io::Result<()> {
    server.child.kill()?;
    server.child.wait().map(|_| ())
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
