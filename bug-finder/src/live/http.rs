//! As much HTTP as a visitor needs.

use lockwright_env::{Env, TokioEnv, timeout};
use serde_json::Value;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long an answer may take: longer than any fault lasts would be longer than a run.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks, on a connection of its own. Any error says that nothing is known of what was done.
pub(super) async fn ask(
    address: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> io::Result<(u16, Value)> {
    let asked = exchange(address, method, path, body);
    match timeout(&TokioEnv, PATIENCE, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn exchange(
    address: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> io::Result<(u16, Value)> {
    let mut stream = TokioEnv.connect(address).await?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    read(&answer).ok_or_else(|| io::Error::other("the answer is cut short"))
}

fn read(answer: &[u8]) -> Option<(u16, Value)> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_answers_are_read_and_others_are_not() {
        let whole = b"HTTP/1.1 409 Conflict\r\nx: y\r\n\r\n{\"error\":\"busy\"}";
        assert_eq!(read(whole), Some((409, json!({"error": "busy"}))));
        assert_eq!(read(&whole[..whole.len() - 1]), None);
        assert_eq!(read(b""), None);
    }
}
