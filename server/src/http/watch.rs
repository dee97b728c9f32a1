//! `GET /v1/watch`: what happens to locks, a line of JSON for each event, as it happens.

use super::{
    body::Params,
    connection::Open,
    error::ApiError,
    namespace, path,
    view::{claim_views, owner_view},
};
use crate::{
    machine::Machine,
    session_endpoint::Gate,
    sighting::{Sighting, Told, Watching},
};
use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, stream};
use lockwright_engine::{Claim, EventKind, LockKey, Name, Path};
use lockwright_env::Env;
use lockwright_protocol::http::{ErrorBody, WatchEvent, WatchLine};
use serde::{Deserialize, Serialize};
use std::{convert::Infallible, sync::Arc};
use tokio::sync::broadcast::{Receiver, error::RecvError};

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
    // First of all, so that nothing falls between what was before and what is seen.
    let (watching, events) = gate.watch().ok_or_else(|| gate.unavailable())?;
    open.goes_on();
    let applied = |machine: &Machine, _| machine.digest().map_or(0, |(index, _)| index);
    let watcher = Watcher {
        namespace,
        prefix,
        begins_after: gate.look(applied).await?,
        events,
        watching,
        is_over: false,
        open,
    };
    let lines = Body::from_stream(watcher.lines());
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

struct Watcher {
    namespace: Name,
    prefix: Path,
    /// What was let happen by this entry of the log, or an earlier one, was before the watcher's time. It may
    /// be shown yet, since an entry is applied before it is told of.
    begins_after: u64,
    events: Receiver<Told>,
    #[expect(
        dead_code,
        reason = "as long as it lives there is something to be told"
    )]
    watching: Watching,
    is_over: bool,
    open: Open,
}

impl Watcher {
    fn lines(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, |mut watcher| async move {
            let line = watcher.next().await?;
            Some((Ok(line), watcher))
        })
    }

    /// The next line; none when the server stops or this watcher was cut off. The connection is idle while this is
    /// not asked for and no bytes are taken: one that takes nothing is closed, as if it said nothing.
    async fn next(&mut self) -> Option<Bytes> {
        let _kept = self.open.keep();
        while !self.is_over {
            match self.events.recv().await {
                Ok(Told::Sighting(sighting)) => {
                    if self.is_meant(&sighting) {
                        let told = sighting.line.get_or_init(|| line(&view(&sighting)));
                        return Some(told.clone());
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

    /// Whether it is told of an event: one that is below the prefix, and since it began.
    fn is_meant(&self, sighting: &Sighting) -> bool {
        let is_below = |claim: &Claim| self.prefix.covers(&claim.path);
        let is_in_space = |lock: &LockKey| lock.namespace == self.namespace;
        sighting.index > self.begins_after
            && sighting.kind.lock().is_some_and(is_in_space)
            && sighting.claims.iter().any(is_below)
    }
}

/// How an event is told.
fn view(sighting: &Sighting) -> WatchLine {
    let lock = sighting.kind.lock();
    let lock = lock.expect("sightings are of locks");
    let (event, token, expires, reason) = match &sighting.kind {
        EventKind::Queued { .. } => (WatchEvent::Queued, None, None, None),
        EventKind::Granted { token, expires, .. } => {
            (WatchEvent::Granted, Some(*token), *expires, None)
        }
        EventKind::Renewed { expires, .. } => (WatchEvent::Renewed, None, Some(*expires), None),
        EventKind::Ended { reason, .. } => (WatchEvent::Ended, None, None, Some(*reason)),
        EventKind::Session { .. } => panic!("sightings are of locks"),
    };
    WatchLine {
        event,
        namespace: lock.namespace.clone(),
        id: lock.id.clone(),
        owner: owner_view(&lock.owner),
        label: sighting.label.clone().map(String::from),
        claims: claim_views(&sighting.claims),
        token,
        lease_remaining_ms: expires.map(|expires| expires.since(sighting.at)),
        reason: reason.map(|reason| reason.to_string()),
    }
}

fn line<T: Serialize>(event: &T) -> Bytes {
    let mut line = serde_json::to_vec(event).expect("these types can be written");
    line.push(b'\n');
    line.into()
}
