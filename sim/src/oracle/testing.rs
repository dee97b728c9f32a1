//! Histories for the tests of the oracles, in a short form.

use super::{Oracle, Panel, PanelConfig};
use crate::{
    line::{Line, LineLock, Subject, What},
    model::ModelLimits,
    op::{Op, OpOwner, Text},
    outcome::Violation,
};
use lockwright_engine::Limits;
use std::marker::PhantomData;

/// A stream of commands and lines, judged by one oracle.
pub(super) struct Story<O> {
    panel: Panel,
    oracle: PhantomData<O>,
}

impl<O: Oracle + 'static> Story<O> {
    /// How long ends are remembered, in ms.
    pub(super) const RETENTION: u64 = 100;

    pub(super) fn new(oracle: O) -> Story<O> {
        let config = PanelConfig {
            retention: Self::RETENTION,
            ..PanelConfig::default()
        };
        Story {
            panel: Panel::of(config, vec![Box::new(oracle)]),
            oracle: PhantomData,
        }
    }

    fn step(&mut self, op: &str, lines: &str) -> Result<(), Violation> {
        let op: Op = serde_json::from_str(op).unwrap();
        let lines: Vec<Line> = lines
            .split("; ")
            .filter(|line| !line.is_empty())
            .map(|text| line(op.at, text))
            .collect();
        self.panel.step(&op, &lines)
    }

    /// The oracle has nothing against this command.
    #[track_caller]
    pub(super) fn ok(mut self, op: &str, lines: &str) -> Story<O> {
        if let Err(violation) = self.step(op, lines) {
            panic!("{op} -> {lines}: {}", violation.message);
        }
        self
    }

    /// From now on ends are remembered for so many ms.
    pub(super) fn remembers_for(mut self, retention: u64) -> Story<O> {
        let limits = ModelLimits {
            retention,
            ..ModelLimits::from(&Limits::default())
        };
        self.panel.relimit(&limits);
        self
    }

    /// From now on so many requests of an ending session end in one ms.
    pub(super) fn ends_per_ms(mut self, session_ends_per_ms: u64) -> Story<O> {
        let limits = ModelLimits {
            retention: Self::RETENTION,
            session_ends_per_ms,
            ..ModelLimits::from(&Limits::default())
        };
        self.panel.relimit(&limits);
        self
    }

    /// The oracle must object to this command, and say this.
    #[track_caller]
    pub(super) fn bad(mut self, op: &str, lines: &str, message: &str) {
        match self.step(op, lines) {
            Ok(()) => panic!("{op} -> {lines}: the oracle does not see it"),
            Err(violation) => assert!(
                violation.message.contains(message),
                "expected `{message}` in `{}`",
                violation.message
            ),
        }
    }
}

/// The command of owner `a` for one claim.
pub(super) fn acquire(at: u64, id: &str, claim: &str) -> String {
    format!(r#"{{"at":{at},"op":"acquire","id":"{id}","owner":"a","claims":["{claim}"]}}"#)
}

/// Reads `[TIME: ]LOCK granted TOKEN`, `LOCK queued`, `LOCK ended REASON`, `LOCK renewed TIME`,
/// `LOCK refused ERROR`, `session NAME STATE` or `done SESSION ERROR`. A LOCK is `[SESSION:]ID[@NAMESPACE]`; the owner
/// of L2 in waiting stories may be `b`, which is written `b.L2`.
fn line(at: u64, text: &str) -> Line {
    let (at, text) = match text.split_once(": ") {
        Some((at, text)) => (at.parse().unwrap(), text),
        None => (at, text),
    };
    let words: Vec<&str> = text.split(' ').collect();
    let what = match words[..] {
        ["session", name, state] => What::Session {
            namespace: Text::from("default"),
            session: Text::from(name),
            state: known(state),
        },
        [name, "granted", token] => What::Granted {
            lock: lock(name),
            token: token.parse().unwrap(),
        },
        [name, "queued"] => What::Queued { lock: lock(name) },
        [name, "ended", reason] => What::Ended {
            lock: lock(name),
            reason: known(reason),
        },
        [name, "renewed", expires] => What::Renewed {
            lock: lock(name),
            expires: expires.parse().unwrap(),
        },
        [name, "refused", error] => What::Refused {
            lock: lock(name),
            error: known(error),
        },
        ["done", session, error] => What::Error {
            op: "done",
            subject: Subject::Session(Text::from(session)),
            error: known(error),
        },
        _ => panic!("`{text}` is no line"),
    };
    Line { at, what }
}

fn lock(text: &str) -> LineLock {
    let (name, namespace) = text.split_once('@').unwrap_or((text, "default"));
    let (owner, id) = if let Some((session, id)) = name.split_once(':') {
        (OpOwner::Session(session.into()), id)
    } else if let Some((owner, id)) = name.split_once('.') {
        (OpOwner::Named(owner.into()), id)
    } else {
        (OpOwner::Named("a".into()), name)
    };
    LineLock {
        namespace: namespace.into(),
        owner,
        id: id.into(),
    }
}

fn known(word: &str) -> &'static str {
    const WORDS: [&str; 16] = [
        "released",
        "expired",
        "cancelled",
        "timed_out",
        "session_ended",
        "broken",
        "open",
        "attached",
        "detached",
        "alive",
        "ended",
        "busy",
        "limit_exceeded",
        "request_mismatch",
        "invalid_request",
        "unknown_session",
    ];
    WORDS
        .into_iter()
        .find(|known| *known == word)
        .unwrap_or_else(|| panic!("`{word}` is no word of a line"))
}
