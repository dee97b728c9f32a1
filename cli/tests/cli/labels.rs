//! What others are told of who holds a lock or waits for one, and what an operator ends.

use crate::support::{
    Dir, Server, ask, code, eventually, holder_of, json, lockwright, said, stderr, stdout,
};
use serde_json::Value;
use std::process::Child;

/// A command that holds `a` with these options until it is killed.
fn holder(server: &Server, dir: &Dir, options: &[&str]) -> Child {
    holder_of(server, dir, "a", options)
}

/// A `lock` of `a` that waits, and the owner and id of its request.
fn waiter(server: &Server) -> (Child, String, String) {
    let child = server.lock(&["a", "--", "true"]).spawn().unwrap();
    let queued = || said(server, &["ls", "--queued", "--json"]);
    eventually("it waits", || queued().contains("\"queued\""));
    let queued = queued();
    let lock = queued.lines().find(|line| line.contains("\"queued\""));
    let lock = json(lock.unwrap());
    let session = lock["owner"]["session"].as_str().unwrap();
    let id = lock["id"].as_str().unwrap().to_owned();
    (child, format!("session:{session}"), id)
}

#[test]
fn a_lock_tells_whose_it_is_at_every_command() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let mut child = holder(&server, &dir, &[]);
    let label = format!("[{}] sh", child.id());
    for command in [
        &["ls", "--long"][..],
        &["ls", "--json"],
        &["inspect", "a"],
        &["inspect", "a", "--json"],
        &["sessions"],
        &["sessions", "--json"],
    ] {
        let text = said(&server, command);
        assert!(
            text.contains('@') && text.contains(&label),
            "{command:?}: {text}"
        );
    }
    assert!(!said(&server, &["ls"]).contains(&label));
    // What a program is given may be a secret.
    let all = said(&server, &["ls", "--json"]);
    assert!(
        json(&all)["label"].as_str().unwrap().ends_with(&label),
        "{all}"
    );
    let output = server.lock(&["--try", "a", "--", "true"]).output().unwrap();
    assert_eq!(code(&output), 124);
    assert!(stderr(&output).contains(&label), "{}", stderr(&output));
    let busy = ask(&server, &["acquire", "a"]);
    let text = stderr(&busy);
    assert_eq!(code(&busy), 1);
    assert_eq!(text.matches(&label).count(), 1, "{text}");
    let busy = json(&stdout(&ask(&server, &["acquire", "a", "--json"])));
    assert!(busy["label"].as_str().unwrap().contains(&label));
    assert!(busy["held_ms"].is_u64(), "{busy}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_label_is_given_on_the_command_line_in_the_environment_and_in_the_file() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let file = dir.write("settings", "label = \"from the file\"\n");
    let label = |key: &str, options: &[&str], variable: Option<&str>| {
        let mut command = lockwright(&["acquire", key, "--server", &server.address]);
        command.args(options);
        if let Some(text) = variable {
            command.env("LOCKWRIGHT_LABEL", text);
        }
        let output = command.output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        json(&said(&server, &["ls", key, "--json"]))["label"].clone()
    };
    assert_eq!(label("a", &["--config", &file], None), "from the file");
    assert_eq!(
        label("b", &["--config", &file], Some("variable")),
        "variable"
    );
    assert_eq!(
        label("c", &["--label", "option"], Some("variable")),
        "option"
    );
    assert_eq!(label("d", &["--label", ""], None), Value::Null);
    let own = label("e", &[], None);
    assert!(
        own.as_str().unwrap().ends_with("] lockwright acquire"),
        "{own}"
    );

    let long = "x".repeat(257);
    for (text, what) in [(long.as_str(), "label_bytes"), ("a\u{1b}[2J", "control")] {
        let output = ask(&server, &["acquire", "f", "--label", text]);
        assert_eq!(code(&output), 2);
        assert!(stderr(&output).contains(what), "{}", stderr(&output));
        let options = ["--label", text, "f", "--", "true"];
        let output = server.lock(&options).output().unwrap();
        assert_eq!(code(&output), 125);
    }
    // The name of a program is no label as it is.
    let dir = Dir::new();
    let program = dir.write("\u{1b}[31m:\n:", "");
    let output = server.lock(&["g", "--", &program]).output().unwrap();
    assert_eq!(code(&output), 126, "{}", stderr(&output));
}

#[test]
fn an_operator_ends_a_request_that_waits_and_its_command_is_told() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let mut first = holder(&server, &dir, &[]);
    let (second, owner, id) = waiter(&server);
    let refused = ask(&server, &["break", "a", "--id", &id, "--yes"]);
    assert_eq!(code(&refused), 2, "{}", stderr(&refused));
    let unsure = ask(&server, &["break", "a", "--owner", &owner, "--id", &id]);
    assert!(code(&unsure) == 2 && stderr(&unsure).contains("--yes"));
    let none = ask(&server, &["break", "a", "--owner", "bob", "--yes"]);
    assert!(
        code(&none) == 1 && stderr(&none).contains("`lockwright inspect a`"),
        "{}",
        stderr(&none)
    );
    let broken = said(
        &server,
        &["break", "a", "--owner", &owner, "--id", &id, "--yes"],
    );
    assert!(
        broken.starts_with("broken: write a, waited for by session:"),
        "{broken}"
    );
    let output = second.wait_with_output().unwrap();
    assert_eq!(code(&output), 124);
    assert!(
        stderr(&output).contains("broken, by an operator"),
        "{}",
        stderr(&output)
    );
    assert!(first.try_wait().unwrap().is_none(), "the lock is held on");
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn an_operator_ends_a_session_and_its_command() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let first = holder(&server, &dir, &["--label", "the night's backup"]);
    let (second, _, _) = waiter(&server);
    let sessions = said(&server, &["sessions", "--json"]);
    let of_first = sessions.lines().find(|line| line.contains("night"));
    let session = json(of_first.unwrap());
    let session = session["session"].as_str().unwrap();

    let unsure = ask(&server, &["end-session", session]);
    assert!(code(&unsure) == 2 && stderr(&unsure).contains("--yes"));
    let none = ask(&server, &["end-session", "none", "--yes"]);
    assert!(
        code(&none) == 1 && stderr(&none).contains("unknown_session"),
        "{}",
        stderr(&none)
    );
    let ended = said(&server, &["end-session", session, "--yes"]);
    let expected =
        format!("ended: session {session} (the night's backup)\nended: write a, held with");
    assert!(ended.starts_with(&expected), "{ended}");
    let output = first.wait_with_output().unwrap();
    assert_eq!(code(&output), 123);
    assert!(
        stderr(&output).contains("an operator ended the session"),
        "{}",
        stderr(&output)
    );
    assert_eq!(code(&second.wait_with_output().unwrap()), 0);

    // One that waits does not ask again.
    let mut third = holder_of(&server, &dir, "b", &[]);
    let waits = server
        .lock(&["--label", "waits", "b", "--", "true"])
        .spawn()
        .unwrap();
    let queued = || said(&server, &["ls", "b", "--queued", "--json"]);
    eventually("it waits", || queued().contains("\"queued\""));
    let sessions = said(&server, &["sessions", "--json"]);
    let session = json(
        sessions
            .lines()
            .find(|line| line.contains("waits"))
            .unwrap(),
    );
    said(
        &server,
        &[
            "end-session",
            session["session"].as_str().unwrap(),
            "--yes",
            "--json",
        ],
    );
    let output = waits.wait_with_output().unwrap();
    assert_eq!(code(&output), 124, "{}", stderr(&output));
    third.kill().unwrap();
    third.wait().unwrap();
}
