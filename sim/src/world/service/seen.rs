//! What a server applies, as those must be told of it who break locks and end sessions.

use crate::{
    op::Text,
    oracle::service::{
        breaks::{Request, RequestKey, Seen},
        watch::Watched,
    },
};
use lockwright_engine::{Command, Event, EventKind, SessionChange, SessionKey};

/// What the events of a command mean; `watched` is what they mean to a watcher.
pub(super) fn seen(
    command: &Command,
    is_done: bool,
    events: &[Event],
    watched: &[Watched],
) -> Vec<Seen> {
    let mut seen = Vec::new();
    // What was due before is no part of it: then it would not be done.
    if let Command::CloseSession { session } = command
        && is_done
    {
        let (namespace, session) = named(session);
        seen.push(Seen::SessionCloses { namespace, session });
    }
    seen.extend(watched.iter().filter_map(of_request));
    for event in events {
        let EventKind::Session { session, change } = &event.kind else {
            continue;
        };
        let (namespace, session) = named(session);
        match change {
            SessionChange::Open => seen.push(Seen::SessionOpens { namespace, session }),
            SessionChange::Ended => seen.push(Seen::SessionOver { namespace, session }),
            _ => {}
        }
    }
    seen
}

fn named(session: &SessionKey) -> (Text, Text) {
    let SessionKey { namespace, session } = session;
    (namespace.clone().into(), session.clone().into())
}

fn of_request(watched: &Watched) -> Option<Seen> {
    let key = RequestKey {
        namespace: watched.namespace.clone(),
        owner: watched.owner.clone(),
        id: watched.id.clone(),
    };
    match &*watched.event {
        "queued" | "granted" => Some(Seen::Lives(Request {
            key,
            claims: watched.claims.clone(),
            token: watched.token,
        })),
        "ended" => Some(Seen::Ends {
            key,
            reason: watched.reason.clone().unwrap_or_default(),
        }),
        _ => None,
    }
}
