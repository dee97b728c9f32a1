//! The smallest clients of other servers that do a pair.

use crate::{Error, others::Kind};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// An answer takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What unlocks in Redis: only the lock of the caller.
const UNLOCK: &str =
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";

/// A client with its connection.
pub(crate) enum Peer {
    /// Speaks RESP. Has the two commands of a pair, as bytes.
    Redis(Wire, [Vec<u8>; 2]),
    /// Speaks the protocol of PostgreSQL. Has the two queries of a pair, as messages.
    Postgres(Wire, [Vec<u8>; 2]),
    /// Speaks HTTP. Has the two requests of a pair.
    Etcd(Wire, [Vec<u8>; 2]),
}

/// Bytes of a connection.
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    async fn open(address: &str) -> Result<Wire, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Wire {
            stream,
            read: Vec::with_capacity(4096),
        })
    }

    /// Sends, and reads until `is_all` finds the answer complete.
    async fn ask(&mut self, bytes: &[u8], is_all: fn(&[u8]) -> bool) -> Result<&[u8], Error> {
        self.stream.write_all(bytes).await?;
        self.read.clear();
        while !is_all(&self.read) {
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read));
            let read = read.await.map_err(|_| {
                let said = String::from_utf8_lossy(&self.read).into_owned();
                format!("the rest of an answer does not come, after {said:?}")
            })?;
            if read? == 0 {
                let said = String::from_utf8_lossy(&self.read).into_owned();
                return Err(format!("the server hung up after {said:?}").into());
            }
        }
        Ok(&self.read)
    }
}

/// Connects client number `client`, which has a key of its own.
pub(crate) async fn connect(kind: Kind, address: &str, client: usize) -> Result<Peer, Error> {
    let mut wire = Wire::open(address).await?;
    match kind {
        Kind::Redis | Kind::RedisAlways => {
            let key = format!("bench:{client}");
            let sha = script(&mut wire).await?;
            let lock = resp(&["SET", &key, "token", "NX", "PX", "30000"]);
            let unlock = resp(&["EVALSHA", &sha, "1", &key, "token"]);
            Ok(Peer::Redis(wire, [lock, unlock]))
        }
        Kind::Postgres => {
            let start = [&196_608_u32.to_be_bytes()[..], b"user\0postgres\0\0"].concat();
            wire.ask(&with_length(&start), is_ready).await?;
            let query = |what: &str| {
                let text = format!("select {what}({client})\0");
                [b"Q".to_vec(), with_length(text.as_bytes())].concat()
            };
            let pair = [query("pg_advisory_lock"), query("pg_advisory_unlock")];
            Ok(Peer::Postgres(wire, pair))
        }
        Kind::Etcd | Kind::EtcdCluster => {
            let grant = http("/v3/lease/grant", r#"{"TTL":600}"#);
            let granted = wire.ask(&grant, is_whole_http).await?;
            let lease = lease_in(granted).ok_or("etcd grants no lease")?;
            let name = base64(format!("bench/{client}").as_bytes());
            // What a lock is known by: its name and its lease.
            let key = base64(format!("bench/{client}/{lease:x}").as_bytes());
            let lock = http(
                "/v3/lock/lock",
                &format!(r#"{{"name":"{name}","lease":{lease}}}"#),
            );
            let unlock = http("/v3/lock/unlock", &format!(r#"{{"key":"{key}"}}"#));
            Ok(Peer::Etcd(wire, [lock, unlock]))
        }
    }
}

impl Peer {
    /// Locks and unlocks.
    pub(crate) async fn pair(&mut self) -> Result<(), Error> {
        match self {
            Peer::Redis(wire, [lock, unlock]) => {
                expect(wire.ask(lock, is_line).await?, b"+OK")?;
                expect(wire.ask(unlock, is_line).await?, b":1")
            }
            Peer::Postgres(wire, [lock, unlock]) => {
                expect(wire.ask(lock, is_ready).await?, b"T")?;
                expect(wire.ask(unlock, is_ready).await?, b"T")
            }
            Peer::Etcd(wire, [lock, unlock]) => {
                expect(wire.ask(lock, is_whole_http).await?, b"HTTP/1.1 200")?;
                expect(wire.ask(unlock, is_whole_http).await?, b"HTTP/1.1 200")
            }
        }
    }
}

fn expect(answer: &[u8], begin: &[u8]) -> Result<(), Error> {
    match answer.starts_with(begin) {
        true => Ok(()),
        false => Err(format!("the server says {:?}", String::from_utf8_lossy(answer)).into()),
    }
}

/// Loads the script; gives its name.
async fn script(wire: &mut Wire) -> Result<String, Error> {
    let answer = wire
        .ask(&resp(&["SCRIPT", "LOAD", UNLOCK]), is_bulk)
        .await?;
    let text = String::from_utf8_lossy(answer);
    let sha = text.split("\r\n").nth(1).ok_or("no name of a script")?;
    Ok(sha.to_owned())
}

fn resp(words: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    text.into_bytes()
}

fn is_line(read: &[u8]) -> bool {
    read.ends_with(b"\r\n")
}

/// Whether a text with its length before it is all there.
fn is_bulk(read: &[u8]) -> bool {
    read.windows(2).filter(|two| two == b"\r\n").count() >= 2
}

fn with_length(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("it is short");
    [&length.to_be_bytes()[..], body].concat()
}

/// Whether the server is ready for the next query.
fn is_ready(read: &[u8]) -> bool {
    read.ends_with(&[b'Z', 0, 0, 0, 5, b'I'])
}

/// The id in the answer to a grant of a lease.
fn lease_in(answer: &[u8]) -> Option<i64> {
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let granted: serde_json::Value = serde_json::from_slice(&answer[body..]).ok()?;
    granted["ID"].as_str()?.parse().ok()
}

fn http(target: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn is_whole_http(read: &[u8]) -> bool {
    let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => read.len() >= end + 4 + length,
        None => read.ends_with(b"0\r\n\r\n"),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4_u32 {
            let digit = (bits >> (18 - 6 * place)) & 63;
            text.push(match usize::try_from(place) {
                Ok(place) if place <= three.len() => char::from(DIGITS[digit as usize]),
                _ => '=',
            });
        }
    }
    text
}
