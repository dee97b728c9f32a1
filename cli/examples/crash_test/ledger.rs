//! What all clients were told, taken together.

use std::collections::BTreeMap;

/// A request: the number of its client, and its own.
pub(crate) type RequestId = (u32, u64);

/// What is known of all clients. Whatever must not be is a violation, in words.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Whose each token is.
    tokens: BTreeMap<u64, RequestId>,
    /// Who holds what: told of a grant, and no release sent.
    holders: BTreeMap<RequestId, String>,
    /// How many clients have found their way in this round.
    pub(crate) back: u32,
    pub(crate) violations: Vec<String>,
    releases: u64,
    renewals: u64,
    compared: u64,
}

impl Ledger {
    /// The largest token that anybody was told of: what is asked for from now on gets a larger one.
    pub(crate) fn floor(&self) -> u64 {
        self.tokens.last_key_value().map_or(0, |(token, _)| *token)
    }

    pub(crate) fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// A client was told of a grant, for the first time or again. `floor` is from before it asked.
    pub(crate) fn granted(&mut self, request: RequestId, path: &str, token: u64, floor: u64) {
        let known = self.tokens.insert(token, request);
        if known.is_some_and(|known| known != request) {
            let known = known.expect("it is there");
            self.violation(format!(
                "token {token} of {known:?} is given again to {request:?}"
            ));
        }
        if token <= floor {
            self.violation(format!(
                "{request:?} gets token {token}, and {floor} was told before it asked"
            ));
        }
        let other = self
            .holders
            .iter()
            .find(|(other, held)| **other != request && overlap(held, path));
        if let Some((other, held)) = other {
            let together =
                format!("{request:?} is told that it holds {path}, while {other:?} holds {held}");
            self.violation(together);
        }
        self.holders.insert(request, path.to_owned());
    }

    /// A client is about to give a lock back.
    pub(crate) fn gives_back(&mut self, request: RequestId) {
        self.holders.remove(&request);
    }

    pub(crate) fn released(&mut self) {
        self.releases += 1;
    }

    pub(crate) fn renewed(&mut self) {
        self.renewals += 1;
    }

    pub(crate) fn compared(&mut self, locks: usize) {
        self.compared += locks as u64;
    }

    /// How much was looked at.
    pub(crate) fn counts(&self) -> String {
        format!(
            "{} grants, {} renewals, {} releases acknowledged, {} locks compared after a start",
            self.tokens.len(),
            self.renewals,
            self.releases,
            self.compared
        )
    }
}

/// Whether one path is the other or above it.
fn overlap(a: &str, b: &str) -> bool {
    let below = |a: &str, b: &str| {
        b.strip_prefix(a)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    below(a, b) || below(b, a)
}
