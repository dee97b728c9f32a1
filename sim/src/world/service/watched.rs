//! What can be watched of what a server applies.

use super::applied::claim_of;
use crate::{
    op::{OpClaim, Text},
    oracle::service::watch::{OwnerKind, Watched, uncovered},
};
use lockwright_engine::{Command, Event, EventKind, LockKey, Owner, TimeMs};
use std::collections::BTreeMap;

/// The claims of the requests that live.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<LockKey, Vec<OpClaim>>);

impl Claims {
    /// The server has forgotten them all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What a watcher of everything is told of these events of a command.
    pub(super) fn watched(&mut self, command: &Command, events: &[Event]) -> Vec<Watched> {
        let mut watched = Vec::new();
        for event in events {
            let Some(lock) = event.kind.lock() else {
                continue;
            };
            if let Command::Acquire {
                lock: asked,
                claims,
                ..
            } = command
                && asked == lock
                && !self.0.contains_key(lock)
                && !matches!(event.kind, EventKind::Ended { .. })
            {
                let claims: Vec<OpClaim> = claims.iter().map(claim_of).collect();
                self.0.insert(lock.clone(), uncovered(&claims));
            }
            let claims = match event.kind {
                EventKind::Ended { .. } => self.0.remove(lock),
                _ => self.0.get(lock).cloned(),
            };
            // Those that are not known were not seen to arrive, which other oracles judge.
            watched.extend(claims.and_then(|claims| told(event, lock, claims)));
        }
        watched
    }
}

fn told(event: &Event, lock: &LockKey, claims: Vec<OpClaim>) -> Option<Watched> {
    let left = |expires: TimeMs| expires.since(event.at).as_ms();
    let (name, token, lease_ms, reason) = match &event.kind {
        EventKind::Queued { .. } => ("queued", None, None, None),
        EventKind::Granted { token, expires, .. } => {
            ("granted", Some(token.0), expires.map(left), None)
        }
        EventKind::Renewed { expires, .. } => ("renewed", None, Some(left(*expires)), None),
        EventKind::Ended { reason, .. } => ("ended", None, None, Some(reason.to_string())),
        EventKind::Session { .. } => return None,
    };
    let owner = match &lock.owner {
        Owner::Named(name) => (OwnerKind::Holder, name.clone().into()),
        Owner::Session(name) => (OwnerKind::Session, name.clone().into()),
    };
    Some(Watched {
        event: name.into(),
        namespace: lock.namespace.clone().into(),
        owner,
        id: lock.id.clone().into(),
        claims,
        token,
        lease_ms,
        reason: reason.map(Text::from),
    })
}
