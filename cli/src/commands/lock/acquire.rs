//! Getting the lock.

use super::others;
use crate::{
    cli::Target,
    exit::{Exit, Failure},
    output,
};
use lockwright_client::{
    AcquireRequest, Claim, Client, DurationMs, EndReason, ErrorCode, Lock, Lost, Notice, Refused,
    Token, Wait,
};
use lockwright_env::{Env, TokioEnv, timeout};
use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

/// What is asked for.
pub(super) struct Wanted {
    pub(super) target: Target,
    pub(super) claims: Vec<Claim>,
    pub(super) ttl: Option<DurationMs>,
    pub(super) wait: Wait,
    pub(super) connect_timeout: Duration,
    pub(super) call_timeout: Duration,
}

/// A lock that is held.
pub(super) struct Acquired {
    pub(super) lock: Lock<TokioEnv>,
    pub(super) token: Token,
}

/// What came of asking once.
enum Asked {
    Granted(Token),
    /// The server has lost the session; it can be asked for another.
    SessionLost,
    /// No server could be asked.
    NoServer,
}

/// Asks until there is an answer that counts, and says who is in the way if it is not to be had. A
/// session that has not got the lock is closed.
pub(super) async fn acquire(
    client: &Client<TokioEnv>,
    wanted: &Wanted,
) -> Result<Acquired, Failure> {
    let failure = match ask_again(client, wanted).await {
        Ok(Some(acquired)) => return Ok(acquired),
        Ok(None) => {
            let failure = no_server(client, wanted).await;
            if client.session().await.is_none() {
                return Err(failure);
            }
            // A server was asked, and has not answered: the lock may still be granted.
            failure
        }
        Err(Failure::Told { exit, message }) if exit == Exit::NOT_ACQUIRED => {
            let others = others::in_the_way(client, &wanted.target, &wanted.claims).await;
            let lines: String = others.iter().map(|line| format!("\n  {line}")).collect();
            Failure::new(exit, format!("{message}{lines}"))
        }
        Err(failure) => failure,
    };
    leave(client, wanted.call_timeout).await;
    Err(failure)
}

/// Ends the session, and what it waits for. Abandoned, it would count among the server's sessions for
/// the whole abandon timeout, and one is left behind by each call of a job that tries again and again.
pub(super) async fn leave(client: &Client<TokioEnv>, call_timeout: Duration) {
    // It ends by itself if the server cannot be told.
    let _ = timeout(&TokioEnv, call_timeout, client.close()).await;
}

/// `None` when no server could be asked.
async fn ask_again(
    client: &Client<TokioEnv>,
    wanted: &Wanted,
) -> Result<Option<Acquired>, Failure> {
    let start = TokioEnv.monotonic();
    loop {
        let waited = TokioEnv.monotonic().saturating_sub(start);
        let wait = match wanted.wait {
            Wait::For(wait) => Wait::For(less(wait, waited)),
            other => other,
        };
        let mut request = AcquireRequest::new(wanted.claims.clone()).wait(wait);
        request.ttl = wanted.ttl;
        let mut lock = client.request(request);
        match ask(client, &mut lock, wait, wanted).await? {
            Asked::Granted(token) => return Ok(Some(Acquired { lock, token })),
            Asked::NoServer => return Ok(None),
            Asked::SessionLost => output::tell(
                "lockwright: the server has forgotten this session; the lock is asked for again",
            ),
        }
    }
}

fn less(wait: DurationMs, waited: Duration) -> DurationMs {
    let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
    DurationMs::new(wait.as_ms().saturating_sub(waited_ms)).unwrap_or(wait)
}

async fn ask(
    client: &Client<TokioEnv>,
    lock: &mut Lock<TokioEnv>,
    wait: Wait,
    wanted: &Wanted,
) -> Result<Asked, Failure> {
    let first = timeout(&TokioEnv, wanted.connect_timeout, lock.next()).await;
    let Ok(mut notice) = first else {
        return Ok(Asked::NoServer);
    };
    // The server counts the time; if it cannot be reached it is counted here.
    let patience = match wait {
        Wait::For(wait) => Some(crate::units::std(wait) + wanted.call_timeout),
        Wait::No => Some(wanted.connect_timeout),
        Wait::Forever => None,
    };
    let give_up = patience.map(|patience| TokioEnv.monotonic().saturating_add(patience));
    loop {
        match notice {
            Some(Notice::Granted { token, .. }) => return Ok(Asked::Granted(token)),
            Some(Notice::Queued) => tokio::select! {
                biased;
                next = lock.next() => {
                    notice = next;
                    continue;
                }
                () = say_that_we_wait(client, wanted) => {}
            },
            Some(Notice::Refused(refused)) => return Err(refusal(&refused)),
            Some(Notice::Ended(EndReason::TimedOut)) => return Err(not_in_time(wait)),
            Some(Notice::Ended(reason)) => {
                let why = super::ended(reason);
                return Err(Failure::new(
                    Exit::NOT_ACQUIRED,
                    format!("the request was ended: {why}"),
                ));
            }
            Some(Notice::Lost(Lost::SessionOver)) => return Ok(Asked::SessionLost),
            Some(Notice::Lost(lost)) => {
                return Err(Failure::new(
                    Exit::LOCK_FAILED,
                    format!("the request is lost: {lost}"),
                ));
            }
            None => unreachable!("a last notice comes before the end"),
        }
        let next = async {
            match give_up {
                Some(at) => {
                    let left = at.saturating_sub(TokioEnv.monotonic());
                    timeout(&TokioEnv, left, lock.next()).await.ok()
                }
                None => Some(lock.next().await),
            }
        };
        notice = next.await.ok_or_else(|| not_in_time(wait))?;
    }
}

/// On a terminal, says what is waited for, and behind whom.
async fn say_that_we_wait(client: &Client<TokioEnv>, wanted: &Wanted) {
    if !stderr().is_terminal() {
        return;
    }
    let others = others::in_the_way(client, &wanted.target, &wanted.claims).await;
    let names: Vec<String> = wanted
        .claims
        .iter()
        .map(|claim| claim.path.to_string())
        .collect();
    output::tell(&format!("lockwright: waiting for {}", names.join(", ")));
    for line in others {
        output::tell(&format!("  {line}"));
    }
}

/// No server could be asked in time: why not, of each.
async fn no_server(client: &Client<TokioEnv>, wanted: &Wanted) -> Failure {
    let troubles = client.troubles().await.unwrap_or_default();
    let of_each = wanted.target.servers.iter().map(|server| {
        let why = troubles.get(server).map(ToString::to_string);
        let why = why.unwrap_or_else(|| "not tried within that time".to_owned());
        format!("{server}: {why}")
    });
    let of_each: Vec<String> = of_each.collect();
    let message = format!(
        "no server could be asked within {:?} (--connect-timeout): {}; does `lockwright serve` run \
         there?",
        wanted.connect_timeout,
        of_each.join("; ")
    );
    Failure::new(Exit::LOCK_FAILED, message)
}

fn not_in_time(wait: Wait) -> Failure {
    let message = match wait {
        Wait::For(_) => "the lock was not to be had in the time given by --wait",
        Wait::No | Wait::Forever => "the server did not answer in time",
    };
    Failure::new(Exit::NOT_ACQUIRED, message)
}

fn refusal(refused: &Refused) -> Failure {
    match refused.code {
        ErrorCode::Busy => Failure::new(
            Exit::NOT_ACQUIRED,
            "somebody else has the lock, and --try does not wait",
        ),
        _ => Failure::new(Exit::LOCK_FAILED, format!("the server refused: {refused}")),
    }
}
