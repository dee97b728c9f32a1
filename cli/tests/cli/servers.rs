//! Several servers in `--server`: going on to the next, and not doing twice what must be done once.

use crate::played::Played;
use crate::support::{Dir, Server, code, eventually, json, lockwright, run, stderr, stdout};
use nix::sys::signal::Signal;
use std::process::{Output, Stdio};

/// Where nobody listens.
const NOBODY: &str = "127.0.0.1:1";

fn ask(servers: &[&str], args: &[&str]) -> Output {
    let (command, rest) = args.split_first().unwrap();
    run(&[&[*command, "--server", &servers.join(",")], rest].concat())
}

fn said(servers: &[&str], args: &[&str]) -> String {
    let output = ask(servers, args);
    assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
    stdout(&output)
}

#[test]
fn a_server_that_is_not_there_is_passed_over() {
    let server = Server::in_memory();
    let servers = [NOBODY, &server.address];
    let token = said(&servers, &["acquire", "a", "--ttl", "60s"]);
    assert!(said(&servers, &["ls"]).contains("write a"));
    said(
        &servers,
        &["renew", "a", "--token", token.trim(), "--ttl", "60s"],
    );
    said(&servers, &["release", "a", "--token", token.trim()]);
    said(&servers, &["lock", "a", "--", "true"]);
    // Given one by one, and from the environment, it is the same.
    let both = ["ls", "--server", NOBODY, "--server", &server.address];
    assert_eq!(code(&run(&both)), 0);
    let mut command = lockwright(&["lock", "a", "--", "sh", "-c", "echo $LOCKWRIGHT_SERVER"]);
    let output = command
        .env("LOCKWRIGHT_SERVER", servers.join(","))
        .output()
        .unwrap();
    assert_eq!(
        stdout(&output).trim(),
        servers.join(","),
        "{}",
        stderr(&output)
    );
    let dir = Dir::new();
    // None at all is a mistake in the file.
    let file = dir.write("none.toml", "server = []");
    for (command, exit) in [(&["ls"][..], 2), (&["lock", "a", "--", "true"], 125)] {
        let output = run(&[
            command[..1].to_vec(),
            vec!["--config", &file],
            command[1..].to_vec(),
        ]
        .concat());
        assert_eq!(code(&output), exit, "{}", stderr(&output));
        assert!(
            stderr(&output).contains("none.toml:1: `server` is an empty list"),
            "{}",
            stderr(&output)
        );
    }
    for list in [
        format!("server = '{},{}'", NOBODY, server.address),
        format!("server = ['{}', '{}']", NOBODY, server.address),
    ] {
        let file = dir.write("settings.toml", &list);
        let output = run(&["ls", "--config", &file]);
        assert_eq!(code(&output), 0, "{list}: {}", stderr(&output));
    }
}

#[test]
fn when_nobody_answers_each_is_named() {
    let output = ask(&[NOBODY, "127.0.0.1:2"], &["acquire", "a"]);
    assert_eq!(code(&output), 69);
    let text = stderr(&output);
    assert!(
        text.contains(NOBODY) && text.contains("127.0.0.1:2"),
        "{text}"
    );
    assert!(!text.contains("may have done"), "{text}");
    let blank = run(&["ls", "--server", "127.0.0.1:1,"]);
    assert_eq!(code(&blank), 2, "{}", stderr(&blank));
}

#[test]
fn what_only_looks_is_asked_of_the_next_whatever_happens() {
    let server = Server::in_memory();
    let gone = Played::hangs_up();
    said(&[&server.address], &["acquire", "a"]);
    assert!(said(&[&gone.address, &server.address], &["ls"]).contains("write a"));
    assert_eq!(gone.asked(), 1);
    let alone = ask(&[&gone.address], &["ls"]);
    assert_eq!(code(&alone), 69);
    assert!(
        !stderr(&alone).contains("may have done"),
        "{}",
        stderr(&alone)
    );
}

#[test]
fn what_may_have_been_done_is_not_asked_twice() {
    let server = Server::in_memory();
    let lossy = Played::loses_answers_of(&server.address);
    let servers = [lossy.address.as_str(), &server.address];
    let unsure = ask(&servers, &["acquire", "a", "--holder", "alice"]);
    assert_eq!(code(&unsure), 69);
    let text = stderr(&unsure);
    assert!(text.contains("may have done what was asked"), "{text}");
    assert_eq!(
        said(&[&server.address], &["ls", "--json"]).lines().count(),
        1
    );
    // Nor is what is at a path broken twice: by then it may be the next one's.
    let unsure = ask(&servers, &["break", "a", "--yes"]);
    assert!(
        code(&unsure) == 69 && stderr(&unsure).contains("may have done"),
        "{}",
        stderr(&unsure)
    );
    assert_eq!(said(&[&server.address], &["ls", "--json"]), "");
}

#[test]
fn what_does_no_harm_is_asked_again_until_it_is_answered() {
    let server = Server::in_memory();
    let lossy = Played::loses_answers_of(&server.address);
    let servers = [lossy.address.as_str(), &server.address];
    let acquire = ["acquire", "a", "--request-id", "one", "--ttl", "60s"];
    let token = said(&servers, &acquire);
    assert_eq!(
        said(&[&server.address], &["ls", "--json"]).lines().count(),
        1
    );
    said(
        &servers,
        &["renew", "a", "--token", token.trim(), "--ttl", "90s"],
    );
    let released = ask(&servers, &["release", "a", "--token", token.trim()]);
    assert_eq!(code(&released), 0, "{}", stderr(&released));
    assert!(
        stderr(&released).contains("may have released the lock"),
        "{}",
        stderr(&released)
    );
    assert_eq!(lossy.asked(), 3);
    // Not held for another reason is an error as ever.
    let never = ask(
        &[&server.address],
        &["release", "a", "--token", token.trim()],
    );
    assert_eq!(code(&never), 1);
}

#[test]
fn what_was_ended_before_its_answer_got_lost_is_done() {
    let server = Server::in_memory();
    let lossy = Played::loses_answers_of(&server.address);
    let servers = [lossy.address.as_str(), &server.address];
    let alone = [server.address.as_str()];
    let mut asked = 0;
    let mut ends = |args: &[&str], done: &str| {
        let output = ask(&servers, args);
        let text = stderr(&output);
        assert_eq!(code(&output), 0, "{args:?}: {text}");
        assert!(
            text.contains(&format!("may have {done}")),
            "{args:?}: {text}"
        );
        asked += 1;
        assert_eq!(lossy.asked(), asked, "{args:?}");
        // Where no answer got lost, nothing was done.
        assert_eq!(code(&ask(&alone, args)), 1, "{args:?}");
    };
    let token = || said(&alone, &["acquire", "a", "--holder", "alice"]);
    let next = || {
        let held = token();
        let mut waits = lockwright(&["acquire", "a", "--server", &server.address, "--wait", "1m"]);
        let waits = waits
            .args(["--holder", "bob"])
            .stdout(Stdio::null())
            .spawn();
        eventually("it waits", || {
            said(&alone, &["ls", "--queued", "--json"]).contains("queued")
        });
        (held.trim().to_owned(), waits.unwrap())
    };
    let clear = || said(&alone, &["break", "a", "--yes"]);

    let (held, mut waits) = next();
    ends(
        &["release", "a", "--holder", "alice", "--token", &held],
        "released the lock",
    );
    assert!(waits.wait().unwrap().success());
    clear();
    let held = token();
    ends(
        &["break", "a", "--yes", "--token", held.trim()],
        "broken the lock",
    );
    let (held, mut waits) = next();
    ends(
        &["break", "a", "--yes", "--token", &held],
        "broken the lock",
    );
    assert!(waits.wait().unwrap().success());
    clear();
    let named = [
        "acquire",
        "a",
        "--holder",
        "alice",
        "--request-id",
        "7",
        "--ttl",
        "60s",
    ];
    said(&alone, &named);
    let broken = ["break", "a", "--yes", "--owner", "alice", "--id", "7"];
    ends(&broken, "broken the lock");

    let mut child = lockwright(&[
        "lock",
        "--server",
        &server.address,
        "s",
        "--",
        "sleep",
        "60",
    ])
    .spawn()
    .unwrap();
    let session = || {
        let all = said(&alone, &["sessions", "--json"]);
        let first = all.lines().next().map(json);
        first.map(|session| session["session"].as_str().unwrap().to_owned())
    };
    eventually("it has a session", || session().is_some());
    ends(
        &["end-session", &session().unwrap(), "--yes"],
        "ended the session",
    );
    assert!(!child.wait().unwrap().success());
}

#[test]
fn a_server_that_cannot_serve_points_at_one_that_can() {
    let server = Server::in_memory();
    let body = |done: &str, leader: &str| {
        format!("{{\"error\":\"unavailable\",\"message\":\"no leader\"{done}{leader}}}")
    };
    let leader = format!(",\"leader\":\"{}\"", server.address);
    let lost = Played::says("503 Service Unavailable", body(",\"done\":false", &leader));
    said(&[&lost.address], &["acquire", "a"]);
    assert_eq!(lost.asked(), 1);
    // It does not say that nothing was done.
    let unsure = Played::says("503 Service Unavailable", body("", ""));
    let output = ask(&[&unsure.address, &server.address], &["acquire", "b"]);
    assert_eq!(code(&output), 69);
    let text = stderr(&output);
    assert!(
        text.starts_with("error: unavailable: no leader") && text.contains("may have done"),
        "{text}"
    );
    assert!(said(&[&unsure.address, &server.address], &["ls"]).contains("write a"));
    let json = ask(&[&unsure.address], &["ls", "--json"]);
    assert_eq!(code(&json), 69);
    assert!(stdout(&json).contains("\"unavailable\""));
}

/// Runs a command with a list of servers that is given in each of three ways; with `--server`, in
/// the environment, in a file.
fn in_three_ways(list: &str, args: &[&str]) -> [Output; 3] {
    let dir = Dir::new();
    let file = dir.write("settings.toml", &format!("server = '{list}'\n"));
    let (command, rest) = args.split_first().unwrap();
    [
        run(&[&[*command, "--server", list], rest].concat()),
        lockwright(args)
            .env("LOCKWRIGHT_SERVER", list)
            .output()
            .unwrap(),
        run(&[&[*command, "--config", &file], rest].concat()),
    ]
}

#[test]
fn every_command_goes_on_to_the_next_server_whatever_is_wrong_with_the_first() {
    for list in [
        "127.0.0.1:1, OURS",
        " OURS ",
        "bad..name:9,OURS",
        "[::1]:1 ,\tOURS",
        "http://127.0.0.1:1/, http://OURS/",
    ] {
        let server = Server::in_memory();
        let ours = server.address.as_str();
        let list = list.replace("OURS", ours);
        for args in [
            &["acquire", "a", "--request-id", "one"][..],
            &["acquire", "b"],
            &["ls"],
            &["inspect", "a"],
            &["sessions"],
            &["namespaces"],
            &["stats"],
            &["break", "a", "--yes"],
            &["lock", "c", "--", "true"],
        ] {
            // What can be done once is done with one way of saying it.
            let once = matches!(args, ["acquire", "b"] | ["break", ..]);
            let ways = if once { 1 } else { 3 };
            for output in in_three_ways(&list, args).into_iter().take(ways) {
                assert_eq!(code(&output), 0, "{list} {args:?}: {}", stderr(&output));
            }
        }
        let token = said(&[ours], &["acquire", "d"]);
        let token = token.trim();
        for args in [
            ["renew", "d", "--ttl", "60s", "--token", token],
            ["release", "d", "--holder", "cli", "--token", token],
        ] {
            let output = run(&[&args[..], &["--server", &list]].concat());
            assert_eq!(code(&output), 0, "{list} {args:?}: {}", stderr(&output));
        }
        let cluster = run(&["cluster", "status", "--server", &list]);
        assert_eq!(code(&cluster), 0, "{list}: {}", stderr(&cluster));
    }
}

#[test]
fn what_is_no_address_is_refused_and_it_is_said_why() {
    for (list, what) in [
        ("a b:1", "a blank"),
        ("::1:42401", "an IPv6 address stands in brackets"),
        ("127.0.0.1:1,,127.0.0.1:2", "there is nothing"),
        ("127.0.0.1", "the port is missing"),
        ("https://a:1", "no other scheme"),
    ] {
        for (args, expected) in [(&["ls"][..], 2), (&["lock", "a", "--", "true"], 125)] {
            for output in in_three_ways(list, args) {
                let text = stderr(&output);
                assert_eq!(code(&output), expected, "{list} {args:?}: {text}");
                assert!(text.contains(what), "{list} {args:?}: {text}");
            }
        }
    }
}

#[test]
fn lock_says_of_each_server_why_it_could_not_be_asked() {
    let stopped = Server::in_memory();
    stopped.signal(Signal::SIGSTOP);
    let stranger = Played::says("404 Not Found", "{}".to_owned());
    let ill = Played::says("503 Service Unavailable", "{}".to_owned());
    let dir = Dir::new();
    // One of three nodes has no majority. Its peers are where nobody listens.
    let peers = "1=127.0.0.1:1/127.0.0.1:2,2=127.0.0.1:3/127.0.0.1:4,3=127.0.0.1:5/127.0.0.1:6";
    let alone = Server::start(&[
        "--data",
        &dir.path("data"),
        "--id",
        "1",
        "--peers",
        peers,
        "--peer-listen",
        "127.0.0.1:0",
    ]);
    let list = [
        (NOBODY, "Connection refused"),
        ("bad..name:9", "lookup"),
        (&stranger.address, "no server of ours: 404"),
        (&ill.address, "cannot serve now: 503"),
        (&alone.address, "no leader that a majority follows"),
        (&stopped.address, "no answer in time"),
    ];
    let servers: Vec<&str> = list.iter().map(|(server, _)| *server).collect();
    for (server, why) in list {
        let args = ["--connect-timeout", "2s", "a", "--", "true"];
        let output = ask(&[server], &[&["lock"], &args[..]].concat());
        let text = stderr(&output);
        assert_eq!(code(&output), 125, "{server}: {text}");
        assert!(
            text.contains(server) && text.contains(why),
            "{server} {why}: {text}"
        );
    }
    let output = ask(
        &servers,
        &["lock", "--connect-timeout", "4s", "a", "--", "true"],
    );
    let text = stderr(&output);
    assert_eq!(code(&output), 125, "{text}");
    for (server, why) in list {
        let of_it = text.split("; ").find(|part| part.contains(server));
        assert!(
            of_it.is_some_and(|part| part.contains(why)),
            "{server} {why}: {text}"
        );
    }
    stopped.signal(Signal::SIGCONT);
}
