//! The end of a session ends all that it has; a session ends when it is due.

use super::{
    Oracle, Verdict,
    deadlines::Deadlines,
    ledger::{Fact, Ledger, RequestId, SessionId},
};
use crate::{
    line::Line,
    op::{Action, Op},
};

/// The oracle of sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    deadlines: Deadlines<SessionId>,
    /// The session whose requests are being ended, and the last of them.
    ending: Option<(SessionId, RequestId)>,
}

impl Oracle for Sessions {
    fn name(&self) -> &'static str {
        "sessions"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 4: a detached session ends when its abandon timeout has passed; its end ends \
         all its locks and queued requests, in arrival order; only a session that lives is granted"
    }

    fn fact(&mut self, ledger: &Ledger, op: &Op, fact: &Fact, at: u64) -> Verdict {
        self.end_is_whole(ledger, fact, at)?;
        match *fact {
            Fact::Arrived { request, .. } | Fact::Granted { request, .. } => {
                of_live_session(ledger, request, at)
            }
            Fact::Ended {
                request,
                reason: "session_ended",
            } => {
                self.ending = ledger
                    .request(request)
                    .session
                    .map(|(session, _)| (session, request));
                Ok(())
            }
            Fact::Session {
                session,
                state: "ended",
            } => {
                self.ending = None;
                ended(ledger, op, session, at)
            }
            Fact::Done { session } if !ledger.session(session).open => Err(format!(
                "session {} is done with requests at {at} ms, but it is not open",
                ledger.session(session).name
            )),
            Fact::Session { session, state } => {
                let record = ledger.session(session);
                if record.open == (state == "open") {
                    let now = if record.open { "open" } else { "not open" };
                    return Err(format!(
                        "session {} is said to be {state} at {at} ms, but it is {now}",
                        record.name
                    ));
                }
                // A detached session keeps its deadline; a sign of life gives it a new one.
                let deadline = match state {
                    "detached" => record.deadline.or(Some(at.saturating_add(record.abandon))),
                    "alive" => record.deadline.map(|_| at.saturating_add(record.abandon)),
                    _ => None,
                };
                if let Some(deadline) = deadline {
                    self.deadlines.push(deadline, session);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn command(&mut self, ledger: &mut Ledger, _op: &Op, _lines: &[Line]) -> Verdict {
        if let Some((session, _)) = self.ending {
            return Err(format!(
                "requests of session {} ended with it at {} ms, but it did not end",
                ledger.session(session).name,
                ledger.now(),
            ));
        }
        match self.deadlines.first(|id| ledger.session(id).deadline) {
            Some((due, id)) if due <= ledger.now() => Err(format!(
                "session {} was left at {} ms, and is still open at {} ms, though it should end \
                 at {due} ms",
                ledger.session(id).name,
                due - ledger.session(id).abandon,
                ledger.now(),
            )),
            _ => Ok(()),
        }
    }
}

impl Sessions {
    /// While the requests of a session end, nothing comes between them and the session's end.
    fn end_is_whole(&self, ledger: &Ledger, fact: &Fact, at: u64) -> Verdict {
        let Some((session, last)) = self.ending else {
            return Ok(());
        };
        match *fact {
            Fact::Ended {
                request,
                reason: "session_ended",
            } if ledger.request(request).session.map(|(id, _)| id) == Some(session) => {
                if request > last {
                    return Ok(());
                }
                Err(format!(
                    "session {} ends at {at} ms, and {} ends after {}, which arrived later",
                    ledger.session(session).name,
                    ledger.describe(request),
                    ledger.describe(last),
                ))
            }
            Fact::Session {
                session: ended,
                state: "ended",
            } if ended == session => Ok(()),
            _ => Err(format!(
                "something else happens at {at} ms while session {} ends",
                ledger.session(session).name
            )),
        }
    }
}

/// Whether a request that comes or is granted has no session, or one that lives.
fn of_live_session(ledger: &Ledger, id: RequestId, at: u64) -> Verdict {
    let Some((session, opening)) = ledger.request(id).session else {
        return Ok(());
    };
    let session = ledger.session(session);
    if session.open && session.openings == opening {
        return Ok(());
    }
    Err(format!(
        "{} is taken on or granted at {at} ms, but its session is not open",
        ledger.describe(id)
    ))
}

/// Whether a session may end now, and has nothing left.
fn ended(ledger: &Ledger, op: &Op, id: SessionId, at: u64) -> Verdict {
    let session = ledger.session(id);
    if !session.open {
        return Err(format!(
            "session {} ends at {at} ms, but is not open",
            session.name
        ));
    }
    let closed =
        matches!(&op.action, Action::CloseSession { session: name } if *name == session.name);
    // A sign of life at the same command, or nobody's leaving, gives it no deadline of this time.
    if !closed && session.deadline != Some(at) {
        return Err(match session.deadline {
            Some(due) => format!(
                "session {} ends at {at} ms, but that is due at {due} ms",
                session.name
            ),
            None => format!(
                "session {} ends at {at} ms, but it is attached and nobody closed it",
                session.name
            ),
        });
    }
    if session.live == 0 {
        return Ok(());
    }
    let is_of = |request: &&super::ledger::Request| request.session == Some((id, session.openings));
    let survivor = ledger.live().find(is_of);
    Err(format!(
        "session {} ends at {at} ms, but {} lives on",
        session.name,
        survivor.map_or_else(
            || "one of its requests".to_owned(),
            |request| ledger.describe(request.id)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Story;
    use super::*;

    const OPEN: &str = r#"{"at":0,"op":"open_session","session":"s","abandon":10}"#;
    const DETACH: &str = r#"{"at":2,"op":"detach","session":"s"}"#;

    fn acquire(id: &str) -> String {
        format!(r#"{{"at":0,"op":"acquire","id":"{id}","session":"s","claims":["w {id}"]}}"#)
    }

    fn tick(at: u64) -> String {
        format!(r#"{{"at":{at},"op":"tick"}}"#)
    }

    fn with_two_locks() -> Story<Sessions> {
        Story::new(Sessions::default())
            .ok(OPEN, "session s open")
            .ok(&acquire("L1"), "s:L1 granted 1")
            .ok(&acquire("L2"), "s:L2 granted 2")
    }

    #[test]
    fn locks_that_outlive_their_session_are_seen() {
        with_two_locks().ok(DETACH, "session s detached").bad(
            &tick(12),
            "s:L1 ended session_ended; session s ended",
            "session s ends at 12 ms, but session s's L2 (w L2) lives on",
        );
    }

    #[test]
    fn the_end_of_a_session_is_in_order_and_whole() {
        let close = r#"{"at":4,"op":"close_session","session":"s"}"#;
        with_two_locks().ok(
            close,
            "s:L1 ended session_ended; s:L2 ended session_ended; session s ended",
        );
        with_two_locks().bad(
            close,
            "s:L2 ended session_ended; s:L1 ended session_ended; session s ended",
            "ends after session s's L2 (w L2), which arrived later",
        );
        with_two_locks().bad(
            close,
            "s:L1 ended session_ended; s:L2 ended session_ended",
            "but it did not end",
        );
        with_two_locks().bad(
            close,
            "s:L1 ended session_ended; s:L2 ended expired; session s ended",
            "something else happens at 4 ms while session s ends",
        );
    }

    #[test]
    fn an_end_that_is_early_or_late_is_seen() {
        let opened = || Story::new(Sessions::default()).ok(OPEN, "session s open");
        let detached = || opened().ok(DETACH, "session s detached");
        detached().ok(&tick(12), "session s ended");
        detached().bad(&tick(11), "session s ended", "but that is due at 12 ms");
        detached().bad(&tick(12), "", "though it should end at 12 ms");
        opened().bad(
            &tick(12),
            "session s ended",
            "it is attached and nobody closed it",
        );
        detached()
            .ok(
                r#"{"at":5,"op":"keep_alive","session":"s"}"#,
                "session s alive",
            )
            .ok(
                r#"{"at":6,"op":"detach","session":"s"}"#,
                "session s detached",
            )
            .ok(&tick(14), "")
            .ok(&tick(15), "session s ended");
        detached()
            .ok(
                r#"{"at":5,"op":"attach","session":"s"}"#,
                "session s attached",
            )
            .bad(&tick(15), "session s ended", "it is attached");
    }

    #[test]
    fn a_dead_session_that_is_done_with_requests_is_seen() {
        let done = r#"{"at":3,"op":"done","session":"s","ids":[]}"#;
        let opened = || Story::new(Sessions::default()).ok(OPEN, "session s open");
        opened().ok(done, "");
        opened().ok(DETACH, "session s detached").ok(done, "");
        Story::new(Sessions::default()).bad(done, "", "is done with requests at 3 ms");
        // It is over by the time of the command.
        opened().ok(DETACH, "session s detached").bad(
            &done.replace('3', "12"),
            "session s ended",
            "but it is not open",
        );
    }

    #[test]
    fn a_grant_to_a_dead_session_is_seen() {
        Story::new(Sessions::default()).bad(
            &acquire("L1"),
            "s:L1 granted 1",
            "but its session is not open",
        );
        Story::new(Sessions::default())
            .ok(OPEN, "session s open")
            .bad(OPEN, "session s open", "but it is open");
    }
}
