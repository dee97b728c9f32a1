//! The lock space: the engine behind one mutex, and who is to be woken.

#[cfg(test)]
use crate::interleavings::planted::{Bug, planted};
use crate::{
    LockError,
    slots::{Phase, SlotId, Slots},
    sync::{Clock, Condvar, Mutex, MutexGuard, spawn},
    time, timer,
    wakes::{Wake, Wakes},
};
use lockwright_engine::{
    Claim, Command, DurationMs, Engine, EngineConfig, Event, HashKey, Limits, LockInfo, LockKey,
    LockState, Name, Path, Refusal, Reply, TimeMs, Token, Usage, Wait,
};
use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    io,
    sync::Arc,
    task::Waker,
    time::Duration,
};

/// What handles, guards and futures share. When the last of them goes, the timer thread, which has
/// the core alone, is told to end.
pub(crate) struct Space {
    core: Arc<Core>,
}

/// The lock space itself.
pub(crate) struct Core {
    pub(crate) clock: Clock,
    state: Mutex<State>,
    /// Tells the timer thread that a deadline has come before those it knew, or that it ends.
    pub(crate) timer_wake: Condvar,
}

pub(crate) struct State {
    engine: Engine,
    /// Always empty in between; kept for its memory.
    events: Vec<Event>,
    slots: Slots,
    next_watcher: u64,
    pub(crate) timer: Timer,
}

/// Where the timer thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// It has not been needed yet.
    Off,
    /// It will look at the deadlines before it sleeps.
    Awake,
    /// It sleeps until then, or until it is told of an earlier deadline.
    Asleep { until: Option<TimeMs> },
    /// It ends, as the last handle, guard and future are gone.
    Ending,
}

/// What a request asks for, once it is read.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) claims: Vec<Claim>,
    pub(crate) owner: Option<Name>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) patience: Patience,
}

/// How long a request waits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    No,
    For(Duration),
    Forever,
}

impl Space {
    pub(crate) fn new(mut limits: Limits) -> Space {
        limits.retention = DurationMs::ZERO;
        let random = RandomState::new();
        let engine = Engine::new(EngineConfig {
            limits,
            hash_key: HashKey([random.hash_one(0), random.hash_one(1)]),
            ..EngineConfig::default()
        });
        Space {
            core: Arc::new(Core {
                clock: Clock::new(),
                state: Mutex::new(State {
                    engine,
                    events: Vec::new(),
                    slots: Slots::new(),
                    next_watcher: 0,
                    timer: Timer::Off,
                }),
                timer_wake: Condvar::new(),
            }),
        }
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// A turn in which deadlines may be set that only the timer thread will keep: it runs.
    pub(crate) fn turn_with_timer(&self) -> Result<Turn<'_>, io::ErrorKind> {
        let mut turn = self.core.turn(Clocked::Always);
        if turn.state.timer == Timer::Off {
            let core = Arc::clone(&self.core);
            spawn("lockwright-timer", move || timer::run(&core)).map_err(|error| error.kind())?;
            turn.state.timer = Timer::Awake;
        }
        Ok(turn)
    }
}

#[cfg(test)]
impl Space {
    /// Time passes.
    pub(crate) fn advance(&self, by_ms: u64) {
        // With the mutex, or the timer thread could miss it between its look and its sleep.
        let state = self.core.lock_if_sound().expect(BROKEN);
        self.core.clock.advance(by_ms);
        let now = time::time_at(self.core.clock.elapsed());
        if matches!(state.timer, Timer::Asleep { until: Some(at) } if at <= now) {
            self.core.timer_wake.notify_all();
        }
    }
}

impl State {
    pub(crate) fn next_deadline(&self) -> Option<TimeMs> {
        self.engine.next_deadline()
    }
}

/// Neither the engine's secret key nor everybody's locks are for those who print a guard.
impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space").finish_non_exhaustive()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // Nobody is left who could be told that the mutex is poisoned.
        if let Some(mut state) = self.core.lock_if_sound() {
            state.timer = Timer::Ending;
        }
        self.core.timer_wake.notify_all();
    }
}

/// When to look at the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clocked {
    /// Whenever a request is about to have a deadline.
    Always,
    /// Only if there is a request with one: otherwise the time changes nothing.
    IfTimed,
}

const BROKEN: &str = "the lock space is broken: an assertion of it has failed in another thread";

impl Core {
    /// Takes the mutex; everything due has happened then (SEMANTICS section 3).
    ///
    /// # Panics
    /// When an assertion has failed in here before.
    pub(crate) fn turn(&self, clocked: Clocked) -> Turn<'_> {
        self.begin(self.state.lock().expect(BROKEN), clocked)
    }

    /// As [`turn`](Core::turn), for destructors, which have nobody to tell that it is broken.
    pub(crate) fn turn_if_sound(&self) -> Option<Turn<'_>> {
        let state = self.lock_if_sound()?;
        Some(self.begin(state, Clocked::IfTimed))
    }

    /// The mutex alone.
    pub(crate) fn lock_if_sound(&self) -> Option<MutexGuard<'_, State>> {
        self.state.lock().ok()
    }

    fn begin<'a>(&'a self, state: MutexGuard<'a, State>, clocked: Clocked) -> Turn<'a> {
        let elapsed = if clocked == Clocked::Always || state.slots.any_timed() {
            self.clock.elapsed()
        } else {
            Duration::ZERO
        };
        let now = time::time_at(elapsed).max(state.engine.now());
        let mut turn = Turn {
            core: self,
            state,
            wakes: Wakes::default(),
            elapsed,
            now,
        };
        if turn.next_deadline().is_some_and(|at| at <= now) {
            turn.apply(&Command::Tick)
                .expect("the time is never refused");
        }
        turn
    }
}

/// One turn at the lock space. At its end, first the mutex is free, then whoever was granted
/// something is woken.
pub(crate) struct Turn<'a> {
    core: &'a Core,
    // Fields are dropped in this order.
    state: MutexGuard<'a, State>,
    wakes: Wakes,
    elapsed: Duration,
    now: TimeMs,
}

impl Turn<'_> {
    /// Asks for the claims; gives them back with the slot of the request and where it is.
    pub(crate) fn acquire(
        &mut self,
        ask: Ask,
    ) -> Result<(SlotId, Vec<Claim>, LockState), LockError> {
        let wait = match ask.patience {
            Patience::No => Wait::No,
            Patience::For(timeout) if timeout.is_zero() => Wait::No,
            Patience::For(timeout) => Wait::For(time::wait(self.elapsed, timeout)),
            Patience::Forever => Wait::Forever,
        };
        let (slot, lock) = self.state.slots.take(ask.owner);
        let command = Command::Acquire {
            lock,
            claims: ask.claims,
            ttl: ask.ttl.map(time::ttl),
            wait,
        };
        let reply = self.apply(&command);
        let Command::Acquire { lock, claims, .. } = command else {
            unreachable!("it was made above")
        };
        self.state.slots[slot].key = Some(lock);
        match reply {
            Ok(Reply::Acquired { state, fresh }) => {
                assert!(fresh, "the id of a free slot is free");
                if ask.ttl.is_some() || matches!(wait, Wait::For(_)) {
                    self.state.slots.set_timed(slot);
                }
                Ok((slot, claims, state))
            }
            Ok(other) => unreachable!("an acquire is not answered with {other:?}"),
            Err(refusal) => {
                self.state.slots.put_back(slot);
                Err(refusal.into())
            }
        }
    }

    pub(crate) fn phase(&self, slot: SlotId) -> Phase {
        self.state.slots[slot].phase
    }

    /// Ends the slot's request, if it has not ended by itself, and frees the slot. Says where it
    /// was until then.
    pub(crate) fn end(&mut self, slot: SlotId) -> Phase {
        let before = self.phase(slot);
        let place = &mut self.state.slots[slot];
        // Whoever ends it does not have to be told; and what would have told them must not be
        // dropped in here.
        let waiter = place.waiter.take();
        let watchers = std::mem::take(&mut place.watchers);
        for told in waiter
            .into_iter()
            .chain(watchers.into_iter().map(|(_, waker)| Wake::Task(waker)))
        {
            self.wakes.discard(told);
        }
        match before {
            Phase::Queued => self.command(slot, |lock| Command::Cancel { lock }),
            Phase::Held { token, .. } => {
                self.command(slot, |lock| Command::Release { lock, token })
            }
            Phase::Ended(_) => Ok(Reply::Done),
            Phase::Free => unreachable!("a free slot has no request"),
        }
        .expect("everything due has happened, so the request is where its slot says");
        self.state.slots.put_back(slot);
        before
    }

    /// Sets the end of a held lock's lease.
    pub(crate) fn renew(
        &mut self,
        slot: SlotId,
        token: Token,
        ttl: Duration,
    ) -> Result<TimeMs, Refusal> {
        let ttl = time::ttl(ttl);
        match self.command(slot, |lock| Command::Renew { lock, token, ttl })? {
            Reply::Renewed { expires } => {
                self.state.slots.set_timed(slot);
                Ok(expires)
            }
            other => unreachable!("a renewal is not answered with {other:?}"),
        }
    }

    /// Sets who is woken when the slot's request is granted or ends.
    pub(crate) fn set_waiter(&mut self, slot: SlotId, waiter: Wake) {
        assert_eq!(self.phase(slot), Phase::Queued, "only who is queued waits");
        if let Some(old) = self.state.slots[slot].waiter.replace(waiter) {
            self.wakes.discard(old);
        }
    }

    /// Whether `waker` is who is woken when the slot's request is granted or ends.
    pub(crate) fn has_waiter(&self, slot: SlotId, waker: &Waker) -> bool {
        match &self.state.slots[slot].waiter {
            Some(Wake::Task(known)) => known.will_wake(waker),
            Some(Wake::Thread(_)) | None => false,
        }
    }

    /// Sets who is woken when the slot's lock ends: under a number that is given here first.
    pub(crate) fn set_watcher(&mut self, slot: SlotId, number: Option<u64>, waker: Waker) -> u64 {
        let number = number.unwrap_or(self.state.next_watcher);
        self.remove_watcher(slot, number);
        self.state.next_watcher = self.state.next_watcher.max(number + 1);
        self.state.slots[slot].watchers.push((number, waker));
        number
    }

    pub(crate) fn remove_watcher(&mut self, slot: SlotId, number: u64) {
        let watchers = &mut self.state.slots[slot].watchers;
        if let Some(at) = watchers.iter().position(|(known, _)| *known == number) {
            let (_, waker) = watchers.swap_remove(at);
            self.wakes.discard(Wake::Task(waker));
        }
    }

    fn next_deadline(&self) -> Option<TimeMs> {
        self.state.next_deadline()
    }

    /// The live requests that overlap a path, each with its owner if it named one.
    pub(crate) fn inspect(&self, path: &Path) -> Vec<(Option<Name>, LockInfo)> {
        self.state.slots.overlapping(&self.state.engine, path)
    }

    /// How much is in use, with nothing remembered that has ended.
    pub(crate) fn usage(&mut self) -> Usage {
        self.apply(&Command::Tick)
            .expect("the time is never refused");
        self.state.engine.usage()
    }

    fn command(
        &mut self,
        slot: SlotId,
        make: impl FnOnce(LockKey) -> Command,
    ) -> Result<Reply, Refusal> {
        let key = self.state.slots[slot].key.take();
        let command = make(key.expect("no other command carries the key"));
        let reply = self.apply(&command);
        let key = match command {
            Command::Release { lock, .. }
            | Command::Cancel { lock }
            | Command::Renew { lock, .. } => lock,
            other => unreachable!("{other:?} does not name a lock that is there"),
        };
        self.state.slots[slot].key = Some(key);
        reply
    }

    fn apply(&mut self, command: &Command) -> Result<Reply, Refusal> {
        let State {
            engine,
            events,
            slots,
            ..
        } = &mut *self.state;
        let reply = engine.apply(self.now, command, events);
        for event in events.drain(..) {
            slots.absorb(event.kind, &mut self.wakes);
        }
        #[cfg(test)]
        if planted(Bug::WakeWithin) {
            drop(std::mem::take(&mut self.wakes));
        }
        reply
    }
}

impl Drop for Turn<'_> {
    /// Wakes the timer thread when it would sleep too long.
    fn drop(&mut self) {
        if let Timer::Asleep { until } = self.state.timer
            && let Some(next) = self.next_deadline()
            && until.is_none_or(|until| next < until)
        {
            #[cfg(test)]
            if planted(Bug::TimerNotTold) {
                return;
            }
            self.state.timer = Timer::Awake;
            self.core.timer_wake.notify_one();
        }
    }
}
