//! Requests of those who have no session: named holders and operators.

use crate::{
    machine::{EndedSession, InTheWay, Labelled, Machine},
    proposal::Action,
    replica::{Gone, Input},
    session_endpoint::Gate,
};
use lockwright_engine::{
    Claim, DurationMs, EndReason, LockKey, LockState, Owner, Refusal, TimeMs, Token, Wait,
};
use lockwright_env::Env;
use lockwright_protocol::Label;
use serde::Deserialize;
use std::net::IpAddr;
use tokio::sync::{mpsc, oneshot};

/// Names a caller within a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallerId(pub(crate) u64);

/// A request, and who waits for its answer.
pub(crate) struct Call {
    pub(crate) caller: CallerId,
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<CallAnswer>,
}

/// What is asked for.
pub(crate) enum Request {
    /// Locks, for a named holder. The answer comes when they are granted, or never will be.
    Acquire {
        lock: LockKey,
        claims: Vec<Claim>,
        ttl: Option<DurationMs>,
        wait: Wait,
        label: Option<Label>,
        /// Where the caller is, as far as that is known.
        from: Option<IpAddr>,
    },
    /// Something that is answered at once.
    Other(Action),
}

/// When a lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expiry {
    /// For how long it lasts at least.
    pub(crate) left: DurationMs,
    /// When that is by the clock on the wall, in ms since 1970: for display.
    pub(crate) unix_ms: u64,
}

/// What a call came to.
#[derive(Debug, Clone)]
pub(crate) enum CallAnswer {
    /// The locks are held.
    Granted {
        token: Token,
        waited: DurationMs,
        expiry: Option<Expiry>,
    },
    /// The request has ended.
    Ended {
        reason: EndReason,
        in_the_way: Option<Found>,
    },
    /// It was done, to these locks, which are told as they were before.
    Done {
        locks: Vec<Labelled>,
        /// Whether more is meant than was ended at once.
        more: bool,
        /// The session that was ended.
        ended_session: Option<EndedSession>,
        expiry: Option<Expiry>,
    },
    /// It was refused, and changed nothing.
    Refused {
        refusal: Refusal,
        in_the_way: Option<Found>,
    },
    /// Nothing can be done here now, and nothing was.
    NotTaken,
    /// The server stops and grants nothing new: nothing is locked.
    Stopping,
}

/// What a caller has to wait for, or finds instead of its lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Who holds the earliest lock that conflicts.
    pub(crate) held: Option<HeldBy>,
    /// How many live requests conflict and came before, up to a hundred.
    pub(crate) ahead: usize,
}

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldBy {
    pub(crate) owner: Owner,
    /// What people are told of it.
    pub(crate) label: Option<Label>,
    /// For how long it has been held.
    pub(crate) held: DurationMs,
    pub(crate) token: Token,
    /// What is left of its lease, if it has one.
    pub(crate) left: Option<DurationMs>,
}

impl Found {
    /// As seen at `now`.
    pub(crate) fn at(now: TimeMs, found: InTheWay) -> Found {
        Found {
            held: found.held.and_then(|lock| HeldBy::at(now, &lock)),
            ahead: found.ahead,
        }
    }
}

impl HeldBy {
    /// As seen at `now`; none if the lock is not held.
    pub(crate) fn at(now: TimeMs, Labelled { lock, label }: &Labelled) -> Option<HeldBy> {
        match lock.state {
            LockState::Held {
                token,
                granted_at,
                expires,
            } => Some(HeldBy {
                owner: lock.key.owner.clone(),
                label: label.clone(),
                held: now.since(granted_at),
                token,
                left: expires.map(|expires| expires.since(now)),
            }),
            _ => None,
        }
    }

    /// The holder for people: with its label, and since when.
    pub(crate) fn in_words(&self) -> String {
        let label = match &self.label {
            Some(label) => format!(" ({label})"),
            None => String::new(),
        };
        let held = self.held.as_ms();
        let since = match held {
            0..1000 => format!("{held} ms"),
            _ => format!("{} s", held / 1000),
        };
        format!("`{}`{label} for {since}", self.holder())
    }

    /// The owner in one word.
    pub(crate) fn holder(&self) -> String {
        in_one_word(&self.owner)
    }
}

/// What tells a session from a holder where an owner is shown in one word: no holder's name begins so.
pub(crate) const SESSION_PREFIX: &str = "session:";

/// An owner in one word: its name, or `session:` and the name of its session.
pub(crate) fn in_one_word(owner: &Owner) -> String {
    match owner {
        Owner::Named(name) => name.to_string(),
        Owner::Session(name) => format!("{SESSION_PREFIX}{name}"),
    }
}

/// The server stops, or knows of no majority: it may have done what it was asked to, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unavailable {
    /// False when it has not done it.
    pub(crate) done: Option<bool>,
    /// Where clients reach the leader, if it is another node that was heard of lately.
    pub(crate) leader: Option<String>,
    /// Whether that is because the server stops, and grants nothing new.
    pub(crate) stops: bool,
}

impl Unavailable {
    /// After something else was done for the same request.
    pub(crate) fn after_a_change(self) -> Unavailable {
        Unavailable { done: None, ..self }
    }
}

/// How present the state must be that is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Consistency {
    /// All that was answered to anybody before the read began.
    #[default]
    Linearizable,
    /// What this node knows, which may be of the past.
    Stale,
}

impl<E: Env> Gate<E> {
    /// Asks for locks, and waits until they are granted or never will be. Dropping the future gives
    /// the request up. With `is_known` the caller can ask again by the request's id, so that what
    /// was granted meanwhile is kept for it; without, no caller knows of it and it is ended too. What
    /// is granted to a caller that cannot ask again comes with a [`Receipt`], to be signed when the
    /// answer was delivered.
    pub(crate) async fn acquire(
        &self,
        request: Acquire,
        is_known: bool,
    ) -> Result<(CallAnswer, Option<Receipt>), Unavailable> {
        let Acquire {
            lock,
            claims,
            ttl,
            wait,
            label,
            from,
        } = request;
        let caller = self.next_caller();
        let receipt = Receipt {
            gone: self.gone(),
            notice: Some(Gone {
                caller,
                lock: lock.clone(),
                even_held: !is_known,
            }),
        };
        let request = Request::Acquire {
            lock,
            claims,
            ttl,
            wait,
            label,
            from,
        };
        let answer = self.ask(caller, request).await?;
        if !is_known && matches!(answer, CallAnswer::Granted { .. }) {
            return Ok((answer, Some(receipt)));
        }
        receipt.sign();
        Ok((answer, None))
    }

    /// Asks for something that is answered at once.
    pub(crate) async fn call(&self, action: Action) -> Result<CallAnswer, Unavailable> {
        self.ask(self.next_caller(), Request::Other(action)).await
    }

    /// Looks at the state of the present.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Machine, TimeMs) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.look_at(Consistency::Linearizable, look).await
    }

    /// Looks at the state.
    pub(crate) async fn look_at<T: Send + 'static>(
        &self,
        consistency: Consistency,
        look: impl FnOnce(&Machine, TimeMs) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |machine: &_, now| {
            // It fails when nobody waits for it any more.
            let _ = reply.send(look(machine, now));
        });
        let stale = consistency == Consistency::Stale;
        // Who only looks changes nothing.
        let unavailable = || Unavailable {
            done: Some(false),
            ..self.unavailable()
        };
        let sent = self.inputs().send(Input::Look { look, stale }).await;
        sent.map_err(|_| unavailable())?;
        answer.await.map_err(|_| unavailable())
    }

    async fn ask(&self, caller: CallerId, request: Request) -> Result<CallAnswer, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let call = Call {
            caller,
            request,
            reply,
        };
        let sent = self.inputs().send(Input::Called(call)).await;
        sent.map_err(|_| self.unavailable())?;
        match answer.await {
            Ok(CallAnswer::NotTaken) => Err(Unavailable {
                done: Some(false),
                ..self.unavailable()
            }),
            Ok(CallAnswer::Stopping) => Err(Unavailable {
                done: Some(false),
                stops: true,
                ..self.unavailable()
            }),
            Ok(answer) => Ok(answer),
            Err(_) => Err(self.unavailable()),
        }
    }
}

/// A request for locks.
pub(crate) struct Acquire {
    pub(crate) lock: LockKey,
    pub(crate) claims: Vec<Claim>,
    pub(crate) ttl: Option<DurationMs>,
    pub(crate) wait: Wait,
    pub(crate) label: Option<Label>,
    /// Where the caller is, as far as that is known.
    pub(crate) from: Option<IpAddr>,
}

/// Tells the replica that a caller has gone before it had its answer, unless it is signed.
#[derive(Debug)]
pub(crate) struct Receipt {
    gone: mpsc::UnboundedSender<Gone>,
    notice: Option<Gone>,
}

impl Receipt {
    /// The caller has its answer.
    pub(crate) fn sign(mut self) {
        self.notice = None;
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(notice) = self.notice.take() {
            // It fails when the replica has stopped, and gives up what waited when it starts again.
            let _ = self.gone.send(notice);
        }
    }
}
