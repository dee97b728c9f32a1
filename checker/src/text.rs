//! States and steps for people, as the explorer shows them.

use crate::ask::Step;
use crate::book::{Book, Life};
use crate::instance::Instance;
use lockwright_engine::{Claim, Mode, Wait};
use std::fmt;

/// A step with its names.
pub(crate) fn step(instance: &Instance, step: Step) -> String {
    let id = |id: usize| instance.locks[id].id.as_str();
    let client = |at: usize| instance.clients[at].owner.name().as_str();
    match step {
        Step::Pass => "1 ms passes".to_owned(),
        Step::Tick => "the engine is told the time".to_owned(),
        Step::Probe => "probe".to_owned(),
        Step::Acquire {
            id: at,
            claims,
            ttl,
            wait,
        } => {
            let claims: Vec<String> = instance.claim_sets[usize::from(claims)]
                .claims
                .iter()
                .map(claim)
                .collect();
            let ttl = instance.ttls[usize::from(ttl)]
                .map_or_else(String::new, |ttl| format!(" for {ttl} ms"));
            format!(
                "{} asks for {}{ttl} as {}, waiting {}",
                client(instance.client_of[at]),
                claims.join(", "),
                id(at),
                match instance.waits[usize::from(wait)] {
                    Wait::No => "not at all".to_owned(),
                    Wait::For(wait) => format!("{} ms", wait.as_ms()),
                    Wait::Forever => "for ever".to_owned(),
                }
            )
        }
        Step::Cancel(at) => format!("cancel {}", id(at)),
        Step::Release(at) => format!("release {}", id(at)),
        Step::Renew { id: at, ttl } => {
            let ttl = instance.ttls[usize::from(ttl)].unwrap_or(0);
            format!("renew {} for {ttl} ms", id(at))
        }
        Step::Break(at) => format!("break {}", id(at)),
        Step::Open(at) => format!("open {}", client(at)),
        Step::Attach(at) => format!("attach {}", client(at)),
        Step::Detach(at) => format!("detach {}", client(at)),
        Step::KeepAlive(at) => format!("keep {} alive", client(at)),
        Step::Close(at) => format!("close {}", client(at)),
        Step::Done(at) => format!("{} is done with {}", client(instance.client_of[at]), id(at)),
    }
}

fn claim(claim: &Claim) -> String {
    let mode = match claim.mode {
        Mode::Read => 'r',
        Mode::Write => 'w',
    };
    format!("{mode} {}", claim.path)
}

/// A book, a line for each request and session. Claims are places in the instance's list.
pub(crate) fn book(f: &mut fmt::Formatter<'_>, book: &Book) -> fmt::Result {
    writeln!(f, "{} ms, the engine knows of {} ms", book.clock, book.told)?;
    for (id, request) in book.requests.iter().enumerate() {
        if request.life != Life::Unknown {
            let (claims, arrival) = (request.claims, request.arrival);
            writeln!(
                f,
                "L{} claims #{claims}, arrival {arrival}: {:?}",
                id + 1,
                request.life
            )?;
        }
    }
    for (client, session) in book.sessions.iter().enumerate() {
        if let Some(session) = session {
            writeln!(f, "client {client} is open: {:?}", session.ends_at)?;
        }
    }
    Ok(())
}
