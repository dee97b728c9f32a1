//! Where commands get their time and become history.
//!
//! A node's proposals wait here, in order, until the node has applied them. While another node leads
//! they go to it over a link (`forward`); while this node leads it gives them their time itself,
//! and those of other nodes too. When who leads changes, or a link breaks, all that was not applied
//! yet is sent again: what comes twice is applied once ([`Origin`]).
//!
//! `clock` is the cluster's time, `followers` the links of other nodes to this one while it leads,
//! `reads` sees to it that nobody reads what is not true any more, `applied` takes what the log
//! says.

mod applied;
mod clock;
mod followers;
mod reads;

use crate::{
    Probe, ServerConfig, Storage,
    forward::{Forwarder, Heard, ToFollower, ToLeader, groups},
    machine::{Machine, Outcome},
    peer::Dialer,
    proposal::{Action, Origin, Proposal},
    raft::{Leadership, Maker, Members, Node, NodeEvent, RaftDoor, Stopped},
    replica::Look,
    store::{Store, StoreError},
};
use clock::{ClusterClock, whole_ms};
use followers::Followers;
use lockwright_engine::{DurationMs, Limits, TimeMs, Token};
use lockwright_env::{Env, timeout};
use reads::Reads;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::sync::watch;
use tracing::{error, info, warn};

/// How many tokens are set aside for each millisecond that the machine is up: more than an engine
/// can grant in that time.
const TOKENS_PER_MS: u64 = 1 << 16;

/// How long the file is given to be closed when the server stops.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// The leader writes the time down after this many election timeouts at the latest, as long as
/// something is to happen at some time.
const TICK_FACTOR: u32 = 2;

/// The leader writes down how far all have come after so many entries.
const WITNESS_EVERY: u64 = 256;

/// After this many election timeouts without progress a node cannot vouch for its connections.
const PATIENCE_FACTOR: u32 = 4;

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
    /// Whether the time was proposed and is not yet applied.
    is_ticking: bool,
    snapshot_entries: u64,
    /// The last entry when a snapshot was asked for.
    snapshot_asked: u64,
    snapshot_is_due: bool,
    /// The last entry when it was written down how far all have come.
    witnessed: u64,
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
            is_ticking: false,
            snapshot_entries: config.snapshot_entries,
            snapshot_asked: snapshot_index,
            snapshot_is_due: false,
            witnessed: snapshot_index,
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

    /// Reads when it is certain that what is read is the present.
    pub(crate) fn read(&mut self, look: Look) {
        self.reads.add(look);
        self.reads_since.get_or_insert(self.env.monotonic());
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
        Ok(())
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
            () = due(&self.env, wake) => Ok(self.on_time()),
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

    /// Looks at the state as it is now.
    pub(crate) fn with_machine<T>(&self, look: impl FnOnce(&Machine) -> T) -> T {
        self.node.with_machine(look)
    }

    /// The first failure to keep something, when there is one.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<StoreError>> {
        self.node.store().failure()
    }

    /// Serves the calls of other replicas.
    pub(crate) fn door(&self) -> RaftDoor {
        self.node.door()
    }

    /// The nodes of the cluster.
    pub(crate) fn members(&self) -> Members {
        self.node.members()
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

    /// Who leads may have changed.
    fn find_route(&mut self) {
        let Leadership {
            term,
            leader,
            is_own,
        } = self.node.leadership();
        match (&self.route, leader) {
            (Route::Preparing { term: now } | Route::Leading { term: now }, _)
                if is_own && *now == term =>
            {
                return;
            }
            (Route::Following(forwarder), Some(leader))
                if !is_own && forwarder.leader == leader =>
            {
                return;
            }
            _ => {}
        }
        self.lose_route();
        if is_own {
            self.route = Route::Preparing { term };
            self.probe.raft(crate::RaftEvent::Leads { term });
            let begin = Action::Begin {
                limits: self.limits.clone(),
                first_token: self.first_token,
            };
            let proposal = Proposal {
                at: TimeMs::ZERO,
                term,
                origin: None,
                action: Arc::new(begin),
            };
            self.outbox.push_back((proposal, Maker::Own));
        } else if let Some(leader) = leader {
            self.follow(leader);
        }
    }

    fn follow(&mut self, leader: u64) {
        let member = self.node.member(leader);
        if let (Some(dialer), Some(member)) = (&self.dialer, member) {
            // More often would tell nothing more: after a whole timeout the link is given up.
            let pause = self.timing.heartbeat.max(self.timing.election_timeout / 3);
            let forwarder = Forwarder::open(dialer, leader, member.address, pause);
            self.route = Route::Following(forwarder);
        }
    }

    /// What was sent goes again, when there is a way.
    fn lose_route(&mut self) {
        self.route = Route::None;
        self.outbox.clear();
        self.sent = 0;
        self.is_ticking = false;
        self.followers.clear();
        self.reads.ask_again();
        self.retry_at = self.env.monotonic() + self.timing.heartbeat.min(Duration::from_secs(1));
    }

    fn refused(&mut self, maker: Maker) {
        match maker {
            Maker::Link(link) => self.followers.close(link),
            Maker::Own => {
                // What came after it would come too early.
                self.sent = 0;
                self.is_ticking = false;
                let mut pause = self.timing.heartbeat;
                if let Route::Preparing { .. } = self.route {
                    // A leader takes nothing until its own vote is on its disk. All wait for it.
                    pause /= 10;
                    self.route = Route::None;
                }
                self.retry_at = self.env.monotonic() + pause;
            }
        }
    }

    /// Another node says something to this one as the leader.
    pub(crate) fn heard(&mut self, heard: Heard) {
        let now = self.env.monotonic();
        match heard {
            Heard::Opened { link, node, out } => {
                // Dropping `out` closes the link: the node tries again.
                match self.route {
                    Route::Leading { .. } => {
                        self.followers.open(node, link, out);
                        self.followers.hear(node, now);
                        let at = self.now();
                        self.followers.say(node, link, ToFollower::Welcome { at });
                    }
                    Route::Preparing { .. } => self.followers.open(node, link, out),
                    _ => {}
                }
            }
            Heard::Said {
                link,
                node,
                message,
            } => {
                let Route::Leading { term } = self.route else {
                    return;
                };
                if !self.followers.is_open(node, link) {
                    return;
                }
                self.followers.hear(node, now);
                let at = self.now();
                match message {
                    ToLeader::Propose(proposals) => {
                        for (origin, action) in proposals {
                            self.stamp(at, term, Some(origin), action, Maker::Link(link));
                        }
                    }
                    ToLeader::Ping { sent } => {
                        self.followers
                            .say(node, link, ToFollower::Pong { sent, at });
                    }
                    ToLeader::Read { id } => self.reads.add_remote(node, link, id),
                }
            }
        }
    }

    /// The leader says something to this node; none when the link is over.
    fn hear_leader(&mut self, heard: Option<ToFollower>) {
        let Route::Following(forwarder) = &mut self.route else {
            return;
        };
        match heard {
            None => self.lose_route(),
            Some(ToFollower::Welcome { at }) => {
                forwarder.is_welcome = true;
                self.clock = Some(ClusterClock::start(at, forwarder.begun));
            }
            Some(ToFollower::Pong { sent, at }) => {
                self.clock = Some(ClusterClock::start(at, sent));
            }
            Some(ToFollower::ReadAt { id, index, at }) => {
                if self.reads.asked().is_some_and(|round| round.id == id) {
                    self.reads.end(index, at);
                    self.finish_reads();
                }
            }
        }
    }

    /// Asks for the reads that wait, if somebody can be asked.
    fn begin_reads(&mut self) {
        if !self.reads.is_due() || self.reads_at > self.env.monotonic() {
            return;
        }
        match &self.route {
            Route::Leading { .. } => {
                let at = self.now();
                if self.next_deadline.is_some_and(|next| next <= at) {
                    // What is due at this moment happens before anybody looks.
                    return self.tick();
                }
                if self.node.is_alone() {
                    self.reads.begin(Some(at), None);
                    self.reads.end(0, at);
                    return self.finish_reads();
                }
                let confirming = self.node.confirm();
                self.reads.begin(Some(at), Some(Box::pin(confirming)));
            }
            Route::Following(forwarder) if forwarder.is_welcome => {
                let id = self.reads.begin(None, None);
                forwarder.say(ToLeader::Read { id });
            }
            _ => {}
        }
    }

    /// It is known whether this node leads.
    fn confirmed(&mut self, index: Option<u64>) {
        let at = self.reads.asked().and_then(|round| round.at);
        match (index, at) {
            (Some(index), Some(at)) => {
                for (node, link, id) in self.reads.end(index, at) {
                    let answer = ToFollower::ReadAt { id, index, at };
                    self.followers.say(node, link, answer);
                }
                self.finish_reads();
            }
            // Whoever leads is asked, when it is known who does. A leader that hands over says no at
            // once, however often it is asked.
            _ => {
                self.reads.ask_again();
                self.reads_at = self.env.monotonic() + self.timing.heartbeat / 2;
            }
        }
    }

    fn finish_reads(&mut self) {
        let index = self.node.applied_index();
        for (at, look) in self.reads.take_ready(index) {
            let next = self.with_machine(|machine| machine.engine().next_deadline());
            if next.is_some_and(|next| next <= at) {
                // It was proposed before and is applied now: what it makes due has to happen first.
                self.reads.add(look);
                continue;
            }
            self.with_machine(|machine| look(machine, at.max(machine.engine().now())));
        }
        let is_idle = self.reads.count() == 0;
        self.reads_since = self.reads_since.filter(|_| !is_idle);
    }

    /// Proposes the time.
    fn tick(&mut self) {
        let is_held_back = self.retry_at > self.env.monotonic();
        if let (Route::Leading { term }, false, false) =
            (&self.route, self.is_ticking, is_held_back)
        {
            let term = *term;
            self.is_ticking = true;
            let at = self.now();
            self.stamp(at, term, None, Arc::new(Action::Tick), Maker::Own);
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

    /// When to look at the clock again.
    fn wake_at(&mut self) -> Option<Duration> {
        let mut wake = None;
        let mut at =
            |when: Duration| wake = Some(wake.map_or(when, |wake: Duration| wake.min(when)));
        if let (Route::Leading { .. }, Some(clock), Some(next), false) = (
            &self.route,
            &self.clock,
            self.next_deadline,
            self.is_ticking,
        ) {
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
        let nodes: Vec<u64> = self.node.with_machine(|machine| {
            let alive = machine.nodes().filter(|(_, record)| record.life.is_some());
            alive
                .map(|(node, _)| node)
                .filter(|node| *node != me)
                .collect()
        });
        let timeout = self.timing.node_timeout;
        let heard = nodes.into_iter();
        let heard = heard.map(|node| self.followers.heard(node, now) + timeout);
        heard.min()
    }

    fn on_time(&mut self) -> Turn<C> {
        let now = self.env.monotonic();
        if self
            .next_deadline
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
        let Route::Leading { term } = self.route else {
            return;
        };
        let me = self.node.id();
        let lives: Vec<(u64, u64)> = self.node.with_machine(|machine| {
            let lives = machine.nodes();
            let lives = lives.filter_map(|(node, record)| Some((node, record.life?.incarnation)));
            lives.filter(|(node, _)| *node != me).collect()
        });
        for (node, incarnation) in lives {
            if self.followers.heard(node, now) + self.timing.node_timeout > now {
                continue;
            }
            warn!(
                node,
                "a node was not heard of: its connections are taken for dead"
            );
            self.followers.hear(node, now);
            let gone = Action::Gone {
                node,
                incarnation,
                forget: false,
            };
            let at = self.now();
            self.stamp(at, term, None, Arc::new(gone), Maker::Own);
        }
    }

    /// Writes down how far this leader has come, and how far others have.
    fn witness(&mut self, term: u64) {
        let digest = self.with_machine(Machine::digest);
        if let Some((index, digest)) = digest {
            let witness = Action::Witness {
                index,
                digest,
                acknowledged: self.node.acknowledged(),
            };
            let at = self.now();
            self.stamp(at, term, None, Arc::new(witness), Maker::Own);
        }
    }

    /// Tells all who has lost what it had acknowledged.
    fn distrust(&mut self, term: u64) {
        while let Some(node) = self.node.take_lost() {
            error!(
                node,
                "a node has lost entries that it had acknowledged: it is shut out"
            );
            let at = self.now();
            self.stamp(
                at,
                term,
                None,
                Arc::new(Action::Distrust { node }),
                Maker::Own,
            );
        }
    }

    fn note(&mut self, outcome: &Outcome) {
        if let (Route::Leading { term }, false) = (&self.route, self.node.is_alone()) {
            let term = *term;
            if outcome.index.saturating_sub(self.witnessed) >= WITNESS_EVERY {
                self.witnessed = outcome.index;
                self.witness(term);
            }
            self.distrust(term);
        }
        self.next_deadline = outcome.next_deadline;
        // A snapshot costs as much as the state is large: so each entry bears a bounded share.
        let enough = self.snapshot_entries.max(outcome.size);
        if outcome.index.saturating_sub(self.snapshot_asked) >= enough {
            self.snapshot_asked = outcome.index;
            self.snapshot_is_due = true;
        }
    }
}

/// Waits until something is due; for ever if nothing is.
async fn due<E: Env>(env: &E, when: Option<Duration>) {
    match when {
        Some(when) => env.sleep_until(when).await,
        None => std::future::pending().await,
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
