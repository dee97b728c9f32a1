//! What a caller has made of signals, and what becomes of it.

use crate::support::{
    Dir, Server, code, eventually, holder_of, lockwright, pid, stderr, stdout, with_signals,
};
use nix::sys::signal::{Signal, kill};
use std::{
    io::{BufRead, BufReader},
    time::{Duration, Instant},
};

/// The numbers of the signals that a line such as `SigBlk:` in /proc/PID/status names.
fn named(status: &str, line: &str) -> Vec<i32> {
    let bits = status.lines().find_map(|text| text.strip_prefix(line));
    let bits = u64::from_str_radix(bits.expect(status).trim(), 16).unwrap();
    (1..=31)
        .filter(|nth| bits & (1 << (nth - 1)) != 0)
        .collect()
}

#[test]
fn a_caller_that_blocks_or_ignores_signals_does_not_keep_the_lock_beyond_the_command() {
    let server = Server::in_memory();
    for (block, ignore) in [
        (&["SIGCHLD"][..], &[][..]),
        (&[], &["SIGCHLD"]),
        (&["SIGCHLD"], &["SIGCHLD", "SIGPIPE"]),
        (&["SIGCHLD", "SIGTERM", "SIGINT", "SIGHUP", "SIGALRM"], &[]),
    ] {
        let start = Instant::now();
        let command = server.lock(&["a", "--", "sh", "-c", "exit 7"]);
        let output = with_signals(block, ignore, &command).output().unwrap();
        assert_eq!(
            code(&output),
            7,
            "{block:?} {ignore:?}: {}",
            stderr(&output)
        );
        // Otherwise it ends when the lock is about to be lost, after about 25 s.
        let took = start.elapsed();
        assert!(
            took < Duration::from_secs(15),
            "{block:?} {ignore:?}: {took:?}"
        );
    }
}

#[test]
fn the_command_blocks_and_ignores_what_the_caller_did() {
    let server = Server::in_memory();
    for (block, ignore) in [
        (&[][..], &[][..]),
        (&[], &["SIGPIPE"]),
        (&["SIGCHLD", "SIGTERM", "SIGUSR1", "SIGPIPE"], &[]),
        (&["SIGALRM"], &["SIGHUP", "SIGPIPE"]),
    ] {
        let number = |name: &&str| name.parse::<Signal>().unwrap() as i32;
        let sorted = |names: &[&str]| {
            let mut numbers: Vec<i32> = names.iter().map(number).collect();
            numbers.sort_unstable();
            numbers
        };
        let command = server.lock(&["a", "--", "cat", "/proc/self/status"]);
        let output = with_signals(block, ignore, &command).output().unwrap();
        let status = stdout(&output);
        assert_eq!(named(&status, "SigBlk:"), sorted(block), "{block:?}");
        let ignored = named(&status, "SigIgn:");
        for signal in [Signal::SIGPIPE, Signal::SIGHUP] {
            let expected = sorted(ignore).contains(&(signal as i32));
            assert_eq!(
                ignored.contains(&(signal as i32)),
                expected,
                "{signal}: {ignore:?}"
            );
        }
    }
}

#[test]
fn what_a_caller_blocks_ends_those_who_wait_and_servers_all_the_same() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let mut holder = holder_of(&server, &dir, "a", &[]);
    let command = server.lock(&["a", "--", "true"]);
    let mut waiting = with_signals(&["SIGTERM"], &[], &command).spawn().unwrap();
    eventually("it waits", || {
        let ls = ["ls", "--server", &server.address, "--queued", "--json"];
        stdout(&lockwright(&ls).output().unwrap()).contains("queued")
    });
    kill(pid(&waiting), Signal::SIGTERM).unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(143));
    holder.kill().unwrap();
    holder.wait().unwrap();

    let command = lockwright(&["serve", "--memory", "--listen", "127.0.0.1:0"]);
    let mut serving = with_signals(&["SIGTERM", "SIGINT"], &[], &command);
    let mut serving = serving.stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(serving.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    kill(pid(&serving), Signal::SIGTERM).unwrap();
    eventually("the server ends", || serving.try_wait().unwrap().is_some());
    assert_eq!(serving.wait().unwrap().code(), Some(0), "{line}");
}
