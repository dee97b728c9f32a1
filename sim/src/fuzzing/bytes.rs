//! Ops and limits from bytes: any bytes mean something, and similar bytes something similar.

use crate::op::{Action, Op, OpClaim, OpLock, OpOwner, OpWait, Text};
use lockwright_engine::{DurationMs, Limits};
use std::num::NonZeroU32;

/// More ops than this are not read: the reference model's time grows with their square.
const OPS_MAX: usize = 300;

const PATHS: [&str; 16] = [
    "/", "a", "a/b", "a/b/c", "a/c", "ab", "a/b/c/d", "b", "b/a", "b/b/b", "c", "a/bc", "é/ü", "",
    "a//b", "/a",
];
const NAMES: [&str; 8] = ["x", "y", "s", "t", "é", "x x", "", "x\n"];
/// Times and lengths in ms: small ones meet, the others are where arithmetic could go wrong.
const LENGTHS: [u64; 16] = [
    0,
    1,
    1,
    2,
    2,
    3,
    4,
    5,
    7,
    10,
    20,
    50,
    60_000,
    60_001,
    1 << 40,
    crate::op::NUMBER_MAX,
];

/// Bytes that are eaten up from the front; behind their end there are zeros.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Bytes<'_> {
    pub(super) fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// Less than `bound`, which is at most 256.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.next()) % bound
    }

    pub(super) fn limits(&mut self) -> Limits {
        let chosen = self.next();
        let mut limits = Limits::default();
        if chosen & 1 != 0 {
            limits = Limits {
                claims_per_request: 3,
                segments_per_path: 3,
                bytes_per_segment: 2,
                queued_requests_per_path: 2,
                locks_per_owner: 3,
                sessions: 2,
                namespaces: 2,
                ..limits
            };
        }
        if chosen & 2 != 0 {
            limits.retention = DurationMs::new(self.length()).unwrap_or(limits.retention);
        }
        if chosen & 4 != 0 {
            limits.session_ends_per_ms = NonZeroU32::MIN;
        }
        limits
    }

    pub(super) fn ops(&mut self) -> Vec<Op> {
        let mut ops = Vec::new();
        let mut at = 0;
        while !self.0.is_empty() && ops.len() < OPS_MAX {
            ops.push(self.op(&mut at));
        }
        ops
    }

    fn op(&mut self, latest: &mut u64) -> Op {
        let head = self.next();
        let action = self.action(head >> 4);
        if head & 8 != 0 {
            // Also past the end of all time.
            *latest = latest
                .saturating_add(self.length())
                .min(crate::op::NUMBER_MAX);
        }
        // A time that goes back is read as the latest.
        let back = if head & 7 == 7 { self.length() } else { 0 };
        let namespace = (head & 7 == 6).then(|| self.name());
        Op {
            at: latest.saturating_sub(back),
            namespace,
            action,
        }
    }

    fn action(&mut self, kind: u8) -> Action {
        match kind {
            0..=4 => self.acquire(),
            5 | 6 => Action::Release {
                lock: self.lock(),
                token: self.token(),
            },
            7 => Action::Renew {
                lock: self.lock(),
                token: self.token(),
                ttl: self.length(),
            },
            8 => Action::Cancel { lock: self.lock() },
            9 => Action::Break {
                lock: self.lock(),
                token: self.token(),
            },
            10 => Action::OpenSession {
                session: self.name(),
                abandon: self.length(),
            },
            11 => Action::Detach {
                session: self.name(),
            },
            12 => Action::Attach {
                session: self.name(),
            },
            13 => Action::KeepAlive {
                session: self.name(),
            },
            14 => Action::CloseSession {
                session: self.name(),
            },
            _ => match self.next() & 3 {
                0 => Action::Tick,
                2 => Action::Done {
                    session: self.name(),
                    ids: (0..self.below(4)).map(|_| self.id()).collect(),
                },
                _ => Action::Inspect { path: self.path() },
            },
        }
    }

    fn acquire(&mut self) -> Action {
        let shape = self.next();
        let claims = (0..=shape & 3).map(|_| self.claim()).collect();
        Action::Acquire {
            id: self.id(),
            owner: self.owner(),
            claims: if shape & 0xfc == 0xfc {
                Vec::new()
            } else {
                claims
            },
            ttl: (shape & 4 != 0).then(|| self.length()),
            wait: match shape >> 3 & 3 {
                0 | 1 => OpWait::Forever,
                2 => OpWait::For(self.length()),
                _ => OpWait::No,
            },
        }
    }

    fn claim(&mut self) -> OpClaim {
        let chosen = self.next();
        OpClaim {
            write: chosen & 16 != 0,
            path: Text::from(PATHS[usize::from(chosen & 15)]),
        }
    }

    fn lock(&mut self) -> OpLock {
        OpLock {
            id: self.id(),
            owner: Some(self.owner()),
        }
    }

    fn owner(&mut self) -> OpOwner {
        let chosen = self.next();
        let name = Text::from(NAMES[usize::from(chosen & 7)]);
        if chosen & 8 == 0 {
            OpOwner::Named(name)
        } else {
            OpOwner::Session(name)
        }
    }

    /// Mostly the one that the request got.
    fn token(&mut self) -> Option<u64> {
        let chosen = self.next();
        (chosen & 0xc0 == 0xc0).then(|| u64::from(chosen & 0x3f))
    }

    fn id(&mut self) -> Text {
        Text::from(self.below(6).to_string())
    }

    fn name(&mut self) -> Text {
        Text::from(NAMES[self.below(NAMES.len())])
    }

    fn path(&mut self) -> Text {
        Text::from(PATHS[self.below(PATHS.len())])
    }

    fn length(&mut self) -> u64 {
        LENGTHS[self.below(LENGTHS.len())]
    }
}
