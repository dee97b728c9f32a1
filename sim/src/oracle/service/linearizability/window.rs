//! A part of a history, and the search for an order that explains it.

use super::{Lock, Look, Span};
use crate::oracle::service::in_ms;
use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester, SequentialSpec};
use std::{cell::Cell, collections::BTreeMap, fmt::Write as _};

/// How many renewals of a lock are judged at most.
const RENEWALS: usize = 2;
/// After how many steps the search for an order is given up.
pub(super) const STEPS: u32 = 20_000;

/// A part of a history.
#[derive(Debug, Clone)]
pub(super) struct Window {
    /// By token.
    pub(super) locks: Vec<(u64, Lock)>,
    pub(super) looks: Vec<Look>,
}

/// The lock of a window with this index.
type Index = u32;

/// What is done to the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Acquire(Index),
    End(Index),
    Release(Index),
    Renew(Index),
    Look,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Granted,
    Waits,
    Renewed,
    Over,
    /// It is held still, or not at all, where it should be the other way round.
    Refused,
    /// A bit for each lock that is held.
    Seen(u32),
    /// The search takes too long.
    Tired,
}

impl Window {
    /// Whether some order explains all answers; none when that is not known after [`STEPS`] steps.
    pub(super) fn has_order(&self) -> Option<bool> {
        let steps = Cell::new(0);
        let register = Register::new(&self.locks, &steps);
        let mut tester = LinearizabilityTester::new(register);
        for (thread, step) in self.steps() {
            let taken = match step {
                Step::Invoke(deed) => tester.on_invoke(thread, deed),
                Step::Return(outcome) => tester.on_return(thread, outcome),
            };
            taken.expect("each thread does one thing after the other");
        }
        let has_order = tester.is_consistent();
        (has_order || steps.get() < STEPS).then_some(has_order)
    }

    /// All that was done, from when to when, and what came of it.
    fn deeds(&self) -> Vec<(Span, Deed, Outcome)> {
        let mut deeds = Vec::new();
        for look in &self.looks {
            let seen = self.locks.iter().enumerate();
            let seen = seen.filter(|(_, (token, _))| look.tokens.contains(token));
            let seen = seen.fold(0, |seen, (index, _)| seen | 1 << index);
            deeds.push((look.span, Deed::Look, Outcome::Seen(seen)));
        }
        for (index, (_, lock)) in (0..).zip(&self.locks) {
            let renewed = lock.renewed.iter().rev().take(RENEWALS);
            deeds.extend(renewed.map(|span| (*span, Deed::Renew(index), Outcome::Renewed)));
            let released = lock.released.iter();
            deeds.extend(released.map(|span| (*span, Deed::Release(index), Outcome::Over)));
            let ended = lock.ended.iter();
            deeds.extend(ended.map(|span| (*span, Deed::End(index), Outcome::Over)));
            let granted = lock.granted.iter().copied();
            let first = granted.clone().map(|span| span.from).min();
            let unanswered = Span {
                from: lock.asked,
                to: None,
            };
            let unanswered = (first != Some(lock.asked)).then_some(unanswered);
            let asked = unanswered.into_iter().chain(granted);
            deeds.extend(asked.map(|span| (span, Deed::Acquire(index), Outcome::Granted)));
        }
        deeds
    }

    /// The same as what threads do, one after the other. Those that change nothing are done by the
    /// first ones, which the tester turns to first.
    fn steps(&self) -> Vec<(Thread, Step)> {
        let mut steps = Vec::new();
        for (span, deed, outcome) in self.deeds() {
            let number = steps.len();
            steps.push((span.from, number, deed, Step::Invoke(deed)));
            steps.extend(span.to.map(|to| (to, number, deed, Step::Return(outcome))));
        }
        steps.sort_by_key(|(moment, number, ..)| (*moment, *number));
        let mut threads = Threads::default();
        let steps = steps.into_iter();
        steps
            .map(|(_, number, deed, step)| (threads.of(number, deed, &step), step))
            .collect()
    }

    /// As little of it as has no order either.
    pub(super) fn shrunk(mut self) -> Window {
        let has_none = |window: &Window| window.has_order() == Some(false);
        for look in (0..self.looks.len()).rev() {
            let mut less = self.clone();
            less.looks.remove(look);
            if has_none(&less) {
                self = less;
            }
        }
        for lock in (0..self.locks.len()).rev() {
            let mut less = self.clone();
            less.locks.remove(lock);
            if has_none(&less) {
                self = less;
            }
        }
        self
    }

    pub(super) fn story(&self) -> String {
        let mut text = String::from("no order explains these answers:");
        for (token, lock) in &self.locks {
            let how = if lock.writes { "writes" } else { "reads" };
            let _ = write!(text, " {} ({how}, token {token})", lock.id);
            let _ = write!(text, " is asked for at {} ms", in_ms(lock.asked.at));
            let mut spans = |what: &str, spans: &[Span]| {
                for span in spans {
                    let _ = write!(text, ", {what} {span}");
                }
            };
            spans("answered as granted", &lock.granted);
            spans("renewed", &lock.renewed);
            spans("released", lock.released.as_slice());
            spans("ended", lock.ended.as_slice());
            text.push(';');
        }
        for look in &self.looks {
            let known = self.locks.iter().map(|(token, _)| *token);
            let seen: Vec<u64> = known.filter(|one| look.tokens.contains(one)).collect();
            let _ = write!(text, " {} sees {seen:?} {};", look.name, look.span);
        }
        text.pop();
        text
    }
}

/// Who does something, for the tester.
type Thread = (bool, usize);

#[derive(Debug, Clone, Copy)]
enum Step {
    Invoke(Deed),
    Return(Outcome),
}

/// Gives what is under way at the same time to different threads, and to as few as can be.
#[derive(Debug, Default)]
struct Threads {
    busy: BTreeMap<Thread, usize>,
}

impl Threads {
    /// The thread that does the deed with this number.
    fn of(&mut self, number: usize, deed: Deed, step: &Step) -> Thread {
        match step {
            Step::Invoke(_) => {
                let changes = matches!(deed, Deed::Acquire(_) | Deed::End(_));
                let mut free = (0..).map(|thread| (changes, thread));
                let free = free.find(|thread| !self.busy.contains_key(thread));
                let thread = free.expect("there is always another one");
                self.busy.insert(thread, number);
                thread
            }
            Step::Return(_) => {
                let mut busy = self.busy.iter();
                let (thread, _) = busy
                    .find(|(_, of)| **of == number)
                    .expect("what returns was invoked");
                let thread = *thread;
                self.busy.remove(&thread);
                thread
            }
        }
    }
}

/// The locks of a window, as one after the other would see them.
#[derive(Debug, Clone)]
struct Register<'a> {
    /// A bit for each lock that is held, in the order of the tokens.
    held: u32,
    /// The first that may be granted: those before it were, or never will be.
    next: Index,
    /// Those that write.
    writers: u32,
    /// Those that are granted for certain: somebody was told, or saw them end.
    certain: u32,
    steps: &'a Cell<u32>,
}

impl<'a> Register<'a> {
    fn new(locks: &[(u64, Lock)], steps: &'a Cell<u32>) -> Register<'a> {
        let bits = |is: &dyn Fn(&Lock) -> bool| {
            let locks = locks.iter().enumerate();
            let those = locks.filter(|(_, (_, lock))| is(lock));
            those.fold(0, |bits, (index, _)| bits | 1 << index)
        };
        Register {
            held: 0,
            next: 0,
            writers: bits(&|lock| lock.writes),
            certain: bits(&|lock| !lock.granted.is_empty() || lock.ended.is_some()),
            steps,
        }
    }

    fn acquire(&mut self, index: Index) -> Outcome {
        let bit = 1 << index;
        if self.held & bit != 0 {
            return Outcome::Granted;
        }
        let passed_over = (self.certain & (bit - 1)) >> self.next;
        let others = if self.writers & bit != 0 {
            self.held
        } else {
            self.held & self.writers
        };
        if index < self.next || passed_over != 0 || others != 0 {
            return Outcome::Waits;
        }
        self.held |= bit;
        self.next = index + 1;
        Outcome::Granted
    }
}

impl SequentialSpec for Register<'_> {
    type Op = Deed;
    type Ret = Outcome;

    fn invoke(&mut self, deed: &Deed) -> Outcome {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() >= STEPS {
            return Outcome::Tired;
        }
        let is_held = |index: Index| self.held & (1 << index) != 0;
        match *deed {
            Deed::Acquire(index) => self.acquire(index),
            Deed::End(index) if is_held(index) => {
                self.held &= !(1 << index);
                Outcome::Over
            }
            Deed::Release(index) if !is_held(index) => Outcome::Over,
            Deed::Renew(index) if is_held(index) => Outcome::Renewed,
            Deed::End(_) | Deed::Release(_) | Deed::Renew(_) => Outcome::Refused,
            Deed::Look => Outcome::Seen(self.held),
        }
    }
}
