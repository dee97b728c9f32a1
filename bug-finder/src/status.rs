//! The live line on a terminal: one line on stderr, redrawn a few times a second.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line is redrawn.
const PERIOD: Duration = Duration::from_millis(250);

/// The live line, or nothing where stderr is no terminal.
#[derive(Debug)]
pub struct Status {
    live: bool,
    color: bool,
    next_at: Instant,
    shown: bool,
}

impl Status {
    /// A line that shows nothing yet.
    #[must_use]
    pub fn new() -> Status {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let live = std::io::stderr().is_terminal() && !dumb;
        Status {
            live,
            color: live && !plain,
            next_at: Instant::now(),
            shown: false,
        }
    }

    /// Whether anything is shown.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Shows what `line` gives, if it is time. Returns when it will be time again.
    pub fn show(&mut self, line: impl FnOnce() -> String) -> Option<Instant> {
        if !self.live {
            return None;
        }
        let now = Instant::now();
        if now >= self.next_at {
            self.next_at = now + PERIOD;
            self.shown = true;
            let line: String = line().chars().take(columns().saturating_sub(1)).collect();
            let (dim, plain) = if self.color {
                ("\x1b[2m", "\x1b[0m")
            } else {
                ("", "")
            };
            // What cannot be drawn is not worth stopping for.
            let _ = write!(std::io::stderr(), "\r\x1b[K{dim}{line}{plain}");
        }
        Some(self.next_at)
    }

    /// Takes the line off the terminal, so that other text can be written.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        self.next_at = Instant::now();
    }
}

impl Default for Status {
    fn default() -> Status {
        Status::new()
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        self.clear();
    }
}

/// How wide the terminal is, as far as the environment says.
fn columns() -> usize {
    const USUAL: usize = 120;
    std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
        .filter(|columns| *columns > 1)
        .unwrap_or(USUAL)
}
