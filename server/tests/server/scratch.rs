//! A directory for a test.

use std::path::PathBuf;

/// A directory that goes when this does.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// One that no other test has: `name` is unique in all of them.
    pub(crate) fn new(name: &str) -> Scratch {
        let name = format!("lockwright-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
