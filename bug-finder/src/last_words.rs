//! What a child leaves behind when it dies: its crash report, and the end of what it printed.

use crate::os;
use lockwright_sim::crash_report::{self, CrashReport, Memory};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

/// What a child may print; more is refused.
const PRINTED_MAX: usize = 16 << 10;
/// So many lines of it are kept.
const LINES_MAX: usize = 6;

/// Where a child leaves its last words. Used again when the child is gone.
#[derive(Debug)]
pub struct Paper {
    memory: Memory,
    printed: File,
}

/// What a child left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LastWords {
    /// Its crash report.
    pub report: CrashReport,
    /// The end of what it printed on stderr, such as that its stack is full.
    pub printed: String,
}

/// Paper of children that are gone: memory that is shared once stays so.
static USED: Mutex<Vec<Paper>> = Mutex::new(Vec::new());

impl Paper {
    /// Empty paper.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn new() -> io::Result<Paper> {
        let used = USED.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let paper = match used {
            Some(paper) => paper,
            None => Paper {
                memory: os::shared_memory(crash_report::LEN)?,
                printed: os::shared_file(PRINTED_MAX)?,
            },
        };
        crash_report::clear(paper.memory);
        os::rewind(&paper.printed)?;
        Ok(paper)
    }

    /// In the child: from now on it writes its report here.
    pub fn write(&self) {
        crash_report::keep_in(self.memory);
    }

    /// In the child: in the place of stderr.
    #[must_use]
    pub fn stderr(&self) -> BorrowedFd<'_> {
        self.printed.as_fd()
    }

    /// Reads what a child left that has died.
    #[must_use]
    pub fn read(&self) -> LastWords {
        let mut bytes = vec![0; PRINTED_MAX];
        let printed = os::position(&self.printed).unwrap_or(0).min(PRINTED_MAX);
        let printed = match self.printed.read_exact_at(&mut bytes[..printed], 0) {
            Ok(()) => String::from_utf8_lossy(&bytes[..printed]).into_owned(),
            Err(_) => String::new(),
        };
        LastWords {
            report: crash_report::read(self.memory),
            printed: last_lines(&printed),
        }
    }

    /// Keeps it for another child.
    pub fn put_back(self) {
        let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
        used.push(self);
    }
}

/// The last lines that say something, without what is another in each process.
fn last_lines(printed: &str) -> String {
    let lines: Vec<String> = printed
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(without_thread_id)
        .collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
}

/// `thread 'main' (4711) has overflowed its stack` without the number.
fn without_thread_id(line: &str) -> String {
    let is_id = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match line.split_once(" (") {
        Some((start, rest)) if start.starts_with("thread ") => match rest.split_once(')') {
            Some((id, end)) if is_id(id) => format!("{start}{end}"),
            _ => line.to_owned(),
        },
        _ => line.to_owned(),
    }
}

impl LastWords {
    /// How many of the last events go into a message; all go into a trace.
    const EVENTS_SHOWN: usize = 12;

    /// All that was left, for the end of a message.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut add = |title: &str, lines: &mut dyn Iterator<Item = &str>| {
            let mut lines = lines.peekable();
            if lines.peek().is_some() {
                text.push('\n');
                text.push_str(title);
            }
            for line in lines {
                text.push_str("\n  ");
                text.push_str(line);
            }
        };
        add("panics:", &mut self.report.panics.lines());
        add("printed:", &mut self.printed.lines());
        let events = &self.report.events;
        let shown = &events[events.len().saturating_sub(LastWords::EVENTS_SHOWN)..];
        add("last events:", &mut shown.iter().map(String::as_str));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_printed_is_the_same_in_each_process() {
        let printed = "a\nb\n\nthread '<unnamed>' (4711) has overflowed its stack\n\
                       fatal runtime error: stack overflow, aborting\nf (3)\n";
        assert_eq!(
            last_lines(printed),
            "a\nb\nthread '<unnamed>' has overflowed its stack\n\
             fatal runtime error: stack overflow, aborting\nf (3)"
        );
        assert_eq!(last_lines(&"x\n".repeat(100)), ["x"; LINES_MAX].join("\n"));
    }

    #[test]
    fn paper_that_is_used_again_is_empty() {
        use std::io::Write as _;
        let paper = Paper::new().expect("there is memory");
        crash_report::clear(paper.memory);
        (&paper.printed)
            .write_all(b"hello\n")
            .expect("there is room");
        assert_eq!(paper.read().printed, "hello");
        let too_much = vec![b'x'; PRINTED_MAX];
        assert!((&paper.printed).write_all(&too_much).is_err());
        paper.put_back();
        let again = Paper::new().expect("there is memory");
        assert_eq!(again.read(), LastWords::default());
    }
}
