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
            // The last column stays free: a terminal may wrap behind it.
            let line = fit(&line(), columns().saturating_sub(1));
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

/// How wide the terminal is now.
fn columns() -> usize {
    const USUAL: usize = 80;
    let size = terminal_size::terminal_size_of(std::io::stderr());
    size.map_or(USUAL, |(width, _)| usize::from(width.0))
}

/// As much of a line as fits into so many columns.
fn fit(line: &str, columns: usize) -> String {
    let mut used = 0;
    let fits = |c: &char| {
        used += width(*c);
        used <= columns
    };
    line.chars()
        .filter(|c| !c.is_control())
        .take_while(fits)
        .collect()
}

/// How many columns a character takes.
fn width(c: char) -> usize {
    match u32::from(c) {
        // Accents, joiners and selectors go onto what is before them.
        0x300..=0x36f | 0x200b..=0x200f | 0x20d0..=0x20ff | 0xfe00..=0xfe0f => 0,
        // Scripts of East Asia, and pictures.
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_the_columns_that_it_takes() {
        assert_eq!(fit("0 findings", 99), "0 findings");
        assert_eq!(fit("0 findings", 3), "0 f");
        assert_eq!(fit("äöüß", 3), "äöü");
        assert_eq!(fit("e\u{301}te\u{301}", 2), "e\u{301}t");
        assert_eq!(fit("錠前師", 5), "錠前");
        assert_eq!(fit("a\tb\r\x1bc", 9), "abc");
    }
}
