//! A server on real files that is stopped and started again: what was answered is there.

#![expect(
    clippy::disallowed_methods,
    reason = "these tests run on the real disk, and not in the simulator"
)]

use crate::common::{Service, within};
use crate::scratch::Scratch;
use futures_util::{SinkExt, StreamExt};
use lockwright_engine::Limits;
use lockwright_env::{Env, TokioEnv};
use lockwright_server::{BindError, Server, ServerConfig, Storage, StoreError};
use std::path::Path;
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

fn config(directory: &Path) -> ServerConfig {
    let mut config = ServerConfig::new("127.0.0.1:0");
    config.storage = Storage::Directory(directory.to_owned());
    // Snapshots, the log and what is purged of it all have a part.
    config.snapshot_entries = 7;
    config.log_segment_bytes = 1024;
    config
}

async fn serve(config: ServerConfig) -> Service {
    Service::start(|given| *given = config).await
}

async fn connect(service: &Service) -> Socket {
    let stream = TokioEnv.connect(&service.address).await.unwrap();
    let url = format!("ws://{}/v1/session", service.address);
    Socket(client_async(url, stream).await.unwrap().0)
}

async fn greet(service: &Service, kind: &str, session: &str) -> (Socket, String) {
    let mut socket = connect(service).await;
    let abandon = if kind == "open" {
        r#","abandon_ms":60000"#
    } else {
        ""
    };
    let answer = socket
        .ask(&format!(
            r#"{{"type":"{kind}","seq":1,"namespace":"n","session":"{session}","secret":"secret of {session} itself"{abandon}}}"#
        ))
        .await;
    (socket, answer)
}

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn ask(&mut self, text: &str) -> String {
        self.0.send(Message::text(text)).await.unwrap();
        match within(self.0.next()).await {
            Some(Ok(Message::Text(text))) => text.as_str().to_owned(),
            other => panic!("expected a message, got {other:?}"),
        }
    }
}

fn token(granted: &str) -> u64 {
    let token = granted.split(r#""token":"#).nth(1).expect(granted);
    token.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn locks_sessions_outcomes_and_tokens_are_there_after_a_restart() {
    let scratch = Scratch::new("restart-state");
    let service = serve(config(&scratch.0)).await;
    let (mut holder, _) = greet(&service, "open", "holder").await;
    let (mut waiter, _) = greet(&service, "open", "waiter").await;
    for n in 0..20 {
        let id = format!(r#""seq":2,"id":"short{n}""#);
        let granted = holder
            .ask(&format!(r#"{{"type":"acquire",{id},"claims":["w b"]}}"#))
            .await;
        let token = token(&granted);
        holder
            .ask(&format!(r#"{{"type":"release",{id},"token":{token}}}"#))
            .await;
    }
    let acquire = r#"{"type":"acquire","seq":2,"id":"L","claims":["w a"],"ttl_ms":600000}"#;
    let granted = holder.ask(acquire).await;
    let held = token(&granted);
    let queued = waiter
        .ask(r#"{"type":"acquire","seq":2,"id":"M","claims":["r a"]}"#)
        .await;
    assert!(queued.contains("queued"), "{queued}");
    service.stop().await;

    let service = serve(config(&scratch.0)).await;
    let usage = service.handle.usage().await.unwrap();
    assert_eq!((usage.secrets, usage.attached_sessions), (2, 0));
    let stranger = r#"{"type":"resume","seq":1,"namespace":"n","session":"holder","secret":"0123456789abcdef"}"#;
    let refused = connect(&service).await.ask(stranger).await;
    assert!(refused.contains("unknown_session"), "{refused}");
    let (mut holder, resumed) = greet(&service, "resume", "holder").await;
    let listed = format!(r#""id":"L","token":{held}"#);
    assert!(resumed.contains(&listed), "{resumed}");
    let (_waiter, resumed) = greet(&service, "resume", "waiter").await;
    assert!(resumed.contains(r#""state":"queued""#), "{resumed}");
    let again = holder.ask(acquire).await;
    assert_eq!(token(&again), held, "a retry locks nothing twice: {again}");
    let over = holder
        .ask(r#"{"type":"acquire","seq":3,"id":"short3","claims":["w b"]}"#)
        .await;
    assert!(over.contains("released"), "{over}");
    let next = holder
        .ask(r#"{"type":"acquire","seq":4,"id":"N","claims":["w c"]}"#)
        .await;
    assert!(token(&next) > held, "tokens go on: {next}");
    service.stop().await;
}

/// A store that has seen the tokens of a server in memory goes on with those of one that keeps its
/// state in a directory.
#[tokio::test]
async fn tokens_go_on_from_memory_to_a_directory_and_over_restarts() {
    let scratch = Scratch::new("restart-tokens");
    let mut last = 0;
    let on_disk = config(&scratch.0);
    let in_memory = ServerConfig::new("127.0.0.1:0");
    for (place, config) in [&in_memory, &in_memory, &on_disk, &on_disk]
        .into_iter()
        .enumerate()
    {
        let service = serve(config.clone()).await;
        let (mut socket, _) = greet(&service, "open", &format!("s{place}")).await;
        for id in ["1", "2"] {
            let acquire =
                format!(r#"{{"type":"acquire","seq":2,"id":"{id}","claims":["w {place}/{id}"]}}"#);
            let granted = token(&socket.ask(&acquire).await);
            assert!(granted > last, "server {place}: {granted} after {last}");
            last = granted;
        }
        service.stop().await;
    }
}

/// Why a server does not start there; none if it does. One that was there before may still be closing
/// its files.
async fn refusal(directory: &Path) -> Option<BindError> {
    loop {
        match Server::bind(TokioEnv, config(directory)).await.err() {
            Some(BindError::Store(StoreError::Locked { .. })) => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

#[tokio::test]
async fn a_server_that_has_lost_the_end_of_its_log_does_not_start() {
    let scratch = Scratch::new("restart-lost");
    let service = serve(config(&scratch.0)).await;
    let (mut socket, _) = greet(&service, "open", "s").await;
    for n in 0..30 {
        let acquire = format!(r#"{{"type":"acquire","seq":2,"id":"{n}","claims":["w {n}"]}}"#);
        assert!(socket.ask(&acquire).await.contains("granted"));
    }
    service.stop().await;
    let entries = std::fs::read_dir(&scratch.0).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let segments = paths.filter(|path| path.extension().is_some_and(|end| end == "log"));
    let newest = segments.max().unwrap();
    let whole = std::fs::read(&newest).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for kept in [None, Some(0), Some(40), Some(used - 1)] {
        match kept {
            None => std::fs::remove_file(&newest).unwrap(),
            Some(kept) => std::fs::write(&newest, &whole[..kept]).unwrap(),
        }
        let error = refusal(&scratch.0).await;
        let Some(BindError::Store(StoreError::Damaged { what })) = error else {
            panic!("{kept:?}: {error:?}")
        };
        let name = newest.file_name().unwrap().to_str().unwrap();
        assert!(what.contains(name), "{kept:?}: {what}");
    }
    std::fs::write(&newest, &whole).unwrap();
    let error = refusal(&scratch.0).await;
    assert!(error.is_none(), "all is there again: {error:?}");
}

#[tokio::test]
async fn a_second_server_is_told_to_go_elsewhere() {
    let scratch = Scratch::new("restart-second");
    let service = serve(config(&scratch.0)).await;
    let error = Server::bind(TokioEnv, config(&scratch.0)).await.err();
    let Some(BindError::Store(StoreError::Locked { path })) = error else {
        panic!("{error:?}")
    };
    assert_eq!(path, scratch.0);
    service.stop().await;
    serve(config(&scratch.0)).await.stop().await;
}

#[tokio::test]
async fn other_limits_hold_from_the_next_start_on() {
    let scratch = Scratch::new("restart-limits");
    let service = serve(config(&scratch.0)).await;
    let (mut socket, _) = greet(&service, "open", "s").await;
    for n in 0..3 {
        let acquire = format!(r#"{{"type":"acquire","seq":2,"id":"{n}","claims":["w {n}"]}}"#);
        assert!(socket.ask(&acquire).await.contains("granted"));
    }
    service.stop().await;
    let limits = Limits {
        locks_per_owner: 2,
        ..Limits::default()
    };
    for _ in 0..2 {
        let service = serve(ServerConfig {
            limits: limits.clone(),
            ..config(&scratch.0)
        })
        .await;
        let (mut socket, resumed) = greet(&service, "resume", "s").await;
        assert_eq!(resumed.matches(r#""state":"held""#).count(), 3, "{resumed}");
        let refused = socket
            .ask(r#"{"type":"acquire","seq":2,"id":"x","claims":["w x"]}"#)
            .await;
        assert!(refused.contains("locks_per_owner"), "{refused}");
        service.stop().await;
    }
}

/// From a directory to memory and back, whatever the directory has: nothing, what has ended and is
/// remembered, a session without locks, a lock.
#[tokio::test]
async fn a_directory_goes_on_above_the_tokens_that_a_server_in_memory_gave_meanwhile() {
    const LOCK: &str = r#"{"type":"acquire","seq":2,"id":"L","claims":["w a"]}"#;
    async fn granted(service: &Service, how: &str) -> u64 {
        let (mut socket, _) = greet(service, how, "s").await;
        token(&socket.ask(LOCK).await)
    }
    for left in ["nothing", "what has ended", "a session", "a lock"] {
        let scratch = Scratch::new("restart-tokens");
        let service = serve(config(&scratch.0)).await;
        // It has a time of its own, though nothing was granted.
        service.handle.usage().await.unwrap();
        lockwright_env::sleep(&TokioEnv, std::time::Duration::from_millis(5)).await;
        service.handle.usage().await.unwrap();
        let mut before = 0;
        if left != "nothing" {
            let (mut socket, _) = greet(&service, "open", "s").await;
            if left != "a session" {
                before = token(&socket.ask(LOCK).await);
            }
            if left == "what has ended" {
                let close = socket.ask(r#"{"type":"close","seq":3}"#).await;
                assert!(close.contains("done"), "{close}");
            }
        }
        service.stop().await;
        let in_memory = {
            let service = Service::start(|_| {}).await;
            let granted = granted(&service, "open").await;
            service.stop().await;
            granted
        };
        let service = serve(config(&scratch.0)).await;
        let how = match left {
            "nothing" | "what has ended" => "open",
            _ => "resume",
        };
        let (mut socket, _) = greet(&service, how, "s").await;
        if left == "a lock" {
            // What is held keeps its token.
            assert_eq!(token(&socket.ask(LOCK).await), before);
        }
        let next = r#"{"type":"acquire","seq":3,"id":"M","claims":["w b"]}"#;
        let on_disk = token(&socket.ask(next).await);
        assert!(
            on_disk > in_memory,
            "{left}: {on_disk} came after {in_memory}"
        );
        service.stop().await;
    }
}
