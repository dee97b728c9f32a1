//! Somebody without a session who comes to the server: with a secret of its own for a session of
//! another, with what is no message, as a web page of others, as an operator or a node without its secret,
//! or with nothing at all.
//!
//! It speaks as much WebSocket and HTTP as that takes, by hand, since the shipped client knows better.

use super::{
    env::SimEnv,
    host::simulated,
    http_wire::{self, Question},
    server_host::{address_of, peer_address_of},
    stage::Stage,
};
use crate::{
    oracle::service::Happening,
    plan::{Knock, Stranger},
};
use lockwright_env::{Env as _, timeout};
use std::{io, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Lets a stranger come when its time has come, and stay for a while at most.
pub(super) async fn run(stage: Arc<Stage>, stranger: Stranger) {
    const STAYS: Duration = Duration::from_secs(2);
    let host = stage.hosts[stranger.host].clone();
    host.sleep_until_simulated(Duration::from_millis(stranger.at_ms))
        .await;
    let env = SimEnv::new(host);
    let visit = timeout(&env, STAYS, visit(&stage, &env, stranger)).await;
    let knocked = Happening::Knocked {
        what: stranger.what,
        // A visit that breaks off, or takes too long, has got nothing.
        answer: visit.ok().and_then(Result::ok).flatten(),
    };
    stage.happen(simulated(), &knocked);
}

/// Comes, tries, and gives what the server said to it.
async fn visit(stage: &Stage, env: &SimEnv, stranger: Stranger) -> io::Result<Option<String>> {
    let node = usize::try_from(stranger.at_ms).unwrap_or(0) % stage.nodes.len();
    let address = match stranger.what {
        Knock::Node => peer_address_of(stage, node),
        _ => address_of(stage, node),
    };
    let mut stream = env.connect(&address).await?;
    let message = match stranger.what {
        Knock::Node => return pose_as_a_node(&mut stream).await,
        Knock::Page => {
            const PAGE: &str = "Host: server\r\nOrigin: https://elsewhere.example\r\n";
            return lock(&mut stream, PAGE).await.map(Some);
        }
        Knock::Rebound => {
            const PAGE: &str = "Host: elsewhere.example\r\nOrigin: http://elsewhere.example\r\n";
            return lock(&mut stream, PAGE).await.map(Some);
        }
        Knock::Operator | Knock::Guess => {
            let Some((_, session)) = stage.some_session(stranger.at_ms) else {
                return Ok(None);
            };
            let token = match stranger.what {
                Knock::Guess => "Authorization: Bearer of-somebody-else-who-guesses\r\n",
                _ => "",
            };
            let question = Question {
                method: "DELETE",
                target: format!("/v1/sessions/{session}"),
                body: None,
                headers: token.to_owned(),
            };
            let answer = http_wire::ask(&mut stream, &question).await?;
            return Ok(Some(answer.body.to_string()));
        }
        Knock::Silence => {
            // Until the server has had enough.
            stream.read_u8().await?;
            return Ok(None);
        }
        Knock::Garbage => "{ this is no message".to_owned(),
        Knock::Acquire => r#"{"seq":1,"type":"acquire","id":"L1","claims":["w /"]}"#.to_owned(),
        Knock::Resume => {
            let Some((namespace, session)) = stage.some_session(stranger.at_ms) else {
                return Ok(None);
            };
            serde_json::json!({
                "seq": 1, "type": "resume", "namespace": &*namespace, "session": &*session,
                "secret": "a secret that nobody has told",
            })
            .to_string()
        }
    };
    upgrade(&mut stream).await?;
    stream.write_all(&text_frame(&message)).await?;
    read_text(&mut stream).await
}

/// Asks for a lock with this head.
async fn lock(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    head: &str,
) -> io::Result<String> {
    const BODY: &str = r#"{"key":"/","holder":"a-page","wait_ms":"no"}"#;
    let request = format!(
        "POST /v1/acquire HTTP/1.1\r\n{head}Content-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let answer = http_wire::answer(stream).await?;
    Ok(answer.body.to_string())
}

/// Says what a node says that knows no secret; none where there is none to know. All that it may hear is how the
/// other side begins.
async fn pose_as_a_node(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<Option<String>> {
    /// What this is, and the version; whether there is a secret; which node, and what it has drawn.
    const OPENING: usize = 8 + 1 + 8 + 32;
    let mut opening = [0; OPENING];
    stream.read_exact(&mut opening).await?;
    if opening[8] == 0 {
        return Ok(None);
    }
    let mut said = opening;
    said[9..].fill(7);
    stream.write_all(&said).await?;
    // A proof of nothing.
    stream.write_all(&[7; 32]).await?;
    // Not all that comes: a node that takes the proof waits for more then.
    let count = stream.read(&mut [0; 64]).await?;
    Ok((count > 0).then(|| format!("{count} bytes that prove who it is")))
}

/// Makes a WebSocket of a connection.
async fn upgrade(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    const REQUEST: &[u8] = b"GET /v1/session HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: YSBzdHJhbmdlciBrbm9jaw==\r\n\r\n";
    stream.write_all(REQUEST).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(())
}

const TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;
const TWO_BYTES_OF_LENGTH: u8 = 126;

/// A client's frame. The mask is zero, which changes nothing and is allowed.
fn text_frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("what strangers say is short");
    let mut frame = vec![TEXT];
    match u8::try_from(length) {
        Ok(short) if short < TWO_BYTES_OF_LENGTH => frame.push(MASKED | short),
        _ => {
            frame.push(MASKED | TWO_BYTES_OF_LENGTH);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// The text of a server's frame; none when it is of another kind, such as the end.
async fn read_text(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<String>> {
    let kind = stream.read_u8().await?;
    let length = match stream.read_u8().await? {
        TWO_BYTES_OF_LENGTH => usize::from(stream.read_u16().await?),
        short if short < TWO_BYTES_OF_LENGTH => usize::from(short),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    let text = String::from_utf8(payload).map_err(io::Error::other)?;
    Ok((kind == TEXT).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_frame_takes_as_many_bytes_as_it_needs() {
        assert_eq!(text_frame("ab"), [0x81, 0x82, 0, 0, 0, 0, b'a', b'b']);
        let long = text_frame(&"a".repeat(300));
        assert_eq!(long[..4], [0x81, 0xfe, 1, 44]);
        assert_eq!(long.len(), 8 + 300);
    }

    #[tokio::test]
    async fn a_server_s_text_is_read_and_its_end_is_not_text() {
        let read = |bytes: &'static [u8]| async move {
            let mut bytes = bytes;
            read_text(&mut bytes).await
        };
        assert_eq!(read(b"\x81\x02ab").await.unwrap().as_deref(), Some("ab"));
        assert_eq!(read(b"\x88\x02\x03\xe8").await.ok().flatten(), None);
        assert!(read(b"\x81\x05ab").await.is_err());
    }
}
