//! Draws plans of profile `service`.

use super::{
    Attempt, ClientPlan, ClockJump, ClockPlan, DRIFT_PPM_MAX, Fault, FaultKind, LatencyPlan, Place,
    RenewPlan, ServerPlan, ServicePlan, shape::Shape,
};
use crate::{
    draw::{Draw, Stream},
    op::{DEFAULT_NAMESPACE, OpClaim, OpWait, Text},
    plan::{LimitOverrides, Profile},
};
use lockwright_engine::DurationMs;

impl ServicePlan {
    /// Draws the plan of a seed.
    pub(in crate::plan) fn generate(seed: u64) -> ServicePlan {
        let shape = Shape::draw(seed);
        let net = &mut Draw::new(Profile::Service, seed, Stream::ServiceNet);
        let clocks = &mut Draw::new(Profile::Service, seed, Stream::Time);
        let latency = latency(net);
        let plan = ServicePlan {
            shape: shape.in_a_line(),
            seed,
            active_ms: shape.active_ms.into(),
            latency,
            server: server(&shape, latency, clocks),
            hosts: (0..shape.hosts).map(|_| clock(&shape, clocks)).collect(),
            clients: clients(&shape, latency, seed),
            faults: faults(&shape, seed),
        };
        plan.validate()
            .expect("the generator draws plans that can be run");
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
        limits,
    }
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

fn clients(shape: &Shape, latency: LatencyPlan, seed: u64) -> Vec<ClientPlan> {
    let draw = &mut Draw::new(Profile::Service, seed, Stream::ServiceClients);
    let each = shape.attempts.div_ceil(shape.clients);
    (0..shape.clients)
        .map(|_| client(shape, latency, each, draw))
        .collect()
}

fn client(shape: &Shape, latency: LatencyPlan, attempts: u32, draw: &mut Draw) -> ClientPlan {
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
        call_timeout_ms: (5 * slowest + draw.between_skewed(50, 1_500)).into(),
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
    let hold_ms = draw.between_skewed(1, shape.hold_ms_max) - 1;
    let ttl_ms = draw
        .chance(shape.leases, 100)
        .then(|| draw.between_skewed(10, shape.ttl_ms_max));
    let renew = ttl_ms.filter(|_| draw.chance(1, 4)).map(|ttl| RenewPlan {
        every_ms: (ttl / 3).max(1).into(),
        ttl_ms: ttl.into(),
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
    }
}

fn faults(shape: &Shape, seed: u64) -> Vec<Fault> {
    let draw = &mut Draw::new(Profile::Service, seed, Stream::ServiceFaults);
    if shape.faults.weights().iter().all(|weight| *weight == 0) {
        return Vec::new();
    }
    let mut faults: Vec<Fault> = (0..shape.faults.count)
        .map(|_| fault(shape, draw))
        .collect();
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}

fn fault(shape: &Shape, draw: &mut Draw) -> Fault {
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
        for_ms: draw.between_skewed(1, shape.faults.for_ms_max).into(),
        kind,
    }
}
