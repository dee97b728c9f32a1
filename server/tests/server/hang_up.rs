//! Callers that hang up before they are answered, on real sockets. The runtime of the server is that of
//! the test, so that it sees nothing until the test waits: as if it had been stopped for a moment, all
//! that a caller did is in the system's hands by then.

use crate::common::{Service, within};
use crate::scratch::Scratch;
use crate::wire::answer;
use futures_util::SinkExt;
use lockwright_env::{Connection, Env, TokioEnv, sleep};
use lockwright_server::Storage;
use std::{
    io::Write,
    net::{Shutdown, TcpStream as StdStream},
    path::Path,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{client_async, tungstenite::Message};

/// How a caller hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It closes its socket.
    Close,
    /// It breaks the connection.
    Reset,
    /// It says that it will say no more, and could still read.
    HalfClose,
}

const ENDS: [End; 3] = [End::Close, End::Reset, End::HalfClose];

impl Service {
    async fn at(directory: Option<&Path>) -> Service {
        let storage = directory.map_or(Storage::Memory, |path| Storage::Directory(path.to_owned()));
        Service::start(|config| config.storage = storage).await
    }

    /// Sends, and does not let the server do anything meanwhile.
    fn begin(&self, text: &str) -> StdStream {
        let mut stream = StdStream::connect(&self.address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    /// The keys of what is held and queued.
    async fn locks(&self) -> Vec<String> {
        let body = self.look_at("/v1/locks").await;
        let locks = body["locks"].as_array().unwrap().iter();
        let keys = locks.map(|lock| lock["claims"][0].to_string());
        keys.collect()
    }

    /// Waits until nothing is held, and says what still is after long.
    async fn until_free(&self, what: &str) {
        for _ in 0..2_000 {
            if self.locks().await.is_empty() {
                return;
            }
            sleep(&TokioEnv, Duration::from_millis(5)).await;
        }
        panic!("{what}: {:?}", self.locks().await);
    }

    /// Waits until so much was granted: then what was asked before was heard.
    async fn until_granted(&self, grants: u64) {
        let line = format!("requests_granted_total {grants}\n");
        within(async {
            loop {
                let request =
                    "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
                let mut text = String::new();
                let mut stream = caller(self.begin(request));
                stream.read_to_string(&mut text).await.unwrap();
                if text.contains(&line) {
                    return;
                }
                sleep(&TokioEnv, Duration::from_millis(2)).await;
            }
        })
        .await;
    }
}

fn caller(stream: StdStream) -> TcpStream {
    stream.set_nonblocking(true).unwrap();
    TcpStream::from_std(stream).unwrap()
}

/// Hangs up, and gives what could still be read from.
fn hang_up(stream: StdStream, end: End) -> Option<StdStream> {
    match end {
        End::Close => None,
        End::Reset => {
            let stream = caller(stream);
            stream.set_zero_linger().unwrap();
            drop(stream);
            None
        }
        End::HalfClose => {
            stream.shutdown(Shutdown::Write).unwrap();
            Some(stream)
        }
    }
}

fn acquire(version: &str, body: &str) -> String {
    format!(
        "POST /v1/acquire HTTP/{version}\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A request for a lock that can be granted at once, as it is sent, and how many locks it asks for.
fn requests() -> Vec<(&'static str, String, u64)> {
    let plain = acquire("1.1", r#"{"key":"plain","holder":"a"}"#);
    let again = plain.replace("connection: close\r\n", "");
    vec![
        ("acquire", plain, 1),
        (
            "acquire and wait",
            acquire("1.1", r#"{"key":"waits","holder":"a","wait_ms":"forever"}"#),
            1,
        ),
        (
            "with a lease",
            acquire("1.1", r#"{"key":"leased","holder":"a","ttl_ms":600000}"#),
            1,
        ),
        (
            "of HTTP/1.0",
            acquire("1.0", r#"{"key":"old","holder":"a"}"#),
            1,
        ),
        (
            "by name",
            "POST /lock/named HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
            1,
        ),
        (
            "pipelined",
            format!("{again}POST /lock/second HTTP/1.1\r\nhost: localhost\r\n\r\n"),
            2,
        ),
        (
            "behind another",
            format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n{again}"),
            1,
        ),
    ]
}

#[tokio::test]
async fn who_hung_up_before_its_answer_holds_nothing() {
    let scratch = Scratch::new("hang-up-gone");
    for directory in [None, Some(scratch.0.as_path())] {
        let service = Service::at(directory).await;
        for (what, request, _) in requests() {
            for end in ENDS {
                let what = format!("{what}, {end:?}, {directory:?}");
                let rest = hang_up(service.begin(&request), end);
                // Nothing is held for lack of having been asked for: the next one is heard after it.
                let mut next =
                    caller(service.begin(&acquire("1.1", r#"{"key":"next","holder":"b"}"#)));
                let (status, body) = answer(&mut next).await;
                assert_eq!(status, 200, "{what}: {body}");
                let unlock =
                    "DELETE /lock/next HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
                assert_eq!(answer(&mut caller(service.begin(unlock))).await.0, 200);
                service.until_free(&what).await;
                if let Some(rest) = rest {
                    let mut text = String::new();
                    let _ = within(caller(rest).read_to_string(&mut text)).await;
                    assert!(
                        !text.contains("token"),
                        "{what}: released, and told: {text}"
                    );
                }
            }
        }
        service.stop().await;
    }
}

/// The same requests of callers that are there are answered, and what they name by an id is kept for
/// when they ask again.
#[tokio::test]
async fn who_stays_and_who_can_ask_again_keep_their_locks() {
    let scratch = Scratch::new("hang-up-stays");
    for directory in [None, Some(scratch.0.as_path())] {
        for (what, request, locks) in requests() {
            let service = Service::at(directory).await;
            let stream = service.begin(&request);
            service.until_granted(locks).await;
            let mut stream = caller(stream);
            let mut text = String::new();
            while text.matches("\"token\"").count() < usize::try_from(locks).unwrap() {
                let mut bytes = [0; 1024];
                let count = within(stream.read(&mut bytes)).await.unwrap();
                assert_ne!(count, 0, "{what}: {text}");
                text += std::str::from_utf8(&bytes[..count]).unwrap();
            }
            // It was delivered: who goes then, goes with its lock.
            stream.shutdown().await.unwrap();
            drop(stream);
            service.look_at("/v1/stats").await;
            assert_eq!(service.locks().await.len() as u64, locks, "{what}");
            service.stop().await;
            if let Some(path) = directory {
                std::fs::remove_dir_all(path).unwrap();
            }
        }
    }
    let service = Service::at(None).await;
    for (place, end) in ENDS.into_iter().enumerate() {
        let body = format!(r#"{{"key":"k{place}","holder":"a","request_id":"r{place}"}}"#);
        let rest = hang_up(service.begin(&acquire("1.1", &body)), end);
        service.until_granted(place as u64 + 1).await;
        drop(rest);
    }
    assert_eq!(
        service.locks().await.len(),
        ENDS.len(),
        "they can ask again"
    );
    service.stop().await;
}

/// The release that lets a caller have its lock, and the end of that caller, come at one moment.
#[tokio::test]
async fn who_hangs_up_as_it_is_granted_holds_nothing() {
    let scratch = Scratch::new("hang-up-granted");
    for directory in [None, Some(scratch.0.as_path())] {
        let service = Service::at(directory).await;
        for end in ENDS {
            for release_first in [true, false] {
                let lock = "POST /lock/l HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
                assert_eq!(answer(&mut caller(service.begin(lock))).await.0, 200);
                let body = r#"{"key":"l","holder":"b","wait_ms":"forever"}"#;
                let waiting = service.begin(&acquire("1.1", body));
                service.until(|usage| usage.waiting_calls == 1).await;
                let unlock =
                    "DELETE /lock/l HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
                let (released, rest);
                if release_first {
                    released = service.begin(unlock);
                    rest = hang_up(waiting, end);
                } else {
                    rest = hang_up(waiting, end);
                    released = service.begin(unlock);
                }
                assert_eq!(answer(&mut caller(released)).await.0, 200);
                let what = format!("{end:?}, release first: {release_first}, {directory:?}");
                service.until_free(&what).await;
                drop(rest);
            }
        }
        service.stop().await;
    }
}

/// A session whose client never heard that it is open ends as any that has no connection: after its
/// abandon timeout, with all that it asked for.
#[tokio::test]
async fn a_session_whose_client_hung_up_is_abandoned() {
    let scratch = Scratch::new("hang-up-session");
    for directory in [None, Some(scratch.0.as_path())] {
        let service = Service::at(directory).await;
        for (path, messages) in [
            (
                "/v1/session",
                &[
                    r#"{"type":"open","seq":1,"session":"s","secret":"0123456789abcdef0123456789abcdef","abandon_ms":50}"#,
                    r#"{"type":"acquire","seq":2,"id":"r","claims":["w a"]}"#,
                ][..],
            ),
            (
                "/v1?namespace=default&abandon-timeout-ms=50",
                &[r#"{"action":"lock","resources":[{"type":"write","path":["a"]}]}"#],
            ),
        ] {
            for end in [End::Close, End::Reset] {
                let stream = TokioEnv.connect(&service.address).await.unwrap();
                let url = format!("ws://{}{path}", service.address);
                let (mut socket, _) = within(client_async(url, stream)).await.unwrap();
                for message in messages {
                    socket.feed(Message::text(*message)).await.unwrap();
                }
                within(socket.flush()).await.unwrap();
                if end == End::Reset {
                    socket.get_ref().set_zero_linger().unwrap();
                }
                drop(socket);
                let what = format!("{path}, {end:?}, {directory:?}");
                within(service.until(|usage| usage.engine.sessions == 0)).await;
                service.until_free(&what).await;
            }
        }
        service.stop().await;
    }
}

/// What the server goes by: the system knows at once, whatever the runtime has seen and whatever
/// was sent before.
#[tokio::test]
async fn the_system_knows_who_has_hung_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for sent in ["", "some bytes"] {
        for end in ENDS {
            let mut stream = StdStream::connect(address).unwrap();
            stream.write_all(sent.as_bytes()).unwrap();
            let mut here = caller(listener.accept().unwrap().0);
            assert!(!here.has_hung_up(), "{sent:?}");
            let rest = hang_up(stream, end);
            assert!(here.has_hung_up(), "{sent:?}, {end:?}");
            drop(rest);
        }
    }
}
