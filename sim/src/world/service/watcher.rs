//! A watcher of what happens to locks, over HTTP, at one node.

use super::{
    env::SimEnv,
    host::simulated,
    http_wire::{self, Question},
    server_host::address_of,
    stage::{Phase, Stage},
};
use crate::{
    op::{OpClaim, Text},
    oracle::service::{
        Happening,
        watch::{OwnerKind, Watched, sorted},
    },
    plan::WatcherPlan,
};
use lockwright_env::{Env as _, sleep};
use serde_json::Value;
use std::{io, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How long a watcher waits before it asks anew.
const PAUSE: Duration = Duration::from_millis(20);

/// Lets the watcher with this index come when its time has come, on a host in its life number `start`, and ask
/// anew whenever its answer is over, until its time is up.
pub(super) async fn run(stage: Arc<Stage>, index: usize, start: u32) {
    let plan = stage.plan.watchers[index].clone();
    let host = stage.hosts[plan.host].clone();
    host.sleep_until_simulated(Duration::from_millis(plan.at_ms))
        .await;
    let mut phase = stage.phase.subscribe();
    let ends = host.sleep_until_simulated(Duration::from_millis(plan.at_ms + plan.for_ms));
    let env = SimEnv::new(host.clone());
    let watching = async {
        for number in 0.. {
            let watch = Text::from(format!("watch{index}-{start}-{number}"));
            let why = match look(&stage, &env, &plan, &watch).await {
                Ok(why) => why,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let what = Text::from(error.to_string());
                    return stage.happen(simulated(), &Happening::WatchOdd { watch, what });
                }
                Err(error) => error.to_string(),
            };
            over(&stage, watch, &why);
            sleep(&env, PAUSE).await;
        }
    };
    let why = tokio::select! {
        biased;
        _ = phase.wait_for(|phase| *phase >= Phase::Closing) => "all is over",
        () = ends => "it has seen enough",
        () = watching => return,
    };
    over(&stage, Text::from(format!("watch{index}-{start}")), why);
}

fn over(stage: &Stage, watch: Text, why: &str) {
    let why = Text::from(why);
    stage.happen(simulated(), &Happening::WatchOver { watch, why });
}

/// What a server must not say.
fn odd(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

/// Watches, and gives the reason why it was told that it is over.
async fn look(
    stage: &Arc<Stage>,
    env: &SimEnv,
    plan: &WatcherPlan,
    watch: &Text,
) -> io::Result<String> {
    let node = plan.node % stage.nodes.len();
    let mut stream = env.connect(&address_of(stage, node)).await?;
    let (namespace, prefix) = (&plan.namespace, &plan.prefix);
    let question = Question {
        method: "GET",
        target: format!(
            "/v1/watch?namespace={}&prefix={}",
            http_wire::escaped(namespace),
            http_wire::escaped(prefix)
        ),
        body: None,
        headers: String::new(),
    };
    let asked = Happening::WatchAsked {
        watch: watch.clone(),
        namespace: namespace.clone(),
        prefix: prefix.clone(),
    };
    stage.happen(simulated(), &asked);
    http_wire::say(&mut stream, &question).await?;
    let mut lines = match Lines::of(stream).await? {
        Ok(lines) => lines,
        Err(refused) => return Ok(refused),
    };
    let begins = Happening::WatchBegins {
        watch: watch.clone(),
    };
    stage.happen(simulated(), &begins);
    while let Some(line) = lines.next().await? {
        match line["error"].as_str() {
            Some(why @ ("slow_reader" | "events_missed")) => return Ok(why.to_owned()),
            Some(_) => return Err(odd(line)),
            None => {}
        }
        let line = read(&line).ok_or_else(|| odd(&line))?;
        let watch = watch.clone();
        stage.happen(simulated(), &Happening::WatchTold { watch, line });
    }
    Ok("the server ends it".to_owned())
}

fn read(line: &Value) -> Option<Watched> {
    let text = |value: &Value| value.as_str().map(Text::from);
    let claim = |claim: &Value| {
        Some(OpClaim {
            write: match claim["mode"].as_str()? {
                "write" => true,
                "read" => false,
                _ => return None,
            },
            path: text(&claim["path"])?,
        })
    };
    let owner = &line["owner"];
    let owner = match text(&owner["holder"]) {
        Some(holder) => (OwnerKind::Holder, holder),
        None => (OwnerKind::Session, text(&owner["session"])?),
    };
    let claims: Option<Vec<OpClaim>> = line["claims"].as_array()?.iter().map(claim).collect();
    Some(Watched {
        event: text(&line["event"])?,
        namespace: text(&line["namespace"])?,
        owner,
        id: text(&line["id"])?,
        claims: sorted(claims?),
        token: line["token"].as_u64(),
        lease_ms: line["lease_remaining_ms"].as_u64(),
        reason: text(&line["reason"]),
    })
}

/// The lines of an answer in chunks.
struct Lines<S> {
    stream: S,
    /// What has come and was not read as chunks.
    raw: Vec<u8>,
    /// What has come of lines that are not complete.
    text: Vec<u8>,
    is_over: bool,
}

impl<S: AsyncRead + Unpin> Lines<S> {
    /// Those of the answer that begins here; or why the server cannot give one now.
    ///
    /// # Errors
    /// The connection ends, or that is no answer.
    async fn of(stream: S) -> io::Result<Result<Lines<S>, String>> {
        let mut lines = Lines {
            stream,
            raw: Vec::new(),
            text: Vec::new(),
            is_over: false,
        };
        let head = loop {
            if let Some(head) = take_until(&mut lines.raw, b"\r\n\r\n") {
                break String::from_utf8_lossy(&head).to_ascii_lowercase();
            }
            lines.more().await?;
        };
        let first = head.lines().next().unwrap_or_default().to_owned();
        let is_stream = head.contains("transfer-encoding: chunked");
        match first.split(' ').nth(1) {
            Some("200") if is_stream => Ok(Ok(lines)),
            Some("503") => Ok(Err(first)),
            _ => Err(odd(first)),
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 2048];
        match self.stream.read(&mut chunk).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.raw.extend_from_slice(&chunk[..count]);
                Ok(())
            }
        }
    }

    /// The next line; none when the server has ended the answer.
    async fn next(&mut self) -> io::Result<Option<Value>> {
        loop {
            if let Some(line) = take_until(&mut self.text, b"\n") {
                return serde_json::from_slice(&line).map(Some).map_err(odd);
            }
            if self.is_over {
                return Ok(None);
            }
            let size = self.line_of_chunk().await?;
            let size = usize::from_str_radix(&size, 16).map_err(odd)?;
            while self.raw.len() < size + 2 {
                self.more().await?;
            }
            self.text.extend(self.raw.drain(..size));
            self.raw.drain(..2);
            self.is_over = size == 0;
        }
    }

    async fn line_of_chunk(&mut self) -> io::Result<String> {
        loop {
            if let Some(line) = take_until(&mut self.raw, b"\r\n") {
                return String::from_utf8(line).map_err(odd);
            }
            self.more().await?;
        }
    }
}

/// Takes what stands before `end`, and `end` with it, if that has come.
fn take_until(bytes: &mut Vec<u8>, end: &[u8]) -> Option<Vec<u8>> {
    let place = bytes.windows(end.len()).position(|window| window == end)?;
    let taken = bytes.drain(..place).collect();
    bytes.drain(..end.len());
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_out_of_chunks_as_they_went_in() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            8\r\n{\"a\":1}\n\r\n3\r\n{\"b\r\n6\r\n\":2}\n{\r\n4\r\n\"c\":\r\n3\r\n3}\n\r\n0\r\n\r\n";
        let mut lines = Lines::of(&answer[..]).await.unwrap().ok().unwrap();
        for (name, value) in [("a", 1), ("b", 2), ("c", 3)] {
            let line = lines.next().await.unwrap().expect("it is there");
            assert_eq!(line[name], value);
        }
        assert_eq!(lines.next().await.unwrap(), None);
        let cut = &answer[..70];
        let mut lines = Lines::of(cut).await.unwrap().ok().unwrap();
        lines.next().await.unwrap();
        assert!(lines.next().await.is_err());
        let busy = Lines::of(&b"HTTP/1.1 503 no\r\n\r\n"[..]).await;
        assert!(busy.is_ok_and(|lines| lines.is_err()));
        for odd in [&b"HTTP/1.1 404 no\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\n\r\n"] {
            let error = Lines::of(odd).await.err().map(|error| error.kind());
            assert_eq!(error, Some(io::ErrorKind::InvalidData));
        }
    }
}
