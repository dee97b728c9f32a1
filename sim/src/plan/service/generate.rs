//! Draws plans of profile `service`.

use super::{
    Attempt, ClientPlan, ClockJump, ClockPlan, DRIFT_PPM_MAX, DiskPlan, Fault, FaultKind, Knock,
    LatencyPlan, Place, RenewPlan, ServerPlan, ServicePlan, Stranger, http, shape::Shape,
};
use crate::{
    draw::{Draw, Stream},
    op::{DEFAULT_NAMESPACE, OpClaim, OpWait, Text},
    plan::{LimitOverrides, Profile},
};
use lockwright_engine::DurationMs;
use std::num::NonZeroU32;

impl ServicePlan {
    /// Draws the plan of a seed.
    pub(in crate::plan) fn generate(seed: u64) -> ServicePlan {
        let shape = Shape::draw(seed);
        let mut plan = ServicePlan::with_sessions(&shape, seed);
        plan.http = http::draw(&shape, &plan, seed);
        if plan.server.disk.is_some() {
            http::draw_mistakes(&shape, &mut plan, seed);
        }
        // Those who come with sessions find as much room as without the others.
        let more = u32::try_from(plan.http.len()).unwrap_or(u32::MAX);
        let max = &mut plan.server.connections_max;
        *max = max.map(|max| max.saturating_add(more));
        drains(&mut plan, &shape, seed);
        plan.draw_watchers(Profile::Service, seed);
        plan.draw_breakers(Profile::Service, seed);
        plan.validate()
            .expect("the generator draws plans that can be run");
        plan
    }

    /// Draws a plan without those who come over HTTP.
    pub(super) fn with_sessions(shape: &Shape, seed: u64) -> ServicePlan {
        let net = &mut Draw::new(Profile::Service, seed, Stream::ServiceNet);
        let clocks = &mut Draw::new(Profile::Service, seed, Stream::Time);
        let visits = &mut Draw::new(Profile::Service, seed, Stream::ServiceStrangers);
        let disks = &mut Draw::new(Profile::Service, seed, Stream::ServiceDiskPlan);
        let latency = latency(net);
        let disk = disk(disks);
        let mut server = server(shape, latency, clocks);
        server.limits.session_ends_per_ms = session_ends(seed);
        let ends = server.limits.session_ends_per_ms;
        let plan = ServicePlan {
            shape: shape.in_a_line() + &ends.map_or_else(String::new, in_words),
            seed,
            active_ms: shape.active_ms.into(),
            latency,
            server: ServerPlan {
                connections_max: connections_max(shape, visits),
                disk,
                ..server
            },
            hosts: (0..shape.hosts).map(|_| clock(shape, clocks)).collect(),
            clients: clients(shape, latency, disk, seed),
            faults: Vec::new(),
            strangers: strangers(shape, visits),
            watchers: Vec::new(),
            breakers: Vec::new(),
            store: None,
            cluster: None,
            http: Vec::new(),
        };
        let mut plan = ServicePlan {
            faults: faults(shape, &plan, seed),
            ..plan
        };
        ambush(&mut plan, seed);
        wear(&mut plan, shape, disks);
        plan
    }
}

impl Shape {
    fn in_a_line(&self) -> String {
        format!(
            "{} clients on {} hosts for {} ms, every {} ms, {} paths, {} % readers, up to {} claims, \
             {} % leases, {} faults up to {} ms{}",
            self.clients,
            self.hosts,
            self.active_ms,
            self.pace_ms,
            self.paths.len(),
            self.readers,
            self.claims_max,
            self.leases,
            self.faults.count,
            self.faults.for_ms_max,
            if self.faults.jumps {
                ", clocks jump"
            } else {
                ""
            },
        )
    }
}

fn latency(draw: &mut Draw) -> LatencyPlan {
    let min_ms = draw.between_skewed(1, 20);
    LatencyPlan {
        min_ms: min_ms.into(),
        max_ms: (min_ms + draw.between_skewed(1, 60) - 1).into(),
        curve_tenths: *draw.pick(&[1, 10, 50]),
    }
}

fn server(shape: &Shape, latency: LatencyPlan, draw: &mut Draw) -> ServerPlan {
    let limits = LimitOverrides {
        // Short, so that all is forgotten soon after the end.
        retention: DurationMs::new(draw.between_skewed(1, 3_000).into()).ok(),
        queued_requests_per_path: draw.chance(1, 10).then(|| draw.between(1, 4)),
        locks_per_owner: draw.chance(1, 10).then(|| draw.between(1, 6)),
        ..LimitOverrides::default()
    };
    let clock = clock(shape, draw);
    ServerPlan {
        clock,
        idle_timeout_ms: 6 * latency.max_ms + u64::from(draw.between_skewed(100, 3_000)),
        connections_max: None,
        drain_ms: None,
        limits,
        disk: None,
    }
}

/// How many requests of an ending session go in one millisecond: in one plan in three so few that the end
/// takes its time. With the default of 100 it never does here.
fn session_ends(seed: u64) -> Option<NonZeroU32> {
    let draw = &mut Draw::new(Profile::Service, seed, Stream::ServiceSessionEnds);
    let few = draw.chance(1, 3).then(|| *draw.pick(&[1, 1, 1, 2, 3]));
    few.and_then(NonZeroU32::new)
}

fn in_words(ends: NonZeroU32) -> String {
    format!(", sessions end {ends} requests a ms")
}

/// A disk, most of the time. What is not over yet is what a crash can spoil, so syncs take their
/// time; and snapshots and new files of the log come often, so that there are some.
fn disk(draw: &mut Draw) -> Option<DiskPlan> {
    draw.chance(3, 4).then(|| {
        let sync_us_min = u64::from(draw.between_skewed(1, 3_000));
        DiskPlan {
            sync_us_min,
            sync_us_max: sync_us_min + u64::from(draw.between_skewed(1, 15_000)) - 1,
            snapshot_entries: draw.between_skewed(3, 400).into(),
            log_segment_bytes: Some(draw.between_skewed(1 << 10, 1 << 15).into()),
        }
    })
}

/// What goes wrong with the disk, and with the server's power.
fn wear(plan: &mut ServicePlan, shape: &Shape, draw: &mut Draw) {
    if plan.server.disk.is_none() || !draw.chance(2, 3) {
        return;
    }
    let mut weight = |often: u32| {
        if draw.chance(often, 10) {
            draw.between(1, 4)
        } else {
            0
        }
    };
    let weights = [weight(7), weight(7), weight(3), weight(2), weight(2)];
    if weights.iter().all(|weight| *weight == 0) {
        return;
    }
    for _ in 0..draw.between_skewed(1, 8) {
        let kind = match draw.weighted(&weights) {
            0 => FaultKind::PowerLoss,
            1 => FaultKind::Crash {
                place: Place::Server,
            },
            2 => FaultKind::DiskSlow {
                by_ms: draw.between_skewed(1, 300).into(),
            },
            3 => FaultKind::DiskFull,
            _ => FaultKind::DiskFails,
        };
        plan.faults.push(Fault {
            at_ms: draw.below(shape.active_ms).into(),
            for_ms: draw.between_skewed(1, shape.faults.for_ms_max).into(),
            kind,
        });
    }
    blackouts(plan, shape, draw);
    log_losses(plan, shape, draw);
    plan.faults.sort_by_key(|fault| fault.at_ms);
}

/// Stops the server, long enough for it to end, and takes the end of its log away before it starts again.
fn log_losses(plan: &mut ServicePlan, shape: &Shape, draw: &mut Draw) {
    if !draw.chance(1, 3) {
        return;
    }
    for _ in 0..draw.between_skewed(1, 3) {
        let kept = draw.chance(2, 3).then(|| draw.below(1_000));
        plan.faults.push(Fault {
            at_ms: draw.below(shape.active_ms).into(),
            for_ms: draw.between(200, 3_000).into(),
            kind: FaultKind::LogLoss { kept },
        });
    }
}

/// Lets the power go while a server starts whose process was killed. What that one wrote and did not
/// sync is there for its successor, and may not be there for the next.
fn blackouts(plan: &mut ServicePlan, shape: &Shape, draw: &mut Draw) {
    let sync_ms = plan.server.disk.map_or(0, DiskPlan::sync_ms_max);
    let kills = plan.faults.iter().filter(|fault| {
        let place = Place::Server;
        fault.kind == FaultKind::Crash { place }
    });
    let starts: Vec<u64> = kills.map(|fault| fault.at_ms + fault.for_ms).collect();
    for start in starts {
        let soon = draw.between_skewed(0, 8 * u32::try_from(sync_ms).expect("small") + 2);
        if draw.chance(1, 3) {
            plan.faults.push(Fault {
                at_ms: (start + u64::from(soon)).min(u64::from(shape.active_ms) - 1),
                for_ms: draw.between_skewed(1, shape.faults.for_ms_max).into(),
                kind: FaultKind::PowerLoss,
            });
        }
    }
}

/// Sometimes so few that a connection whose place is not given back is missed soon.
fn connections_max(shape: &Shape, draw: &mut Draw) -> Option<u32> {
    draw.chance(1, 3)
        .then(|| shape.clients + draw.between_skewed(1, 8))
}

fn strangers(shape: &Shape, draw: &mut Draw) -> Vec<Stranger> {
    if !draw.chance(1, 3) {
        return Vec::new();
    }
    let mut strangers: Vec<Stranger> = (0..draw.between_skewed(1, 8))
        .map(|_| Stranger {
            at_ms: draw.below(shape.active_ms).into(),
            host: draw.index(shape.hosts as usize),
            what: *draw.pick(&[
                Knock::Resume,
                Knock::Resume,
                Knock::Acquire,
                Knock::Garbage,
                Knock::Silence,
                Knock::Page,
                Knock::Rebound,
                Knock::Operator,
                Knock::Guess,
                Knock::Node,
            ]),
        })
        .collect();
    strangers.sort_by_key(|stranger| stranger.at_ms);
    strangers
}

fn clock(shape: &Shape, draw: &mut Draw) -> ClockPlan {
    let drift = draw.between(0, 2 * DRIFT_PPM_MAX.unsigned_abs());
    let drift = i32::try_from(drift).expect("small") - DRIFT_PPM_MAX;
    let jumps = if shape.faults.jumps {
        draw.between(0, 2)
    } else {
        0
    };
    ClockPlan {
        offset_ms: draw.between(0, 1_000_000).into(),
        drift_ppm: if draw.chance(1, 2) { drift } else { 0 },
        jumps: (0..jumps)
            .map(|_| ClockJump {
                at_ms: draw.below(shape.active_ms).into(),
                by_ms: draw.between_skewed(1, 5_000).into(),
            })
            .collect(),
    }
}

fn clients(
    shape: &Shape,
    latency: LatencyPlan,
    disk: Option<DiskPlan>,
    seed: u64,
) -> Vec<ClientPlan> {
    let written_ms = disk.map_or(0, |disk| DiskPlan::SYNCS_MAX * disk.sync_ms_max());
    let draw = &mut Draw::new(Profile::Service, seed, Stream::ServiceClients);
    let each = shape.attempts.div_ceil(shape.clients);
    (0..shape.clients)
        .map(|_| client(shape, latency, written_ms, each, draw))
        .collect()
}

fn client(
    shape: &Shape,
    latency: LatencyPlan,
    written_ms: u64,
    attempts: u32,
    draw: &mut Draw,
) -> ClientPlan {
    // Several times what a message takes, so that undisturbed sessions live.
    let slowest = u32::try_from(latency.max_ms).expect("small");
    let abandon_ms = 6 * slowest + draw.between_skewed(30, 4_000);
    let namespace = match draw.below(shape.namespaces) {
        0 => Text::from(DEFAULT_NAMESPACE),
        other => Text::from(format!("n{other}")),
    };
    let mut at = 0;
    let mut attempts: Vec<Attempt> = (0..attempts)
        .map(|_| {
            at += draw.between(0, 2 * shape.pace_ms);
            attempt(shape, at, draw)
        })
        .collect();
    attempts.retain(|attempt| attempt.at_ms < shape.active_ms.into());
    ClientPlan {
        host: draw.below(shape.hosts) as usize,
        namespace,
        abandon_ms: abandon_ms.into(),
        keep_alive_ms: (abandon_ms / 3).into(),
        call_timeout_ms: written_ms + u64::from(5 * slowest + draw.between_skewed(50, 1_500)),
        attempts,
        closes_at_ms: draw
            .chance(1, 12)
            .then(|| draw.below(shape.active_ms).into()),
    }
}

fn attempt(shape: &Shape, at: u32, draw: &mut Draw) -> Attempt {
    let claims = (0..draw.between_skewed(1, shape.claims_max))
        .map(|_| OpClaim {
            write: !draw.chance(shape.readers, 100),
            path: Text::from(draw.pick(&shape.paths).as_str()),
        })
        .collect();
    let hold_ms = if draw.chance(shape.sitters, 100) {
        draw.between(1_000, 4_000)
    } else {
        draw.between_skewed(1, shape.hold_ms_max) - 1
    };
    let ttl_ms = draw
        .chance(shape.leases, 100)
        .then(|| draw.between_skewed(10, shape.ttl_ms_max));
    let renew = ttl_ms.filter(|_| draw.chance(1, 4)).map(|ttl| RenewPlan {
        every_ms: (ttl / 3).max(1).into(),
        // A renewal can also make a lease shorter, and then its client must not count on the rest.
        ttl_ms: match draw.below(3) {
            0 => draw.between_skewed(1, ttl),
            _ => ttl,
        }
        .into(),
    });
    // Who neither releases nor has a lease would hold until the end of its session.
    let forgets = ttl_ms.is_some() && renew.is_none() && draw.chance(1, 10);
    Attempt {
        at_ms: at.into(),
        claims,
        ttl_ms: ttl_ms.map(u64::from),
        wait: match draw.below(10) {
            0 | 1 => OpWait::No,
            2..=5 => OpWait::For(draw.between_skewed(1, 800).into()),
            _ => OpWait::Forever,
        },
        cancel_after_ms: draw
            .chance(1, 8)
            .then(|| draw.between_skewed(1, 300).into()),
        renew,
        hold_ms: (!forgets).then(|| hold_ms.into()),
        accesses: Vec::new(),
    }
}

fn faults(shape: &Shape, plan: &ServicePlan, seed: u64) -> Vec<Fault> {
    let draw = &mut Draw::new(Profile::Service, seed, Stream::ServiceFaults);
    if shape.faults.weights().iter().all(|weight| *weight == 0) {
        return Vec::new();
    }
    let mut faults: Vec<Fault> = (0..shape.faults.count)
        .map(|_| fault(shape, plan, draw))
        .collect();
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}

fn fault(shape: &Shape, plan: &ServicePlan, draw: &mut Draw) -> Fault {
    let host = draw.below(shape.hosts) as usize;
    let anywhere = if draw.chance(1, 3) {
        Place::Server
    } else {
        Place::Host(host)
    };
    let kind = match draw.weighted(&shape.faults.weights()) {
        0 => {
            let to_server = draw.chance(2, 3);
            let from_server = !to_server || draw.chance(1, 2);
            FaultKind::Cut {
                host,
                to_server,
                from_server,
            }
        }
        1 => FaultKind::Hold { host },
        2 => FaultKind::Slow {
            host,
            max_ms: draw.between(100, 600).into(),
        },
        3 => FaultKind::Reset { place: anywhere },
        4 => FaultKind::Crash {
            place: Place::Server,
        },
        5 => FaultKind::Crash {
            place: Place::Host(host),
        },
        _ => FaultKind::Pause { place: anywhere },
    };
    Fault {
        at_ms: draw.below(shape.active_ms).into(),
        for_ms: if draw.chance(1, 4) {
            about_a_timeout(plan, draw)
        } else {
            draw.between_skewed(1, shape.faults.for_ms_max).into()
        },
        kind,
    }
}

/// Stops that wait for locks, sometimes until all have ended and sometimes not.
fn drains(plan: &mut ServicePlan, shape: &Shape, seed: u64) {
    let draw = &mut Draw::new(Profile::Service, seed, Stream::ServiceDrains);
    if !draw.chance(1, 4) {
        return;
    }
    plan.server.drain_ms = Some(draw.between_skewed(1, 6_000).into());
    for _ in 0..draw.between_skewed(1, 3) {
        plan.faults.push(Fault {
            at_ms: draw.below(shape.active_ms).into(),
            for_ms: draw.between_skewed(1, 4_000).into(),
            kind: FaultKind::Drain,
        });
    }
    plan.faults.sort_by_key(|fault| fault.at_ms);
}

/// Cuts off or pauses a holder for longer than the server waits for it: the one moment at which
/// it is only its own clock that tells a client what it may believe.
fn ambush(plan: &mut ServicePlan, seed: u64) {
    let draw = &mut Draw::new(Profile::Service, seed, Stream::ServiceAmbushes);
    if !draw.chance(1, 3) {
        return;
    }
    for _ in 0..draw.between(1, 3) {
        let client = draw.index(plan.clients.len());
        let client = &mut plan.clients[client];
        if client.attempts.is_empty() {
            continue;
        }
        let host = client.host;
        let attempt = draw.index(client.attempts.len());
        let attempt = &mut client.attempts[attempt];
        // Answers take up to six times the latency when there is no connection yet.
        let granted_ms = attempt.at_ms + u64::from(draw.between(2, 6)) * plan.latency.max_ms;
        let away_ms = plan.server.idle_timeout_ms + client.abandon_ms + u64::from(draw.below(300));
        attempt.cancel_after_ms = None;
        attempt.renew = None;
        attempt.hold_ms = Some(away_ms + u64::from(draw.below(500)));
        if draw.chance(1, 2) {
            attempt.ttl_ms = None;
        }
        let kind = match draw.below(4) {
            0 => FaultKind::Cut {
                host,
                to_server: true,
                from_server: draw.chance(1, 2),
            },
            1 => FaultKind::Hold { host },
            _ => FaultKind::Pause {
                place: Place::Host(host),
            },
        };
        if granted_ms < plan.active_ms {
            // Healing would end it too early.
            plan.active_ms = plan.active_ms.max(granted_ms + away_ms + 1);
            plan.faults.push(Fault {
                at_ms: granted_ms,
                for_ms: away_ms,
                kind,
            });
        }
    }
    plan.faults.sort_by_key(|fault| fault.at_ms);
}

/// As long as somebody's patience, more or less: what happens then is of interest.
fn about_a_timeout(plan: &ServicePlan, draw: &mut Draw) -> u64 {
    let idle = plan.server.idle_timeout_ms;
    let client = draw.pick(&plan.clients);
    let patience = *draw.pick(&[
        idle,
        client.call_timeout_ms,
        client.abandon_ms,
        idle + client.abandon_ms,
    ]);
    (patience + u64::from(draw.below(200)))
        .saturating_sub(50)
        .max(1)
}
