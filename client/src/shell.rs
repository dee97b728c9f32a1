//! The task that moves a client's messages: it does I/O and decides nothing.

use crate::{
    AcquireRequest, Belief, CallError, Credentials, Notice, SessionCore, Trouble,
    connection::{Connecting, Connection, Parting, connect},
    core::{CallId, CoreUsage, Gone, LockId, Outcome, Output},
};
use lockwright_engine::{DurationMs, Name};
use lockwright_env::Env;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Where the outcome of a call goes.
pub(crate) type Reply = oneshot::Sender<Result<Outcome, CallError>>;

/// What a caller wants.
#[derive(Debug)]
pub(crate) enum Call {
    Request {
        lock: LockId,
        id: Name,
        request: AcquireRequest,
        belief: Arc<Belief>,
        told: mpsc::UnboundedSender<Notice>,
    },
    Release {
        lock: LockId,
        reply: Reply,
    },
    Renew {
        lock: LockId,
        ttl: DurationMs,
        reply: Reply,
    },
    Cancel {
        lock: LockId,
        reply: Reply,
    },
    Abandon {
        lock: LockId,
    },
    Close {
        reply: Reply,
    },
    Usage {
        reply: oneshot::Sender<CoreUsage>,
    },
    Session {
        reply: oneshot::Sender<Option<Name>>,
    },
    Troubles {
        reply: oneshot::Sender<BTreeMap<String, Trouble>>,
    },
}

/// The way to the server.
enum Way<E: Env> {
    None,
    Connecting(Connecting<E>),
    Open(Box<Connection<E>>),
}

/// What came along the way.
enum News<E: Env> {
    Connected(Box<Connection<E>>),
    Message(String),
    Disconnected(Parting),
}

struct Shell<E: Env> {
    env: E,
    core: SessionCore,
    way: Way<E>,
    /// The server that was tried last.
    address: String,
    /// Why servers gave no session when they were last tried.
    troubles: BTreeMap<String, Trouble>,
    told: BTreeMap<LockId, mpsc::UnboundedSender<Notice>>,
    replies: BTreeMap<CallId, Reply>,
    next_call: u64,
    finished: bool,
}

/// Runs a client until it is closed.
pub(crate) async fn run<E: Env>(
    env: E,
    core: SessionCore,
    mut calls: mpsc::UnboundedReceiver<Call>,
) {
    let mut shell = Shell {
        env,
        core,
        way: Way::None,
        address: String::new(),
        troubles: BTreeMap::new(),
        told: BTreeMap::new(),
        replies: BTreeMap::new(),
        next_call: 0,
        finished: false,
    };
    let mut deserted = false;
    loop {
        shell.carry_out();
        if shell.finished {
            return;
        }
        let wake = shell.core.next_wake();
        // News first: after a pause, the answers that lie ready count before the time does.
        tokio::select! {
            biased;
            news = shell.way.next() => shell.learn(news),
            () = wait_until(&shell.env, wake) => shell.core.wake(shell.env.monotonic()),
            call = calls.recv(), if !deserted => match call {
                Some(call) => shell.call(call),
                None => {
                    deserted = true;
                    shell.core.close(shell.env.monotonic(), None);
                }
            },
        }
    }
}

impl<E: Env> Shell<E> {
    /// Does what the core wants done.
    fn carry_out(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Connect { address } => {
                    self.address.clone_from(&address);
                    self.way = Way::Connecting(connect(self.env.clone(), address));
                }
                Output::Disconnect => {
                    if !matches!(self.way, Way::None) {
                        self.trouble(Trouble::NoAnswer);
                    }
                    self.way = Way::None;
                }
                Output::Send(frame) => {
                    if let Way::Open(connection) = &mut self.way {
                        connection.send(frame.encode());
                    }
                }
                Output::Tell { lock, notice } => self.tell(lock, notice),
                Output::Reply { call, outcome } => {
                    if let Some(reply) = self.replies.remove(&call) {
                        // It fails when the caller no longer waits.
                        let _ = reply.send(outcome);
                    }
                }
                Output::Finished => self.finished = true,
            }
        }
    }

    fn tell(&mut self, lock: LockId, notice: Notice) {
        let told = if notice.is_last() {
            self.told.remove(&lock)
        } else {
            self.told.get(&lock).cloned()
        };
        if let Some(told) = told {
            // It fails when the caller has dropped the lock.
            let _ = told.send(notice);
        }
    }

    /// Notes why the server that was tried last gives no session.
    fn trouble(&mut self, why: Trouble) {
        self.troubles.insert(self.address.clone(), why);
    }

    fn learn(&mut self, news: News<E>) {
        let now = self.env.monotonic();
        match news {
            News::Connected(connection) => {
                self.way = Way::Open(connection);
                self.core.connected(now, Credentials::random());
            }
            News::Message(text) => self.core.message(now, &text),
            News::Disconnected(Parting { gone, why }) => {
                self.way = Way::None;
                self.trouble(why);
                self.core.disconnected(now, gone);
            }
        }
    }

    fn call(&mut self, call: Call) {
        let now = self.env.monotonic();
        match call {
            Call::Request {
                lock,
                id,
                request,
                belief,
                told,
            } => {
                self.told.insert(lock, told);
                self.core.request(now, lock, id, &request, belief);
            }
            Call::Release { lock, reply } => {
                let call = self.expect(reply);
                self.core.release(now, lock, call);
            }
            Call::Renew { lock, ttl, reply } => {
                let call = self.expect(reply);
                self.core.renew(now, lock, ttl, call);
            }
            Call::Cancel { lock, reply } => {
                let call = self.expect(reply);
                self.core.cancel(now, lock, call);
            }
            Call::Abandon { lock } => {
                self.told.remove(&lock);
                self.core.abandon(now, lock);
            }
            Call::Close { reply } => {
                let call = self.expect(reply);
                self.core.close(now, Some(call));
            }
            Call::Usage { reply } => {
                // It fails when the caller no longer waits.
                let _ = reply.send(self.core.usage());
            }
            Call::Session { reply } => {
                // It fails when the caller no longer waits.
                let _ = reply.send(self.core.session().cloned());
            }
            Call::Troubles { reply } => {
                let mut troubles = self.troubles.clone();
                if !matches!(self.way, Way::None) {
                    troubles.insert(self.address.clone(), Trouble::NoAnswer);
                }
                // It fails when the caller no longer waits.
                let _ = reply.send(troubles);
            }
        }
    }

    /// Notes where the outcome of a call goes.
    fn expect(&mut self, reply: Reply) -> CallId {
        let call = CallId(self.next_call);
        self.next_call += 1;
        self.replies.insert(call, reply);
        call
    }
}

impl<E: Env> Way<E> {
    /// What comes next; never, when there is no way.
    async fn next(&mut self) -> News<E> {
        match self {
            Way::None => std::future::pending().await,
            Way::Connecting(connecting) => {
                let connected: Result<Connection<E>, Trouble> = connecting.await;
                match connected {
                    Ok(open) => News::Connected(Box::new(open)),
                    Err(why) => News::Disconnected(Parting {
                        gone: Gone::Failed,
                        why,
                    }),
                }
            }
            Way::Open(connection) => match connection.next().await {
                Ok(text) => News::Message(text),
                Err(parting) => News::Disconnected(parting),
            },
        }
    }
}

/// Waits until `wake`; for ever if there is nothing to wake up for.
async fn wait_until<E: Env>(env: &E, wake: Option<Duration>) {
    match wake {
        Some(wake) => env.sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
