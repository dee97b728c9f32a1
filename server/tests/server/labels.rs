//! What people are told of those that hold a lock or wait for one, and what operators end. No test
//! asserts how long something takes.

use crate::common::{Service, within};
use crate::wire::answer;
use futures_util::{SinkExt, StreamExt};
use lockwright_env::{Env, TokioEnv};
use lockwright_server::Storage;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

impl Service {
    /// The labels that inspection tells of, by the id of the request.
    async fn labels(&self) -> Vec<(String, Value)> {
        let got = self.look_at("/v1/locks").await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let locks = got["locks"].as_array().unwrap().iter();
        locks
            .map(|lock| (text(&lock["id"]), lock["label"].clone()))
            .collect()
    }

    /// A connection with a session in the namespace `default`.
    async fn connect_as(&self, session: &str, label: &str) -> Socket {
        let stream = TokioEnv.connect(&self.address).await.unwrap();
        let url = format!("ws://{}/v1/session", self.address);
        let mut socket = Socket(client_async(url, stream).await.unwrap().0);
        let mut open = json!({"type": "open", "seq": 1, "namespace": "default", "session": session,
            "secret": "0123456789abcdef", "abandon_ms": 600_000});
        if !label.is_empty() {
            open["label"] = json!(label);
        }
        let opened = socket.ask(open).await;
        assert_eq!(opened["type"], "opened", "{opened}");
        socket
    }
}

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn ask(&mut self, message: Value) -> Value {
        self.0
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
        self.hear().await
    }

    async fn hear(&mut self) -> Value {
        let heard = self.hear_or_closed().await;
        heard.expect("a message is expected, and no close frame")
    }

    /// The code and the reason that the server closes it with.
    async fn closed(&mut self) -> (u16, String) {
        let heard = self.hear_or_closed().await;
        heard.expect_err("a close frame is expected, and no message")
    }

    async fn hear_or_closed(&mut self) -> Result<Value, (u16, String)> {
        match within(self.0.next()).await {
            Some(Ok(Message::Text(text))) => Ok(serde_json::from_str(text.as_str()).unwrap()),
            Some(Ok(Message::Close(Some(frame)))) => {
                Err((frame.code.into(), frame.reason.as_str().to_owned()))
            }
            other => panic!("expected a message or a close frame, got {other:?}"),
        }
    }
}

fn held(key: &str, holder: &str) -> Value {
    json!({"key": key, "holder": holder})
}

#[tokio::test]
async fn a_label_is_shown_at_every_door_until_its_lock_ends_also_after_a_restart() {
    let directory = std::env::temp_dir().join(format!("lockwright-labels-{}", std::process::id()));
    let on = |config: &mut lockwright_server::ServerConfig| {
        config.storage = Storage::Directory(directory.clone());
    };
    let service = Service::start(on).await;
    let mut session = service.connect_as("s", "alice@desk[1] make").await;
    let granted = session
        .ask(json!({"type": "acquire", "seq": 2, "id": "1", "claims": ["w a"]}))
        .await;
    assert_eq!(granted["type"], "granted");
    let own =
        json!({"type": "acquire", "seq": 3, "id": "2", "claims": ["w b"], "label": "own \"ü\""});
    session.ask(own.clone()).await;
    // Asked again, the first label counts.
    let mut again = own;
    again["label"] = json!("another");
    again["seq"] = json!(4);
    session.ask(again).await;
    let mut body = held("c", "h");
    body["label"] = json!("by hand");
    body["request_id"] = json!("3");
    service.post("/v1/acquire", body).await;
    service
        .ask(
            "POST",
            "/lock/d?holder=h&request_id=4&label=from%20curl",
            "",
        )
        .await;
    service.ask("POST", "/lock/e?request_id=5", "").await;
    let expected = [
        ("1", json!("alice@desk[1] make")),
        ("2", json!("own \"ü\"")),
        ("3", json!("by hand")),
        ("4", json!("from curl")),
        ("5", Value::Null),
    ]
    .map(|(id, label)| (id.to_owned(), label));
    assert_eq!(service.labels().await, expected);
    let sessions = service.look_at("/v1/sessions").await;
    assert_eq!(sessions["sessions"][0]["label"], "alice@desk[1] make");
    assert_eq!(
        service.look_at("/v1/locks/a").await["held"][0]["label"],
        "alice@desk[1] make"
    );
    assert_eq!(service.look_at("/lock/d").await["label"], "from curl");

    let (status, busy) = service.post("/v1/acquire", held("b", "x")).await;
    assert_eq!((status, &busy["label"]), (409, &json!("own \"ü\"")));
    assert!(busy["held_ms"].is_u64(), "{busy}");
    let message = busy["message"].as_str().unwrap();
    assert!(
        message.contains("by `session:s` (own \"ü\") for "),
        "{message}"
    );

    service.stop().await;
    let service = Service::start(on).await;
    assert_eq!(service.labels().await, expected);
    let (_, broken) = service.post("/v1/break", json!({"key": "c"})).await;
    assert_eq!(broken["broken"][0]["label"], "by hand");
    // What is locked there now has no label.
    service.post("/v1/acquire", held("c", "h")).await;
    assert_eq!(service.labels().await.last().unwrap().1, Value::Null);
    service.stop().await;
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn a_label_that_is_too_long_or_does_something_to_a_terminal_is_refused_everywhere() {
    let service = Service::start(|_| {}).await;
    let mut session = service.connect_as("s", "").await;
    for (label, code) in [
        ("x".repeat(257), "limit_exceeded"),
        ("ü".repeat(129), "limit_exceeded"),
        (String::new(), "invalid_request"),
        ("\u{1b}[2J".to_owned(), "invalid_request"),
        ("a\nb".to_owned(), "invalid_request"),
        ("a\u{202e}b".to_owned(), "invalid_request"),
    ] {
        let status = if code == "limit_exceeded" { 429 } else { 400 };
        let mut body = held("a", "h");
        body["label"] = json!(label);
        let in_query: String = label.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let by_path = format!("/lock/a?label={in_query}");
        for (got_status, got) in [
            service.post("/v1/acquire", body).await,
            service.ask("POST", &by_path, "").await,
        ] {
            assert_eq!((got_status, &got["error"]), (status, &json!(code)), "{got}");
            let limit = (status == 429).then_some("label_bytes");
            assert_eq!(got["limit"].as_str(), limit, "{got}");
        }
        let acquire =
            json!({"type": "acquire", "seq": 2, "id": "1", "claims": ["w a"], "label": label});
        assert_eq!(session.ask(acquire).await["error"], code);
        let stream = TokioEnv.connect(&service.address).await.unwrap();
        let url = format!("ws://{}/v1/session", service.address);
        let mut other = Socket(client_async(url, stream).await.unwrap().0);
        let open = json!({"type": "open", "seq": 1, "namespace": "default", "session": "o",
            "secret": "0123456789abcdef", "abandon_ms": 1, "label": label});
        assert_eq!(other.ask(open).await["error"], code);
    }
    assert_eq!(service.labels().await, []);
    let longest = format!("/lock/a?label={}", "x".repeat(256));
    assert_eq!(service.ask("POST", &longest, "").await.0, 200);
}

#[tokio::test]
async fn an_operator_ends_one_waiting_request_by_its_owner_and_id() {
    let service = Service::start(|_| {}).await;
    service.post("/v1/acquire", held("a", "first")).await;
    let waits = |id: &str, holder: &str| json!({"key": "a", "holder": holder, "request_id": id, "wait_ms": "forever"});
    let one = service.queue(waits("1", "b"), 1).await;
    let two = service.queue(waits("2", "b"), 2).await;
    let three = service.queue(waits("3", "c"), 3).await;
    for (mut body, status, code) in [
        (json!({"id": "1"}), 400, "invalid_request"),
        (
            json!({"owner": {"holder": "b"}, "id": "9"}),
            409,
            "unknown_lock",
        ),
        (
            json!({"owner": {"session": "b"}, "id": "1"}),
            409,
            "unknown_lock",
        ),
        (
            json!({"owner": {"holder": "b"}, "id": "1", "token": 1}),
            409,
            "stale_token",
        ),
    ] {
        body["key"] = json!("a");
        let (got_status, got) = service.post("/v1/break", body).await;
        assert_eq!((got_status, &got["error"]), (status, &json!(code)), "{got}");
    }
    let elsewhere = json!({"key": "b", "owner": {"holder": "b"}, "id": "1"});
    assert_eq!(service.post("/v1/break", elsewhere).await.0, 409);

    let body = json!({"key": "a", "owner": {"holder": "b"}, "id": "1"});
    let (status, broken) = service.post("/v1/break", body.clone()).await;
    assert_eq!(status, 200, "{broken}");
    assert_eq!(broken["broken"][0]["state"], "queued");
    assert_eq!(broken["broken"].as_array().unwrap().len(), 1);
    let (status, told) = answer(one).await;
    assert_eq!((status, &told["error"]), (409, &json!("broken")), "{told}");
    let (_, again) = service.post("/v1/break", body).await;
    assert_eq!(again["error"], "not_held");

    // All of an owner, and only of it: the one that waits behind is granted.
    service.post("/v1/break", json!({"key": "a"})).await;
    assert_eq!(answer(two).await.0, 200);
    let body = json!({"key": "a", "owner": {"holder": "b"}});
    let (_, broken) = service.post("/v1/break", body).await;
    assert_eq!(broken["broken"][0]["state"], "held");
    assert_eq!(answer(three).await.0, 200);
}

#[tokio::test]
async fn a_session_that_an_operator_ends_is_told_and_gets_nothing_any_more() {
    let service = Service::start(|_| {}).await;
    let mut session = service.connect_as("s", "alice@desk").await;
    session
        .ask(json!({"type": "acquire", "seq": 2, "id": "1", "claims": ["w a"]}))
        .await;
    let waits = json!({"key": "a", "holder": "h", "request_id": "h", "wait_ms": "forever"});
    let behind = service.queue(waits, 1).await;
    let queued = session
        .ask(json!({"type": "acquire", "seq": 3, "id": "2", "claims": ["r a"]}))
        .await;
    assert_eq!(queued["type"], "queued");

    let gone = service.ask("DELETE", "/v1/sessions/none", "").await;
    assert_eq!((gone.0, &gone.1["error"]), (404, &json!("unknown_session")));
    let elsewhere = "/v1/sessions/s?namespace=other";
    assert_eq!(service.ask("DELETE", elsewhere, "").await.0, 404);
    let (status, ended) = service.ask("DELETE", "/v1/sessions/s", "").await;
    assert_eq!(status, 200, "{ended}");
    assert_eq!(ended["label"], "alice@desk");
    assert_eq!(ended["locks"].as_array().unwrap().len(), 2);
    for id in ["1", "2"] {
        let told = session.hear().await;
        let expected = json!({"type": "ended", "id": id, "reason": "session_ended"});
        assert_eq!(told, expected);
    }
    let (code, reason) = session.closed().await;
    assert_eq!(code, lockwright_protocol::close_code::SESSION_ENDED);
    assert_eq!(reason, "an operator ended the session");
    assert_eq!(
        answer(behind).await.0,
        200,
        "what waited behind it is granted"
    );
    let none: [Value; 0] = [];
    assert_eq!(
        service.look_at("/v1/sessions").await["sessions"],
        json!(none)
    );
    service.until(|usage| usage.connections == 0).await;
}

#[tokio::test]
async fn a_session_that_closes_itself_is_told_of_its_end_once() {
    let service = Service::start(|_| {}).await;
    let mut session = service.connect_as("s", "").await;
    session
        .ask(json!({"type": "acquire", "seq": 2, "id": "1", "claims": ["w a"]}))
        .await;
    let done = session.ask(json!({"type": "close", "seq": 3})).await;
    assert_eq!(done, json!({"seq": 3, "type": "done"}));
    assert_eq!(session.closed().await.0, 1000);
}

#[tokio::test]
async fn a_session_with_more_requests_than_its_connection_takes_is_told_that_it_has_ended() {
    const REQUESTS: usize = 300;
    let service = Service::start(|config| config.outgoing_max = 16).await;
    let mut session = service.connect_as("s", "").await;
    for n in 0..REQUESTS {
        let acquire = json!({"type": "acquire", "seq": 2, "id": n.to_string(),
            "claims": [format!("w {n}")]});
        assert_eq!(session.ask(acquire).await["type"], "granted");
    }
    let (status, ended) = service.ask("DELETE", "/v1/sessions/s", "").await;
    assert_eq!(status, 200, "{ended}");
    let (code, _) = loop {
        match session.hear_or_closed().await {
            Ok(told) => assert_eq!(told["type"], "ended"),
            Err(closed) => break closed,
        }
    };
    assert_eq!(code, lockwright_protocol::close_code::SESSION_ENDED);
    service
        .until(|usage| usage.connections == 0 && usage.engine.sessions == 0)
        .await;
}

/// Claims whose texts take nearly all that a message may have.
fn long_claims(place: usize) -> Vec<String> {
    let segment = "x".repeat(240);
    let of = |n| format!("r {segment}/{segment}/{segment}/{segment}/{place}-{n}");
    (0..60).map(of).collect()
}

#[tokio::test]
async fn the_answer_to_the_end_of_a_session_tells_of_as_much_as_fits() {
    const REQUESTS: usize = 400;
    let service = Service::start(|_| {}).await;
    let mut session = service.connect_as("s", "").await;
    for n in 0..REQUESTS {
        let acquire = json!({"type": "acquire", "seq": 2, "id": n.to_string(),
            "claims": long_claims(n)});
        assert_eq!(session.ask(acquire).await["type"], "granted");
    }
    let (status, ended) = service.ask("DELETE", "/v1/sessions/s", "").await;
    assert_eq!((status, &ended["requests"]), (200, &json!(REQUESTS)));
    let told = ended["locks"].as_array().unwrap();
    assert!((200..REQUESTS).contains(&told.len()), "{}", told.len());
    assert_eq!(told[0]["id"], "0", "the first are told");
    assert!(ended.to_string().len() < 18 << 20, "the answer is bounded");
    service.until(|usage| usage.engine.live_requests == 0).await;
}

#[tokio::test]
async fn the_requests_of_an_owner_are_ended_as_far_as_the_answer_can_tell() {
    const REQUESTS: usize = 400;
    let service = Service::start(|_| {}).await;
    let mut session = service.connect_as("s", "").await;
    for n in 0..REQUESTS {
        let mut claims = long_claims(n);
        claims.push("r here".to_owned());
        let acquire = json!({"type": "acquire", "seq": 2, "id": n.to_string(), "claims": claims});
        assert_eq!(session.ask(acquire).await["type"], "granted");
    }
    let of_session = json!({"key": "here", "owner": {"session": "s"}});
    let (_, first) = service.post("/v1/break", of_session).await;
    let broken = first["broken"].as_array().unwrap();
    assert!((200..REQUESTS).contains(&broken.len()), "{}", broken.len());
    let last = (REQUESTS - 1).to_string();
    assert_eq!(broken.last().unwrap()["id"], last, "the latest end first");
    assert_eq!(first["more"], true);
    let at_path = json!({"key": "here"});
    let (_, second) = service.post("/v1/break", at_path).await;
    let rest = REQUESTS - broken.len();
    assert_eq!(second["broken"].as_array().unwrap().len(), rest);
    assert_eq!(second["more"], Value::Null);
    service.until(|usage| usage.engine.live_requests == 0).await;
}
