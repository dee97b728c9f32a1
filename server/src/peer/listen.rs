//! Taking links.

use super::{
    dial::Link,
    hello::{self, Identity, Purpose},
};
use lockwright_env::{Env, Listener, sleep, timeout};
use std::{future::Future, time::Duration};
use tokio::{io::BufReader, sync::watch, task::JoinSet};
use tracing::{debug, warn};

/// How long a handshake may take.
const HELLO_PATIENCE: Duration = Duration::from_secs(3);

/// How long to wait after a link could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Links that may be open at once: a few for each other node.
const LINKS_MAX: usize = 256;

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
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            Some(_) = links.join_next() => continue,
            accepted = listener.accept(), if links.len() < LINKS_MAX => accepted,
        };
        match accepted {
            Ok(stream) => {
                links.spawn(serve(env.clone(), stream, identity.clone(), doors.clone()));
            }
            Err(error) => {
                warn!(%error, "a link could not be taken");
                sleep(&env, ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve<E: Env, D: Doors<E>>(env: E, stream: E::Stream, identity: Identity, doors: D) {
    let mut link = BufReader::new(stream);
    let answered = timeout(&env, HELLO_PATIENCE, hello::answer(&mut link, &identity)).await;
    match answered {
        Ok(Ok((from, Purpose::Raft))) => doors.raft(from, link).await,
        Ok(Ok((from, Purpose::Forward))) => doors.forward(from, link).await,
        Ok(Ok((_, Purpose::Look))) => {}
        Ok(Err(error)) => warn!(%error, "a link was refused"),
        Err(elapsed) => debug!(%elapsed, "a link said nothing"),
    }
}
