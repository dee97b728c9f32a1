//! The links between the server (or the store) and the clients' hosts, and what is wrong with them.
//!
//! Faults overlap: each link counts what it suffers from, and turmoil is told of the sum.

use crate::plan::FaultKind;
use std::time::Duration;
use turmoil::Sim;

/// The server's name in the simulated network.
pub(super) const SERVER: &str = "server";
/// The store's.
pub(super) const STORE: &str = "store";

/// The name of a clients' host.
pub(super) fn host_name(host: usize) -> String {
    format!("host{host}")
}

/// What a link suffers from.
#[derive(Debug, Default)]
struct Link {
    cuts_to_server: u32,
    cuts_from_server: u32,
    holds: u32,
    /// The latency bounds of the slowdowns, in ms.
    slow: Vec<u64>,
    /// What turmoil was told last.
    told: Told,
}

/// The state of a link as turmoil knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Told {
    to_server: bool,
    from_server: bool,
    held: bool,
}

/// All links to one host.
#[derive(Debug)]
pub(super) struct Network {
    /// That host; faults call it the server.
    to: &'static str,
    links: Vec<Link>,
    latency_max_ms: u64,
}

impl Network {
    pub(super) fn new(to: &'static str, hosts: usize, latency_max_ms: u64) -> Network {
        Network {
            to,
            links: (0..hosts).map(|_| Link::default()).collect(),
            latency_max_ms,
        }
    }

    /// Begins a fault of the network; other kinds are none of its business.
    pub(super) fn begin(&mut self, sim: &Sim<'_>, kind: FaultKind) {
        self.change(
            sim,
            kind,
            |count| count + 1,
            |slow, max_ms| slow.push(max_ms),
        );
    }

    /// Ends it.
    pub(super) fn end(&mut self, sim: &Sim<'_>, kind: FaultKind) {
        let remove = |slow: &mut Vec<u64>, max_ms| {
            let place = slow.iter().position(|other| *other == max_ms);
            slow.remove(place.expect("a slowdown ends after it began"));
        };
        self.change(sim, kind, |count| count - 1, remove);
    }

    fn change(
        &mut self,
        sim: &Sim<'_>,
        kind: FaultKind,
        count: impl Fn(u32) -> u32,
        slow: impl Fn(&mut Vec<u64>, u64),
    ) {
        match kind {
            FaultKind::Cut {
                host,
                to_server,
                from_server,
            } => {
                let link = &mut self.links[host];
                if to_server {
                    link.cuts_to_server = count(link.cuts_to_server);
                }
                if from_server {
                    link.cuts_from_server = count(link.cuts_from_server);
                }
                self.tell(sim, host);
            }
            FaultKind::Hold { host } => {
                self.links[host].holds = count(self.links[host].holds);
                self.tell(sim, host);
            }
            FaultKind::Slow { host, max_ms } => {
                slow(&mut self.links[host].slow, max_ms);
                let max_ms = self.links[host].slow.iter().copied().max();
                let max = Duration::from_millis(max_ms.unwrap_or(self.latency_max_ms));
                sim.set_link_max_message_latency(host_name(host), self.to, max);
            }
            FaultKind::PowerLoss => {
                for host in 0..self.links.len() {
                    let link = &mut self.links[host];
                    link.cuts_to_server = count(link.cuts_to_server);
                    link.cuts_from_server = count(link.cuts_from_server);
                    self.tell(sim, host);
                }
            }
            FaultKind::Reset { .. }
            | FaultKind::Crash { .. }
            | FaultKind::Pause { .. }
            | FaultKind::DiskFull
            | FaultKind::DiskFails
            | FaultKind::DiskSlow { .. } => {}
        }
    }

    /// Brings turmoil's link to what it should be now. A cut loses also what is held.
    fn tell(&mut self, sim: &Sim<'_>, host: usize) {
        let link = &mut self.links[host];
        let (to_server, from_server) = (link.cuts_to_server > 0, link.cuts_from_server > 0);
        let held = link.holds > 0 && !to_server && !from_server;
        let wanted = Told {
            to_server,
            from_server,
            held,
        };
        if wanted == link.told {
            return;
        }
        let name = host_name(host);
        if link.told.held {
            sim.release(name.as_str(), self.to);
        } else {
            sim.repair(name.as_str(), self.to);
        }
        match (to_server, from_server) {
            (true, true) => sim.partition(name.as_str(), self.to),
            (true, false) => sim.partition_oneway(name.as_str(), self.to),
            (false, true) => sim.partition_oneway(self.to, name.as_str()),
            (false, false) if held => sim.hold(name.as_str(), self.to),
            (false, false) => {}
        }
        link.told = wanted;
    }
}
