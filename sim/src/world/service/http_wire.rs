//! As much of HTTP/1.1 as it takes to ask and to read the answer, by hand: what is hunted is the
//! server, and a library would mend what it gets wrong.

use serde_json::Value;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What the server said.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

/// A question.
pub(super) struct Question {
    pub(super) method: &'static str,
    /// The path, and what follows a question mark.
    pub(super) target: String,
    pub(super) body: Option<Value>,
    /// What else stands in its head, whole lines.
    pub(super) headers: String,
}

/// Asks, and waits for the answer.
pub(super) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    question: &Question,
) -> io::Result<Answer> {
    say(stream, question).await?;
    answer(stream).await
}

/// Asks, and does not wait.
pub(super) async fn say(
    stream: &mut (impl AsyncWrite + Unpin),
    question: &Question,
) -> io::Result<()> {
    stream.write_all(question.text().as_bytes()).await
}

/// A text as it stands in a query.
pub(super) fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-.~".contains(&byte);
    let escape = |byte: u8| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

impl Question {
    fn text(&self) -> String {
        let body = self.body.as_ref().map_or(String::new(), Value::to_string);
        format!(
            "{} {} HTTP/1.1\r\nHost: server\r\nContent-Type: application/json\r\n\
             {}Content-Length: {}\r\n\r\n{body}",
            self.method,
            self.target,
            self.headers,
            body.len()
        )
    }
}

/// Waits for an answer.
pub(super) async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 2048];
    loop {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..count]);
        if let Some(answer) = parse(&bytes)? {
            return Ok(answer);
        }
    }
}

/// Reads an answer; none while it is not complete.
pub(super) fn parse(bytes: &[u8]) -> io::Result<Option<Answer>> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(end) = bytes.windows(END.len()).position(|window| window == END) else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(io::Error::other)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status.and_then(|status| status.parse().ok());
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, length)| length.trim().parse::<usize>().ok());
    let (Some(status), Some(length)) = (status, length) else {
        return Err(io::Error::other(format!("no answer of HTTP: {head}")));
    };
    let body = &bytes[end + END.len()..];
    if body.len() < length {
        return Ok(None);
    }
    let body = serde_json::from_slice(&body[..length]).map_err(io::Error::other)?;
    Ok(Some(Answer { status, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_all_of_it_is_there() {
        let bytes = b"HTTP/1.1 409 Conflict\r\nContent-Length: 16\r\n\r\n{\"error\":\"busy\"}";
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]).unwrap(), None);
        }
        let answer = parse(bytes).unwrap().unwrap();
        assert_eq!(answer.status, 409);
        assert_eq!(answer.body["error"], "busy");
    }

    #[test]
    fn a_question_says_how_long_it_is() {
        let question = Question {
            method: "POST",
            target: "/v1/renew".to_owned(),
            body: Some(serde_json::json!({"token": 7})),
            headers: "X: y\r\n".to_owned(),
        };
        let text = question.text();
        assert!(text.starts_with("POST /v1/renew HTTP/1.1\r\n"), "{text}");
        let tail = "X: y\r\nContent-Length: 11\r\n\r\n{\"token\":7}";
        assert!(text.ends_with(tail), "{text}");
    }

    #[test]
    fn what_is_not_plain_is_escaped_in_a_query() {
        assert_eq!(escaped("a/b-1_~."), "a/b-1_~.");
        assert_eq!(escaped("a b%\u{e9}&"), "a%20b%25%C3%A9%26");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        assert!(parse(b"nonsense\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{").is_err());
    }
}
