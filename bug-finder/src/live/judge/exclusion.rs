//! Nobody believes in a lock while somebody else believes in one that is in its way.

use super::{Judge, Verdict, broken};
use crate::live::happening::RequestId;
use std::time::Duration;

/// The rule.
const RULE: &str = "mutual exclusion (SEMANTICS 7.1, 7.4)";

/// A time in which a request was believed in.
#[derive(Debug, Clone, Copy)]
struct Span {
    id: RequestId,
    from: Duration,
    until: Duration,
    /// When it was told of: not before it was over.
    told: Duration,
}

/// All beliefs that are over, in the order in which they were told of.
#[derive(Debug, Default)]
pub(super) struct Exclusion {
    spans: Vec<Span>,
}

impl Exclusion {
    pub(super) fn believed(
        &mut self,
        judge: &Judge,
        id: RequestId,
        from: Duration,
        until: Duration,
        told: Duration,
    ) -> Verdict {
        let request = judge.request(id);
        // Whatever was told of before this one began was over by then.
        let recent = self.spans.iter().rev().take_while(|span| span.told >= from);
        for span in recent {
            let both = span.from.max(from)..span.until.min(until);
            if span.id != id && !both.is_empty() && request.conflicts(judge.request(span.id)) {
                let other = judge.request(span.id);
                return broken(
                    RULE,
                    format!(
                        "{} ({} {}) and {id} ({} {}) both believed that they held their locks, from \
                         {:?} to {:?}",
                        span.id,
                        other.wanted.who,
                        other.wanted,
                        request.wanted.who,
                        request.wanted,
                        both.start,
                        both.end
                    ),
                );
            }
        }
        self.spans.push(Span {
            id,
            from,
            until,
            told,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::live::judge::testing::{asks, believed, granted, judged};

    fn two(one: &str, other: &str, spans: [(u64, u64); 2]) -> bool {
        let [first, second] = spans;
        judged(&[
            (0, asks(1, one)),
            (0, asks(2, other)),
            (5, granted(1, 1)),
            (5, granted(2, 2)),
            (first.1 + 1, believed(1, first.0, first.1)),
            (60.max(second.1 + 1), believed(2, second.0, second.1)),
        ])
        .is_ok()
    }

    #[test]
    fn two_at_once_are_found_however_short_they_meet() {
        assert!(!two("w a", "w a", [(10, 20), (19, 40)]));
        assert!(!two("w a/b", "r a", [(10, 50), (20, 30)]));
        assert!(!two("w a", "w a/b/c", [(20, 30), (10, 50)]));
    }

    #[test]
    fn what_is_not_in_each_others_way_or_not_at_once_is_well() {
        assert!(two("w a", "w a", [(10, 20), (20, 40)]));
        assert!(two("r a", "r a", [(10, 20), (10, 20)]));
        assert!(two("w a/b", "w a/c", [(10, 20), (10, 20)]));
    }
}
