//! `scripts/bug_finder.sh` where something to build with is missing.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory of programs, gone with the test.
struct Programs(PathBuf);

impl Programs {
    /// What the script itself calls, and these.
    fn new(test: &str, programs: &[(&str, &str)]) -> Programs {
        let dir = std::env::temp_dir().join(format!("bug-finder-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory for the test");
        for name in ["sh", "dirname", "sed", "cut", "sort", "head"] {
            let places = ["/usr/bin", "/bin"].map(|place| Path::new(place).join(name));
            let place = places.iter().find(|place| place.exists());
            symlink(place.expect("it is everywhere"), dir.join(name)).expect("it is ours");
        }
        for (name, says) in programs {
            let path = dir.join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{says}\n")).expect("it is ours");
            let all = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&path, all).expect("it is ours");
        }
        Programs(dir)
    }

    fn run(&self) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/bug_finder.sh");
        Command::new("sh")
            .arg(script)
            .env("PATH", &self.0)
            .output()
            .expect("there is a shell")
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const CARGO: (&str, &str) = ("cargo", "exit 7");
const RUSTC: (&str, &str) = ("rustc", "echo 'rustc 99.0.0 (of the test)'");
const CC: (&str, &str) = ("cc", "exit 0");

#[test]
fn what_is_missing_is_said_in_one_line() {
    let old = ("rustc", "echo 'rustc 1.9.0 (of the test)'");
    let nightly = ("rustc", "echo 'rustc 99.0.0-nightly (of the test)'");
    for (name, programs, code, says) in [
        (
            "cargo",
            &[RUSTC, CC][..],
            2,
            "cargo is missing: install Rust 1.",
        ),
        (
            "rustc",
            &[CARGO, CC],
            2,
            "rustc is missing: install Rust 1.",
        ),
        (
            "cc",
            &[CARGO, RUSTC],
            2,
            "cc is missing: install a C compiler",
        ),
        (
            "old",
            &[CARGO, old, CC],
            2,
            "rustc 1.9.0 is too old: install Rust 1.",
        ),
        // Nothing is missing: it is cargo that fails.
        ("all", &[CARGO, RUSTC, CC], 7, ""),
        ("nightly", &[CARGO, nightly, CC], 7, ""),
    ] {
        let output = Programs::new(&format!("needs-{name}"), programs).run();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        assert!(said.contains(says), "{name}: {said}");
        assert_eq!(
            said.lines().count(),
            usize::from(code == 2),
            "{name}: {said}"
        );
    }
}
