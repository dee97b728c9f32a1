//! Where a panic came from: a few frames, with nothing in them that differs between processes.

use std::{
    backtrace::Backtrace,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

/// So many frames are kept.
const FRAMES_MAX: usize = 10;

/// Whether panics take note of where they came from.
static WANTED: AtomicBool = AtomicBool::new(false);

/// From now on panics in runs say where they came from, or do not: names of frames take some tenths
/// of a second of CPU time to find.
pub fn want_backtraces(wanted: bool) {
    WANTED.store(wanted, Ordering::Relaxed);
}

/// A function that was on the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    name: String,
    place: String,
}

impl Frame {
    /// Whether it is code of this workspace.
    fn is_ours(&self) -> bool {
        let foreign = ["/rustc/", "/.cargo/", "/.rustup/"];
        !self.place.is_empty() && !foreign.iter().any(|part| self.place.contains(part))
    }

    /// Whether it is of what panics and catches panics, and not of what panicked.
    fn is_machinery(&self) -> bool {
        let of_std = self.place.is_empty() || self.place.contains("/rustc/");
        of_std || self.is_guard()
    }

    fn is_guard(&self) -> bool {
        let guard = [
            "sim/src/plan/guard.rs",
            "sim/src/plan/backtrace.rs",
            "bug-finder/src/worker.rs",
        ];
        guard.iter().any(|file| self.place.contains(file))
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = short(&self.place);
        // The column is of the call, and says little.
        let place = place.rsplit_once(':').map_or(place, |(line, _)| line);
        // What a generic function is for makes lines long.
        let name = match self.name.find('<') {
            Some(at) if at > 0 => &self.name[..at],
            _ => &self.name,
        };
        if place.is_empty() {
            return f.write_str(name);
        }
        write!(f, "{place} in {name}")
    }
}

/// The frames of this thread that say most, a line each; none unless they are wanted.
pub(super) fn here() -> Vec<String> {
    if !WANTED.load(Ordering::Relaxed) {
        return Vec::new();
    }
    // In full: the short form has paths that depend on where the process runs.
    telling(&parse(&format!("{:#}", Backtrace::force_capture())))
}

/// The frames of this workspace between the panic and the guard; all frames if there are none.
fn telling(frames: &[Frame]) -> Vec<String> {
    // The hook is of the guard, too, and comes first.
    let panicked = frames.iter().skip_while(|frame| !frame.is_guard());
    let between = panicked
        .skip_while(|frame| frame.is_machinery())
        .take_while(|frame| !frame.is_guard())
        .filter(|frame| !frame.is_machinery());
    let ours: Vec<&Frame> = between.clone().filter(|frame| frame.is_ours()).collect();
    let chosen = if ours.is_empty() {
        between.collect()
    } else {
        ours
    };
    let chosen = chosen.into_iter().take(FRAMES_MAX);
    chosen.map(Frame::to_string).collect()
}

/// The frames of a backtrace as the standard library writes it: `N: address - name`, then `at place`.
/// What was inlined has neither number nor address.
fn parse(text: &str) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("at ") {
            if let Some(frame) = frames.last_mut() {
                frame.place = place.to_owned();
            }
            continue;
        }
        let name = match line.split_once(": ") {
            Some((number, name)) if number.bytes().all(|b| b.is_ascii_digit()) => name.trim_start(),
            _ => line,
        };
        let name = match name.split_once(" - ") {
            Some((address, name)) if address.starts_with("0x") => name,
            _ => name,
        };
        frames.push(Frame {
            name: without_hash(name).to_owned(),
            place: String::new(),
        });
    }
    frames
}

/// A name without the hash of its crate, which is another in each build.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            name
        }
        _ => name,
    }
}

/// The end of a file's path that is the same on every machine: the crate's folder, and what is in it.
pub(super) fn short(file: &str) -> &str {
    let inside = file.rfind("/src/").or_else(|| file.rfind("/tests/"));
    let start = inside
        .and_then(|inside| file[..inside].rfind('/'))
        .map_or(0, |slash| slash + 1);
    &file[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "   0:     0x55d0c0ffee00 - std::backtrace::Backtrace::force_capture
   1:     0x55d0c0ffee01 - lockwright_sim::plan::guard::note
             at /home/x/lockwright/sim/src/plan/guard.rs:9:9
   2:     0x55d0c0ffee02 - core::panicking::panic_fmt
             at /rustc/5980/library/core/src/panicking.rs:80:14
   3:     0x55d0c0ffee03 - lockwright_engine::tree::Tree::remove::h0123456789abcdef
             at /home/x/lockwright/engine/src/tree.rs:283:9
                           lockwright_engine::engine::Engine::apply<alloc::string::String>
             at ./engine/src/engine.rs:12:5
   4:     0x55d0c0ffee04 - tokio::runtime::task::raw::poll
             at /home/x/.cargo/registry/src/index/tokio-1.0.0/src/runtime/task/raw.rs:1:2
   5:     0x55d0c0ffee05 - lockwright_sim::plan::guard::catch
             at /home/x/lockwright/sim/src/plan/guard.rs:35:18
   6:     0x55d0c0ffee06 - bug_finder::worker::run_alone
             at /home/x/lockwright/bug-finder/src/worker.rs:99:9";

    #[test]
    fn frames_of_this_workspace_are_kept_and_nothing_of_the_machine() {
        assert_eq!(
            telling(&parse(TEXT)),
            [
                "engine/src/tree.rs:283 in lockwright_engine::tree::Tree::remove",
                "engine/src/engine.rs:12 in lockwright_engine::engine::Engine::apply",
            ]
        );
    }

    #[test]
    fn where_no_frame_is_of_this_workspace_all_are_kept() {
        let mut frames = parse(TEXT);
        frames.retain(|frame| !frame.name.starts_with("lockwright_engine"));
        assert_eq!(
            telling(&frames),
            ["tokio-1.0.0/src/runtime/task/raw.rs:1 in tokio::runtime::task::raw::poll"]
        );
    }

    #[test]
    fn places_do_not_depend_on_the_machine() {
        assert_eq!(short("/root/x/engine/src/tree.rs"), "engine/src/tree.rs");
        assert_eq!(short("engine/src/tree.rs"), "engine/src/tree.rs");
        assert_eq!(short("./engine/src/tree.rs"), "engine/src/tree.rs");
        assert_eq!(short("/x/engine/tests/all.rs"), "engine/tests/all.rs");
        assert_eq!(short("tree.rs"), "tree.rs");
    }
}
