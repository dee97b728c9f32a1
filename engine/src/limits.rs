//! Every limit of the engine, in one place (SEMANTICS section 5).

use crate::DurationMs;
use serde::{Deserialize, Serialize};
use std::{fmt, num::NonZeroU32};

/// How much of everything the engine takes on. A command that would exceed one is refused with
/// [`Refusal::LimitExceeded`](crate::Refusal::LimitExceeded) and changes nothing; the last two say how
/// long something takes, and refuse nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Claims that one request may ask for, counted as given. Default 64.
    pub claims_per_request: u32,
    /// Segments that a path may have. Default 32.
    pub segments_per_path: u32,
    /// Bytes of UTF-8 that a segment may have. Default 255.
    pub bytes_per_segment: u32,
    /// Requests that may be queued with a claim on exactly one path. Default 1,000,000.
    pub queued_requests_per_path: u32,
    /// Live requests, held or queued, that one owner may have. Default 1,000,000.
    pub locks_per_owner: u32,
    /// Sessions that may be there at once, over all namespaces: open ones, those whose end goes on, and
    /// those that are not all given back. Default 1,000,000.
    pub sessions: u32,
    /// Namespaces that may be in use at once. One is in use while it has such a session or a request that
    /// is live or remembered. Default 10,000.
    pub namespaces: u32,
    /// How long the end of a request is remembered, so that a repeated id is recognised; a
    /// session's requests are remembered at least as long as the session lives. Default 60 s.
    pub retention: DurationMs,
    /// Requests of an ending session that end in one millisecond, or are given back in it when they have
    /// ended before: so a session that has a million holds up nobody for long, if it is far less than what ends in a millisecond when
    /// there is nothing else to do. Default 100.
    pub session_ends_per_ms: NonZeroU32,
}

const SESSION_ENDS_PER_MS: NonZeroU32 = NonZeroU32::new(100).expect("it is not 0");

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            claims_per_request: 64,
            segments_per_path: 32,
            bytes_per_segment: 255,
            queued_requests_per_path: 1_000_000,
            locks_per_owner: 1_000_000,
            sessions: 1_000_000,
            namespaces: 10_000,
            retention: DurationMs::from_secs(60),
            session_ends_per_ms: SESSION_ENDS_PER_MS,
        }
    }
}

/// The limits by name, as they appear in errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitName {
    /// [`Limits::claims_per_request`].
    ClaimsPerRequest,
    /// [`Limits::segments_per_path`].
    SegmentsPerPath,
    /// [`Limits::bytes_per_segment`].
    BytesPerSegment,
    /// [`Limits::queued_requests_per_path`].
    QueuedRequestsPerPath,
    /// [`Limits::locks_per_owner`].
    LocksPerOwner,
    /// [`Limits::sessions`].
    Sessions,
    /// [`Limits::namespaces`].
    Namespaces,
    /// Bytes of the label that people are told of a session or request: the service's, which never
    /// reaches the engine.
    LabelBytes,
}

impl LimitName {
    /// The name as it is written in errors and settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LimitName::ClaimsPerRequest => "claims_per_request",
            LimitName::SegmentsPerPath => "segments_per_path",
            LimitName::BytesPerSegment => "bytes_per_segment",
            LimitName::QueuedRequestsPerPath => "queued_requests_per_path",
            LimitName::LocksPerOwner => "locks_per_owner",
            LimitName::Sessions => "sessions",
            LimitName::Namespaces => "namespaces",
            LimitName::LabelBytes => "label_bytes",
        }
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_called_the_same_in_settings_errors_and_serialized() {
        let settings = serde_json::to_value(Limits::default()).unwrap();
        for limit in [
            LimitName::ClaimsPerRequest,
            LimitName::SegmentsPerPath,
            LimitName::BytesPerSegment,
            LimitName::QueuedRequestsPerPath,
            LimitName::LocksPerOwner,
            LimitName::Sessions,
            LimitName::Namespaces,
        ] {
            assert!(settings[limit.as_str()].is_u64(), "{limit} is a setting");
            assert_eq!(serde_json::to_value(limit).unwrap(), limit.as_str());
            assert_eq!(limit.to_string(), limit.as_str());
        }
    }
}
