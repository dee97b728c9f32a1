//! The world of profile `engine`: commands go straight into an engine, which is judged after each.

use super::{
    engine_answers,
    engine_checks::{self, Copied},
};
use crate::{
    crash_report,
    driver::{EngineDriver, Rejection},
    history::History,
    line::Line,
    model::ModelLimits,
    op::{Action, Op, OpLock},
    oracle::{
        Panel, PanelConfig,
        ledger::{Request, State},
        no_panic,
    },
    outcome::{Outcome, Violation},
    plan::{EnginePlan, RunOptions, catch_panic},
};
use lockwright_engine::{Engine, EngineConfig, HashKey, Limits, MAX_MS, Refusal};

/// The keys of the hash tables of the engine and of its twin; nothing may depend on them.
const HASH_KEYS: [HashKey; 2] = [HashKey([1, 2]), HashKey([3, 4])];

/// After how many commands each the engine is asked for all that it has.
const ANSWERS_EVERY: u64 = 499;

/// Runs a plan.
pub(crate) fn run(plan: &EnginePlan, options: RunOptions) -> Outcome {
    let mut world = World::new(plan, options);
    let violation = match catch_panic(|| world.play(plan)) {
        Ok(played) => played.err(),
        Err(panic) => Some(no_panic::violation(world.at(), &panic)),
    };
    if let Some(violation) = &violation {
        world
            .history
            .note(&format!("{}: {}", violation.oracle, violation.message));
    }
    Outcome {
        history_hash: world.history.hash(),
        commands: world.commands,
        simulated_ms: world.at(),
        violation,
        history: world.history.into_text(),
    }
}

struct World {
    limits: Limits,
    driver: EngineDriver,
    /// An engine with another hash key, and what it says.
    twin: Option<(EngineDriver, Vec<Line>)>,
    panel: Panel,
    history: History,
    lines: Vec<Line>,
    commands: u64,
    restore_every: u64,
    /// What was copied when the engine was restored, and goes on being what it was.
    copied: Option<Copied>,
}

impl World {
    fn new(plan: &EnginePlan, options: RunOptions) -> World {
        let limits = plan.limits.to_limits();
        let config = PanelConfig::of(&limits, 1);
        let driver = |key| EngineDriver::new(engine(&limits, key));
        World {
            driver: driver(HASH_KEYS[0]),
            twin: plan.checks.twin.then(|| (driver(HASH_KEYS[1]), Vec::new())),
            panel: Panel::with_model(config, ModelLimits::from(&limits)),
            history: History::new(options.keep_history),
            lines: Vec::new(),
            commands: 0,
            restore_every: u64::from(plan.checks.restore_every),
            copied: None,
            limits,
        }
    }

    /// The latest time in ms.
    fn at(&self) -> u64 {
        self.panel.ledger().now()
    }

    fn play(&mut self, plan: &EnginePlan) -> Result<(), Violation> {
        for (done, op) in (1..).zip(&plan.ops) {
            self.step(op)?;
            for limits in plan.limits_after(done) {
                self.relimit(&limits.to_limits())?;
            }
        }
        self.drain()?;
        if plan.checks.leak {
            engine_checks::no_leak(&mut self.driver, &plan.ops)?;
        }
        Ok(())
    }

    /// One command: carried out, taken down, judged.
    fn step(&mut self, op: &Op) -> Result<(), Violation> {
        self.commands += 1;
        self.lines.clear();
        crash_report::at(op.at);
        let done = catch_panic(|| self.driver.step(op, &mut self.lines));
        self.history.command(op, &self.lines);
        done.map_err(|panic| no_panic::violation(op.at, &panic))?;
        self.panel.step(op, &self.lines)?;
        if let Some(Rejection::Engine(Refusal::RequestMismatch(first))) = self.driver.rejection() {
            engine_answers::is_the_first(self.panel.ledger(), op, first)?;
        }
        if let Some((twin, lines)) = &mut self.twin {
            lines.clear();
            twin.step(op, lines);
            engine_checks::same_lines(self.panel.ledger().now(), op, &self.lines, lines)?;
        }
        if self.commands.is_multiple_of(ANSWERS_EVERY) {
            engine_answers::are_true(self.driver.engine(), self.panel.ledger())?;
        }
        if self.restore_every > 0 && self.commands.is_multiple_of(self.restore_every) {
            self.check_copied()?;
            let key = HASH_KEYS[usize::from(self.commands.is_multiple_of(2))];
            engine_checks::survives_restore(self.driver.engine_mut(), key)?;
            self.copied = Some(Copied::new(self.driver.engine_mut()));
        }
        Ok(())
    }

    /// Nothing that the engine has done since it was copied is in the copy.
    fn check_copied(&mut self) -> Result<(), Violation> {
        match self.copied.take() {
            Some(copied) => copied.check(self.driver.engine().now().as_ms()),
            None => Ok(()),
        }
    }

    /// Goes on with other limits, when all is forgotten that is due.
    fn relimit(&mut self, limits: &Limits) -> Result<(), Violation> {
        self.step(&tick(self.at()))?;
        self.history
            .note(&format!("the limits are {limits:?} from here on"));
        engine_checks::relimit(self.driver.engine_mut(), limits, HASH_KEYS[0])?;
        if let Some((twin, _)) = &mut self.twin {
            engine_checks::relimit(twin.engine_mut(), limits, HASH_KEYS[1])?;
        }
        self.panel.relimit(&ModelLimits::from(limits));
        self.limits = limits.clone();
        Ok(())
    }

    /// Ends everything and lets it be forgotten; then nothing may be left.
    fn drain(&mut self) -> Result<(), Violation> {
        while let Some(op) = self.end_of_first() {
            self.step(&op)?;
        }
        while let Some(session) = self.panel.ledger().sessions().iter().find(|s| s.open) {
            let op = Op {
                at: self.at(),
                namespace: Some(session.namespace.clone()),
                action: Action::CloseSession {
                    session: session.name.clone(),
                },
            };
            self.step(&op)?;
        }
        if self.driver.engine().next_deadline().is_some() {
            // A session is not given back before all that it kept is: at most a request of each command.
            let given_back = self.at().saturating_add(self.commands);
            self.step(&tick(given_back.min(MAX_MS)))?;
        }
        let forgotten = self.at().saturating_add(self.limits.retention.as_ms());
        self.step(&tick(forgotten.min(MAX_MS)))?;
        self.check_copied()?;
        self.driver.engine().check();
        engine_checks::nothing_left(self.driver.engine())
    }

    /// The command that ends the earliest live request.
    fn end_of_first(&self) -> Option<Op> {
        let ledger = self.panel.ledger();
        let request = ledger.live().next()?;
        Some(ending(request, ledger.now()))
    }
}

fn engine(limits: &Limits, hash_key: HashKey) -> Engine {
    Engine::new(EngineConfig {
        limits: limits.clone(),
        hash_key,
        ..EngineConfig::default()
    })
}

/// The command that ends a live request at time `at` in ms.
fn ending(request: &Request, at: u64) -> Op {
    let lock = OpLock {
        id: request.lock.id.clone(),
        owner: Some(request.lock.owner.clone()),
    };
    let action = match request.state {
        State::Held { token, .. } => Action::Release {
            lock,
            token: Some(token),
        },
        State::Queued { .. } | State::Ended { .. } => Action::Cancel { lock },
    };
    Op {
        at,
        namespace: Some(request.lock.namespace.clone()),
        action,
    }
}

fn tick(at: u64) -> Op {
    Op {
        at,
        namespace: None,
        action: Action::Tick,
    }
}
