//! The client against the real server, over loopback and real clocks. No test asserts how long
//! something takes; leases are either long or waited out.

use futures_util::StreamExt;
use lockwright_client::{
    AcquireError, AcquireRequest, CallError, Client, ClientConfig, Lock, Lost, Notice,
    core::CoreUsage,
};
use lockwright_engine::{
    Command, DurationMs, EndReason, Engine, ErrorCode, Event, LimitName, Name, Refusal, Reply,
    TimeMs, Token, Wait,
};
use lockwright_env::{TokioEnv, timeout};
use lockwright_protocol::close_code;
use lockwright_server::{Probe, Server, ServerConfig, ServerError, ServerHandle, Usage};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::{accept_async, tungstenite::protocol::CloseFrame};

const HOUR: Duration = Duration::from_secs(3600);

struct Service {
    address: String,
    handle: ServerHandle,
    task: JoinHandle<Result<(), ServerError>>,
}

impl Service {
    async fn start(config: ServerConfig) -> Service {
        let server = Server::bind(TokioEnv, config).await.unwrap();
        let address = server.local_address().unwrap().to_string();
        let handle = server.handle();
        let task = tokio::spawn(server.run());
        Service {
            address,
            handle,
            task,
        }
    }

    async fn on_any_port() -> Service {
        Service::start(ServerConfig::new("127.0.0.1:0")).await
    }

    fn client(&self) -> Client<TokioEnv> {
        Client::connect(TokioEnv, self.config()).unwrap()
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new(self.address.clone());
        config.reconnect_min = Duration::from_millis(5);
        config.reconnect_max = Duration::from_millis(50);
        config
    }

    async fn stop(self) {
        self.handle.shutdown();
        self.task.await.unwrap().unwrap();
    }

    /// Waits until the server's usage is as wanted.
    async fn until(&self, wanted: impl Fn(&Usage) -> bool) {
        within(async {
            loop {
                let usage = self.handle.usage().await.unwrap();
                if wanted(&usage) {
                    return;
                }
                pause().await;
            }
        })
        .await;
    }
}

/// Nothing here takes anywhere near this long: a test that hangs should say so.
async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(&TokioEnv, Duration::from_secs(20), future)
        .await
        .expect("the test hangs")
}

async fn pause() {
    lockwright_env::sleep(&TokioEnv, Duration::from_millis(2)).await;
}

fn write(path: &str) -> AcquireRequest {
    AcquireRequest::write(path).unwrap()
}

fn ms(ms: u64) -> DurationMs {
    DurationMs::new(ms).unwrap()
}

async fn next(lock: &mut Lock<TokioEnv>) -> Notice {
    within(lock.next()).await.expect("there is more to tell")
}

#[tokio::test]
async fn a_lock_is_granted_and_released() {
    let service = Service::on_any_port().await;
    let client = service.client();
    let lock = within(client.acquire(write("a/b"))).await.unwrap();
    assert!(lock.believes_held());
    assert!(lock.token().is_some());
    within(lock.release()).await.unwrap();
    assert!(!lock.believes_held());
    let again = within(lock.release()).await;
    assert!(
        matches!(&again, Err(CallError::Refused(refused)) if refused.code == ErrorCode::NotHeld),
        "{again:?}"
    );
    within(client.close()).await.unwrap();
    service
        .until(|usage| usage.secrets == 0 && usage.connections == 0)
        .await;
    service.stop().await;
}

#[tokio::test]
async fn a_queued_request_is_granted_when_the_lock_is_free() {
    let service = Service::on_any_port().await;
    let (alice, bob) = (service.client(), service.client());
    let mut held = within(alice.acquire(write("a"))).await.unwrap();
    let mut queued = bob.request(write("a/b"));
    assert_eq!(next(&mut queued).await, Notice::Queued);
    within(held.release()).await.unwrap();
    assert_eq!(next(&mut held).await, Notice::Ended(EndReason::Released));
    let token = within(queued.granted()).await.unwrap();
    assert!(Some(token) > held.token());
    service.stop().await;
}

#[tokio::test]
async fn a_request_that_will_not_wait_is_busy() {
    let service = Service::on_any_port().await;
    let client = service.client();
    let _held = within(client.acquire(write("a"))).await.unwrap();
    let refused = within(client.acquire(write("a").wait(Wait::No))).await;
    let Err(AcquireError::Refused(refused)) = refused else {
        panic!("got {refused:?}");
    };
    assert_eq!(refused.code, ErrorCode::Busy);
    let timed_out = within(client.acquire(write("a").wait(Wait::For(ms(5))))).await;
    assert_eq!(
        timed_out.map(|_| ()),
        Err(AcquireError::Ended(EndReason::TimedOut))
    );
    service.stop().await;
}

#[tokio::test]
async fn a_queued_request_can_be_cancelled_or_dropped() {
    let service = Service::on_any_port().await;
    let client = service.client();
    let held = within(client.acquire(write("a"))).await.unwrap();
    let mut cancelled = client.request(write("a"));
    let mut dropped = client.request(write("a"));
    let mut last = client.request(write("a"));
    assert_eq!(next(&mut cancelled).await, Notice::Queued);
    assert_eq!(next(&mut dropped).await, Notice::Queued);
    assert_eq!(next(&mut last).await, Notice::Queued);
    within(cancelled.cancel()).await.unwrap();
    assert_eq!(
        next(&mut cancelled).await,
        Notice::Ended(EndReason::Cancelled)
    );
    drop(dropped);
    within(held.release()).await.unwrap();
    within(last.granted()).await.unwrap();
    let late = within(last.cancel()).await;
    assert!(
        matches!(&late, Err(CallError::Refused(refused)) if refused.code == ErrorCode::NotQueued),
        "{late:?}"
    );
    drop(last);
    service.until(|usage| usage.engine.live_requests == 0).await;
    service.stop().await;
}

#[tokio::test]
async fn a_lease_runs_out_for_the_client_before_it_does_for_the_server() {
    let service = Service::on_any_port().await;
    let client = service.client();
    let mut lock = within(client.acquire(write("a").ttl(ms(30))))
        .await
        .unwrap();
    let over = next(&mut lock).await;
    assert_eq!(over, Notice::Lost(Lost::LeaseOver));
    assert!(!lock.believes_held());
    // The next one gets it, whether by the release that the client sent or by the expiry.
    within(client.acquire(write("a"))).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_renewed_lock_stays() {
    let service = Service::on_any_port().await;
    let client = service.client();
    let lock = within(client.acquire(write("a").ttl(ms(10_000))))
        .await
        .unwrap();
    let before = lock.deadline().unwrap();
    let after = within(lock.renew(ms(20_000))).await.unwrap();
    assert!(after > before);
    assert_eq!(lock.deadline(), Some(after));
    let zero = within(lock.renew(ms(0))).await;
    assert!(matches!(zero, Err(CallError::Refused(_))), "{zero:?}");
    service.stop().await;
}

#[tokio::test]
async fn two_clients_take_turns() {
    #[derive(Default)]
    struct Grants(Mutex<Vec<Token>>);
    let service = Service::on_any_port().await;
    let grants = Arc::new(Grants::default());
    let turns = |client: Client<TokioEnv>| {
        let grants = grants.clone();
        async move {
            for _ in 0..50 {
                let lock = client.acquire(write("a/b")).await.unwrap();
                assert!(lock.believes_held());
                let token = lock.token().unwrap();
                grants.0.lock().unwrap().push(token);
                lock.release().await.unwrap();
            }
        }
    };
    let (alice, bob) = (turns(service.client()), turns(service.client()));
    within(async { tokio::join!(alice, bob) }).await;
    let grants = std::mem::take(&mut *grants.0.lock().unwrap());
    assert_eq!(grants.len(), 100);
    assert!(grants.is_sorted_by(|a, b| a < b), "{grants:?}");
    service.stop().await;
}

#[tokio::test]
async fn many_locks_are_under_way_at_once() {
    let service = Service::on_any_port().await;
    let client = service.client();
    let mut locks: Vec<_> = (0..500)
        .map(|n| client.request(write(&format!("p/{n}"))))
        .collect();
    for lock in &mut locks {
        within(lock.granted()).await.unwrap();
    }
    service
        .until(|usage| usage.engine.live_requests == 500)
        .await;
    drop(locks);
    service.until(|usage| usage.engine.live_requests == 0).await;
    let nothing = CoreUsage::default();
    while within(client.usage()).await != Some(nothing) {
        pause().await;
    }
    within(client.close()).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn after_a_restart_of_the_server_locks_are_lost_and_tokens_go_on() {
    let service = Service::on_any_port().await;
    let client = service.client();
    let mut lock = within(client.acquire(write("a"))).await.unwrap();
    let address = service.address.clone();
    service.stop().await;
    let service = Service::start(ServerConfig::new(address)).await;
    assert_eq!(next(&mut lock).await, Notice::Lost(Lost::SessionOver));
    assert!(!lock.believes_held());
    let new = within(client.acquire(write("a"))).await.unwrap();
    assert!(new.token() > lock.token());
    service.stop().await;
}

#[tokio::test]
async fn what_is_asked_before_the_server_is_there_waits_for_it() {
    let service = Service::on_any_port().await;
    let (address, config) = (service.address.clone(), service.config());
    service.stop().await;
    let client = Client::connect(TokioEnv, config).unwrap();
    let mut lock = client.request(write("a"));
    pause().await;
    let service = Service::start(ServerConfig::new(address)).await;
    within(lock.granted()).await.unwrap();
    service.stop().await;
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// An address where connections are taken and nothing is ever said.
async fn somebody_silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            kept.push(listener.accept().await.unwrap());
        }
    });
    address
}

/// An address where each session is closed with a code as soon as it asks for something; and how
/// many there were.
async fn somebody_closing(code: u16) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let closed = Arc::new(AtomicUsize::new(0));
    let count = closed.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = accept_async(stream).await.unwrap();
            socket.next().await.unwrap().unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let frame = CloseFrame {
                code: code.into(),
                reason: "not here".into(),
            };
            socket.close(Some(frame)).await.unwrap();
        }
    });
    (address, closed)
}

#[tokio::test]
async fn a_client_goes_on_to_the_next_address_until_one_serves_it() {
    let service = Service::on_any_port().await;
    let (leaderless, closed) = somebody_closing(close_code::NO_LEADER).await;
    let mut config = service.config();
    config.addresses = vec![
        nobody().await,
        somebody_silent().await,
        leaderless,
        service.address.clone(),
    ];
    config.call_timeout = Duration::from_millis(200);
    let client = Client::connect(TokioEnv, config).unwrap();
    let lock = within(client.acquire(write("a"))).await.unwrap();
    assert!(lock.believes_held());
    assert_eq!(closed.load(Ordering::SeqCst), 1);
    within(client.close()).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn only_a_server_that_sends_elsewhere_is_left_without_a_wait() {
    // The wait would be longer than the test: who goes on at once is there, who waits is not.
    let service = Service::on_any_port().await;
    for (code, at_once) in [
        (close_code::NO_LEADER, true),
        (close_code::SHUTDOWN, true),
        (close_code::SLOW_READER, false),
    ] {
        let (first, closed) = somebody_closing(code).await;
        let mut config = service.config();
        config.addresses = vec![first, service.address.clone()];
        (config.reconnect_min, config.reconnect_max) = (HOUR, HOUR);
        let client = Client::connect(TokioEnv, config).unwrap();
        let mut lock = client.request(write("a"));
        if at_once {
            within(lock.granted()).await.unwrap();
        } else {
            let granted = timeout(&TokioEnv, Duration::from_millis(300), lock.granted()).await;
            assert!(granted.is_err(), "it did not wait: {granted:?}");
        }
        assert_eq!(closed.load(Ordering::SeqCst), 1);
        drop((lock, client));
        service.until(|usage| usage.engine.live_requests == 0).await;
    }
    service.stop().await;
}

#[tokio::test]
async fn each_lock_of_a_session_that_an_operator_ends_is_told_so() {
    // More than the connection has room for: the close alone tells of most of them.
    const LOCKS: usize = 300;
    let mut config = ServerConfig::new("127.0.0.1:0");
    config.outgoing_max = 16;
    let service = Service::start(config).await;
    let client = service.client();
    let mut locks = Vec::new();
    for place in 0..LOCKS {
        let request = AcquireRequest::write(&place.to_string()).unwrap();
        locks.push(within(client.acquire(request)).await.unwrap());
    }
    let session = client.session().await.unwrap();
    let mut operator = TcpStream::connect(&service.address).await.unwrap();
    let end = format!("DELETE /v1/sessions/{session} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    operator.write_all(end.as_bytes()).await.unwrap();
    for lock in &mut locks {
        assert_eq!(next(lock).await, Notice::Ended(EndReason::SessionEnded));
        assert!(!lock.believes_held());
    }
    // The next one is asked for in another session.
    within(client.acquire(write("0"))).await.unwrap();
    drop(operator);
    service.stop().await;
}

#[tokio::test]
async fn after_a_server_is_gone_the_next_one_is_asked() {
    let (one, two) = (Service::on_any_port().await, Service::on_any_port().await);
    let mut config = one.config();
    config.addresses = vec![one.address.clone(), two.address.clone()];
    let client = Client::connect(TokioEnv, config).unwrap();
    let mut lock = within(client.acquire(write("a"))).await.unwrap();
    one.stop().await;
    // They share nothing: the session is over, and the client says so.
    assert_eq!(next(&mut lock).await, Notice::Lost(Lost::SessionOver));
    within(client.acquire(write("a"))).await.unwrap();
    two.until(|usage| usage.engine.sessions == 1).await;
    two.stop().await;
}

#[tokio::test]
async fn a_limit_is_told_by_name() {
    let mut config = ServerConfig::new("127.0.0.1:0");
    config.limits.locks_per_owner = 1;
    let service = Service::start(config).await;
    let client = service.client();
    let _one = within(client.acquire(write("a"))).await.unwrap();
    let refused = within(client.acquire(write("b"))).await;
    let Err(AcquireError::Refused(refused)) = refused else {
        panic!("got {refused:?}");
    };
    assert_eq!(refused.code, ErrorCode::LimitExceeded);
    assert_eq!(refused.limit, Some(LimitName::LocksPerOwner));
    service.stop().await;
}

#[tokio::test]
async fn an_id_is_used_once() {
    let service = Service::on_any_port().await;
    let client = service.client();
    let id = Name::new("mine").unwrap();
    let lock = within(client.acquire(write("a").id(id.clone())))
        .await
        .unwrap();
    assert_eq!(lock.id(), &id);
    for taken in [id, Name::new("#7").unwrap()] {
        let refused = within(client.acquire(write("b").id(taken))).await;
        assert!(
            matches!(&refused, Err(AcquireError::Refused(refused)) if refused.code == ErrorCode::InvalidRequest),
            "{refused:?}"
        );
    }
    service.stop().await;
}

#[tokio::test]
async fn a_closed_client_says_so() {
    let service = Service::on_any_port().await;
    let client = service.client();
    let mut lock = within(client.acquire(write("a"))).await.unwrap();
    within(client.close()).await.unwrap();
    assert_eq!(next(&mut lock).await, Notice::Lost(Lost::Closed));
    assert_eq!(within(lock.release()).await, Err(CallError::Closed));
    let late = within(client.acquire(write("a"))).await;
    assert_eq!(late.map(|_| ()), Err(AcquireError::Lost(Lost::Closed)));
    service.stop().await;
}

#[tokio::test]
async fn dropping_everything_closes_the_session() {
    let service = Service::on_any_port().await;
    let client = service.client();
    let lock = within(client.acquire(write("a"))).await.unwrap();
    drop(client);
    assert!(lock.believes_held());
    drop(lock);
    service
        .until(|usage| usage.engine.sessions == 0 && usage.connections == 0)
        .await;
    service.stop().await;
}

#[tokio::test]
async fn a_probe_sees_what_is_applied_and_in_the_end_nothing_is_left() {
    #[derive(Default)]
    struct Seen(Mutex<Vec<&'static str>>);
    impl Probe for Seen {
        fn began(&self, _index: u64, engine: &Engine, first_token: Token) {
            assert!(first_token.0 > 0 && engine.usage().is_zero());
            self.0.lock().unwrap().push("started");
        }
        fn applied(
            &self,
            _index: u64,
            _at: TimeMs,
            command: &Command,
            result: &Result<Reply, Refusal>,
            _events: &[Event],
        ) {
            assert!(result.is_ok(), "{command:?} gave {result:?}");
            self.0.lock().unwrap().push(match command {
                Command::OpenSession { .. } => "open",
                Command::Acquire { .. } => "acquire",
                Command::Release { .. } => "release",
                Command::CloseSession { .. } => "close",
                _ => return,
            });
        }
    }
    let seen = Arc::new(Seen::default());
    let mut config = ServerConfig::new("127.0.0.1:0");
    config.probe = seen.clone();
    config.limits.retention = DurationMs::ZERO;
    let service = Service::start(config).await;
    let client = service.client();
    let lock = within(client.acquire(write("a"))).await.unwrap();
    within(lock.release()).await.unwrap();
    within(client.close()).await.unwrap();
    service.until(|usage| *usage == Usage::default()).await;
    assert_eq!(
        *seen.0.lock().unwrap(),
        ["started", "open", "acquire", "release", "close"]
    );
    service.stop().await;
}
