//! A client that takes down what it was told, and compares it with what it finds later.

use crate::{
    ledger::{Ledger, RequestId},
    random::Random,
};
use futures_util::{SinkExt, StreamExt};
use lockwright_client::{
    Claim, Credentials, DurationMs, EndReason, ErrorCode, Name, Path, Token, Wait,
};
use lockwright_env::{Env, TokioEnv};
use lockwright_protocol::{
    ClaimText, ClientFrame, LockStatus, Message, Request, SESSION_PATH, Seq, ServerFrame, WaitMs,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, sync::watch, time::sleep};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};

/// Longer than any run: no session and no lease ends by itself.
const LONG: DurationMs = DurationMs::from_secs(24 * 3600);

/// Locks on paths of its own that a client keeps.
const KEPT: usize = 5;

/// Paths that all clients want; each is taken with what is below it.
const WANTED: [&str; 5] = ["all/a", "all/a/1", "all/b", "all/c", "all"];

/// Releases that are looked at again after a start.
const REMEMBERED: usize = 20;

/// The wait before a client tries to connect again.
const RECONNECT: Duration = Duration::from_millis(5);

/// Which server is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phase {
    /// Counts the starts; 0 before the first.
    pub(crate) round: u32,
    pub(crate) address: String,
}

/// The connection broke: that is what servers do that are killed.
struct Broken;

type Socket = WebSocketStream<TcpStream>;

/// A request, as far as its client knows.
#[derive(Clone)]
struct Known {
    path: String,
    leased: bool,
    /// The largest token that was known before it was asked for.
    floor: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Nothing was said to it.
    Asked,
    /// It was acknowledged that it waits.
    Queued,
    /// It was acknowledged that it is held; with its lease counted from no earlier than this.
    Held { token: u64, leased: Option<Instant> },
    /// It is being given back, and that was not acknowledged.
    Releasing { token: u64 },
}

/// A client, over all its connections.
pub(crate) struct Client {
    number: u32,
    random: Random,
    ledger: Rc<RefCell<Ledger>>,
    credentials: Credentials,
    opened: bool,
    /// The last round in which it found its way.
    back_in: u32,
    next: u64,
    locks: BTreeMap<u64, Known>,
    released: VecDeque<(u64, Known)>,
}

impl Client {
    pub(crate) fn new(number: u32, random: Random, ledger: Rc<RefCell<Ledger>>) -> Client {
        Client {
            number,
            random,
            ledger,
            credentials: Credentials::random(),
            opened: false,
            back_in: 0,
            next: 1,
            locks: BTreeMap::new(),
            released: VecDeque::new(),
        }
    }

    /// Works until it is dropped.
    pub(crate) async fn run(mut self, mut phase: watch::Receiver<Phase>) {
        loop {
            let current = phase.wait_for(|phase| phase.round > 0).await;
            let Phase { round, address } = current.expect("the test goes on").clone();
            // It ends when the server does, and then there is none for a while.
            let Err(Broken) = self.work(&address, round).await;
            sleep(RECONNECT).await;
        }
    }

    async fn work(&mut self, address: &str, round: u32) -> Result<Infallible, Broken> {
        let stream = TokioEnv.connect(address).await.map_err(|_| Broken)?;
        let url = format!("ws://{address}{SESSION_PATH}");
        let (socket, _) = client_async(url, stream).await.map_err(|_| Broken)?;
        let mut connection = Connection { socket, seq: 1 };
        if self.opened {
            self.resume(&mut connection).await?;
        } else {
            self.open(&mut connection).await?;
        }
        if self.back_in < round {
            self.back_in = round;
            self.ledger.borrow_mut().back += 1;
        }
        self.settle(&mut connection).await?;
        loop {
            self.step(&mut connection).await?;
        }
    }

    async fn open(&mut self, connection: &mut Connection) -> Result<(), Broken> {
        let open = Request::Open {
            namespace: namespace(),
            session: self.credentials.session.clone(),
            secret: self.credentials.secret.clone(),
            abandon_ms: Some(LONG),
            label: None,
        };
        match self.ask(connection, open).await? {
            Message::Opened { .. } => self.opened = true,
            other => self.violation(format!("`open` is answered {other:?}")),
        }
        Ok(())
    }

    /// Takes up the session, and compares what is there with what was acknowledged.
    async fn resume(&mut self, connection: &mut Connection) -> Result<(), Broken> {
        let resume = Request::Resume {
            namespace: namespace(),
            session: self.credentials.session.clone(),
            secret: self.credentials.secret.clone(),
        };
        let there = match self.ask(connection, resume).await? {
            // It has few.
            Message::Resumed {
                locks, more: false, ..
            } => locks,
            other => {
                self.violation(format!("the session was opened, and now: {other:?}"));
                return Err(Broken);
            }
        };
        let now = Instant::now();
        let there: BTreeMap<u64, LockStatus> = there
            .into_iter()
            .map(|status| (number(status.id()), status))
            .collect();
        self.ledger.borrow_mut().compared(self.locks.len());
        for (id, known) in self.locks.clone() {
            self.compare(id, &known, there.get(&id), now);
        }
        for id in there.keys().filter(|id| !self.locks.contains_key(id)) {
            let what = match self.released.iter().any(|(released, _)| released == id) {
                true => "was released, which was acknowledged, and is there again",
                false => "is there, and nobody has asked for it",
            };
            self.violation(format!("{:?} {what}", (self.number, id)));
        }
        Ok(())
    }

    /// Compares what is known of a request with what the server says after a start.
    fn compare(&mut self, id: u64, known: &Known, there: Option<&LockStatus>, now: Instant) {
        let request: RequestId = (self.number, id);
        let path = &known.path;
        match (known.state, there) {
            (State::Held { token, leased }, Some(LockStatus::Held { token: now_has, lease_ms, .. })) => {
                if now_has.0 != token {
                    self.violation(format!("{request:?} on {path} had token {token}, now {now_has}"));
                }
                // Never shorter than what was acknowledged; a millisecond is lost by rounding.
                let least = leased.map(|from| {
                    DurationMs::as_ms(LONG).saturating_sub(ms(now - from)).saturating_sub(2)
                });
                let left = lease_ms.map(DurationMs::as_ms);
                if least.is_some_and(|least| left.is_none_or(|left| left < least)) {
                    self.violation(format!(
                        "{request:?} on {path} has {left:?} ms of its lease left, at least {least:?} were acknowledged"
                    ));
                }
            }
            (State::Held { token, .. }, other) => self.violation(format!(
                "{request:?} held {path} with token {token}, which was acknowledged, and now: {other:?}"
            )),
            (State::Queued, None) => self.violation(format!(
                "{request:?} was queued for {path}, which was acknowledged, and is gone"
            )),
            (State::Asked | State::Queued, Some(LockStatus::Held { token, lease_ms, .. })) => {
                self.hold(id, token.0, lease_ms.map(|_| now));
                // How long it has lasted is not known: only what was acknowledged counts.
                self.set(id, State::Held { token: token.0, leased: None });
            }
            (State::Asked, Some(LockStatus::Queued { .. })) => self.set(id, State::Queued),
            (State::Queued, Some(LockStatus::Queued { .. })) => {}
            // It never arrived.
            (State::Asked, None) => {
                self.locks.remove(&id);
            }
            // The release was applied, or will be asked for again.
            (State::Releasing { .. }, None) => {
                self.locks.remove(&id);
            }
            (State::Releasing { token }, Some(LockStatus::Held { token: now_has, .. })) => {
                if now_has.0 != token {
                    self.violation(format!("{request:?} on {path} had token {token}, now {now_has}"));
                }
            }
            (State::Releasing { .. }, Some(other)) => {
                self.violation(format!("{request:?} held {path}, and now: {other:?}"));
            }
        }
    }

    /// Asks for some of what was released: it must be known how it ended. Then finishes what was
    /// under way.
    async fn settle(&mut self, connection: &mut Connection) -> Result<(), Broken> {
        let released: Vec<(u64, Known)> = self.released.iter().rev().take(3).cloned().collect();
        for (id, known) in released {
            match self.ask(connection, acquire(id, &known)).await? {
                Message::Ended {
                    reason: EndReason::Released,
                    ..
                } => {}
                other => self.violation(format!(
                    "{:?} was released, which was acknowledged, and now: {other:?}",
                    (self.number, id)
                )),
            }
        }
        let locks: Vec<(u64, Known)> = self
            .locks
            .iter()
            .map(|(id, known)| (*id, known.clone()))
            .collect();
        for (id, known) in locks {
            match known.state {
                State::Queued => {
                    self.wait_for(connection, id).await?;
                    self.release(connection, id).await?;
                }
                State::Releasing { .. } => self.release(connection, id).await?,
                State::Held { .. } if known.path.starts_with("all") => {
                    self.release(connection, id).await?;
                }
                State::Held { .. } | State::Asked => {}
            }
        }
        Ok(())
    }

    /// One thing after the other.
    async fn step(&mut self, connection: &mut Connection) -> Result<(), Broken> {
        let kept: Vec<u64> = self.locks.keys().copied().collect();
        let any = kept.get(usize::try_from(self.random.next()).unwrap_or(0) % kept.len().max(1));
        match (self.random.within(0..4), any) {
            (0, Some(&id)) => self.release(connection, id).await,
            (1, Some(&id)) => self.renew(connection, id).await,
            (2, _) if kept.len() < KEPT => {
                let path = format!("own/{}/{}", self.number, self.next);
                self.acquire(connection, path).await.map(|_| ())
            }
            _ => {
                let which = usize::try_from(self.random.within(0..WANTED.len() as u64));
                let path = WANTED[which.unwrap_or(0)].to_owned();
                let id = self.acquire(connection, path).await?;
                sleep(Duration::from_millis(self.random.within(0..3))).await;
                self.release(connection, id).await
            }
        }
    }

    /// Takes a lock, with or without a lease.
    async fn acquire(&mut self, connection: &mut Connection, path: String) -> Result<u64, Broken> {
        let id = self.next;
        self.next += 1;
        let known = Known {
            path,
            leased: self.random.next().is_multiple_of(2),
            floor: self.ledger.borrow().floor(),
            state: State::Asked,
        };
        let request = acquire(id, &known);
        let leased = known.leased;
        self.locks.insert(id, known);
        let sent = Instant::now();
        match self.ask(connection, request).await? {
            Message::Granted { token, .. } => self.hold(id, token.0, leased.then_some(sent)),
            Message::Queued { .. } => {
                self.set(id, State::Queued);
                self.wait_for(connection, id).await?;
            }
            other => self.violation(format!("`acquire` is answered {other:?}")),
        }
        Ok(id)
    }

    /// Waits until a queued request is granted.
    async fn wait_for(&mut self, connection: &mut Connection, id: u64) -> Result<(), Broken> {
        while self
            .locks
            .get(&id)
            .is_some_and(|known| known.state == State::Queued)
        {
            let frame = connection.next().await?;
            self.pushed(frame.message);
        }
        Ok(())
    }

    async fn renew(&mut self, connection: &mut Connection, id: u64) -> Result<(), Broken> {
        let Some(State::Held { token, .. }) = self.locks.get(&id).map(|known| known.state) else {
            return Ok(());
        };
        let sent = Instant::now();
        let renew = Request::Renew {
            id: name(id),
            token: Token(token),
            ttl_ms: LONG,
        };
        match self.ask(connection, renew).await? {
            Message::Renewed { .. } => {
                self.ledger.borrow_mut().renewed();
                self.set(
                    id,
                    State::Held {
                        token,
                        leased: Some(sent),
                    },
                );
            }
            other => self.violation(format!("`renew` of a held lock is answered {other:?}")),
        }
        Ok(())
    }

    async fn release(&mut self, connection: &mut Connection, id: u64) -> Result<(), Broken> {
        let Some(known) = self.locks.get(&id).cloned() else {
            return Ok(());
        };
        let (token, again) = match known.state {
            State::Held { token, .. } => (token, false),
            State::Releasing { token } => (token, true),
            State::Asked | State::Queued => return Ok(()),
        };
        self.ledger.borrow_mut().gives_back((self.number, id));
        self.set(id, State::Releasing { token });
        let release = Request::Release {
            id: name(id),
            token: Token(token),
        };
        match self.ask(connection, release).await? {
            Message::Done {} => {}
            Message::Error {
                error: ErrorCode::NotHeld,
                ..
            } if again => {}
            other => self.violation(format!("`release` of a held lock is answered {other:?}")),
        }
        self.ledger.borrow_mut().released();
        self.locks.remove(&id);
        self.released.push_back((id, known));
        if self.released.len() > REMEMBERED {
            self.released.pop_front();
        }
        Ok(())
    }

    /// Asks, and takes down what is pushed until the answer comes.
    async fn ask(
        &mut self,
        connection: &mut Connection,
        request: Request,
    ) -> Result<Message, Broken> {
        let seq = connection.send(request).await?;
        loop {
            let frame = connection.next().await?;
            match frame.seq {
                Some(answered) if answered == seq => return Ok(frame.message),
                Some(other) => {
                    self.violation(format!("an answer to {other:?}, which was not asked"));
                }
                None => self.pushed(frame.message),
            }
        }
    }

    fn pushed(&mut self, message: Message) {
        match message {
            // A lease that began while it was waited for: only renewals count.
            Message::Granted { id, token, .. } => self.hold(number(&id), token.0, None),
            other => self.violation(format!("the server says, unasked: {other:?}")),
        }
    }

    fn hold(&mut self, id: u64, token: u64, leased: Option<Instant>) {
        if let Some(known) = self.locks.get(&id).cloned() {
            let request = (self.number, id);
            self.ledger
                .borrow_mut()
                .granted(request, &known.path, token, known.floor);
            self.set(id, State::Held { token, leased });
        } else {
            self.violation(format!(
                "a grant to {:?}, which was not asked for",
                (self.number, id)
            ));
        }
    }

    fn set(&mut self, id: u64, state: State) {
        if let Some(known) = self.locks.get_mut(&id) {
            known.state = state;
        }
    }

    fn violation(&self, what: String) {
        self.ledger.borrow_mut().violation(what);
    }
}

fn acquire(id: u64, known: &Known) -> Request {
    let path = Path::parse(known.path.as_str()).expect("it is a path");
    Request::Acquire {
        id: name(id),
        claims: vec![ClaimText::from(&Claim::write(path))],
        ttl_ms: known.leased.then_some(LONG),
        wait: WaitMs(Wait::Forever),
        label: None,
    }
}

fn namespace() -> Name {
    Name::new("crash-test").expect("it is a name")
}

fn name(id: u64) -> Name {
    Name::new(id.to_string()).expect("a number is a name")
}

fn number(name: &Name) -> u64 {
    name.as_str().parse().expect("all ids are numbers")
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

struct Connection {
    socket: Socket,
    seq: u64,
}

impl Connection {
    async fn send(&mut self, request: Request) -> Result<Seq, Broken> {
        let seq = Seq(self.seq);
        self.seq += 1;
        let text = ClientFrame { seq, request }.encode();
        let sent = self.socket.send(tungstenite::Message::text(text)).await;
        sent.map(|()| seq).map_err(|_| Broken)
    }

    async fn next(&mut self) -> Result<ServerFrame, Broken> {
        loop {
            match self.socket.next().await {
                Some(Ok(tungstenite::Message::Text(text))) => {
                    return Ok(ServerFrame::decode(&text).expect("the server says what it may"));
                }
                Some(Ok(tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_))) => {}
                _ => return Err(Broken),
            }
        }
    }
}
