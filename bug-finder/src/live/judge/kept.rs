//! What was acknowledged is kept: a lock that is held stays so until its end is asked for or due,
//! and one that was released does not come back.

use super::{Judge, Request, State, Verdict, broken};
use crate::live::happening::{Call, End, Listed, RequestId, Waits, Who};
use std::collections::BTreeMap;
use std::time::Duration;

/// The rules.
const KEPT: &str = "durability (SEMANTICS 7.5)";
const LEASES: &str = "leases (SEMANTICS 3, 7.4)";
const LIFE: &str = "the life of a lock (SEMANTICS 2, 4)";
const EXCLUSION: &str = "mutual exclusion (SEMANTICS 7.1)";

/// A request is over.
pub(super) fn over(
    request: &Request,
    id: RequestId,
    at: Duration,
    end: &End,
    believed_until: Option<Duration>,
) -> Verdict {
    let who = request.wanted.who;
    let asked_for = |call: Call| request.endings.contains(&call);
    let wrong = |rule, why: &str| {
        let state = request.state;
        broken(
            rule,
            format!(
                "{id} ({who} {}, {state:?}) is over: {end}; {why}",
                request.wanted
            ),
        )
    };
    // However it ended, its client went on to believe in it.
    let too_early = believed_until.is_some_and(|until| at < until);
    match end {
        _ if asked_for(Call::Release) => Ok(()),
        End::Busy if request.wanted.waits == Waits::No => Ok(()),
        End::TimedOut if matches!(request.wanted.waits, Waits::For(_)) => Ok(()),
        End::Cancelled if asked_for(Call::Cancel) => Ok(()),
        End::Expired | End::Gone(_) if too_early => {
            let until = believed_until.unwrap_or_default();
            wrong(
                LEASES,
                &format!("its client believed in it until {until:?}"),
            )
        }
        End::Expired | End::LeaseOver if request.wanted.ttl_ms.is_some() => Ok(()),
        End::Gone(_) | End::OutOfTouch => {
            let leased = request.wanted.ttl_ms.is_some();
            let granted = matches!(request.state, State::Granted { .. });
            match who {
                Who::Hasty(_) => Ok(()),
                // While its client was away its lease has run out.
                Who::Steady(_) | Who::Visitor(_) if leased && granted => Ok(()),
                _ if granted => wrong(KEPT, "it was held, and nothing had ended it"),
                _ => wrong(KEPT, "its session lives on, and nothing had ended it"),
            }
        }
        _ => wrong(LIFE, "nothing has led to that"),
    }
}

/// A call is answered.
pub(super) fn answered(
    request: &Request,
    id: RequestId,
    call: Call,
    error: Option<&str>,
) -> Verdict {
    let Some(error) = error else { return Ok(()) };
    let kept = match request.wanted.who {
        Who::Steady(_) | Who::Visitor(_) => request.wanted.ttl_ms.is_none(),
        Who::Hasty(_) => false,
    };
    let held = matches!(request.state, State::Granted { .. });
    if kept && held && !matches!(call, Call::Cancel) {
        return broken(
            KEPT,
            format!(
                "{id} ({} {}) was held, and nothing had ended it; to {call} it is answered: {error}",
                request.wanted.who, request.wanted
            ),
        );
    }
    Ok(())
}

/// A server has told of all live locks; it was asked at `asked`.
pub(super) fn listed(judge: &Judge, asked: Duration, locks: &[Listed]) -> Verdict {
    let tokens: BTreeMap<RequestId, Option<u64>> =
        locks.iter().map(|lock| (lock.id, lock.token)).collect();
    for &id in &judge.live {
        let request = judge.request(id);
        let steady = matches!(request.wanted.who, Who::Steady(_) | Who::Visitor(_));
        let State::Granted { token, at } = request.state else {
            continue;
        };
        let kept = steady && request.wanted.ttl_ms.is_none() && request.endings.is_empty();
        if kept && at <= asked && tokens.get(&id) != Some(&Some(token)) {
            return broken(
                KEPT,
                format!(
                    "{id} ({} {}) is held with token {token}, and the list that was asked for at \
                     {asked:?} says otherwise: {}",
                    request.wanted.who,
                    request.wanted,
                    match tokens.get(&id) {
                        None => "it is not there".to_owned(),
                        Some(None) => "it waits".to_owned(),
                        Some(Some(other)) => format!("its token is {other}"),
                    }
                ),
            );
        }
    }
    let mut held: Vec<RequestId> = Vec::new();
    for lock in locks {
        let Some(request) = judge.requests.get(&lock.id) else {
            return broken(
                LIFE,
                format!("{} is listed, and nobody asked for it", lock.id),
            );
        };
        if let Some(released) = request.released
            && released <= asked
        {
            return broken(
                KEPT,
                format!(
                    "{} ({} {}) was released, which was acknowledged at {released:?}, and is there \
                     again in the list that was asked for at {asked:?}",
                    lock.id, request.wanted.who, request.wanted
                ),
            );
        }
        if lock.token.is_some() {
            if let Some(other) = held
                .iter()
                .find(|other| request.conflicts(judge.request(**other)))
            {
                return broken(
                    EXCLUSION,
                    format!("a list has both {other} and {} as held", lock.id),
                );
            }
            held.push(lock.id);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::happening::Happening;
    use crate::live::judge::testing::{
        answered, asks, calls, granted, judged, list, ms, over, queued, wanted,
    };

    fn held() -> Vec<(u64, Happening)> {
        vec![(0, asks(1, "w a")), (1, granted(1, 5))]
    }

    fn then(more: &[(u64, Happening)]) -> bool {
        judged(&[&held(), more].concat()).is_ok()
    }

    #[test]
    fn a_held_lock_that_goes_by_itself_is_found() {
        for end in [
            End::Gone("away".into()),
            End::OutOfTouch,
            End::Expired,
            End::Strange("broken".into()),
            End::Cancelled,
        ] {
            assert!(!then(&[(2, over(1, end.clone(), None))]), "{end}");
        }
        let released = [
            (2, calls(1, Call::Release)),
            (3, answered(1, Call::Release)),
        ];
        assert!(then(&released));
        let refused = Happening::Answered {
            id: RequestId(1),
            call: Call::Release,
            error: Some("not_held".into()),
        };
        assert!(!then(&[(2, calls(1, Call::Release)), (3, refused)]));
    }

    #[test]
    fn a_place_in_the_queue_that_goes_by_itself_is_found() {
        let waits = [(0, asks(1, "w a")), (1, queued(1))];
        let gone = (2, over(1, End::Gone("the session".into()), None));
        assert!(judged(&[&waits[..], &[gone]].concat()).is_err());
        let cancelled = [
            (2, calls(1, Call::Cancel)),
            (3, over(1, End::Cancelled, None)),
        ];
        assert!(judged(&[&waits[..], &cancelled].concat()).is_ok());
    }

    #[test]
    fn a_lease_that_ends_before_its_clients_belief_is_found() {
        let mut leased = wanted("w a");
        leased.ttl_ms = Some(50);
        leased.who = Who::Hasty(0);
        let asked = Happening::Asked {
            id: RequestId(1),
            wanted: leased,
        };
        let until = |at: u64| {
            let end = (at, over(1, End::Expired, Some(55)));
            judged(&[(0, asked.clone()), (1, granted(1, 5)), end]).is_ok()
        };
        assert!(until(55) && !until(54));
    }

    #[test]
    fn a_list_is_held_against_what_was_acknowledged() {
        let there = [(1, Some(5))];
        assert!(then(&[(9, list(2, &there))]));
        assert!(!then(&[(9, list(2, &[]))]));
        assert!(!then(&[(9, list(2, &[(1, Some(6))]))]));
        assert!(!then(&[(9, list(2, &[(1, None)]))]));
        // It was asked for before the grant was told, or comes when the end was asked for.
        assert!(then(&[(9, list(0, &[]))]));
        assert!(then(&[(3, calls(1, Call::Release)), (9, list(2, &[]))]));
        let released = [
            (3, calls(1, Call::Release)),
            (4, answered(1, Call::Release)),
        ];
        assert!(then(&[&released[..], &[(9, list(3, &there))]].concat()));
        assert!(!then(&[&released[..], &[(9, list(4, &there))]].concat()));
        assert!(!then(&[(9, list(2, &[(1, Some(5)), (7, Some(8))]))]));
        let other = [(2, asks(2, "w a/b"))];
        let both = (9, list(0, &[(1, Some(5)), (2, Some(6))]));
        assert!(!then(&[&other[..], &[both]].concat()));
        assert_eq!(ms(1), Duration::from_millis(1));
    }
}
