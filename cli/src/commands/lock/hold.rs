//! Holding a lock without a command, until a signal comes.

use super::{keep::Keeper, signals::Signals, timing::Timing};
use crate::{exit::Exit, output};
use lockwright_env::{Env, TokioEnv};
use nix::sys::signal::Signal;

/// Those that end it. The others would be for a command.
const ENDING: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// Waits until it is told to end, or the lock is about to be lost.
pub(super) async fn until_told(mut keeper: Keeper, mut signals: Signals, timing: &Timing) -> Exit {
    loop {
        let due = keeper.due(timing);
        let why = tokio::select! {
            biased;
            why = &mut keeper.lost => Some(why.unwrap_or_else(|_| "the client was closed".to_owned())),
            signal = signals.next() => {
                if ENDING.iter().any(|ending| *ending as i32 == signal) {
                    return Exit::DONE;
                }
                None
            }
            () = TokioEnv.sleep_until(due.end_at) => keeper.why_over(due, timing).await,
        };
        if let Some(why) = why {
            output::tell(&format!("lockwright: the lock is lost: {why}"));
            return Exit::LOST;
        }
    }
}
