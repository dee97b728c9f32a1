//! A watcher is told of all that happens below a path, once, in order and as it was, from the beginning of its
//! answer to its end.

use super::{Happening, ServiceOracle};
use crate::{
    op::{OpClaim, Text},
    oracle::{Verdict, paths::covers},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

/// Something that happened to a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// What: `queued`, `granted`, `renewed` or `ended`.
    pub event: Text,
    /// The request's namespace.
    pub namespace: Text,
    /// Whose it is: a holder, or a session.
    pub owner: (OwnerKind, Text),
    /// The request's id.
    pub id: Text,
    /// What it claims, without what is covered, in the order of the paths.
    pub claims: Vec<OpClaim>,
    /// With `granted`.
    pub token: Option<u64>,
    /// What the lease is from then on, in ms.
    pub lease_ms: Option<u64>,
    /// With `ended`.
    pub reason: Option<Text>,
}

/// What kind of owner a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnerKind {
    /// A named holder.
    Holder,
    /// A session.
    Session,
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Watched {
            event,
            id,
            namespace,
            ..
        } = self;
        write!(
            f,
            "{id} in {namespace} is {event}, for {}",
            super::listed(&self.claims)
        )?;
        if let Some(token) = self.token {
            write!(f, ", with token {token}")?;
        }
        if let Some(lease) = self.lease_ms {
            write!(f, ", for {lease} ms")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, ": {reason}")?;
        }
        Ok(())
    }
}

/// The claims that are left of a request's: those that none of the others covers.
#[must_use]
pub fn uncovered(claims: &[OpClaim]) -> Vec<OpClaim> {
    let is_covered = |place: usize, claim: &OpClaim| {
        claims.iter().enumerate().any(|(other, by)| {
            let is_as_strong = by.write || !claim.write;
            let is_same = by == claim;
            other != place
                && is_as_strong
                && covers(&by.path, &claim.path)
                && (!is_same || other < place)
        })
    };
    let left = claims.iter().enumerate();
    let left = left.filter(|(place, claim)| !is_covered(*place, claim));
    sorted(left.map(|(_, claim)| claim.clone()).collect())
}

/// Claims in the order in which they are compared.
#[must_use]
pub fn sorted(mut claims: Vec<OpClaim>) -> Vec<OpClaim> {
    claims.sort_by(|one, other| (&*one.path, one.write).cmp(&(&*other.path, other.write)));
    claims
}

/// A watcher, from its question on.
#[derive(Debug)]
struct Watcher {
    namespace: Text,
    prefix: Text,
    /// How much had happened when it asked: it is told of none of that.
    asked: usize,
    /// How much had happened when its answer began: it is told of all that came later.
    begun: Option<usize>,
    /// From where on the next event is to be found that it is told of; none before the first. Events may be
    /// alike, so there may be several such places.
    next: Option<BTreeSet<usize>>,
}

impl Watcher {
    fn is_meant(&self, event: &Watched) -> bool {
        let is_below = |claim: &OpClaim| covers(&self.prefix, &claim.path);
        event.namespace == self.namespace && event.claims.iter().any(is_below)
    }
}

/// The oracle.
#[derive(Debug, Default)]
pub struct Watch {
    events: Vec<Watched>,
    watchers: BTreeMap<Text, Watcher>,
}

impl Watch {
    fn told(&mut self, watch: &Text, line: &Watched) -> Verdict {
        let Some(watcher) = self.watchers.get_mut(watch) else {
            return Err(format!("{watch} is told of something and has not asked"));
        };
        let Some(begun) = watcher.begun else {
            return Err(format!(
                "{watch} is told of something before its answer begins"
            ));
        };
        let meant = |from: usize| {
            let events = self.events.iter().enumerate().skip(from);
            events.filter(|(_, event)| watcher.is_meant(event))
        };
        let follows = |from: &usize| meant(*from).next();
        let (places, expected): (BTreeSet<usize>, _) = match &watcher.next {
            Some(next) => {
                let following = next.iter().filter_map(follows);
                let found = following.filter(|(_, event)| *event == line);
                let expected = next.iter().find_map(follows);
                (found.map(|(place, _)| place + 1).collect(), expected)
            }
            None => {
                let expected = follows(&begun);
                let may_be_first = |place: usize| expected.is_none_or(|(first, _)| place <= first);
                let found = meant(watcher.asked)
                    .filter(|(place, event)| *event == line && may_be_first(*place));
                (found.map(|(place, _)| place + 1).collect(), expected)
            }
        };
        if places.is_empty() {
            return Err(match expected {
                Some((_, expected)) => {
                    format!("{watch} is told that {line}, and not before that {expected}")
                }
                None => {
                    format!("{watch} is told that {line}, which has not happened since it asked")
                }
            });
        }
        watcher.next = Some(places);
        Ok(())
    }
}

impl ServiceOracle for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn rule(&self) -> &'static str {
        "docs/http.md: a watcher is told of each event below its path, in order, until it is told that it is over"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::Watchable { event } => self.events.push(event.clone()),
            Happening::WatchAsked {
                watch,
                namespace,
                prefix,
            } => {
                let watcher = Watcher {
                    namespace: namespace.clone(),
                    prefix: prefix.clone(),
                    asked: self.events.len(),
                    begun: None,
                    next: None,
                };
                self.watchers.insert(watch.clone(), watcher);
            }
            Happening::WatchBegins { watch } => {
                if let Some(watcher) = self.watchers.get_mut(watch) {
                    watcher.begun = Some(self.events.len());
                }
            }
            Happening::WatchOdd { watch, what } => {
                return Err(format!("{watch} is answered what is no answer: {what}"));
            }
            Happening::WatchTold { watch, line } => self.told(watch, line)?,
            Happening::WatchOver { watch, .. } => drop(self.watchers.remove(watch)),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(text: &str) -> OpClaim {
        let (mode, path) = text.split_once(' ').unwrap();
        OpClaim {
            write: mode == "w",
            path: path.into(),
        }
    }

    fn event(text: &str) -> Watched {
        let [id, event, path] = text.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{text}");
        };
        Watched {
            event: event.into(),
            namespace: "n".into(),
            owner: (OwnerKind::Session, "s".into()),
            id: id.into(),
            claims: vec![OpClaim {
                write: true,
                path: path.into(),
            }],
            token: None,
            lease_ms: None,
            reason: None,
        }
    }

    /// `.` before what happens, `!` before what the watcher of `prefix` is told; `asks`, and `begins`.
    fn story(prefix: &str, story: &[&str]) -> Verdict {
        let mut oracle = Watch::default();
        let watch = || Text::from("w");
        for step in story {
            let happening = match (*step, step.split_at(1)) {
                (_, (".", text)) => Happening::Watchable { event: event(text) },
                (_, ("!", text)) => Happening::WatchTold {
                    watch: watch(),
                    line: event(text),
                },
                ("asks", _) => Happening::WatchAsked {
                    watch: watch(),
                    namespace: "n".into(),
                    prefix: prefix.into(),
                },
                _ => Happening::WatchBegins { watch: watch() },
            };
            oracle.see(Duration::ZERO, &happening)?;
        }
        Ok(())
    }

    #[test]
    fn what_is_missed_repeated_or_in_another_order_is_seen() {
        let [a, b, c] = ["A queued a/x", "B granted a", "C queued b"];
        let happen = |what: &str| format!(".{what}");
        let told = |what: &str| format!("!{what}");
        let (ha, hb, hc) = (happen(a), happen(b), happen(c));
        let (ta, tb, tc) = (told(a), told(b), told(c));
        let asks = ["asks", "begins"];
        for (prefix, steps, is_right) in [
            ("/", vec![&*ha, &ta, &hb, &tb, &hc, &tc], true),
            ("/", vec![&ha, &hb, &hc, &ta, &tb], true),
            ("/", vec![&ha, &hb, &hc, &ta, &tc], false),
            ("/", vec![&ha, &hb, &hc, &tb], false),
            ("/", vec![&ha, &hb, &ta, &tb, &tb], false),
            ("/", vec![&ha, &hb, &tb, &ta], false),
            ("/", vec![&ta], false),
            ("a", vec![&ha, &hb, &hc, &ta, &tb], true),
            ("a", vec![&ha, &hb, &hc, &ta, &tb, &tc], false),
            ("a/x", vec![&ha, &hb, &ta], true),
            ("a/x", vec![&ha, &hb, &ta, &tb], false),
            // A lock that is renewed again and again: events that are alike.
            ("/", vec![&ha, &ha, &ta, &ta], true),
            ("/", vec![&ha, &ha, &ta, &ta, &ta], false),
        ] {
            let steps: Vec<&str> = asks.into_iter().chain(steps).collect();
            assert_eq!(
                story(prefix, &steps).is_ok(),
                is_right,
                "{prefix} {steps:?}"
            );
        }
        // Between its question and its answer it may begin anywhere, and not before.
        for (steps, is_right) in [
            (vec!["asks", &*ha, &hb, "begins", &hc, &tb, &tc], true),
            (vec!["asks", &ha, &hb, "begins", &hc, &tc], true),
            (vec!["asks", &ha, &hb, "begins", &hc, &ta, &tc], false),
            (vec![&ha, &hb, "asks", "begins", &hc, &tb, &tc], false),
            (vec!["asks", &ha, &ha, "begins", &ta, &ta], true),
            (vec!["asks", &ha, &hb, &ha, "begins", &ta, &tb, &ta], true),
            (vec!["asks", &ha, &hb, &ha, "begins", &ta, &ta], false),
            (vec!["asks", &ta], false),
            (vec![&ta], false),
        ] {
            assert_eq!(story("/", &steps).is_ok(), is_right, "{steps:?}");
        }
        let mut other = event(a);
        other.token = Some(7);
        let mut watcher = Watch {
            events: vec![event(a)],
            ..Watch::default()
        };
        let asked = Watcher {
            namespace: "n".into(),
            prefix: "/".into(),
            asked: 0,
            begun: Some(0),
            next: None,
        };
        watcher.watchers.insert("w".into(), asked);
        assert!(watcher.told(&"w".into(), &other).is_err());
        assert_eq!(watcher.told(&"w".into(), &event(a)), Ok(()));
    }

    #[test]
    fn claims_that_others_cover_are_left_out() {
        for (given, left) in [
            (&["w a", "r a/b", "w a"][..], &["w a"][..]),
            (&["r a", "w a/b"], &["r a", "w a/b"]),
            (&["w b", "r a", "r a/b"], &["r a", "w b"]),
            (&["r /", "w /"], &["w /"]),
            (&["w a", "w ab"], &["w a", "w ab"]),
        ] {
            let given: Vec<OpClaim> = given.iter().map(|text| claim(text)).collect();
            let left: Vec<OpClaim> = left.iter().map(|text| claim(text)).collect();
            assert_eq!(uncovered(&given), left);
        }
    }
}
