//! `GET /v1/watch`: what happens to locks, a line of JSON for each event, as it happens.

use super::{
    body::Params,
    connection::Open,
    error::ApiError,
    namespace, path,
    view::{claim_views, owner_view},
};
use crate::{
    session_endpoint::Gate,
    sighting::{Sighting, Told},
};
use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures_util::{Stream, stream};
use lockwright_engine::{Claim, EventKind, LockKey, Name, Path};
use lockwright_env::Env;
use lockwright_protocol::Label;
use lockwright_protocol::http::{ErrorBody, WatchEvent, WatchLine};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, convert::Infallible, sync::Arc};
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// Requests that are known when watching begins, at most: each watcher keeps their claims. The end of
/// another one is told without its claims, to a watcher of everything; others are refused.
const KNOWN_MAX: usize = 100_000;

/// Requests that are looked at at once, so that no others wait for long.
const PAGE: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    namespace: Option<Name>,
    prefix: Option<String>,
}

pub(super) async fn watch<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Extension(open): Extension<Open>,
    Params(asked): Params<Asked>,
) -> Result<Response, ApiError> {
    let namespace = namespace(asked.namespace);
    let prefix = path(asked.prefix.as_deref().unwrap_or("/"))?;
    // First of all, so that nothing falls between what is known and what is seen.
    let events = gate.watch().ok_or_else(|| gate.unavailable())?;
    let (known, begins_after) = known(&gate, &namespace, &prefix).await?;
    let watcher = Watcher {
        namespace,
        prefix,
        known,
        begins_after,
        events,
        is_over: false,
        open,
    };
    let lines = Body::from_stream(watcher.lines());
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

/// What is known of a live request.
#[derive(Clone)]
struct Known {
    claims: Vec<Claim>,
    label: Option<Label>,
}

/// The live requests at and below a path, and what they claim, as of the last entry of the log of which they
/// have all that it did: they are in the order of their arrival, so those that come meanwhile are on the
/// last page. Some that have gone meanwhile may be among them.
async fn known<E: Env>(
    gate: &Gate<E>,
    namespace: &Name,
    prefix: &Path,
) -> Result<(BTreeMap<LockKey, Known>, u64), ApiError> {
    let mut known = BTreeMap::new();
    let mut from = None;
    loop {
        let (space, below) = (namespace.clone(), prefix.clone());
        let page = gate
            .look(move |machine, _| {
                let page = machine.engine().locks_under(&space, &below, from, PAGE);
                let locks = page.locks.into_iter().map(|lock| {
                    let label = machine.label(&lock.key).cloned();
                    let claims = lock.claims;
                    (lock.key, Known { claims, label })
                });
                let index = machine.digest().map_or(0, |(index, _)| index);
                (locks.collect::<Vec<_>>(), page.next, index)
            })
            .await?;
        known.extend(page.0);
        from = page.1;
        if from.is_none() {
            return Ok((known, page.2));
        }
        if known.len() >= KNOWN_MAX {
            if prefix.is_root() {
                return Ok((known, page.2));
            }
            let message = format!(
                "more than {KNOWN_MAX} requests live at and below `{prefix}`: watch a path with less \
                 below it, or everything"
            );
            let status = StatusCode::TOO_MANY_REQUESTS;
            return Err(ApiError::new(status, "limit_exceeded", message));
        }
    }
}

struct Watcher {
    namespace: Name,
    prefix: Path,
    /// The live requests that were seen.
    known: BTreeMap<LockKey, Known>,
    /// What was let happen by this entry of the log, or an earlier one, was before the watcher's time. It may
    /// be shown yet, since an entry is applied before it is told of.
    begins_after: u64,
    events: Receiver<Told>,
    is_over: bool,
    #[expect(dead_code, reason = "as long as it lives the connection is not idle")]
    open: Open,
}

impl Watcher {
    fn lines(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, |mut watcher| async move {
            let line = watcher.next().await?;
            Some((Ok(line), watcher))
        })
    }

    /// The next line; none when the server stops or this watcher was cut off.
    async fn next(&mut self) -> Option<Bytes> {
        while !self.is_over {
            match self.events.recv().await {
                Ok(Told::Sighting(sighting)) => {
                    if let Some(event) = self.see(&sighting) {
                        return Some(line(&event));
                    }
                }
                Err(RecvError::Closed) => self.is_over = true,
                Ok(Told::Missed) => {
                    self.is_over = true;
                    return Some(line(&ErrorBody {
                        error: "events_missed".to_owned(),
                        message: "this node was cut off, or has lost its leader for long, and does not know \
                                  what has happened meanwhile: begin anew"
                            .to_owned(),
                        ..ErrorBody::default()
                    }));
                }
                Err(RecvError::Lagged(missed)) => {
                    self.is_over = true;
                    return Some(line(&ErrorBody {
                        error: "slow_reader".to_owned(),
                        message: format!(
                            "{missed} events were missed, because they were read too slowly: \
                             watch less, or read faster, and begin anew"
                        ),
                        ..ErrorBody::default()
                    }));
                }
            }
        }
        None
    }

    /// What is told of an event, if it is below the prefix.
    fn see(&mut self, sighting: &Sighting) -> Option<WatchLine> {
        let lock = sighting.kind.lock()?;
        if lock.namespace != self.namespace {
            return None;
        }
        let current = sighting.lock.as_ref().map(|info| &info.claims);
        let current = current.filter(|claims| !claims.is_empty());
        // What was seen to arrive is known. What is there now may be another request, with the same id.
        let claims = match self.known.contains_key(lock) {
            true => sighting.arrived.as_ref(),
            false => sighting.arrived.as_ref().or(current),
        };
        let known = match (&sighting.kind, claims) {
            (EventKind::Ended { .. }, _) => self.known.remove(lock),
            (_, Some(claims)) => {
                let known = Known {
                    claims: claims.clone(),
                    label: sighting.label.clone(),
                };
                self.known.insert(lock.clone(), known.clone());
                Some(known)
            }
            _ => self.known.get(lock).cloned(),
        };
        let Known { claims, label } = known.unwrap_or(Known {
            claims: Vec::new(),
            label: None,
        });
        let is_below = |claim: &Claim| self.prefix.covers(&claim.path);
        if !claims.iter().any(is_below) && !self.prefix.is_root() {
            self.known.remove(lock);
            return None;
        }
        if sighting.index <= self.begins_after {
            return None;
        }
        let (event, token, expires, reason) = match &sighting.kind {
            EventKind::Queued { .. } => (WatchEvent::Queued, None, None, None),
            EventKind::Granted { token, expires, .. } => {
                (WatchEvent::Granted, Some(*token), *expires, None)
            }
            EventKind::Renewed { expires, .. } => (WatchEvent::Renewed, None, Some(*expires), None),
            EventKind::Ended { reason, .. } => (WatchEvent::Ended, None, None, Some(*reason)),
            EventKind::Session { .. } => return None,
        };
        Some(WatchLine {
            event,
            namespace: lock.namespace.clone(),
            id: lock.id.clone(),
            owner: owner_view(&lock.owner),
            label: label.map(String::from),
            claims: claim_views(&claims),
            token,
            lease_remaining_ms: expires.map(|expires| expires.since(sighting.at)),
            reason: reason.map(|reason| reason.to_string()),
        })
    }
}

fn line<T: Serialize>(event: &T) -> Bytes {
    let mut line = serde_json::to_vec(event).expect("these types can be written");
    line.push(b'\n');
    line.into()
}
