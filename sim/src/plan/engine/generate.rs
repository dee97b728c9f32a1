//! Draws a plan of profile `engine` from a seed.
//!
//! The generator does not run the engine. It keeps a rough idea of which requests may be live, so
//! that most commands find what they are about; being wrong now and then is welcome, as commands
//! on what has ended must be refused rightly too.

use super::{
    EnginePlan,
    shape::{Kind, Shape},
};
use crate::{
    draw::{Draw, Stream},
    op::{Action, Op, OpClaim, OpLock, OpOwner, OpWait, Text},
    plan::Profile,
};

/// How many ended requests are remembered, for retries and for commands that come too late.
const PAST_MAX: usize = 32;

/// Texts that are no paths.
const BAD_PATHS: [&str; 6] = ["", "/a", "a/", "a//b", "//", "a/\u{1}"];

impl EnginePlan {
    /// Draws the plan of a seed.
    pub(in crate::plan) fn generate(seed: u64) -> EnginePlan {
        let shape = Shape::draw(seed);
        let ops = Generator::new(seed, &shape).ops();
        EnginePlan {
            shape: shape.to_string(),
            limits: shape.limits,
            checks: shape.checks,
            ops,
        }
    }
}

/// A request that was asked for.
#[derive(Debug, Clone)]
struct Asked {
    namespace: Text,
    owner: OpOwner,
    id: Text,
}

struct Generator<'a> {
    shape: &'a Shape,
    kind: Draw,
    time: Draw,
    target: Draw,
    claim: Draw,
    lease: Draw,
    fault: Draw,
    now: u64,
    /// Requests that may be live, in the order in which they were asked for.
    open: Vec<Asked>,
    /// Requests that are probably over; a ring.
    past: Vec<Asked>,
    past_next: usize,
    ids: u32,
}

impl<'a> Generator<'a> {
    fn new(seed: u64, shape: &'a Shape) -> Generator<'a> {
        let draw = |stream| Draw::new(Profile::Engine, seed, stream);
        Generator {
            shape,
            kind: draw(Stream::Kind),
            time: draw(Stream::Time),
            target: draw(Stream::Target),
            claim: draw(Stream::Claim),
            lease: draw(Stream::Lease),
            fault: draw(Stream::Fault),
            now: 0,
            open: Vec::new(),
            past: Vec::with_capacity(PAST_MAX),
            past_next: 0,
            ids: 0,
        }
    }

    fn ops(mut self) -> Vec<Op> {
        let mut ops = Vec::with_capacity(self.shape.commands as usize);
        if self.shape.session_percent > 0 {
            self.open_all_sessions(&mut ops);
        }
        while ops.len() < self.shape.commands as usize {
            let at = self.step_time();
            let (namespace, action) = self.action();
            ops.push(Op {
                at,
                namespace: Some(namespace),
                action,
            });
        }
        ops
    }

    fn open_all_sessions(&mut self, ops: &mut Vec<Op>) {
        for namespace in &self.shape.namespaces {
            for session in &self.shape.sessions {
                let abandon = *self.lease.pick(&self.shape.durations.abandons);
                ops.push(Op {
                    at: 0,
                    namespace: Some(namespace.clone()),
                    action: Action::OpenSession {
                        session: session.clone(),
                        abandon: self.in_ms(abandon),
                    },
                });
            }
        }
    }

    fn in_ms(&self, units: u32) -> u64 {
        u64::from(units) * u64::from(self.shape.times.unit)
    }

    /// The next command's time.
    fn step_time(&mut self) -> u64 {
        let times = &self.shape.times;
        if !self.time.chance(times.still_percent, 100) {
            let steps = if self.time.chance(times.jump_permille, 1000) {
                // Beyond the default retention of 60 s, or nearly.
                self.time.between(59_999, 60_100)
            } else {
                self.time.between(1, times.step_max) * times.unit
            };
            self.now += u64::from(steps);
        }
        if times.back_percent > 0 && self.time.chance(times.back_percent, 100) {
            let back = self.time.between(1, 2 * times.unit);
            return self.now.saturating_sub(u64::from(back));
        }
        self.now
    }

    fn action(&mut self) -> (Text, Action) {
        let mut kind = self.shape.weights.kind(&mut self.kind);
        // Keep about as many requests live as the shape says.
        let live = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        if live > self.shape.crowd && kind == Kind::Acquire {
            kind = Kind::Release;
        } else if live <= self.shape.crowd / 2 && matches!(kind, Kind::Release | Kind::Cancel) {
            kind = Kind::Acquire;
        }
        match kind {
            Kind::Acquire => self.acquire_anew(),
            Kind::Retry => self.retry(),
            Kind::Release => self.release(),
            Kind::Renew => self.renew(),
            Kind::Cancel => self.cancel(),
            Kind::Break => self.break_lock(),
            Kind::Session => self.session(),
            Kind::Tick => (self.namespace(), Action::Tick),
            Kind::Inspect => {
                let path = self.shape.tree.path(&mut self.claim).clone();
                (self.namespace(), Action::Inspect { path })
            }
            Kind::Refused => self.refused(),
        }
    }

    fn namespace(&mut self) -> Text {
        self.target.pick(&self.shape.namespaces).clone()
    }

    fn acquire_anew(&mut self) -> (Text, Action) {
        let owner = if self.target.chance(self.shape.session_percent, 100) {
            OpOwner::Session(self.target.pick(&self.shape.sessions).clone())
        } else {
            OpOwner::Named(self.target.pick(&self.shape.owners).clone())
        };
        let number = if self.shape.ids == 0 {
            self.ids += 1;
            self.ids
        } else {
            self.target.between(1, self.shape.ids)
        };
        let asked = Asked {
            namespace: self.namespace(),
            owner,
            id: id_text(number),
        };
        self.open.push(asked.clone());
        self.acquire(asked)
    }

    fn acquire(&mut self, asked: Asked) -> (Text, Action) {
        let durations = &self.shape.durations;
        let ttl = self
            .lease
            .chance(durations.ttl_percent, 100)
            .then(|| *self.lease.pick(&durations.ttls));
        let wait = self.lease.below(100);
        let wait = if wait < durations.busy_percent {
            OpWait::No
        } else if wait < durations.busy_percent + durations.wait_percent {
            let wait = *self.lease.pick(&durations.waits);
            OpWait::For(self.in_ms(wait))
        } else {
            OpWait::Forever
        };
        let action = Action::Acquire {
            id: asked.id,
            owner: asked.owner,
            claims: self.claims(),
            ttl: ttl.map(|ttl| self.in_ms(ttl)),
            wait,
        };
        (asked.namespace, action)
    }

    fn claims(&mut self) -> Vec<OpClaim> {
        let wide = self.shape.wide_permille;
        let count = if wide > 0 && self.claim.chance(wide, 1000) {
            self.claim.between(7, 64)
        } else {
            self.claim.between(1, self.shape.claims_max)
        };
        // Wide requests that are all `write` on one path would teach nothing.
        (0..count)
            .map(|_| OpClaim {
                write: self.claim.chance(self.shape.write_percent, 100),
                path: self.shape.tree.path(&mut self.claim).clone(),
            })
            .collect()
    }

    /// A request again: one that may be live, or one that is over and perhaps forgotten.
    fn retry(&mut self) -> (Text, Action) {
        let Some(asked) = self.live_or_past() else {
            return self.acquire_anew();
        };
        self.acquire(asked)
    }

    fn live_or_past(&mut self) -> Option<Asked> {
        let live = !self.open.is_empty() && (self.past.is_empty() || self.target.chance(1, 2));
        if live {
            Some(self.target.pick(&self.open).clone())
        } else if self.past.is_empty() {
            None
        } else {
            Some(self.target.pick(&self.past).clone())
        }
    }

    /// Takes note that a request is over.
    fn close(&mut self, index: usize) -> Asked {
        let asked = self.open.remove(index);
        self.push_past(asked.clone());
        asked
    }

    fn push_past(&mut self, asked: Asked) {
        if self.past.len() < PAST_MAX {
            self.past.push(asked);
        } else {
            self.past[self.past_next] = asked;
            self.past_next = (self.past_next + 1) % PAST_MAX;
        }
    }

    /// A request that is probably held: an early one.
    fn early(&mut self) -> Option<usize> {
        let len = self.open.len();
        (len > 0).then(|| {
            let index = self.target.index(len);
            index.min(self.target.index(len))
        })
    }

    fn release(&mut self) -> (Text, Action) {
        let Some(index) = self.early() else {
            return self.acquire_anew();
        };
        let token = self.token();
        // The earliest that may be live is held if it lives, so that it is over now. Another may
        // have been queued, and is left for later.
        let asked = if index == 0 && token.is_none() {
            self.close(0)
        } else {
            self.open[index].clone()
        };
        let (namespace, lock) = lock_of(asked);
        (namespace, Action::Release { lock, token })
    }

    /// Mostly none: the one that the request got.
    fn token(&mut self) -> Option<u64> {
        let stale = self.shape.stale_percent;
        (stale > 0 && self.fault.chance(stale, 100))
            .then(|| u64::from(self.fault.below(self.ids.max(8))))
    }

    fn renew(&mut self) -> (Text, Action) {
        let Some(index) = self.early() else {
            return self.acquire_anew();
        };
        let token = self.token();
        let ttl = *self.lease.pick(&self.shape.durations.ttls);
        let (namespace, lock) = lock_of(self.open[index].clone());
        let ttl = self.in_ms(ttl);
        (namespace, Action::Renew { lock, token, ttl })
    }

    /// Of a late request, which is probably queued.
    fn cancel(&mut self) -> (Text, Action) {
        let len = self.open.len();
        if len == 0 {
            return self.acquire_anew();
        }
        let index = self.target.index(len).max(self.target.index(len));
        let (namespace, lock) = lock_of(self.open[index].clone());
        (namespace, Action::Cancel { lock })
    }

    fn break_lock(&mut self) -> (Text, Action) {
        if self.open.is_empty() {
            return self.acquire_anew();
        }
        let index = self.target.index(self.open.len());
        let token = self.token();
        let asked = if token.is_none() {
            self.close(index)
        } else {
            self.open[index].clone()
        };
        let (namespace, lock) = lock_of(asked);
        (namespace, Action::Break { lock, token })
    }

    fn session(&mut self) -> (Text, Action) {
        let namespace = self.namespace();
        let session = self.target.pick(&self.shape.sessions).clone();
        let action = match self.kind.weighted(&[6, 2, 4, 2, 1]) {
            0 => {
                let abandon = *self.lease.pick(&self.shape.durations.abandons);
                let abandon = self.in_ms(abandon);
                Action::OpenSession { session, abandon }
            }
            1 => Action::Attach { session },
            2 => Action::Detach { session },
            3 => Action::KeepAlive { session },
            _ => {
                self.forget_session(&namespace, &session);
                Action::CloseSession { session }
            }
        };
        (namespace, action)
    }

    /// Takes note that all requests of a session are over.
    fn forget_session(&mut self, namespace: &str, session: &str) {
        let mut index = 0;
        while index < self.open.len() {
            let asked = &self.open[index];
            let is_of = matches!(&asked.owner, OpOwner::Session(name) if **name == *session);
            if is_of && *asked.namespace == *namespace {
                self.close(index);
            } else {
                index += 1;
            }
        }
    }

    /// A command that must be refused, whatever the state.
    fn refused(&mut self) -> (Text, Action) {
        let (namespace, mut action) = match self.fault.below(5) {
            0..=2 => {
                // Of no live request: its id would make it a retry.
                self.ids += 1;
                let asked = Asked {
                    namespace: self.namespace(),
                    owner: OpOwner::Named(self.target.pick(&self.shape.owners).clone()),
                    id: format!("bad{}", self.ids).into(),
                };
                self.acquire(asked)
            }
            3 => {
                let path = Text::from(*self.fault.pick(&BAD_PATHS));
                return (self.namespace(), Action::Inspect { path });
            }
            _ => return self.too_late(),
        };
        if let Action::Acquire {
            id, claims, ttl, ..
        } = &mut action
        {
            match self.fault.below(7) {
                0 => *ttl = Some(0),
                1 => claims.clear(),
                2 => claims[0].path = Text::from(*self.fault.pick(&BAD_PATHS)),
                3 => claims[0].path = Text::from("x".repeat(256)),
                4 => claims[0].path = Text::from(["d"; 33].join("/")),
                5 => *id = Text::from(*self.fault.pick(&["", "a\nb"])),
                _ => {
                    let claim = claims[0].clone();
                    claims.resize(65, claim);
                }
            }
        }
        (namespace, action)
    }

    /// A command on a request that is over, or never was, or on a lease of nothing.
    fn too_late(&mut self) -> (Text, Action) {
        let asked = match self.live_or_past() {
            Some(asked) if self.fault.chance(3, 4) => asked,
            _ => Asked {
                namespace: self.namespace(),
                owner: OpOwner::Named(Text::from("nobody")),
                id: Text::from("none"),
            },
        };
        let (namespace, lock) = lock_of(asked);
        let token = self.fault.chance(1, 2).then_some(1);
        let action = match self.fault.below(4) {
            0 => Action::Release {
                lock,
                token: Some(u64::from(u32::MAX)),
            },
            1 => Action::Renew {
                lock,
                token,
                ttl: 0,
            },
            2 => Action::Cancel { lock },
            _ => Action::Break {
                lock,
                token: Some(u64::from(u32::MAX)),
            },
        };
        (namespace, action)
    }
}

fn lock_of(asked: Asked) -> (Text, OpLock) {
    let lock = OpLock {
        id: asked.id,
        owner: Some(asked.owner),
    };
    (asked.namespace, lock)
}

/// `L1`, `L2`, ...
fn id_text(number: u32) -> Text {
    let mut digits = [0; 11];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    digits[start - 1] = b'L';
    let text = std::str::from_utf8(&digits[start - 1..]).expect("it is ASCII");
    Text::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_out() {
        assert_eq!(&*id_text(0), "L0");
        assert_eq!(&*id_text(1_020), "L1020");
        assert_eq!(&*id_text(u32::MAX), "L4294967295");
    }

    #[test]
    fn a_seed_gives_one_plan() {
        assert_eq!(EnginePlan::generate(3), EnginePlan::generate(3));
        assert_ne!(EnginePlan::generate(3).ops, EnginePlan::generate(4).ops);
    }
}
