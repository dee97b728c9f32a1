//! What happens in a live run, as those who ask see it. Times are since the start of the run, on
//! the one monotonic clock that all of its processes share.

use lockwright_client::{Claim, Mode};
use std::fmt;
use std::time::Duration;

/// Names a request; unique in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u32);

impl RequestId {
    /// The id that `text` is the text of.
    #[must_use]
    pub fn read(text: &str) -> Option<RequestId> {
        text.strip_prefix('r')?.parse().ok().map(RequestId)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A client whose session outlives any fault of a run.
    Steady(usize),
    /// A client whose session ends when it is cut off for a while.
    Hasty(usize),
    /// Somebody without a session, over HTTP.
    Visitor(usize),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Steady(number) => write!(f, "steady client {number}"),
            Who::Hasty(number) => write!(f, "hasty client {number}"),
            Who::Visitor(number) => write!(f, "visitor {number}"),
        }
    }
}

/// How long a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Not at all.
    No,
    /// So many milliseconds.
    For(u64),
    /// For ever.
    Forever,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// By whom.
    pub who: Who,
    /// The claims.
    pub claims: Vec<Claim>,
    /// The lease in ms, if any.
    pub ttl_ms: Option<u64>,
    /// How long it waits.
    pub waits: Waits,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for claim in &self.claims {
            let mode = match claim.mode {
                Mode::Read => "r",
                Mode::Write => "w",
            };
            write!(f, "[{mode} {}]", claim.path)?;
        }
        if let Some(ttl) = self.ttl_ms {
            write!(f, " for {ttl} ms")?;
        }
        match self.waits {
            Waits::No => f.write_str(", not waiting"),
            Waits::For(ms) => write!(f, ", waiting {ms} ms"),
            Waits::Forever => Ok(()),
        }
    }
}

/// What is asked about a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Its end.
    Release,
    /// The end of a request that waits.
    Cancel,
    /// Another lease, of so many ms.
    Renew(u64),
    /// Nothing: nobody wants it any more, and the client gives it back by itself.
    Leave,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Release => f.write_str("release"),
            Call::Cancel => f.write_str("cancel"),
            Call::Renew(ttl) => write!(f, "renew for {ttl} ms"),
            Call::Leave => f.write_str("leave"),
        }
    }
}

/// How a request is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was refused since it would have had to wait.
    Busy,
    /// It was released.
    Released,
    /// It was cancelled.
    Cancelled,
    /// It waited in vain.
    TimedOut,
    /// Its lease ran out, says the server.
    Expired,
    /// The server does not know it, or its session, any more.
    Gone(String),
    /// The client has counted its lease down.
    LeaseOver,
    /// The client has not heard of the server for too long.
    OutOfTouch,
    /// Something that nothing in a run should lead to.
    Strange(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Busy => f.write_str("busy"),
            End::Released => f.write_str("released"),
            End::Cancelled => f.write_str("cancelled"),
            End::TimedOut => f.write_str("timed out"),
            End::Expired => f.write_str("expired"),
            End::Gone(why) => write!(f, "gone: {why}"),
            End::LeaseOver => f.write_str("its lease has run out, by the client's count"),
            End::OutOfTouch => f.write_str("out of touch"),
            End::Strange(what) => f.write_str(what),
        }
    }
}

/// A lock as a list of them shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// The request.
    pub id: RequestId,
    /// Its token, when it is held; otherwise it waits.
    pub token: Option<u64>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A request is made: nothing of it is on its way yet.
    Asked {
        /// Which.
        id: RequestId,
        /// For what.
        wanted: Wanted,
    },
    /// It is told that it waits.
    Queued {
        /// Which.
        id: RequestId,
    },
    /// It is told that it is held.
    Granted {
        /// Which.
        id: RequestId,
        /// Its token.
        token: u64,
    },
    /// Its client believed in it, at least from one look to another.
    Believed {
        /// Which.
        id: RequestId,
        /// The first look after the grant, right after it.
        from: Duration,
        /// The last look at which it was believed, right before it.
        until: Duration,
    },
    /// Something is asked about it: nothing of that is on its way yet.
    Calls {
        /// Which.
        id: RequestId,
        /// What.
        call: Call,
    },
    /// That is answered.
    Answered {
        /// Which.
        id: RequestId,
        /// What was asked.
        call: Call,
        /// Why it was not done.
        error: Option<String>,
    },
    /// It is told that it is over.
    Over {
        /// Which.
        id: RequestId,
        /// How.
        end: End,
        /// Until when its client would have gone on to believe in it.
        believed_until: Option<Duration>,
    },
    /// All live locks, as a server tells of them.
    List {
        /// When it was asked.
        asked: Duration,
        /// What it says.
        locks: Vec<Listed>,
    },
    /// A fault begins or ends.
    Fault {
        /// Which.
        what: String,
    },
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Happening::Asked { id, wanted } => {
                write!(f, "{id}: {} asks for {wanted}", wanted.who)
            }
            Happening::Queued { id } => write!(f, "{id} waits"),
            Happening::Granted { id, token } => write!(f, "{id} is granted: token {token}"),
            Happening::Believed { id, from, until } => {
                write!(f, "{id} was believed from {from:?} to {until:?}")
            }
            Happening::Calls { id, call } => write!(f, "{id} calls {call}"),
            Happening::Answered {
                id,
                call,
                error: None,
            } => write!(f, "{id} is answered: {call} done"),
            Happening::Answered {
                id,
                call,
                error: Some(error),
            } => write!(f, "{id} is answered: {call}: {error}"),
            Happening::Over { id, end, .. } => write!(f, "{id} is over: {end}"),
            Happening::List { asked, locks } => {
                write!(f, "a list that was asked for at {asked:?}:")?;
                for lock in locks {
                    match lock.token {
                        Some(token) => write!(f, " {}={token}", lock.id)?,
                        None => write!(f, " {}", lock.id)?,
                    }
                }
                Ok(())
            }
            Happening::Fault { what } => f.write_str(what),
        }
    }
}
