//! Those who break locks, end sessions and ask for tokens, for people.

use lockwright_sim::plan::{BreakerPlan, Credentials};

/// What one does, and when.
pub(super) fn of_breaker(index: usize, breaker: &BreakerPlan, nodes: usize) -> (u64, String) {
    let BreakerPlan {
        at_ms,
        host,
        node,
        deed,
        namespace,
        path,
        credentials,
        rest_ms,
        patience_ms,
        retries,
        again_ms,
    } = breaker;
    let node = node % nodes.max(1);
    let who = match credentials {
        Credentials::Right => "an operator",
        Credentials::Missing => "one without the admin token",
        Credentials::Wrong => "one with a wrong admin token",
    };
    // As the history calls it, at its host's first start.
    let mut text = format!(
        "b{index}-1: {who} on host {host} asks node {node} to {deed} at {path} in {namespace}"
    );
    if *rest_ms > 0 {
        text += &format!(", {rest_ms} ms after it has looked");
    }
    text += &format!(", waits {patience_ms} ms for the answer");
    if *retries > 0 {
        text += &format!(", asks again up to {retries} times without one");
    }
    if let Some(ms) = again_ms {
        text += &format!(", and asks the same {ms} ms after it was answered");
    }
    (*at_ms, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_unusual_is_told() {
        let mut breaker: BreakerPlan = serde_json::from_value(serde_json::json!({
            "at_ms": 7, "host": 1, "node": 4, "deed": "path", "namespace": "n", "path": "a/b",
            "patience_ms": 100,
        }))
        .unwrap();
        let plain = "b2-1: an operator on host 1 asks node 1 to break all that is held at a/b in n, waits \
            100 ms for the answer";
        assert_eq!(of_breaker(2, &breaker, 3), (7, plain.to_owned()));
        breaker.credentials = Credentials::Wrong;
        breaker.rest_ms = 3;
        breaker.retries = 2;
        breaker.again_ms = Some(9);
        let (_, text) = of_breaker(2, &breaker, 3);
        for part in [
            "a wrong admin token",
            "3 ms after",
            "up to 2 times",
            "same 9 ms",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
