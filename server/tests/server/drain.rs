//! A stop that waits for locks, as clients of all doors see it. No test asserts how long something takes.

use crate::common::{Service, within};
use crate::wire::answer;
use futures_util::{SinkExt, StreamExt};
use lockwright_env::{Env, TokioEnv, sleep};
use lockwright_server::{Drain, ServerConfig};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

fn for_locks(config: &mut ServerConfig) {
    config.drain = Drain::Locks;
    config.drain_timeout = LONG;
}

impl Service {
    async fn acquire(&self, key: &str, more: Value) -> (u16, Value) {
        let mut body = json!({"key": key, "holder": "alice"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        self.post("/v1/acquire", body).await
    }

    /// A request that waits; comes back when it does.
    async fn wait_for(&self, key: &str, number: usize) -> TcpStream {
        let body = json!({"key": key, "holder": "bob", "wait_ms": "forever"});
        let stream = self.send("POST", "/v1/acquire", &body.to_string()).await;
        self.until(|usage| usage.waiting_calls == number).await;
        stream
    }

    async fn socket(&self, path: &str) -> Socket {
        let stream = TokioEnv.connect(&self.address).await.unwrap();
        let url = format!("ws://{}{path}", self.address);
        Socket(client_async(url, stream).await.unwrap().0)
    }

    /// A session of the native protocol.
    async fn session(&self, name: &str) -> Socket {
        let mut socket = self.socket("/v1/session").await;
        let opened = socket.ask(open(name)).await;
        assert_eq!(opened["type"], "opened", "{opened}");
        socket
    }

    /// Begins the stop; comes back when it has begun.
    async fn begin_to_stop(&self) {
        self.handle.shutdown();
        within(async {
            while self.get("/readyz").await.0 == 200 {
                sleep(&TokioEnv, Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    async fn stopped(self) {
        within(self.task).await.unwrap().unwrap();
    }
}

fn open(name: &str) -> Value {
    json!({"type": "open", "seq": 1, "namespace": "default", "session": name,
        "secret": "0123456789abcdef", "abandon_ms": 600_000})
}

fn acquire(seq: u64, id: &str, claim: &str) -> Value {
    json!({"type": "acquire", "seq": seq, "id": id, "claims": [claim]})
}

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn send(&mut self, message: Value) {
        self.0
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    async fn hear(&mut self) -> Value {
        loop {
            match within(self.0.next()).await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_))) => {}
                other => panic!("expected a message, got {other:?}"),
            }
        }
    }

    async fn ask(&mut self, message: Value) -> Value {
        self.send(message).await;
        self.hear().await
    }

    /// The code of the close frame, which comes next.
    async fn closed(&mut self) -> u16 {
        match within(self.0.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => frame.code.into(),
            other => panic!("expected the close, got {other:?}"),
        }
    }
}

fn assert_sent_away((status, body): &(u16, Value)) {
    assert_eq!(*status, 503, "{body}");
    assert_eq!(body["error"], "unavailable", "{body}");
    assert_eq!(body["done"], false, "{body}");
    assert_eq!(body["reason"], "draining", "{body}");
}

#[tokio::test]
async fn over_http_waiters_and_newcomers_are_sent_away_and_what_is_held_goes_on() {
    let service = Service::start(for_locks).await;
    let (_, held) = service.acquire("a", json!({"request_id": "first"})).await;
    let waiter = service.wait_for("a", 1).await;
    // The second would be granted as the first goes.
    let second = service.wait_for("a/b", 2).await;
    service.begin_to_stop().await;

    assert_sent_away(&answer(waiter).await);
    assert_sent_away(&answer(second).await);
    assert_sent_away(&service.acquire("free", json!({})).await);
    assert_sent_away(&service.acquire("a", json!({"wait_ms": 1000})).await);
    let (status, ready) = service.get("/readyz").await;
    assert_eq!(status, 503);
    assert_eq!(ready["reason"], "draining", "{ready}");
    let message = ready["message"].as_str().unwrap();
    assert!(message.contains("the end of 1 locks"), "{message}");
    assert_eq!(service.get("/healthz").await.0, 200);
    let (status, locks) = service.get("/v1/locks").await;
    assert_eq!(status, 200);
    assert_eq!(locks["locks"].as_array().unwrap().len(), 1, "{locks}");
    // An answer that got lost can still be had, and is not another lock.
    let (status, again) = service.acquire("a", json!({"request_id": "first"})).await;
    assert_eq!(status, 200, "{again}");
    assert_eq!(again["token"], held["token"]);
    let (status, other) = service.acquire("b", json!({"request_id": "first"})).await;
    assert_eq!(status, 422, "{other}");

    let token = &held["token"];
    let renew = json!({"key": "a", "token": token, "ttl_ms": 600_000});
    assert_eq!(service.post("/v1/renew", renew).await.0, 200);
    let release = json!({"key": "a", "token": token});
    let (status, released) = service.post("/v1/release", release).await;
    assert_eq!(status, 200, "{released}");
    service.stopped().await;
}

#[tokio::test]
async fn a_server_without_locks_stops_at_once_and_one_with_a_lease_when_that_is_over() {
    let service = Service::start(for_locks).await;
    service.handle.shutdown();
    service.stopped().await;
    let service = Service::start(for_locks).await;
    let (status, _) = service.acquire("a", json!({"ttl_ms": 50})).await;
    assert_eq!(status, 200);
    service.handle.shutdown();
    service.stopped().await;
}

#[tokio::test]
async fn it_waits_no_longer_than_it_may_and_not_at_all_when_told_twice() {
    let service = Service::start(|config| {
        config.drain = Drain::Locks;
        config.drain_timeout = Duration::from_millis(200);
    })
    .await;
    assert_eq!(service.acquire("a", json!({})).await.0, 200);
    service.handle.shutdown();
    service.stopped().await;

    let service = Service::start(for_locks).await;
    assert_eq!(service.acquire("a", json!({})).await.0, 200);
    service.begin_to_stop().await;
    // What it does already changes nothing.
    service.handle.shutdown_with(Drain::Locks);
    assert_eq!(service.get("/healthz").await.0, 200);
    service.handle.shutdown_with(Drain::Answers);
    service.stopped().await;
}

#[tokio::test]
async fn a_stop_for_answers_does_not_wait_for_locks() {
    let service = Service::start(|config| config.drain_timeout = LONG).await;
    assert_eq!(service.acquire("a", json!({})).await.0, 200);
    service.stop().await;
}

#[tokio::test]
async fn sessions_that_hold_stay_and_those_that_wait_are_sent_elsewhere() {
    let service = Service::start(for_locks).await;
    let mut holder = service.session("holder").await;
    let held = holder.ask(acquire(2, "h", "w a")).await;
    assert_eq!(held["type"], "granted", "{held}");
    let mut waiter = service.session("waiter").await;
    assert_eq!(waiter.ask(acquire(2, "w", "w a")).await["type"], "queued");
    let mut both = service.session("both").await;
    assert_eq!(both.ask(acquire(2, "x", "w b")).await["type"], "granted");
    assert_eq!(both.ask(acquire(3, "y", "w a")).await["type"], "queued");
    let mut idle = service.session("idle").await;
    service.begin_to_stop().await;

    assert_eq!(waiter.closed().await, 1001);
    let ended = both.hear().await;
    assert_eq!(
        (&ended["id"], &ended["reason"]),
        (&json!("y"), &json!("cancelled"))
    );
    let refused = both.ask(acquire(4, "z", "w c")).await;
    assert_eq!(refused["error"], "busy", "{refused}");
    assert_eq!(
        both.ask(json!({"type": "keep_alive", "seq": 5})).await["type"],
        "done"
    );
    // Asking again for what is held is answered as ever.
    let again = both.ask(acquire(6, "x", "w b")).await;
    assert_eq!(again["type"], "granted", "{again}");
    assert_eq!(
        idle.ask(json!({"type": "keep_alive", "seq": 2})).await["type"],
        "done"
    );
    idle.send(acquire(3, "i", "w d")).await;
    assert_eq!(idle.closed().await, 1001);
    for name in ["new", "waiter", "idle"] {
        let mut away = service.socket("/v1/session").await;
        away.send(open(name)).await;
        assert_eq!(away.closed().await, 1001, "{name}");
    }

    // A holder that has lost its connection comes back to release its lock.
    drop(holder);
    let mut holder = service.socket("/v1/session").await;
    let resume = json!({"type": "resume", "seq": 1, "namespace": "default", "session": "holder",
        "secret": "0123456789abcdef"});
    assert_eq!(holder.ask(resume).await["type"], "resumed");
    let release = json!({"type": "release", "seq": 2, "id": "h", "token": held["token"]});
    assert_eq!(holder.ask(release).await["type"], "done");
    // Nothing was granted in its place: one lock is left, and its session's end is the last.
    assert_eq!(
        both.ask(json!({"type": "close", "seq": 7})).await["type"],
        "done"
    );
    service.stopped().await;
}

#[tokio::test]
async fn clients_of_locktopus_release_what_they_hold_and_are_sent_away_when_they_wait() {
    let service = Service::start(for_locks).await;
    let lock = json!({"action": "lock", "resources": [{"type": "write", "path": ["a"]}]});
    let mut holder = service.socket("/v1?namespace=default").await;
    assert_eq!(holder.ask(lock.clone()).await["state"], "acquired");
    let mut waiter = service.socket("/v1?namespace=default").await;
    assert_eq!(waiter.ask(lock.clone()).await["state"], "enqueued");
    service.begin_to_stop().await;
    assert_eq!(waiter.hear().await["error"], "closed");
    assert_eq!(waiter.closed().await, 1001);
    let stream = TokioEnv.connect(&service.address).await.unwrap();
    let url = format!("ws://{}/v1?namespace=default", service.address);
    let refused = within(client_async(url, stream)).await;
    assert!(refused.unwrap_err().to_string().contains("503"));
    assert_eq!(
        holder.ask(json!({"action": "release"})).await["state"],
        "ready"
    );
    service.stopped().await;
}
