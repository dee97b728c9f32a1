//! A client that asks for the lock once, counts its lease by its own clock, and writes.

use lockwright_client::ClockRateBound;
use lockwright_engine::DurationMs;
use std::time::Duration;

/// The age of a message that nothing is counted from any more: states that differ in nothing that
/// matters are one.
const IRRELEVANT: u32 = u32::MAX;

/// The age of a renewal whose answer has come.
const ANSWERED: u32 = IRRELEVANT - 1;

/// From when a client counts its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CountsFrom {
    /// From when it sent what was granted: what the client that ships does.
    Sending,
    /// From when it got the answer.
    Receipt,
}

/// How a client computes its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counting {
    pub(crate) from: CountsFrom,
    pub(crate) bound: ClockRateBound,
    /// Whether it forgets that the server's time is in whole milliseconds, rounded down.
    pub(crate) forgets_whole_ms: bool,
}

impl Counting {
    /// How long after its anchor a client stops to believe in what lasts `lasts_ms` at the server,
    /// in µs of its own clock.
    pub(crate) fn span_us(self, lasts_ms: u32) -> u32 {
        let lasts = u64::from(lasts_ms) + u64::from(self.forgets_whole_ms);
        let lasts = DurationMs::new(lasts).expect("it is short");
        let span = self.bound.deadline(Duration::ZERO, lasts).as_micros();
        u32::try_from(span).expect("it is short")
    }
}

/// A client. Its clock shows in how old what it has sent is, and how much of its lease is left: so
/// the number of states is finite, and the search is not bounded by a latest time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    /// How long ago each message that is answered was sent, in µs of its own clock, as long as
    /// that matters.
    pub(crate) age_us: Vec<u32>,
    pub(crate) stage: Stage,
    /// It found that it holds the lock with this token, and is going to write.
    pub(crate) about_to_write: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// It has not asked, or has no answer yet.
    Asks,
    /// It was told of its grant, and believes in it for as long as something is left.
    Told { token: u8, left_us: u32 },
    /// It has released the lock.
    Over,
}

impl Client {
    pub(crate) fn new() -> Client {
        Client {
            age_us: Vec::new(),
            stage: Stage::Asks,
            about_to_write: None,
        }
    }

    /// With which token it believes itself the holder.
    pub(crate) fn believes(&self) -> Option<u8> {
        match self.stage {
            Stage::Told { token, left_us } if left_us > 0 => Some(token),
            Stage::Asks | Stage::Told { .. } | Stage::Over => None,
        }
    }

    /// Its clock goes on. Beyond `age_us_max` it makes no difference how long ago something was
    /// sent, since no deadline is so far off.
    pub(crate) fn pass(&mut self, us: u32, age_us_max: u32) {
        for age in &mut self.age_us {
            if *age < ANSWERED {
                *age = (*age + us).min(age_us_max);
            }
        }
        if let Stage::Told { left_us, .. } = &mut self.stage {
            *left_us = left_us.saturating_sub(us);
        }
    }

    /// Sends a message that is answered, and gives its number.
    pub(crate) fn send(&mut self) -> u8 {
        self.age_us.push(0);
        u8::try_from(self.age_us.len() - 1).expect("it sends a few")
    }

    /// It is told of its grant: by the answer to message `answer_to`, which says what is left of
    /// the lease, or unasked, with how long the request had waited.
    pub(crate) fn granted(&mut self, told: Told, token: u8, counting: Counting) {
        if self.stage == Stage::Asks {
            let left_us = self.left_us(told, counting);
            self.stage = Stage::Told { token, left_us };
            // Further answers to its request say nothing new.
            self.age_us.fill(IRRELEVANT);
        }
    }

    pub(crate) fn renewed(&mut self, told: Told, counting: Counting) {
        let renewed = self.left_us(told, counting);
        if let (Stage::Told { left_us, .. }, Some(message)) = (&mut self.stage, told.answer_to) {
            // A renewal never shortens a lease here: the later deadline is as sound as the other.
            *left_us = renewed.max(*left_us);
            self.age_us[usize::from(message)] = ANSWERED;
        }
    }

    /// Whether the answer to message `message` would tell it something.
    pub(crate) fn waits_for(&self, message: Option<u8>) -> bool {
        match (self.stage, message) {
            (Stage::Asks, _) => true,
            (Stage::Told { .. }, Some(message)) => self.age_us[usize::from(message)] < ANSWERED,
            (Stage::Told { .. }, None) | (Stage::Over, _) => false,
        }
    }

    /// Whether it believes itself the holder and has renewed its lease.
    pub(crate) fn believes_in_a_renewal(&self) -> bool {
        self.believes().is_some() && self.age_us.contains(&ANSWERED)
    }

    pub(crate) fn release(&mut self) {
        self.stage = Stage::Over;
        self.age_us.fill(IRRELEVANT);
    }

    fn left_us(&self, told: Told, counting: Counting) -> u32 {
        let (age_us, lasts_ms) = match (counting.from, told) {
            (CountsFrom::Receipt, Told { lease_ms, .. }) => (0, lease_ms),
            (
                CountsFrom::Sending,
                Told {
                    answer_to: Some(message),
                    lease_ms,
                    ..
                },
            ) => (self.age_us[usize::from(message)], lease_ms),
            // The first of its messages may be the one that arrived.
            (
                CountsFrom::Sending,
                Told {
                    answer_to: None,
                    waited_ms,
                    lease_ms,
                },
            ) => (self.age_us[0], waited_ms + lease_ms),
        };
        counting.span_us(lasts_ms).saturating_sub(age_us)
    }
}

/// What a client is told of its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Told {
    /// The message that is answered; none in a push.
    pub(crate) answer_to: Option<u8>,
    /// How long the request had waited when it was granted.
    pub(crate) waited_ms: u32,
    /// In an answer what is left, in a push the lease from the grant on.
    pub(crate) lease_ms: u32,
}
