//! What the model does to the engine: steps, and the commands that they are.

use crate::book::{Book, Life};
use crate::instance::{ABANDON, Instance, LAG_MAX, duration};
use lockwright_engine::{Command, SessionKey, Token, Wait};

/// One thing that the model does. Ids, claims, leases, waits and clients are places in the lists
/// of the [`Instance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A millisecond passes, and nobody tells the engine.
    Pass,
    /// The engine is told the time.
    Tick,
    /// A request.
    Acquire {
        /// Which id.
        id: usize,
        /// Which claim set.
        claims: u8,
        /// Which lease.
        ttl: u8,
        /// Which way to wait.
        wait: u8,
    },
    /// Its owner gives up the queued request.
    Cancel(usize),
    /// Its owner releases the lock, with its token.
    Release(usize),
    /// Its owner renews the lock, with its token.
    Renew {
        /// Which id.
        id: usize,
        /// Which lease.
        ttl: u8,
    },
    /// An operator breaks the lock, with its token if it has one.
    Break(usize),
    /// The client opens its session.
    Open(usize),
    /// The client's connection is back.
    Attach(usize),
    /// The client's connection is gone.
    Detach(usize),
    /// The client gives a sign of life without a connection.
    KeepAlive(usize),
    /// The client closes its session.
    Close(usize),
    /// The session is done with this request of its own.
    Done(usize),
    /// Everything that must be refused or change nothing, one after the other; then everything that
    /// can be asked. It leads nowhere, unless a rule is broken.
    Probe,
}

/// A command before it has the engine's words. Tokens are those that are sent, true or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Tick,
    Acquire {
        id: usize,
        claims: u8,
        ttl: u8,
        wait: u8,
    },
    /// A request that makes no sense: without claims, or with a lease of nothing.
    Senseless {
        id: usize,
        claims: Option<u8>,
    },
    Cancel {
        id: usize,
    },
    Release {
        id: usize,
        token: u64,
    },
    Renew {
        id: usize,
        token: u64,
        ttl: Option<u64>,
    },
    Break {
        id: usize,
        token: Option<u64>,
    },
    Open {
        client: usize,
    },
    Attach {
        client: usize,
    },
    Detach {
        client: usize,
    },
    KeepAlive {
        client: usize,
    },
    Close {
        client: usize,
    },
    /// The session of a client is done with a request, and perhaps with another one.
    Done {
        client: usize,
        id: usize,
        and: Option<usize>,
    },
}

impl Step {
    /// What this step asks of the engine, in the state of `book`; nothing for a step that is not
    /// possible there or is no command.
    pub(crate) fn ask(self, instance: &Instance, book: &Book) -> Option<Ask> {
        let held = |id: usize| {
            book.requests[id]
                .token()
                .filter(|_| book.requests[id].is_held())
        };
        Some(match self {
            Step::Pass | Step::Probe => return None,
            Step::Tick => Ask::Tick,
            Step::Acquire {
                id,
                claims,
                ttl,
                wait,
            } => Ask::Acquire {
                id,
                claims,
                ttl,
                wait,
            },
            Step::Cancel(id) => Ask::Cancel { id },
            Step::Release(id) => Ask::Release {
                id,
                token: held(id)?,
            },
            Step::Renew { id, ttl } => Ask::Renew {
                id,
                token: held(id)?,
                ttl: instance.ttls[usize::from(ttl)],
            },
            Step::Break(id) => Ask::Break {
                id,
                token: held(id),
            },
            Step::Open(client) => Ask::Open { client },
            Step::Attach(client) => Ask::Attach { client },
            Step::Detach(client) => Ask::Detach { client },
            Step::KeepAlive(client) => Ask::KeepAlive { client },
            Step::Close(client) => Ask::Close { client },
            Step::Done(id) => Ask::Done {
                client: instance.client_of[id],
                id,
                and: None,
            },
        })
    }
}

impl Instance {
    /// The steps that can change something in a state.
    pub(crate) fn steps(&self, book: &Book, steps: &mut Vec<Step>) {
        if self.size.depth.is_some_and(|depth| book.steps >= depth) {
            return;
        }
        let lag = book.clock - book.told;
        if book.clock < self.size.ms && lag < LAG_MAX {
            steps.push(Step::Pass);
        }
        if lag > 0 {
            steps.push(Step::Tick);
        } else {
            steps.push(Step::Probe);
        }
        for client in 0..self.clients.len() {
            self.steps_of_client(book, client, steps);
        }
        for id in 0..self.locks.len() {
            match book.requests[id].life {
                Life::Unknown => {}
                Life::Ended { .. } if book.sessions[self.client_of[id]].is_some() => {
                    steps.push(Step::Done(id));
                }
                Life::Ended { .. } => {}
                Life::Queued { .. } => steps.extend([Step::Cancel(id), Step::Break(id)]),
                Life::Held { .. } => {
                    steps.extend([Step::Release(id), Step::Break(id)]);
                    let leases = (0u8..).zip(&self.ttls).filter(|(_, ttl)| ttl.is_some());
                    steps.extend(leases.map(|(ttl, _)| Step::Renew { id, ttl }));
                }
            }
        }
    }

    fn steps_of_client(&self, book: &Book, client: usize, steps: &mut Vec<Step>) {
        if self.clients[client].session.is_some() {
            match book.sessions[client] {
                None => steps.push(Step::Open(client)),
                Some(session) => {
                    steps.push(Step::Close(client));
                    if session.ends_at.is_some() {
                        steps.extend([Step::Attach(client), Step::KeepAlive(client)]);
                    } else {
                        steps.push(Step::Detach(client));
                    }
                }
            }
        }
        if usize::from(book.asked) == self.size.requests {
            return;
        }
        // Ids of one client differ in nothing but their names: the first free one stands for all.
        let free = |id: &usize| {
            self.client_of[*id] == client
                && (book.requests[*id].life == Life::Unknown
                    || book.is_forgotten_at(self, *id, book.clock))
        };
        let Some(id) = (0..self.locks.len())
            .find(free)
            .filter(|id| self.may_ask(book, *id))
        else {
            return;
        };
        for claims in (0u8..).take(self.claim_sets.len()) {
            for ttl in (0u8..).take(self.ttls.len()) {
                for wait in (0u8..).take(self.waits.len()) {
                    steps.push(Step::Acquire {
                        id,
                        claims,
                        ttl,
                        wait,
                    });
                }
            }
        }
    }

    /// The engine's command.
    pub(crate) fn command(&self, ask: Ask) -> Command {
        let lock = |id: usize| self.locks[id].clone();
        match ask {
            Ask::Tick => Command::Tick,
            Ask::Acquire {
                id,
                claims,
                ttl,
                wait,
            } => Command::Acquire {
                lock: lock(id),
                claims: self.claim_sets[usize::from(claims)].claims.clone(),
                ttl: self.ttls[usize::from(ttl)].map(duration),
                wait: self.waits[usize::from(wait)],
            },
            Ask::Senseless { id, claims } => Command::Acquire {
                lock: lock(id),
                claims: claims.map_or_else(Vec::new, |claims| {
                    self.claim_sets[usize::from(claims)].claims.clone()
                }),
                ttl: claims.map(|_| duration(0)),
                wait: Wait::Forever,
            },
            Ask::Cancel { id } => Command::Cancel { lock: lock(id) },
            Ask::Release { id, token } => Command::Release {
                lock: lock(id),
                token: Token(token),
            },
            Ask::Renew { id, token, ttl } => Command::Renew {
                lock: lock(id),
                token: Token(token),
                ttl: duration(ttl.unwrap_or(0)),
            },
            Ask::Break { id, token } => Command::Break {
                lock: lock(id),
                token: token.map(Token),
            },
            Ask::Open { client } => Command::OpenSession {
                session: self.session(client),
                abandon: duration(ABANDON),
            },
            Ask::Attach { client } => Command::Attach {
                session: self.session(client),
            },
            Ask::Detach { client } => Command::Detach {
                session: self.session(client),
            },
            Ask::KeepAlive { client } => Command::KeepAlive {
                session: self.session(client),
            },
            Ask::Close { client } => Command::CloseSession {
                session: self.session(client),
            },
            Ask::Done { client, id, and } => Command::Done {
                session: self.session(client),
                ids: and
                    .into_iter()
                    .chain([id])
                    .map(|id| self.locks[id].id.clone())
                    .collect(),
            },
        }
    }

    fn session(&self, client: usize) -> SessionKey {
        let session = self.clients[client].session.clone();
        session.unwrap_or_else(|| unreachable!("only clients with a session get such steps"))
    }
}
