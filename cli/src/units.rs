//! Durations and numbers as people write and read them.

use lockwright_client::DurationMs;
use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

/// Reads a duration such as `500ms`, `10s`, `2m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<DurationMs, String> {
    let refusal = || format!("`{text}` is no duration: write it as in 500ms, 10s, 2m, 1h30m or 2d");
    let mut rest = text;
    let (mut total_ms, mut unit_before) = (0_u64, u64::MAX);
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
        // As in 30m1h or 10d10d, where something was meant to be deleted.
        if unit_ms >= unit_before {
            return Err(refusal());
        }
        unit_before = unit_ms;
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

/// Reads a whole number of a range.
pub(crate) fn number<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let (least, most) = (range.start(), range.end());
        number.ok_or_else(|| format!("expected a whole number from {least} to {most}"))
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

/// A moment in UTC, as `2026-11-29T11:14:34.123Z`.
pub(crate) fn utc(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = date(days);
    let (h, m, s, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
}

/// Year, month and day, `days` after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01, so that the day that leap years add is the last of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
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
            "10d10d",
            "30m1h",
            "1s1s1s",
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

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (1_795_950_874_123, "2026-11-29T11:14:34.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc(unix_ms), text);
        }
    }
}
