//! One address cannot take all of what is limited, nor guess secrets quickly. No test asserts that something is fast.

use crate::{
    common::{Service, within},
    frames::{SECRET, connect, open},
    wire::answer,
};
use lockwright_env::{TokioEnv, timeout};
use serde_json::json;
use std::time::Duration;
use tokio::{io::AsyncWriteExt, net::TcpSocket};

impl Service {
    /// Locks something in a namespace, from an address of this machine.
    async fn lock_from(&self, address: &str, namespace: &str) -> (u16, serde_json::Value) {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(format!("{address}:0").parse().unwrap())
            .unwrap();
        let mut stream = socket.connect(self.address.parse().unwrap()).await.unwrap();
        let body = json!({"key": "a", "holder": address, "namespace": namespace}).to_string();
        let request = format!(
            "POST /v1/acquire HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        answer(stream).await
    }
}

#[tokio::test]
async fn one_address_leaves_namespaces_to_others() {
    let service = Service::start(|config| config.limits.namespaces = 10).await;
    for n in 0..9 {
        let (status, got) = service.lock_from("127.0.0.1", &format!("n{n}")).await;
        assert_eq!(status, 200, "{got}");
    }
    let (status, got) = service.lock_from("127.0.0.1", "n9").await;
    assert_eq!(
        (status, &got["error"], &got["limit"]),
        (429, &json!("limit_exceeded"), &json!("namespaces")),
        "{got}"
    );
    // A session would bring it into use, too; but not one where others are.
    let opening = |namespace: &str| {
        format!(
            r#"{{"type":"open","seq":1,"namespace":"{namespace}","session":"s","secret":"{SECRET}"}}"#
        )
    };
    let mut socket = connect(&service).await;
    let refused = socket.ask(&opening("n9")).await;
    assert!(refused.contains(r#""limit":"namespaces""#), "{refused}");
    let opened = socket.ask(&opening("n3")).await;
    assert!(opened.contains("opened"), "{opened}");
    let (status, got) = service.lock_from("127.0.0.2", "n9").await;
    assert_eq!(status, 200, "{got}");
    // What others brought is no matter.
    let (status, got) = service.lock_from("127.0.0.1", "n9").await;
    assert_eq!((status, &got["error"]), (409, &json!("busy")), "{got}");
    service.stop().await;
}

#[tokio::test]
async fn one_address_leaves_sessions_to_others() {
    let service = Service::start(|config| config.limits.sessions = 3).await;
    let _sessions = (
        open(&service, "a", 60_000).await,
        open(&service, "b", 60_000).await,
    );
    let mut third = connect(&service).await;
    let opening = |name: &str| {
        format!(
            r#"{{"type":"open","seq":1,"namespace":"n","session":"{name}","secret":"{SECRET}","abandon_ms":60000}}"#
        )
    };
    let refused = third.ask(&opening("c")).await;
    assert!(refused.contains(r#""limit":"sessions""#), "{refused}");
    // That is none more.
    let again = third.ask(&opening("b")).await;
    assert!(again.contains("opened"), "{again}");
    service.until(|usage| usage.engine.sessions == 2).await;
    // What is over is not counted.
    let mut last = third;
    for name in ["d", "e", "f"] {
        assert!(
            last.ask(r#"{"type":"close","seq":2}"#)
                .await
                .contains("done")
        );
        last = connect(&service).await;
        let opened = last.ask(&opening(name)).await;
        assert!(opened.contains("opened"), "{opened}");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_wrong_secret_is_answered_late() {
    let service = Service::start(|_| {}).await;
    let mut own = open(&service, "s", 60_000).await;
    for (what, expected) in [("resume", "unknown_session"), ("open", "invalid_request")] {
        let mut guesser = connect(&service).await;
        guesser
            .send(&format!(
                r#"{{"type":"{what}","seq":1,"namespace":"n","session":"s","secret":"fedcba9876543210"}}"#
            ))
            .await;
        // Others are not held up.
        let alive = own.ask(r#"{"type":"keep_alive","seq":2}"#).await;
        assert!(alive.contains("done"), "{alive}");
        let soon = timeout(&TokioEnv, Duration::from_millis(300), guesser.hear()).await;
        assert!(soon.is_err(), "{what}: {soon:?}");
        let refused = within(guesser.hear()).await;
        assert!(refused.contains(expected), "{refused}");
        assert_eq!(guesser.closed().await, 4005, "it asks no more here");
    }
    // A session that there is not is no secret.
    let mut other = connect(&service).await;
    let unknown = other
        .ask(r#"{"type":"resume","seq":1,"namespace":"n","session":"none","secret":"fedcba9876543210"}"#)
        .await;
    assert!(unknown.contains("unknown_session"), "{unknown}");
    service.stop().await;
}
