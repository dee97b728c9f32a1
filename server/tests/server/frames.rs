//! The server against hand-written frames: what clients in other languages see, and what hostile
//! ones try. No test asserts how long something takes.

use crate::common::{Service, within};
use futures_util::{SinkExt, StreamExt};
use lockwright_engine::{Command, DurationMs, Event, EventKind, Refusal, Reply, TimeMs};
use lockwright_env::{Env, TokioEnv, sleep, timeout};
use lockwright_server::{BindError, Probe, Server, ServerConfig};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

pub(crate) const SECRET: &str = "0123456789abcdef";

pub(crate) async fn connect(service: &Service) -> Socket {
    let stream = TokioEnv.connect(&service.address).await.unwrap();
    let url = format!("ws://{}/v1/session", service.address);
    let (socket, response) = client_async(url, stream).await.unwrap();
    assert!(
        response.headers().get("date").is_none(),
        "no wall clock is shown"
    );
    Socket(socket)
}

/// A connection with session `name`, which outlives it by `abandon_ms`.
pub(crate) async fn open(service: &Service, name: &str, abandon_ms: u64) -> Socket {
    let mut socket = connect(service).await;
    let open = format!(
        r#"{{"type":"open","seq":1,"namespace":"n","session":"{name}","secret":"{SECRET}","abandon_ms":{abandon_ms}}}"#
    );
    let opened = socket.ask(&open).await;
    assert!(
        opened.starts_with(r#"{"seq":1,"type":"opened""#),
        "{opened}"
    );
    socket
}

pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> String {
        match within(self.0.next()).await {
            Some(Ok(Message::Text(text))) => text.as_str().to_owned(),
            other => panic!("expected a message, got {other:?}"),
        }
    }

    pub(crate) async fn ask(&mut self, text: &str) -> String {
        self.send(text).await;
        self.hear().await
    }

    /// The code of the close frame that comes next, messages left aside.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match within(self.0.next()).await {
                Some(Ok(Message::Text(_))) => {}
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                other => panic!("expected the close, got {other:?}"),
            }
        }
    }
}

/// The token that a message tells.
fn token_of(message: &str) -> u64 {
    let (_, token) = message.split_once(r#""token":"#).expect("a token");
    let digits = token.find(|character: char| !character.is_ascii_digit());
    token[..digits.unwrap_or(token.len())].parse().unwrap()
}

/// The begin of a text frame of so many bytes, as clients send them.
fn frame_of(bytes: u64) -> Vec<u8> {
    let mut head = vec![0x81, 0x80 | 127];
    head.extend_from_slice(&bytes.to_be_bytes());
    head.extend_from_slice(&[0; 4]);
    head
}

/// Sends so many bytes of a frame that does not end; says whether the server takes them.
async fn takes(socket: &mut Socket, bytes: usize) -> bool {
    let stream = socket.0.get_mut();
    let rest = vec![b' '; bytes];
    let sent = async {
        stream.write_all(&frame_of(4 << 20)).await?;
        stream.write_all(&rest).await
    };
    if within(sent).await.is_err() {
        return false;
    }
    // It answers at once when it does not take them; and when it does there is nothing to say.
    let next = timeout(&TokioEnv, Duration::from_millis(200), socket.0.next());
    next.await.is_err()
}

#[tokio::test]
async fn a_message_that_does_not_end_is_short_until_there_is_a_session() {
    let service = Service::start(|_| {}).await;
    let mut socket = connect(&service).await;
    assert!(takes(&mut socket, 15 << 10).await);
    let mut socket = connect(&service).await;
    assert!(!takes(&mut socket, 40 << 10).await);
    // One that was refused is none.
    let mut socket = connect(&service).await;
    let refused = socket.ask(r#"{"type":"open","seq":1}"#).await;
    assert!(refused.contains("invalid_request"), "{refused}");
    assert!(!takes(&mut socket, 40 << 10).await);
    let mut socket = open(&service, "s", 1000).await;
    assert!(takes(&mut socket, 2 << 20).await);
    service.stop().await;
}

#[tokio::test]
async fn messages_that_do_not_end_have_a_sum() {
    let service = Service::start(|config| config.unread_bytes_max = 3 << 20).await;
    let mut first = open(&service, "1", 1000).await;
    assert!(takes(&mut first, 2 << 20).await);
    let mut second = open(&service, "2", 1000).await;
    assert!(!takes(&mut second, 2 << 20).await);
    // Others go on, and what ends gives its share back.
    let mut third = open(&service, "3", 1000).await;
    let alive = third.ask(r#"{"type":"keep_alive","seq":2}"#).await;
    assert_eq!(alive, r#"{"seq":2,"type":"done"}"#);
    drop(first);
    within(async { while !takes(&mut open(&service, "4", 1000).await, 2 << 20).await {} }).await;
    service.stop().await;
}

/// Asks over HTTP for a lock, with a body that says that it has so many bytes, and hears nothing.
async fn asks(address: &str, length: usize, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head =
        format!("POST /v1/acquire HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_body_that_does_not_end_counts_in_the_sum() {
    for with_body in [false, true] {
        let service = Service::start(|config| config.unread_bytes_max = 3 << 20).await;
        let _stream = match with_body {
            true => Some(asks(&service.address, 1_000_000, &" ".repeat(900_000)).await),
            false => None,
        };
        let mut socket = open(&service, "s", 1000).await;
        assert_eq!(takes(&mut socket, 2500 << 10).await, !with_body);
        service.stop().await;
    }
}

/// A body is read, and its request waits.
#[tokio::test]
async fn a_body_that_has_come_to_its_end_counts_no_more() {
    let service = Service::start(|config| config.unread_bytes_max = 3 << 20).await;
    let mut streams = Vec::new();
    for n in 0..5 {
        let wait = r#""wait_ms":"forever""#;
        let body = format!(
            r#"{{"key":"a","holder":"h{n}",{wait}}}{}"#,
            " ".repeat(900_000)
        );
        streams.push(asks(&service.address, body.len(), &body).await);
    }
    service.until(|usage| usage.engine.live_requests == 5).await;
    let mut socket = open(&service, "s", 1000).await;
    assert!(takes(&mut socket, 2500 << 10).await);
    drop(streams);
    service.stop().await;
}

/// How far it has come: 1 when a lock has ended, 2 when the engine was told the time after that.
#[derive(Default)]
struct Ticks(AtomicUsize);

impl Probe for Ticks {
    fn applied(
        &self,
        _index: u64,
        _at: TimeMs,
        command: &Command,
        _result: &Result<Reply, Refusal>,
        events: &[Event],
    ) {
        let ended = |event: &Event| matches!(event.kind, EventKind::Ended { .. });
        if events.iter().any(ended) {
            self.0.store(1, Relaxed);
        } else if matches!(command, Command::Tick) && self.0.load(Relaxed) > 0 {
            self.0.store(2, Relaxed);
        }
    }
}

#[tokio::test]
async fn what_may_be_forgotten_is_although_nothing_is_asked_for() {
    let ticks = Arc::new(Ticks::default());
    let service = Service::start(|config| {
        config.limits.retention = DurationMs::new(10).unwrap();
        config.probe = ticks.clone();
    })
    .await;
    let body = r#"{"key":"a","holder":"h","ttl_ms":1}"#;
    let _stream = asks(&service.address, body.len(), body).await;
    // The lease ends, and then nothing is left that is due.
    within(async {
        while ticks.0.load(Relaxed) < 2 {
            sleep(&TokioEnv, Duration::from_millis(2)).await;
        }
    })
    .await;
    service
        .until(|usage| usage.engine.remembered_requests == 0)
        .await;
    service.stop().await;
}

#[tokio::test]
async fn what_a_session_is_done_with_is_forgotten_and_nothing_else() {
    let service = Service::start(|_| {}).await;
    let mut socket = open(&service, "s", 60_000).await;
    for id in ["a", "b", "held"] {
        let acquire = format!(r#"{{"type":"acquire","seq":2,"id":"{id}","claims":["w {id}"]}}"#);
        let token = token_of(&socket.ask(&acquire).await);
        if id != "held" {
            let release = format!(r#"{{"type":"release","seq":3,"id":"{id}","token":{token}}}"#);
            assert_eq!(socket.ask(&release).await, r#"{"seq":3,"type":"done"}"#);
        }
    }
    service
        .until(|usage| usage.engine.remembered_requests == 2)
        .await;
    let refused = socket
        .ask(r#"{"type":"done","seq":4,"ids":["a","held"]}"#)
        .await;
    assert!(refused.contains("has not ended"), "{refused}");
    service
        .until(|usage| usage.engine.remembered_requests == 2)
        .await;
    for _ in 0..2 {
        let done = socket
            .ask(r#"{"type":"done","seq":5,"ids":["a","never was"]}"#)
            .await;
        assert_eq!(done, r#"{"seq":5,"type":"done"}"#);
        service
            .until(|usage| usage.engine.remembered_requests == 1)
            .await;
    }
    let ids = vec!["b"; 1_000].join(r#"",""#);
    let too_many = format!(r#"{{"type":"done","seq":6,"ids":["{ids}","b"]}}"#);
    let refused = socket.ask(&too_many).await;
    assert!(refused.contains("`ids` has 1001 ids"), "{refused}");
    let many = format!(r#"{{"type":"done","seq":6,"ids":["{ids}"]}}"#);
    assert_eq!(socket.ask(&many).await, r#"{"seq":6,"type":"done"}"#);
    service
        .until(|usage| usage.engine.remembered_requests == 0)
        .await;
    service.stop().await;
}

#[tokio::test]
async fn a_session_that_names_no_abandon_timeout_gets_the_servers_and_is_told() {
    let service = Service::start(|config| {
        config.default_abandon_timeout = Duration::from_millis(20);
    })
    .await;
    let open = |name: &str, more: &str| {
        format!(
            r#"{{"type":"open","seq":1,"namespace":"n","session":"{name}","secret":"{SECRET}"{more}}}"#
        )
    };
    let mut socket = connect(&service).await;
    let opened = socket.ask(&open("short", "")).await;
    assert!(opened.contains(r#""abandon_ms":20"#), "{opened}");
    drop(socket);
    service.until(|usage| usage.engine.sessions == 0).await;
    // One that is named is not told, and null names none.
    let mut socket = connect(&service).await;
    let opened = socket.ask(&open("long", r#","abandon_ms":600000"#)).await;
    assert!(
        opened.contains("opened") && !opened.contains("abandon"),
        "{opened}"
    );
    let mut socket = connect(&service).await;
    let refused = socket.ask(&open("null", r#","abandon_ms":null"#)).await;
    assert!(refused.contains("invalid_request"), "{refused}");
    service.stop().await;
}

#[tokio::test]
async fn an_id_that_comes_again_for_other_claims_is_refused_with_those_of_the_first() {
    const MISMATCH: &str = r#""type":"error","error":"request_mismatch","message":"the id is that"#;
    let service = Service::start(|_| {}).await;
    let mut other = open(&service, "other", 60_000).await;
    let mut socket = open(&service, "s", 60_000).await;
    let acquire = |seq: u64, id: &str, claims: &str| {
        format!(
            r#"{{"type":"acquire","seq":{seq},"id":"{id}","claims":[{claims}],"ttl_ms":60000}}"#
        )
    };
    let refused = |got: &str, end: &str| {
        assert!(got.contains(MISMATCH), "{got}");
        assert!(got.ends_with(end), "{got} does not end with {end}");
    };
    other.ask(&acquire(2, "X", r#""w q""#)).await;
    let held = socket.ask(&acquire(2, "L", r#""w a","r b""#)).await;
    assert!(
        held.contains(r#""type":"granted","id":"L","token":"#),
        "{held}"
    );
    let token = token_of(&held);
    let queued = socket.ask(&acquire(3, "M", r#""r q/x""#)).await;
    assert_eq!(queued, r#"{"seq":3,"type":"queued","id":"M"}"#);
    for (seq, claims) in (4..).zip([
        r#""w c""#,
        r#""w a""#,
        r#""r a","w b""#,
        r#""w a","r b","r c""#,
    ]) {
        let got = socket.ask(&acquire(seq, "L", claims)).await;
        refused(&got, r#""claims":["w a","r b"]}"#);
        let got = socket.ask(&acquire(seq, "M", claims)).await;
        refused(&got, r#""claims":["r q/x"]}"#);
    }
    // What the first requests are is as it was, and a retry is answered.
    let again = socket
        .ask(&acquire(20, "L", r#""r b","w a","w a/x""#))
        .await;
    assert!(
        again.starts_with(r#"{"seq":20,"type":"granted","id":"L","token":"#),
        "{again}"
    );
    assert_eq!(token_of(&again), token);
    let again = socket.ask(&acquire(21, "M", r#""r q/x""#)).await;
    assert_eq!(again, r#"{"seq":21,"type":"queued","id":"M"}"#);
    let released = socket
        .ask(&format!(
            r#"{{"type":"release","seq":22,"id":"L","token":{token}}}"#
        ))
        .await;
    assert_eq!(released, r#"{"seq":22,"type":"done"}"#);
    let got = socket.ask(&acquire(23, "L", r#""w c""#)).await;
    refused(&got, r#""ended":"released"}"#);
    // Another session has ids of its own.
    let own = other.ask(&acquire(24, "L", r#""w c""#)).await;
    assert!(
        own.contains(r#""type":"granted","id":"L","token":"#) && token_of(&own) == token + 1,
        "{own}"
    );
    service.stop().await;
}

#[tokio::test]
async fn a_malformed_message_is_answered_and_the_connection_goes_on() {
    let service = Service::start(|config| config.message_bytes_max = 1000).await;
    let mut socket = open(&service, "s", 1000).await;
    let large = format!(r#"{{"type":"close","seq":1,"x":"{}"}}"#, "x".repeat(1000));
    let cases = [
        ("", r#"{"type":"error","error":"invalid_request""#),
        ("nonsense", r#"{"type":"error","error":"invalid_request""#),
        (
            r#"{"type":"close"}"#,
            r#"{"type":"error","error":"invalid_request","message":"expected `seq`"#,
        ),
        (
            r#"{"type":"lock","seq":5}"#,
            r#"{"seq":5,"type":"error","error":"invalid_request","message":"at `type`: unknown variant `lock`"#,
        ),
        (
            r#"{"type":"acquire","seq":6,"id":"L","claims":["w a//b"]}"#,
            r#"{"seq":6,"type":"error","error":"invalid_path""#,
        ),
        (
            r#"{"type":"acquire","seq":7,"id":"L","claims":["a"]}"#,
            r#"{"seq":7,"type":"error","error":"invalid_request""#,
        ),
        (
            r#"{"type":"acquire","seq":8,"id":"L","claims":[]}"#,
            r#"{"seq":8,"type":"error","error":"invalid_request""#,
        ),
        (
            r#"{"type":"acquire","seq":9,"id":"L","claims":["w a"],"ttl_ms":0}"#,
            r#"{"seq":9,"type":"error","error":"invalid_request""#,
        ),
        (
            r#"{"type":"release","seq":10,"id":"L","token":1}"#,
            r#"{"seq":10,"type":"error","error":"unknown_lock""#,
        ),
        (
            &large,
            r#"{"type":"error","error":"invalid_request","message":"a message has at most 1000 bytes"#,
        ),
    ];
    for (sent, expected) in cases {
        let got = socket.ask(sent).await;
        assert!(got.starts_with(expected), "{sent} gave {got}");
    }
    socket.0.send(Message::binary(vec![1])).await.unwrap();
    let got = socket.hear().await;
    assert!(got.contains("binary frame"), "{got}");
    let fine = socket.ask(r#"{"type":"keep_alive","seq":11}"#).await;
    assert_eq!(fine, r#"{"seq":11,"type":"done"}"#);
    service.stop().await;
}

#[tokio::test]
async fn a_session_comes_first_and_once() {
    let service = Service::start(|_| {}).await;
    let mut socket = connect(&service).await;
    let early = socket
        .ask(r#"{"type":"acquire","seq":3,"id":"L","claims":["w a"]}"#)
        .await;
    assert!(early.contains("send `open` or `resume` first"), "{early}");
    let mut socket = open(&service, "s", 1000).await;
    let twice = socket
        .ask(&format!(
            r#"{{"type":"resume","seq":2,"namespace":"n","session":"s","secret":"{SECRET}"}}"#
        ))
        .await;
    assert!(twice.contains("speaks for a session already"), "{twice}");
    service.stop().await;
}

#[tokio::test]
async fn a_message_that_is_not_even_read_ends_the_connection() {
    let service = Service::start(|config| config.message_bytes_max = 100).await;
    let mut socket = open(&service, "s", 1000).await;
    // Its length is announced, and is enough: nothing more of it is sent.
    let header = [0x81, 0x80 | 126, 0x10, 0x00, 0, 0, 0, 0];
    socket.0.get_mut().write_all(&header).await.unwrap();
    let got = socket.hear().await;
    assert!(got.contains("cannot be read on"), "{got}");
    assert_eq!(socket.closed().await, 1002);
    service.stop().await;
}

#[tokio::test]
async fn the_life_of_a_lock_on_the_wire() {
    let service = Service::start(|_| {}).await;
    let mut one = open(&service, "one", 1000).await;
    let mut two = open(&service, "two", 1000).await;
    let granted = one
        .ask(r#"{"type":"acquire","seq":2,"id":"L","claims":["w a","w a/b"],"ttl_ms":60000}"#)
        .await;
    let token = granted.split(r#""token":"#).nth(1).unwrap();
    let token: u64 = token.split(',').next().unwrap().parse().unwrap();
    assert_eq!(
        granted,
        format!(
            r#"{{"seq":2,"type":"granted","id":"L","token":{token},"lease_ms":60000,"waited_ms":0}}"#
        )
    );
    let acquire = r#"{"type":"acquire","seq":2,"id":"M","claims":["r a/b"],"wait":"forever"}"#;
    assert_eq!(
        two.ask(acquire).await,
        r#"{"seq":2,"type":"queued","id":"M"}"#
    );
    assert_eq!(
        two.ask(acquire).await,
        r#"{"seq":2,"type":"queued","id":"M"}"#,
        "asked again, it is the same request"
    );
    let stale = format!(
        r#"{{"type":"release","seq":3,"id":"L","token":{}}}"#,
        token + 1
    );
    assert!(one.ask(&stale).await.contains(r#""error":"stale_token""#));
    let release = format!(r#"{{"type":"release","seq":4,"id":"L","token":{token}}}"#);
    assert_eq!(one.ask(&release).await, r#"{"seq":4,"type":"done"}"#);
    let pushed = two.hear().await;
    let expected = format!(r#"{{"type":"granted","id":"M","token":{},"#, token + 1);
    assert!(pushed.starts_with(&expected), "{pushed}");
    assert!(one.ask(&release).await.contains(r#""error":"not_held""#));
    assert_eq!(
        one.ask(r#"{"type":"acquire","seq":6,"id":"L","claims":["w a"]}"#)
            .await,
        r#"{"seq":6,"type":"ended","id":"L","reason":"released"}"#
    );
    assert_eq!(
        one.ask(r#"{"type":"close","seq":7}"#).await,
        r#"{"seq":7,"type":"done"}"#
    );
    assert_eq!(one.closed().await, 1000);
    service.stop().await;
}

#[tokio::test]
async fn an_own_release_is_answered_before_the_grant_that_it_sets_free() {
    let service = Service::start(|_| {}).await;
    let mut socket = open(&service, "s", 1000).await;
    let granted = socket
        .ask(r#"{"type":"acquire","seq":2,"id":"L","claims":["w a"]}"#)
        .await;
    let token = granted.split(r#""token":"#).nth(1).unwrap();
    let token = token.split(',').next().unwrap();
    socket
        .ask(r#"{"type":"acquire","seq":3,"id":"M","claims":["w a"]}"#)
        .await;
    let release = format!(r#"{{"type":"release","seq":4,"id":"L","token":{token}}}"#);
    assert_eq!(socket.ask(&release).await, r#"{"seq":4,"type":"done"}"#);
    let pushed = socket.hear().await;
    assert!(
        pushed.starts_with(r#"{"type":"granted","id":"M""#),
        "{pushed}"
    );
    service.stop().await;
}

#[tokio::test]
async fn a_lease_and_a_wait_run_out_in_a_push() {
    let service = Service::start(|_| {}).await;
    let mut socket = open(&service, "s", 60_000).await;
    socket
        .ask(r#"{"type":"acquire","seq":2,"id":"L","claims":["w a"],"ttl_ms":40}"#)
        .await;
    socket
        .ask(r#"{"type":"acquire","seq":3,"id":"M","claims":["w a"],"wait":10}"#)
        .await;
    assert_eq!(
        socket.hear().await,
        r#"{"type":"ended","id":"M","reason":"timed_out"}"#
    );
    assert_eq!(
        socket.hear().await,
        r#"{"type":"ended","id":"L","reason":"expired"}"#
    );
    service.stop().await;
}

#[tokio::test]
async fn a_session_is_resumed_with_its_secret_and_by_nobody_else() {
    let service = Service::start(|_| {}).await;
    let mut socket = open(&service, "s", 60_000).await;
    socket
        .ask(r#"{"type":"acquire","seq":2,"id":"L","claims":["w a"]}"#)
        .await;
    socket
        .ask(r#"{"type":"acquire","seq":3,"id":"M","claims":["w a"]}"#)
        .await;
    drop(socket);
    let resume = |secret: &str| {
        format!(r#"{{"type":"resume","seq":1,"namespace":"n","session":"s","secret":"{secret}"}}"#)
    };
    let mut thief = connect(&service).await;
    let got = thief.ask(&resume("fedcba9876543210")).await;
    assert!(got.contains(r#""error":"unknown_session""#), "{got}");
    assert_eq!(thief.closed().await, 4005);
    let mut thief = connect(&service).await;
    let open = r#"{"type":"open","seq":2,"namespace":"n","session":"s","secret":"fedcba9876543210","abandon_ms":1}"#;
    let got = thief.ask(open).await;
    assert!(got.contains("open with another secret"), "{got}");
    let mut socket = connect(&service).await;
    let got = socket.ask(&resume(SECRET)).await;
    assert!(
        got.contains(r#""locks":[{"state":"held","id":"L","token""#),
        "{got}"
    );
    assert!(got.contains(r#"{"state":"queued","id":"M""#), "{got}");
    service.stop().await;
}

#[tokio::test]
async fn a_newer_connection_takes_the_session_and_the_end_of_the_older_does_not_matter() {
    let service = Service::start(|_| {}).await;
    // With an abandon timeout of zero, a detach ends the session.
    let mut old = open(&service, "s", 0).await;
    let mut new = open(&service, "s", 0).await;
    assert_eq!(old.closed().await, 4001);
    drop(old);
    service.until(|usage| usage.connections == 1).await;
    assert_eq!(
        new.ask(r#"{"type":"keep_alive","seq":2}"#).await,
        r#"{"seq":2,"type":"done"}"#
    );
    drop(new);
    service
        .until(|usage| usage.connections == 0 && usage.engine.sessions == 0 && usage.secrets == 0)
        .await;
    service.stop().await;
}

#[tokio::test]
async fn a_session_ends_when_nobody_comes_back() {
    let service = Service::start(|_| {}).await;
    let mut gone = open(&service, "gone", 20).await;
    let mut other = open(&service, "other", 60_000).await;
    gone.ask(r#"{"type":"acquire","seq":2,"id":"L","claims":["w a"]}"#)
        .await;
    other
        .ask(r#"{"type":"acquire","seq":2,"id":"M","claims":["w a"]}"#)
        .await;
    drop(gone);
    let pushed = other.hear().await;
    assert!(pushed.starts_with(r#"{"type":"granted""#), "{pushed}");
    let mut late = connect(&service).await;
    let got = late
        .ask(&format!(
            r#"{{"type":"resume","seq":1,"namespace":"n","session":"gone","secret":"{SECRET}"}}"#
        ))
        .await;
    assert!(got.contains("unknown_session"), "{got}");
    service.stop().await;
}

#[tokio::test]
async fn a_silent_connection_is_let_go() {
    let service = Service::start(|config| config.idle_timeout = Duration::from_millis(30)).await;
    let mut socket = open(&service, "s", 60_000).await;
    assert_eq!(socket.closed().await, 4000);
    service
        .until(|usage| usage.attached_sessions == 0 && usage.engine.sessions == 1)
        .await;
    // So is one that never says what it wants.
    let mut mute = TokioEnv.connect(&service.address).await.unwrap();
    let mut nothing = [0];
    assert_eq!(within(mute.read(&mut nothing)).await.unwrap(), 0);
    service.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_pushes_is_closed_and_its_session_lives() {
    const LOCKS: usize = 20_000;
    let service = Service::start(|config| {
        config.outgoing_max = 16;
        // The holder says nothing while all the others ask.
        config.idle_timeout = Duration::from_secs(300);
    })
    .await;
    let mut holder = open(&service, "holder", 60_000).await;
    let granted = holder
        .ask(r#"{"type":"acquire","seq":2,"id":"L","claims":["w a"]}"#)
        .await;
    let token = granted.split(r#""token":"#).nth(1).unwrap();
    let token = token.split(',').next().unwrap();
    let mut slow = open(&service, "slow", 60_000).await;
    for n in 0..LOCKS {
        let acquire = format!(r#"{{"type":"acquire","seq":3,"id":"{n}","claims":["r a/{n}"]}}"#);
        assert!(slow.ask(&acquire).await.contains("queued"));
    }
    // One release grants all of them in one step, which is more than the queue takes.
    holder
        .ask(&format!(
            r#"{{"type":"release","seq":4,"id":"L","token":{token}}}"#
        ))
        .await;
    assert_eq!(slow.closed().await, 4002);
    service
        .until(|usage| {
            usage.attached_sessions == 1
                && usage.engine.sessions == 2
                && usage.engine.live_requests == LOCKS
        })
        .await;
    service.stop().await;
}

#[tokio::test]
async fn a_client_that_asks_without_reading_is_not_read_from_but_not_lost() {
    let service = Service::start(|config| config.outgoing_max = 4).await;
    let mut socket = open(&service, "s", 60_000).await;
    for seq in 0..2000 {
        let text = format!(r#"{{"type":"keep_alive","seq":{seq}}}"#);
        socket.0.feed(Message::text(text)).await.unwrap();
    }
    socket.0.flush().await.unwrap();
    for seq in 0..2000 {
        let expected = format!(r#"{{"seq":{seq},"type":"done"}}"#);
        assert_eq!(socket.hear().await, expected);
    }
    service.stop().await;
}

/// What a server says to a request of the simplest kind; nothing when it hangs up.
async fn http(address: &str, request: &str) -> String {
    let mut stream = TokioEnv.connect(address).await.unwrap();
    let text = format!("{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    let mut answer = String::new();
    // It may be closed before all was written, or read.
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = within(stream.read_to_string(&mut answer)).await;
    answer
}

#[tokio::test]
async fn when_all_places_are_taken_health_checks_and_operators_have_some_left() {
    let service = Service::start(|config| config.connections_max = 1).await;
    let first = open(&service, "s", 1000).await;
    // Many that ask for nothing.
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TokioEnv.connect(&service.address).await.unwrap());
    }
    let asks = |request| http(&service.address, request);
    for request in [
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
        "GET /v1/sessions",
        "GET /v1/locks",
    ] {
        let answer = asks(request).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{request}: {answer}");
        assert!(answer.contains("connection: close"), "{request}: {answer}");
    }
    let metrics = asks("GET /metrics").await;
    // All hundred, and those that asked before; some of them in place of others.
    assert!(
        metrics.contains("lockwright_connections_in_reserve_total 106\n"),
        "{metrics}"
    );
    for request in [
        "POST /v1/acquire",
        "GET /v1/session",
        "GET /v1",
        "GET /lock/a",
        "GET /v1/watch",
    ] {
        let answer = asks(request).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{request}: {answer}");
        assert!(
            answer.contains("only for health checks"),
            "{request}: {answer}"
        );
    }
    let sessions = asks("GET /v1/sessions").await;
    let (_, rest) = sessions.split_once(r#""session":""#).unwrap();
    let (name, _) = rest.split_once('"').unwrap();
    let end = format!("DELETE /v1/sessions/{name}?namespace=n");
    let ended = asks(&end).await;
    assert!(ended.starts_with("HTTP/1.1 200"), "{ended}");
    drop(first);
    within(async {
        // The place is free a moment after the connection has gone.
        while !asks("GET /lock/a").await.starts_with("HTTP/1.1 404") {}
    })
    .await;
    service.stop().await;
}

#[tokio::test]
async fn a_connection_of_the_reserve_that_asks_for_nothing_is_closed() {
    let service = Service::start(|config| config.connections_max = 1).await;
    let _first = open(&service, "s", 1000).await;
    let mut second = TokioEnv.connect(&service.address).await.unwrap();
    let mut nothing = [0];
    let read = within(second.read(&mut nothing)).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    service.stop().await;
}

#[tokio::test]
async fn one_address_does_not_get_all_places() {
    let service = Service::start(|config| {
        config.connections_max = 10;
        config.connections_per_address_max = Some(2);
    })
    .await;
    let first = open(&service, "1", 1000).await;
    let _second = open(&service, "2", 1000).await;
    let refused = http(&service.address, "GET /lock/a").await;
    assert!(refused.contains("from your address"), "{refused}");
    let health = http(&service.address, "GET /healthz").await;
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    drop(first);
    within(async {
        while http(&service.address, "GET /lock/a")
            .await
            .contains("from your address")
        {}
    })
    .await;
    service.stop().await;
}

#[tokio::test]
async fn shutting_down_tells_the_clients_and_ends() {
    let service = Service::start(|_| {}).await;
    let mut socket = open(&service, "s", 1000).await;
    service.handle.shutdown();
    assert_eq!(socket.closed().await, 1001);
    within(service.task).await.unwrap().unwrap();
    assert_eq!(service.handle.usage().await, None);
    assert!(TokioEnv.connect(&service.address).await.is_err());
}

#[tokio::test]
async fn health_is_plain_http() {
    let service = Service::start(|_| {}).await;
    let mut stream = TokioEnv.connect(&service.address).await.unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    assert!(text.ends_with("ok\n"), "{text}");
    service.stop().await;
}

#[tokio::test]
async fn an_address_that_cannot_be_listened_on_is_a_clear_error() {
    let service = Service::start(|_| {}).await;
    let config = ServerConfig::new(service.address.clone());
    let error = Server::bind(TokioEnv, config).await.err().unwrap();
    assert!(matches!(error, BindError::Listen { .. }), "{error}");
    assert!(error.to_string().contains(&service.address), "{error}");
    let mut config = ServerConfig::new("127.0.0.1:0");
    config.outgoing_max = 1;
    let error = Server::bind(TokioEnv, config).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "`outgoing_max` is 1, and must be at least 2"
    );
    service.stop().await;
}

/// Sends pings and reads nothing, until the server has had enough. Gives how many bytes it took.
async fn ping_without_reading(mut stream: TcpStream) -> usize {
    let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
    ping.resize(ping.len() + 125, b'x');
    let pings = ping.repeat(64);
    let mut taken = 0;
    within(async {
        while stream.write_all(&pings).await.is_ok() {
            taken += pings.len();
        }
    })
    .await;
    taken
}

#[tokio::test]
async fn who_pings_and_reads_no_pongs_is_cut_off() {
    let service = Service::start(|config| {
        config.idle_timeout = Duration::from_millis(300);
    })
    .await;
    for path in ["/v1/session", "/v1?namespace=n"] {
        let stream = TokioEnv.connect(&service.address).await.unwrap();
        let url = format!("ws://{}{path}", service.address);
        let (socket, _) = client_async(url, stream).await.unwrap();
        // What the sockets' own buffers take, on both sides and both ways, is all.
        let taken = ping_without_reading(socket.into_inner()).await;
        assert!(
            taken < 64 << 20,
            "{path}: {taken} bytes of pings were taken"
        );
    }
    // Those who read may ping as often as they like.
    let mut socket = open(&service, "s", 60_000).await;
    for _ in 0..500 {
        for _ in 0..10 {
            socket
                .0
                .feed(Message::Ping(vec![b'x'; 125].into()))
                .await
                .unwrap();
        }
        socket.0.flush().await.unwrap();
        for _ in 0..10 {
            let pong = within(socket.0.next()).await;
            if !matches!(pong, Some(Ok(Message::Pong(_)))) {
                panic!("{pong:?}");
            }
        }
    }
    service.stop().await;
}
