//! Where commands get their time and take effect.

use crate::Probe;
use lockwright_engine::{
    Command, Engine, EngineConfig, Event, HashKey, Limits, LockInfo, LockKey, Refusal, Reply,
    SessionKey, TimeMs, Token,
};
use lockwright_env::Env;
use std::{sync::Arc, time::Duration};

/// How many tokens are set aside for each millisecond that the machine is up: more than an engine
/// can grant in that time.
const TOKENS_PER_MS: u64 = 1 << 16;

/// The first token of a server that starts when its machine has been up for `uptime`.
///
/// A server that keeps nothing over a restart must still never give a token twice, nor a smaller
/// one after a larger one. It starts at the number of milliseconds of uptime times 2^16: what it
/// grants until it stops stays below what the next one on the same machine starts with, as long as
/// it grants fewer than 65,536 locks a millisecond on average. A reboot of the machine starts anew:
/// whoever needs tokens that increase over reboots needs a server with a disk.
#[must_use]
pub fn first_token(uptime: Duration) -> Token {
    let ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
    Token(ms.saturating_mul(TOKENS_PER_MS).max(1))
}

/// The engine and its clock.
///
/// [`propose`](Ledger::propose) is the seam at which a command stops being a wish and becomes
/// history. Here that is applying it; with several replicas it is agreeing on it first.
pub(crate) struct Ledger<E> {
    env: E,
    engine: Engine,
    probe: Arc<dyn Probe>,
}

/// A command that was applied.
pub(crate) struct Applied {
    /// The engine's time after it.
    pub(crate) at: TimeMs,
    /// What the engine replied.
    pub(crate) result: Result<Reply, Refusal>,
    /// What happened, in order: first what was due, then what the command did.
    pub(crate) events: Vec<Event>,
}

impl<E: Env> Ledger<E> {
    /// An empty ledger. Waits for the next millisecond to begin, so that even a server that was
    /// started, granted locks and was stopped within this one had smaller tokens.
    pub(crate) async fn start(env: E, limits: Limits, probe: Arc<dyn Probe>) -> Ledger<E> {
        let start = whole_ms(env.monotonic()) + Duration::from_millis(1);
        env.sleep_until(start).await;
        let first_token = first_token(start);
        let engine = Engine::new(EngineConfig {
            limits,
            hash_key: random_hash_key(),
            first_token,
        });
        probe.started(first_token);
        Ledger { env, engine, probe }
    }

    /// Gives `command` the present time and applies it.
    pub(crate) fn propose(&mut self, command: &Command) -> Applied {
        let now = time_of(self.env.monotonic());
        let mut events = Vec::new();
        let result = self.engine.apply(now, command, &mut events);
        let at = self.engine.now();
        assert!(at >= now, "the engine's time is never behind the clock's");
        assert!(
            self.engine.next_deadline().is_none_or(|next| next > at),
            "what was due has happened (SEMANTICS section 3)"
        );
        self.probe.applied(at, command, &result, &events);
        Applied { at, result, events }
    }

    /// When something is due next, on the clock of the Env.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.engine
            .next_deadline()
            .map(|at| Duration::from_millis(at.as_ms()))
    }

    /// The engine's time.
    pub(crate) fn now(&self) -> TimeMs {
        self.engine.now()
    }

    pub(crate) fn lock(&self, key: &LockKey) -> Option<LockInfo> {
        self.engine.lock(key)
    }

    pub(crate) fn session_locks(&self, session: &SessionKey) -> Vec<LockInfo> {
        self.engine.session_locks(session)
    }

    pub(crate) fn usage(&self) -> lockwright_engine::Usage {
        self.engine.usage()
    }
}

/// The engine time of a moment: its whole milliseconds. So a lease ends up to 1 ms before a clock
/// that counts from the moment itself would say; clients take that into account.
fn time_of(moment: Duration) -> TimeMs {
    u64::try_from(moment.as_millis())
        .ok()
        .and_then(|ms| TimeMs::new(ms).ok())
        .expect("a monotonic clock counts from boot, not for 285,000 years")
}

fn whole_ms(moment: Duration) -> Duration {
    Duration::from_millis(time_of(moment).as_ms())
}

/// A key that clients cannot know, so that they cannot choose names that collide.
fn random_hash_key() -> HashKey {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness to give");
    let (low, high) = bytes.split_at(8);
    let number = |half: &[u8]| half.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    HashKey([number(low), number(high)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_start_above_what_an_earlier_server_can_have_given() {
        assert_eq!(first_token(Duration::ZERO), Token(1));
        assert_eq!(first_token(Duration::from_micros(1999)), Token(1 << 16));
        assert_eq!(first_token(Duration::from_millis(3)), Token(3 << 16));
        assert_eq!(first_token(Duration::MAX), Token(u64::MAX));
    }

    #[test]
    fn engine_time_is_whole_milliseconds() {
        assert_eq!(time_of(Duration::from_nanos(1_999_999)).as_ms(), 1);
    }
}
