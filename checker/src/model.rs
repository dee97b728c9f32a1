//! The model that the checker runs.

use crate::ask::{Ask, Step};
use crate::book::{Book, Life};
use crate::guard::guarded;
use crate::instance::{Instance, time};
use crate::judge::judge;
use crate::machine::Machine;
use crate::probe;
use crate::rules::{Breach, Rule, must};
use crate::sights::{Sight, Sights};
use lockwright_engine::{Command, Engine};
use stateright::{Model, Property};
use std::fmt::{self, Debug};
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// An engine and what is known of it.
pub struct State<M = Engine> {
    machine: Arc<M>,
    pub(crate) book: Book,
    /// What the latest step showed; not a part of the fingerprint.
    sights: Sights,
    breach: Option<Arc<Breach>>,
}

/// The model of an instance. `M` is the engine but in tests.
pub struct Exhaustive<M = Engine> {
    instance: Arc<Instance>,
    stop: Arc<AtomicBool>,
    machine: PhantomData<fn() -> M>,
}

impl<M> State<M> {
    /// The rule that the latest step broke, if it did.
    #[must_use]
    pub fn breach(&self) -> Option<&Breach> {
        self.breach.as_deref()
    }

    /// What was asked and said so far.
    #[must_use]
    pub fn book(&self) -> &Book {
        &self.book
    }
}

impl<M> Clone for State<M> {
    fn clone(&self) -> State<M> {
        State {
            machine: Arc::clone(&self.machine),
            breach: self.breach.clone(),
            ..*self
        }
    }
}

impl<M: Machine> Hash for State<M> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.book.feed(hasher);
        self.breach.as_ref().map(|breach| breach.rule).hash(hasher);
        // What the engine may have kept though its answers do not show it.
        let engine = self.machine.engine();
        let usage = engine.usage();
        (usage.nodes, usage.entries, usage.owners, usage.deadlines).hash(hasher);
        engine.next_deadline().map(|at| at.as_ms()).hash(hasher);
    }
}

impl<M: Machine> PartialEq for State<M> {
    fn eq(&self, other: &State<M>) -> bool {
        self.book == other.book
            && self.breach == other.breach
            && self.machine.engine() == other.machine.engine()
    }
}

impl<M> Debug for State<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::text::book(f, &self.book)?;
        match &self.breach {
            Some(breach) => write!(f, "BROKEN {breach}"),
            None => Ok(()),
        }
    }
}

impl<M: Machine> Exhaustive<M> {
    /// The model of `instance`. Once `stop` is true no state has a successor any more, so that a
    /// check comes to its end; until it is false again, no path can be followed either.
    #[must_use]
    pub fn new(instance: Arc<Instance>, stop: Arc<AtomicBool>) -> Exhaustive<M> {
        Exhaustive {
            instance,
            stop,
            machine: PhantomData,
        }
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The one state in which everything begins.
    #[must_use]
    pub fn beginning(&self) -> State<M> {
        State {
            machine: Arc::new(M::new(self.instance.limits())),
            book: Book::new(),
            sights: Sights::default(),
            breach: None,
        }
    }

    /// The state after a step, whether it changes anything or not; none if the step is not possible
    /// there.
    #[must_use]
    pub fn after(&self, last: &State<M>, step: Step) -> Option<State<M>> {
        if last.breach.is_some() {
            return None;
        }
        let mut next = last.clone();
        next.sights = Sights::default();
        if self.instance.size().depth.is_some() {
            next.book.steps += 1;
        }
        let done = match step {
            Step::Pass => {
                next.book.clock += 1;
                return Some(next);
            }
            Step::Probe if last.book.clock != last.book.told => return None,
            Step::Probe => guarded(|| probe::probe(&self.instance, &last.book, &*last.machine)),
            _ => {
                let ask = step.ask(&self.instance, &last.book)?;
                guarded(|| self.carry_out(&mut next, ask))
            }
        };
        let broken = match done {
            Ok(Ok(())) => return Some(next),
            Ok(Err(breach)) => breach,
            Err(panic) => Breach {
                rule: Rule::NoPanic,
                message: format!("{step:?}: {panic}"),
            },
        };
        next.breach = Some(Arc::new(broken));
        Some(next)
    }

    fn carry_out(&self, state: &mut State<M>, ask: Ask) -> Result<(), Breach> {
        let at = time(state.book.clock);
        let before = Arc::clone(&state.machine);
        let mut machine = M::clone(&before);
        let mut events = Vec::new();
        let answer = machine.apply(at, &self.instance.command(ask), &mut events);
        let book_before = state.book;
        let verdict = judge(&self.instance, &mut state.book, ask, &events, &answer)?;
        state.sights = verdict.sights;
        if verdict.refused {
            let mut told = M::clone(&before);
            events.clear();
            let ticked = told.apply(at, &Command::Tick, &mut events);
            must(
                ticked.is_ok() && told.engine() == machine.engine(),
                Rule::Refusals,
                || format!("{ask:?} is refused, and leaves a trace"),
            )?;
        }
        probe::each_lock(&self.instance, &state.book, &machine)?;
        probe::ids_of_ended(&self.instance, &book_before, &state.book, &machine)?;
        state.machine = Arc::new(machine);
        Ok(())
    }

    /// Section 7.1, from the book alone.
    fn nobody_holds_against_another(&self, book: &Book) -> bool {
        let held = |life: Life| matches!(life, Life::Held { .. });
        book.live().all(|(a, one)| {
            book.live().all(|(b, two)| {
                a == b
                    || !(held(one.life) && held(two.life))
                    || !self.instance.conflict(one.claims, two.claims)
            })
        })
    }
}

impl<M: Machine> Model for Exhaustive<M> {
    type State = State<M>;
    type Action = Step;

    fn init_states(&self) -> Vec<State<M>> {
        vec![self.beginning()]
    }

    fn actions(&self, state: &State<M>, steps: &mut Vec<Step>) {
        if state.breach.is_none() && !self.stop.load(Ordering::Relaxed) {
            self.instance.steps(&state.book, steps);
        }
    }

    fn next_state(&self, last: &State<M>, step: Step) -> Option<State<M>> {
        let next = self.after(last, step)?;
        // What a step did not change needs no second look, also where steps are counted.
        let mut book = next.book;
        book.steps = last.book.steps;
        (next.breach.is_some() || book != last.book).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Exhaustive<M>>> {
        rules::<M>().into_iter().chain(sights::<M>()).collect()
    }

    fn format_action(&self, step: &Step) -> String {
        crate::text::step(&self.instance, *step)
    }
}

/// The checker wants functions without a memory, so each rule has one of its own.
fn holds<const RULE: usize, M: Machine>(model: &Exhaustive<M>, state: &State<M>) -> bool {
    let rule = Rule::ALL[RULE];
    state.breach().is_none_or(|breach| breach.rule != rule)
        && (rule != Rule::MutualExclusion || model.nobody_holds_against_another(&state.book))
}

fn is_seen<const SIGHT: usize, M: Machine>(model: &Exhaustive<M>, state: &State<M>) -> bool {
    state.breach.is_none() && Sight::ALL[SIGHT].is_in(&model.instance, &state.book, state.sights)
}

/// One property for each element of a list, by its place.
macro_rules! properties {
    ($list:expr, $kind:ident, $function:ident, $($place:literal)*) => {
        [$(Property::$kind($list[$place].name(), $function::<$place, M>)),*]
    };
}

fn rules<M: Machine>() -> [Property<Exhaustive<M>>; Rule::ALL.len()] {
    properties!(Rule::ALL, always, holds, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
}

fn sights<M: Machine>() -> [Property<Exhaustive<M>>; Sight::ALL.len()] {
    properties!(Sight::ALL, sometimes, is_seen,
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24)
}
