//! What a client is told of a session with more locks than one message lists.

use crate::{
    common::Service,
    frames::{SECRET, Socket, connect, open},
};
use serde_json::{Value, json};

async fn service() -> Service {
    Service::start(|config| config.locks_per_message = 2).await
}

async fn acquire(socket: &mut Socket, seq: u64, id: &str, path: &str) -> Value {
    let claims = [format!("w {path}")];
    let acquire =
        json!({"type": "acquire", "seq": seq, "id": id, "claims": claims, "wait": "forever"});
    read(&socket.ask(&acquire.to_string()).await)
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn resume(name: &str) -> String {
    let resume =
        json!({"type": "resume", "seq": 1, "namespace": "n", "session": name, "secret": SECRET});
    resume.to_string()
}

/// The ids that are listed in the next messages until the last one, by message.
async fn listed(socket: &mut Socket) -> Vec<Vec<String>> {
    let mut parts = Vec::new();
    loop {
        let message = read(&socket.hear().await);
        assert_eq!(
            (&message["type"], &message["seq"]),
            (&json!("resumed"), &json!(1))
        );
        assert_eq!(message["idle_timeout_ms"], 10_000);
        let locks = message["locks"].as_array().unwrap().iter();
        parts.push(
            locks
                .map(|lock| lock["id"].as_str().unwrap().to_owned())
                .collect(),
        );
        match message.get("more") {
            Some(more) => assert_eq!(more, true),
            None => return parts,
        }
    }
}

#[tokio::test]
async fn locks_are_listed_in_parts_and_nothing_comes_in_between() {
    let service = service().await;
    let mut other = open(&service, "other", 60_000).await;
    assert_eq!(
        acquire(&mut other, 2, "L", "wanted").await["type"],
        "granted"
    );
    let mut before = open(&service, "s", 60_000).await;
    for n in 0..5 {
        let got = acquire(&mut before, n + 2, &format!("L{n}"), &format!("p/{n}")).await;
        assert_eq!(got["type"], "granted");
    }
    let got = acquire(&mut before, 7, "L5", "wanted").await;
    assert_eq!(got["type"], "queued");

    let mut after = connect(&service).await;
    after.send(&resume("s")).await;
    // It is asked, and happens, while the list is made: it comes after it, and is not in it.
    let last = r#"{"type":"acquire","seq":2,"id":"L6","claims":["w q"]}"#;
    after.send(last).await;
    let parts = listed(&mut after).await;
    assert_eq!(
        parts,
        [vec!["L0", "L1"], vec!["L2", "L3"], vec!["L4", "L5"]]
    );
    assert_eq!(read(&after.hear().await)["id"], "L6");
    other.send(r#"{"type":"close","seq":3}"#).await;
    let granted = read(&after.hear().await);
    assert_eq!(
        (&granted["type"], &granted["id"]),
        (&json!("granted"), &json!("L5"))
    );
    service.stop().await;
}

#[tokio::test]
async fn a_list_that_fits_is_one_message() {
    let service = service().await;
    open(&service, "s", 60_000).await;
    for (n, expected) in [vec![vec![]], vec![vec!["L0"]], vec![vec!["L0", "L1"]]]
        .iter()
        .enumerate()
    {
        let mut after = connect(&service).await;
        after.send(&resume("s")).await;
        assert_eq!(listed(&mut after).await, *expected);
        acquire(&mut after, 2, &format!("L{n}"), &format!("p/{n}")).await;
    }
    service.stop().await;
}

#[tokio::test]
async fn a_connection_that_is_replaced_while_it_is_told_ends_and_the_next_one_hears_all() {
    let service = service().await;
    let mut before = open(&service, "s", 60_000).await;
    for n in 0..100 {
        acquire(&mut before, n + 2, &format!("L{n}"), &format!("p/{n}")).await;
    }
    let mut first = connect(&service).await;
    first.send(&resume("s")).await;
    let mut second = connect(&service).await;
    second.send(&resume("s")).await;
    let all = listed(&mut second).await.concat();
    assert!(all.into_iter().eq((0..100).map(|n| format!("L{n}"))));
    assert_eq!(first.closed().await, 4001);
    service.stop().await;
}
