//! What watchers are told of what an entry did. Nothing of it is state.

use super::{Machine, Step};
use crate::sighting::{Sighting, Sightings};
use lockwright_engine::{Claim, Event, EventKind, LockKey};
use lockwright_protocol::Label;
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

/// What is told of a request with each event.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    claims: Vec<Claim>,
    label: Option<Label>,
}

impl Machine {
    /// What is told of a request that is live.
    fn shown(&self, lock: &LockKey) -> Shown {
        let info = self.engine.lock(lock);
        let info = info.expect("what has not ended since is live");
        Shown {
            claims: info.claims,
            label: self.label(lock).cloned(),
        }
    }
}

impl Step<'_> {
    /// Keeps what is told of the requests that ended in the events from this one on. Their labels must be there yet.
    pub(super) fn keep_ended(&mut self, from: usize) {
        let machine = &mut *self.machine;
        let claims = machine.engine.take_ended_claims();
        let (Some(claims), Some(kept)) = (claims, &mut self.ended) else {
            self.ended = None;
            return;
        };
        let ended: Vec<&LockKey> = self.events[from..].iter().filter_map(ended).collect();
        assert_eq!(ended.len(), claims.len(), "each end is an event");
        for (lock, claims) in ended.into_iter().zip(claims) {
            let label = machine.label(lock).cloned();
            kept.push(Shown { claims, label });
        }
    }

    /// What is told of all that has happened, in order: of each request as it is now, or was when it ended.
    pub(super) fn sightings(&mut self) -> Sightings {
        if !self.is_watched {
            return Sightings::These(Vec::new());
        }
        match self.told_backwards() {
            Some(mut sightings) => {
                sightings.reverse();
                Sightings::These(sightings)
            }
            None => Sightings::TooMany,
        }
    }

    fn told_backwards(&mut self) -> Option<Vec<Arc<Sighting>>> {
        let mut ended_before = self.ended.take()?;
        let mut sightings = Vec::new();
        // The next end of each request, seen from the event before. An id may be used again after it.
        let mut ends: BTreeMap<&LockKey, Shown> = BTreeMap::new();
        for event in self.events.iter().rev() {
            let Some(lock) = event.kind.lock() else {
                continue;
            };
            if ended(event).is_some() {
                let end = ended_before.pop().expect("each end was kept");
                ends.insert(lock, end);
            }
            let end = ends.get(lock).cloned();
            let Shown { claims, label } = end.unwrap_or_else(|| self.machine.shown(lock));
            sightings.push(Arc::new(Sighting {
                index: self.index,
                at: event.at,
                kind: event.kind.clone(),
                room: self.machine.watchers.room(&claims, label.as_ref())?,
                claims,
                label,
                line: OnceLock::new(),
            }));
        }
        assert!(ended_before.is_empty(), "each end is an event");
        Some(sightings)
    }
}

/// The request whose end this is.
fn ended(event: &Event) -> Option<&LockKey> {
    match &event.kind {
        EventKind::Ended { lock, .. } => Some(lock),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        machine::Setup,
        proposal::{Action, DiskId, Origin, Proposal},
    };
    use lockwright_engine::{
        Command, DurationMs, EndReason, Limits, Name, Owner, Path, TimeMs, Token, Wait,
    };

    fn lock(id: &str) -> LockKey {
        LockKey {
            namespace: Name::new("n").unwrap(),
            owner: Owner::Named(Name::new("h").unwrap()),
            id: Name::new(id).unwrap(),
        }
    }

    fn wants(id: &str, path: &str, label: &str, ttl: u64) -> Action {
        Action::Call {
            command: Command::Acquire {
                lock: lock(id),
                claims: vec![Claim::write(Path::parse(path).unwrap())],
                ttl: DurationMs::new(ttl).ok(),
                wait: Wait::Forever,
            },
            label: Label::new(label).ok(),
        }
    }

    /// What the entries up to the last one came to, and that one as it is told.
    fn told(machine: &mut Machine, entries: &[(u64, Action)]) -> Vec<String> {
        let mut told = Vec::new();
        for (at, action) in entries {
            let index = machine.digest().map_or(1, |(index, _)| index + 1);
            let proposal = Proposal {
                at: TimeMs::new(*at).unwrap(),
                term: 1,
                // Its life has not begun.
                origin: (!matches!(action, Action::Begin { .. })).then_some(Origin {
                    node: 1,
                    incarnation: 1,
                    number: index.saturating_sub(2),
                }),
                action: Arc::new(action.clone()),
            };
            let outcome = machine.apply(index, 1, &proposal).unwrap().unwrap();
            let of_locks = outcome.happened.iter();
            let of_locks = of_locks.filter(|event| event.kind.lock().is_some());
            let Sightings::These(sightings) = outcome.sightings else {
                told = vec!["too many".to_owned()];
                continue;
            };
            assert!(sightings.is_empty() || sightings.len() == of_locks.count());
            told = sightings.iter().map(as_text).collect();
        }
        told
    }

    fn as_text(sighting: &Arc<Sighting>) -> String {
        let what = match &sighting.kind {
            EventKind::Queued { .. } => "queued",
            EventKind::Granted { .. } => "granted",
            EventKind::Ended {
                reason: EndReason::Expired,
                ..
            } => "expired",
            other => panic!("{other:?}"),
        };
        let id = &sighting.kind.lock().unwrap().id;
        let [claim] = &sighting.claims[..] else {
            panic!("{:?}", sighting.claims)
        };
        let label = sighting.label.as_ref().map(Label::as_str);
        format!("{what} {id} {} {label:?}", claim.path)
    }

    fn machine(retention: u64) -> Machine {
        let mut machine = Machine::new(Setup::without_probe());
        let limits = Limits {
            retention: DurationMs::new(retention).unwrap(),
            ..Limits::default()
        };
        let first_token = Token(1);
        let begin = Action::Begin {
            limits,
            first_token,
        };
        let disk = DiskId(1);
        told(&mut machine, &[(0, begin), (0, Action::Join { disk })]);
        machine
    }

    #[test]
    fn what_ends_within_the_step_in_which_it_is_granted_is_told_whole() {
        let mut machine = machine(60_000);
        let watching = machine.watchers.begin();
        let entries = [
            (10, wants("1", "a", "one", 10)),
            (10, wants("2", "a/b", "two", 10)),
            (50, wants("3", "c", "three", 10)),
        ];
        let expected = [
            r#"expired 1 a Some("one")"#,
            r#"granted 2 a/b Some("two")"#,
            r#"expired 2 a/b Some("two")"#,
            r#"granted 3 c Some("three")"#,
        ];
        assert_eq!(told(&mut machine, &entries), expected);
        drop(watching);
        assert_eq!(told(&mut machine, &[(90, Action::Tick)]), [""; 0]);
    }

    #[test]
    fn an_id_that_is_used_again_is_told_as_what_it_was_and_as_what_it_is() {
        let mut machine = machine(1);
        let _watching = machine.watchers.begin();
        let entries = [
            (10, wants("1", "a", "old", 10)),
            (50, wants("1", "b", "new", 10)),
        ];
        let expected = [r#"expired 1 a Some("old")"#, r#"granted 1 b Some("new")"#];
        assert_eq!(told(&mut machine, &entries), expected);
    }

    #[test]
    fn what_has_no_room_is_not_told_in_part() {
        let mut machine = machine(60_000);
        let _watching = machine.watchers.begin();
        // Others have not been told yet.
        let mut held = Vec::new();
        while machine.watchers.bytes_left() > 3 << 10 {
            let path = Path::parse(vec!["x".repeat(200); 5].join("/")).unwrap();
            held.extend(machine.watchers.room(&[Claim::write(path)], None));
        }
        let entries: Vec<(u64, Action)> = (0..30)
            .map(|n| (10, wants(&format!("{n}"), &format!("a/{n}"), "label", 10)))
            .collect();
        let granted = told(&mut machine, &entries);
        assert_eq!(granted, [r#"granted 29 a/29 Some("label")"#]);
        assert_eq!(told(&mut machine, &[(50, Action::Tick)]), ["too many"]);
        let one = [(50, wants("x", "x", "label", 10))];
        assert_eq!(told(&mut machine, &one).len(), 1);
        drop(held);
        assert_eq!(machine.watchers.bytes_left(), 64 << 20);
    }
}
