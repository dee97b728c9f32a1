//! The probe: in each state, everything that must be refused or change nothing, and everything that
//! can be asked.

use crate::ask::Ask;
use crate::book::{Book, Life};
use crate::instance::{Instance, time};
use crate::judge::judge;
use crate::machine::Machine;
use crate::rules::{Breach, Rule, must};
use lockwright_engine::{LockInfo, Usage};
use std::collections::BTreeSet;

/// Probes an engine in the state of `book`, which was told the present time.
pub(crate) fn probe<M: Machine>(
    instance: &Instance,
    book: &Book,
    machine: &M,
) -> Result<(), Breach> {
    let mut probed = machine.clone();
    let mut events = Vec::new();
    let mut copy = *book;
    for ask in asks(instance, book) {
        let command = instance.command(ask);
        let answer = probed.apply(time(book.clock), &command, &mut events);
        let rule = if answer.is_ok() {
            Rule::Retries
        } else {
            Rule::Refusals
        };
        judge(instance, &mut copy, ask, &events, &answer)?;
        must(copy == *book, rule, || format!("{ask:?} changes the state"))?;
        events.clear();
    }
    must(probed.engine() == machine.engine(), Rule::Refusals, || {
        "what was refused, or only asked again, left a trace".to_owned()
    })?;
    // And back in time, which is the same as now.
    let earlier = time(book.clock.saturating_sub(1));
    let answer = probed.apply(earlier, &instance.command(Ask::Tick), &mut events);
    judge(instance, &mut copy, Ask::Tick, &events, &answer)?;
    must(
        copy == *book && probed.engine() == machine.engine(),
        Rule::DueOrder,
        || "a time that is past changes something".to_owned(),
    )?;
    questions(instance, book, machine)?;
    machine.engine().check();
    Ok(())
}

/// Asks again with the id of each request that has just ended, for each set of claims. It is done here
/// and not only in the probe, since states count as one that differ in the claims of what has ended.
pub(crate) fn ids_of_ended<M: Machine>(
    instance: &Instance,
    before: &Book,
    book: &Book,
    machine: &M,
) -> Result<(), Breach> {
    let has_ended = |id: &usize| {
        before.requests[*id].life != book.requests[*id].life
            && matches!(book.requests[*id].life, Life::Ended { .. })
    };
    for id in (0..instance.locks.len()).filter(has_ended) {
        let (mut probed, mut copy) = (machine.clone(), *book);
        for ask in retries(instance, id) {
            let mut events = Vec::new();
            let answer = probed.apply(time(book.told), &instance.command(ask), &mut events);
            judge(instance, &mut copy, ask, &events, &answer)?;
        }
    }
    Ok(())
}

/// The id of a request again, with each set of claims.
fn retries(instance: &Instance, id: usize) -> impl Iterator<Item = Ask> {
    let sets = u8::try_from(instance.claim_sets.len()).unwrap_or(u8::MAX);
    (0..sets).map(move |claims| Ask::Acquire {
        id,
        claims,
        ttl: 0,
        wait: 0,
    })
}

/// Commands that change nothing in this state.
pub(crate) fn asks(instance: &Instance, book: &Book) -> Vec<Ask> {
    /// A number that no grant has.
    const NEVER_GRANTED: u64 = 0;
    let mut asks = Vec::new();
    for id in 0..instance.locks.len() {
        let request = &book.requests[id];
        asks.push(Ask::Senseless { id, claims: None });
        asks.push(Ask::Senseless {
            id,
            claims: Some(0),
        });
        let any_token = request.token().unwrap_or(NEVER_GRANTED);
        let retries = retries(instance, id);
        match request.life {
            Life::Unknown => {
                if !instance.may_ask(book, id) {
                    asks.extend(retries.take(1));
                }
                asks.push(Ask::Cancel { id });
                asks.push(Ask::Break { id, token: None });
            }
            Life::Queued { .. } => {
                asks.extend(retries);
                asks.push(Ask::Break {
                    id,
                    token: Some(book.last_token + 1),
                });
            }
            Life::Held { token, .. } => {
                let stale = [token - 1, token + 1];
                asks.extend(retries);
                asks.push(Ask::Cancel { id });
                for token in stale {
                    let ttl = Some(1);
                    asks.push(Ask::Release { id, token });
                    asks.push(Ask::Renew { id, token, ttl });
                    asks.push(Ask::Break {
                        id,
                        token: Some(token),
                    });
                }
                asks.push(Ask::Renew {
                    id,
                    token,
                    ttl: None,
                });
                continue;
            }
            Life::Ended { .. } => {
                asks.extend(retries);
                asks.extend([Ask::Cancel { id }, Ask::Break { id, token: None }]);
            }
        }
        asks.push(Ask::Release {
            id,
            token: any_token,
        });
        asks.push(Ask::Renew {
            id,
            token: any_token,
            ttl: Some(1),
        });
    }
    for (client, session) in book
        .sessions
        .iter()
        .enumerate()
        .take(instance.clients.len())
    {
        if instance.clients[client].session.is_none() {
            continue;
        }
        match session {
            None => asks.extend([
                Ask::Done {
                    client,
                    id: 0,
                    and: None,
                },
                Ask::Attach { client },
                Ask::Detach { client },
                Ask::KeepAlive { client },
                Ask::Close { client },
            ]),
            // They are told, and nothing changes.
            Some(session) => {
                asks.extend(done_with_nothing(instance, book, client));
                asks.push(Ask::Open { client });
                asks.push(match session.ends_at {
                    None => Ask::Attach { client },
                    Some(_) => Ask::Detach { client },
                });
                if session.ends_at.is_none() {
                    asks.push(Ask::KeepAlive { client });
                }
            }
        }
    }
    asks
}

/// A session is done with requests, and nothing changes: with what is not known, which another client's
/// request is, and with what is live, alone or beside one that has ended.
fn done_with_nothing(instance: &Instance, book: &Book, client: usize) -> impl Iterator<Item = Ask> {
    let ended = move |id: &usize| {
        instance.client_of[*id] == client && matches!(book.requests[*id].life, Life::Ended { .. })
    };
    let live = |id: &usize| instance.client_of[*id] == client && book.requests[*id].is_live();
    let ids = 0..instance.locks.len();
    let first_ended = ids.clone().find(ended);
    let first_live = ids.clone().find(live);
    let both = first_ended.zip(first_live).map(|(and, id)| Ask::Done {
        client,
        id,
        and: Some(and),
    });
    let alone = ids.filter(move |id| !ended(id)).map(move |id| Ask::Done {
        client,
        id,
        and: None,
    });
    alone.chain(both)
}

/// What the engine shows of each request must be what it said before.
pub(crate) fn each_lock<M: Machine>(
    instance: &Instance,
    book: &Book,
    machine: &M,
) -> Result<(), Breach> {
    for (id, key) in instance.locks.iter().enumerate() {
        let shown = machine.engine().lock(key);
        must(
            shown.as_ref().map(|info| info.state) == book.requests[id].state(),
            Rule::Questions,
            || {
                format!(
                    "{} stands at {:?}, and is shown as {shown:?}",
                    key.id, book.requests[id]
                )
            },
        )?;
        let Some(shown) = shown else { continue };
        let request = &book.requests[id];
        if request.is_live() {
            has_all_claims(instance, id, request.claims, &shown)?;
        }
        // Of what is over the time of its end is remembered, and not that of its arrival.
        let arrived_at = match request.life {
            Life::Ended { at, .. } => at,
            _ => request.arrived_at,
        };
        must(
            shown.arrived_at.as_ms() == arrived_at,
            Rule::Questions,
            || {
                format!(
                    "{} is shown as arrived at {} ms, not {arrived_at} ms",
                    key.id, shown.arrived_at
                )
            },
        )?;
    }
    Ok(())
}

/// A live request stands with all its claims, not with some (section 2). No claim set of an
/// instance has one that another of its claims covers.
fn has_all_claims(
    instance: &Instance,
    id: usize,
    claims: u8,
    shown: &LockInfo,
) -> Result<(), Breach> {
    let mut asked = instance.claim_sets[usize::from(claims)].claims.clone();
    asked.sort_unstable();
    must(shown.claims == asked, Rule::AllOrNothing, || {
        let key = &instance.locks[id].id;
        format!(
            "{key} asked for {asked:?} and stands with {:?}",
            shown.claims
        )
    })
}

fn questions<M: Machine>(instance: &Instance, book: &Book, machine: &M) -> Result<(), Breach> {
    let engine = machine.engine();
    each_lock(instance, book, machine)?;
    for path in &instance.paths {
        let mut wanted: Vec<(u32, usize)> = book
            .live()
            .filter(|(_, request)| {
                let claims = &instance.claim_sets[usize::from(request.claims)].claims;
                claims
                    .iter()
                    .any(|claim| crate::instance::overlap(&claim.path, path))
            })
            .map(|(id, request)| (request.arrival, id))
            .collect();
        wanted.sort_unstable();
        let shown = engine.overlapping(&instance.namespace, path);
        let same = shown.len() == wanted.len()
            && shown.iter().zip(&wanted).all(|(shown, (_, id))| {
                shown.key == instance.locks[*id] && Some(shown.state) == book.requests[*id].state()
            });
        must(same, Rule::AllOrNothing, || {
            format!("{wanted:?} claim what overlaps {path}, and {shown:?} is shown")
        })?;
    }
    let usage = engine.usage();
    let expected = expected_usage(instance, book);
    must(usage == expected, Rule::Resources, || {
        format!("{expected:?} is needed, and {usage:?} is in use")
    })?;
    let due = book.first_due().map(|(at, _)| at);
    must(
        engine.next_deadline().map(|at| at.as_ms()) == due,
        Rule::Questions,
        || {
            format!(
                "the next deadline is {due:?}, not {:?}",
                engine.next_deadline()
            )
        },
    )
}

/// Counts what needs a record, as documented on [`Usage`].
fn expected_usage(instance: &Instance, book: &Book) -> Usage {
    let known = |id: &usize| book.requests[*id].life != Life::Unknown;
    let ids = 0..instance.locks.len();
    let live_requests = book.live().count();
    let mut owners: BTreeSet<usize> = ids
        .clone()
        .filter(known)
        .map(|id| instance.client_of[id])
        .collect();
    let sessions = book
        .sessions
        .iter()
        .enumerate()
        .filter(|(_, session)| session.is_some());
    owners.extend(sessions.clone().map(|(client, _)| client));
    let (mut nodes, mut entries) = (BTreeSet::new(), 0);
    for (_, request) in book.live() {
        // One entry in the claim's own mode on its node, and one in the intention mode on each
        // node above it; where claims of one request share a node and a mode, one for both.
        let mut of_it = BTreeSet::new();
        for claim in &instance.claim_sets[usize::from(request.claims)].claims {
            let segments: Vec<&str> = claim.path.segments().collect();
            for depth in 0..=segments.len() {
                let own = depth == segments.len();
                of_it.insert((segments[..depth].join("/"), claim.mode, own));
            }
        }
        entries += of_it.len();
        nodes.extend(of_it.into_iter().map(|(path, ..)| path));
    }
    let ends = book
        .sessions
        .iter()
        .flatten()
        .filter(|s| s.ends_at.is_some());
    Usage {
        live_requests,
        remembered_requests: ids.filter(known).count() - live_requests,
        nodes: nodes.len(),
        entries,
        namespaces: usize::from(!owners.is_empty()),
        owners: owners.len(),
        sessions: sessions.count(),
        deadlines: book.live().filter(|(_, r)| r.due().is_some()).count() + ends.count(),
    }
}
