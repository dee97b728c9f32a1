//! Turns a panic of what is simulated into a value, silently.

use super::backtrace::{self, short};
use crate::{crash_report, outcome::Outcome};
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
    frames: Vec<String>,
}

/// Without its frames: they depend on whether they are wanted, and this is part of histories.
impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked at {}: {}", self.place, self.message)
    }
}

/// Told of a run that ends with its first panic; does not return, or what panicked unwinds.
type Tell = Box<dyn FnOnce(Outcome)>;
/// What is known of a run at its first panic.
type Conclude = Box<dyn FnOnce(&Panicked) -> Outcome>;

thread_local! {
    /// How many runs this thread is in.
    static RUNS: Cell<u32> = const { Cell::new(0) };
    /// The panic of the run, put there by the hook.
    static PANICKED: RefCell<Option<Panicked>> = const { RefCell::new(None) };
    /// Where the last panic that became a value came from.
    static FRAMES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static TELL: RefCell<Option<Tell>> = const { RefCell::new(None) };
    static CONCLUDE: RefCell<Option<Conclude>> = const { RefCell::new(None) };
}

/// Runs `run`; a panic in it prints nothing and becomes an error.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    install_hook();
    RUNS.set(RUNS.get() + 1);
    // Whatever the panic left half done is dropped with the run that it belongs to.
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    RUNS.set(RUNS.get() - 1);
    let panicked = result.map_err(|_| {
        PANICKED.take().unwrap_or_else(|| Panicked {
            message: "without a message".to_owned(),
            place: "an unknown place".to_owned(),
            frames: Vec::new(),
        })
    });
    if let Err(panicked) = &panicked {
        FRAMES.set(panicked.frames.clone());
    }
    panicked
}

/// As [`catch`], of a run with a runtime in it. When [`end_at_first_panic`] has said whom to tell, the
/// run ends at its first panic, with what `conclude` makes of it, and nothing is unwound.
///
/// Unwinding is not safe there: a runtime that shuts down because of a panic drops its tasks while
/// its scheduler is borrowed, so each of them that wakes another panics, too, and one that wakes two
/// (as a `JoinSet` with two tasks does) takes the whole process with it.
pub(crate) fn catch_first<T>(
    conclude: impl FnOnce(&Panicked) -> Outcome + 'static,
    run: impl FnOnce() -> T,
) -> Result<T, Panicked> {
    CONCLUDE.set(Some(Box::new(conclude)));
    let result = catch(run);
    CONCLUDE.set(None);
    result
}

/// Has `tell` called, within the panic, at the first panic of a run with a runtime on this thread. It
/// gets what the run came to. It should not return: what panicked unwinds then.
pub fn end_at_first_panic(tell: impl FnOnce(Outcome) + 'static) {
    TELL.set(Some(Box::new(tell)));
}

/// Says where the last panic that became a value came from: for the end of its message.
pub(super) fn add_frames(message: &mut String) {
    for frame in FRAMES.take() {
        message.push_str("\n  ");
        message.push_str(&frame);
    }
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
    let panicked = panicked(info);
    crash_report::panicked(&panicked.in_full());
    let is_first = PANICKED.with_borrow_mut(|first| {
        let is_first = first.is_none();
        first.get_or_insert_with(|| panicked.clone());
        is_first
    });
    if is_first && let Some(conclude) = CONCLUDE.take() {
        match TELL.take() {
            Some(tell) => {
                FRAMES.set(panicked.frames.clone());
                tell(with_frames(conclude(&panicked)));
            }
            None => CONCLUDE.set(Some(conclude)),
        }
    }
}

/// Says where the panic came from, if it is one that the run ended with.
pub(super) fn with_frames(mut outcome: Outcome) -> Outcome {
    let violation = outcome.violation.as_mut();
    if let Some(violation) = violation.filter(|violation| violation.oracle == "no_panic") {
        add_frames(&mut violation.message);
    }
    outcome
}

impl Panicked {
    fn in_full(&self) -> String {
        let mut text = self.to_string();
        for frame in &self.frames {
            text.push_str("\n  ");
            text.push_str(frame);
        }
        text
    }
}

fn panicked(info: &PanicHookInfo<'_>) -> Panicked {
    let place = match info.location() {
        Some(at) => format!("{}:{}:{}", short(at.file()), at.line(), at.column()),
        None => "an unknown place".to_owned(),
    };
    let message = info.payload_as_str().unwrap_or("without a message");
    Panicked {
        message: message.to_owned(),
        place,
        frames: backtrace::here(),
    }
}

/// Takes note of a panic that no run catches, and says what is known of it.
#[must_use]
pub fn escaped(info: &PanicHookInfo<'_>) -> String {
    let text = panicked(info).in_full();
    crash_report::panicked(&text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::HistoryHash;

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
    fn a_panic_ends_only_runs_with_a_runtime_and_tells_the_first() {
        let told = std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let run = move || {
                end_at_first_panic(move |outcome| {
                    tell.send(outcome).expect("the test waits for it");
                });
                let caught = catch(|| -> () { panic!("not this") });
                assert!(caught.is_err());
                let conclude = |panicked: &Panicked| Outcome {
                    history_hash: HistoryHash(1),
                    commands: 0,
                    simulated_ms: 0,
                    violation: Some(crate::oracle::no_panic::violation(3, panicked)),
                    history: None,
                };
                let _ = catch_first(conclude, || -> () { panic!("but this") });
            };
            let run = std::thread::Builder::new().spawn_scoped(scope, run);
            let _ = run.expect("a thread can be had").join();
            told.try_iter().collect::<Vec<_>>()
        });
        assert_eq!(told.len(), 1);
        let violation = told[0].violation.as_ref().expect("it is one");
        assert!(violation.message.contains("but this"), "{violation:?}");
    }
}
