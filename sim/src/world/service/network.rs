//! The links between servers, the store and the clients' hosts, and what is wrong with them.
//!
//! Faults overlap: each link counts what it suffers from, and turmoil is told of the sum.

use crate::plan::{End, ServicePlan};
use std::{collections::BTreeMap, time::Duration};
use turmoil::Sim;

/// The only server's name in the simulated network.
const SERVER: &str = "server";
/// The store's.
pub(super) const STORE: &str = "store";

/// The name of a clients' host.
pub(super) fn host_name(host: usize) -> String {
    format!("host{host}")
}

/// The name of a server: of the only one, or of a node of a cluster.
pub(super) fn node_name(plan: &ServicePlan, node: usize) -> String {
    match plan.cluster {
        None => SERVER.to_owned(),
        Some(_) => format!("node{node}"),
    }
}

/// A simulated machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Machine {
    /// The clients' host with this index.
    Host(usize),
    /// The store's.
    Store,
    /// The server with this index.
    Node(usize),
}

impl From<End> for Machine {
    fn from(end: End) -> Machine {
        match end {
            End::Node(node) => Machine::Node(node),
            End::Host(host) => Machine::Host(host),
        }
    }
}

impl Machine {
    /// Its name in the simulated network.
    pub(super) fn name(self, plan: &ServicePlan) -> String {
        match self {
            Machine::Host(host) => host_name(host),
            Machine::Store => STORE.to_owned(),
            Machine::Node(node) => node_name(plan, node),
        }
    }
}

/// What the link between two machines suffers from; the one that comes first in their order is the
/// first.
#[derive(Debug)]
struct Link {
    names: [String; 2],
    cuts_from_first: u32,
    cuts_to_first: u32,
    holds: u32,
    /// The latency bounds of the slowdowns, in ms.
    slow: Vec<u64>,
    /// What turmoil was told last.
    told: Told,
}

/// The state of a link as turmoil knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Told {
    from_first: bool,
    to_first: bool,
    held: bool,
}

/// All links on which something was wrong.
#[derive(Debug)]
pub(super) struct Network {
    links: BTreeMap<(Machine, Machine), Link>,
    latency_max_ms: u64,
}

impl Network {
    pub(super) fn new(latency_max_ms: u64) -> Network {
        Network {
            links: BTreeMap::new(),
            latency_max_ms,
        }
    }

    /// What is sent these ways is lost from now on, or is not any more.
    pub(super) fn cut(
        &mut self,
        sim: &Sim<'_>,
        plan: &ServicePlan,
        ways: &[(Machine, Machine)],
        begins: bool,
    ) {
        for (from, to) in ways {
            let link = self.link(plan, *from, *to);
            let cuts = if from < to {
                &mut link.cuts_from_first
            } else {
                &mut link.cuts_to_first
            };
            *cuts = if begins { *cuts + 1 } else { *cuts - 1 };
        }
        // Both directions of a link are told of at once.
        for (from, to) in ways {
            self.link(plan, *from, *to).tell(sim);
        }
    }

    /// What is sent between these is held back from now on, or comes now.
    pub(super) fn hold(
        &mut self,
        sim: &Sim<'_>,
        plan: &ServicePlan,
        (a, b): (Machine, Machine),
        begins: bool,
    ) {
        let link = self.link(plan, a, b);
        link.holds = if begins {
            link.holds + 1
        } else {
            link.holds - 1
        };
        link.tell(sim);
    }

    /// What is sent between these takes up to `max_ms`, or does not any more.
    pub(super) fn slow(
        &mut self,
        sim: &Sim<'_>,
        plan: &ServicePlan,
        (a, b): (Machine, Machine),
        max_ms: u64,
        begins: bool,
    ) {
        let usual_ms = self.latency_max_ms;
        let link = self.link(plan, a, b);
        if begins {
            link.slow.push(max_ms);
        } else {
            let place = link.slow.iter().position(|other| *other == max_ms);
            link.slow
                .remove(place.expect("a slowdown ends after it began"));
        }
        let max_ms = link.slow.iter().copied().max().unwrap_or(usual_ms);
        let [first, second] = &link.names;
        let max = Duration::from_millis(max_ms);
        sim.set_link_max_message_latency(first.as_str(), second.as_str(), max);
    }

    fn link(&mut self, plan: &ServicePlan, a: Machine, b: Machine) -> &mut Link {
        let (first, second) = (a.min(b), a.max(b));
        self.links.entry((first, second)).or_insert_with(|| Link {
            names: [first.name(plan), second.name(plan)],
            cuts_from_first: 0,
            cuts_to_first: 0,
            holds: 0,
            slow: Vec::new(),
            told: Told::default(),
        })
    }
}

impl Link {
    /// Brings turmoil's link to what it should be now. A cut loses also what is held.
    fn tell(&mut self, sim: &Sim<'_>) {
        let (from_first, to_first) = (self.cuts_from_first > 0, self.cuts_to_first > 0);
        let held = self.holds > 0 && !from_first && !to_first;
        let wanted = Told {
            from_first,
            to_first,
            held,
        };
        if wanted == self.told {
            return;
        }
        let [first, second] = self.names.each_ref().map(String::as_str);
        if self.told.held {
            sim.release(first, second);
        } else {
            sim.repair(first, second);
        }
        match (from_first, to_first) {
            (true, true) => sim.partition(first, second),
            (true, false) => sim.partition_oneway(first, second),
            (false, true) => sim.partition_oneway(second, first),
            (false, false) if held => sim.hold(first, second),
            (false, false) => {}
        }
        self.told = wanted;
    }
}
