//! Where and when nothing disturbs the way between a client and the server: what goes wrong there
//! has no excuse.

use super::in_ms;
use crate::plan::{DiskPlan, Fault, FaultKind, Place, ServicePlan};
use std::{sync::Arc, time::Duration};

/// Knows a plan's faults.
#[derive(Debug)]
pub(super) struct Calm {
    plan: Arc<ServicePlan>,
    /// How long the messages take, together, that make a connection and resume a session on it.
    greeting_ms: u64,
}

impl Calm {
    pub(super) fn new(plan: Arc<ServicePlan>) -> Calm {
        Calm {
            greeting_ms: 6 * plan.latency.max_ms + 50 + written_ms(&plan),
            plan,
        }
    }

    /// Whether no fault and no leap of a clock can have touched a connection between the server
    /// and a clients' host that a session was attached to at `attached`, until `until`.
    pub(super) fn is_connection(&self, host: usize, attached: Duration, until: Duration) -> bool {
        if !self.nodes_are_undisturbed() {
            return false;
        }
        let (from, until) = (self.made(attached), in_ms(until));
        let drain_ms = self.plan.drain_ms();
        let faults = self.plan.faults.iter();
        let touched = faults
            .filter(|fault| concerns(fault.kind, host))
            .any(|fault| fault.at_ms <= until && ends(fault, drain_ms) >= from);
        let clocks = [&self.plan.server.clock, &self.plan.hosts[host]];
        let jumps = clocks.into_iter().flat_map(|clock| &clock.jumps);
        let mut leaps = jumps.map(|jump| jump.at_ms);
        !touched && !leaps.any(|at| (from..=until).contains(&at))
    }

    /// Whether a message that was sent at `sent` on such a connection must have come by `until`.
    pub(super) fn is_delivery(
        &self,
        host: usize,
        attached: Duration,
        sent: Duration,
        until: Duration,
    ) -> bool {
        if !self.nodes_are_undisturbed() {
            return false;
        }
        let (made, until) = (self.made(attached), in_ms(until));
        let from = in_ms(sent).saturating_sub(self.plan.latency.max_ms);
        let drain_ms = self.plan.drain_ms();
        let mut faults = self.plan.faults.iter();
        !faults.any(|fault| {
            // A message that was lost is never sent again, and all that comes after it waits for
            // it; whatever else happens is over when it is over.
            let from = match fault.kind {
                FaultKind::Cut { .. } => made,
                _ => from,
            };
            concerns(fault.kind, host) && fault.at_ms <= until && ends(fault, drain_ms) >= from
        })
    }

    /// Whether nothing goes wrong between the nodes of a cluster. What is not told is then not said
    /// to be the fault of an election or of a node that was away, which have long consequences.
    fn nodes_are_undisturbed(&self) -> bool {
        let cluster = self.plan.cluster.as_ref();
        cluster.is_none_or(|cluster| cluster.is_undisturbed() && cluster.clocks_are_steady())
    }

    /// When the first message of the connection may have been sent.
    fn made(&self, attached: Duration) -> u64 {
        in_ms(attached).saturating_sub(self.greeting_ms)
    }
}

/// How long it takes at most until something is on the server's disk, in ms; or, in a cluster, until
/// the node that was asked has applied it.
pub(super) fn written_ms(plan: &ServicePlan) -> u64 {
    if let Some(cluster) = &plan.cluster {
        return cluster.forwarding_ms(plan.latency.max_ms);
    }
    let disk = plan.server.disk;
    disk.map_or(0, |disk| DiskPlan::SYNCS_MAX * (disk.sync_ms_max() + 1))
}

/// How long it takes at most, undisturbed, until what happens at one end of a connection has its
/// effect at the other.
pub(super) fn news_within(plan: &ServicePlan) -> Duration {
    Duration::from_millis(4 * plan.latency.max_ms + 50 + written_ms(plan))
}

/// Whether a fault is felt on the way between a clients' host and the server.
fn concerns(kind: FaultKind, host: usize) -> bool {
    match kind {
        FaultKind::Cut { host: other, .. }
        | FaultKind::Hold { host: other }
        | FaultKind::Slow { host: other, .. } => other == host,
        FaultKind::Reset { place } | FaultKind::Crash { place } | FaultKind::Pause { place } => {
            place == Place::Server || place == Place::Host(host)
        }
        FaultKind::PowerLoss
        | FaultKind::DiskFull
        | FaultKind::DiskFails
        | FaultKind::DiskSlow { .. }
        | FaultKind::LogLoss { .. }
        | FaultKind::Drain => true,
    }
}

/// When the last message has come that a fault delays, when a stop waits so long for locks.
fn ends(fault: &Fault, drain_ms: u64) -> u64 {
    let late = match fault.kind {
        FaultKind::Slow { max_ms, .. } => max_ms,
        // What was under way when it ended, and the start of a server that could not go on.
        FaultKind::DiskSlow { by_ms } => 20 * by_ms,
        FaultKind::DiskFull | FaultKind::DiskFails => 200,
        // A server that was told to stop waits for its connections to end, and starts twice.
        FaultKind::LogLoss { .. } => 3_000,
        // It may end later than it is to, and its clients come back when the next one is there.
        FaultKind::Drain => 2 * drain_ms + 3_000,
        _ => 0,
    };
    // What lasts for no time lasts for a tick.
    fault.at_ms + fault.for_ms.max(1) + late
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A plan of two hosts, with messages that take up to 5 ms, and these faults.
    pub(in crate::oracle::service) fn plan(faults: Vec<Fault>) -> Arc<ServicePlan> {
        let mut plan: ServicePlan = serde_json::from_value(serde_json::json!({
            "seed": 1, "active_ms": 200_000,
            "latency": {"min_ms": 1, "max_ms": 5, "curve_tenths": 10},
            "server": {"idle_timeout_ms": 500},
            "hosts": [{}, {}],
            "clients": [],
        }))
        .unwrap();
        plan.faults = faults;
        Arc::new(plan)
    }

    pub(in crate::oracle::service) fn fault(at_ms: u64, for_ms: u64, kind: FaultKind) -> Fault {
        Fault {
            at_ms,
            for_ms,
            kind,
        }
    }

    pub(in crate::oracle::service) const CUT: FaultKind = FaultKind::Cut {
        host: 0,
        to_server: true,
        from_server: true,
    };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_connection_is_disturbed_from_its_making_to_its_end() {
        let calm = |at, kind| {
            let calm = Calm::new(plan(vec![fault(at, 10, kind)]));
            calm.is_connection(0, ms(1_000), ms(2_000))
        };
        assert!(calm(900, CUT));
        assert!(!calm(990, CUT));
        assert!(!calm(2_000, CUT));
        assert!(calm(2_001, CUT));
        assert!(calm(1_500, FaultKind::Hold { host: 1 }));
        let slow = FaultKind::Slow {
            host: 0,
            max_ms: 300,
        };
        assert!(!calm(700, slow));
        let reset = |place| FaultKind::Reset { place };
        assert!(!calm(1_500, reset(Place::Server)));
        assert!(calm(1_500, reset(Place::Host(1))));
    }

    #[test]
    fn a_message_is_disturbed_on_its_way_or_by_one_that_was_lost_before() {
        let calm = |kind| {
            let calm = Calm::new(plan(vec![fault(1_500, 10, kind)]));
            calm.is_delivery(0, ms(1_000), ms(2_000), ms(2_050))
        };
        assert!(!calm(CUT));
        assert!(calm(FaultKind::Hold { host: 0 }));
    }
}
