//! Turns a panic of what is simulated into a value, silently.

use std::{
    cell::{Cell, RefCell},
    fmt,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    sync::Once,
};

/// What a panic said, and where.
#[derive(Debug, Clone)]
pub(crate) struct Panicked {
    message: String,
    place: String,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked at {}: {}", self.place, self.message)
    }
}

thread_local! {
    /// How many runs this thread is in.
    static RUNS: Cell<u32> = const { Cell::new(0) };
    /// The panic of the run, put there by the hook.
    static PANICKED: RefCell<Option<Panicked>> = const { RefCell::new(None) };
}

/// Runs `run`; a panic in it prints nothing and becomes an error.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    install_hook();
    RUNS.set(RUNS.get() + 1);
    // Whatever the panic left half done is dropped with the run that it belongs to.
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    RUNS.set(RUNS.get() - 1);
    result.map_err(|_| {
        PANICKED.take().unwrap_or_else(|| Panicked {
            message: "without a message".to_owned(),
            place: "an unknown place".to_owned(),
        })
    })
}

/// Puts a hook in front of the one that is there, once per process: it takes note of panics in
/// runs and passes on all others.
fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let outside_runs = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if RUNS.get() == 0 {
                outside_runs(info);
            } else {
                note(info);
            }
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    let place = match info.location() {
        Some(at) => format!("{}:{}:{}", short(at.file()), at.line(), at.column()),
        None => "an unknown place".to_owned(),
    };
    let message = info
        .payload_as_str()
        .unwrap_or("without a message")
        .to_owned();
    let panicked = Panicked { message, place };
    PANICKED.with_borrow_mut(|first| {
        // What panics while the first panic is cleaned up ends the process, and what was noted with it.
        if let Some(first) = first {
            eprintln!("{first}, and then {panicked}");
        }
        first.get_or_insert(panicked);
    });
}

/// The end of a file's path that is the same on every machine.
fn short(file: &str) -> &str {
    let start = file
        .rfind("/src/")
        .and_then(|src| file[..src].rfind('/'))
        .map_or(0, |slash| slash + 1);
    &file[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_run_becomes_a_value_with_message_and_place() {
        let panicked = catch(|| -> () { panic!("seven is {}", 7) }).unwrap_err();
        assert_eq!(panicked.message, "seven is 7");
        assert!(
            panicked.place.contains("src/plan/guard.rs:"),
            "{}",
            panicked.place
        );
        assert_eq!(catch(|| 8).unwrap(), 8);
    }

    #[test]
    fn places_do_not_depend_on_the_machine() {
        assert_eq!(short("/root/x/engine/src/tree.rs"), "engine/src/tree.rs");
        assert_eq!(short("engine/src/tree.rs"), "engine/src/tree.rs");
        assert_eq!(short("tree.rs"), "tree.rs");
    }
}
