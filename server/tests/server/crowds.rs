//! Thousands of locks at one place do not hide each other. No test asserts how long something takes.

use crate::common::{Service, within};
use lockwright_env::{Env, TokioEnv};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// More than any page of the server.
const CROWD: usize = 5_000;

impl Service {
    /// Sends all requests on one connection, and gives the bodies of the answers.
    async fn ask_all(&self, requests: &[(&str, &str, Value)]) -> Vec<Value> {
        let stream = TokioEnv.connect(&self.address).await.unwrap();
        let (mut reading, mut writing) = tokio::io::split(stream);
        let mut text = String::new();
        for (place, (method, target, body)) in requests.iter().enumerate() {
            let body = match body {
                Value::Null => String::new(),
                body => body.to_string(),
            };
            let close = match place + 1 == requests.len() {
                true => "connection: close\r\n",
                false => "",
            };
            text.push_str(&format!(
                "{method} {target} HTTP/1.1\r\nhost: localhost\r\n{close}content-length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
        let mut got = Vec::new();
        let (written, read) = within(async {
            tokio::join!(
                writing.write_all(text.as_bytes()),
                reading.read_to_end(&mut got)
            )
        })
        .await;
        written.unwrap();
        read.unwrap();
        let got = String::from_utf8(got).unwrap();
        let answers = got.split("HTTP/1.1 ").skip(1);
        answers
            .map(|answer| {
                let (_, body) = answer.split_once("\r\n\r\n").unwrap();
                serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
            })
            .collect()
    }

    async fn answer_to(&self, method: &str, target: &str, body: Value) -> Value {
        self.ask_all(&[(method, target, body)]).await.remove(0)
    }

    /// Many readers of `a`, the tokens of whose locks are given.
    async fn crowd(&self) -> Vec<u64> {
        let body = |n: usize| json!({"key": "a", "mode": "read", "holder": format!("h{n}")});
        let requests: Vec<_> = (0..CROWD)
            .map(|n| ("POST", "/v1/acquire", body(n)))
            .collect();
        let answers = self.ask_all(&requests).await;
        let tokens = answers.iter().map(|answer| answer["token"].as_u64());
        tokens.map(Option::unwrap).collect()
    }
}

#[tokio::test]
async fn all_of_many_readers_are_broken_and_the_fence_knows_the_latest() {
    let service = Service::start(|_| {}).await;
    let tokens = service.crowd().await;
    let below = json!({"key": "a/b", "mode": "read", "holder": "h", "ttl_ms": 600_000});
    let below = service.answer_to("POST", "/v1/acquire", below).await;
    let fence = service
        .answer_to("GET", "/v1/fence?key=a", Value::Null)
        .await;
    let latest = *tokens.last().unwrap();
    assert_eq!(fence, json!({"key": "a", "held": true, "token": latest}));
    let fence = service
        .answer_to("GET", "/v1/fence?key=a/b/c", Value::Null)
        .await;
    assert_eq!(fence["token"], below["token"]);

    let one = tokens[CROWD - 2];
    let body = json!({"key": "a", "token": one});
    let broken = service.answer_to("POST", "/v1/break", body).await;
    assert_eq!(broken["broken"][0]["token"], one, "{broken}");
    let broken = service
        .answer_to("POST", "/v1/break", json!({"key": "a"}))
        .await;
    assert_eq!(broken["broken"].as_array().unwrap().len(), CROWD - 1);
    assert_eq!(broken["more"], Value::Null);
    let fence = service
        .answer_to("GET", "/v1/fence?key=a", Value::Null)
        .await;
    assert_eq!(fence["held"], false, "{fence}");
    service.until(|usage| usage.engine.live_requests == 1).await;
    service.stop().await;
}

#[tokio::test]
async fn a_lock_is_broken_though_thousands_below_came_first() {
    let service = Service::start(|_| {}).await;
    let body =
        |n: usize| json!({"key": format!("a/{n}"), "mode": "read", "holder": format!("h{n}")});
    let requests: Vec<_> = (0..CROWD)
        .map(|n| ("POST", "/v1/acquire", body(n)))
        .collect();
    service.ask_all(&requests).await;
    let body = json!({"key": "a", "mode": "read", "holder": "last"});
    let last = service.answer_to("POST", "/v1/acquire", body).await;
    let fence = service
        .answer_to("GET", "/v1/fence?key=a", Value::Null)
        .await;
    assert_eq!(fence["token"], last["token"], "{fence}");
    let broken = service
        .answer_to("POST", "/v1/break", json!({"key": "a"}))
        .await;
    assert_eq!(broken["broken"][0]["token"], last["token"], "{broken}");
    assert_eq!(broken["broken"].as_array().unwrap().len(), 1);
    service.stop().await;
}

#[tokio::test]
async fn a_held_lock_is_seen_behind_many_that_wait_for_something_else() {
    let service = Service::start(|_| {}).await;
    let held = |key: &str| json!({"key": key, "holder": "h"});
    service.answer_to("POST", "/v1/acquire", held("z")).await;
    let mut waiting = Vec::new();
    for n in 0..150 {
        let body = json!({
            "claims": [format!("w a/{n}"), "r z"], "holder": format!("h{n}"), "wait_ms": "forever",
        });
        let body = body.to_string();
        let mut stream = TokioEnv.connect(&service.address).await.unwrap();
        let request = format!(
            "POST /v1/acquire HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    service.until(|usage| usage.waiting_calls == 150).await;
    let own = service
        .answer_to("POST", "/v1/acquire", held("a/own"))
        .await;
    let seen = service.answer_to("GET", "/lock/a", Value::Null).await;
    assert_eq!(seen["token"], own["token"], "{seen}");
    let busy = service.answer_to("POST", "/v1/acquire", held("a")).await;
    assert_eq!(
        (&busy["error"], &busy["token"]),
        (&json!("busy"), &own["token"])
    );
    service.stop().await;
}

#[tokio::test]
async fn one_of_many_readers_is_unlocked_by_name_only_when_it_is_said_which() {
    let service = Service::start(|_| {}).await;
    let tokens = service.crowd().await;
    let got = service.answer_to("DELETE", "/lock/a", Value::Null).await;
    assert_eq!(
        (&got["error"], &got["count"], &got["locked"]),
        (&json!("ambiguous"), &json!(CROWD), &json!(true))
    );
    let shown = got["locks"].as_array().unwrap();
    assert_eq!(shown.len(), 100);
    assert_eq!(shown[0]["token"], tokens[0]);
    service
        .until(|usage| usage.engine.live_requests == CROWD)
        .await;

    let again = json!({"key": "a", "mode": "read", "holder": "h7"});
    let twice = service.answer_to("POST", "/v1/acquire", again).await;
    let got = service
        .answer_to("DELETE", "/lock/a?holder=h7", Value::Null)
        .await;
    assert_eq!(
        (&got["error"], &got["count"]),
        (&json!("ambiguous"), &json!(2))
    );
    assert_eq!(got["locks"][1]["token"], twice["token"]);
    for (target, token) in [
        (format!("/lock/a?token={}", twice["token"]), &twice["token"]),
        ("/lock/a?holder=h7".to_owned(), &json!(tokens[7])),
        (
            format!("/lock/a?holder=h4999&token={}", tokens[4999]),
            &json!(tokens[4999]),
        ),
    ] {
        let got = service.answer_to("DELETE", &target, Value::Null).await;
        assert_eq!(
            (&got["released"], &got["token"]),
            (&json!(true), token),
            "{got}"
        );
    }
    service
        .until(|usage| usage.engine.live_requests == CROWD - 2)
        .await;
    service.stop().await;
}

#[tokio::test]
async fn the_end_of_any_lock_is_told_to_a_watcher_that_came_after_it() {
    let service = Service::start(|_| {}).await;
    let tokens = service.crowd().await;
    let mut stream = TokioEnv.connect(&service.address).await.unwrap();
    let request = "GET /v1/watch?prefix=a HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    within(async {
        while !String::from_utf8_lossy(&got).contains("\r\n\r\n") {
            stream.read_buf(&mut got).await.unwrap();
        }
        let body = json!({"key": "a", "token": tokens[CROWD - 1]});
        service.answer_to("POST", "/v1/release", body).await;
        while !String::from_utf8_lossy(&got).contains(r#""reason":"released""#) {
            stream.read_buf(&mut got).await.unwrap();
        }
    })
    .await;
    let got = String::from_utf8(got).unwrap();
    assert!(got.contains(r#""path":"a""#), "{got}");
    drop(stream);
    service.stop().await;
}
