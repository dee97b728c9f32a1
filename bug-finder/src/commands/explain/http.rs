//! Those who ask over HTTP, told to a person.

use super::service::{of_claims, of_hold, of_wait};
use lockwright_sim::plan::HttpAttempt;

/// What the one with this index does; it is named as in the history, at its host's first start.
pub(super) fn of_attempt(index: usize, attempt: &HttpAttempt) -> String {
    let mut text = format!(
        "h{index}-1: {} on host {} asks over HTTP for {} in {}, a lease of {} ms",
        attempt.holder,
        attempt.host,
        of_claims(&attempt.claims),
        attempt.namespace,
        attempt.ttl_ms
    );
    if attempt.by_path {
        text += ", by its path";
    }
    text += &of_wait(attempt.wait);
    if attempt.twice {
        text += ", on two connections at once";
    }
    text += &match attempt.hangs_up {
        true => ", hangs up at once".to_owned(),
        false => format!(", hangs up after {} ms", attempt.patience_ms),
    };
    if attempt.retries > 0 {
        text += &format!(", asks again up to {} times", attempt.retries);
    }
    text += &of_hold(attempt.renew, attempt.hold_ms);
    if let Some(ms) = attempt.again_ms {
        text += &format!(", and once more {ms} ms later");
    }
    for mistake in &attempt.mistakes {
        text += &format!(
            ", asks with its id for {} {} ms after the grant",
            of_claims(&mistake.claims),
            mistake.after_ms
        );
        if mistake.twice {
            text += ", on two connections at once";
        }
    }
    text
}
