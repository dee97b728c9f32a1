//! Settings of limits: `sessions=2`.

use crate::op::NUMBER_MAX;
use lockwright_engine::{DurationMs, Limits};
use std::str::FromStr;

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
    #[error("`{got}` is no value of `{name}`: expected a whole number from 0 to {most}")]
    BadValue {
        /// Which limit.
        name: &'static str,
        /// What was given.
        got: String,
        /// The largest value.
        most: u64,
    },
}

const RETENTION: &str = "retention";

const NAMES: [&str; 8] = [
    "claims_per_request",
    "segments_per_path",
    "bytes_per_segment",
    "queued_requests_per_path",
    "locks_per_owner",
    "sessions",
    "namespaces",
    RETENTION,
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
        let bad_value = |most| LimitError::BadValue {
            name,
            got: value.to_owned(),
            most,
        };
        let value = if name == RETENTION {
            let ms = value.parse().map_err(|_| bad_value(NUMBER_MAX))?;
            Value::Retention(DurationMs::new(ms).map_err(|_| bad_value(NUMBER_MAX))?)
        } else {
            let count = value.parse();
            Value::Count(count.map_err(|_| bad_value(u64::from(u32::MAX)))?)
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
        assert!(error("sessions=-1").contains("from 0 to 4294967295"));
        assert!(error("retention=9007199254740992").contains("from 0 to 9007199254740991"));
    }
}
