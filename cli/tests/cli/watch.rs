//! `lockwright watch`: what is there, what happens, and what becomes of it when a server ends.

use crate::played::Played;
use crate::support::{LinesInTime, Server, code, eventually, lockwright, run, stderr, stdout};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::{
    io::Write,
    process::Child,
    sync::atomic::{AtomicUsize, Ordering},
};

struct Watch {
    child: Child,
    lines: LinesInTime,
    said: LinesInTime,
}

impl Watch {
    fn start(servers: &[&Server], args: &[&str]) -> Watch {
        let list: Vec<&str> = servers
            .iter()
            .map(|server| server.address.as_str())
            .collect();
        let mut command = lockwright(&["watch", "--server", &list.join(",")]);
        let mut child = command.args(args).spawn().unwrap();
        let lines = LinesInTime::of(child.stdout.take().unwrap());
        let said = LinesInTime::of(child.stderr.take().unwrap());
        Watch { child, lines, said }
    }

    fn line(&self) -> String {
        self.lines.line()
    }

    fn event(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// How it ends, and what it says then.
    fn end(mut self) -> (Option<i32>, String) {
        let text = self.said.rest();
        (self.child.wait().unwrap().code(), text)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It fails when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(server: &Server, args: &[&str]) -> String {
    let output = run(&[args, &["--server", &server.address]].concat());
    assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
    stdout(&output).trim().to_owned()
}

fn queue(server: &Server, holder: &str) -> Child {
    let command = ["acquire", "a", "--wait", "60s", "--holder", holder];
    let mut command = lockwright(&command);
    let child = command.args(["--server", &server.address]).spawn().unwrap();
    eventually("it waits", || {
        ask(server, &["ls", "--queued"]).contains(holder)
    });
    child
}

#[test]
fn it_begins_with_what_is_there_and_each_line_has_its_time() {
    let server = Server::in_memory();
    let token = ask(
        &server,
        &["acquire", "a", "--ttl", "90s", "--holder", "alice"],
    );
    ask(&server, &["acquire", "elsewhere"]);
    let mut waiting = queue(&server, "bob");
    let before = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_millis();
    let watch = Watch::start(&[&server], &["a", "--json"]);
    let text = Watch::start(&[&server], &["a"]);
    let mut initial = [watch.event(), watch.event()];
    initial.sort_by_key(|event| event["state"].to_string());
    for (event, state) in initial.iter().zip(["held", "queued"]) {
        assert_eq!(
            (&event["event"], &event["state"]),
            (&"initial".into(), &state.into())
        );
        assert_eq!(event["claims"][0]["path"], "a");
        let at = u128::from(event["at_unix_ms"].as_u64().unwrap());
        assert!(at >= before && at < before + 60_000, "{event}");
    }
    assert_eq!(initial[0]["token"].to_string(), token);
    let lines = format!("{}\n{}", text.line(), text.line());
    let held = lines
        .lines()
        .find(|line| line.contains("alice"))
        .expect(&lines);
    let words: Vec<&str> = held.split_whitespace().collect();
    assert_eq!(words[1..4], ["held", "write", "a"], "{held}");
    assert!(
        words[0].starts_with("20") && words[0].ends_with('Z'),
        "{held}"
    );
    assert!(held.contains(&format!("token {token}  for ")), "{held}");
    let queued = lines
        .lines()
        .find(|line| line.contains("bob"))
        .expect(&lines);
    assert!(queued.contains("queued   write a"), "{queued}");

    ask(&server, &["release", "a", "--token", &token]);
    let (ended, granted) = (watch.event(), watch.event());
    assert_eq!(
        (&ended["event"], &ended["reason"]),
        (&"ended".into(), &"released".into())
    );
    assert_eq!(
        (&granted["event"], &granted["owner"]["holder"]),
        (&"granted".into(), &"bob".into())
    );
    assert!(granted["at_unix_ms"].as_u64() >= ended["at_unix_ms"].as_u64());
    let line = text.line();
    assert!(
        line.starts_with("20") && line.contains("Z ended    write a"),
        "{line}"
    );
    waiting.wait().unwrap();
}

#[test]
fn the_end_of_its_server_is_no_end_of_what_happens() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let server = Server::in_memory();
        ask(&server, &["acquire", "a"]);
        let watch = Watch::start(&[&server], &[]);
        watch.line();
        server.signal(signal);
        let (code, text) = watch.end();
        assert_eq!(code, Some(69), "{signal}: {text}");
        assert!(
            text.contains(&server.address) && text.contains("not known"),
            "{text}"
        );
    }
}

#[test]
fn it_goes_on_at_the_next_server_until_there_is_none() {
    let (first, second) = (Server::in_memory(), Server::in_memory());
    ask(&first, &["acquire", "a", "--holder", "alice"]);
    ask(&second, &["acquire", "b", "--holder", "bob"]);
    let watch = Watch::start(&[&first, &second], &["--json"]);
    assert_eq!(watch.event()["owner"]["holder"], "alice");
    first.signal(Signal::SIGTERM);
    let initial = watch.event();
    assert_eq!(initial["event"], "initial");
    assert_eq!(initial["owner"]["holder"], "bob");
    ask(&second, &["acquire", "c", "--holder", "carol"]);
    assert_eq!(watch.event()["owner"]["holder"], "carol");
    second.signal(Signal::SIGKILL);
    let (code, text) = watch.end();
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains("the next server is asked"), "{text}");
}

#[test]
fn a_server_that_has_missed_something_is_asked_anew() {
    const MISSED: &str = r#"{"error":"events_missed","message":"begin anew"}"#;
    const QUEUED: &str = r#"{"event":"queued","namespace":"default","id":"B","owner":{"holder":"bob"},
        "claims":[{"mode":"write","path":"b"}]}"#;
    let watched = AtomicUsize::new(0);
    let server = Played::start(move |request, mut stream| {
        let body = match request.starts_with("GET /v1/watch") {
            false => r#"{"locks":[],"next_cursor":null}"#.to_owned(),
            true => match watched.fetch_add(1, Ordering::Relaxed) {
                0 => MISSED.to_owned(),
                _ => QUEUED.replace('\n', ""),
            },
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}\n",
            body.len() + 1
        );
        stream.write_all(answer.as_bytes()).unwrap();
    });
    // The second answer ends as that of a server that stops.
    let output = run(&["watch", "--server", &server.address, "--json"]);
    assert_eq!(code(&output), 69, "{}", stderr(&output));
    let lines = stdout(&output);
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(lines.contains("bob"), "{lines}");
    let said = stderr(&output);
    assert!(said.contains("has missed something itself"), "{said}");
}
