//! Counters of what a server does, as Prometheus reads them.

use lockwright_engine::{EndReason, ErrorCode, EventKind};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::ConstGauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use std::fmt;

/// What is counted while a server runs. It starts at zero with it.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    queued: Counter,
    granted: Counter,
    renewed: Counter,
    ended: Family<Reason, Counter>,
    refused: Family<Code, Counter>,
    waited: Waited,
    answers: Family<Status, Counter>,
    in_reserve: Counter,
    turned_away: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    error: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: u16,
}

/// From the arrival of a request to its grant, in seconds.
#[derive(Clone)]
struct Waited(Histogram);

impl Default for Waited {
    fn default() -> Waited {
        // From 1 ms to more than a minute.
        Waited(Histogram::new(exponential_buckets(0.001, 4.0, 9)))
    }
}

impl fmt::Debug for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waited(..)")
    }
}

impl Metrics {
    /// Something happened to a lock.
    pub(crate) fn happened(&self, event: &EventKind) {
        match event {
            EventKind::Queued { .. } => drop(self.queued.inc()),
            EventKind::Granted { .. } => drop(self.granted.inc()),
            EventKind::Renewed { .. } => drop(self.renewed.inc()),
            EventKind::Ended { reason, .. } => self.ended(*reason),
            EventKind::Session { .. } => {}
        }
    }

    fn ended(&self, reason: EndReason) {
        let reason = reason.as_str();
        self.ended.get_or_create(&Reason { reason }).inc();
    }

    /// A request was granted after it had waited for so long.
    pub(crate) fn waited(&self, ms: u64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "nobody waits for 285,000 years, and a histogram is no clock"
        )]
        self.waited.0.observe(ms as f64 / 1000.0);
    }

    /// A request was refused.
    pub(crate) fn refused(&self, code: ErrorCode) {
        let error = code.as_str();
        self.refused.get_or_create(&Code { error }).inc();
    }

    /// An HTTP request was answered.
    pub(crate) fn answered(&self, status: u16) {
        self.answers.get_or_create(&Status { status }).inc();
    }

    /// A connection was taken as one of the reserve: there was no other place for it.
    pub(crate) fn took_in_reserve(&self) {
        self.in_reserve.inc();
    }

    /// A connection was closed as it came: the reserve has no place for it either.
    pub(crate) fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// All of it as text, with what there is of everything at this moment.
    pub(crate) fn text(&self, now: &[(&'static str, &'static str, u64)]) -> String {
        let mut registry = Registry::with_prefix("lockwright");
        registry.register(
            "requests_queued",
            "Requests that had to wait",
            self.queued.clone(),
        );
        registry.register(
            "requests_granted",
            "Requests that were granted",
            self.granted.clone(),
        );
        registry.register(
            "leases_renewed",
            "Leases that were set anew",
            self.renewed.clone(),
        );
        registry.register(
            "requests_ended",
            "Requests that have ended, by how",
            self.ended.clone(),
        );
        registry.register(
            "requests_refused",
            "What was refused, by the code of the error",
            self.refused.clone(),
        );
        registry.register(
            "request_wait_seconds",
            "From the arrival of a request to its grant",
            self.waited.0.clone(),
        );
        registry.register(
            "http_answers",
            "Answers over HTTP, by status",
            self.answers.clone(),
        );
        registry.register(
            "connections_in_reserve",
            "Connections that came when there was no place for more, or for more of their address, and were \
             taken for health checks and operators only",
            self.in_reserve.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections that were closed as they came, since there was not even such a place",
            self.turned_away.clone(),
        );
        for (name, help, value) in now {
            registry.register(*name, *help, ConstGauge::new(*value));
        }
        let mut out = String::new();
        text::encode(&mut out, &registry).expect("a string takes every text");
        out
    }
}
