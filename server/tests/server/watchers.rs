//! Those who watch what happens to locks. No test asserts how long something takes.

use crate::{
    common::{Service, within},
    frames::open,
    wire::answer,
};
use lockwright_env::{TokioEnv, sleep};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{io::AsyncReadExt, net::TcpStream};

/// The lines of a chunked answer that goes on, without the sizes of its chunks.
async fn next_line(stream: &mut TcpStream, buffer: &mut String) -> Option<Value> {
    loop {
        while let Some((line, rest)) = buffer.split_once('\n') {
            let (line, rest) = (line.trim().to_owned(), rest.to_owned());
            *buffer = rest;
            if line.starts_with('{') {
                return Some(serde_json::from_str(&line).unwrap());
            }
        }
        let mut bytes = [0; 4096];
        let count = within(stream.read(&mut bytes)).await.unwrap();
        if count == 0 {
            return None;
        }
        buffer.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
}

#[tokio::test]
async fn who_watches_sees_what_happens_below_a_path_until_the_server_stops() {
    let service = Service::start(|config| config.idle_timeout = Duration::from_millis(200)).await;
    let early = service.lock("jobs/early", "alice").await;
    let (mut stream, mut buffer) = watching(&service).await;
    // Longer than a connection may be idle.
    sleep(&TokioEnv, Duration::from_millis(600)).await;
    service.lock("other", "alice").await;
    let token = service.lock("jobs/one", "alice").await;
    let waiting = service
        .queue(json!({"key": "jobs/one", "holder": "bob"}), 1)
        .await;
    service
        .post(
            "/v1/renew",
            json!({"key": "jobs/one", "token": token, "ttl_ms": 9_000}),
        )
        .await;
    service
        .post("/v1/release", json!({"key": "jobs/one", "token": token}))
        .await;
    assert_eq!(answer(waiting).await.0, 200);
    service
        .post("/v1/release", json!({"key": "jobs/early", "token": early}))
        .await;
    let expected = [
        ("granted", "alice", "jobs/one"),
        ("queued", "bob", "jobs/one"),
        ("renewed", "alice", "jobs/one"),
        ("ended", "alice", "jobs/one"),
        ("granted", "bob", "jobs/one"),
        ("ended", "alice", "jobs/early"),
    ];
    for (event, holder, path) in expected {
        let line = next_line(&mut stream, &mut buffer).await.unwrap();
        let seen = (
            &line["event"],
            &line["owner"]["holder"],
            &line["claims"][0]["path"],
        );
        assert_eq!(
            seen,
            (&json!(event), &json!(holder), &json!(path)),
            "{line}"
        );
        assert_eq!(line["reason"].is_string(), event == "ended", "{line}");
        assert_eq!(line["token"].is_u64(), event == "granted", "{line}");
    }
    service.handle.shutdown();
    assert_eq!(next_line(&mut stream, &mut buffer).await, None);
    service.stop().await;
}

/// Begins to watch `jobs`.
async fn watching(service: &Service) -> (TcpStream, String) {
    let mut stream = service.send("GET", "/v1/watch?prefix=jobs", "").await;
    let mut buffer = String::new();
    // The head of the answer comes when watching has begun.
    while !buffer.contains("\r\n\r\n") {
        let mut bytes = [0; 1024];
        let count = within(stream.read(&mut bytes)).await.unwrap();
        buffer.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    (stream, buffer)
}

#[tokio::test]
async fn what_a_watcher_knows_outlives_the_others() {
    let service = Service::start(|_| {}).await;
    let early = service.lock("jobs/early", "alice").await;
    for _ in 0..2 {
        // All go, and the next one has to look anew.
        let (gone, _) = watching(&service).await;
        let (mut stream, mut buffer) = watching(&service).await;
        drop(gone);
        let token = service.lock("jobs/one", "bob").await;
        service
            .post("/v1/release", json!({"key": "jobs/one", "token": token}))
            .await;
        for event in ["granted", "ended"] {
            let line = next_line(&mut stream, &mut buffer).await.unwrap();
            assert_eq!(
                (&line["event"], &line["claims"][0]["path"]),
                (&json!(event), &json!("jobs/one"))
            );
        }
    }
    let (mut stream, mut buffer) = watching(&service).await;
    service
        .post("/v1/release", json!({"key": "jobs/early", "token": early}))
        .await;
    let line = next_line(&mut stream, &mut buffer).await.unwrap();
    assert_eq!(line["claims"][0]["path"], "jobs/early", "{line}");
    service.stop().await;
}

#[tokio::test]
async fn what_was_there_before_a_watcher_is_told_with_all_that_is_known_of_it() {
    let service = Service::start(|_| {}).await;
    let body = json!({"key": "jobs/early", "holder": "alice", "label": "a host"});
    let (_, early) = service.post("/v1/acquire", body).await;
    let waiting = service
        .queue(
            json!({"key": "jobs/early", "holder": "bob", "wait_ms": 50, "label": "another"}),
            1,
        )
        .await;
    let (mut stream, mut buffer) = watching(&service).await;
    assert_eq!(answer(waiting).await.0, 409);
    let body = json!({"key": "jobs/early", "token": early["token"]});
    service.post("/v1/release", body).await;
    for (holder, label, reason) in [
        ("bob", "another", "timed_out"),
        ("alice", "a host", "released"),
    ] {
        let line = next_line(&mut stream, &mut buffer).await.unwrap();
        let seen = (
            &line["owner"]["holder"],
            &line["label"],
            &line["reason"],
            &line["claims"][0]["path"],
        );
        let expected = (
            &json!(holder),
            &json!(label),
            &json!(reason),
            &json!("jobs/early"),
        );
        assert_eq!(seen, expected, "{line}");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_watcher_that_takes_nothing_is_closed_like_a_connection_that_says_nothing() {
    // Fewer events than may wait for a watcher, and more bytes than the system keeps for one.
    const PAIRS: usize = 400;
    const IDLE: Duration = Duration::from_millis(300);
    let service = Service::start(|config| config.idle_timeout = IDLE).await;
    let mut stalled = service.send("GET", "/v1/watch?namespace=n", "").await;
    let mut head = [0; 12];
    within(stalled.read_exact(&mut head)).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let name = "x".repeat(250);
    let claims: Vec<String> = (0..64)
        .map(|n| format!("\"w {n}/{name}/{name}\""))
        .collect();
    let claims = claims.join(",");
    let mut socket = open(&service, "s", 60_000).await;
    for n in 0..PAIRS {
        let acquire = format!(r#"{{"type":"acquire","seq":{n},"id":"L{n}","claims":[{claims}]}}"#);
        let granted: Value = serde_json::from_str(&socket.ask(&acquire).await).unwrap();
        let token = &granted["token"];
        let release = format!(r#"{{"type":"release","seq":{n},"id":"L{n}","token":{token}}}"#);
        assert!(socket.ask(&release).await.contains("done"));
    }
    sleep(&TokioEnv, 4 * IDLE).await;
    // If it were open it would go on with what it has not written, and end only with the server.
    let mut got = Vec::new();
    let end = within(stalled.read_to_end(&mut got)).await;
    let events = 2 * PAIRS;
    let lines = got.split(|byte| *byte == b'{').count() / 64;
    assert!(lines < events, "{end:?} after {lines} of {events} events");
    service.stop().await;
}
