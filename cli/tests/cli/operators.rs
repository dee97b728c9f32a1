//! What asks a server over HTTP: locks by hand, looking, breaking.

use crate::support::{
    Dir, Server, ask, code, eventually, holder_of, json, lockwright, run, said, stderr, stdout,
};
use serde_json::Value;

#[test]
fn a_lock_by_hand_is_taken_renewed_and_given_back() {
    let server = Server::in_memory();
    let token = said(
        &server,
        &["acquire", "a/b", "--holder", "alice", "--ttl", "60s"],
    );
    let token = token.trim();
    assert!(token.parse::<u64>().is_ok(), "{token}");

    let busy = ask(&server, &["acquire", "a", "--holder", "bob"]);
    assert_eq!(code(&busy), 1);
    let text = stderr(&busy);
    assert!(
        text.starts_with("error: busy: ") && text.contains("holder alice"),
        "{text}"
    );
    let busy = ask(&server, &["acquire", "a", "--holder", "bob", "--json"]);
    assert_eq!((code(&busy), stderr(&busy)), (1, String::new()));
    let facts = json(&stdout(&busy));
    assert_eq!(
        (facts["error"].as_str(), facts["token"].to_string()),
        (Some("busy"), token.to_owned())
    );
    let late = ask(
        &server,
        &["acquire", "a", "--holder", "bob", "--wait", "50ms"],
    );
    assert!(
        code(&late) == 1 && stderr(&late).contains("timed_out"),
        "{}",
        stderr(&late)
    );

    let renewed = said(
        &server,
        &["renew", "a/b", "--token", token, "--ttl", "90s", "--json"],
    );
    // What was left of it when it was answered.
    let lease = json(&renewed)["lease_ms"].as_u64().unwrap();
    assert!((60_001..=90_000).contains(&lease), "{lease}");
    let stale = ask(
        &server,
        &["release", "a/b", "--token", "18446744073709551615"],
    );
    assert!(
        code(&stale) == 1 && stderr(&stale).contains("stale_token"),
        "{}",
        stderr(&stale)
    );
    assert_eq!(said(&server, &["release", "a/b", "--token", token]), "");
    let again = ask(&server, &["release", "a/b", "--token", token]);
    assert!(
        code(&again) == 1 && stderr(&again).contains("not_held"),
        "{}",
        stderr(&again)
    );
}

#[test]
fn a_repeated_request_is_the_same_lock_and_several_keys_are_one() {
    let server = Server::in_memory();
    let args = [
        "acquire",
        "x",
        "y",
        "--read",
        "--request-id",
        "one",
        "--ttl",
        "60s",
    ];
    let first = said(&server, &args);
    assert_eq!(said(&server, &args), first);
    assert_eq!(code(&ask(&server, &["acquire", "y"])), 1);
    said(&server, &["acquire", "y", "--read", "--holder", "other"]);
}

#[test]
fn a_request_id_that_comes_again_for_something_else_is_refused_and_locks_nothing() {
    let server = Server::in_memory();
    let first = [
        "acquire",
        "x",
        "y",
        "--read",
        "--request-id",
        "one",
        "--ttl",
        "60s",
    ];
    let token = said(&server, &first);
    for other in [
        &["acquire", "z"][..],
        &["acquire", "x", "--read"],
        &["acquire", "x", "y"],
        &["acquire", "x", "y", "z", "--read"],
    ] {
        let named = [other, &["--request-id", "one"]].concat();
        let got = ask(&server, &named);
        assert_eq!(code(&got), 1, "{named:?}");
        assert_eq!(String::from_utf8_lossy(&got.stdout), "", "{named:?}");
        let told = String::from_utf8_lossy(&got.stderr).into_owned();
        for part in [
            "request_mismatch",
            "read x, read y",
            "--request-id",
            "nothing was locked",
        ] {
            assert!(
                told.contains(part),
                "{named:?} says {told}, and not `{part}`"
            );
        }
        assert!(
            !told.contains(token.trim()),
            "the token is not its own: {told}"
        );
    }
    assert_eq!(
        said(
            &server,
            &["acquire", "y", "x", "--read", "--request-id", "one"]
        ),
        token
    );
    said(&server, &["acquire", "z", "--holder", "other"]);
}

#[test]
fn locks_are_listed_and_inspected() {
    let server = Server::in_memory();
    let token = said(
        &server,
        &["acquire", "deploy/web", "--holder", "alice", "--ttl", "60s"],
    );
    said(
        &server,
        &["acquire", "printer", "--holder", "bob", "--read"],
    );
    let mut waiting = lockwright(&["acquire", "--server", &server.address, "deploy"])
        .args(["--holder", "carol", "--wait", "60s"])
        .spawn()
        .unwrap();
    eventually("carol waits", || {
        said(&server, &["ls", "--queued"]).contains("carol")
    });

    let held = said(&server, &["ls"]);
    assert!(
        held.contains("write deploy/web") && held.contains("read printer"),
        "{held}"
    );
    assert!(!held.contains("carol"), "{held}");
    assert!(!said(&server, &["ls", "deploy"]).contains("printer"));
    let long = said(&server, &["ls", "deploy", "--long", "--queued"]);
    assert_eq!(long.lines().count(), 3, "{long}");
    let lines = said(&server, &["ls", "--json", "--queued"]);
    let states: Vec<Value> = lines
        .lines()
        .map(|line| json(line)["state"].clone())
        .collect();
    assert_eq!(states.iter().filter(|state| *state == "queued").count(), 1);
    assert_eq!(states.iter().filter(|state| *state == "held").count(), 2);

    let around = said(&server, &["inspect", "deploy/web/assets"]);
    let held = around.find(token.trim()).expect("alice's token is shown");
    assert!(
        held < around.find("carol").expect("carol is shown"),
        "{around}"
    );
    assert_eq!(said(&server, &["inspect", "nothing/here"]), "");
    assert!(said(&server, &["inspect", "/"]).contains("printer"));
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    // Whoever goes away while it waits leaves the queue.
    eventually("carol is gone", || {
        !said(&server, &["ls", "--queued"]).contains("carol")
    });
}

#[test]
fn a_lock_is_broken_only_when_that_was_meant() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let holder = holder_of(&server, &dir, "a", &[]);
    // There is no terminal to ask on.
    let unsure = ask(&server, &["break", "a"]);
    assert!(
        code(&unsure) == 2 && stderr(&unsure).contains("--yes"),
        "{}",
        stderr(&unsure)
    );
    let stale = ask(&server, &["break", "a", "--token", "1", "--yes"]);
    assert_eq!(code(&stale), 1, "{}", stderr(&stale));
    let nothing = ask(&server, &["break", "b", "--yes"]);
    assert!(
        code(&nothing) == 1 && stderr(&nothing).contains("not_held"),
        "{}",
        stderr(&nothing)
    );

    let broken = said(&server, &["break", "a", "--yes"]);
    assert!(
        broken.contains("broken: write a, held by session:"),
        "{broken}"
    );
    let output = holder.wait_with_output().unwrap();
    assert_eq!(code(&output), 123);
    assert!(stderr(&output).contains("broken"), "{}", stderr(&output));
}

#[test]
fn sessions_namespaces_and_counts_are_shown() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let mut holder = holder_of(&server, &dir, "a", &[]);
    said(&server, &["acquire", "a", "--namespace", "elsewhere"]);
    let sessions = json(&said(&server, &["sessions", "--json"]));
    assert_eq!(
        (&sessions["attached"], &sessions["locks"]),
        (&true.into(), &1.into())
    );
    assert!(said(&server, &["sessions"]).contains("yes"));
    let namespaces = said(&server, &["namespaces"]);
    let namespaces: Vec<&str> = namespaces.lines().collect();
    assert!(namespaces.contains(&"default") && namespaces.contains(&"elsewhere"));
    assert_eq!(
        json(&said(&server, &["stats", "--json"]))["live_requests"],
        2
    );
    assert!(said(&server, &["stats"]).contains("live_requests"));
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_server_that_is_not_there_is_told() {
    for args in [&["ls"][..], &["acquire", "a"], &["stats", "--json"]] {
        let (command, rest) = args.split_first().unwrap();
        let output = run(&[&[*command, "--server", "127.0.0.1:1"], rest].concat());
        assert_eq!(code(&output), 69, "{args:?}");
        assert!(
            stderr(&output).contains("127.0.0.1:1"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn an_output_that_nobody_reads_ends_quietly() {
    let server = Server::in_memory();
    said(&server, &["acquire", "a"]);
    for command in [
        format!("ls --server {}", server.address),
        "completions bash".to_owned(),
    ] {
        let program = env!("CARGO_BIN_EXE_lockwright");
        let script = format!("{{ {program} {command} || echo \"exit $?\" >&2; }} | :");
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        assert_eq!(stderr(&output), "", "{command}");
    }
}

#[test]
fn whoever_has_the_right_token_and_is_not_the_owner_is_told_so() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let script = format!(
        "echo $LOCKWRIGHT_TOKEN >{0}.new; mv {0}.new {0}; sleep 60",
        dir.path("token")
    );
    let mut holder = server
        .lock(&["a", "--", "sh", "-c", &script])
        .spawn()
        .unwrap();
    eventually("it is held", || dir.has("token"));
    let token = dir.read("token");
    let token = token.trim();
    let named = said(&server, &["acquire", "b", "--holder", "alice"]);
    for (args, expected) in [
        (
            &["release", "a", "--token", token][..],
            "belongs to `session:",
        ),
        (
            &["renew", "a", "--ttl", "9s", "--token", token],
            "which alone can renew or release it",
        ),
        (
            &["release", "b", "--holder", "bob", "--token", named.trim()],
            "is held by `alice`: name that holder, and a key",
        ),
    ] {
        let output = ask(&server, args);
        let text = stderr(&output);
        assert_eq!(code(&output), 1, "{args:?}: {text}");
        assert!(
            text.starts_with("error: stale_token: ") && text.contains(expected),
            "{text}"
        );
        assert!(!text.contains("is not that of the lock"), "{text}");
    }
    // What is wrong with another token is the token.
    let stale = ask(&server, &["release", "a", "--token", "1"]);
    assert!(
        stderr(&stale).contains("the token 1 is not that of the lock"),
        "{}",
        stderr(&stale)
    );
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn refusals_are_told_in_the_words_of_the_command_line() {
    let server = Server::in_memory();
    said(
        &server,
        &["acquire", "a", "--ttl", "60s", "--request-id", "one"],
    );
    said(&server, &["acquire", "b/c", "--request-id", "two"]);
    said(&server, &["break", "b/c", "--yes"]);
    for (args, expected) in [
        (&["acquire", "a"][..], "wait for it with --wait"),
        (&["acquire", "a"], "lease left "),
        (&["acquire", "a", "--wait", "20ms"], "within --wait"),
        (
            &["acquire", "b/c", "--request-id", "two"],
            "another --request-id",
        ),
        (&["break", "x/y", "--yes"], "`lockwright inspect x/y` tells"),
        (&["acquire", "x", "--holder", ""], "--holder"),
        (&["acquire", "x", "--request-id", ""], "--request-id"),
        (
            &["renew", "x", "--token", "1", "--ttl", "1s", "--holder", ""],
            "--holder",
        ),
        (&["acquire", "x//y"], "`x//y` is no path"),
        (&["acquire", ""], "`` is no path"),
        (&["ls", ""], "`` is no path"),
        (&["watch", ""], "`` is no path"),
        (&["inspect", ""], "`` is no path"),
        (&["break", "", "--yes"], "`` is no path"),
        (&["release", "", "--token", "1"], "`` is no path"),
        (
            &["acquire", "x", "--holder", "session:a"],
            "names of sessions",
        ),
    ] {
        let output = ask(&server, args);
        let text = stderr(&output);
        assert!([1, 2].contains(&code(&output)), "{args:?}: {text}");
        assert!(text.contains(expected), "{args:?}: {text}");
        for http in ["_ms", "request_id", "/v1/", "GET", "POST", "line 1", "body"] {
            assert!(!text.contains(http), "{args:?}: {text}");
        }
    }
}
