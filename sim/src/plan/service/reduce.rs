//! Smaller plans that may show the same violation.

use super::{
    AccessPlan, Attempt, BreakerPlan, ClientPlan, ClockPlan, ClusterFault, ClusterFaultKind,
    ClusterPlan, DiskPlan, End, FaultKind, LatencyPlan, NodePlan, OperatorDeed, OperatorPlan,
    OperatorStep, Place, ServicePlan, StoreFaultKind, StorePlan, WatcherPlan, Who, breaker, http,
};
use crate::{
    op::{DEFAULT_NAMESPACE, OpClaim, OpWait, Text},
    plan::LimitOverrides,
};
use lockwright_engine::Limits;
use std::{iter, num::NonZeroU32};

/// What makes an attempt simpler.
const SIMPLER: [fn(&mut Attempt); 13] = [
    |attempt| attempt.accesses.clear(),
    |attempt| attempt.accesses.iter_mut().for_each(AccessPlan::hurry),
    |attempt| attempt.accesses.iter_mut().for_each(AccessPlan::halve),
    |attempt| {
        attempt
            .accesses
            .iter_mut()
            .for_each(|access| access.reads = false);
    },
    |attempt| attempt.cancel_after_ms = None,
    |attempt| attempt.renew = None,
    |attempt| attempt.ttl_ms = None,
    |attempt| attempt.wait = OpWait::Forever,
    |attempt| attempt.hold_ms = Some(0),
    |attempt| attempt.hold_ms = attempt.hold_ms.map(|ms| ms / 2).or(Some(1_000)),
    |attempt| attempt.at_ms = 0,
    |attempt| attempt.at_ms /= 2,
    |attempt| {
        attempt.claims.iter_mut().for_each(shorten);
        let accesses = attempt.accesses.iter_mut();
        accesses.for_each(|access| shorten_path(&mut access.key));
    },
];

/// The network with the fewest surprises.
const PLAIN: LatencyPlan = LatencyPlan {
    min_ms: 1,
    max_ms: 1,
    curve_tenths: 10,
};

/// A disk with the fewest surprises, on which a sync is not over at once.
const PLAIN_DISK: DiskPlan = DiskPlan {
    sync_us_min: 1_000,
    sync_us_max: 1_000,
    snapshot_entries: 1_000_000,
    log_segment_bytes: None,
};

/// How many other seeds are tried before smaller steps are.
const FEW_CHANCES: u64 = 12;

/// A file that is not written anew in any run.
const NEVER_COMPACT: u64 = 1 << 40;

/// A lazy list of candidates.
type Candidates<'a> = Box<dyn Iterator<Item = ServicePlan> + 'a>;
/// One change of a plan.
type Edit = Box<dyn Fn(&mut ServicePlan)>;

impl ServicePlan {
    /// Smaller plans, the boldest first; each weighs less than this one.
    pub(in crate::plan) fn reductions(&self) -> impl Iterator<Item = ServicePlan> + '_ {
        let weight = self.weight();
        let steps: [fn(&ServicePlan) -> Candidates<'_>; 25] = [
            // First what makes the rest easier: in a plain world, one message less does not change
            // when all others come.
            ServicePlan::with_simpler_world,
            ServicePlan::with_plainer_attempts,
            ServicePlan::within_less_time,
            ServicePlan::without_clients,
            ServicePlan::without_faults,
            ServicePlan::without_readers,
            ServicePlan::without_cluster_faults,
            ServicePlan::without_operator_steps,
            ServicePlan::with_fewer_nodes,
            ServicePlan::without_strangers,
            ServicePlan::without_watchers,
            ServicePlan::without_breakers,
            ServicePlan::without_store_faults,
            ServicePlan::without_http,
            ServicePlan::with_a_few_other_chances,
            ServicePlan::without_attempts,
            ServicePlan::on_fewer_hosts,
            ServicePlan::with_simpler_clients,
            ServicePlan::with_simpler_cluster_faults,
            ServicePlan::with_simpler_operator_steps,
            ServicePlan::with_fewer_claims,
            ServicePlan::with_fewer_accesses,
            ServicePlan::with_simpler_attempts,
            ServicePlan::with_simpler_http,
            ServicePlan::with_many_other_chances,
        ];
        steps
            .into_iter()
            .flat_map(move |step| step(self))
            .filter(move |plan| plan.weight() < weight && plan.validate().is_ok())
    }

    /// What every reduction lowers: the number of things in the plan first, then how large their
    /// numbers are.
    fn weight(&self) -> (usize, u64) {
        let attempts = || self.clients.iter().flat_map(|client| &client.attempts);
        let clocks = || self.hosts.iter().chain([&self.server.clock]);
        let things = self.clients.len()
            + self.hosts.len()
            + self.faults.len()
            + attempts()
                .map(|attempt| 1 + attempt.claims.len())
                .sum::<usize>()
            + attempts()
                .filter(|attempt| attempt.cancel_after_ms.is_some())
                .count()
            + attempts().filter(|attempt| attempt.renew.is_some()).count()
            + attempts()
                .filter(|attempt| attempt.ttl_ms.is_some())
                .count()
            + attempts()
                .filter(|attempt| attempt.hold_ms.is_none())
                .count()
            + self
                .clients
                .iter()
                .filter(|client| client.closes_at_ms.is_some())
                .count()
            + self
                .clients
                .iter()
                .filter(|client| *client.namespace != *DEFAULT_NAMESPACE)
                .count()
            + clocks().map(|clock| clock.jumps.len()).sum::<usize>()
            + clocks().filter(|clock| clock.drift_ppm != 0).count()
            + self.strangers.len()
            + 2 * self.watchers.len()
            + self.breakers.iter().map(BreakerPlan::things).sum::<usize>()
            + self
                .watchers
                .iter()
                .filter(|one| &*one.prefix != "/")
                .count()
            + self
                .http
                .iter()
                .map(http::HttpAttempt::things)
                .sum::<usize>()
            + usize::from(self.server.connections_max.is_some())
            + usize::from(self.server.limits != without_refusals(&self.server.limits))
            + usize::from(self.server.limits.session_ends_per_ms.is_some())
            + usize::from(!self.shape.is_empty())
            + usize::from(self.server.disk.is_some())
            + usize::from(self.server.disk.is_some_and(|disk| disk != PLAIN_DISK))
            + self
                .faults
                .iter()
                .filter(|fault| fault.kind == FaultKind::PowerLoss)
                .count()
            + attempts()
                .map(|attempt| attempt.accesses.len())
                .sum::<usize>()
            + attempts()
                .flat_map(|attempt| &attempt.accesses)
                .filter(|access| access.reads)
                .count()
            + self.store.as_ref().map_or(0, StorePlan::things)
            + self.cluster.as_ref().map_or(0, ClusterPlan::things);
        let numbers = self.active_ms
            + self.latency.max_ms
            + u64::from(self.latency.curve_tenths)
            + self.server.connections_max.map_or(0, u64::from)
            + ends_below_default(&self.server.limits)
            + clocks().map(|clock| clock.offset_ms).sum::<u64>()
            + self
                .faults
                .iter()
                .map(|fault| fault.at_ms + fault.for_ms)
                .sum::<u64>()
            + self
                .strangers
                .iter()
                .map(|stranger| stranger.at_ms)
                .sum::<u64>()
            + self
                .watchers
                .iter()
                .map(|watcher| watcher.at_ms + watcher.for_ms)
                .sum::<u64>()
            + self.breakers.iter().map(BreakerPlan::numbers).sum::<u64>()
            + attempts().map(Attempt::numbers).sum::<u64>()
            + self.store.as_ref().map_or(0, StorePlan::numbers)
            + self.cluster.as_ref().map_or(0, ClusterPlan::numbers)
            + self
                .http
                .iter()
                .map(http::HttpAttempt::numbers)
                .sum::<u64>();
        (things, numbers)
    }

    fn edited(&self, edit: impl FnOnce(&mut ServicePlan)) -> ServicePlan {
        let mut plan = self.clone();
        edit(&mut plan);
        plan
    }

    /// Lets the server keep everything in memory.
    fn without_disk(&mut self) {
        self.server.disk = None;
        self.faults
            .retain(|fault| !ServicePlan::is_of_the_disk(fault.kind));
    }

    fn without_clients(&self) -> Candidates<'_> {
        Box::new(chunks(self.clients.len()).map(|(from, to)| {
            self.edited(|plan| {
                plan.clients.drain(from..to);
                // Fewer clients need fewer connections to run out of them.
                let gone = u32::try_from(to - from).unwrap_or(u32::MAX);
                let max = &mut plan.server.connections_max;
                *max = max.map(|max| max.saturating_sub(gone).max(1));
            })
        }))
    }

    fn without_faults(&self) -> Candidates<'_> {
        Box::new(
            chunks(self.faults.len())
                .map(|(from, to)| self.edited(|plan| drop(plan.faults.drain(from..to)))),
        )
    }

    fn without_strangers(&self) -> Candidates<'_> {
        Box::new(
            chunks(self.strangers.len())
                .map(|(from, to)| self.edited(|plan| drop(plan.strangers.drain(from..to)))),
        )
    }

    fn without_watchers(&self) -> Candidates<'_> {
        let dropped = chunks(self.watchers.len())
            .map(|(from, to)| self.edited(|plan| drop(plan.watchers.drain(from..to))));
        const PLAINER: [fn(&mut WatcherPlan); 3] = [
            |watcher| watcher.prefix = Text::from("/"),
            |watcher| watcher.at_ms /= 2,
            |watcher| watcher.for_ms /= 2,
        ];
        let plainer = (0..self.watchers.len()).flat_map(move |index| {
            let edits = PLAINER.into_iter();
            edits.map(move |edit| self.edited(|plan| edit(&mut plan.watchers[index])))
        });
        Box::new(dropped.chain(plainer))
    }

    fn without_breakers(&self) -> Candidates<'_> {
        let dropped = chunks(self.breakers.len())
            .map(|(from, to)| self.edited(|plan| drop(plan.breakers.drain(from..to))));
        let simpler = (0..self.breakers.len()).flat_map(move |index| {
            let edits = breaker::SIMPLER.into_iter();
            edits.map(move |edit| self.edited(|plan| edit(&mut plan.breakers[index])))
        });
        Box::new(dropped.chain(simpler))
    }

    fn without_store_faults(&self) -> Candidates<'_> {
        let faults = self.store.as_ref().map_or(0, |store| store.faults.len());
        Box::new(chunks(faults).map(|(from, to)| {
            self.edited(|plan| {
                let store = plan.store.iter_mut();
                store.for_each(|store| drop(store.faults.drain(from..to)));
            })
        }))
    }

    fn without_cluster_faults(&self) -> Candidates<'_> {
        let faults = self.cluster.as_ref().map_or(0, |one| one.faults.len());
        Box::new(chunks(faults).map(|(from, to)| {
            self.edited(|plan| {
                let cluster = plan.cluster.iter_mut();
                cluster.for_each(|cluster| drop(cluster.faults.drain(from..to)));
            })
        }))
    }

    /// Drops what an operator does, and nodes that it does not add; with the last of it, the operator.
    fn without_operator_steps(&self) -> Candidates<'_> {
        let steps = self.operator().map_or(0, |one| one.steps.len());
        let dropped = chunks(steps).map(|(from, to)| {
            self.edited(|plan| {
                if let Some(operator) = plan.operator_mut() {
                    operator.steps.drain(from..to);
                }
                plan.forget_idle_operator();
            })
        });
        let founded = iter::once_with(|| {
            self.edited(|plan| {
                if let Some(operator) = plan.operator_mut() {
                    operator.newcomers = 0;
                }
                plan.forget_idle_operator();
            })
        });
        Box::new(dropped.chain(founded))
    }

    fn operator_mut(&mut self) -> Option<&mut OperatorPlan> {
        self.cluster.as_mut()?.operator.as_mut()
    }

    /// Who does nothing, and keeps no node waiting, need not be there.
    fn forget_idle_operator(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            let operator = cluster.operator.take();
            cluster.operator = operator.filter(|one| !one.steps.is_empty() || one.newcomers > 0);
        }
    }

    /// Each step with less to it, or with less time.
    fn with_simpler_operator_steps(&self) -> Candidates<'_> {
        const SIMPLER: [fn(&mut OperatorStep); 5] = [
            |step| {
                if let OperatorDeed::Rebuild { node } = step.deed {
                    let linger_ms = 0;
                    step.deed = OperatorDeed::Remove { node, linger_ms };
                }
            },
            |step| {
                if let OperatorDeed::Remove { linger_ms, .. } = &mut step.deed {
                    *linger_ms = 0;
                }
            },
            |step| {
                if let OperatorDeed::Remove { linger_ms, .. } = &mut step.deed {
                    *linger_ms /= 2;
                }
            },
            |step| step.for_ms /= 2,
            |step| step.at_ms /= 2,
        ];
        let steps = self.operator().map_or(0, |one| one.steps.len());
        Box::new((0..steps).flat_map(move |index| {
            SIMPLER.into_iter().map(move |edit| {
                self.edited(|plan| {
                    if let Some(operator) = plan.operator_mut() {
                        edit(&mut operator.steps[index]);
                    }
                })
            })
        }))
    }

    fn without_readers(&self) -> Candidates<'_> {
        let readers = self.cluster.as_ref().map_or(0, |one| one.readers.len());
        let dropped = chunks(readers).map(|(from, to)| {
            self.edited(|plan| {
                let cluster = plan.cluster.iter_mut();
                cluster.for_each(|cluster| drop(cluster.readers.drain(from..to)));
            })
        });
        let seldom = (0..readers).map(|index| {
            self.edited(|plan| {
                let cluster = plan.cluster.iter_mut();
                cluster.for_each(|cluster| cluster.readers[index].times /= 2);
            })
        });
        Box::new(dropped.chain(seldom))
    }

    /// Drops the last nodes, and what went wrong with them.
    fn with_fewer_nodes(&self) -> Candidates<'_> {
        Box::new((1..self.nodes()).map(|left| {
            self.edited(|plan| {
                let cluster = plan.cluster.iter_mut();
                cluster.for_each(|cluster| cluster.keep_nodes(left));
            })
        }))
    }

    fn with_simpler_cluster_faults(&self) -> Candidates<'_> {
        let faults = self.cluster.as_ref().map_or(0, |one| one.faults.len());
        Box::new((0..faults).flat_map(move |index| {
            let edited = move |edit: &dyn Fn(&mut ClusterFault)| {
                self.edited(|plan| {
                    let cluster = plan.cluster.iter_mut();
                    cluster.for_each(|cluster| edit(&mut cluster.faults[index]));
                })
            };
            let ways = self
                .cluster
                .iter()
                .map(|one| match &one.faults[index].kind {
                    ClusterFaultKind::Cut { ways } if ways.len() > 1 => ways.len(),
                    _ => 0,
                });
            let fewer_ways = (0..ways.sum()).map(move |way| {
                edited(&|fault| {
                    if let ClusterFaultKind::Cut { ways } = &mut fault.kind {
                        ways.remove(way);
                    }
                })
            });
            let simpler = [
                edited(&|fault| fault.for_ms = 1),
                edited(&|fault| fault.for_ms /= 2),
                edited(&|fault| {
                    if let ClusterFaultKind::PowerLoss { node } = fault.kind {
                        fault.kind = ClusterFaultKind::Crash { node };
                    }
                }),
            ];
            simpler.into_iter().chain(fewer_ways)
        }))
    }

    fn without_http(&self) -> Candidates<'_> {
        Box::new(chunks(self.http.len()).map(|(from, to)| {
            self.edited(|plan| {
                plan.http.drain(from..to);
                let gone = u32::try_from(to - from).unwrap_or(u32::MAX);
                let max = &mut plan.server.connections_max;
                *max = max.map(|max| max.saturating_sub(gone).max(1));
            })
        }))
    }

    /// The settings of those who ask over HTTP: all at once, and one by one when they are few.
    fn with_simpler_http(&self) -> Candidates<'_> {
        const FEW: usize = 20;
        let all = http::SIMPLER
            .into_iter()
            .map(|edit| self.edited(|plan| plan.http.iter_mut().for_each(edit)));
        let each = if self.http.len() > FEW {
            0
        } else {
            self.http.len()
        };
        let each = (0..each).flat_map(move |index| {
            let edits = http::SIMPLER.into_iter();
            let edited = edits.map(move |edit| self.edited(|plan| edit(&mut plan.http[index])));
            let claims = self.http[index].claims.len();
            let claims = 0..if claims > 1 { claims } else { 0 };
            let fewer = claims.map(move |claim| {
                self.edited(|plan| {
                    plan.http[index].claims.remove(claim);
                })
            });
            edited.chain(fewer)
        });
        Box::new(all.chain(each))
    }

    /// What happens within a part of the time, the boldest first; and all of it without the wait
    /// before.
    fn within_less_time(&self) -> Candidates<'_> {
        const EIGHTHS: [(u64, u64); 6] = [(0, 4), (4, 8), (0, 6), (2, 8), (0, 7), (1, 8)];
        let parts = EIGHTHS.into_iter().map(|(from, to)| {
            let (from, to) = (self.active_ms * from / 8, self.active_ms * to / 8);
            self.edited(|plan| {
                plan.active_ms = to.max(1);
                plan.faults
                    .retain(|fault| fault.at_ms < to && fault.at_ms + fault.for_ms >= from);
                plan.strangers
                    .retain(|stranger| (from..to).contains(&stranger.at_ms));
                plan.watchers
                    .retain(|one| one.at_ms < to && one.at_ms + one.for_ms >= from);
                plan.breakers.retain(|one| (from..to).contains(&one.at_ms));
                if let Some(store) = &mut plan.store {
                    store
                        .faults
                        .retain(|fault| fault.at_ms < to && fault.at_ms + fault.for_ms >= from);
                }
                if let Some(cluster) = &mut plan.cluster {
                    cluster
                        .faults
                        .retain(|fault| fault.at_ms < to && fault.at_ms + fault.for_ms >= from);
                    cluster.readers.retain(|reader| reader.at_ms < to);
                    let steps = cluster.operator.iter_mut().map(|one| &mut one.steps);
                    steps.for_each(|steps| steps.retain(|step| step.at_ms < to));
                }
                plan.http
                    .retain(|attempt| (from..to).contains(&attempt.at_ms));
                for client in &mut plan.clients {
                    client
                        .attempts
                        .retain(|attempt| (from..to).contains(&attempt.at_ms));
                    // Who closes long after all has healed holds up everything.
                    client.closes_at_ms = client.closes_at_ms.filter(|at| *at < to);
                }
            })
        });
        Box::new(parts.chain(iter::once_with(|| self.edited(ServicePlan::begin_at_once))))
    }

    /// Moves all that happens so that the first attempt comes at once.
    fn begin_at_once(&mut self) {
        let clients = || self.clients.iter();
        let attempts = clients().flat_map(|client| &client.attempts);
        let over_http = self.http.iter().map(|attempt| attempt.at_ms);
        let attempts = attempts.map(|attempt| attempt.at_ms).chain(over_http);
        let first = attempts.min().unwrap_or(0);
        let sooner = |at_ms: &mut u64| *at_ms = at_ms.saturating_sub(first);
        sooner(&mut self.active_ms);
        for client in &mut self.clients {
            client
                .attempts
                .iter_mut()
                .for_each(|attempt| sooner(&mut attempt.at_ms));
            client.closes_at_ms.iter_mut().for_each(sooner);
        }
        for fault in &mut self.faults {
            sooner(&mut fault.at_ms);
        }
        for stranger in &mut self.strangers {
            sooner(&mut stranger.at_ms);
        }
        for watcher in &mut self.watchers {
            sooner(&mut watcher.at_ms);
        }
        for breaker in &mut self.breakers {
            sooner(&mut breaker.at_ms);
        }
        for fault in self.store.iter_mut().flat_map(|store| &mut store.faults) {
            sooner(&mut fault.at_ms);
        }
        for fault in self.cluster.iter_mut().flat_map(|one| &mut one.faults) {
            sooner(&mut fault.at_ms);
        }
        for reader in self.cluster.iter_mut().flat_map(|one| &mut one.readers) {
            sooner(&mut reader.at_ms);
        }
        for step in self
            .operator_mut()
            .into_iter()
            .flat_map(|one| &mut one.steps)
        {
            sooner(&mut step.at_ms);
        }
        for attempt in &mut self.http {
            sooner(&mut attempt.at_ms);
        }
        let nodes = self.cluster.iter_mut().flat_map(|one| &mut one.nodes);
        let nodes = nodes.map(|node| &mut node.clock);
        for clock in self
            .hosts
            .iter_mut()
            .chain([&mut self.server.clock])
            .chain(nodes)
        {
            clock
                .jumps
                .iter_mut()
                .for_each(|jump| sooner(&mut jump.at_ms));
        }
    }

    /// Drops chunks of the attempts of all clients, taken as one list.
    fn without_attempts(&self) -> Candidates<'_> {
        let all = self
            .clients
            .iter()
            .map(|client| client.attempts.len())
            .sum();
        Box::new(chunks(all).map(|(from, to)| {
            self.edited(|plan| {
                let mut index = 0;
                for client in &mut plan.clients {
                    client.attempts.retain(|_| {
                        index += 1;
                        !(from..to).contains(&(index - 1))
                    });
                }
            })
        }))
    }

    /// Drops a host: its clients move to the first one.
    fn on_fewer_hosts(&self) -> Candidates<'_> {
        Box::new((1..self.hosts.len()).rev().map(|gone| {
            let moved = move |host: &mut usize| match (*host).cmp(&gone) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => *host = 0,
                std::cmp::Ordering::Greater => *host -= 1,
            };
            self.edited(|plan| {
                plan.hosts.remove(gone);
                plan.clients
                    .iter_mut()
                    .for_each(|client| moved(&mut client.host));
                for stranger in &mut plan.strangers {
                    moved(&mut stranger.host);
                }
                for watcher in &mut plan.watchers {
                    moved(&mut watcher.host);
                }
                for breaker in &mut plan.breakers {
                    moved(&mut breaker.host);
                }
                let store = plan.store.iter_mut().flat_map(|store| &mut store.faults);
                store
                    .filter_map(|fault| fault.kind.host_mut())
                    .for_each(moved);
                for attempt in &mut plan.http {
                    moved(&mut attempt.host);
                }
                for reader in plan.cluster.iter_mut().flat_map(|one| &mut one.readers) {
                    moved(&mut reader.host);
                }
                if let Some(operator) = plan.operator_mut() {
                    moved(&mut operator.host);
                }
                let of_nodes = plan.cluster.iter_mut().flat_map(|one| &mut one.faults);
                for end in of_nodes.flat_map(|fault| fault.kind.ends_mut()) {
                    if let End::Host(host) = end {
                        moved(host);
                    }
                }
                for fault in &mut plan.faults {
                    match &mut fault.kind {
                        FaultKind::Cut { host, .. }
                        | FaultKind::Hold { host }
                        | FaultKind::Slow { host, .. }
                        | FaultKind::Reset {
                            place: Place::Host(host),
                        }
                        | FaultKind::Crash {
                            place: Place::Host(host),
                        }
                        | FaultKind::Pause {
                            place: Place::Host(host),
                        } => moved(host),
                        FaultKind::Reset {
                            place: Place::Server,
                        }
                        | FaultKind::Crash {
                            place: Place::Server,
                        }
                        | FaultKind::Pause {
                            place: Place::Server,
                        }
                        | FaultKind::PowerLoss
                        | FaultKind::DiskFull
                        | FaultKind::DiskFails
                        | FaultKind::DiskSlow { .. }
                        | FaultKind::LogLoss { .. }
                        | FaultKind::Drain => {}
                    }
                }
            })
        }))
    }

    fn with_simpler_world(&self) -> Candidates<'_> {
        let perfect = |clock: &mut ClockPlan| *clock = ClockPlan::default();
        let edits: Vec<Edit> = vec![
            Box::new(|plan| plan.shape.clear()),
            Box::new(|plan| plan.latency = PLAIN),
            Box::new(|plan| plan.server.limits = only_retention(&plan.server.limits)),
            Box::new(|plan| plan.server.limits = without_refusals(&plan.server.limits)),
            Box::new(|plan| plan.server.limits.session_ends_per_ms = None),
            Box::new(|plan| more_ends(&mut plan.server.limits, |ends| ends.saturating_add(16))),
            Box::new(|plan| more_ends(&mut plan.server.limits, |ends| ends.saturating_add(1))),
            Box::new(|plan| plan.server.connections_max = None),
            Box::new(|plan| {
                if plan
                    .faults
                    .iter()
                    .all(|fault| fault.kind != FaultKind::Drain)
                {
                    plan.server.drain_ms = None;
                }
            }),
            Box::new(ServicePlan::without_disk),
            Box::new(|plan| {
                let disk = &mut plan.server.disk;
                *disk = disk.map(|_| PLAIN_DISK);
            }),
            Box::new(|plan| {
                let disk = &mut plan.server.disk;
                *disk = disk.map(|disk| DiskPlan {
                    log_segment_bytes: None,
                    ..disk
                });
            }),
            Box::new(|plan| {
                let disk = &mut plan.server.disk;
                *disk = disk.map(|disk| DiskPlan {
                    snapshot_entries: disk.snapshot_entries,
                    log_segment_bytes: disk.log_segment_bytes,
                    ..PLAIN_DISK
                });
            }),
            Box::new(|plan| {
                for fault in &mut plan.faults {
                    if fault.kind == FaultKind::PowerLoss {
                        let place = Place::Server;
                        fault.kind = FaultKind::Crash { place };
                    }
                }
            }),
            Box::new(|plan| {
                let max = &mut plan.server.connections_max;
                *max = max.map(|max| (max / 2).max(1));
            }),
            Box::new(move |plan| perfect(&mut plan.server.clock)),
            Box::new(move |plan| plan.hosts.iter_mut().for_each(perfect)),
            Box::new(|plan| {
                let watched = plan.watchers.iter_mut().map(|one| &mut one.namespace);
                let broken = plan.breakers.iter_mut().map(|one| &mut one.namespace);
                for namespace in watched.chain(broken) {
                    let is_there = |client: &ClientPlan| client.namespace == *namespace;
                    if plan.clients.iter().any(is_there) {
                        *namespace = Text::from(DEFAULT_NAMESPACE);
                    }
                }
                for client in &mut plan.clients {
                    client.namespace = Text::from(DEFAULT_NAMESPACE);
                }
            }),
            of_nodes(|node| node.clock = ClockPlan::default()),
            of_nodes(|node| node.disk = PLAIN_DISK),
            of_nodes(|node| {
                node.disk = DiskPlan {
                    snapshot_entries: node.disk.snapshot_entries,
                    log_segment_bytes: node.disk.log_segment_bytes,
                    ..PLAIN_DISK
                };
            }),
            of_store(|store| store.clock = ClockPlan::default()),
            of_store(|store| store.compact_above = NEVER_COMPACT),
            of_store(|store| {
                store.sync_us_min = PLAIN_DISK.sync_us_min;
                store.sync_us_max = PLAIN_DISK.sync_us_max;
            }),
            of_store(|store| {
                for fault in &mut store.faults {
                    if fault.kind == StoreFaultKind::PowerLoss {
                        fault.kind = StoreFaultKind::Crash;
                    }
                }
            }),
        ];
        Box::new(edits.into_iter().map(|edit| self.edited(edit)))
    }

    fn with_simpler_clients(&self) -> Candidates<'_> {
        let closing = (0..self.clients.len())
            .filter(|index| self.clients[*index].closes_at_ms.is_some())
            .map(|index| self.edited(|plan| plan.clients[index].closes_at_ms = None));
        let shorter = (0..self.faults.len()).flat_map(|index| {
            [1, 2].map(|divisor| {
                self.edited(|plan| {
                    let fault = &mut plan.faults[index];
                    fault.for_ms = if divisor == 1 {
                        1
                    } else {
                        fault.for_ms / divisor
                    };
                })
            })
        });
        let store_faults = self.store.as_ref().map_or(0, |store| store.faults.len());
        let shorter_in_store = (0..store_faults).map(|index| {
            self.edited(|plan| {
                let store = plan.store.iter_mut();
                store.for_each(|store| store.faults[index].for_ms /= 2);
            })
        });
        Box::new(closing.chain(shorter).chain(shorter_in_store))
    }

    fn with_fewer_claims(&self) -> Candidates<'_> {
        Box::new(self.attempts_by_index().flat_map(move |(client, index)| {
            let claims = self.clients[client].attempts[index].claims.len();
            let drop_claim = move |claim| {
                self.edited(|plan| {
                    plan.clients[client].attempts[index].claims.remove(claim);
                })
            };
            (0..if claims > 1 { claims } else { 0 }).map(drop_claim)
        }))
    }

    fn with_fewer_accesses(&self) -> Candidates<'_> {
        Box::new(self.attempts_by_index().flat_map(move |(client, index)| {
            let accesses = self.clients[client].attempts[index].accesses.len();
            (0..accesses).map(move |access| {
                self.edited(|plan| {
                    plan.clients[client].attempts[index].accesses.remove(access);
                })
            })
        }))
    }

    /// A setting of all attempts at once: that also makes the runs shorter that are still to come.
    fn with_plainer_attempts(&self) -> Candidates<'_> {
        Box::new(SIMPLER.into_iter().map(|edit| {
            self.edited(|plan| {
                let clients = plan.clients.iter_mut();
                clients
                    .flat_map(|client| &mut client.attempts)
                    .for_each(edit);
            })
        }))
    }

    /// Every attempt's settings one by one, once they are few.
    fn with_simpler_attempts(&self) -> Candidates<'_> {
        if self.size().commands > 40 {
            return Box::new(iter::empty());
        }
        Box::new(self.attempts_by_index().flat_map(move |(client, index)| {
            SIMPLER.into_iter().map(move |edit| {
                self.edited(|plan| edit(&mut plan.clients[client].attempts[index]))
            })
        }))
    }

    /// A half of the plan, with other chances: one message less, and all others come at other
    /// times; so what went wrong may not, and may again with another seed.
    fn with_a_few_other_chances(&self) -> Candidates<'_> {
        Box::new((1..=FEW_CHANCES).flat_map(|chance| {
            let halves = self.without_clients().take(2);
            let halves = halves.chain(self.without_attempts().take(2));
            halves.map(move |plan| plan.with_chance(chance))
        }))
    }

    /// What goes wrong only once in thousands of times takes patience. The fewer attempts, the more
    /// often half of them is tried, since each is the less likely and the cheaper.
    fn with_many_other_chances(&self) -> Candidates<'_> {
        let all = u64::try_from(self.attempts().count()).unwrap_or(u64::MAX);
        if all < 2 {
            return Box::new(iter::empty());
        }
        let tries = (20_000 / all).clamp(100, 2_500);
        Box::new((FEW_CHANCES + 1..=tries).flat_map(|chance| {
            let halves = self.without_attempts().take(2);
            halves.map(move |plan| plan.with_chance(chance))
        }))
    }

    /// With other randomness, and another first token, which comes from the server's clock. Every
    /// other one in a plain network, where the next step is easier.
    fn with_chance(mut self, chance: u64) -> ServicePlan {
        if chance % 2 == 1 {
            self.latency = PLAIN;
        }
        self.seed = self.seed.wrapping_add(chance);
        match &mut self.cluster {
            Some(cluster) => {
                let nodes = (0..).zip(&mut cluster.nodes);
                nodes.for_each(|(index, node)| node.clock.offset_ms = chance + index);
            }
            None => self.server.clock.offset_ms = chance,
        }
        self
    }

    /// Client and index of every attempt.
    fn attempts_by_index(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let clients = self.clients.iter().enumerate();
        clients
            .flat_map(|(client, plan)| (0..plan.attempts.len()).map(move |index| (client, index)))
    }
}

impl Attempt {
    fn numbers(&self) -> u64 {
        let waits = match self.wait {
            OpWait::No => 1,
            OpWait::For(ms) => 1 + ms,
            OpWait::Forever => 0,
        };
        let paths: usize = self.claims.iter().map(|claim| claim.path.len()).sum();
        let accesses = self.accesses.iter();
        let accesses = accesses.map(|one| one.after_ms + one.think_ms + one.key.len() as u64);
        self.at_ms + self.hold_ms.unwrap_or(0) + waits + paths as u64 + accesses.sum::<u64>()
    }
}

impl AccessPlan {
    /// At once, but for the thinking.
    fn hurry(&mut self) {
        self.after_ms = 0;
    }

    fn halve(&mut self) {
        self.after_ms /= 2;
        self.think_ms /= 2;
    }
}

impl ClusterPlan {
    /// Drops all but the first nodes, and what went wrong with the others.
    fn keep_nodes(&mut self, left: usize) {
        if let Some(operator) = &mut self.operator {
            operator.keep_nodes(self.nodes.len(), left);
        }
        self.nodes.truncate(left);
        for reader in &mut self.readers {
            reader.node %= left;
        }
        let is_left = |end: End| !matches!(end, End::Node(node) if node >= left);
        self.faults.retain_mut(|fault| {
            if let ClusterFaultKind::Cut { ways } = &mut fault.kind {
                ways.retain(|way| is_left(way.from) && is_left(way.to));
                return !ways.is_empty();
            }
            let is_there = fault.kind.who().is_none_or(|who| match who {
                Who::Node(node) => node < left,
                Who::Leader => true,
            });
            is_there && fault.kind.ends_mut().into_iter().all(|end| is_left(*end))
        });
    }

    /// How many things there are about it.
    fn things(&self) -> usize {
        let faults = self.faults.iter().map(|fault| match &fault.kind {
            ClusterFaultKind::Cut { ways } => 1 + ways.len(),
            ClusterFaultKind::PowerLoss { .. } => 2,
            _ => 1,
        });
        let nodes = self.nodes.iter().map(|node| {
            1 + usize::from(node.clock.drift_ppm != 0)
                + node.clock.jumps.len()
                + usize::from(node.disk != PLAIN_DISK)
        });
        let operator = self.operator.as_ref().map_or(0, OperatorPlan::things);
        faults.sum::<usize>() + nodes.sum::<usize>() + self.readers.len() + operator
    }

    /// How large its numbers are.
    fn numbers(&self) -> u64 {
        let offsets = self.nodes.iter().map(|node| node.clock.offset_ms);
        let faults = self.faults.iter();
        let faults = faults.map(|fault| fault.at_ms + fault.for_ms);
        let readers = self.readers.iter();
        let readers = readers.map(|reader| reader.at_ms + u64::from(reader.times));
        let operator = self.operator.as_ref().map_or(0, OperatorPlan::numbers);
        offsets.sum::<u64>() + faults.sum::<u64>() + readers.sum::<u64>() + operator
    }
}

impl StorePlan {
    /// How many things there are about it.
    fn things(&self) -> usize {
        let count = |kind| {
            let faults = self.faults.iter();
            faults.filter(|fault| fault.kind == kind).count()
        };
        let sync_us = (self.sync_us_min, self.sync_us_max);
        self.faults.len()
            + count(StoreFaultKind::PowerLoss)
            + usize::from(self.clock.drift_ppm != 0)
            + self.clock.jumps.len()
            + usize::from(self.compact_above != NEVER_COMPACT)
            + usize::from(sync_us != (PLAIN_DISK.sync_us_min, PLAIN_DISK.sync_us_max))
    }

    /// How large its numbers are.
    fn numbers(&self) -> u64 {
        let faults = self.faults.iter();
        let faults = faults.map(|fault| fault.at_ms + fault.for_ms);
        self.clock.offset_ms + faults.sum::<u64>()
    }
}

/// An edit of each node, if there are any.
fn of_nodes(edit: impl Fn(&mut NodePlan) + 'static) -> Edit {
    Box::new(move |plan| {
        let nodes = plan.cluster.iter_mut().flat_map(|one| &mut one.nodes);
        nodes.for_each(&edit);
    })
}

/// An edit of the store, if there is one.
fn of_store(edit: impl Fn(&mut StorePlan) + 'static) -> Edit {
    Box::new(move |plan| plan.store.iter_mut().for_each(&edit))
}

/// The default limits, but for the retention: with the default, each run would wait for a minute until
/// everything is forgotten.
fn only_retention(limits: &LimitOverrides) -> LimitOverrides {
    LimitOverrides {
        retention: limits.retention,
        ..LimitOverrides::default()
    }
}

/// The limits without those that refuse anything.
fn without_refusals(limits: &LimitOverrides) -> LimitOverrides {
    LimitOverrides {
        session_ends_per_ms: limits.session_ends_per_ms,
        ..only_retention(limits)
    }
}

/// How many requests of an ending session go in one millisecond less than by default: the more go, the more
/// it is as if it ended at once.
fn ends_below_default(limits: &LimitOverrides) -> u64 {
    let default = Limits::default().session_ends_per_ms.get();
    let ends = limits.session_ends_per_ms.map_or(default, NonZeroU32::get);
    default.saturating_sub(ends).into()
}

/// Lets more of them go, if the plan says how many do.
fn more_ends(limits: &mut LimitOverrides, more: fn(NonZeroU32) -> NonZeroU32) {
    limits.session_ends_per_ms = limits.session_ends_per_ms.map(more);
}

/// Drops the last segment of a claim's path.
fn shorten(claim: &mut OpClaim) {
    shorten_path(&mut claim.path);
}

fn shorten_path(path: &mut Text) {
    if let Some((above, _)) = path.rsplit_once('/')
        && !above.is_empty()
    {
        *path = Text::from(above);
    }
}

/// Ranges to drop from a list: halves first, then quarters, down to single members.
fn chunks(len: usize) -> impl Iterator<Item = (usize, usize)> {
    let sizes = iter::successors(Some(len.div_ceil(2)), |size| {
        (*size > 1).then(|| size.div_ceil(2))
    });
    sizes.filter(move |_| len > 0).flat_map(move |size| {
        (0..len.div_ceil(size))
            .rev()
            .map(move |chunk| (chunk * size, len.min((chunk + 1) * size)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reduction_is_lighter_and_can_be_run() {
        for seed in 0..8 {
            let plan = ServicePlan::generate(seed);
            let weight = plan.weight();
            for smaller in plan.reductions().take(300) {
                assert!(smaller.weight() < weight);
                smaller.validate().unwrap();
            }
        }
    }

    #[test]
    fn every_reduction_of_a_world_with_a_store_is_lighter_and_can_be_run() {
        for seed in 0..8 {
            let plan = ServicePlan::generate_fencing(seed);
            let weight = plan.weight();
            for smaller in plan.reductions().take(300) {
                assert!(smaller.weight() < weight && smaller.store.is_some());
                smaller.validate().unwrap();
            }
        }
    }

    #[test]
    fn every_reduction_of_a_world_of_nodes_is_lighter_and_can_be_run() {
        for seed in 0..8 {
            let plan = ServicePlan::generate_cluster(seed);
            let weight = plan.weight();
            for smaller in plan.reductions().take(300) {
                assert!(smaller.weight() < weight && smaller.cluster.is_some());
                smaller.validate().unwrap();
            }
        }
    }

    #[test]
    fn a_cluster_shrinks_to_the_nodes_and_the_way_that_matter() {
        let way = |fault: &ClusterFault| match &fault.kind {
            ClusterFaultKind::Cut { ways } => ways.iter().any(|way| way.to == End::Node(1)),
            _ => false,
        };
        let fails = |plan: &ServicePlan| plan.cluster.as_ref().unwrap().faults.iter().any(way);
        let drawn = (0..).map(ServicePlan::generate_cluster);
        let mut plan = drawn.into_iter().find(&fails).unwrap();
        loop {
            let smaller = plan.reductions().find(&fails);
            let Some(smaller) = smaller else { break };
            plan = smaller;
        }
        let cluster = plan.cluster.unwrap();
        assert_eq!((cluster.nodes.len(), cluster.faults.len()), (2, 1));
        assert!(
            matches!(&cluster.faults[0].kind, ClusterFaultKind::Cut { ways } if ways.len() == 1)
        );
    }

    #[test]
    fn an_operator_shrinks_to_the_step_that_matters() {
        let is_rebuilt = |step: &OperatorStep| matches!(step.deed, OperatorDeed::Rebuild { .. });
        let fails = |plan: &ServicePlan| {
            let operator = plan.operator();
            operator.is_some_and(|operator| operator.steps.iter().any(is_rebuilt))
        };
        let drawn = (0..).map(ServicePlan::generate_cluster);
        let mut plan = drawn.into_iter().find(&fails).unwrap();
        loop {
            let smaller = plan.reductions().find(&fails);
            let Some(smaller) = smaller else { break };
            plan = smaller;
        }
        let operator = plan.operator().unwrap();
        assert_eq!((operator.steps.len(), operator.newcomers), (1, 0));
        assert_eq!((plan.clients.len(), plan.nodes()), (0, 1));
    }

    #[test]
    fn greedy_shrinking_ends_at_the_core() {
        // What must stay: one attempt that writes, and one fault.
        let fails = |plan: &ServicePlan| {
            let mut attempts = plan.clients.iter().flat_map(|client| &client.attempts);
            attempts.any(|attempt| attempt.claims.iter().any(|claim| claim.write))
                && !plan.faults.is_empty()
        };
        let mut plan = (0..).map(ServicePlan::generate).find(&fails).unwrap();
        loop {
            let smaller = plan.reductions().find(&fails);
            let Some(smaller) = smaller else { break };
            plan = smaller;
        }
        let size = plan.size();
        assert_eq!((size.clients, size.commands, size.faults), (1, 1, 1));
        assert_eq!(plan.clients[0].attempts[0].claims.len(), 1);
    }
}
