//! First come, first served, where it is certain who came first: a request that was told to wait is
//! before all that are made after that.

use super::{Call, Judge, Request, State, Verdict, broken};
use crate::live::happening::{End, RequestId};

/// The rule.
const RULE: &str = "FIFO (SEMANTICS 2, 7.2)";

/// A grant that a request should have come before, unless it ended without one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overtaken {
    by: RequestId,
    token: u64,
    /// Whether the one that was overtaken was not about to leave the queue when that was told.
    staying: bool,
}

/// A request was granted; the judge knows it already.
pub(super) fn granted(judge: &mut Judge, id: RequestId, token: u64) -> Verdict {
    let overtaken = &judge.request(id).overtaken;
    if let Some(other) = overtaken.iter().find(|other| other.token < token) {
        return overtook(judge, other.by, id);
    }
    let before = std::mem::take(&mut judge.request_mut(id).before);
    for earlier in before {
        match judge.request(earlier).state {
            State::Granted { token: theirs, .. } if theirs > token => {
                return overtook(judge, id, earlier);
            }
            State::Queued => {
                let earlier = judge.request_mut(earlier);
                let staying = earlier.endings.is_empty();
                earlier.overtaken.push(Overtaken {
                    by: id,
                    token,
                    staying,
                });
            }
            State::Asked | State::Granted { .. } | State::Over => {}
        }
    }
    Ok(())
}

/// A request is over. One that was cancelled was in the queue when that was asked for, and so when
/// anything happened that was told before.
pub(super) fn over(request: &Request, id: RequestId, end: &End) -> Verdict {
    let cancelled = request.endings.contains(&Call::Cancel) && *end == End::Cancelled;
    if !cancelled || request.state != State::Queued {
        return Ok(());
    }
    match request.overtaken.iter().find(|other| other.staying) {
        None => Ok(()),
        Some(other) => broken(
            RULE,
            format!(
                "{} was granted, with token {}, while {id} ({} {}) was before it in the queue, from \
                 where it was cancelled later",
                other.by, other.token, request.wanted.who, request.wanted
            ),
        ),
    }
}

fn overtook(judge: &Judge, first: RequestId, id: RequestId) -> Verdict {
    let (one, other) = (&judge.request(first).wanted, &judge.request(id).wanted);
    broken(
        RULE,
        format!(
            "{first} ({} {one}) has overtaken {id} ({} {other}), which was told to wait before \
             {first} was asked for, and was granted with a larger token",
            one.who, other.who
        ),
    )
}

#[cfg(test)]
mod tests {
    use crate::live::happening::{Call, End, Happening};
    use crate::live::judge::testing::{asks, calls, granted, judged, over, queued};

    fn after(history: &[(u64, Happening)]) -> bool {
        let first = [(0, asks(1, "w a")), (1, queued(1)), (2, asks(2, "w a/b"))];
        judged(&[&first, history].concat()).is_ok()
    }

    #[test]
    fn whoever_overtakes_is_found_whoever_is_told_first() {
        assert!(after(&[(3, granted(1, 5)), (4, granted(2, 6))]));
        assert!(!after(&[(3, granted(1, 6)), (4, granted(2, 5))]));
        assert!(after(&[(3, granted(2, 6)), (4, granted(1, 5))]));
        assert!(!after(&[(3, granted(2, 5)), (4, granted(1, 6))]));
    }

    #[test]
    fn whoever_is_cancelled_later_was_overtaken_too() {
        let cancel = |at| (at, calls(1, Call::Cancel));
        let over = (9, over(1, End::Cancelled, None));
        assert!(!after(&[(3, granted(2, 5)), cancel(4), over.clone()]));
        // It may have left the queue before.
        assert!(after(&[cancel(3), (4, granted(2, 5)), over]));
    }

    #[test]
    fn nothing_is_concluded_where_it_is_not_certain_who_came_first() {
        // The first was not told to wait before the second was asked for.
        let unsure = [
            (0, asks(1, "w a")),
            (1, asks(2, "w a")),
            (2, queued(1)),
            (3, queued(2)),
            (4, granted(2, 5)),
            (5, granted(1, 6)),
        ];
        assert!(judged(&unsure).is_ok());
        // They are not in each other's way.
        let apart = [
            (0, asks(1, "r a")),
            (1, queued(1)),
            (2, asks(2, "r a")),
            (3, granted(2, 5)),
            (4, granted(1, 6)),
        ];
        assert!(judged(&apart).is_ok());
    }
}
