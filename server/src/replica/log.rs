//! What a server logs of its use, if it is to: each session's and each lock's life, and how much there
//! is to do.

use super::Replica;
use crate::{
    ServerConfig,
    call::in_one_word,
    connection::ConnectionId,
    machine::{Machine, Outcome},
    proposal::Action,
};
use lockwright_engine::{
    Claim, Event, EventKind, LockInfo, LockKey, LockState, SessionChange, SessionKey, TimeMs, Token,
};
use lockwright_env::Env;
use std::{collections::BTreeMap, time::Duration};
use tracing::{debug, info};

/// What is logged, and what must be known for that.
#[derive(Debug)]
pub(super) struct UsageLog {
    clients: bool,
    locks: bool,
    /// How often the use is logged.
    interval: Option<Duration>,
    /// When it is logged next, by the clock of the Env.
    next: Option<Duration>,
    /// The live requests; kept when locks or the use are logged.
    lives: BTreeMap<LockKey, Life>,
    /// Whether they are those of the machine.
    is_filled: bool,
    /// How many of them are held.
    held: usize,
    grants: u64,
    waits: u64,
}

/// A live request.
#[derive(Debug)]
struct Life {
    claims: Vec<Claim>,
    arrived_at: TimeMs,
    /// The token and the time of its grant, once it is held.
    held: Option<(Token, TimeMs)>,
}

impl From<LockInfo> for Life {
    fn from(lock: LockInfo) -> Life {
        Life {
            claims: lock.claims,
            arrived_at: lock.arrived_at,
            held: match lock.state {
                LockState::Held {
                    token, granted_at, ..
                } => Some((token, granted_at)),
                _ => None,
            },
        }
    }
}

impl UsageLog {
    /// Of a server that starts at `now`.
    pub(super) fn new(config: &ServerConfig, now: Duration) -> UsageLog {
        UsageLog {
            clients: config.log_clients,
            locks: config.log_locks,
            interval: config.stats_interval,
            next: UsageLog::after(config.stats_interval, now),
            lives: BTreeMap::new(),
            is_filled: false,
            held: 0,
            grants: 0,
            waits: 0,
        }
    }

    fn after(interval: Option<Duration>, now: Duration) -> Option<Duration> {
        interval.map(|interval| now.saturating_add(interval))
    }

    /// When something is to be logged next.
    pub(super) fn next(&self) -> Option<Duration> {
        self.next
    }

    fn follows_locks(&self) -> bool {
        self.locks || self.interval.is_some()
    }

    /// Begins anew with what there is.
    fn fill(&mut self, live: Vec<LockInfo>) {
        let lives = live.into_iter().map(|lock| (lock.key.clone(), lock.into()));
        self.lives = lives.collect();
        let held = self.lives.values().filter(|life| life.held.is_some());
        self.held = held.count();
        self.is_filled = true;
    }

    fn session(&self, session: &SessionKey, change: SessionChange) {
        let what = match change {
            SessionChange::Open => "a session begins",
            SessionChange::Ended => "a session has ended",
            SessionChange::Attached => "a session's connection has come back",
            SessionChange::Detached => "a session's connection has gone",
            SessionChange::Alive => return,
        };
        let is_life = matches!(change, SessionChange::Open | SessionChange::Ended);
        let SessionKey { namespace, session } = session;
        if self.clients && is_life {
            info!(%namespace, %session, "{what}");
        } else {
            debug!(%namespace, %session, "{what}");
        }
    }

    /// A request arrived, and claims this if it is not known.
    fn arrive(&mut self, lock: &LockKey, claims: &[Claim], at: TimeMs) -> &mut Life {
        self.lives.entry(lock.clone()).or_insert_with(|| Life {
            claims: claims.to_vec(),
            arrived_at: at,
            held: None,
        })
    }

    fn lock(&mut self, event: &Event, claims: &[Claim]) {
        let at = event.at;
        match &event.kind {
            EventKind::Queued { lock } => {
                self.waits += 1;
                self.arrive(lock, claims, at);
            }
            EventKind::Granted {
                lock,
                token,
                arrived_at,
                ..
            } => {
                self.grants += 1;
                let logs = self.locks;
                let life = self.arrive(lock, claims, *arrived_at);
                let is_new = life.held.replace((*token, at)).is_none();
                if logs {
                    let waited_ms = at.since(life.arrived_at).as_ms();
                    let (namespace, paths) = (&lock.namespace, in_words(&life.claims));
                    let (owner, token) = (in_one_word(&lock.owner), token.0);
                    info!(%namespace, owner, paths, token, waited_ms, "a lock is granted");
                }
                self.held += usize::from(is_new);
            }
            EventKind::Ended { lock, reason } => {
                let Some(life) = self.lives.remove(lock) else {
                    return;
                };
                self.held -= usize::from(life.held.is_some());
                if self.locks {
                    life.log_end(lock, reason.as_str(), at);
                }
            }
            EventKind::Renewed { .. } | EventKind::Session { .. } => {}
        }
    }
}

impl Life {
    fn log_end(&self, lock: &LockKey, reason: &str, at: TimeMs) {
        let (namespace, owner) = (&lock.namespace, in_one_word(&lock.owner));
        let paths = in_words(&self.claims);
        match self.held {
            Some((token, granted_at)) => {
                let (token, held_ms) = (token.0, at.since(granted_at).as_ms());
                info!(%namespace, owner, paths, token, held_ms, reason, "a lock has ended");
            }
            None => {
                let waited_ms = at.since(self.arrived_at).as_ms();
                info!(%namespace, owner, paths, waited_ms, reason, "a request has ended");
            }
        }
    }
}

impl<E: Env> Replica<E> {
    /// Logs what has happened.
    pub(super) fn log(&mut self, action: &Action, outcome: &Outcome) {
        let follows_locks = self.log.follows_locks();
        if follows_locks && !self.log.is_filled {
            // It has what this entry has done, too, and may have what is yet to be handed out.
            self.log.fill(self.ledger.with_machine(Machine::live));
        }
        let acquired = action.acquired();
        for event in &outcome.happened {
            if let EventKind::Session { session, change } = &event.kind {
                self.log.session(session, *change);
            }
            if !follows_locks {
                continue;
            }
            let of = event.kind.lock();
            let own = acquired.filter(|(lock, _)| of == Some(*lock));
            let claims = own.map_or(&[][..], |(_, claims)| claims);
            self.log.lock(event, claims);
        }
    }

    /// What was followed so far is of a state that is left behind.
    pub(super) fn log_begins_anew(&mut self) {
        self.log.is_filled = false;
    }

    /// Logs the use, if it is time to.
    pub(super) fn log_usage(&mut self) {
        // The clock is not looked at for nothing: this is done in each turn.
        let Some(next) = self.log.next else {
            return;
        };
        let now = self.env.monotonic();
        if now < next {
            return;
        }
        self.log.next = UsageLog::after(self.log.interval, now);
        if !self.log.is_filled {
            self.log.fill(self.ledger.with_machine(Machine::live));
        }
        info!(
            connections = self.switchboard.connections(),
            sessions = self.ledger.with_machine(Machine::usage).sessions,
            held = self.log.held,
            queued = self.log.lives.len() - self.log.held,
            grants = std::mem::take(&mut self.log.grants),
            waits = std::mem::take(&mut self.log.waits),
            "usage"
        );
    }

    pub(super) fn log_connection(&self, id: ConnectionId, what: &str) {
        let connections = self.switchboard.connections();
        debug!(connection = id.0, connections, "{what}");
    }
}

/// After so many bytes of claims the rest of them is only counted.
const CLAIMS_BYTES_MAX: usize = 1024;

/// Claims as people write them.
pub(crate) fn in_words(claims: &[Claim]) -> String {
    let mut text = String::new();
    for (place, claim) in claims.iter().enumerate() {
        if text.len() > CLAIMS_BYTES_MAX {
            return format!("{text} and {} more", claims.len() - place);
        }
        let comma = if place == 0 { "" } else { ", " };
        text = text + comma + &claim.to_string();
    }
    text
}
