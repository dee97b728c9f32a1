//! Why a server gives no session, for people.

use std::fmt;

/// Why a server gave no session when it was last tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// There is no way to it, or the connection broke: what the system says.
    Unreachable(String),
    /// It has not answered in time, or not yet.
    NoAnswer,
    /// It says that it cannot serve now, and why.
    CannotServe(String),
    /// It refuses this client, and why.
    Refused(String),
    /// What answers there is no server of this kind: what it said instead.
    NotOurs(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Unreachable(why) => f.write_str(why),
            Trouble::NoAnswer => f.write_str("no answer in time"),
            Trouble::CannotServe(why) if why.is_empty() => f.write_str("it cannot serve now"),
            Trouble::CannotServe(why) => write!(f, "it cannot serve now: {why}"),
            Trouble::Refused(why) => write!(f, "it refuses: {why}"),
            Trouble::NotOurs(why) => write!(f, "what answers there is no server of ours: {why}"),
        }
    }
}
