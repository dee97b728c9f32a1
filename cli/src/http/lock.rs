//! A lock as the API tells of it.

use crate::{output, units};
use lockwright_client::{Claim, Mode, Path};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A request that lives: a lock that is held, or one that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct LockFacts {
    /// The id of the request.
    pub(crate) id: String,
    /// Whose it is.
    pub(crate) owner: Owner,
    /// What people are told of it.
    pub(crate) label: Option<String>,
    /// What is locked.
    pub(crate) claims: Vec<ClaimFacts>,
    /// `held` or `queued`.
    pub(crate) state: String,
    /// The fencing token of one that is held.
    pub(crate) token: Option<u64>,
    /// Since the request arrived.
    pub(crate) age_ms: u64,
    /// Since the grant of one that is held.
    pub(crate) held_ms: Option<u64>,
    /// Of one that is held and has a lease.
    pub(crate) lease_remaining_ms: Option<u64>,
    /// Of one that does not wait for ever.
    pub(crate) wait_remaining_ms: Option<u64>,
}

/// Whose a lock is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Owner {
    /// Somebody with a name.
    Holder(String),
    /// A session.
    Session(String),
}

/// A path, and how it is locked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ClaimFacts {
    mode: String,
    path: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Holder(name) => f.write_str(name),
            Owner::Session(name) => write!(f, "session:{name}"),
        }
    }
}

/// Reads an owner as it is shown: a name, or `session:` and the name of a session.
pub(crate) fn owner(text: &str) -> Result<Owner, String> {
    let named = crate::cli::name(text.strip_prefix("session:").unwrap_or(text))?.to_string();
    Ok(match text.starts_with("session:") {
        true => Owner::Session(named),
        false => Owner::Holder(named),
    })
}

impl fmt::Display for ClaimFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.mode, self.path)
    }
}

impl LockFacts {
    /// Whether it is of this session.
    pub(crate) fn is_of_session(&self, session: Option<&str>) -> bool {
        match &self.owner {
            Owner::Session(name) => Some(name.as_str()) == session,
            Owner::Holder(_) => false,
        }
    }

    /// Whether it and a claim cannot be held together.
    pub(crate) fn conflicts(&self, claim: &Claim) -> bool {
        self.claims.iter().any(|facts| {
            let mode = match facts.mode.as_str() {
                "read" => Mode::Read,
                _ => Mode::Write,
            };
            let path = Path::parse(facts.path.as_str());
            path.is_ok_and(|path| claim.conflicts(&Claim { path, mode }))
        })
    }

    /// Whose it is, for people: with the label.
    pub(crate) fn owner_in_words(&self) -> String {
        let label = self.label.as_ref();
        let label = label.map_or_else(String::new, |label| format!(" ({label})"));
        output::printable(&format!("{}{label}", self.owner))
    }

    /// What people are told of it, in one cell.
    pub(crate) fn label(&self) -> String {
        self.label.clone().unwrap_or_else(|| "-".to_owned())
    }

    /// What is locked, in one cell.
    pub(crate) fn claims(&self) -> String {
        let claims: Vec<String> = self.claims.iter().map(ToString::to_string).collect();
        claims.join(", ")
    }

    /// The token, in one cell.
    pub(crate) fn token(&self) -> String {
        self.token
            .map_or_else(|| "-".to_owned(), |token| token.to_string())
    }

    /// How long it still lasts or waits, in one cell.
    pub(crate) fn remaining(&self) -> String {
        let remaining = self.lease_remaining_ms.or(self.wait_remaining_ms);
        remaining.map_or_else(|| "-".to_owned(), units::short_span)
    }
}
