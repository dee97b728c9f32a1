//! Draws plans of profile `cluster`: the clients of a world of profile `service`, nodes in the place of
//! its server, and faults that strike nodes and what is between them.

use super::{
    ClockJump, ClockPlan, ClusterFault, ClusterFaultKind, ClusterPlan, DRIFT_PPM_MAX, DiskPlan,
    End, Fault, FaultKind, NodePlan, Place, ReaderPlan, ServicePlan, Way, Who, crowd::Crowd, http,
    shape::Shape,
};
use crate::{
    draw::{Draw, Stream},
    op::Text,
    plan::Profile,
};

impl ServicePlan {
    /// Draws the plan of a seed of profile `cluster`.
    pub(in crate::plan) fn generate_cluster(seed: u64) -> ServicePlan {
        let draw = &mut Draw::new(Profile::Cluster, seed, Stream::Cluster);
        let faults = &mut Draw::new(Profile::Cluster, seed, Stream::ClusterFaults);
        let seed_of_the_world = draw.word() >> 32;
        let mut crowd = Crowd::new(seed);
        let shape = crowd.shape(Shape::draw(seed_of_the_world));
        let mut plan = ServicePlan::with_sessions(&shape, seed_of_the_world);
        plan.http = http::draw(&shape, &plan, seed_of_the_world);
        crowd.behave(&mut plan);
        plan.server.connections_max = None;
        plan.server.disk = None;
        plan.server.clock = ClockPlan::default();
        // Told to wait for locks, a node has nothing to wait for.
        let mut drains = Draw::new(Profile::Cluster, seed, Stream::ServiceDrains);
        plan.server.drain_ms = drains.chance(1, 3).then_some(60_000);
        plan.faults.retain(is_of_the_clients);
        let mut cluster = cluster(&shape, &plan, draw);
        let mut secrets = Draw::new(Profile::Cluster, seed, Stream::ClusterSecret);
        cluster.secret = secrets.chance(1, 3);
        let nodes = cluster.nodes.len();
        let forwarding_ms = cluster.forwarding_ms(plan.latency.max_ms);
        plan.cluster = Some(cluster);
        http::draw_mistakes(&shape, &mut plan, seed_of_the_world);
        plan.be_patient(forwarding_ms);
        if draw.chance(3, 4) {
            plan.begin_later(draw);
        }
        let trouble = Trouble::draw(&shape, &plan, faults);
        let drawn = trouble.faults(&plan, faults);
        plan.shape += &format!(", {nodes} nodes, {} faults of theirs", drawn.len());
        let cluster = plan.cluster.as_mut().expect("it was drawn before");
        cluster.faults = drawn;
        plan.look(faults);
        plan.operate(&mut Draw::new(
            Profile::Cluster,
            seed,
            Stream::ClusterOperator,
        ));
        plan.draw_watchers(Profile::Cluster, seed);
        plan.draw_breakers(Profile::Cluster, seed);
        plan.validate()
            .expect("the generator draws plans that can be run");
        plan
    }

    /// Lets some look at what is locked.
    fn look(&mut self, draw: &mut Draw) {
        if draw.chance(1, 3) {
            return;
        }
        let (hosts, active_ms) = (self.hosts.len(), self.active_ms);
        let namespaces = self.clients.iter().map(|client| client.namespace.clone());
        let of_http = self.http.iter().map(|attempt| attempt.namespace.clone());
        let namespaces: Vec<Text> = namespaces.chain(of_http).collect();
        let Some(cluster) = self.cluster.as_mut().filter(|_| !namespaces.is_empty()) else {
            return;
        };
        for _ in 0..draw.between_skewed(1, 6) {
            let at_ms = u64::from(draw.below(u32::try_from(active_ms).unwrap_or(u32::MAX)));
            let every_ms = u64::from(draw.between_skewed(5, 200));
            let times = (active_ms - at_ms) / every_ms;
            cluster.readers.push(ReaderPlan {
                at_ms,
                every_ms,
                times: u32::try_from(times).unwrap_or(u32::MAX).clamp(1, 100),
                host: draw.index(hosts),
                node: draw.index(cluster.nodes.len()),
                namespace: namespaces[draw.index(namespaces.len())].clone(),
            });
        }
    }

    /// Everybody waits for as much longer as a request takes that is forwarded and replicated.
    fn be_patient(&mut self, forwarding_ms: u64) {
        for client in &mut self.clients {
            client.call_timeout_ms += forwarding_ms;
            client.abandon_ms += 3 * forwarding_ms;
            client.keep_alive_ms = client.abandon_ms / 3;
        }
        for attempt in &mut self.http {
            attempt.patience_ms += forwarding_ms;
        }
    }

    /// Lets the first leader be there before the first client comes.
    fn begin_later(&mut self, draw: &mut Draw) {
        let cluster = self.cluster.as_ref().expect("it was drawn before");
        let later = 3 * cluster.election_timeout_ms + u64::from(draw.below(500));
        self.active_ms += later;
        for client in &mut self.clients {
            client.closes_at_ms.iter_mut().for_each(|at| *at += later);
            for attempt in &mut client.attempts {
                attempt.at_ms += later;
            }
        }
        self.http.iter_mut().for_each(|one| one.at_ms += later);
        self.faults
            .iter_mut()
            .for_each(|fault| fault.at_ms += later);
        let strangers = self.strangers.iter_mut();
        strangers.for_each(|stranger| stranger.at_ms += later);
        let jumps = self.hosts.iter_mut().flat_map(|clock| &mut clock.jumps);
        jumps.for_each(|jump| jump.at_ms += later);
    }
}

/// Whether a fault strikes clients' hosts or their links, and no server.
fn is_of_the_clients(fault: &Fault) -> bool {
    match fault.kind {
        FaultKind::Cut { .. } | FaultKind::Hold { .. } | FaultKind::Slow { .. } => true,
        FaultKind::Reset { place } | FaultKind::Crash { place } | FaultKind::Pause { place } => {
            place != Place::Server
        }
        FaultKind::PowerLoss
        | FaultKind::DiskFull
        | FaultKind::DiskFails
        | FaultKind::DiskSlow { .. }
        | FaultKind::LogLoss { .. }
        | FaultKind::Drain => false,
    }
}

fn cluster(shape: &Shape, plan: &ServicePlan, draw: &mut Draw) -> ClusterPlan {
    let count = *draw.pick(&[1, 3, 3, 3, 3, 3, 3, 3, 5, 5]);
    let nodes: Vec<NodePlan> = (0..count).map(|_| node(shape, draw)).collect();
    let slowest_ms = nodes.iter().map(|node| node.disk.sync_ms_max()).max();
    let heartbeat_ms = u64::from(draw.between_skewed(20, 150));
    // Long enough that an undisturbed leader stays: what it says takes its time, and a vote is
    // synced before it is given.
    // An answer to a heartbeat that takes longer than a third of the timeout is given up.
    let calm_ms = 8 * plan.latency.max_ms + 8 * slowest_ms.unwrap_or(0);
    let election_timeout_ms = 3 * heartbeat_ms + calm_ms + u64::from(draw.between_skewed(1, 1_000));
    ClusterPlan {
        nodes,
        heartbeat_ms,
        election_timeout_ms,
        node_timeout_ms: election_timeout_ms + u64::from(draw.between_skewed(1, 4_000)),
        secret: false,
        faults: Vec::new(),
        readers: Vec::new(),
        operator: None,
    }
}

fn node(shape: &Shape, draw: &mut Draw) -> NodePlan {
    let drift = draw.between(0, 2 * DRIFT_PPM_MAX.unsigned_abs());
    let jumps = if shape.faults.jumps { draw.below(3) } else { 0 };
    let sync_us_min = u64::from(draw.between_skewed(1, 3_000));
    NodePlan {
        clock: ClockPlan {
            offset_ms: draw.between(0, 1_000_000).into(),
            drift_ppm: i32::try_from(drift).expect("small") - DRIFT_PPM_MAX,
            jumps: (0..jumps)
                .map(|_| ClockJump {
                    at_ms: draw.below(shape.active_ms).into(),
                    by_ms: draw.between_skewed(1, 5_000).into(),
                })
                .collect(),
        },
        disk: DiskPlan {
            sync_us_min,
            sync_us_max: sync_us_min + u64::from(draw.between_skewed(1, 12_000)) - 1,
            snapshot_entries: draw.between_skewed(3, 400).into(),
            log_segment_bytes: Some(draw.between_skewed(1 << 10, 1 << 15).into()),
        },
    }
}

/// What goes wrong in a plan: the weight of each kind, 0 when there is none of it.
struct Trouble {
    count: u32,
    for_ms_max: u32,
    weights: [u32; KINDS],
    /// How often a fault strikes the leader, in tenths.
    leader: u32,
}

/// How many kinds of trouble there are.
const KINDS: usize = 15;

/// How often a seed has each of them, in tenths.
const OFTEN: [u32; KINDS] = [5, 4, 4, 3, 3, 4, 4, 5, 4, 4, 5, 4, 2, 2, 2];

impl Trouble {
    fn draw(shape: &Shape, plan: &ServicePlan, draw: &mut Draw) -> Trouble {
        let weights = OFTEN.map(|often| {
            if draw.chance(often, 10) {
                draw.between(1, 4)
            } else {
                0
            }
        });
        let none = draw.chance(1, 12) || weights.iter().all(|weight| *weight == 0);
        let active_ms = u32::try_from(plan.active_ms).unwrap_or(u32::MAX);
        Trouble {
            // Many seeds would else have one leader for all of their time.
            count: if none {
                0
            } else {
                draw.between(2, 8 + active_ms / 300)
            },
            for_ms_max: shape
                .faults
                .for_ms_max
                .max(active_ms.min(draw.between_skewed(50, 5_000))),
            weights,
            leader: *draw.pick(&[2, 5, 8]),
        }
    }

    fn faults(&self, plan: &ServicePlan, draw: &mut Draw) -> Vec<ClusterFault> {
        let cluster = plan.cluster.as_ref().expect("it was drawn before");
        let mut faults = Vec::new();
        let active_ms = u32::try_from(plan.active_ms).unwrap_or(u32::MAX);
        for _ in 0..self.count {
            let at_ms = u64::from(draw.below(active_ms));
            let for_ms = self.for_ms(cluster, draw);
            match draw.weighted(&self.weights) {
                0 => {
                    let ways = partition(cluster, draw);
                    flap(at_ms, for_ms, &ways, draw, &mut faults);
                }
                1 => outage(at_ms, for_ms, cluster, draw, &mut faults),
                kind => faults.push(ClusterFault {
                    at_ms,
                    for_ms,
                    kind: self.fault(kind, plan, draw),
                }),
            }
        }
        // A partition of one node cuts nothing.
        let cuts_nothing = |kind: &ClusterFaultKind| match kind {
            ClusterFaultKind::Cut { ways } => ways.is_empty(),
            _ => false,
        };
        faults.retain(|fault| fault.at_ms < plan.active_ms && !cuts_nothing(&fault.kind));
        faults.sort_by_key(|fault| fault.at_ms);
        faults
    }

    /// As long as somebody's patience, more or less, or any time.
    fn for_ms(&self, cluster: &ClusterPlan, draw: &mut Draw) -> u64 {
        if draw.chance(2, 5) {
            return draw.between_skewed(1, self.for_ms_max).into();
        }
        let patience = *draw.pick(&[
            cluster.election_timeout_ms,
            2 * cluster.election_timeout_ms,
            cluster.node_timeout_ms,
            cluster.node_timeout_ms + 2 * cluster.election_timeout_ms,
        ]);
        (patience + u64::from(draw.below(300)))
            .saturating_sub(100)
            .max(1)
    }

    fn fault(&self, kind: usize, plan: &ServicePlan, draw: &mut Draw) -> ClusterFaultKind {
        let cluster = plan.cluster.as_ref().expect("it was drawn before");
        let nodes = cluster.nodes.len();
        let node = if draw.chance(self.leader, 10) {
            Who::Leader
        } else {
            Who::Node(draw.index(nodes))
        };
        match kind {
            2 => {
                let to = draw.chance(3, 4);
                let from = !to || draw.chance(2, 3);
                ClusterFaultKind::Isolate { node, to, from }
            }
            3 => {
                let (a, b) = link(plan, draw);
                ClusterFaultKind::Hold { a, b }
            }
            4 => {
                let (a, b) = link(plan, draw);
                let max_ms = plan.latency.min_ms + u64::from(draw.between(50, 600));
                ClusterFaultKind::Slow { a, b, max_ms }
            }
            5 => ClusterFaultKind::Reset { node },
            6 => ClusterFaultKind::Restart { node },
            7 => ClusterFaultKind::Crash { node },
            8 => ClusterFaultKind::Pause { node },
            9 => ClusterFaultKind::Cut {
                ways: to_hosts(plan, draw),
            },
            10 => ClusterFaultKind::PowerLoss { node },
            11 => ClusterFaultKind::DiskSlow {
                node,
                by_ms: draw.between_skewed(1, 300).into(),
            },
            12 => ClusterFaultKind::DiskFull { node },
            13 => ClusterFaultKind::DiskFails { node },
            _ => ClusterFaultKind::Cut {
                ways: partition(cluster, draw),
            },
        }
    }
}

/// Two places that talk.
fn link(plan: &ServicePlan, draw: &mut Draw) -> (End, End) {
    let nodes = plan.nodes();
    let a = draw.index(nodes);
    if nodes == 1 || draw.chance(1, 4) {
        return (End::Node(a), End::Host(draw.index(plan.hosts.len())));
    }
    let b = (a + 1 + draw.index(nodes - 1)) % nodes;
    (End::Node(a), End::Node(b))
}

/// The ways between a host and some of the nodes.
fn to_hosts(plan: &ServicePlan, draw: &mut Draw) -> Vec<Way> {
    let host = End::Host(draw.index(plan.hosts.len()));
    let direction = draw.below(3);
    let mut ways = Vec::new();
    let first = draw.index(plan.nodes());
    for node in 0..plan.nodes() {
        if node != first && draw.chance(1, 2) {
            continue;
        }
        let node = End::Node(node);
        if direction != 1 {
            let (from, to) = (host, node);
            ways.push(Way { from, to });
        }
        if direction != 0 {
            let (from, to) = (node, host);
            ways.push(Way { from, to });
        }
    }
    ways
}

/// Ways between nodes of which messages are lost, in one of the shapes that have brought down
/// clusters before.
fn partition(cluster: &ClusterPlan, draw: &mut Draw) -> Vec<Way> {
    let count = cluster.nodes.len();
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, draw.index(last + 1));
    }
    let both = draw.chance(2, 3);
    let shape = draw.below(5);
    let side = draw.index(count.max(2) - 1) + 1;
    let mut ways = Vec::new();
    for (a, from) in order.iter().enumerate() {
        for (b, to) in order.iter().enumerate() {
            let is_cut = match shape {
                // Two sides, or what one of them says.
                0 | 1 => (a < side) != (b < side) && (both || a < side),
                // All but the first hear only the first: a bridge.
                2 => a != 0 && b != 0 && a != b,
                // Each hears only the one before it.
                3 => a != b && (a + 1) % count != b,
                // Any of them.
                _ => a != b && draw.chance(1, 2),
            };
            if is_cut {
                let (from, to) = (End::Node(*from), End::Node(*to));
                ways.push(Way { from, to });
            }
        }
    }
    ways
}

/// A partition that comes and goes, or comes once.
fn flap(at_ms: u64, for_ms: u64, ways: &[Way], draw: &mut Draw, faults: &mut Vec<ClusterFault>) {
    let times = *draw.pick(&[1, 1, 3, 8]);
    let pause_ms = u64::from(draw.between_skewed(1, 1_000));
    let for_ms = if times == 1 {
        for_ms
    } else {
        for_ms.min(1_000)
    };
    for time in 0..times {
        faults.push(ClusterFault {
            at_ms: at_ms + time * (for_ms + pause_ms),
            for_ms,
            kind: ClusterFaultKind::Cut {
                ways: ways.to_vec(),
            },
        });
    }
}

/// Several nodes, or all, die almost at once: those that are gone when the others vote, and those that
/// had the last entry.
fn outage(
    at_ms: u64,
    for_ms: u64,
    cluster: &ClusterPlan,
    draw: &mut Draw,
    faults: &mut Vec<ClusterFault>,
) {
    let power = draw.chance(2, 3);
    let within = draw.between_skewed(1, 200);
    for node in 0..cluster.nodes.len() {
        if draw.chance(1, 4) {
            continue;
        }
        let node = Who::Node(node);
        faults.push(ClusterFault {
            at_ms: at_ms + u64::from(draw.below(within)),
            for_ms: 1 + u64::from(draw.below(u32::try_from(for_ms).unwrap_or(u32::MAX).max(1))),
            kind: if power {
                ClusterFaultKind::PowerLoss { node }
            } else {
                ClusterFaultKind::Crash { node }
            },
        });
    }
}
