//! Who is in the way, for people.

use crate::{
    cli::Target,
    commands::inspect,
    http::{Api, LockFacts, understood},
    units,
};
use lockwright_client::{Claim, Client};
use lockwright_env::{TokioEnv, timeout};
use std::{collections::BTreeSet, thread, time::Duration};
use tokio::sync::oneshot;

/// How long it may take to find out: it is not worth more.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many are named.
const NAMED_MAX: usize = 5;

/// What is held, or was asked for before us, and is in the way of these claims: a line of each, or
/// none when that cannot be found out in time.
pub(super) async fn in_the_way(
    client: &Client<TokioEnv>,
    target: &Target,
    claims: &[Claim],
) -> Vec<String> {
    let us = client.session().await.map(|us| us.as_str().to_owned());
    let (tell, told) = oneshot::channel();
    let (target, claims) = (target.clone(), claims.to_vec());
    // It does not outlive what it is for, as a task that blocks would.
    thread::spawn(move || {
        // It fails when it took too long.
        let _ = tell.send(look(&target, &claims, us.as_deref()));
    });
    match timeout(&TokioEnv, PATIENCE, told).await {
        Ok(Ok(lines)) => lines,
        _ => Vec::new(),
    }
}

fn look(target: &Target, claims: &[Claim], us: Option<&str>) -> Vec<String> {
    let api = Api::new(target, false);
    let (mut seen, mut lines) = (BTreeSet::new(), Vec::new());
    for claim in claims {
        let Ok(there) = inspect::look(&api, &claim.path.to_string()) else {
            continue;
        };
        let held: Vec<LockFacts> = understood(&there["held"]).unwrap_or_default();
        let queued: Vec<LockFacts> = understood(&there["queued"]).unwrap_or_default();
        // In the order of asking: who comes after us is not in our way.
        let before = queued.iter().take_while(|lock| !lock.is_of_session(us));
        for lock in held.iter().chain(before) {
            let is_ours = lock.is_of_session(us);
            if !is_ours
                && lock.conflicts(claim)
                && seen.insert((lock.owner.to_string(), lock.id.clone()))
            {
                lines.push(line(lock));
            }
        }
    }
    let more = lines.len().saturating_sub(NAMED_MAX);
    lines.truncate(NAMED_MAX);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

fn line(lock: &LockFacts) -> String {
    let (owner, claims) = (lock.owner_in_words(), lock.claims());
    let age = units::short_span(lock.age_ms);
    let since = units::short_span(lock.held_ms.unwrap_or(lock.age_ms));
    match lock.token {
        Some(token) => format!("{owner} has held {claims} for {since}, with the token {token}"),
        None => format!("{owner} has waited for {claims} for {age}"),
    }
}
