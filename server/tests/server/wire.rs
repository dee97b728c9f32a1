//! Speaking HTTP by hand: a request on a connection of its own, and its answer.

use crate::common::within;
use lockwright_env::{Env, TokioEnv};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends a request, and does not wait.
pub(crate) async fn send(address: &str, method: &str, target: &str, body: &str) -> TcpStream {
    let mut stream = TokioEnv.connect(address).await.unwrap();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The status of an answer, and its body; null when that is no JSON.
pub(crate) async fn answer(mut stream: impl AsyncRead + Unpin) -> (u16, Value) {
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(!head.to_lowercase().contains("\ndate:"), "{head}");
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}
