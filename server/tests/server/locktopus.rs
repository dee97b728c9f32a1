//! Locktopus' protocol against hand-written frames: what its clients see, and what hostile ones
//! try. No test asserts how long something takes.

use crate::common::{Service, within};
use futures_util::{SinkExt, StreamExt};
use lockwright_engine::DurationMs;
use lockwright_env::{Env, TokioEnv};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// The code with which a connection is closed after an error.
const COMPLAINT: u16 = 3000;

/// A connection in namespace `n`, with more for the query.
async fn connect(service: &Service, query: &str) -> Client {
    let stream = TokioEnv.connect(&service.address).await.unwrap();
    let url = format!("ws://{}/v1?namespace=n{query}", service.address);
    let (socket, _) = client_async(url, stream).await.unwrap();
    Client(socket)
}

/// What plain HTTP gives for a path.
async fn get(service: &Service, path: &str, headers: &str) -> String {
    let mut stream = TokioEnv.connect(&service.address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {headers}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
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

    /// Asks for claims written `w a/b`, and expects to get into `state`. Gives the lock's id.
    async fn lock(&mut self, claims: &[&str], state: &str) -> String {
        let resource = |claim: &&str| {
            let (kind, path) = claim.split_once(' ').unwrap();
            let path: Vec<&str> = path.split('/').filter(|one| !one.is_empty()).collect();
            json!({"type": if kind == "w" { "write" } else { "read" }, "path": path})
        };
        let resources: Vec<Value> = claims.iter().map(resource).collect();
        let message = json!({"action": "lock", "resources": resources});
        self.send(&message.to_string()).await;
        self.in_state("lock", state).await
    }

    /// Waits for its grant. Gives the lock's id.
    async fn acquired(&mut self) -> String {
        self.in_state("lock", "acquired").await
    }

    async fn release(&mut self) -> String {
        self.send(r#"{"action":"release"}"#).await;
        self.in_state("release", "ready").await
    }

    async fn in_state(&mut self, action: &str, state: &str) -> String {
        let got = self.hear().await;
        let id = got["id"].as_str().expect("a text").to_owned();
        let mut expected = json!({"id": id, "action": action, "state": state});
        if state == "acquired" {
            assert!(got["token"].is_u64(), "{got}");
            expected["token"] = got["token"].clone();
        }
        assert_eq!(got, expected);
        id
    }

    /// The error that comes next, and then the end.
    async fn refused(&mut self) -> String {
        let got = self.hear().await;
        assert_eq!(got["action"], "error", "{got}");
        assert_eq!(got["state"], "closed", "{got}");
        assert_eq!(got["id"], "", "{got}");
        let error = format!(
            "{}: {}",
            got["error"].as_str().unwrap(),
            got["message"].as_str().unwrap()
        );
        let (code, reason) = self.closed().await;
        assert_eq!(code, COMPLAINT);
        assert!(error.starts_with(&reason), "{error} is not {reason}");
        error
    }

    async fn closed(&mut self) -> (u16, String) {
        loop {
            match within(self.0.next()).await {
                Some(Ok(Message::Text(_) | Message::Ping(_))) => {}
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (frame.code.into(), frame.reason.as_str().to_owned());
                }
                other => panic!("expected the close, got {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_connection_has_one_lock_after_the_other_each_with_its_id() {
    let service = Service::start(|_| {}).await;
    let mut client = connect(&service, "").await;
    let first = client.lock(&["w a", "r b/c"], "acquired").await;
    assert_eq!(client.release().await, first);
    let second = client.lock(&["w a"], "acquired").await;
    assert_ne!(first, second);
    assert_eq!(client.release().await, second);
    let normal = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    client.0.close(Some(normal)).await.unwrap();
    let (code, _) = client.closed().await;
    assert_eq!(code, 1000, "the close is answered in kind");
    service.until(|usage| usage.engine.sessions == 0).await;
    service.stop().await;
}

#[tokio::test]
async fn locks_are_granted_in_the_order_of_arrival() {
    let service = Service::start(|_| {}).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(connect(&service, "").await);
    }
    let [one, two, three, four] = &mut clients[..] else {
        panic!("there are four");
    };
    one.lock(&["w a/b"], "acquired").await;
    let id = two.lock(&["w a"], "enqueued").await;
    three.lock(&["r a/b/c"], "enqueued").await;
    four.lock(&["r a/b/c", "r x"], "enqueued").await;
    one.release().await;
    assert_eq!(two.acquired().await, id);
    assert_eq!(two.release().await, id);
    // Readers share.
    three.acquired().await;
    four.acquired().await;
    service.stop().await;
}

#[tokio::test]
async fn subtrees_conflict_and_siblings_do_not() {
    let service = Service::start(|_| {}).await;
    let mut one = connect(&service, "").await;
    let mut two = connect(&service, "").await;
    let cases = [
        ("w a/b", "w a", "enqueued"),
        ("w a/b", "r a/b/c", "enqueued"),
        ("r a/b", "w a/b", "enqueued"),
        ("w /", "r x", "enqueued"),
        ("r a", "w /", "enqueued"),
        ("w a/b", "w a/bc", "acquired"),
        ("w a/b", "w a/c", "acquired"),
        ("r a", "r a/b", "acquired"),
        ("r /", "r /", "acquired"),
    ];
    for (held, asked, state) in cases {
        one.lock(&[held], "acquired").await;
        two.lock(&[asked], state).await;
        two.release().await;
        one.release().await;
    }
    service.stop().await;
}

#[tokio::test]
async fn namespaces_have_nothing_to_do_with_each_other() {
    let service = Service::start(|_| {}).await;
    let mut one = connect(&service, "").await;
    let mut two = connect(&service, "a+b").await;
    one.lock(&["w /"], "acquired").await;
    two.lock(&["w /"], "acquired").await;
    service.stop().await;
}

#[tokio::test]
async fn a_release_while_queued_leaves_the_queue_at_once() {
    let service = Service::start(|_| {}).await;
    let mut one = connect(&service, "").await;
    let mut two = connect(&service, "").await;
    let mut three = connect(&service, "").await;
    one.lock(&["w a"], "acquired").await;
    let id = two.lock(&["w a", "w b"], "enqueued").await;
    three.lock(&["w b"], "enqueued").await;
    assert_eq!(two.release().await, id);
    // The first still holds its lock.
    three.acquired().await;
    two.lock(&["w c"], "acquired").await;
    service.stop().await;
}

#[tokio::test]
async fn a_client_need_not_wait_for_answers() {
    let service = Service::start(|_| {}).await;
    let mut holder = connect(&service, "").await;
    holder.lock(&["w a"], "acquired").await;
    let mut client = connect(&service, "").await;
    let lock = |path: &str| {
        format!(r#"{{"action":"lock","resources":[{{"type":"write","path":["{path}"]}}]}}"#)
    };
    for path in ["a", "b"] {
        client.send(&lock(path)).await;
        client.send(r#"{"action":"release"}"#).await;
    }
    let id = client.in_state("lock", "enqueued").await;
    assert_eq!(client.in_state("release", "ready").await, id);
    let id = client.in_state("lock", "acquired").await;
    assert_eq!(client.in_state("release", "ready").await, id);
    service.stop().await;
}

#[tokio::test]
async fn json_may_come_in_a_binary_frame() {
    let service = Service::start(|_| {}).await;
    let mut client = connect(&service, "").await;
    let message = r#"{"action":"lock","resources":[{"type":"W","path":["a"]}]}"#;
    client.0.send(Message::binary(message)).await.unwrap();
    client.acquired().await;
    client.0.send(Message::binary(vec![0xff])).await.unwrap();
    let error = client.refused().await;
    assert!(error.contains("invalid utf-8"), "{error}");
    service.stop().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_answered_at_once_and_ends_the_connection() {
    let service = Service::start(|config| config.message_bytes_max = 8_000).await;
    let lock = |resources: &str| format!(r#"{{"action":"lock","resources":{resources}}}"#);
    let resource = r#"{"type":"write","path":["a"]}"#;
    let too_many = vec![resource; 65].join(",");
    let too_long = "x".repeat(256);
    let too_deep = vec![r#""x""#; 33].join(",");
    let cases = [
        ("nonsense".to_owned(), "invalid_request: the message cannot"),
        ("{}".to_owned(), "missing field `action`"),
        (
            r#"{"action":"steal"}"#.to_owned(),
            "unknown variant `steal`",
        ),
        (
            r#"{"action":"release"}"#.to_owned(),
            "invalid action `release` in state `ready`",
        ),
        (
            r#"{"action":"lock"}"#.to_owned(),
            "missing field `resources`",
        ),
        (
            lock(r#"[{"type":"write","path":["a"],"ttl_ms":5}]"#),
            "at `resources[0].ttl_ms`: unknown field",
        ),
        (lock("[]"), "`resources` is empty"),
        (lock("null"), "at `resources`: null is no value"),
        (lock(r#"[{"type":"write"}]"#), "missing field `path`"),
        (
            lock(r#"[{"type":"write","path":null}]"#),
            "at `resources[0].path`: null is no value",
        ),
        (
            lock(r#"[{"type":"all","path":["a"]}]"#),
            "expected `read` or `write`",
        ),
        (lock(&format!("[{too_many}]")), "limit_exceeded"),
        (
            lock(&format!(r#"[{{"type":"read","path":["{too_long}"]}}]"#)),
            "limit_exceeded",
        ),
        (
            lock(&format!(r#"[{{"type":"read","path":[{too_deep}]}}]"#)),
            "limit_exceeded",
        ),
        (" ".repeat(8_001), "at most 8000 bytes"),
    ];
    for (sent, expected) in cases {
        let mut client = connect(&service, "").await;
        client.send(&sent).await;
        let error = client.refused().await;
        assert!(error.contains(expected), "{sent} gave {error}");
    }
    service.until(|usage| usage.engine.sessions == 0).await;
    service.stop().await;
}

#[tokio::test]
async fn an_error_with_a_lock_in_hand_leaves_it_to_the_abandon_timeout() {
    let service = Service::start(|_| {}).await;
    let mut waiter = connect(&service, "").await;
    for (abandon_ms, state) in [(20, "acquired"), (600_000, "acquired")] {
        let query = format!("&abandon-timeout-ms={abandon_ms}");
        let mut client = connect(&service, &query).await;
        client.lock(&["w a"], state).await;
        waiter.lock(&["w a"], "enqueued").await;
        client
            .send(r#"{"action":"lock","resources":[{"type":"read","path":["b"]}]}"#)
            .await;
        let error = client.refused().await;
        assert!(error.contains("in state `acquired`"), "{error}");
        if abandon_ms == 20 {
            waiter.acquired().await;
        }
        waiter.release().await;
    }
    service.stop().await;
}

#[tokio::test]
async fn a_connection_that_names_no_abandon_timeout_gets_the_servers() {
    let service = Service::start(|config| {
        config.default_abandon_timeout = Duration::from_millis(20);
    })
    .await;
    let mut waiter = connect(&service, "").await;
    let mut client = connect(&service, "").await;
    client.lock(&["w a"], "acquired").await;
    waiter.lock(&["w a"], "enqueued").await;
    drop(client);
    waiter.acquired().await;
    service.stop().await;
}

#[tokio::test]
async fn a_lock_ends_when_its_connection_was_gone_for_the_abandon_timeout() {
    let service = Service::start(|_| {}).await;
    for closes in [true, false] {
        let mut client = connect(&service, "&abandon-timeout-ms=20").await;
        let mut waiter = connect(&service, "").await;
        client.lock(&["w a"], "acquired").await;
        waiter.lock(&["w a"], "enqueued").await;
        if closes {
            client.0.close(None).await.unwrap();
        }
        drop(client);
        waiter.acquired().await;
        waiter.release().await;
    }
    service.stop().await;
}

#[tokio::test]
async fn a_lock_outlives_its_connection_until_the_abandon_timeout() {
    let service = Service::start(|_| {}).await;
    let mut client = connect(&service, "").await;
    let mut waiter = connect(&service, "").await;
    client.lock(&["w a"], "acquired").await;
    waiter.lock(&["w a"], "enqueued").await;
    drop(client);
    service.until(|usage| usage.connections == 1).await;
    assert_eq!(service.handle.usage().await.unwrap().engine.sessions, 2);
    // If it were acquired meanwhile, that would be heard before.
    waiter.release().await;
    service.stop().await;
}

#[tokio::test]
async fn who_goes_while_queued_leaves_the_queue_at_once() {
    let service = Service::start(|_| {}).await;
    let mut holder = connect(&service, "").await;
    let mut next = connect(&service, "").await;
    holder.lock(&["w a"], "acquired").await;
    let mut gone = connect(&service, "").await;
    gone.lock(&["w a", "w b"], "enqueued").await;
    next.lock(&["w b"], "enqueued").await;
    drop(gone);
    next.acquired().await;
    service.until(|usage| usage.engine.sessions == 2).await;
    service.stop().await;
}

#[tokio::test]
async fn a_silent_client_keeps_its_lock_as_long_as_it_answers_pings() {
    let idle_timeout = Duration::from_millis(400);
    let service = Service::start(|config| config.idle_timeout = idle_timeout).await;
    let mut client = connect(&service, "&abandon-timeout-ms=0").await;
    client.lock(&["w a"], "acquired").await;
    // More pings than fit into the idle timeout; each is answered as it is read.
    for _ in 0..8 {
        match within(client.0.next()).await {
            Some(Ok(Message::Ping(_))) => client.0.flush().await.unwrap(),
            other => panic!("expected a ping, got {other:?}"),
        }
    }
    client.release().await;
    service.stop().await;
}

#[tokio::test]
async fn a_client_that_answers_nothing_counts_as_gone() {
    let idle_timeout = Duration::from_millis(50);
    let service = Service::start(|config| config.idle_timeout = idle_timeout).await;
    let mut gone = connect(&service, "&abandon-timeout-ms=0").await;
    gone.lock(&["w a"], "acquired").await;
    service.until(|usage| usage.engine.sessions == 0).await;
    // Only now does it read what was sent to it.
    assert_eq!(gone.closed().await.0, 4000);
    service.stop().await;
}

#[tokio::test]
async fn a_connection_that_lives_long_leaves_nothing_behind() {
    let service = Service::start(|config| {
        config.limits.retention = DurationMs::new(1).unwrap();
    })
    .await;
    let mut client = connect(&service, "").await;
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..260 {
        let id = client.lock(&["w a"], "acquired").await;
        assert_eq!(client.release().await, id);
        assert!(ids.insert(id), "each lock has an id of its own");
    }
    service
        .until(|usage| usage.engine.remembered_requests <= 5)
        .await;
    let usage = service.handle.usage().await.unwrap();
    assert_eq!((usage.connections, usage.engine.sessions), (1, 1));
    service.stop().await;
}

#[tokio::test]
async fn the_url_is_checked_before_anything_else() {
    let service = Service::start(|config| config.limits.sessions = 1).await;
    let cases = [
        ("/v1", "400", "`namespace` is required"),
        ("/v1?namespace=", "400", "`namespace` is required"),
        ("/v1?namespace=a%07", "400", "no control characters"),
        (
            "/v1?namespace=a&abandon-timeout-ms=soon",
            "400",
            "`abandon-timeout-ms` is `soon`",
        ),
        ("/v1?namespace=a", "4", ""),
    ];
    for (path, status, why) in cases {
        let answer = get(&service, path, "close").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert!(answer.contains(why), "{answer}");
    }
    let _one = connect(&service, "").await;
    let upgrade = "Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let answer = get(&service, "/v1?namespace=n", upgrade).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("limit_exceeded"), "{answer}");
    service.until(|usage| usage.connections == 1).await;
    service.stop().await;
}

#[tokio::test]
async fn what_is_in_a_namespace_is_counted() {
    let service = Service::start(|_| {}).await;
    let answer = get(&service, "/stats_v1", "close").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let path = "/stats_v1?namespace=n";
    let answer = get(&service, path, "close").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let mut one = connect(&service, "").await;
    let mut two = connect(&service, "").await;
    one.lock(&["w a/b", "r c"], "acquired").await;
    two.lock(&["r a/b/b"], "enqueued").await;
    let answer = get(&service, path, "close").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (_, counts) = answer.split_once("\r\n\r\n").unwrap();
    let counts: Value = serde_json::from_str(counts).unwrap();
    let expected = json!({
        "GroupsPending": 1, "GroupsAcquired": 1, "LocksPending": 1, "LocksAcquired": 2,
        "LockrefCount": 9, "TokensTotal": 6, "TokensUnique": 3, "PathCount": 5,
    });
    assert_eq!(counts, expected);
    service.stop().await;
}

#[tokio::test]
async fn segments_are_any_texts_and_stay_apart() {
    let service = Service::start(|_| {}).await;
    let mut one = connect(&service, "").await;
    let mut two = connect(&service, "").await;
    let lock = |path: &str| {
        format!(r#"{{"action":"lock","resources":[{{"type":"write","path":{path}}}]}}"#)
    };
    let cases = [
        (r#"["department/IT"]"#, r#"["department","IT"]"#, "acquired"),
        (r#"["department/IT"]"#, r#"["department%2FIT"]"#, "acquired"),
        (
            r#"["department/IT"]"#,
            r#"["department/IT","x"]"#,
            "enqueued",
        ),
        (r#"["a",""]"#, r#"["a","%"]"#, "acquired"),
        (r#"["a",""]"#, r#"["a"]"#, "enqueued"),
        (r#"[""]"#, r#"["b"]"#, "acquired"),
        (r#"["\n\u0000"]"#, r#"["\n\u0000",""]"#, "enqueued"),
    ];
    for (held, asked, state) in cases {
        one.send(&lock(held)).await;
        one.acquired().await;
        two.send(&lock(asked)).await;
        two.in_state("lock", state).await;
        two.release().await;
        one.release().await;
    }
    service.stop().await;
}

#[tokio::test]
async fn it_shares_its_locks_with_sessions_of_our_own_protocol() {
    let service = Service::start(|_| {}).await;
    let stream = TokioEnv.connect(&service.address).await.unwrap();
    let url = format!("ws://{}/v1/session", service.address);
    let (socket, _) = client_async(url, stream).await.unwrap();
    let mut native = Client(socket);
    let open = json!({
        "seq": 1, "type": "open", "namespace": "n", "session": "s",
        "secret": "0123456789abcdef", "abandon_ms": 1000,
    });
    native.send(&open.to_string()).await;
    assert_eq!(native.hear().await["type"], "opened");
    let mut client = connect(&service, "").await;

    let acquire = r#"{"seq":2,"type":"acquire","id":"A","claims":["w a%2Fb"]}"#;
    native.send(acquire).await;
    let granted = native.hear().await;
    assert_eq!(granted["type"], "granted");
    client
        .send(r#"{"action":"lock","resources":[{"type":"read","path":["a/b","c"]}]}"#)
        .await;
    client.in_state("lock", "enqueued").await;
    let again = r#"{"seq":3,"type":"acquire","id":"B","claims":["w /"]}"#;
    native.send(again).await;
    assert_eq!(native.hear().await["type"], "queued");
    let release = json!({"seq": 4, "type": "release", "id": "A", "token": granted["token"]});
    native.send(&release.to_string()).await;
    assert_eq!(native.hear().await["type"], "done");

    let acquired = client.hear().await;
    assert_eq!(acquired["state"], "acquired");
    let next = |token: &Value| token.as_u64().unwrap() + 1;
    assert_eq!(acquired["token"], next(&granted["token"]));
    client.release().await;
    assert_eq!(native.hear().await["token"], next(&acquired["token"]));
    service.stop().await;
}

#[tokio::test]
async fn a_shutdown_waits_for_no_lock() {
    let service = Service::start(|_| {}).await;
    let mut holder = connect(&service, "").await;
    let mut waiter = connect(&service, "").await;
    let mut idle = connect(&service, "").await;
    holder.lock(&["w a"], "acquired").await;
    waiter.lock(&["w a"], "enqueued").await;
    service.handle.shutdown();
    for client in [&mut holder, &mut waiter, &mut idle] {
        let farewell = client.hear().await;
        assert_eq!(farewell["action"], "error", "{farewell}");
        assert_eq!(farewell["error"], "closed", "{farewell}");
        assert_eq!(client.closed().await.0, 1001);
    }
    service.stop().await;
}

/// A connection lives as long as it likes, and all that ever came on it is not held.
#[tokio::test]
async fn what_came_to_its_end_does_not_count_as_held() {
    let service = Service::start(|config| {
        config.message_bytes_max = 1 << 10;
        config.unread_bytes_max = 4 << 10;
    })
    .await;
    let mut client = connect(&service, "").await;
    for round in 0..200 {
        let pongs = vec![0; 120];
        client
            .0
            .send(Message::Pong(pongs.clone().into()))
            .await
            .unwrap();
        client.0.send(Message::Ping(pongs.into())).await.unwrap();
        match within(client.0.next()).await {
            Some(Ok(Message::Pong(_))) => {}
            other => panic!("round {round}: {other:?}"),
        }
        client.lock(&["w a"], "acquired").await;
        client.release().await;
    }
    service.stop().await;
}
