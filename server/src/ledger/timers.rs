//! What a node does because time passes or enough has happened, and nobody asked for it.

use super::{Ledger, Route, Turn};
use crate::{
    machine::{Machine, Outcome},
    proposal::Action,
};
use lockwright_engine::{DurationMs, TimeMs};
use lockwright_env::Env;
use std::time::Duration;
use tracing::{error, warn};

/// The leader writes the time down after this many election timeouts at the latest, as long as
/// something is to happen at some time.
const TICK_FACTOR: u32 = 2;

/// The leader writes down how far all have come after so many entries.
const WITNESS_EVERY: u64 = 256;

/// How long what may be forgotten waits for a command with which it is, and for more of its kind: so it goes in
/// small parts after a burst, and memory goes back although nothing is asked for.
const FORGET_PAUSE: DurationMs = DurationMs::from_secs(1);

/// After this many election timeouts without progress a node cannot vouch for its connections.
const PATIENCE_FACTOR: u32 = 4;

impl<E: Env, C> Ledger<E, C> {
    /// Proposes the time.
    pub(super) fn tick(&mut self) {
        let is_held_back = self.retry_at > self.env.monotonic();
        if let (Route::Leading { .. }, false, false) = (&self.route, self.is_ticking, is_held_back)
        {
            self.is_ticking = true;
            self.decree(Action::Tick);
        }
    }

    /// When the time is written down though nothing is due: a leader that comes after this one goes
    /// on from there, and leases live longer by what was not written down.
    fn next_tick(&self) -> TimeMs {
        if self.node.is_alone() {
            return TimeMs::LATEST;
        }
        let applied = self.with_machine(|machine| machine.engine().now());
        let pause = TICK_FACTOR * self.timing.election_timeout;
        let pause = u64::try_from(pause.as_millis()).ok();
        let pause = pause.and_then(|ms| DurationMs::new(ms).ok());
        pause.map_or(TimeMs::LATEST, |pause| applied.after(pause))
    }

    /// When something is due in the engine next, and when it may forget something.
    pub(super) fn will_be_due(&mut self, deadline: Option<TimeMs>, forget: Option<TimeMs>) {
        self.next_deadline = deadline;
        self.next_forget = forget.map(|at| at.after(FORGET_PAUSE));
    }

    /// When the time is to be told to the engine next, as far as that depends on the engine.
    fn next_due(&self) -> Option<TimeMs> {
        let due = self.next_deadline.into_iter().chain(self.next_forget);
        due.min()
    }

    /// When to look at the clock again.
    pub(super) fn wake_at(&mut self) -> Option<Duration> {
        let mut wake = None;
        let mut at =
            |when: Duration| wake = Some(wake.map_or(when, |wake: Duration| wake.min(when)));
        if let (Route::Leading { .. }, Some(clock), Some(next), false) =
            (&self.route, &self.clock, self.next_due(), self.is_ticking)
        {
            at(clock.when(next.min(self.next_tick())).max(self.retry_at));
        }
        if self.node.is_alone() {
            return wake;
        }
        let has_way = match &self.route {
            Route::Leading { .. } => self.sent == self.pending.len(),
            Route::Following(_) | Route::Preparing { .. } => true,
            Route::None => false,
        };
        if !has_way {
            at(self.retry_at);
        }
        let patience = PATIENCE_FACTOR * self.timing.election_timeout;
        let oldest = self.pending.front().map(|one| one.since);
        if let Some(since) = oldest.filter(|_| self.is_joined) {
            at(since + patience);
        }
        if let Some(since) = self.reads_since {
            at(since + patience);
        }
        if self.reads.is_due() && self.reads_at > self.env.monotonic() {
            at(self.reads_at);
        }
        if let Route::Leading { .. } = self.route
            && let Some(when) = self.next_gone()
        {
            at(when);
        }
        wake
    }

    /// When the next node is taken for dead, unless it is heard of.
    fn next_gone(&mut self) -> Option<Duration> {
        let (now, me) = (self.env.monotonic(), self.node.id());
        let (followers, timeout) = (&mut self.followers, self.timing.node_timeout);
        self.node.with_machine(|machine| {
            let lives = lives_of_others(machine, me);
            lives
                .map(|(node, _)| followers.heard(node, now) + timeout)
                .min()
        })
    }

    pub(super) fn on_time(&mut self) -> Turn<C> {
        let now = self.env.monotonic();
        if self
            .next_due()
            .is_some_and(|next| next.min(self.next_tick()) <= self.now())
        {
            self.tick();
        }
        if self.node.is_alone() {
            return Turn::Nothing;
        }
        if matches!(self.route, Route::None) && self.retry_at <= now {
            self.retry_at = now + self.timing.heartbeat;
            self.find_route();
        }
        if let Route::Leading { .. } = self.route {
            self.bury(now);
        }
        let patience = PATIENCE_FACTOR * self.timing.election_timeout;
        if self
            .reads_since
            .is_some_and(|since| since + patience <= now)
        {
            self.reads.clear();
            self.reads_since = None;
        }
        let oldest = self.pending.front().map(|one| one.since);
        match oldest {
            Some(since) if self.is_joined && since + patience <= now => {
                self.void("nothing was agreed on for too long")
            }
            _ => Turn::Nothing,
        }
    }

    /// The connections of nodes that were not heard of do not count any more.
    fn bury(&mut self, now: Duration) {
        let me = self.node.id();
        let (followers, timeout) = (&mut self.followers, self.timing.node_timeout);
        let silent: Vec<(u64, u64)> = self.node.with_machine(|machine| {
            let lives = lives_of_others(machine, me);
            lives
                .filter(|(node, _)| followers.heard(*node, now) + timeout <= now)
                .collect()
        });
        for (node, incarnation) in silent {
            warn!(
                node,
                "a node was not heard of: its connections are taken for dead"
            );
            self.followers.hear(node, now);
            self.declare_gone(node, incarnation, false);
        }
    }

    /// The life of a node has ended; with `forget` it is none of the cluster either.
    fn declare_gone(&mut self, node: u64, incarnation: u64, forget: bool) {
        self.decree(Action::Gone {
            node,
            incarnation,
            forget,
        });
    }

    /// Leaves the other nodes alone, for a stop that waits for locks: their connections do not count any
    /// more, as if they had not been heard of for too long, and no link of theirs is taken again. So their
    /// clients come to this node, or wait until it is back.
    pub(crate) fn part_from_others(&mut self) {
        self.followers.close_all();
        let me = self.node.id();
        let others = |machine: &Machine| lives_of_others(machine, me).collect();
        let others: Vec<(u64, u64)> = self.node.with_machine(others);
        for (node, incarnation) in others {
            self.declare_gone(node, incarnation, false);
        }
    }

    /// Forgets the nodes that were removed, so that they may come back with another disk. A request to remove
    /// a node does so too, unless its leader dies or its caller goes between the two steps.
    pub(super) fn forget_removed(&mut self) {
        if self.node.is_alone() || !matches!(self.route, Route::Leading { .. }) {
            return;
        }
        let me = self.node.id();
        let known: Vec<_> = self.node.with_machine(|machine| machine.nodes().collect());
        for (node, record) in known {
            if node != me && self.node.member(node).is_none() {
                // By the time at which this counts it may be there again, in another life.
                let incarnation = record.life.map_or(0, |life| life.incarnation);
                self.declare_gone(node, incarnation, true);
            }
        }
    }

    /// Writes down how far this leader has come, and how far others have.
    fn witness(&mut self) {
        if let Some((index, digest)) = self.with_machine(Machine::digest) {
            let acknowledged = self.node.acknowledged();
            self.decree(Action::Witness {
                index,
                digest,
                acknowledged,
            });
        }
    }

    /// Tells all who has lost what it had acknowledged.
    fn distrust(&mut self) {
        while let Some((node, disk)) = self.node.take_lost() {
            let known = self.node.with_machine(|machine| machine.node(node));
            // It may have been removed since then, and have come back with another one.
            if known.is_some_and(|known| known.disk != disk) {
                continue;
            }
            error!(
                node,
                "a node has lost entries that it had acknowledged: it is shut out"
            );
            self.decree(Action::Distrust { node });
        }
    }

    pub(super) fn note(&mut self, outcome: &Outcome) {
        if let (Route::Leading { .. }, false) = (&self.route, self.node.is_alone()) {
            if outcome.index.saturating_sub(self.witnessed) >= WITNESS_EVERY {
                self.witnessed = outcome.index;
                self.witness();
            }
            self.distrust();
        }
        self.will_be_due(outcome.next_deadline, outcome.next_forget);
        // A snapshot costs as much as the state is large: so each entry bears a bounded share. Meanwhile the
        // log is kept in memory, too.
        let enough = match self.is_in_memory {
            true => self.snapshot_entries,
            false => self.snapshot_entries.max(outcome.size),
        };
        if outcome.index.saturating_sub(self.snapshot_asked) >= enough {
            self.snapshot_asked = outcome.index;
            self.snapshot_is_due = true;
        }
    }
}

/// The nodes other than this one whose connections count, with the life of each.
fn lives_of_others(machine: &Machine, me: u64) -> impl Iterator<Item = (u64, u64)> {
    let lives = machine.nodes();
    let lives = lives.filter_map(|(node, record)| Some((node, record.life?.incarnation)));
    lives.filter(move |(node, _)| *node != me)
}

/// Waits until something is due; for ever if nothing is.
pub(super) async fn due<E: Env>(env: &E, when: Option<Duration>) {
    match when {
        Some(when) => env.sleep_until(when).await,
        None => std::future::pending().await,
    }
}
