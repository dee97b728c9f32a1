//! A panic is a bug of ours, and is told as one.

use crate::output;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};

/// Tells of panics in one line on stderr.
pub(crate) fn say_plainly() {
    set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let what = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map_or_else(String::new, |place| {
            format!(" at {}:{}", place.file(), place.line())
        });
        output::tell(&format!(
            "error: a bug in lockwright {}: {what}{place}; please report it, with what was done",
            env!("CARGO_PKG_VERSION")
        ));
    }));
}

/// What `run` gives; none when it panicked.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Option<T> {
    // Nothing of what it has touched is used afterwards.
    catch_unwind(AssertUnwindSafe(run)).ok()
}
