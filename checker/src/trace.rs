//! From a path that breaks a rule to a plan of profile `engine`, which replays it.

use crate::ask::{Ask, Step};
use crate::book::Book;
use crate::instance::Instance;
use crate::machine::Machine;
use crate::model::{Exhaustive, State};
use crate::probe;
use crate::rules::Breach;
use lockwright_engine::{Claim, Command, DurationMs, LockKey, Mode, Owner, Token, Wait};
use lockwright_sim::op::{Action, Op, OpClaim, OpLock, OpOwner, OpWait};
use lockwright_sim::plan::{EngineChecks, EnginePlan, LimitOverrides};

/// Longer than any lease, wait or abandon timeout of an instance, in ms.
const DUE_MAX: u64 = 4;

impl<M: Machine> Exhaustive<M> {
    /// Follows steps from the beginning, leaving out those that are not possible, up to the first
    /// breach.
    #[must_use]
    pub fn follow(&self, steps: &[Step]) -> (State<M>, Vec<Step>) {
        let mut state = self.beginning();
        let mut taken = Vec::new();
        for step in steps {
            if state.breach().is_some() {
                break;
            }
            if let Some(next) = self.after(&state, *step) {
                state = next;
                taken.push(*step);
            }
        }
        (state, taken)
    }

    /// Leaves out step after step of a path that breaks a rule, as long as the same rule is broken,
    /// until none can be spared. Gives the path and the breach; none if it breaks nothing.
    #[must_use]
    pub fn shorten(&self, steps: &[Step]) -> Option<(Vec<Step>, Breach)> {
        let (state, mut path) = self.follow(steps);
        let mut breach = state.breach()?.clone();
        let mut place = path.len();
        while place > 0 {
            place -= 1;
            let mut shorter = path.clone();
            shorter.remove(place);
            let (state, taken) = self.follow(&shorter);
            if let Some(same) = state.breach().filter(|same| same.rule == breach.rule) {
                breach = same.clone();
                path = taken;
                // What was needed for the step that is gone may be gone too.
                place = path.len();
            }
        }
        Some((path, breach))
    }

    /// The plan that does what a path does, and then tells the engine the time until everything
    /// that can be due by then must have happened: what broke quietly may show.
    #[must_use]
    pub fn plan(&self, path: &[Step]) -> EnginePlan {
        let instance = self.instance();
        let mut state = self.beginning();
        let mut ops = Vec::new();
        for step in path {
            let at = state.book.clock;
            let asks = asks_of(*step, instance, &state.book);
            ops.extend(asks.into_iter().map(|ask| op(at, instance.command(ask))));
            if let Some(next) = self.after(&state, *step) {
                state = next;
            }
        }
        let end = state.book.clock;
        let later = (1..=DUE_MAX).map(|ms| op(end + ms, Command::Tick));
        ops.extend(later);
        EnginePlan {
            shape: "a path of the model checker".to_owned(),
            limits: LimitOverrides {
                retention: Some(instance.limits().retention),
                ..LimitOverrides::default()
            },
            relimits: Vec::new(),
            checks: EngineChecks::default(),
            ops,
        }
    }
}

fn asks_of(step: Step, instance: &Instance, book: &Book) -> Vec<Ask> {
    match step {
        Step::Probe => probe::asks(instance, book),
        _ => step.ask(instance, book).into_iter().collect(),
    }
}

/// A command in the command language.
fn op(at: u64, command: Command) -> Op {
    let action = match command {
        Command::Acquire {
            lock,
            claims,
            ttl,
            wait,
        } => Action::Acquire {
            id: lock.id.into(),
            owner: owner(lock.owner),
            claims: claims.iter().map(claim).collect(),
            ttl: ttl.map(DurationMs::as_ms),
            wait: match wait {
                Wait::No => OpWait::No,
                Wait::For(wait) => OpWait::For(wait.as_ms()),
                Wait::Forever => OpWait::Forever,
            },
        },
        Command::Cancel { lock } => Action::Cancel { lock: which(lock) },
        Command::Release { lock, token } => Action::Release {
            lock: which(lock),
            token: Some(token.0),
        },
        Command::Renew { lock, token, ttl } => Action::Renew {
            lock: which(lock),
            token: Some(token.0),
            ttl: ttl.as_ms(),
        },
        Command::Break { lock, token } => Action::Break {
            lock: which(lock),
            token: token.map(|Token(token)| token),
        },
        Command::OpenSession { session, abandon } => Action::OpenSession {
            session: session.session.into(),
            abandon: abandon.as_ms(),
        },
        Command::Attach { session } => Action::Attach {
            session: session.session.into(),
        },
        Command::Detach { session } => Action::Detach {
            session: session.session.into(),
        },
        Command::KeepAlive { session } => Action::KeepAlive {
            session: session.session.into(),
        },
        Command::Done { session, ids } => Action::Done {
            session: session.session.into(),
            ids: ids.into_iter().map(Into::into).collect(),
        },
        Command::CloseSession { session } => Action::CloseSession {
            session: session.session.into(),
        },
        Command::Tick => Action::Tick,
    };
    Op {
        at,
        // Instances have one namespace, the default one.
        namespace: None,
        action,
    }
}

fn which(lock: LockKey) -> OpLock {
    OpLock {
        id: lock.id.into(),
        owner: Some(owner(lock.owner)),
    }
}

fn owner(owner: Owner) -> OpOwner {
    match owner {
        Owner::Named(name) => OpOwner::Named(name.into()),
        Owner::Session(name) => OpOwner::Session(name.into()),
    }
}

fn claim(claim: &Claim) -> OpClaim {
    OpClaim {
        write: claim.mode == Mode::Write,
        path: claim.path.as_str().into(),
    }
}
