//! Bytes as the files that people and tools write: scripts and traces.

use crate::plan::Plan;
use crate::script::{CheckError, ScriptError, check_script, rewrite_script};
use crate::trace::Trace;
use std::path::Path;

/// Reads the bytes as a script. It is refused, or runs; then the oracles and the reference model
/// have nothing to say against the engine, and the output that is put in is the one that comes.
///
/// # Panics
/// When one of these does not hold.
pub fn script(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let rewritten = match rewrite_script(text) {
        Ok(rewritten) => rewritten,
        Err(ScriptError::Unreadable { .. }) => return,
        Err(error) => panic!("{error}\n{text}"),
    };
    match check_script(&rewritten) {
        Ok(()) => {}
        Err(CheckError::Script(error)) => panic!("{error}\n{rewritten}"),
        Err(error @ CheckError::Mismatch(_)) => panic!("{error}\n{rewritten}"),
    }
    assert_eq!(
        rewrite_script(&rewritten).ok(),
        Some(rewritten),
        "it is as it should be"
    );
}

/// Reads the bytes as a trace. It is refused, or comes out again as it went in.
///
/// # Panics
/// When it does not.
pub fn trace(bytes: &[u8]) {
    let path = Path::new("fuzzed.json");
    let Ok(trace) = Trace::<Plan>::parse(bytes, path) else {
        return;
    };
    let written = serde_json::to_string(&trace).expect("a trace is JSON");
    let read = Trace::<Plan>::parse(written.as_bytes(), path).expect("it was written by us");
    let again = serde_json::to_string(&read).expect("a trace is JSON");
    assert_eq!(again, written);
    assert_eq!(read.plan.size(), trace.plan.size());
}
