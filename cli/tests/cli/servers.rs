//! Several servers in `--server`: going on to the next, and not doing twice what must be done once.

use crate::support::{Dir, Server, code, lockwright, run, stderr, stdout};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::Output,
    sync::{Arc, Mutex},
};

/// Where nobody listens.
const NOBODY: &str = "127.0.0.1:1";

/// A server that is played: it is given the head of each request and the connection.
struct Played {
    address: String,
    /// The first lines of what it was asked.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Played {
    fn start(answer: impl Fn(&str, TcpStream) + Send + 'static) -> Played {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read_request(&mut stream);
                let first = request.lines().next().unwrap_or_default().to_owned();
                seen.lock().unwrap().push(first);
                answer(&request, stream);
            }
        });
        Played { address, asked }
    }

    /// One that takes each request and closes the connection.
    fn hangs_up() -> Played {
        Played::start(|_, _| {})
    }

    /// One that always answers the same.
    fn says(status: &'static str, body: String) -> Played {
        Played::start(move |_, mut stream| {
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            // It fails when nobody waits for it.
            let _ = stream.write_all(answer.as_bytes());
        })
    }

    /// One that has everything done by another, and keeps the answer to itself.
    fn loses_answers_of(other: &str) -> Played {
        let other = other.to_owned();
        Played::start(move |request, _| {
            let mut behind = TcpStream::connect(&other).unwrap();
            behind.write_all(request.as_bytes()).unwrap();
            behind.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            behind.read_to_end(&mut answer).unwrap();
            assert!(answer.starts_with(b"HTTP/1.1"));
        })
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")
                        .map(str::to_owned)
                })
                .find_map(|length| length.trim().parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&bytes).into_owned(),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

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
        stderr(&released).contains("may have released it"),
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
