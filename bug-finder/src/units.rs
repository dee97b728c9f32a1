//! Quantities as people write and read them: durations, ranges of seeds, shards, counts.

use crate::queue::Shard;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Reads a duration such as `30s`, `5m`, `1h30m`, `500ms`.
///
/// # Errors
/// When it is not one; the message says what is.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let refusal = || format!("`{text}` is no duration: write it as in 500ms, 30s, 5m, 1h30m or 2d");
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
            // A thousand years, so that it can be added to any moment.
            .filter(|ms| *ms <= 1000 * 366 * 86_400_000)
            .ok_or_else(|| format!("`{text}` is too long a duration"))?;
        rest = after;
    }
    Ok(Duration::from_millis(total_ms))
}

/// Reads a duration that is not zero.
///
/// # Errors
/// When it is not one; the message says what is.
pub fn parse_duration_above_zero(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err(format!("`{text}` is no time at all: give more")),
        duration => Ok(duration),
    }
}

/// Reads seeds: `A..B` (without B), `A..=B`, or one seed.
///
/// # Errors
/// When it is none of these, or holds no seed.
pub fn parse_seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let seed = |part: &str| {
        part.trim().parse::<u64>().map_err(|_| {
            format!(
                "`{text}`: `{part}` is no seed; write A..B (without B), A..=B or one seed, each a \
                 number from 0 to {}",
                u64::MAX
            )
        })
    };
    let empty = || format!("`{text}` holds no seed: the end must come after the start");
    let range = if let Some((start, end)) = text.split_once("..=") {
        seed(start)?..=seed(end)?
    } else if let Some((start, end)) = text.split_once("..") {
        seed(start)?..=seed(end)?.checked_sub(1).ok_or_else(empty)?
    } else {
        let one = seed(text)?;
        one..=one
    };
    if range.is_empty() {
        return Err(empty());
    }
    Ok(range)
}

/// Reads a shard: `I/N`.
///
/// # Errors
/// When it is not one.
pub fn parse_shard(text: &str) -> Result<Shard, String> {
    let number = |part: &str| part.parse::<u64>().ok();
    let shard = text
        .split_once('/')
        .and_then(|(index, of)| Some((number(index)?, number(of)?)));
    match shard {
        Some((index, of)) if (1..=of).contains(&index) => Ok(Shard {
            index: index % of,
            of,
        }),
        _ => Err(format!(
            "`{text}` is no shard: write I/N, such as 1/4 for the first of four"
        )),
    }
}

/// A count in few characters: `950`, `12.3k`, `4.5M`.
#[must_use]
pub fn short_count(count: f64) -> String {
    const UNITS: [&str; 5] = ["", "k", "M", "G", "T"];
    let mut value = count;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 99.95);
    format!("{value:.digits$}{}", UNITS[unit])
}

/// A span of time in few characters: `850ms`, `12.3s`, `4m05s`, `2h03m`, `3d04h`.
#[must_use]
pub fn short_span(span: Duration) -> String {
    let s = span.as_secs();
    match s {
        0 => format!("{}ms", span.as_millis()),
        1..60 => format!("{:.1}s", span.as_secs_f64()),
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
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
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
            "9999999d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration_above_zero("0s").is_err());
    }

    #[test]
    fn seeds_are_read_as_written() {
        assert_eq!(parse_seeds("3..7"), Ok(3..=6));
        assert_eq!(parse_seeds("3..=7"), Ok(3..=7));
        assert_eq!(parse_seeds("12"), Ok(12..=12));
        let last = u64::MAX;
        assert_eq!(parse_seeds(&format!("0..={last}")), Ok(0..=last));
        for text in [
            "",
            "..",
            "7..3",
            "3..3",
            "0..0",
            "a..b",
            "-1..3",
            "3..=",
            "18446744073709551616",
        ] {
            assert!(parse_seeds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shards_are_read_as_written() {
        assert_eq!(parse_shard("1/4"), Ok(Shard { index: 1, of: 4 }));
        assert_eq!(parse_shard("4/4"), Ok(Shard { index: 0, of: 4 }));
        assert!(parse_shard("0/4").is_err());
        for text in ["", "1", "5/4", "1/0", "a/b", "-1/2", "1/2/3"] {
            assert!(parse_shard(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_and_spans_are_short() {
        let counts = [0.0, 999.0, 999.9, 12_345.0, 123_456.0, 999_960.0, 4.5e6];
        let texts = counts.map(short_count);
        assert_eq!(texts, ["0", "999", "1.0k", "12.3k", "123k", "1.0M", "4.5M"]);
        let spans = [850, 12_340, 245_000, 7_380_000, 273_600_000];
        let texts = spans.map(|ms| short_span(Duration::from_millis(ms)));
        assert_eq!(texts, ["850ms", "12.3s", "4m05s", "2h03m", "3d04h"]);
    }
}
