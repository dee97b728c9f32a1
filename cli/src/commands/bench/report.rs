//! What was measured.

use hdrhistogram::Histogram;
use std::time::Duration;

/// How many times something was done in a time, and how long it took.
pub(super) struct Measured {
    what: &'static str,
    clients: u32,
    span: Duration,
    nanos: Histogram<u64>,
}

/// Three digits are more than a measurement of time repeats.
const DIGITS: u8 = 3;

/// Durations that are counted.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new(DIGITS).expect("so many digits are allowed")
}

/// Counts a duration.
pub(super) fn count(nanos: &mut Histogram<u64>, span: Duration) {
    let counted = nanos.record(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    counted.expect("the histogram grows as needed");
}

impl Measured {
    pub(super) fn new(
        what: &'static str,
        clients: u32,
        span: Duration,
        nanos: Histogram<u64>,
    ) -> Measured {
        Measured {
            what,
            clients,
            span,
            nanos,
        }
    }

    fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "nobody counts so far")]
        let count = self.nanos.len() as f64;
        count / self.span.as_secs_f64()
    }

    fn micros(&self, quantile: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "the histogram has three digits")]
        let nanos = self.nanos.value_at_quantile(quantile) as f64;
        nanos / 1000.0
    }

    /// The line above the rows.
    pub(super) fn heading(&self) -> String {
        let rate = format!("{}/s", self.what);
        format!(
            "clients {rate:>12} {:>10} {:>10} {:>10} {:>10}",
            "p50 us", "p90 us", "p99 us", "max us"
        )
    }

    /// A line for people.
    pub(super) fn row(&self) -> String {
        format!(
            "{:>7} {:>12.0} {:>10.0} {:>10.0} {:>10.0} {:>10.0}",
            self.clients,
            self.per_second(),
            self.micros(0.5),
            self.micros(0.9),
            self.micros(0.99),
            self.micros(1.0)
        )
    }

    /// A line for programs.
    pub(super) fn json(&self) -> String {
        let tenth = |value: f64| (value * 10.0).round() / 10.0;
        serde_json::json!({
            "measured": self.what,
            "clients": self.clients,
            "seconds": self.span.as_secs_f64(),
            "count": self.nanos.len(),
            "per_second": tenth(self.per_second()),
            "p50_us": tenth(self.micros(0.5)),
            "p90_us": tenth(self.micros(0.9)),
            "p99_us": tenth(self.micros(0.99)),
            "max_us": tenth(self.micros(1.0)),
        })
        .to_string()
    }
}
