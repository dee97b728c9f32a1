//! Taking links.

use super::{
    dial::Link,
    hello::{self, Identity, Purpose},
};
use crate::secret::Guesses;
use lockwright_env::{Env, Listener, sleep, timeout};
use std::{collections::VecDeque, future::Future, io, time::Duration};
use tokio::{
    io::BufReader,
    sync::watch,
    task::{AbortHandle, JoinSet},
};
use tracing::{debug, warn};

/// How long a handshake may take.
const HELLO_PATIENCE: Duration = Duration::from_secs(3);

/// How long to wait after a link could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Links that may be open at once: a few for each other node.
const LINKS_MAX: usize = 256;

/// Handshakes that may be under way at once.
const HELLOS_MAX: usize = 64;

/// Where links lead.
pub(crate) trait Doors<E: Env>: Clone + Send + 'static {
    /// Serves calls of Raft.
    fn raft(self, from: u64, link: Link<E>) -> impl Future<Output = ()> + Send;

    /// Takes the proposals of another node.
    fn forward(self, from: u64, link: Link<E>) -> impl Future<Output = ()> + Send;
}

/// Takes links until it is told to stop, or nobody could tell it any more.
pub(crate) async fn listen<E: Env, D: Doors<E>>(
    env: E,
    mut listener: E::Listener,
    identity: Identity,
    doors: D,
    mut stop: watch::Receiver<bool>,
) {
    let mut links = JoinSet::new();
    let mut hellos = Hellos::new(env.clone(), identity);
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            Some(_) = links.join_next() => continue,
            Some(met) = hellos.next() => {
                if let Some(met) = met.filter(|_| links.len() < LINKS_MAX) {
                    links.spawn(serve(met, doors.clone()));
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(stream) => hellos.begin(stream),
            Err(error) => {
                warn!(%error, "a link could not be taken");
                sleep(&env, ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A link whose handshake is over: who has opened it, and what for.
type Met<E> = (u64, Purpose, Link<E>);

/// Handshakes that are under way. Whoever reaches this port can begin some, so the oldest gives way when
/// there are many: those of nodes take no longer than a message needs there and back.
struct Hellos<E: Env> {
    env: E,
    identity: Identity,
    guesses: Guesses,
    tasks: JoinSet<Option<Met<E>>>,
    begun: VecDeque<AbortHandle>,
}

impl<E: Env> Hellos<E> {
    fn new(env: E, identity: Identity) -> Hellos<E> {
        Hellos {
            env,
            identity,
            guesses: Guesses::new(),
            tasks: JoinSet::new(),
            begun: VecDeque::new(),
        }
    }

    fn begin(&mut self, stream: E::Stream) {
        self.begun.retain(|hello| !hello.is_finished());
        if self.begun.len() >= HELLOS_MAX
            && let Some(oldest) = self.begun.pop_front()
        {
            oldest.abort();
        }
        let (env, identity) = (self.env.clone(), self.identity.clone());
        let hello = meet(env, stream, identity, self.guesses.clone());
        self.begun.push_back(self.tasks.spawn(hello));
    }

    /// What one comes to; none when there are none. Cancel safe.
    async fn next(&mut self) -> Option<Option<Met<E>>> {
        let ended = self.tasks.join_next().await?;
        Some(ended.ok().flatten())
    }
}

async fn meet<E: Env>(
    env: E,
    stream: E::Stream,
    identity: Identity,
    guesses: Guesses,
) -> Option<Met<E>> {
    let mut link = BufReader::new(stream);
    let answered = timeout(&env, HELLO_PATIENCE, hello::answer(&mut link, &identity)).await;
    match answered {
        Ok(Ok((from, purpose))) => return Some((from, purpose, link)),
        Ok(Err(error)) => {
            let is_guess = error.kind() == io::ErrorKind::PermissionDenied;
            // Before the wait: a node whose secret is wrong learns of it in time.
            drop(link);
            if is_guess {
                guesses.wrong(&env, || {}).await;
            }
            warn!(%error, "a link was refused");
        }
        Err(elapsed) => debug!(%elapsed, "a link said nothing"),
    }
    None
}

async fn serve<E: Env, D: Doors<E>>((from, purpose, link): Met<E>, doors: D) {
    match purpose {
        Purpose::Raft => doors.raft(from, link).await,
        Purpose::Forward => doors.forward(from, link).await,
        Purpose::Look => {}
    }
}
