//! The end of a session ends all that it has, so much in each millisecond; a session ends when it is due.

use super::{
    Oracle, Verdict,
    deadlines::Deadlines,
    ledger::{Fact, Ledger, RequestId, SessionId},
};
use crate::{
    line::Line,
    model::ModelLimits,
    op::{Action, Op},
};
use lockwright_engine::Limits;
use std::collections::BTreeMap;

/// The oracle of sessions.
#[derive(Debug)]
pub struct Sessions {
    /// How many requests of an ending session end in one ms.
    ends_per_ms: u64,
    deadlines: Deadlines<SessionId>,
    /// The sessions whose end has begun, and when it goes on, in ms.
    endings: BTreeMap<SessionId, u64>,
    /// The slice of an end that is being told of.
    slice: Option<Slice>,
}

/// What ends of a session at one time.
#[derive(Debug, Clone, Copy)]
struct Slice {
    session: SessionId,
    at: u64,
    /// How many requests so far.
    ended: u64,
}

impl Default for Sessions {
    fn default() -> Sessions {
        let limits = ModelLimits::from(&Limits::default());
        Sessions::new(limits.session_ends_per_ms)
    }
}

impl Oracle for Sessions {
    fn name(&self) -> &'static str {
        "sessions"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 4: a detached session ends when its abandon timeout has passed; its end ends \
         all its locks and queued requests, in arrival order, so many in each millisecond; only a \
         session whose end has not begun is granted"
    }

    fn relimit(&mut self, limits: &ModelLimits) {
        self.ends_per_ms = limits.session_ends_per_ms;
    }

    fn fact(&mut self, ledger: &Ledger, op: &Op, fact: &Fact, at: u64) -> Verdict {
        if !self.goes_on(ledger, fact, at) {
            self.slice_is_whole(ledger)?;
        }
        self.none_was_due_before(ledger, at)?;
        match *fact {
            Fact::Arrived { request, .. } | Fact::Granted { request, .. } => {
                self.of_open_session(ledger, request, at)
            }
            Fact::Ended {
                request,
                reason: "session_ended",
            } => self.request_ends(ledger, op, request, at),
            Fact::Session {
                session,
                state: "ended",
            } => self.session_ends(ledger, op, session, at),
            Fact::Session { session, state } => self.changed(ledger, session, state, at),
            Fact::Done { session } if !ledger.session(session).open => Err(format!(
                "session {} is done with requests at {at} ms, but it is not open",
                ledger.session(session).name
            )),
            _ => Ok(()),
        }
    }

    fn command(&mut self, ledger: &mut Ledger, _op: &Op, _lines: &[Line]) -> Verdict {
        self.slice_is_whole(ledger)?;
        let now = ledger.now();
        self.none_was_due_before(ledger, now.saturating_add(1))?;
        match self.deadlines.first(|id| ledger.session(id).deadline) {
            Some((due, id)) if due <= now => Err(format!(
                "session {} was left at {} ms, and is still open at {now} ms, though it should end \
                 at {due} ms",
                ledger.session(id).name,
                due - ledger.session(id).abandon,
            )),
            _ => Ok(()),
        }
    }
}

impl Sessions {
    /// For an engine in which so many requests of an ending session end in one ms.
    #[must_use]
    pub fn new(ends_per_ms: u64) -> Sessions {
        Sessions {
            ends_per_ms,
            deadlines: Deadlines::default(),
            endings: BTreeMap::new(),
            slice: None,
        }
    }

    /// Whether a fact is one more of the slice that is being told of.
    fn goes_on(&self, ledger: &Ledger, fact: &Fact, at: u64) -> bool {
        let session = match *fact {
            Fact::Ended {
                request,
                reason: "session_ended",
            } => ledger.request(request).session.map(|(session, _)| session),
            Fact::Session {
                session,
                state: "ended",
            } => Some(session),
            _ => None,
        };
        let slice = self.slice.map(|slice| (slice.session, slice.at));
        slice.is_some() && slice == session.map(|session| (session, at))
    }

    /// Nothing more of a slice follows: all of it must have been there.
    fn slice_is_whole(&mut self, ledger: &Ledger) -> Verdict {
        let Some(Slice { session, at, ended }) = self.slice.take() else {
            return Ok(());
        };
        let record = ledger.session(session);
        if record.live == 0 {
            return Err(format!(
                "the last requests of session {} ended with it at {at} ms, but it did not end",
                record.name
            ));
        }
        if ended < self.ends_per_ms {
            return Err(format!(
                "something else happens at {at} ms while session {} ends: {ended} of its requests \
                 ended, and {} live on",
                record.name, record.live,
            ));
        }
        self.endings.insert(session, at + 1);
        Ok(())
    }

    /// No session had to go on ending before `at`.
    fn none_was_due_before(&self, ledger: &Ledger, at: u64) -> Verdict {
        let slice = self.slice.map(|slice| slice.session);
        let mut waiting = self.endings.iter().filter(|(id, _)| slice != Some(**id));
        match waiting.find(|(_, due)| **due < at) {
            Some((id, due)) => Err(format!(
                "the end of session {} should go on at {due} ms, and has not before {at} ms",
                ledger.session(*id).name,
            )),
            None => Ok(()),
        }
    }

    /// Whether a request that comes or is granted has no session, or one that is open.
    fn of_open_session(&self, ledger: &Ledger, id: RequestId, at: u64) -> Verdict {
        let Some((session, opening)) = ledger.request(id).session else {
            return Ok(());
        };
        let record = ledger.session(session);
        if record.open && record.openings == opening && !self.endings.contains_key(&session) {
            return Ok(());
        }
        Err(format!(
            "{} is taken on or granted at {at} ms, but its session is not open",
            ledger.describe(id)
        ))
    }

    fn changed(
        &mut self,
        ledger: &Ledger,
        session: SessionId,
        state: &'static str,
        at: u64,
    ) -> Verdict {
        let record = ledger.session(session);
        let is_ending = self.endings.contains_key(&session);
        if is_ending || record.open == (state == "open") {
            let now = match (is_ending, record.open) {
                (true, _) => "ending",
                (false, true) => "open",
                (false, false) => "not open",
            };
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

    /// The end of a session begins, if it may begin now.
    fn begin(&mut self, ledger: &Ledger, op: &Op, id: SessionId, at: u64) -> Verdict {
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
        self.endings.insert(id, at);
        Ok(())
    }

    /// One more request of a session ends with it.
    fn request_ends(&mut self, ledger: &Ledger, op: &Op, id: RequestId, at: u64) -> Verdict {
        let Some((session, opening)) = ledger.request(id).session else {
            return Ok(());
        };
        self.slice_begins(ledger, op, session, at)?;
        let of_it = |request: &&super::ledger::Request| request.session == Some((session, opening));
        let first = ledger.live().find(of_it);
        if let Some(first) = first.filter(|first| first.id != id) {
            return Err(format!(
                "session {} ends at {at} ms, and {} ends before {}, which arrived earlier",
                ledger.session(session).name,
                ledger.describe(id),
                ledger.describe(first.id),
            ));
        }
        let slice = self.slice.as_mut();
        let ended = slice.map_or(0, |slice| {
            slice.ended += 1;
            slice.ended
        });
        if ended <= self.ends_per_ms {
            return Ok(());
        }
        Err(format!(
            "{} ends with its session at {at} ms as number {ended}, but {} end in a millisecond",
            ledger.describe(id),
            self.ends_per_ms,
        ))
    }

    /// A slice of the end of a session is being told of, if it may come now.
    fn slice_begins(&mut self, ledger: &Ledger, op: &Op, session: SessionId, at: u64) -> Verdict {
        if self.slice.is_some_and(|slice| slice.session == session) {
            return Ok(());
        }
        if !self.endings.contains_key(&session) {
            self.begin(ledger, op, session, at)?;
        }
        if self.endings.get(&session).is_some_and(|due| *due != at) {
            return Err(format!(
                "the end of session {} goes on at {at} ms, but what is left of it is not due then",
                ledger.session(session).name
            ));
        }
        self.slice = Some(Slice {
            session,
            at,
            ended: 0,
        });
        Ok(())
    }

    /// Whether a session may have ended now: nothing of it is live.
    fn session_ends(&mut self, ledger: &Ledger, op: &Op, id: SessionId, at: u64) -> Verdict {
        let session = ledger.session(id);
        self.slice_begins(ledger, op, id, at)?;
        self.slice = None;
        self.endings.remove(&id);
        if session.live == 0 {
            return Ok(());
        }
        let of_it =
            |request: &&super::ledger::Request| request.session == Some((id, session.openings));
        let survivor = ledger.live().find(of_it);
        Err(format!(
            "session {} ends at {at} ms, but {} lives on",
            session.name,
            survivor.map_or_else(
                || "one of its requests".to_owned(),
                |request| ledger.describe(request.id)
            ),
        ))
    }
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
            "session s's L2 (w L2) ends before session s's L1 (w L1), which arrived earlier",
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

    const CLOSE: &str = r#"{"at":4,"op":"close_session","session":"s"}"#;

    /// A session with four locks that is closed at 4 ms, where two requests end in a millisecond.
    fn closing() -> Story<Sessions> {
        let story = Story::new(Sessions::default()).ends_per_ms(2);
        let story = story.ok(OPEN, "session s open");
        let locks = (1..=4).zip(["L1", "L2", "L3", "L4"]);
        let story = locks.fold(story, |story, (token, id)| {
            story.ok(&acquire(id), &format!("s:{id} granted {token}"))
        });
        story.ok(CLOSE, "s:L1 ended session_ended; s:L2 ended session_ended")
    }

    #[test]
    fn an_end_that_takes_its_time_is_whole_in_each_millisecond() {
        let last = "5: s:L3 ended session_ended; 5: s:L4 ended session_ended; 5: session s ended";
        closing().ok(&tick(9), last);
        closing().ok(&tick(5), last);
        closing().bad(&tick(5), "", "should go on at 5 ms");
        closing().bad(
            &tick(5),
            "s:L3 ended session_ended",
            "1 of its requests ended, and 1 live on",
        );
        closing().bad(
            &tick(5),
            "s:L3 ended session_ended; s:L4 ended session_ended",
            "but it did not end",
        );
        closing().bad(
            &tick(9),
            "6: s:L3 ended session_ended; 6: s:L4 ended session_ended; 6: session s ended",
            "should go on at 5 ms",
        );
        closing().bad(
            &tick(5),
            "s:L4 ended session_ended; s:L3 ended session_ended; session s ended",
            "which arrived earlier",
        );
    }

    #[test]
    fn an_end_that_takes_less_than_its_time_is_seen() {
        closing().bad(
            &tick(4),
            "s:L3 ended session_ended",
            "what is left of it is not due then",
        );
        let story = closing().ends_per_ms(1);
        story.bad(
            &tick(5),
            "s:L3 ended session_ended; s:L4 ended session_ended; session s ended",
            "as number 2, but 1 end in a millisecond",
        );
    }

    #[test]
    fn what_ends_otherwise_meanwhile_has_no_place_in_a_slice() {
        let release = r#"{"at":4,"op":"release","id":"L3","session":"s"}"#;
        let released = || closing().ok(release, "s:L3 ended released");
        released().ok(&tick(5), "s:L4 ended session_ended; session s ended");
        let both = released().ok(&release.replace("L3", "L4"), "s:L4 ended released");
        both.ok(&tick(5), "session s ended");
        let both = released().ok(&release.replace("L3", "L4"), "s:L4 ended released");
        both.bad(&tick(5), "", "should go on at 5 ms");
        released()
            .ok(&release.replace("L3", "L4"), "s:L4 ended released")
            .bad(&tick(4), "session s ended", "is not due then");
    }

    #[test]
    fn an_ending_session_is_open_to_nobody() {
        closing().bad(
            r#"{"at":4,"op":"attach","session":"s"}"#,
            "session s attached",
            "but it is ending",
        );
        closing().bad(
            r#"{"at":4,"op":"open_session","session":"s","abandon":10}"#,
            "session s open",
            "but it is ending",
        );
        closing().bad(
            r#"{"at":4,"op":"done","session":"s","ids":[]}"#,
            "",
            "but it is not open",
        );
        closing().bad(
            &acquire("L5").replace(r#""at":0"#, r#""at":4"#),
            "s:L5 granted 5",
            "but its session is not open",
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
