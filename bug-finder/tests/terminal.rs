//! What a person sees on a terminal.

use nix::pty::{Winsize, openpty};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};
use std::time::Duration;

fn size(columns: u16) -> Winsize {
    Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// Makes a terminal as wide as that.
fn resize(terminal: &File, columns: u16) {
    let size = size(columns);
    #[expect(unsafe_code, reason = "nix has no safe form of it")]
    // SAFETY: the request reads a `Winsize`, which lives until it returns.
    let done = unsafe { nix::libc::ioctl(terminal.as_raw_fd(), nix::libc::TIOCSWINSZ, &size) };
    assert_eq!(done, 0);
}

/// What is shown on stderr of a hunt of two seconds; the terminal becomes `then` columns wide in the
/// middle.
fn shown(columns: u16, then: u16) -> String {
    let pty = openpty(&size(columns), None).expect("there are terminals");
    let mut terminal = File::from(pty.master);
    let mut hunt = Command::new(env!("CARGO_BIN_EXE_bug-finder"))
        .args(["run", "--profile", "engine", "--start", "0", "--for", "2s"])
        .env("TERM", "xterm")
        .env("NO_COLOR", "1")
        // It may be of another terminal.
        .env("COLUMNS", "300")
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(pty.slave))
        .spawn()
        .expect("the binary is there");
    std::thread::sleep(Duration::from_secs(1));
    resize(&terminal, then);
    assert_eq!(hunt.wait().expect("it ends").code(), Some(0));
    let mut bytes = Vec::new();
    // A terminal of which the other end is closed is an error to read, and all was read before.
    let _ = terminal.read_to_end(&mut bytes);
    String::from_utf8(bytes).expect("it is text")
}

/// The lines that were drawn over each other, and the last one, which stays.
fn lines(shown: &str) -> (Vec<&str>, &str) {
    let mut drawn: Vec<&str> = shown
        .split("\r\x1b[K")
        .filter(|line| !line.is_empty())
        .collect();
    let last = drawn.pop().expect("something is shown");
    (drawn, last.trim_end())
}

#[test]
fn the_line_fits_the_terminal_and_begins_with_the_findings() {
    let shown = shown(40, 25);
    let (drawn, last) = lines(&shown);
    assert!(drawn.len() > 4, "{shown:?}");
    assert!(
        drawn.iter().all(|line| line.starts_with("0 findings, ")),
        "{drawn:?}"
    );
    let widths: Vec<usize> = drawn.iter().map(|line| line.chars().count()).collect();
    assert_eq!(widths[0], 39, "{drawn:?}");
    assert_eq!(widths[widths.len() - 1], 24, "{drawn:?}");
    assert!(last.starts_with("time is up: 0 findings, "), "{last:?}");
    assert_eq!(last.lines().count(), 1, "{last:?}");
}

#[test]
fn a_wide_terminal_shows_all() {
    let shown = shown(200, 200);
    let (drawn, _) = lines(&shown);
    assert!(drawn[0].ends_with("x real time)"), "{drawn:?}");
}
