//! Turns a panic of the engine into a value.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Arc;

thread_local! {
    /// Whether what runs on this thread is guarded.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `run`; a panic in it becomes its message.
pub(crate) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    GUARDED.set(true);
    // Whatever the panic left half done is dropped with the state that it belongs to.
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    GUARDED.set(false);
    result.map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

type Hook = dyn Fn(&PanicHookInfo<'_>) + Send + Sync;

/// While it lives, panics of engines in a model print nothing: they are findings. It leaves the
/// process as it was, since children that are forked later have a hook of their own.
pub struct QuietPanics {
    before: Arc<Hook>,
}

impl QuietPanics {
    /// From now on.
    #[must_use]
    pub fn new() -> QuietPanics {
        let before: Arc<Hook> = Arc::from(panic::take_hook());
        let others = Arc::clone(&before);
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                others(info);
            }
        }));
        QuietPanics { before }
    }
}

impl Default for QuietPanics {
    fn default() -> QuietPanics {
        QuietPanics::new()
    }
}

impl Drop for QuietPanics {
    fn drop(&mut self) {
        // A hook cannot be changed by a thread that panics.
        if !std::thread::panicking() {
            let before = Arc::clone(&self.before);
            panic::set_hook(Box::new(move |info| before(info)));
        }
    }
}
