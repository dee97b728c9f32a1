//! Where commands get their time and become history.

use crate::{
    Probe, ServerConfig, Storage,
    machine::{Machine, Outcome},
    proposal::{Action, Proposal},
    raft::{Completion, Node, Stopped},
    store::{Store, StoreError},
};
use lockwright_engine::{DurationMs, TimeMs, Token};
use lockwright_env::{Env, timeout};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::sync::watch;

/// How many tokens are set aside for each millisecond that the machine is up: more than an engine
/// can grant in that time.
const TOKENS_PER_MS: u64 = 1 << 16;

/// How long the file is given to be closed when the server stops.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// The first token of a server without a disk that starts when its machine has been up for
/// `uptime`.
///
/// A server that keeps nothing over a restart must still never give a token twice, nor a smaller
/// one after a larger one. It starts at the number of milliseconds of uptime times 2^16: what it
/// grants until it stops stays below what the next one on the same machine starts with, as long as
/// it grants fewer than 65,536 locks a millisecond on average. A reboot of the machine starts anew:
/// whoever needs tokens that increase over reboots needs a server with a disk.
#[must_use]
pub fn first_token(uptime: Duration) -> Token {
    let ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
    Token(ms.saturating_mul(TOKENS_PER_MS).max(1))
}

/// The replica and its clock.
///
/// [`propose`](Ledger::propose) is the seam at which a command stops being a wish and becomes
/// history: it gets its time there, and from there on only its place in the log counts. `C` is what
/// must be remembered of a proposal until it is done.
pub(crate) struct Ledger<E, C> {
    env: E,
    node: Node,
    probe: Arc<dyn Probe>,
    clock: LeaderClock,
    /// Proposals that have their time and are about to be made.
    outbox: VecDeque<(Proposal, C)>,
    /// Proposals that are made and not done.
    pending: VecDeque<(u64, C)>,
    next_deadline: Option<TimeMs>,
    snapshot_entries: u64,
    /// The last entry when a snapshot was asked for.
    snapshot_asked: u64,
    snapshot_is_due: bool,
}

impl<E: Env, C> Ledger<E, C> {
    /// Starts with what is stored, and leads.
    pub(crate) async fn start(env: E, config: &ServerConfig) -> Result<Ledger<E, C>, StoreError> {
        let (store, first_token) = match &config.storage {
            Storage::Memory => {
                // Waits for the next millisecond to begin, so that even a server that was started,
                // granted locks and was stopped within this one had smaller tokens.
                let start = whole_ms(env.monotonic()) + Duration::from_millis(1);
                env.sleep_until(start).await;
                (Store::in_memory()?, first_token(start))
            }
            Storage::Directory(path) => {
                let store = Store::open(&env, path, config.log_segment_bytes)?;
                (store, Token(1))
            }
        };
        let mut node = Node::start(store, config.probe.clone()).await?;
        let begin = Action::Begin {
            limits: config.limits.clone(),
            first_token,
        };
        let at = TimeMs::ZERO;
        let proposal = Proposal { at, action: begin };
        // When this is applied, so is all that was ever acknowledged.
        let begun = match node.propose(proposal).await {
            Ok(_) => node.completed().await.outcome,
            Err(stopped) => Err(stopped),
        };
        let begun = begun.map_err(|stopped| {
            let failure = node.store().failure().borrow().clone();
            failure.unwrap_or_else(|| StoreError::damaged(stopped.to_string()))
        })?;
        config.probe.leads(begun.at);
        let snapshot_index = node.snapshot_index();
        let mut ledger = Ledger {
            clock: LeaderClock::start(begun.at, env.monotonic()),
            env,
            probe: config.probe.clone(),
            outbox: VecDeque::new(),
            pending: VecDeque::new(),
            next_deadline: None,
            snapshot_entries: config.snapshot_entries,
            snapshot_asked: snapshot_index,
            snapshot_is_due: false,
            node,
        };
        ledger.note(&begun);
        Ok(ledger)
    }

    /// Gives an action the present time. It is made with the next [`flush`](Ledger::flush).
    pub(crate) fn propose(&mut self, action: Action, context: C) {
        let at = self.now();
        self.probe.stamped(at);
        self.outbox.push_back((Proposal { at, action }, context));
    }

    /// Makes the proposals that have got their time.
    pub(crate) async fn flush(&mut self) -> Result<(), Stopped> {
        while let Some((proposal, context)) = self.outbox.pop_front() {
            let number = self.node.propose(proposal).await?;
            self.pending.push_back((number, context));
        }
        if std::mem::take(&mut self.snapshot_is_due) {
            self.node.take_snapshot().await?;
        }
        Ok(())
    }

    /// The next proposal that is done: it is durable and applied. In the order in which they were
    /// made. Cancel safe.
    pub(crate) async fn completed(&mut self) -> Result<(C, Box<Outcome>), Stopped> {
        let completion = self.node.completed().await;
        self.take(completion)
    }

    /// The next proposal that is done, if there is one already.
    pub(crate) fn try_completed(&mut self) -> Result<Option<(C, Box<Outcome>)>, Stopped> {
        let completion = self.node.try_completed();
        completion.map(|one| self.take(one)).transpose()
    }

    fn take(&mut self, completion: Completion) -> Result<(C, Box<Outcome>), Stopped> {
        let outcome = completion.outcome?;
        let (number, context) = self.pending.pop_front().expect("it was proposed");
        assert_eq!(number, completion.number, "the log keeps our order");
        self.note(&outcome);
        Ok((context, outcome))
    }

    /// How many proposals are on their way.
    pub(crate) fn in_flight(&self) -> usize {
        self.pending.len() + self.outbox.len()
    }

    /// When something is due next, on the clock of the Env.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.next_deadline.map(|at| self.clock.when(at))
    }

    /// The present time of the engine's clock.
    pub(crate) fn now(&self) -> TimeMs {
        self.clock.shows(self.env.monotonic())
    }

    /// Looks at the state as it is now.
    pub(crate) fn with_machine<T>(&self, look: impl FnOnce(&Machine) -> T) -> T {
        self.node.with_machine(look)
    }

    /// The first failure to keep something, when there is one.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<StoreError>> {
        self.node.store().failure()
    }

    /// Stops the replica, and lets go of what is stored, so that another server can have it.
    pub(crate) async fn shutdown(self) {
        let store = self.node.store().clone();
        self.node.shutdown().await;
        // If something is stuck, whoever starts the next server is told that this one has it.
        let _ = timeout(&self.env, CLOSE_PATIENCE, store.closed()).await;
    }

    fn note(&mut self, outcome: &Outcome) {
        self.next_deadline = outcome.next_deadline;
        // A snapshot costs as much as the state is large: so each entry bears a bounded share.
        let enough = self.snapshot_entries.max(outcome.size);
        if outcome.index.saturating_sub(self.snapshot_asked) >= enough {
            self.snapshot_asked = outcome.index;
            self.snapshot_is_due = true;
        }
    }
}

/// The clock of a leader: it goes on from the last time that was applied, as fast as the clock of
/// the machine. So the time in which nobody led makes leases longer, and never shorter.
#[derive(Debug, Clone, Copy)]
struct LeaderClock {
    /// The engine's time when the leader began,
    began: TimeMs,
    /// and what the machine's clock showed then, in whole ms.
    machine: Duration,
}

impl LeaderClock {
    fn start(began: TimeMs, monotonic: Duration) -> LeaderClock {
        let machine = whole_ms(monotonic);
        LeaderClock { began, machine }
    }

    /// What it shows when the machine's clock shows `monotonic`. So a lease ends up to 1 ms before a
    /// clock that counts from the moment itself would say; clients take that into account.
    fn shows(&self, monotonic: Duration) -> TimeMs {
        let passed = monotonic.saturating_sub(self.machine);
        let passed = u64::try_from(passed.as_millis()).ok();
        let passed = passed.and_then(|ms| DurationMs::new(ms).ok());
        self.began
            .after(passed.expect("a machine is not up for 285,000 years"))
    }

    /// What the machine's clock shows when this one shows `at`.
    fn when(&self, at: TimeMs) -> Duration {
        self.machine + Duration::from_millis(at.since(self.began).as_ms())
    }
}

fn whole_ms(moment: Duration) -> Duration {
    Duration::from_millis(u64::try_from(moment.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_start_above_what_an_earlier_server_can_have_given() {
        assert_eq!(first_token(Duration::ZERO), Token(1));
        assert_eq!(first_token(Duration::from_micros(1999)), Token(1 << 16));
        assert_eq!(first_token(Duration::from_millis(3)), Token(3 << 16));
        assert_eq!(first_token(Duration::MAX), Token(u64::MAX));
    }

    #[test]
    fn a_leaders_time_goes_on_from_the_last_one_in_whole_milliseconds() {
        let began = TimeMs::new(1_000).unwrap();
        let clock = LeaderClock::start(began, Duration::from_nanos(7_999_999));
        assert_eq!(clock.shows(Duration::from_nanos(7_999_999)), began);
        assert_eq!(clock.shows(Duration::from_millis(8)).as_ms(), 1_001);
        assert_eq!(clock.shows(Duration::from_millis(3)), began, "never back");
        assert_eq!(
            clock.when(TimeMs::new(1_005).unwrap()),
            Duration::from_millis(12)
        );
        assert_eq!(
            clock.shows(clock.when(TimeMs::new(1_005).unwrap())).as_ms(),
            1_005
        );
    }
}
