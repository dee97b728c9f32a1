//! Telling the server of ended requests that will not be asked for again, so that it forgets them.
//!
//! It remembers how each request of a session ended until the session does, in case the answer was lost.
//! Ids that a caller chose are left out: the caller may ask with one again, to learn how its request ended.

use super::{Ask, Link, SessionCore};
use crate::DRAWN_ID;
use lockwright_engine::Name;
use lockwright_protocol::DONE_IDS_MAX;
use std::{collections::BTreeSet, time::Duration};

/// So many are told of at once. Those that are fewer wait for the next sign of life.
pub const DONE_AT_ONCE: usize = 64;

/// Ids of requests whose ends were told to the caller.
#[derive(Debug, Default)]
pub(super) struct DoneIds {
    ids: Vec<Name>,
    /// Those for which something was still on the way when the server was last told.
    left: usize,
    /// The server does not know of this: it is older.
    is_unknown: bool,
}

impl DoneIds {
    /// For a new session, which may be another server's.
    pub(super) fn clear(&mut self) {
        *self = DoneIds::default();
    }

    /// The server refuses to be told.
    pub(super) fn stop(&mut self) {
        self.clear();
        self.is_unknown = true;
    }
}

impl SessionCore {
    /// The end of a request was told, and its caller cannot ask for it again.
    pub(super) fn done_with(&mut self, now: Duration, id: Name) {
        if self.done.is_unknown || !id.as_str().starts_with(DRAWN_ID) {
            return;
        }
        self.done.ids.push(id);
        if self.done.ids.len() >= self.done.left + DONE_AT_ONCE {
            self.tell_done(now);
        }
    }

    /// Tells the server; says whether there was something to tell.
    pub(super) fn tell_done(&mut self, now: Duration) -> bool {
        if !matches!(self.link, Link::Up) || self.closing.is_some() || self.done.ids.is_empty() {
            return false;
        }
        let on_the_way = self
            .unanswered
            .values()
            .filter_map(|pending| match &pending.ask {
                Ask::Cancel { id, .. } | Ask::Release { id, .. } | Ask::Renew { id, .. } => {
                    Some(id)
                }
                Ask::Acquire { .. } | Ask::Done { .. } | Ask::KeepAlive | Ask::Close { .. } => None,
            });
        // What is on the way may be sent again on another connection, and must find its request then.
        let on_the_way: BTreeSet<&Name> = on_the_way.collect();
        let ids = std::mem::take(&mut self.done.ids);
        let (left, ids): (Vec<Name>, Vec<Name>) =
            ids.into_iter().partition(|id| on_the_way.contains(id));
        self.done.left = left.len();
        self.done.ids = left;
        if ids.is_empty() {
            return false;
        }
        for ids in ids.chunks(DONE_IDS_MAX) {
            self.ask(now, Ask::Done { ids: ids.to_vec() });
        }
        true
    }
}
