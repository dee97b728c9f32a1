//! `GET /stats_v1`: how much of what there is in a namespace.

use super::parameters;
use crate::{
    call::Unavailable,
    http::{ApiError, NoBody},
    session_endpoint::{Gate, let_others_go_first},
};
use axum::{
    Json,
    extract::{RawQuery, State},
    http::StatusCode,
};
use lockwright_engine::{LockInfo, LockState, Name, Path};
use lockwright_env::Env;
use serde::Serialize;
use std::{collections::BTreeSet, sync::Arc};

/// Locks that are counted at once, so that nobody else waits for long. What comes and goes in
/// between may be counted or not.
const PAGE: usize = 1_000;

/// The numbers, under the names that Locktopus gives them. It also numbers the groups of a
/// namespace; nobody does that here, and a number that says something else would be worse than none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Stats {
    /// Requests that are queued.
    groups_pending: usize,
    /// Requests that are held.
    groups_acquired: usize,
    /// Claims of those that are queued.
    locks_pending: usize,
    /// Claims of those that are held.
    locks_acquired: usize,
    /// Places in the tree at which claims are known: for each its path, and all above.
    lockref_count: usize,
    /// Segments of all claims' paths.
    tokens_total: usize,
    /// Different segments.
    tokens_unique: usize,
    /// Different paths, those above included.
    path_count: usize,
}

/// Counts.
#[derive(Default)]
struct Tally {
    stats: Stats,
    segments: BTreeSet<String>,
    paths: BTreeSet<String>,
}

/// Tells how much there is in a namespace.
pub(crate) async fn stats<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    RawQuery(query): RawQuery,
    _: NoBody,
) -> Result<Json<Stats>, ApiError> {
    let namespace = parameters::only_namespace(query.as_deref().unwrap_or_default());
    let namespace = namespace.map_err(|error| ApiError::invalid(error.to_string()))?;
    let stats = count(&gate, namespace.clone()).await?;
    stats.map(Json).ok_or_else(|| {
        let message = format!("the namespace `{namespace}` is not in use");
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
    })
}

/// Counts what is in a namespace; none if it is not in use.
async fn count<E: Env>(gate: &Arc<Gate<E>>, namespace: Name) -> Result<Option<Stats>, Unavailable> {
    let wanted = namespace.clone();
    let is_used = gate
        .look(move |machine, _| machine.engine().is_namespace_in_use(&wanted))
        .await?;
    if !is_used {
        return Ok(None);
    }
    let mut counted = InParts {
        tally: Tally::default(),
        gate: gate.clone(),
    };
    let tally = &mut counted.tally;
    let mut from = None;
    loop {
        let namespace = namespace.clone();
        let page = gate
            .look(move |machine, _| {
                let engine = machine.engine();
                engine.locks_under(&namespace, &Path::root(), from, PAGE)
            })
            .await?;
        page.locks.iter().for_each(|lock| tally.add(lock));
        from = page.next;
        if from.is_none() {
            break;
        }
        let_others_go_first(gate.env()).await;
    }
    Ok(Some(tally.total()))
}

/// A tally that is freed in parts, whatever becomes of it: nobody waits for a million texts to be freed at
/// once either.
struct InParts<E: Env> {
    tally: Tally,
    gate: Arc<Gate<E>>,
}

impl<E: Env> Drop for InParts<E> {
    fn drop(&mut self) {
        let mut tally = std::mem::take(&mut self.tally);
        if !tally.forget(PAGE) {
            return;
        }
        let gate = self.gate.clone();
        tokio::spawn(async move {
            while tally.forget(PAGE) {
                let_others_go_first(gate.env()).await;
            }
        });
    }
}

impl Tally {
    fn add(&mut self, lock: &LockInfo) {
        let stats = &mut self.stats;
        let (groups, locks) = match lock.state {
            LockState::Held { .. } => (&mut stats.groups_acquired, &mut stats.locks_acquired),
            _ => (&mut stats.groups_pending, &mut stats.locks_pending),
        };
        *groups += 1;
        *locks += lock.claims.len();
        for claim in &lock.claims {
            let mut path = String::new();
            stats.lockref_count += 1;
            for segment in claim.path.segments() {
                stats.lockref_count += 1;
                stats.tokens_total += 1;
                self.segments.insert(segment.to_owned());
                path.push('/');
                path.push_str(segment);
                self.paths.insert(path.clone());
            }
        }
    }

    fn total(&self) -> Stats {
        Stats {
            tokens_unique: self.segments.len(),
            // The whole namespace is one.
            path_count: self.paths.len() + 1,
            ..self.stats.clone()
        }
    }

    /// Frees so much of what was kept to count it once; whether there is more.
    fn forget(&mut self, count: usize) -> bool {
        let of_each = |kept: &mut BTreeSet<String>| {
            (0..count).for_each(|_| drop(kept.pop_first()));
            !kept.is_empty()
        };
        // Of both each time.
        of_each(&mut self.segments) | of_each(&mut self.paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockwright_engine::{Claim, LockKey, Owner, TimeMs, Token};

    fn lock(claims: &[&str], state: LockState) -> LockInfo {
        let name = |text: &str| Name::new(text).unwrap();
        LockInfo {
            key: LockKey {
                namespace: name("n"),
                owner: Owner::Named(name("o")),
                id: name("L"),
            },
            claims: claims
                .iter()
                .map(|path| Claim::write(Path::parse(*path).unwrap()))
                .collect(),
            state,
            arrived_at: TimeMs::ZERO,
        }
    }

    #[test]
    fn what_is_held_and_queued_is_counted_as_locktopus_does() {
        let held = LockState::Held {
            token: Token(1),
            granted_at: TimeMs::ZERO,
            expires: None,
        };
        let mut tally = Tally::default();
        tally.add(&lock(&["a/b", "c"], held));
        tally.add(&lock(&["a/b/b"], LockState::Queued { deadline: None }));
        tally.add(&lock(&["/"], LockState::Queued { deadline: None }));
        let counted = tally.total();
        assert_eq!(
            counted,
            Stats {
                groups_pending: 2,
                groups_acquired: 1,
                locks_pending: 2,
                locks_acquired: 2,
                lockref_count: 3 + 2 + 4 + 1,
                tokens_total: 2 + 1 + 3,
                tokens_unique: 3,
                path_count: 1 + 4,
            }
        );
        assert_eq!(Tally::default().total().path_count, 1);
        let forgotten = (0..5).take_while(|_| tally.forget(1)).count();
        assert_eq!(forgotten, 3, "four paths, one at a time");
    }
}
