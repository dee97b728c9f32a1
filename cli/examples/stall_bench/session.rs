//! Those who ask for something large.

use crate::Error;
use futures_util::{SinkExt, StreamExt};
use lockwright_client::{Claim, Credentials, DurationMs, Name, Path, Token, Wait};
use lockwright_protocol::{
    ClaimText, ClientFrame, Message, Request, SESSION_PATH, Seq, ServerFrame, WaitMs,
};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, protocol::WebSocketConfig},
};

/// Requests that are on their way at once: fewer than the answers that a server keeps for a connection.
const WINDOW: u64 = 1000;

/// Clients that make a server write its log.
const LOADING: usize = 8;

/// Longer than any run.
const LONG: DurationMs = DurationMs::from_secs(3600);

/// A session on a connection.
pub(crate) struct Session {
    socket: WebSocketStream<TcpStream>,
    credentials: Credentials,
    seq: u64,
}

impl Session {
    pub(crate) async fn open(address: &str) -> Result<Session, Error> {
        let mut session = Session {
            socket: connect(address).await?,
            credentials: Credentials::random(),
            seq: 0,
        };
        let open = Request::Open {
            namespace: namespace(),
            session: session.credentials.session.clone(),
            secret: session.credentials.secret.clone(),
            abandon_ms: Some(LONG),
            label: None,
        };
        match session.ask(open).await? {
            Message::Opened { .. } => Ok(session),
            other => Err(format!("`open` is answered {other:?}").into()),
        }
    }

    /// Takes so many locks.
    pub(crate) async fn fill(&mut self, locks: u32) -> Result<(), Error> {
        let (mut asked, mut answered) = (0, 0);
        while answered < u64::from(locks) {
            while asked < u64::from(locks) && asked - answered < WINDOW {
                let path = format!("stalls/{}/{}", asked / 1000, asked % 1000);
                let text = self.frame(acquire(&format!("held-{asked}"), &path));
                self.socket.feed(tungstenite::Message::text(text)).await?;
                asked += 1;
            }
            self.socket.flush().await?;
            // Half of what is on its way, so that requests go out many at a time.
            while asked - answered > WINDOW / 2 || (asked == u64::from(locks) && answered < asked) {
                match self.next().await?.message {
                    Message::Granted { .. } => answered += 1,
                    other => return Err(format!("`acquire` is answered {other:?}").into()),
                }
            }
        }
        Ok(())
    }

    /// Takes a lock that nobody else wants, and gives it back.
    pub(crate) async fn pair(&mut self, owner: &str, number: u64) -> Result<(), Error> {
        let id = format!("{owner}-{number}");
        let token = match self.ask(acquire(&id, &format!("pairs/{owner}"))).await? {
            Message::Granted { token, .. } => token,
            other => return Err(format!("`acquire` is answered {other:?}").into()),
        };
        self.release(&id, token).await?;
        if number % 64 == 63 {
            let ids = (number - 63..=number).map(|number| name(&format!("{owner}-{number}")));
            let ids = ids.collect();
            self.ask(Request::Done { ids }).await?;
        }
        Ok(())
    }

    async fn release(&mut self, id: &str, token: Token) -> Result<(), Error> {
        let id = name(id);
        match self.ask(Request::Release { id, token }).await? {
            Message::Done {} => Ok(()),
            other => Err(format!("`release` is answered {other:?}").into()),
        }
    }

    /// Takes the session up on another connection.
    pub(crate) async fn resume(&mut self, address: &str) -> Result<(), Error> {
        self.socket = connect(address).await?;
        let resume = Request::Resume {
            namespace: namespace(),
            session: self.credentials.session.clone(),
            secret: self.credentials.secret.clone(),
        };
        let text = self.frame(resume);
        self.socket.send(tungstenite::Message::text(text)).await?;
        // It is not decoded, which would take longer than all else.
        loop {
            match self.socket.next().await.ok_or("the server hung up")?? {
                // More of them follow.
                tungstenite::Message::Text(text) if text.ends_with("\"more\":true}") => {}
                tungstenite::Message::Text(text) if text.contains("\"resumed\"") => return Ok(()),
                tungstenite::Message::Text(text) => {
                    return Err(format!("`resume` is answered {text}").into());
                }
                _ => {}
            }
        }
    }

    /// Ends the session, and all its locks.
    pub(crate) async fn close(&mut self) -> Result<(), Error> {
        match self.ask(Request::Close {}).await? {
            Message::Done {} => Ok(()),
            other => Err(format!("`close` is answered {other:?}").into()),
        }
    }

    /// Asks, and passes over what is pushed until the answer comes.
    async fn ask(&mut self, request: Request) -> Result<Message, Error> {
        let text = self.frame(request);
        self.socket.send(tungstenite::Message::text(text)).await?;
        loop {
            let frame = self.next().await?;
            if frame.seq == Some(Seq(self.seq)) {
                return Ok(frame.message);
            }
        }
    }

    fn frame(&mut self, request: Request) -> String {
        self.seq += 1;
        let seq = Seq(self.seq);
        ClientFrame { seq, request }.encode()
    }

    async fn next(&mut self) -> Result<ServerFrame, Error> {
        loop {
            match self.socket.next().await.ok_or("the server hung up")?? {
                tungstenite::Message::Text(text) => return Ok(ServerFrame::decode(&text)?),
                tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_) => {}
                other => return Err(format!("the server says {other}").into()),
            }
        }
    }
}

async fn connect(address: &str) -> Result<WebSocketStream<TcpStream>, Error> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let url = format!("ws://{address}{SESSION_PATH}");
    // What tells of a million locks is one message.
    let config = WebSocketConfig::default()
        .max_message_size(None)
        .max_frame_size(None);
    Ok(client_async_with_config(url, stream, Some(config)).await?.0)
}

/// Pairs of many clients, for so long.
pub(crate) async fn load(address: &str, span: Duration) -> Result<(), Error> {
    let until = Instant::now() + span;
    let mut clients = JoinSet::new();
    for client in 0..LOADING {
        let address = address.to_owned();
        clients.spawn(async move {
            let mut session = Session::open(&address).await?;
            let owner = format!("load-{client}");
            for number in 0.. {
                if Instant::now() >= until {
                    break;
                }
                session.pair(&owner, number).await?;
            }
            session.close().await
        });
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    Ok(())
}

/// What a server answers with 200, in bytes.
async fn fetch(address: &str, target: &str) -> Result<Vec<u8>, Error> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let line = answer
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    if !line.starts_with(b"HTTP/1.1 200") {
        let line = String::from_utf8_lossy(line).into_owned();
        return Err(format!("GET {target} is answered {line}").into());
    }
    Ok(answer)
}

/// Asks for something, and reads the answer.
pub(crate) async fn get(address: &str, target: &str) -> Result<(), Error> {
    fetch(address, target).await.map(|_| ())
}

/// Reads all locks, a page after the other.
pub(crate) async fn all_pages(address: &str) -> Result<(), Error> {
    let mut cursor = String::new();
    loop {
        let target = format!("/v1/locks?limit=1000{cursor}");
        let answer = fetch(address, &target).await?;
        let text = String::from_utf8_lossy(&answer);
        // The last field of the answer.
        let next = text
            .rsplit_once("\"next_cursor\":")
            .ok_or("a page without an end")?;
        let next = next.1.trim_start();
        let Some(next) = next
            .strip_prefix('"')
            .and_then(|next| next.split('"').next())
        else {
            return Ok(());
        };
        cursor = format!("&cursor={next}");
    }
}

fn acquire(id: &str, path: &str) -> Request {
    let path = Path::parse(path).expect("it is a path");
    Request::Acquire {
        id: name(id),
        claims: vec![ClaimText::from(&Claim::write(path))],
        ttl_ms: None,
        wait: WaitMs(Wait::Forever),
        label: None,
    }
}

fn namespace() -> Name {
    name("default")
}

fn name(text: &str) -> Name {
    Name::new(text).expect("it is a name")
}
