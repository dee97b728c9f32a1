//! Output that cannot be written: nothing that was asked for gets lost without a word.

use crate::support::{Dir, Server, code, run, stderr, stdout};
use std::process::{Command, Output};

/// What stdout can be that takes nothing, as a shell has it.
const NOWHERE: [&str; 3] = [">/dev/full", ">&-", "1</dev/null"];
const NO_READER: &str = "| :";

/// Runs the binary with its output going to `to`.
fn into(to: &str, server: &Server, args: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_lockwright");
    let dir = Dir::new();
    let pipe = dir.path("pipe");
    let script = match to {
        // Its reader is gone when the program starts.
        NO_READER => "mkfifo \"$0\"; : <\"$0\" & exec 4>\"$0\"; wait; exec \"$@\" >&4".to_owned(),
        _ => format!("exec \"$@\" {to}"),
    };
    Command::new("sh")
        .args(["-c", &script, &pipe, program])
        .args(args)
        .env("LOCKWRIGHT_SERVER", &server.address)
        .output()
        .unwrap()
}

fn held(server: &Server) -> usize {
    let ls = run(&["ls", "--json", "--server", &server.address]);
    stdout(&ls).lines().count()
}

#[test]
fn a_lock_whose_token_cannot_be_said_is_not_kept() {
    let server = Server::in_memory();
    for to in NOWHERE.into_iter().chain([NO_READER]) {
        for args in [
            &["acquire", "a", "b"][..],
            &["acquire", "a", "--json", "--holder", "x"],
        ] {
            let output = into(to, &server, args);
            let text = stderr(&output);
            assert_eq!(code(&output), 74, "{to} {args:?}: {text}");
            assert!(
                text.contains("the lock was released again"),
                "{to} {args:?}: {text}"
            );
            assert_eq!(held(&server), 0, "{to} {args:?}");
        }
    }
}

#[test]
fn a_lock_that_an_earlier_call_may_rely_on_is_kept_and_its_token_told() {
    let server = Server::in_memory();
    for to in NOWHERE.into_iter().chain([NO_READER]) {
        let args = ["acquire", "a", "--request-id", "one"];
        let output = into(to, &server, &args);
        assert_eq!(code(&output), 74, "{to}: {}", stderr(&output));
        let again = run(&[&args[..], &["--server", &server.address]].concat());
        let token = format!("the token {}:", stdout(&again).trim());
        assert!(
            stderr(&output).contains(&token),
            "{to}: {}",
            stderr(&output)
        );
        assert_eq!(held(&server), 1);
    }
}

#[test]
fn what_cannot_be_written_is_told_and_what_was_done_too() {
    let server = Server::in_memory();
    let acquire = || {
        let output = run(&["acquire", "a", "--ttl", "60s", "--server", &server.address]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        stdout(&output).trim().to_owned()
    };
    for to in NOWHERE.into_iter().chain([NO_READER]) {
        let token = acquire();
        let token = token.as_str();
        let quiet = to == NO_READER;
        for (args, done) in [
            (&["ls"][..], ""),
            (&["ls", "--json"], ""),
            (&["inspect", "a"], ""),
            (&["inspect", "a", "--json"], ""),
            (&["namespaces"], ""),
            (&["stats"], ""),
            (&["completions", "bash"], ""),
            (&["--help"], ""),
            (&["--version"], ""),
            (
                &["renew", "a", "--json", "--token", token, "--ttl", "9m"],
                "the lock was renewed",
            ),
            (
                &["release", "a", "--json", "--token", token],
                "the lock is released",
            ),
        ] {
            let output = into(to, &server, args);
            let text = stderr(&output);
            if quiet {
                assert_eq!((code(&output), text.as_str()), (0, ""), "{to} {args:?}");
            } else {
                assert_eq!(code(&output), 74, "{to} {args:?}: {text}");
                let told = text.contains("cannot write the output") && text.contains(done);
                assert!(told, "{to} {args:?}: {text}");
            }
        }
        acquire();
        let refused = into(to, &server, &["acquire", "a", "--json"]);
        let text = stderr(&refused);
        assert!(code(&refused) == 1 && text.contains("busy"), "{to}: {text}");
        let broken = into(to, &server, &["break", "a", "--yes"]);
        let (expected, done) = if quiet {
            (0, "")
        } else {
            (74, "the lock was broken")
        };
        let text = stderr(&broken);
        assert!(
            code(&broken) == expected && text.contains(done),
            "{to}: {text}"
        );
        assert_eq!(held(&server), 0);
    }
}

#[test]
fn a_stderr_that_takes_nothing_changes_no_exit_code() {
    let server = Server::in_memory();
    let acquired = run(&["acquire", "a", "--server", &server.address]);
    assert_eq!(code(&acquired), 0, "{}", stderr(&acquired));
    for to in ["2>/dev/full", "2>&-", "2</dev/null"] {
        for (args, expected) in [
            (&["ls", "--server", "127.0.0.1:1"][..], 69),
            (&["acquire", "a"], 1),
            (&["lock", "--try", "a", "--", "true"], 124),
            (&["lock", "--try", "-E", "0", "a", "--", "true"], 0),
            (&["lock", "b", "--", "sh", "-c", "exit 7"], 7),
            (&["lock", "b", "--", "/no/such/command"], 127),
            (&["lock", "-rf"], 125),
            (&["no-such-command"], 2),
        ] {
            let output = into(to, &server, args);
            assert_eq!(output.status.code(), Some(expected), "{to} {args:?}");
        }
    }
}
