//! Durations as people write and read them.

use lockwright_client::DurationMs;
use std::time::Duration;

/// Reads a duration such as `500ms`, `10s`, `2m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<DurationMs, String> {
    let refusal = || format!("`{text}` is no duration: write it as in 500ms, 10s, 2m, 1h30m or 2d");
    let mut rest = text;
    let mut total_ms: u64 = 0;
    if rest.is_empty() {
        return Err(refusal());
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len()
            - after
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let (unit, after) = after.split_at(letters);
        let unit_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(refusal()),
        };
        let number: u64 = number.parse().map_err(|_| refusal())?;
        total_ms = number
            .checked_mul(unit_ms)
            .and_then(|ms| total_ms.checked_add(ms))
            .ok_or_else(|| format!("`{text}` is too long a duration"))?;
        rest = after;
    }
    DurationMs::new(total_ms).map_err(|_| format!("`{text}` is too long a duration"))
}

/// Reads a duration that is not zero.
pub(crate) fn duration_above_zero(text: &str) -> Result<DurationMs, String> {
    match duration(text)? {
        DurationMs::ZERO => Err(format!("`{text}` is no time at all: give more")),
        duration => Ok(duration),
    }
}

/// A duration as the standard library has it.
pub(crate) fn std(duration: DurationMs) -> Duration {
    Duration::from_millis(duration.as_ms())
}

/// A span of time in few characters: `850ms`, `12.3s`, `4m05s`, `2h03m`, `3d04h`.
pub(crate) fn short_span(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0 => format!("{ms}ms"),
        1..60 => format!("{s}.{}s", ms % 1000 / 100),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_written() {
        for (text, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text).map(DurationMs::as_ms), Ok(ms), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "5 m",
            "-5s",
            "5x",
            "1.5h",
            "99999999999999999999s",
            "999999999999d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration_above_zero("0s").is_err());
    }

    #[test]
    fn spans_are_short() {
        let spans = [850, 12_340, 245_000, 7_380_000, 273_600_000].map(short_span);
        assert_eq!(spans, ["850ms", "12.3s", "4m05s", "2h03m", "3d04h"]);
    }
}
