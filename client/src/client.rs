//! The client in the hands of a caller.

use crate::{
    AcquireError, AcquireRequest, Belief, CallError, ClientConfig, ConfigError, DRAWN_ID, Lock,
    SessionBelief, SessionCore, Trouble,
    core::{CoreUsage, LockId},
    shell::{self, Call},
};
use lockwright_engine::Name;
use lockwright_env::Env;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{mpsc, oneshot};

/// A session with a lock server. Clones share it; it is closed when it is told to, or when all
/// clones and all locks are dropped.
#[derive(Debug, Clone)]
pub struct Client<E: Env> {
    env: E,
    calls: mpsc::UnboundedSender<Call>,
    session: Arc<SessionBelief>,
    next_lock: Arc<AtomicU64>,
}

impl<E: Env> Client<E> {
    /// Starts a client. It connects in the background and goes on trying: what is asked meanwhile
    /// waits. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ConfigError`] when the settings make no sense.
    pub fn connect(env: E, config: ClientConfig) -> Result<Client<E>, ConfigError> {
        config.check()?;
        let (calls, called) = mpsc::unbounded_channel();
        let session = Arc::new(SessionBelief::default());
        let core = SessionCore::new(config, session.clone(), env.monotonic());
        tokio::spawn(shell::run(env.clone(), core, called));
        Ok(Client {
            env,
            calls,
            session,
            next_lock: Arc::new(AtomicU64::new(1)),
        })
    }

    /// Asks for locks and waits for the grant, for as long as the request says.
    ///
    /// # Errors
    /// [`AcquireError`] when there will be no grant.
    pub async fn acquire(&self, request: AcquireRequest) -> Result<Lock<E>, AcquireError> {
        let mut lock = self.request(request);
        lock.granted().await?;
        Ok(lock)
    }

    /// Asks for locks, and leaves it to the caller to wait: see [`Lock::next`].
    #[must_use]
    pub fn request(&self, request: AcquireRequest) -> Lock<E> {
        let lock = LockId(self.next_lock.fetch_add(1, Ordering::Relaxed));
        let id = request.id.clone().unwrap_or_else(|| drawn_id(lock));
        let belief = Arc::new(Belief::new(self.session.clone()));
        let (told, notices) = mpsc::unbounded_channel();
        // It fails when the client is closed, and then `notices` says so.
        let _ = self.calls.send(Call::Request {
            lock,
            id: id.clone(),
            request,
            belief: belief.clone(),
            told,
        });
        Lock {
            env: self.env.clone(),
            lock,
            id,
            token: None,
            belief,
            notices,
            calls: self.calls.clone(),
            over: false,
        }
    }

    /// How much the client has in hand; none when it is closed.
    pub async fn usage(&self) -> Option<CoreUsage> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(Call::Usage { reply }).ok()?;
        answer.await.ok()
    }

    /// The name of the session; none when there is none now, or the client is closed.
    pub async fn session(&self) -> Option<Name> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(Call::Session { reply }).ok()?;
        answer.await.ok().flatten()
    }

    /// Why servers gave no session when they were last tried, by address, for people; one that is
    /// being tried has not answered yet. None when the client is closed.
    pub async fn troubles(&self) -> Option<BTreeMap<String, Trouble>> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(Call::Troubles { reply }).ok()?;
        answer.await.ok()
    }

    /// Ends the session and all its locks. The client stops believing in them at once.
    ///
    /// # Errors
    /// [`CallError::Unanswered`] when the server cannot be reached within the call timeout.
    pub async fn close(&self) -> Result<(), CallError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.calls.send(Call::Close { reply });
        sent.map_err(|_| CallError::Closed)?;
        answer.await.unwrap_or(Err(CallError::Closed)).map(|_| ())
    }
}

/// An id for a request whose caller has chosen none.
fn drawn_id(lock: LockId) -> Name {
    Name::new(format!("{DRAWN_ID}{}", lock.0)).expect("a number is a name")
}
