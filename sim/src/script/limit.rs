//! Settings of limits: `sessions=2`.

use crate::op::NUMBER_MAX;
use lockwright_engine::{DurationMs, Limits};
use std::{num::NonZeroU32, str::FromStr};

/// One limit and its value, such as `sessions=2`. `retention` is in ms; all others are counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSetting {
    name: &'static str,
    value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Count(u32),
    Retention(DurationMs),
    SessionEnds(NonZeroU32),
}

/// Why a text is not a [`LimitSetting`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// There is no `=`.
    #[error("`{0}` is no setting of a limit: expected NAME=NUMBER, such as sessions=2")]
    NoValue(String),
    /// No limit has this name.
    #[error("unknown limit `{0}`: expected one of {list}", list = NAMES.join(", "))]
    UnknownName(String),
    /// The value is not a number of the limit's range.
    #[error("`{got}` is no value of `{name}`: expected a whole number from {least} to {most}")]
    BadValue {
        /// Which limit.
        name: &'static str,
        /// What was given.
        got: String,
        /// The smallest value.
        least: u64,
        /// The largest value.
        most: u64,
    },
}

const RETENTION: &str = "retention";
const SESSION_ENDS: &str = "session_ends_per_ms";

const NAMES: [&str; 9] = [
    "claims_per_request",
    "segments_per_path",
    "bytes_per_segment",
    "queued_requests_per_path",
    "locks_per_owner",
    "sessions",
    "namespaces",
    RETENTION,
    SESSION_ENDS,
];

impl FromStr for LimitSetting {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<LimitSetting, LimitError> {
        let (given, value) = text
            .split_once('=')
            .ok_or_else(|| LimitError::NoValue(text.to_owned()))?;
        let name = *NAMES
            .iter()
            .find(|name| **name == given)
            .ok_or_else(|| LimitError::UnknownName(given.to_owned()))?;
        let bad_value = |least, most| LimitError::BadValue {
            name,
            got: value.to_owned(),
            least,
            most,
        };
        let count_max = u64::from(u32::MAX);
        let value = match name {
            RETENTION => {
                let bad_value = || bad_value(0, NUMBER_MAX);
                let ms = value.parse().map_err(|_| bad_value())?;
                Value::Retention(DurationMs::new(ms).map_err(|_| bad_value())?)
            }
            SESSION_ENDS => {
                let count = value.parse();
                Value::SessionEnds(count.map_err(|_| bad_value(1, count_max))?)
            }
            _ => {
                let count = value.parse();
                Value::Count(count.map_err(|_| bad_value(0, count_max))?)
            }
        };
        Ok(LimitSetting { name, value })
    }
}

impl LimitSetting {
    /// Puts the limit into `limits`.
    pub fn apply_to(self, limits: &mut Limits) {
        let count = match self.value {
            Value::Count(count) => count,
            Value::Retention(retention) => {
                limits.retention = retention;
                return;
            }
            Value::SessionEnds(count) => {
                limits.session_ends_per_ms = count;
                return;
            }
        };
        let limit = match self.name {
            "claims_per_request" => &mut limits.claims_per_request,
            "segments_per_path" => &mut limits.segments_per_path,
            "bytes_per_segment" => &mut limits.bytes_per_segment,
            "queued_requests_per_path" => &mut limits.queued_requests_per_path,
            "locks_per_owner" => &mut limits.locks_per_owner,
            "sessions" => &mut limits.sessions,
            "namespaces" => &mut limits.namespaces,
            name => unreachable!("`{name}` was checked to be a count"),
        };
        *limit = count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_can_be_set_by_name() {
        for name in NAMES {
            let mut limits = Limits::default();
            let setting: LimitSetting = format!("{name}=3").parse().unwrap();
            setting.apply_to(&mut limits);
            let json = serde_json::to_value(&limits).unwrap();
            assert_eq!(json[name], 3, "{name}");
        }
    }

    #[test]
    fn what_is_no_setting_is_refused_with_what_was_expected() {
        let error = |text: &str| text.parse::<LimitSetting>().unwrap_err().to_string();
        assert!(error("sessions").contains("expected NAME=NUMBER"));
        assert!(error("colours=1").contains("claims_per_request"));
        assert!(error("session_ends_per_ms=0").contains("from 1 to 4294967295"));
        assert!(error("sessions=-1").contains("from 0 to 4294967295"));
        assert!(error("retention=9007199254740992").contains("from 0 to 9007199254740991"));
    }
}
