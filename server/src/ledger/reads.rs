//! Reads that see what there is, not what there was.
//!
//! A leader may have lost its term without knowing it. So before a read it asks a majority whether
//! it still leads; reads that come meanwhile are asked for together afterwards (Raft's `ReadIndex`,
//! section 6.4 of Ongaro's dissertation). Another node asks the leader, and waits until it has
//! applied as much.

use crate::replica::Look;
use lockwright_engine::TimeMs;
use std::{future::Future, pin::Pin};

/// Gives the index up to which a reader must have applied the log; none when this node does not
/// lead.
type Confirming = Pin<Box<dyn Future<Output = Option<u64>> + Send>>;

/// Reads on their way.
#[derive(Default)]
pub(super) struct Reads {
    waiting: Vec<Look>,
    /// Those of other nodes: node, link, and what the question was named.
    remote: Vec<(u64, u64, u64)>,
    asked: Option<Round>,
    ready: Vec<(u64, TimeMs, Look)>,
    next_id: u64,
}

/// Reads that were asked for together.
pub(super) struct Round {
    pub(super) id: u64,
    /// The leader's time before it was asked; none when another node leads.
    pub(super) at: Option<TimeMs>,
    own: Vec<Look>,
    pub(super) remote: Vec<(u64, u64, u64)>,
    confirming: Option<Confirming>,
}

impl Reads {
    pub(super) fn add(&mut self, look: Look) {
        self.waiting.push(look);
    }

    pub(super) fn add_remote(&mut self, node: u64, link: u64, id: u64) {
        self.remote.push((node, link, id));
    }

    /// Whether a round can begin.
    pub(super) fn is_due(&self) -> bool {
        self.asked.is_none() && !(self.waiting.is_empty() && self.remote.is_empty())
    }

    /// How many reads of this node are on their way.
    pub(super) fn count(&self) -> usize {
        let asked = self.asked.as_ref().map_or(0, |round| round.own.len());
        self.waiting.len() + asked + self.ready.len()
    }

    /// Asks for all that wait; gives the round's name.
    pub(super) fn begin(&mut self, at: Option<TimeMs>, confirming: Option<Confirming>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.asked = Some(Round {
            id,
            at,
            own: std::mem::take(&mut self.waiting),
            remote: std::mem::take(&mut self.remote),
            confirming,
        });
        id
    }

    /// Waits until it is known whether this node leads; for ever if nobody asks. Cancel safe.
    pub(super) async fn confirmed(&mut self) -> Option<u64> {
        match self
            .asked
            .as_mut()
            .and_then(|round| round.confirming.as_mut())
        {
            Some(confirming) => {
                let index = confirming.await;
                if let Some(round) = self.asked.as_mut() {
                    round.confirming = None;
                }
                index
            }
            None => std::future::pending().await,
        }
    }

    /// The round is over: who has applied the log up to `index` sees what there was at `at`.
    pub(super) fn end(&mut self, index: u64, at: TimeMs) -> Vec<(u64, u64, u64)> {
        let Some(round) = self.asked.take() else {
            return Vec::new();
        };
        let own = round.own.into_iter();
        self.ready.extend(own.map(|look| (index, at, look)));
        round.remote
    }

    /// What was asked for, if it is named so.
    pub(super) fn asked(&self) -> Option<&Round> {
        self.asked.as_ref()
    }

    /// Nobody answers: what was asked for waits again. Other nodes ask again themselves.
    pub(super) fn ask_again(&mut self) {
        if let Some(round) = self.asked.take() {
            self.waiting.extend(round.own);
        }
        self.remote.clear();
    }

    /// The reads that can be done by who has applied the log up to `index`, and the time of each.
    pub(super) fn take_ready(&mut self, index: u64) -> Vec<(TimeMs, Look)> {
        let (now, later) = std::mem::take(&mut self.ready)
            .into_iter()
            .partition(|(needed, _, _)| *needed <= index);
        self.ready = later;
        let now: Vec<(u64, TimeMs, Look)> = now;
        now.into_iter().map(|(_, at, look)| (at, look)).collect()
    }

    /// Drops them all: whoever waits is told by that.
    pub(super) fn clear(&mut self) {
        let next_id = self.next_id;
        let remote = std::mem::take(&mut self.remote);
        *self = Reads {
            next_id,
            remote,
            ..Reads::default()
        };
    }
}
