//! While the command runs: its end, signals, the terminal, and the end of the lock.

use super::{
    job::{Change, Job},
    keep::Keeper,
    signals::Signals,
    terminal,
    timing::Timing,
};
use crate::{exit::Exit, output};
use lockwright_env::{Env, TokioEnv, timeout};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::getpgrp,
};

/// Waits for the command to end, and ends it when its lock does.
pub(super) async fn watch(
    mut job: Job,
    mut keeper: Keeper,
    mut signals: Signals,
    timing: &Timing,
) -> Exit {
    loop {
        let due = keeper.due(timing);
        let why = tokio::select! {
            biased;
            why = &mut keeper.lost => {
                why.unwrap_or_else(|_| "the client was closed".to_owned())
            }
            change = job.change() => match change {
                Change::Exited(code) => {
                    give_back_terminal(&job);
                    return Exit(u8::try_from(code).unwrap_or(u8::MAX));
                }
                Change::Signaled(signal) => {
                    give_back_terminal(&job);
                    return Exit::by_signal(signal);
                }
                Change::Stopped(signal) => {
                    stopped(&mut job, &keeper, signal);
                    continue;
                }
            },
            signal = signals.next() => {
                job.signal(signal);
                continue;
            }
            () = TokioEnv.sleep_until(due.end_at) => {
                match keeper.why_over(due, timing).await {
                    Some(why) => why,
                    // It was renewed meanwhile.
                    None => continue,
                }
            }
        };
        end(&mut job, &keeper, timing, &why).await;
        give_back_terminal(&job);
        output::tell(&format!(
            "lockwright: the lock is lost: {why}; the command was ended"
        ));
        return Exit::LOST;
    }
}

/// Ends the command and all that it has started before the lock can be somebody else's.
async fn end(job: &mut Job, keeper: &Keeper, timing: &Timing, why: &str) {
    let kill_at = keeper
        .belief
        .deadline()
        .map(|at| at.saturating_sub(timing.margin));
    // Without a deadline it is somebody else's already, and there is no time for grace.
    if let Some(kill_at) = kill_at {
        let left = kill_at
            .saturating_sub(TokioEnv.monotonic())
            .min(timing.grace);
        if !left.is_zero() {
            job.ask_to_end(why);
            let _ = timeout(&TokioEnv, left, job.over()).await;
        }
    }
    job.kill(why).await;
}

/// The command was stopped.
fn stopped(job: &mut Job, keeper: &Keeper, signal: Signal) {
    let wants_terminal = matches!(signal, Signal::SIGTTIN | Signal::SIGTTOU);
    if wants_terminal && terminal::is_ours() {
        terminal::give(job.group());
        job.signal(Signal::SIGCONT as i32);
    } else if wants_terminal || terminal::has(job.group()) {
        // For our shell, we and the command are one job. Stopped we renew nothing; the command
        // goes on only if the lock is still held when we do.
        if terminal::has(job.group()) {
            terminal::take_back();
        }
        let _ = killpg(getpgrp(), Signal::SIGTSTP);
        if keeper.belief.holds(TokioEnv.monotonic()) {
            if terminal::is_ours() {
                terminal::give(job.group());
            }
            job.signal(Signal::SIGCONT as i32);
        }
    }
}

/// So that whoever comes after us can use the terminal.
fn give_back_terminal(job: &Job) {
    if terminal::has(job.group()) {
        terminal::take_back();
    }
}
