//! The model checker finds nothing in the engine, and finds an engine that is made wrong: around
//! the real one sits a liar that breaks one rule.

use lockwright_checker::{Exhaustive, Instance, Machine, Menu, Rule, Size, Step};
use lockwright_engine::{
    Command, EndReason, Engine, EngineConfig, Event, EventKind, Limits, LockKey, LockState, Owner,
    Refusal, Reply, TimeMs, Token,
};
use lockwright_sim::plan::{Plan, RunOptions, run};
use stateright::{Checker, HasDiscoveries, Model};
use std::sync::Arc;

/// What CI can look at in all its states: with everybody, but two requests.
const SMALL: Size = Size {
    clients: 2,
    requests: 2,
    ms: 2,
    menu: Menu::Small,
    depth: None,
};

/// Where the lies are told; one that needs three requests is found long before its end.
const WIDE: Size = Size {
    requests: 3,
    ..SMALL
};

/// The rules that are broken, with a path for each.
fn check<M: Machine>(size: Size) -> Vec<(Rule, Vec<Step>)> {
    let checker = model::<M>(size)
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_dfs()
        .join();
    let mut found = checker.discoveries();
    let path = |rule: Rule| Some((rule, found.remove(rule.name())?.into_actions()));
    Rule::ALL.into_iter().filter_map(path).collect()
}

fn model<M: Machine>(size: Size) -> Exhaustive<M> {
    let instance = Instance::new(size).expect("the sizes are in range");
    Exhaustive::new(Arc::new(instance), Arc::default())
}

#[test]
fn the_engine_breaks_no_rule_in_a_small_world() {
    assert_eq!(check::<Engine>(SMALL), []);
}

#[test]
fn sizes_out_of_range_are_refused_with_the_range() {
    for (size, says) in [
        (
            Size {
                clients: 0,
                ..SMALL
            },
            "clients are 1 to 4, not 0",
        ),
        (
            Size {
                requests: 7,
                ..SMALL
            },
            "requests are 1 to 6, not 7",
        ),
        (
            Size { ms: 1_001, ..SMALL },
            "milliseconds are 1 to 1000, not 1001",
        ),
    ] {
        assert_eq!(Instance::new(size).expect_err("out of range"), says);
    }
}

#[test]
fn every_step_of_the_small_world_replays_without_a_violation() {
    // A path to its very end, and the probe there.
    let model = model::<Engine>(SMALL);
    let mut path = Vec::new();
    let mut state = model.beginning();
    loop {
        let mut steps = Vec::new();
        model.actions(&state, &mut steps);
        let next = steps
            .into_iter()
            .find_map(|step| Some((step, model.next_state(&state, step)?)));
        let Some((step, next)) = next else { break };
        path.push(step);
        state = next;
        if path.len() == 40 {
            break;
        }
    }
    path.push(Step::Probe);
    let plan = model.plan(&path);
    assert!(plan.ops.len() > 10, "{plan:?}");
    let outcome = run(&Plan::Engine(plan), RunOptions::default());
    assert_eq!(outcome.violation, None);
}

fn is_queued(engine: &Engine, lock: &LockKey) -> bool {
    let state = engine.lock(lock).map(|info| info.state);
    matches!(state, Some(LockState::Queued { deadline: None }))
}

/// How to lie. A command is carried out by the real engine, with its time, events and answer bent.
trait Lie: Clone + Send + Sync + 'static {
    fn tell(
        engine: &mut Engine,
        at: TimeMs,
        command: &Command,
        events: &mut Vec<Event>,
    ) -> Result<Reply, Refusal>;
}

/// An engine that lies.
struct Liar<L> {
    engine: Engine,
    lie: std::marker::PhantomData<fn() -> L>,
}

impl<L> Clone for Liar<L> {
    fn clone(&self) -> Liar<L> {
        Liar {
            engine: self.engine.clone(),
            lie: self.lie,
        }
    }
}

impl<L: Lie> Machine for Liar<L> {
    fn new(limits: Limits) -> Liar<L> {
        Liar {
            engine: Engine::new(EngineConfig {
                limits,
                ..EngineConfig::default()
            }),
            lie: std::marker::PhantomData,
        }
    }

    fn apply(
        &mut self,
        at: TimeMs,
        command: &Command,
        events: &mut Vec<Event>,
    ) -> Result<Reply, Refusal> {
        L::tell(&mut self.engine, at, command, events)
    }

    fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// The lie must be found, as a breach of one of these rules, on a path that can be shortened.
fn is_found<L: Lie>(rules: &[Rule]) {
    let found = check::<Liar<L>>(WIDE);
    let (rule, path) = found.first().expect("the lie is found");
    assert!(rules.contains(rule), "{rule:?} on {path:?}");
    let model = model::<Liar<L>>(WIDE);
    let (short, breach) = model.shorten(path).expect("the path breaks a rule again");
    assert_eq!(breach.rule, *rule);
    assert!(short.len() <= path.len() && short.len() <= 12, "{short:?}");
}

macro_rules! lie {
    ($test:ident, $lie:ident, $rules:expr, $tell:expr) => {
        #[derive(Clone)]
        struct $lie;
        impl Lie for $lie {
            fn tell(
                engine: &mut Engine,
                at: TimeMs,
                command: &Command,
                events: &mut Vec<Event>,
            ) -> Result<Reply, Refusal> {
                let tell: fn(&mut Engine, TimeMs, &Command, &mut Vec<Event>) -> _ = $tell;
                tell(engine, at, command, events)
            }
        }
        #[test]
        fn $test() {
            is_found::<$lie>(&$rules);
        }
    };
}

lie!(
    half_a_group_is_found,
    HalfAGroup,
    [
        Rule::AllOrNothing,
        Rule::Answers,
        Rule::MutualExclusion,
        Rule::FirstCome
    ],
    |engine, at, command, events| {
        let mut command = command.clone();
        if let Command::Acquire { claims, .. } = &mut command {
            claims.truncate(1);
        }
        engine.apply(at, &command, events)
    }
);

lie!(
    an_expiry_that_comes_late_is_found,
    LateExpiry,
    [Rule::Leases],
    |engine, at, command, events| {
        // What is due at this very instant is left for the next.
        let due_now = engine.next_deadline() == Some(at) && at > engine.now();
        if due_now && matches!(command, Command::Tick) {
            return Ok(Reply::Done);
        }
        engine.apply(at, command, events)
    }
);

lie!(
    a_session_that_never_ends_is_found,
    EndlessSession,
    [Rule::Sessions],
    |engine, at, command, events| {
        match command {
            Command::CloseSession { .. } => engine.apply(at, &Command::Tick, events),
            _ => engine.apply(at, command, events),
        }
    }
);

lie!(
    a_token_given_twice_is_found,
    SameToken,
    [Rule::Tokens],
    |engine, at, command, events| {
        let done = engine.apply(at, command, events);
        for event in events {
            if let EventKind::Granted { token, .. } = &mut event.kind {
                *token = Token(token.0.min(2));
            }
        }
        done
    }
);

lie!(
    a_cancelled_waiter_that_still_blocks_is_found,
    StubbornWaiter,
    [Rule::NeverLater, Rule::Questions],
    |engine, at, command, events| {
        // What is due comes first, as it does in the engine.
        engine.apply(at, &Command::Tick, events)?;
        let lock = match command {
            Command::Cancel { lock } if is_queued(engine, lock) => lock,
            _ => return engine.apply(at, command, events),
        };
        events.push(Event {
            at,
            kind: EventKind::Ended {
                lock: lock.clone(),
                reason: EndReason::Cancelled,
            },
        });
        Ok(Reply::Done)
    }
);

lie!(
    a_lost_second_wake_up_is_found,
    LostWakeUp,
    [Rule::NeverLater],
    |engine, at, command, events| {
        let done = engine.apply(at, command, events);
        let is_grant = |event: &Event| matches!(event.kind, EventKind::Granted { .. });
        if events.iter().filter(|event| is_grant(event)).count() > 1 {
            let last = events.iter().rposition(is_grant).expect("there are two");
            events.remove(last);
        }
        done
    }
);

lie!(
    a_stale_token_that_is_taken_is_found,
    AnyToken,
    [Rule::Answers, Rule::OneEnd],
    |engine, at, command, events| {
        let mut command = command.clone();
        if let Command::Release { lock, token } = &mut command
            && let Some(LockState::Held { token: its, .. }) =
                engine.lock(lock).map(|info| info.state)
        {
            *token = its;
        }
        engine.apply(at, &command, events)
    }
);

lie!(
    a_session_that_is_done_with_half_is_found,
    HalfDone,
    [Rule::Answers, Rule::Refusals],
    |engine, at, command, events| {
        // A live request is passed over, and what has ended is forgotten.
        engine.apply(at, &Command::Tick, events)?;
        let mut command = command.clone();
        if let Command::Done { session, ids } = &mut command {
            ids.retain(|id| {
                let lock = LockKey {
                    namespace: session.namespace.clone(),
                    owner: Owner::Session(session.session.clone()),
                    id: id.clone(),
                };
                let state = engine.lock(&lock).map(|info| info.state);
                matches!(state, None | Some(LockState::Ended { .. }))
            });
        }
        engine.apply(at, &command, events)
    }
);

lie!(
    what_is_remembered_though_its_session_is_done_is_found,
    Hoarder,
    [Rule::Questions],
    |engine, at, command, events| {
        match command {
            Command::Done { .. } => {
                let mut copy = engine.clone();
                let told = copy.apply(at, command, events);
                events.clear();
                engine.apply(at, &Command::Tick, events)?;
                told
            }
            _ => engine.apply(at, command, events),
        }
    }
);

lie!(
    a_reader_that_slips_past_is_found,
    SlippingReader,
    [Rule::FirstCome, Rule::MutualExclusion, Rule::Answers],
    |engine, at, command, events| {
        // Whoever reads is told at once that it is granted.
        let done = engine.apply(at, command, events);
        let Command::Acquire { claims, .. } = command else {
            return done;
        };
        let reads = claims
            .iter()
            .all(|claim| claim.mode == lockwright_engine::Mode::Read);
        let next = engine.next_token();
        match events.last_mut() {
            Some(Event { kind, .. }) if reads => {
                if let EventKind::Queued { lock } = kind {
                    *kind = EventKind::Granted {
                        lock: lock.clone(),
                        token: next,
                        expires: None,
                        arrived_at: at,
                    };
                }
            }
            _ => {}
        }
        done
    }
);
