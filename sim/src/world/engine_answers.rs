//! Whether the engine answers questions truly: what it says of locks and sessions is held against
//! what the oracles know from its events.

use crate::{
    line::LineLock,
    op::{Op, OpClaim, OpOwner, Text},
    oracle::ledger::{Ledger, Request, State},
    outcome::Violation,
};
use lockwright_engine::{
    EndReason, Engine, FirstRequest, LockInfo, LockKey, LockState, Mode, Name, Owner, Path,
    SessionKey,
};

/// How many locks a page of a listing has: few, so that listings have several.
const PAGE: usize = 5;

/// Asks for everything that is live, in several ways.
pub(super) fn are_true(engine: &Engine, ledger: &Ledger) -> Result<(), Violation> {
    let found = listings(engine, ledger)
        .and_then(|()| sessions(engine, ledger))
        .and_then(|()| remembered(engine, ledger));
    found.map_err(|message| Violation {
        oracle: "answers".to_owned(),
        rule: "what the engine answers is what its events said".to_owned(),
        at_ms: ledger.now(),
        message,
    })
}

/// Whether a refusal because of an id names the request that has the id: by its claims while it is
/// live, and by its end once it is over.
pub(super) fn is_the_first(ledger: &Ledger, op: &Op, told: &FirstRequest) -> Result<(), Violation> {
    let is_true = ledger.asked().is_some_and(|request| {
        let claims: Vec<OpClaim> = told
            .claims
            .iter()
            .map(|claim| OpClaim {
                write: claim.mode == Mode::Write,
                path: claim.path.as_str().into(),
            })
            .collect();
        match request.state {
            State::Ended { reason, .. } => {
                claims.is_empty() && told.ended.map(EndReason::as_str) == Some(reason)
            }
            State::Queued { .. } | State::Held { .. } => {
                told.ended.is_none() && ledger.claims_begin_with(request.id, &claims, told.left_out)
            }
        }
    });
    if is_true {
        return Ok(());
    }
    Err(Violation {
        oracle: "answers".to_owned(),
        rule: "SEMANTICS 4: request_mismatch names the first request's claims".to_owned(),
        at_ms: ledger.now(),
        message: format!("{op:?} is refused because of {told:?}, which is not the first request"),
    })
}

fn listings(engine: &Engine, ledger: &Ledger) -> Result<(), String> {
    let namespaces = engine.namespaces();
    for request in ledger.live() {
        let known = namespaces
            .iter()
            .any(|name| name.as_str() == &*request.lock.namespace);
        if !known {
            return Err(format!(
                "{} has a live request and is not listed",
                request.lock.namespace
            ));
        }
    }
    for namespace in &namespaces {
        let live = ledger
            .live()
            .filter(|request| &*request.lock.namespace == namespace.as_str());
        let live: Vec<&Request> = live.collect();
        let listed = pages(engine, namespace);
        same("the pages of a listing", &listed, &live)?;
        same(
            "what overlaps `/`",
            &engine.overlapping(namespace, &Path::root()),
            &live,
        )?;
        for info in &listed {
            if engine.lock(&info.key).as_ref() != Some(info) {
                return Err(format!(
                    "{} is listed and asked for with a difference",
                    info.key.id
                ));
            }
        }
        let of_state = |held| -> Vec<&Request> {
            live.iter()
                .copied()
                .filter(|request| request.is_held() == held)
                .collect()
        };
        same(
            "the holders",
            &engine.holders(namespace, &Path::root()),
            &of_state(true),
        )?;
        same(
            "the queue",
            &engine.queue(namespace, &Path::root()),
            &of_state(false),
        )?;
    }
    Ok(())
}

/// The whole listing of a namespace, page by page.
fn pages(engine: &Engine, namespace: &Name) -> Vec<LockInfo> {
    let (mut listed, mut from) = (Vec::new(), None);
    loop {
        let page = engine.locks_under(namespace, &Path::root(), from, PAGE);
        listed.extend(page.locks);
        from = page.next;
        if from.is_none() {
            return listed;
        }
    }
}

/// The live requests of a session, whether it is open or its end goes on.
fn live_of<'a>(ledger: &'a Ledger, key: &SessionKey) -> Vec<&'a Request> {
    let owner = OpOwner::Session(key.session.clone().into());
    let of_it = |request: &&Request| {
        &*request.lock.namespace == key.namespace.as_str() && request.lock.owner == owner
    };
    ledger.live().filter(of_it).collect()
}

fn sessions(engine: &Engine, ledger: &Ledger) -> Result<(), String> {
    let open = ledger
        .sessions()
        .iter()
        .filter(|session| session.open)
        .count();
    if engine.sessions().count() != open {
        return Err(format!(
            "{open} sessions are open, and {} listed",
            engine.sessions().count()
        ));
    }
    for key in engine.sessions_to_end() {
        same(
            "the locks of a session",
            &engine.session_locks(&key).collect::<Vec<_>>(),
            &live_of(ledger, &key),
        )?;
    }
    for info in engine.sessions() {
        let live = live_of(ledger, &info.key);
        let known = ledger.sessions().iter().find(|session| {
            &*session.namespace == info.key.namespace.as_str()
                && &*session.name == info.key.session.as_str()
        });
        let deadline = known.and_then(|session| session.deadline);
        if info.ends_at.map(u64::from) != deadline || info.live_requests as usize != live.len() {
            return Err(format!(
                "session {} is answered as {info:?}",
                info.key.session
            ));
        }
    }
    Ok(())
}

/// What has ended is shown as its end, and nothing but that is remembered.
fn remembered(engine: &Engine, ledger: &Ledger) -> Result<(), String> {
    let mut count = 0;
    for request in ledger.remembered() {
        count += 1;
        let shown = key_of(&request.lock).and_then(|key| engine.lock(&key));
        let is_true = shown.as_ref().is_some_and(|info| {
            info.claims.is_empty()
                && matches!(info.state, LockState::Ended { at, .. } if at == info.arrived_at)
                && is_in(info.state, request.state)
        });
        if !is_true {
            return Err(format!("{request:?} is remembered as {shown:?}"));
        }
    }
    // What is over at once is forgotten by the next command.
    let counted = engine.usage().remembered_requests;
    if (count..=count + ledger.just_ended()).contains(&counted) {
        return Ok(());
    }
    Err(format!(
        "{count} ended requests are remembered, and {counted} are counted"
    ))
}

/// The key of a request; none if one of its names is none.
fn key_of(lock: &LineLock) -> Option<LockKey> {
    let name = |text: &Text| Name::new(text.clone()).ok();
    Some(LockKey {
        namespace: name(&lock.namespace)?,
        owner: match &lock.owner {
            OpOwner::Named(text) => Owner::Named(name(text)?),
            OpOwner::Session(text) => Owner::Session(name(text)?),
        },
        id: name(&lock.id)?,
    })
}

/// Whether an answer lists these requests, in this order, in the states that they are in.
fn same(what: &str, got: &[LockInfo], expected: &[&Request]) -> Result<(), String> {
    if got.len() != expected.len() {
        return Err(format!(
            "{what}: expected {} requests, got {}",
            expected.len(),
            got.len()
        ));
    }
    for (info, request) in got.iter().zip(expected) {
        if !is_it(info, &request.lock) || !is_in(info.state, request.state) {
            return Err(format!("{what}: expected {request:?}, got {info:?}"));
        }
        if info.arrived_at.as_ms() != request.arrived || info.claims.is_empty() {
            return Err(format!("{what}: expected {request:?}, got {info:?}"));
        }
    }
    Ok(())
}

fn is_it(info: &LockInfo, lock: &LineLock) -> bool {
    let owner = match &info.key.owner {
        Owner::Named(name) => OpOwner::Named(name.clone().into()),
        Owner::Session(name) => OpOwner::Session(name.clone().into()),
    };
    info.key.id.as_str() == &*lock.id
        && owner == lock.owner
        && info.key.namespace.as_str() == &*lock.namespace
}

fn is_in(got: LockState, expected: State) -> bool {
    match (got, expected) {
        (LockState::Queued { deadline: got }, State::Queued { deadline }) => {
            got.map(u64::from) == deadline
        }
        (
            LockState::Held {
                token: got,
                expires: until,
                ..
            },
            State::Held { token, expires, .. },
        ) => got.0 == token && until.map(u64::from) == expires,
        (
            LockState::Ended {
                reason: got,
                at: end,
                ..
            },
            State::Ended { reason, at },
        ) => got.as_str() == reason && end.as_ms() == at,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        driver::EngineDriver,
        line::Line,
        op::Op,
        oracle::{Panel, PanelConfig},
    };
    use lockwright_engine::{Claim, EngineConfig};

    #[test]
    fn an_engine_that_knows_less_than_its_events_said_is_seen() {
        let mut driver = EngineDriver::new(Engine::new(EngineConfig::default()));
        let mut panel = Panel::new(PanelConfig::default());
        let mut lines: Vec<Line> = Vec::new();
        for text in [
            r#"{"at":0,"op":"open_session","session":"s","abandon":5}"#,
            r#"{"at":0,"op":"acquire","id":"L1","session":"s","claims":["w a"],"ttl":9}"#,
            r#"{"at":1,"op":"acquire","id":"L2","owner":"o","claims":["r a/b"],"wait":7}"#,
        ] {
            let op: Op = serde_json::from_str(text).unwrap();
            lines.clear();
            driver.step(&op, &mut lines);
            panel.step(&op, &lines).unwrap();
        }
        assert_eq!(are_true(driver.engine(), panel.ledger()), Ok(()));
        let empty = Engine::new(EngineConfig::default());
        assert!(are_true(&empty, panel.ledger()).is_err());
    }

    #[test]
    fn an_engine_that_remembers_too_much_or_too_little_is_seen() {
        let asked = r#"{"at":0,"op":"acquire","id":"L1","session":"s","claims":["w a"]}"#;
        let released = r#"{"at":1,"op":"release","id":"L1","session":"s"}"#;
        let done = r#"{"at":1,"op":"done","session":"s","ids":["L1"]}"#;
        let open = r#"{"at":0,"op":"open_session","session":"s","abandon":5}"#;
        let after = |ops: &[&str]| {
            let mut driver = EngineDriver::new(Engine::new(EngineConfig::default()));
            let mut panel = Panel::new(PanelConfig::default());
            for text in ops {
                let op: Op = serde_json::from_str(text).unwrap();
                let mut lines = Vec::new();
                driver.step(&op, &mut lines);
                panel.step(&op, &lines).unwrap();
            }
            (driver.engine().clone(), panel)
        };
        let (remembering, remembers) = after(&[open, asked, released]);
        let (forgetting, forgets) = after(&[open, asked, released, done]);
        assert_eq!(are_true(&remembering, remembers.ledger()), Ok(()));
        assert_eq!(are_true(&forgetting, forgets.ledger()), Ok(()));
        assert!(are_true(&remembering, forgets.ledger()).is_err());
        assert!(are_true(&forgetting, remembers.ledger()).is_err());
    }

    #[test]
    fn a_refusal_that_names_another_request_is_seen() {
        let claim = |text: &str| Claim::write(Path::parse(text).unwrap());
        let mut driver = EngineDriver::new(Engine::new(EngineConfig::default()));
        let mut panel = Panel::new(PanelConfig::default());
        let mut judge = |text: &str, told: &FirstRequest| {
            let op: Op = serde_json::from_str(text).unwrap();
            let mut lines = Vec::new();
            driver.step(&op, &mut lines);
            panel.step(&op, &lines).unwrap();
            is_the_first(panel.ledger(), &op, told).is_ok()
        };
        let live = |path| FirstRequest {
            claims: vec![claim(path)],
            left_out: 0,
            ended: None,
        };
        let over = |reason| FirstRequest {
            claims: Vec::new(),
            left_out: 0,
            ended: Some(reason),
        };
        let first = r#"{"at":0,"op":"acquire","id":"L1","owner":"o","claims":["w a","r a/b"]}"#;
        let again = r#"{"at":0,"op":"acquire","id":"L1","owner":"o","claims":["w b"]}"#;
        judge(first, &live("a"));
        assert!(judge(again, &live("a")));
        assert!(!judge(again, &live("b")), "the claims of the second");
        assert!(!judge(again, &over(EndReason::Released)), "it is held");
        assert!(!judge(
            again,
            &FirstRequest {
                claims: Vec::new(),
                left_out: 0,
                ended: None
            }
        ));
        judge(r#"{"at":1,"op":"release","id":"L1"}"#, &live("a"));
        assert!(judge(again, &over(EndReason::Released)));
        assert!(!judge(again, &over(EndReason::Expired)));
        assert!(!judge(again, &live("a")), "that is not remembered");
    }
}
