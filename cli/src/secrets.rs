//! Secrets in files: those of operators, and of nodes of a cluster.

use crate::{
    exit::{Exit, Failure},
    output,
};
use lockwright_server::Secret;
use std::{fs::File, io::Read, os::unix::fs::MetadataExt, path::Path};

/// More than a secret can have, with a line's end.
const BYTES_MAX: u64 = 8192;

/// The rights of others than the owner of a file.
const OTHERS: u32 = 0o077;

/// Reads the secret of a file that `option` names, if it does.
pub(crate) fn read_if_given(option: &str, path: Option<&Path>) -> Result<Option<Secret>, Failure> {
    path.map(|path| read(option, path)).transpose()
}

/// Reads the secret that a file has, but for blanks and line ends around it. `option` has named the file.
fn read(option: &str, path: &Path) -> Result<Secret, Failure> {
    let shown = path.display();
    let wrong = |what: String| Failure::new(Exit::USAGE, format!("{option} {shown}: {what}"));
    let unread = |error: std::io::Error| wrong(format!("it cannot be read: {error}"));
    let mut file = File::open(path).map_err(unread)?;
    let about = file.metadata().map_err(unread)?;
    let mut text = String::new();
    let mut start = file.by_ref().take(BYTES_MAX);
    start.read_to_string(&mut text).map_err(unread)?;
    let secret = Secret::new(text.trim()).map_err(|error| {
        wrong(format!(
            "{error}. Make one with: (umask 077; head -c 32 /dev/urandom | base64 > {shown})"
        ))
    })?;
    if about.is_file() && about.mode() & OTHERS != 0 {
        output::tell(&format!(
            "lockwright: {option} {shown}: other users of this machine may read it, so it is no secret: \
             chmod 600 {shown}"
        ));
    }
    Ok(secret)
}
