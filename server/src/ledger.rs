//! Where commands get their time and become history.
//!
//! A node's proposals wait here, in order, until the node has applied them. While another node leads
//! they go to it over a link (`forward`); while this node leads it gives them their time itself,
//! and those of other nodes too. When who leads changes, or a link breaks, all that was not applied
//! yet is sent again: what comes twice is applied once ([`Origin`]).
//!
//! `route` finds the way of proposals, `followers` has the links of other nodes to this one while it
//! leads, `applied` takes what the log says, `reading` and `reads` see to it that nobody reads what is
//! not true any more, `timers` does what nobody asked for, `clock` is the cluster's time.

mod applied;
mod clock;
mod followers;
mod reading;
mod reads;
mod route;
mod timers;

use crate::{
    Probe, ServerConfig, Storage,
    forward::{Forwarder, groups},
    machine::{Machine, Outcome},
    peer::Dialer,
    proposal::{Action, Origin, Proposal},
    raft::{Leadership, Maker, Members, Node, NodeEvent, RaftDoor, Readiness, Stopped},
    readiness::{Notes, Told, Way},
    sighting::Watchers,
    store::{Store, StoreError},
};
use clock::{ClusterClock, whole_ms};
use followers::Followers;
use lockwright_engine::{DurationMs, Limits, TimeMs, Token};
use lockwright_env::{Env, timeout};
use reads::Reads;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::sync::watch;
use tracing::{info, warn};

/// How many tokens are set aside for each millisecond that the machine is up: more than an engine
/// can grant in that time.
const TOKENS_PER_MS: u64 = 1 << 16;

/// How long the file is given to be closed when the server stops.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// The first token of a server that starts with nothing, in memory or in a directory, when its
/// machine has been up for `uptime`.
///
/// A server that keeps nothing over a restart must still never give a token twice, nor a smaller
/// one after a larger one. It starts at the number of milliseconds of uptime times 2^16: what it
/// grants until it stops stays below what the next one on the same machine starts with, as long as
/// it grants fewer than 65,536 locks a millisecond on average. A reboot of the machine starts anew:
/// tokens that increase over reboots need a server with a disk. A directory goes on from here at each start
/// if its own tokens are smaller, and so above those of a server that kept its state in memory on the same
/// machine. The nodes of a cluster are on machines of different uptimes: its first token is 1.
#[must_use]
pub fn first_token(uptime: Duration) -> Token {
    let ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
    Token(ms.saturating_mul(TOKENS_PER_MS).max(1))
}

/// The replica, its clock, and what it wants to become history. `C` is what must be remembered of a
/// proposal until it is applied.
pub(crate) struct Ledger<E: Env, C> {
    env: E,
    node: Node,
    probe: Arc<dyn Probe>,
    dialer: Option<Dialer<E>>,
    timing: Timing,
    limits: Limits,
    first_token: Token,
    /// This life: drawn at random, so that no other has it.
    incarnation: u64,
    next_number: u64,
    /// Whether the life has begun: proposals of connections count.
    is_joined: bool,
    /// What is not applied yet, in order.
    pending: VecDeque<Pending<C>>,
    /// How many of them are on their way.
    sent: usize,
    /// Proposals that have their time and are about to be made.
    outbox: VecDeque<(Proposal, Maker)>,
    route: Route,
    /// When to look for a way to the leader, if there is none.
    retry_at: Duration,
    clock: Option<ClusterClock>,
    followers: Followers,
    reads: Reads,
    /// Since when a read waits.
    reads_since: Option<Duration>,
    /// Reads are not asked for before.
    reads_at: Duration,
    next_deadline: Option<TimeMs>,
    /// When what may be forgotten is, though nothing is asked for.
    next_forget: Option<TimeMs>,
    /// Whether the time was proposed and is not yet applied.
    is_ticking: bool,
    snapshot_entries: u64,
    /// Whether a snapshot is only the end of the log so far, and takes no time.
    is_in_memory: bool,
    /// The last entry when a snapshot was asked for.
    snapshot_asked: u64,
    snapshot_is_due: bool,
    /// The last entry when it was written down how far all have come.
    witnessed: u64,
    /// What was logged last of who leads.
    logged: Leadership,
}

/// How patient a node is.
#[derive(Debug, Clone, Copy)]
struct Timing {
    heartbeat: Duration,
    election_timeout: Duration,
    node_timeout: Duration,
}

/// A proposal of this node that is not applied yet.
struct Pending<C> {
    number: u64,
    action: Arc<Action>,
    context: Option<C>,
    since: Duration,
}

/// The way of a proposal into the log.
enum Route {
    /// Nobody is known to lead.
    None,
    /// This node leads in this term, and has not applied yet that it does.
    Preparing { term: u64 },
    /// This node leads.
    Leading { term: u64 },
    /// Another node leads.
    Following(Forwarder),
}

/// What the ledger has to say.
pub(crate) enum Turn<C> {
    /// An entry of the log was applied.
    Applied {
        /// What it is.
        proposal: Arc<Proposal>,
        /// What was to be remembered of it, if it is of this node and of this life.
        context: Option<C>,
        /// What it came to.
        outcome: Box<Outcome>,
    },
    /// The node cannot vouch for its connections any more: a new life begins, and what was
    /// proposed in the old one is forgotten, though it may have been done.
    Void,
    /// Nothing.
    Nothing,
}

impl<E: Env, C> Ledger<E, C> {
    /// Starts with what is stored. A server that is alone leads when this has returned.
    pub(crate) async fn start(env: E, config: &ServerConfig) -> Result<Ledger<E, C>, StoreError> {
        let store = match &config.storage {
            Storage::Memory => Store::in_memory()?,
            Storage::Directory(path) => Store::open(&env, path, config.log_segment_bytes)?,
        };
        let first_token = match config.cluster {
            Some(_) => Token(1),
            None => {
                // Waits for the next millisecond to begin, so that even a server that was started,
                // granted locks and was stopped within this one had smaller tokens.
                let start = whole_ms(env.monotonic()) + Duration::from_millis(1);
                env.sleep_until(start).await;
                first_token(start)
            }
        };
        let (node, dialer) = Node::start(&env, store, config).await?;
        let snapshot_index = node.snapshot_index();
        let cluster = config.cluster.as_ref();
        let timing = Timing {
            heartbeat: cluster.map_or(Duration::MAX, |cluster| cluster.heartbeat),
            election_timeout: cluster.map_or(Duration::MAX, |cluster| cluster.election_timeout),
            node_timeout: cluster.map_or(Duration::MAX, |cluster| cluster.node_timeout),
        };
        let mut ledger = Ledger {
            node,
            probe: config.probe.clone(),
            dialer,
            timing,
            limits: config.limits.clone(),
            first_token,
            incarnation: 0,
            next_number: 0,
            is_joined: false,
            pending: VecDeque::new(),
            sent: 0,
            outbox: VecDeque::new(),
            route: Route::None,
            retry_at: env.monotonic(),
            clock: None,
            followers: Followers::default(),
            reads: Reads::default(),
            reads_since: None,
            reads_at: Duration::ZERO,
            next_deadline: None,
            next_forget: None,
            is_ticking: false,
            snapshot_entries: config.snapshot_entries,
            is_in_memory: config.storage == Storage::Memory,
            snapshot_asked: snapshot_index,
            snapshot_is_due: false,
            witnessed: snapshot_index,
            logged: Leadership::default(),
            env,
        };
        ledger.begin_life();
        ledger.find_route();
        Ok(ledger)
    }

    /// Goes on until the life has begun.
    pub(crate) async fn join(&mut self) -> Result<(), StoreError> {
        while !self.is_joined {
            let turned = match self.flush().await {
                Ok(()) => self.turn().await.map(drop),
                Err(stopped) => Err(stopped),
            };
            turned.map_err(|stopped| {
                let failure = self.failure().borrow().clone();
                failure.unwrap_or_else(|| StoreError::damaged(stopped.to_string()))
            })?;
        }
        Ok(())
    }

    /// Whether the life has begun. Before, nothing is done for connections.
    pub(crate) fn is_joined(&self) -> bool {
        self.is_joined
    }

    /// Proposes an action. It is sent with the next [`flush`](Ledger::flush).
    pub(crate) fn propose(&mut self, action: Action, context: C) {
        self.push(action, Some(context));
    }

    fn push(&mut self, action: Action, context: Option<C>) {
        let number = self.next_number;
        self.next_number += 1;
        self.pending.push_back(Pending {
            number,
            action: Arc::new(action),
            context,
            since: self.env.monotonic(),
        });
    }

    /// Sends what is to be proposed.
    pub(crate) async fn flush(&mut self) -> Result<(), Stopped> {
        self.send_pending();
        self.begin_reads();
        while let Some((proposal, maker)) = self.outbox.pop_front() {
            self.node.propose(proposal, maker).await?;
        }
        if std::mem::take(&mut self.snapshot_is_due) {
            self.node.take_snapshot().await?;
        }
        self.tell();
        Ok(())
    }

    /// Writes down what this node waits for.
    fn tell(&self) {
        let way = match &self.route {
            Route::None => Way::None,
            Route::Preparing { .. } => Way::Preparing,
            Route::Leading { .. } => Way::Leading,
            Route::Following(forwarder) => Way::Following {
                leader: forwarder.leader,
                is_welcome: forwarder.is_welcome,
            },
        };
        self.node.notes().tell(Told {
            way,
            is_joined: self.is_joined,
            oldest: self.pending.front().map(|one| one.since),
            knows_leader: self.node.leadership().leader.is_some(),
        });
    }

    fn send_pending(&mut self) {
        let unsent = self.sent..self.pending.len();
        match &self.route {
            Route::Leading { term } if self.retry_at <= self.env.monotonic() => {
                let term = *term;
                let now = self.now();
                for place in unsent {
                    let origin = Some(self.origin(self.pending[place].number));
                    let action = self.pending[place].action.clone();
                    self.stamp(now, term, origin, action, Maker::Own);
                }
            }
            Route::Following(forwarder) if forwarder.is_welcome => {
                let pending = self.pending.range(unsent);
                let proposals = pending.map(|one| (self.origin(one.number), one.action.clone()));
                groups(proposals).for_each(|group| forwarder.say(group));
            }
            _ => return,
        }
        self.sent = self.pending.len();
    }

    fn origin(&self, number: u64) -> Origin {
        Origin {
            node: self.node.id(),
            incarnation: self.incarnation,
            number,
        }
    }

    /// Gives a proposal the time of this leader.
    fn stamp(
        &mut self,
        at: TimeMs,
        term: u64,
        origin: Option<Origin>,
        action: Arc<Action>,
        maker: Maker,
    ) {
        self.probe.stamped(at);
        let proposal = Proposal {
            at,
            term,
            origin,
            action,
        };
        self.outbox.push_back((proposal, maker));
    }

    /// Proposes something as the leader, which nobody asked for. Does nothing if another node leads.
    fn decree(&mut self, action: Action) {
        if let Route::Leading { term } = self.route {
            let at = self.now();
            self.stamp(at, term, None, Arc::new(action), Maker::Own);
        }
    }

    /// What happens next. Cancel safe.
    pub(crate) async fn turn(&mut self) -> Result<Turn<C>, Stopped> {
        let wake = self.wake_at();
        let hearing = async {
            match &mut self.route {
                Route::Following(forwarder) => forwarder.hear().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            event = self.node.happening() => match event? {
                NodeEvent::News(news) => Ok(self.applied(news)),
                NodeEvent::Refused(maker) => {
                    self.refused(maker);
                    Ok(Turn::Nothing)
                }
                NodeEvent::Leadership => {
                    self.find_route();
                    self.forget_removed();
                    Ok(Turn::Nothing)
                }
            },
            heard = hearing => {
                self.hear_leader(heard);
                Ok(Turn::Nothing)
            }
            index = self.reads.confirmed() => {
                self.confirmed(index);
                Ok(Turn::Nothing)
            }
            () = timers::due(&self.env, wake) => Ok(self.on_time()),
        }
    }

    /// What has happened already.
    pub(crate) fn try_turn(&mut self) -> Option<Turn<C>> {
        let news = self.node.try_news()?;
        Some(self.applied(news))
    }

    /// How many proposals and reads of this node are on their way.
    pub(crate) fn in_flight(&self) -> usize {
        self.pending.len() + self.reads.count()
    }

    /// The present time of the cluster, or one that is not before it.
    pub(crate) fn now(&self) -> TimeMs {
        let applied = self.node.with_machine(|machine| machine.engine().now());
        let clock = self.clock.map(|clock| clock.shows(self.env.monotonic()));
        clock.map_or(applied, |now| now.max(applied))
    }

    /// For how long a lease that ends at `expires` lasts at least, from now on.
    pub(crate) fn left(&self, expires: TimeMs) -> DurationMs {
        match self.clock {
            Some(clock) => clock.left(expires, self.env.monotonic()),
            // By the time of the last command, which was up to 1 ms later than it says.
            None => {
                let applied = self.node.with_machine(|machine| machine.engine().now());
                let left = expires.since(applied).as_ms().saturating_sub(1);
                DurationMs::new(left).expect("less than what there was")
            }
        }
    }

    /// Looks at the state as it is now.
    pub(crate) fn with_machine<T>(&self, look: impl FnOnce(&Machine) -> T) -> T {
        self.node.with_machine(look)
    }

    /// The first failure to keep something, when there is one.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<StoreError>> {
        self.node.store().failure()
    }

    /// Those who are told of all that happens.
    pub(crate) fn watchers(&self) -> Watchers {
        self.node.watchers().clone()
    }

    /// Serves the calls of other replicas.
    pub(crate) fn door(&self) -> RaftDoor {
        self.node.door()
    }

    /// The nodes of the cluster.
    pub(crate) fn members(&self) -> Members {
        self.node.members()
    }

    /// What this node waits for.
    pub(crate) fn readiness(&self) -> Readiness {
        self.node.readiness()
    }

    /// Where this node writes down what it does.
    pub(crate) fn notes(&self) -> &Notes {
        self.node.notes()
    }

    /// Whether all is up to this node: it leads, and no other could.
    pub(crate) fn is_the_only_voter(&self) -> bool {
        self.node.is_alone() || (self.leads() && !self.has_other_voters())
    }

    /// Whether the cluster has another node that can lead: a learner keeps no lock going.
    pub(crate) fn has_other_voters(&self) -> bool {
        !self.node.is_alone() && !self.node.is_only_voter()
    }

    /// How many nodes there are; one for a server that is alone.
    pub(crate) fn nodes(&self) -> usize {
        self.node.nodes()
    }

    /// How links are opened, if there are other nodes.
    pub(crate) fn dialer(&self) -> Option<Dialer<E>> {
        self.dialer.clone()
    }

    /// Where clients reach the leader, if it is another node.
    pub(crate) fn leader_address(&self) -> Option<String> {
        let Leadership { leader, is_own, .. } = self.node.leadership();
        let member = leader
            .filter(|_| !is_own)
            .and_then(|id| self.node.member(id));
        member.map(|member| member.client_address)
    }

    /// Asks another node to lead, if this one does and there is one that can. Gives until when to
    /// wait for it, by the clock of the Env.
    pub(crate) async fn hand_over(&mut self) -> Option<Duration> {
        if self.node.is_alone() || !self.leads() || !self.node.hand_over().await {
            return None;
        }
        info!("the server stops: another node is asked to lead");
        Some(self.env.monotonic() + 2 * self.timing.election_timeout)
    }

    /// Whether this node leads, as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        self.node.leadership().is_own
    }

    /// Stops the replica, and lets go of what is stored, so that another server can have it.
    pub(crate) async fn shutdown(self) {
        let store = self.node.store().clone();
        // All that knows of the store.
        drop((self.route, self.dialer, self.reads));
        self.node.shutdown().await;
        // If something is stuck, whoever starts the next server is told that this one has it.
        let _ = timeout(&self.env, CLOSE_PATIENCE, store.closed()).await;
    }

    fn begin_life(&mut self) {
        self.incarnation = getrandom::u64().expect("the system has randomness to give");
        self.next_number = 0;
        self.is_joined = false;
        self.pending.clear();
        self.sent = 0;
        self.reads.clear();
        self.reads_since = None;
        let disk = self.node.disk();
        self.push(Action::Join { disk }, None);
    }

    /// A new life, when the old one cannot be vouched for.
    fn void(&mut self, why: &str) -> Turn<C> {
        warn!(
            why,
            "this node closes its connections, so that clients go on elsewhere"
        );
        self.begin_life();
        Turn::Void
    }
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
}
