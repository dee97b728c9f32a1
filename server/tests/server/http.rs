//! The HTTP API as anybody with curl sees it. No test asserts how long something takes.

use crate::common::{Service, within};
use crate::wire::answer;
use lockwright_env::{Env, TokioEnv};
use lockwright_server::Storage;
use serde_json::{Value, json};
use std::path::Path;
use tokio::io::AsyncReadExt;

impl Service {
    async fn on(directory: &Path) -> Service {
        Service::start(|config| config.storage = Storage::Directory(directory.to_owned())).await
    }

    pub(crate) async fn lock(&self, key: &str, holder: &str) -> u64 {
        let body = json!({"key": key, "holder": holder, "ttl_ms": 600_000});
        let (status, got) = self.post("/v1/acquire", body).await;
        assert_eq!(status, 200, "{got}");
        got["token"].as_u64().unwrap()
    }
}

fn error(got: &(u16, Value)) -> (u16, &str) {
    let message = got.1["message"].as_str().unwrap_or_default();
    assert!(message.len() > 10, "no message for people: {got:?}");
    (got.0, got.1["error"].as_str().unwrap())
}

#[tokio::test]
async fn a_lock_is_acquired_renewed_and_released_with_its_token() {
    let service = Service::start(|_| {}).await;
    let body = json!({"key": "a/b", "holder": "alice", "ttl_ms": 60_000});
    let (status, got) = service.post("/v1/acquire", body).await;
    assert_eq!(status, 200, "{got}");
    let token = got["token"].as_u64().unwrap();
    let expires = got["expires_at_unix_ms"].as_u64().unwrap();
    let now = TokioEnv.wall_unix_ms();
    assert!(expires > now && expires <= now + 60_000, "{got}");
    assert_eq!(
        (
            &got["key"],
            &got["holder"],
            &got["namespace"],
            &got["waited_ms"]
        ),
        (&json!("a/b"), &json!("alice"), &json!("default"), &json!(0))
    );

    let held = json!({"key": "a/b", "held": true, "token": token});
    for key in ["a/b", "a/b/c"] {
        let (status, got) = service.get(&format!("/v1/fence?key={key}")).await;
        assert_eq!(
            (status, &got["token"], &got["held"]),
            (200, &held["token"], &json!(true))
        );
    }
    let free = json!({"key": "a", "held": false, "token": null});
    assert_eq!(service.get("/v1/fence?key=a").await, (200, free));

    let renew = json!({"key": "a/b", "holder": "alice", "token": token, "ttl_ms": 120_000});
    let (status, got) = service.post("/v1/renew", renew).await;
    assert_eq!(status, 200, "{got}");
    assert!(got["lease_ms"].as_u64().unwrap() > 60_000, "{got}");
    assert!(
        got["expires_at_unix_ms"].as_u64().unwrap() > expires,
        "{got}"
    );

    let release = json!({"key": "a/b", "holder": "alice", "token": token});
    let (status, got) = service.post("/v1/release", release.clone()).await;
    assert_eq!((status, &got["released"]), (200, &json!(true)));
    let again = service.post("/v1/release", release).await;
    assert_eq!(error(&again), (409, "not_held"));
    service.stop().await;
}

#[tokio::test]
async fn a_token_that_is_not_the_locks_is_refused_and_changes_nothing() {
    let service = Service::start(|_| {}).await;
    let old = service.lock("a", "alice").await;
    let release = json!({"key": "a", "token": old});
    assert_eq!(service.post("/v1/release", release.clone()).await.0, 200);
    let new = service.lock("a", "bob").await;
    assert!(new > old);
    for holder in ["alice", "bob"] {
        for route in ["renew", "release"] {
            let mut body = json!({"key": "a", "holder": holder, "token": old});
            if route == "renew" {
                body["ttl_ms"] = json!(5);
            }
            let got = service.post(&format!("/v1/{route}"), body).await;
            assert_eq!(error(&got), (409, "stale_token"));
            assert_eq!(
                (&got.1["holder"], &got.1["token"]),
                (&json!("bob"), &json!(new))
            );
        }
    }
    // The right token of another holder, path or namespace.
    let wrong = [
        json!({"key": "a", "holder": "alice", "token": new}),
        json!({"key": "b", "holder": "bob", "token": new}),
        json!({"key": "a", "token": new, "namespace": "other"}),
    ];
    for body in wrong {
        let (status, got) = service.post("/v1/release", body).await;
        assert_eq!(status, 409, "{got}");
    }
    assert_eq!(service.get("/v1/fence?key=a").await.1["token"], json!(new));
    service.stop().await;
}

#[tokio::test]
async fn who_may_not_wait_is_told_at_once_who_is_in_the_way() {
    let service = Service::start(|_| {}).await;
    let token = service.lock("a", "alice").await;
    let waiting = service
        .queue(json!({"key": "a/b", "holder": "carol"}), 1)
        .await;
    for wait in [json!({}), json!({"wait_ms": 0}), json!({"wait_ms": "no"})] {
        let mut body = json!({"key": "a/b", "holder": "bob"});
        body.as_object_mut()
            .unwrap()
            .extend(wait.as_object().unwrap().clone());
        let got = service.post("/v1/acquire", body).await;
        assert_eq!(error(&got), (409, "busy"));
        assert_eq!(got.1["holder"], json!("alice"));
        assert_eq!(got.1["token"], json!(token));
        assert!(got.1["lease_remaining_ms"].as_u64().unwrap() > 500_000);
        assert_eq!(got.1["queue_position"], json!(2));
    }
    let in_vain = json!({"key": "a", "holder": "bob", "wait_ms": 20});
    let got = service.post("/v1/acquire", in_vain).await;
    assert_eq!(error(&got), (409, "timed_out"));
    assert_eq!(got.1["holder"], json!("alice"));
    assert_eq!(got.1["queue_position"], json!(2));
    // Those who came later, within the same millisecond perhaps, are not ahead.
    let bob = json!({"key": "a", "holder": "bob", "wait_ms": 300});
    let bob = service.queue(bob, 2).await;
    let mut later = Vec::new();
    for number in 0..5 {
        let body = json!({"key": "a/b/c", "holder": format!("later {number}")});
        later.push(service.queue(body, 3 + number).await);
    }
    let got = answer(bob).await;
    assert_eq!(error(&got), (409, "timed_out"));
    assert_eq!(got.1["holder"], json!("alice"));
    assert_eq!(got.1["queue_position"], json!(2));
    drop(later);
    drop(waiting);
    service.until(|usage| usage.waiting_calls == 0).await;
    service.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_waits_leaves_the_queue_at_once() {
    let service = Service::start(|_| {}).await;
    let token = service.lock("a", "alice").await;
    let gone = service.queue(json!({"key": "a", "holder": "bob"}), 1).await;
    let known = json!({"key": "a", "holder": "bob", "request_id": "mine"});
    let known_gone = service.queue(known.clone(), 2).await;
    let next = service
        .queue(json!({"key": "a", "holder": "carol"}), 3)
        .await;
    drop(gone);
    drop(known_gone);
    service
        .until(|usage| usage.waiting_calls == 1 && usage.engine.live_requests == 2)
        .await;
    let release = json!({"key": "a", "token": token});
    assert_eq!(service.post("/v1/release", release).await.0, 200);
    let (status, got) = answer(next).await;
    assert_eq!((status, &got["holder"]), (200, &json!("carol")), "{got}");
    let got = service.post("/v1/acquire", known).await;
    assert_eq!(error(&got), (409, "cancelled"));
    service.stop().await;
}

#[tokio::test]
async fn asking_again_with_the_same_request_id_never_locks_twice() {
    let service = Service::start(|_| {}).await;
    let body = json!({"key": "a", "holder": "alice", "request_id": "r1", "ttl_ms": 600_000});
    let (_, first) = service.post("/v1/acquire", body.clone()).await;
    let (status, again) = service.post("/v1/acquire", body.clone()).await;
    assert_eq!((status, &again["token"]), (200, &first["token"]));
    assert_eq!(
        service.handle.usage().await.unwrap().engine.live_requests,
        1
    );
    // While it waits: both connections are answered, and one that goes takes nothing away.
    let waits = json!({"key": "a", "holder": "bob", "request_id": "r2"});
    let one = service.queue(waits.clone(), 1).await;
    let two = service.queue(waits.clone(), 2).await;
    let three = service.queue(waits, 3).await;
    drop(one);
    service.until(|usage| usage.waiting_calls == 2).await;
    assert_eq!(
        service.handle.usage().await.unwrap().engine.live_requests,
        2
    );
    let release = json!({"key": "a", "token": first["token"]});
    assert_eq!(service.post("/v1/release", release).await.0, 200);
    let (two, three) = (answer(two).await, answer(three).await);
    assert_eq!((two.0, three.0), (200, 200));
    assert_eq!(two.1["token"], three.1["token"]);
    let ended = service.post("/v1/acquire", body).await;
    assert_eq!(error(&ended), (409, "released"));
    service.stop().await;
}

/// The doors, and how each asks for `claims` with the id `r` for `alice`.
async fn ask_again(service: &Service, by_path: bool, claims: &[&str], id: &str) -> (u16, Value) {
    if by_path {
        let (mode, path) = claims[0].split_once(' ').unwrap();
        let mode = if mode == "r" { "read" } else { "write" };
        let query = format!("holder=alice&request_id={id}&mode={mode}&wait_ms=no");
        return service
            .ask("POST", &format!("/lock/{path}?{query}"), "")
            .await;
    }
    let body = json!({"claims": claims, "holder": "alice", "request_id": id});
    service.post("/v1/acquire", body).await
}

fn claims_told(got: &Value) -> Vec<String> {
    let claims = got["claims"].as_array().into_iter().flatten();
    let text = |claim: &Value| {
        let mode = if claim["mode"] == "read" { "r" } else { "w" };
        format!("{mode} {}", claim["path"].as_str().unwrap())
    };
    claims.map(text).collect()
}

#[tokio::test]
async fn a_request_id_that_comes_again_for_something_else_is_refused_and_changes_nothing() {
    for (first, second, is_retry) in [
        (&["w a"][..], &["w a"][..], true),
        (&["w a"], &["w a", "r a/b", "w a"], true),
        (&["r a", "w b"], &["w b", "r a"], true),
        (&["w a"], &["w b"], false),
        (&["w a"], &["r a"], false),
        (&["w a"], &["w a/b"], false),
        (&["w a"], &["w a", "w b"], false),
        (&["r a", "w b"], &["w a", "r b"], false),
        (&["r a", "w b"], &["w b"], false),
    ] {
        for by_path in [false, true] {
            // `/lock/..` takes one claim.
            if by_path && second.len() > 1 {
                continue;
            }
            for stage in ["held", "queued", "released"] {
                if is_retry && stage == "queued" {
                    // It waits with the first one, which is for another test.
                    continue;
                }
                let case = format!("{stage}: {first:?}, then {second:?}, by path: {by_path}");
                let service = Service::start(|_| {}).await;
                let body = json!({"claims": first, "holder": "alice", "request_id": "r"});
                let mut waiting = None;
                if stage == "queued" {
                    service.lock("/", "bob").await;
                    waiting = Some(service.queue(body, 1).await);
                } else {
                    let (status, got) = service.post("/v1/acquire", body).await;
                    assert_eq!(status, 200, "{case}: {got}");
                    if stage == "released" {
                        let path = first[0].split_once(' ').unwrap().1;
                        let release = json!({"key": path, "token": got["token"]});
                        assert_eq!(service.post("/v1/release", release).await.0, 200);
                    }
                }
                let before = service.handle.usage().await.unwrap().engine;
                let got = ask_again(&service, by_path, second, "r").await;
                if is_retry {
                    let status = if stage == "held" { 200 } else { 409 };
                    assert_eq!(got.0, status, "{case}: {got:?}");
                } else {
                    assert_eq!(error(&got), (422, "request_mismatch"), "{case}");
                    let mut told = claims_told(&got.1);
                    told.sort();
                    let is_over = stage == "released";
                    assert_eq!(
                        told,
                        if is_over { vec![] } else { first.to_vec() },
                        "{case}"
                    );
                    let ended = if is_over {
                        json!("released")
                    } else {
                        Value::Null
                    };
                    assert_eq!(got.1["ended"], ended, "{case}");
                    for other in ["token", "key", "holder", "lease_ms", "lease_remaining_ms"] {
                        assert_eq!(got.1[other], Value::Null, "{case}: `{other}` of the first");
                    }
                }
                let after = service.handle.usage().await.unwrap().engine;
                assert_eq!(after, before, "{case}");
                drop(waiting);
                service.stop().await;
            }
        }
    }
}

#[tokio::test]
async fn a_request_whose_caller_goes_while_its_id_is_used_for_something_else_leaves_the_queue() {
    let service = Service::start(|_| {}).await;
    let token = service.lock("a", "bob").await;
    for round in 0..20 {
        let body = json!({"key": "a", "holder": "alice", "request_id": format!("r{round}")});
        let waiting = service.queue(body.clone(), 1).await;
        // The end of the one and the question of the other cross in any order.
        let mut other = body;
        other["key"] = json!("b");
        let other = other.to_string();
        let other = service.send("POST", "/v1/acquire", &other);
        let (other, ()) = tokio::join!(other, async { drop(waiting) });
        assert_eq!(error(&answer(other).await), (422, "request_mismatch"));
        service
            .until(|usage| usage.waiting_calls == 0 && usage.engine.live_requests == 1)
            .await;
    }
    let release = json!({"key": "a", "token": token});
    assert_eq!(service.post("/v1/release", release).await.0, 200);
    let (_, fence) = service.get("/v1/fence?key=a").await;
    assert_eq!(fence["held"], json!(false), "nobody is there to hold it");
    service.stop().await;
}

#[tokio::test]
async fn several_paths_are_locked_all_or_none() {
    let service = Service::start(|_| {}).await;
    let body = json!({
        "claims": [{"mode": "read", "path": "a"}, "w b/c"],
        "holder": "alice", "namespace": "n",
    });
    let (status, got) = service.post("/v1/acquire", body).await;
    assert_eq!(status, 200, "{got}");
    assert_eq!(
        (&got["lease_ms"], &got["expires_at_unix_ms"]),
        (&Value::Null, &Value::Null)
    );
    let try_ = |key: &str, mode: &str, namespace: &str| json!({"key": key, "mode": mode, "namespace": namespace, "holder": "bob"});
    for (key, mode, namespace, expected) in [
        ("a", "write", "n", 409),
        ("b", "read", "n", 409),
        ("a/x", "read", "n", 200),
        ("b/d", "write", "n", 200),
        ("a", "write", "default", 200),
    ] {
        let got = service
            .post("/v1/acquire", try_(key, mode, namespace))
            .await;
        assert_eq!(got.0, expected, "{key} {mode} {namespace}: {}", got.1);
    }
    let release = json!({"key": "b/c", "token": got["token"], "namespace": "n"});
    assert_eq!(service.post("/v1/release", release).await.0, 200);
    // A claim that another one covers is a path of the lock all the same.
    let covered = json!({"claims": ["w c", "w c/d"], "holder": "alice", "namespace": "n"});
    let (_, got) = service.post("/v1/acquire", covered).await;
    let release = json!({"key": "c/d", "token": got["token"], "namespace": "n"});
    assert_eq!(service.post("/v1/release", release).await.0, 200);
    service.stop().await;
}

#[tokio::test]
async fn people_with_curl_lock_look_and_unlock_by_name() {
    let service = Service::start(|_| {}).await;
    let got = service.get("/lock/jobs/nightly").await;
    assert_eq!(error(&got), (404, "not_held"));
    assert_eq!(got.1["locked"], json!(false));
    assert_eq!(
        error(&service.ask("DELETE", "/lock/jobs/nightly", "").await),
        (404, "not_held")
    );
    let (status, got) = service
        .ask("POST", "/lock/jobs/nightly?ttl_ms=60000", "")
        .await;
    assert_eq!(status, 200, "{got}");
    let (status, seen) = service.get("/lock/jobs").await;
    assert_eq!(
        (status, &seen["token"], &seen["locked"]),
        (200, &got["token"], &json!(true))
    );
    let busy = service
        .ask("POST", "/lock/jobs/nightly?wait_ms=10", "")
        .await;
    assert_eq!(error(&busy), (409, "timed_out"));
    let elsewhere = service.ask("DELETE", "/lock/jobs", "").await;
    assert_eq!(
        error(&elsewhere),
        (409, "not_held"),
        "something below is held"
    );
    let stale = service
        .ask("DELETE", "/lock/jobs/nightly?token=1", "")
        .await;
    assert_eq!(error(&stale), (409, "stale_token"));
    let other = service
        .ask("DELETE", "/lock/jobs/nightly?holder=bob", "")
        .await;
    assert_eq!(error(&other), (409, "not_held"));
    assert_eq!(service.ask("DELETE", "/lock/jobs/nightly", "").await.0, 200);
    assert_eq!(service.get("/lock/jobs/nightly").await.0, 404);
    service.stop().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_what_to_do() {
    let service = Service::start(|config| {
        config.message_bytes_max = 4096;
        config.limits.claims_per_request = 2;
    })
    .await;
    let holder = json!("h");
    let cases = [
        (json!({"key": "a"}), 400, "invalid_request"),
        (json!({"holder": holder}), 400, "invalid_request"),
        (
            json!({"key": "a", "claims": [], "holder": holder}),
            400,
            "invalid_request",
        ),
        (
            json!({"claims": [], "holder": holder}),
            400,
            "invalid_request",
        ),
        (
            json!({"claims": ["x a"], "holder": holder}),
            400,
            "invalid_request",
        ),
        (
            json!({"claims": [7], "holder": holder}),
            400,
            "invalid_request",
        ),
        (
            json!({"claims": ["w a"], "mode": "read", "holder": holder}),
            400,
            "invalid_request",
        ),
        (
            json!({"claims": ["w a//b"], "holder": holder}),
            400,
            "invalid_path",
        ),
        (
            json!({"key": "a//b", "holder": holder}),
            400,
            "invalid_path",
        ),
        (
            json!({"key": "a", "holder": holder, "ttl": 5}),
            400,
            "invalid_request",
        ),
        (
            json!({"key": "a", "holder": holder, "ttl_ms": 0}),
            400,
            "invalid_request",
        ),
        (
            json!({"key": "a", "holder": holder, "ttl_ms": -1}),
            400,
            "invalid_request",
        ),
        (
            json!({"key": "a", "holder": holder, "wait_ms": "soon"}),
            400,
            "invalid_request",
        ),
        (json!({"key": "a", "holder": ""}), 400, "invalid_request"),
        (json!([1, 2]), 400, "invalid_request"),
        (
            json!({"claims": ["w a", "w b", "w c"], "holder": holder}),
            429,
            "limit_exceeded",
        ),
        (
            json!({"key": "a".repeat(5000), "holder": holder}),
            413,
            "too_large",
        ),
    ];
    for (body, status, code) in cases {
        let got = service.post("/v1/acquire", body.clone()).await;
        assert_eq!(error(&got), (status, code), "{body}");
    }
    let limit = service.post(
        "/v1/acquire",
        json!({"claims": ["w a", "w b", "w c"], "holder": "h"}),
    );
    assert_eq!(limit.await.1["limit"], json!("claims_per_request"));
    let got = service.ask("POST", "/v1/acquire", "{").await;
    assert_eq!(error(&got), (400, "invalid_request"));
    assert_eq!(error(&service.get("/v1/nothing").await), (404, "not_found"));
    assert_eq!(
        error(&service.get("/v1/acquire").await),
        (405, "method_not_allowed")
    );
    assert_eq!(
        error(&service.get("/v1/fence").await),
        (400, "invalid_request")
    );
    assert_eq!(
        error(&service.get("/v1/fence?key=a//b").await),
        (400, "invalid_path")
    );
    for query in ["ttl_ms=x", "wait_ms=x", "mode=x", "x=1"] {
        let got = service.ask("POST", &format!("/lock/a?{query}"), "").await;
        assert_eq!(error(&got), (400, "invalid_request"), "{query}");
    }
    assert!(
        service.handle.usage().await.unwrap().engine.is_zero(),
        "nothing was left behind"
    );
    service.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_answers_what_waits() {
    let service = Service::start(|_| {}).await;
    service.lock("a", "alice").await;
    let waiting = service.queue(json!({"key": "a", "holder": "bob"}), 1).await;
    service.handle.shutdown();
    assert_eq!(error(&answer(waiting).await), (503, "unavailable"));
    service.stop().await;
}

#[tokio::test]
async fn after_a_restart_what_was_held_is_held_and_nobody_waits() {
    let directory = std::env::temp_dir().join(format!("lockwright-http-{}", std::process::id()));
    let service = Service::on(&directory).await;
    let token = service.lock("a", "alice").await;
    let waits = json!({"key": "a", "holder": "bob", "request_id": "r"});
    let waiting = service.queue(waits.clone(), 1).await;
    service.stop().await;
    drop(waiting);
    let service = Service::on(&directory).await;
    assert_eq!(
        service.get("/v1/fence?key=a").await.1["token"],
        json!(token)
    );
    let renew = json!({"key": "a", "token": token, "ttl_ms": 60_000});
    assert_eq!(service.post("/v1/renew", renew).await.0, 200);
    assert_eq!(
        error(&service.post("/v1/acquire", waits).await),
        (409, "cancelled")
    );
    let release = json!({"key": "a", "token": token});
    assert_eq!(service.post("/v1/release", release).await.0, 200);
    assert!(service.lock("a", "carol").await > token);
    service.stop().await;
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn a_restart_grants_nothing_to_those_who_waited_before_it() {
    let directory = std::env::temp_dir().join(format!("lockwright-begin-{}", std::process::id()));
    let service = Service::on(&directory).await;
    let read = |holder: &str| json!({"key": "a", "mode": "read", "holder": holder});
    let (status, held) = service.post("/v1/acquire", read("alice")).await;
    assert_eq!(status, 200);
    // Were the writer given up before the reader behind it, the reader would be granted.
    let writer = service.queue(json!({"key": "a", "holder": "bob"}), 1).await;
    let reader = service.queue(read("carol"), 2).await;
    service.stop().await;
    drop((writer, reader));
    let service = Service::on(&directory).await;
    let (_, locks) = service.get("/v1/locks").await;
    assert_eq!(locks["locks"].as_array().unwrap().len(), 1, "{locks}");
    assert_eq!(locks["locks"][0]["token"], held["token"]);
    service.stop().await;
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn an_operator_sees_what_is_locked_in_pages_and_breaks_it() {
    let service = Service::start(|_| {}).await;
    for n in 0..5 {
        service.lock(&format!("jobs/{n}"), "alice").await;
    }
    service.lock("other", "bob").await;
    let wanted = json!({"claims": ["w jobs/2", "r free"], "holder": "carol"});
    let waiting = service.queue(wanted, 1).await;
    let (status, one) = service.get("/v1/locks?prefix=jobs&limit=4").await;
    assert_eq!(status, 200, "{one}");
    assert_eq!(one["locks"].as_array().unwrap().len(), 4);
    let first = &one["locks"][0];
    assert_eq!(first["owner"], json!({"holder": "alice"}));
    assert_eq!(
        first["claims"],
        json!([{"mode": "write", "path": "jobs/0"}])
    );
    assert_eq!(
        (&first["state"], first["token"].is_u64()),
        (&json!("held"), true)
    );
    assert!(first["lease_remaining_ms"].as_u64().unwrap() > 500_000);
    assert!(first["age_ms"].is_u64() && first["held_ms"].is_u64());
    let cursor = one["next_cursor"].as_str().unwrap();
    let next = format!("/v1/locks?prefix=jobs&limit=4&cursor={cursor}");
    let (_, two) = service.get(&next).await;
    assert_eq!(two["next_cursor"], Value::Null);
    let states: Vec<&str> = two["locks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lock| lock["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["held", "queued"]);
    let (_, queued) = service.get("/v1/locks?state=queued").await;
    assert_eq!(queued["locks"].as_array().unwrap().len(), 1);
    assert_eq!(
        queued["locks"][0]["claims"][1],
        json!({"mode": "write", "path": "jobs/2"})
    );

    let (_, around) = service.get("/v1/locks/jobs/2").await;
    assert_eq!(around["held"][0]["owner"], json!({"holder": "alice"}));
    assert_eq!(around["queued"][0]["owner"], json!({"holder": "carol"}));
    assert_eq!(around["truncated"], json!(false));
    let (_, stats) = service.get("/v1/stats").await;
    assert_eq!(
        (&stats["live_requests"], &stats["waiting_calls"]),
        (&json!(7), &json!(1))
    );
    assert_eq!(
        service.get("/v1/namespaces").await.1,
        json!({"namespaces": ["default"]})
    );
    assert_eq!(service.get("/v1/sessions").await.1["sessions"], json!([]));

    let token = around["held"][0]["token"].as_u64().unwrap();
    let wrong = json!({"key": "jobs/2", "token": token + 100});
    assert_eq!(
        error(&service.post("/v1/break", wrong).await),
        (409, "stale_token")
    );
    let above = service.post("/v1/break", json!({"key": "jobs"})).await;
    assert_eq!(error(&above), (409, "not_held"));
    let (status, broken) = service
        .post("/v1/break", json!({"key": "jobs/2", "token": token}))
        .await;
    assert_eq!(
        (status, &broken["broken"][0]["token"]),
        (200, &json!(token))
    );
    assert_eq!(answer(waiting).await.0, 200, "whoever waited has it now");
    for query in [
        "limit=0",
        "limit=1001",
        "cursor=x",
        "state=ended",
        "prefix=a//b",
        "page=2",
    ] {
        let got = service.get(&format!("/v1/locks?{query}")).await;
        assert_eq!(got.0, 400, "{query}: {}", got.1);
    }
    service.stop().await;
}

#[tokio::test]
async fn a_server_says_that_it_lives_and_that_it_serves_and_what_it_did() {
    let service = Service::start(|_| {}).await;
    assert_eq!(service.get("/healthz").await.0, 200);
    assert_eq!(service.get("/readyz").await.0, 200);
    let (_, view) = service.get("/v1/cluster").await;
    assert_eq!(view["state"]["ready"], true, "{view}");
    assert_eq!(view["leader"], view["id"], "{view}");
    let token = service.lock("a", "alice").await;
    service
        .post("/v1/release", json!({"key": "a", "token": token}))
        .await;
    service.lock("a", "alice").await;
    service
        .post("/v1/acquire", json!({"key": "a", "holder": "bob"}))
        .await;
    let mut stream = service.send("GET", "/metrics", "").await;
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    for line in [
        "lockwright_requests_granted_total 2",
        "lockwright_requests_ended_total{reason=\"released\"} 1",
        "lockwright_requests_refused_total{error=\"busy\"} 1",
        "lockwright_request_wait_seconds_count 2",
        "lockwright_http_answers_total{status=\"409\"} 1",
        "lockwright_live_requests 1",
        "lockwright_connections_in_reserve_total 0",
        "lockwright_connections_refused_total 0",
        "lockwright_unread_bytes 0",
        "# EOF",
    ] {
        assert!(
            text.lines().any(|got| got == line),
            "{line} is not in {text}"
        );
    }
    service.stop().await;
}

#[tokio::test]
async fn each_path_answers_to_the_methods_that_are_described_and_to_no_others() {
    let service = Service::start(|_| {}).await;
    let (status, description) = service.get("/openapi.json").await;
    assert_eq!(status, 200);
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() > 10, "{paths:?}");
    for (path, described) in paths {
        if path == "/v1/watch" {
            continue; // Its answer has no end.
        }
        let target = path.replace(['{', '}'], "");
        for method in ["get", "post", "put", "delete", "patch"] {
            let (status, _) = service.ask(&method.to_uppercase(), &target, "").await;
            let is_described = described.get(method).is_some();
            assert_eq!(status != 405, is_described, "{method} {path}: {status}");
        }
    }
    service.stop().await;
}
