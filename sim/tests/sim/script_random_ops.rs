//! The engine's driver and the reference model print the same lines for random ops, also for ops
//! that plans and scripts seldom have: malformed names, ids shared by owners, times that go back.

use lockwright_engine::{DurationMs, Engine, EngineConfig, Limits};
use lockwright_sim::driver::EngineDriver;
use lockwright_sim::model::{Model, ModelLimits};
use lockwright_sim::op::{Action, Op, OpClaim, OpLock, OpOwner, OpWait, Text};
use lockwright_sim::script::{ScriptOptions, run_script};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::num::NonZeroU32;

struct Random(ChaCha8Rng);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn pick(&mut self, texts: &[&str]) -> Text {
        let index = usize::try_from(self.below(texts.len() as u64)).unwrap();
        Text::from(texts[index])
    }

    fn owner(&mut self) -> OpOwner {
        let name = if self.one_in(50) {
            self.pick(&["", "x\n"])
        } else {
            self.pick(&["x", "y", "z"])
        };
        if self.one_in(2) {
            OpOwner::Named(name)
        } else {
            OpOwner::Session(name)
        }
    }

    fn lock(&mut self) -> OpLock {
        OpLock {
            id: self.pick(&["1", "2", "3", "4"]),
            owner: Some(self.owner()),
        }
    }

    fn token(&mut self) -> Option<u64> {
        self.one_in(4).then(|| self.below(20))
    }

    fn path(&mut self) -> Text {
        let usual = [
            "a", "b", "a/b", "a/bc", "a/b/c", "/", "c/d", "c/e", "c", "b/x",
        ];
        if self.one_in(60) {
            return self.pick(&["", "a//b", "/a", "a/\u{7}", "a/b/c/d", "abcdef"]);
        }
        self.pick(&usual)
    }

    fn acquire(&mut self) -> Action {
        let claims = (0..self.below(4) + u64::from(!self.one_in(30)))
            .map(|_| OpClaim {
                write: self.one_in(2),
                path: self.path(),
            })
            .collect();
        Action::Acquire {
            id: self.pick(&["1", "2", "3", "4"]),
            owner: self.owner(),
            claims,
            ttl: (!self.one_in(3)).then(|| self.below(12)),
            wait: match self.below(4) {
                0 => OpWait::No,
                1 => OpWait::Forever,
                _ => OpWait::For(self.below(10)),
            },
        }
    }

    fn action(&mut self) -> Action {
        let session = self.pick(&["x", "y", "z"]);
        match self.below(26) {
            0..=9 => self.acquire(),
            10..=12 => Action::Release {
                lock: self.lock(),
                token: self.token(),
            },
            13 => Action::Renew {
                lock: self.lock(),
                token: self.token(),
                ttl: self.below(10),
            },
            14 | 15 => Action::Cancel { lock: self.lock() },
            16 => Action::Break {
                lock: self.lock(),
                token: self.token(),
            },
            17 | 18 => Action::OpenSession {
                session,
                abandon: self.below(8),
            },
            19 => Action::Attach { session },
            20 => Action::Detach { session },
            21 => Action::KeepAlive { session },
            24 | 25 => Action::Done {
                session,
                ids: (0..self.below(4))
                    .map(|_| {
                        let ids = ["1", "2", "3", "4", ""];
                        let known = if self.one_in(40) { 5 } else { 4 };
                        self.pick(&ids[..known])
                    })
                    .collect(),
            },
            22 if self.one_in(2) => Action::CloseSession { session },
            22 => Action::Tick,
            _ => Action::Inspect { path: self.path() },
        }
    }

    fn op(&mut self, at: &mut u64) -> Op {
        *at += [0, 0, 1, 1, 2, 3, 7][usize::try_from(self.below(7)).unwrap()];
        Op {
            at: *at,
            namespace: self.one_in(6).then(|| self.pick(&["n", "m", "o"])),
            action: self.action(),
        }
    }
}

fn limits(random: &mut Random) -> Limits {
    let mut limits = Limits {
        retention: DurationMs::new([0, 5, 60][usize::try_from(random.below(3)).unwrap()]).unwrap(),
        ..Limits::default()
    };
    if random.one_in(2) {
        limits.session_ends_per_ms = NonZeroU32::MIN;
    }
    if random.one_in(2) {
        limits = Limits {
            claims_per_request: 3,
            segments_per_path: 3,
            bytes_per_segment: 5,
            queued_requests_per_path: 2,
            locks_per_owner: 3,
            sessions: 3,
            namespaces: 2,
            ..limits
        };
    }
    limits
}

#[test]
fn engine_and_model_print_the_same_lines() {
    for seed in 0..300 {
        let mut random = Random(ChaCha8Rng::seed_from_u64(seed));
        let limits = limits(&mut random);
        let mut model = Model::new(ModelLimits::from(&limits));
        let mut driver = EngineDriver::new(Engine::new(EngineConfig {
            limits,
            ..EngineConfig::default()
        }));
        let mut at = 0_u64;
        let mut history = Vec::new();
        for _ in 0..300 {
            let mut op = random.op(&mut at);
            if random.one_in(40) {
                op.at = at.saturating_sub(3);
            }
            history.push(serde_json::to_string(&op).unwrap());
            let (mut from_model, mut from_engine) = (Vec::new(), Vec::new());
            model.step(&op, &mut from_model);
            driver.step(&op, &mut from_engine);
            assert_eq!(
                from_model,
                from_engine,
                "seed {seed}, after\n{}",
                history.join("\n")
            );
        }
    }
}

/// Makes ids unique, as they are in a script, by putting namespace and owner into them.
fn with_unique_ids(op: &mut Op, leave_out_owner: bool) {
    let namespace = op.namespace_or_default().to_owned();
    let unique = |id: &Text, owner: &OpOwner| match owner {
        OpOwner::Named(name) => Text::from(format!("{namespace}.owner-{name}.{id}")),
        OpOwner::Session(name) => Text::from(format!("{namespace}.session-{name}.{id}")),
    };
    match &mut op.action {
        Action::Acquire { id, owner, .. } => *id = unique(id, owner),
        Action::Release { lock, .. }
        | Action::Renew { lock, .. }
        | Action::Cancel { lock }
        | Action::Break { lock, .. } => {
            lock.id = unique(&lock.id, lock.owner.as_ref().unwrap());
            if leave_out_owner {
                lock.owner = None;
            }
        }
        Action::Done { session, ids } => {
            let owner = OpOwner::Session(session.clone());
            ids.iter_mut().for_each(|id| *id = unique(id, &owner));
        }
        _ => {}
    }
}

/// The oracles take scripts as they are, with owners and tokens left out.
#[test]
fn random_scripts_run_clean() {
    for seed in 0..300 {
        let mut random = Random(ChaCha8Rng::seed_from_u64(seed));
        let mut script = String::new();
        if random.one_in(2) {
            script.push_str("#! limit retention=5 sessions=2 locks_per_owner=3\n");
        }
        if random.one_in(2) {
            script.push_str("#! limit session_ends_per_ms=1\n");
        }
        let mut at = 0;
        for _ in 0..300 {
            let mut op = random.op(&mut at);
            with_unique_ids(&mut op, random.one_in(2));
            script.push_str(&serde_json::to_string(&op).unwrap());
            script.push('\n');
        }
        let mut output = Vec::new();
        let options = ScriptOptions::default();
        let result = run_script(script.as_bytes(), &mut output, std::io::sink(), &options);
        assert!(
            result.is_ok(),
            "seed {seed}: {}\n{script}",
            result.unwrap_err()
        );
    }
}
