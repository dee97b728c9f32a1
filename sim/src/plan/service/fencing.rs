//! Draws plans of profile `fencing`: a world of profile `service`, a store, and holders who go there,
//! too late as often as can be arranged.

use super::{
    AccessPlan, Attempt, ClientPlan, ClockPlan, DRIFT_PPM_MAX, Fault, FaultKind, Place,
    ServicePlan, StoreFault, StoreFaultKind, StorePlan, shape::Shape, store::is_below,
};
use crate::{
    draw::{Draw, Stream},
    op::{OpClaim, OpWait, Text},
    plan::Profile,
};
use lockwright_engine::Path;
use std::collections::BTreeSet;

/// A plan has no more attempts than about this: what is of interest happens between a few.
const ATTEMPTS_MAX: usize = 160;

impl ServicePlan {
    /// Draws the plan of a seed of profile `fencing`.
    pub(in crate::plan) fn generate_fencing(seed: u64) -> ServicePlan {
        let draw = &mut Draw::new(Profile::Fencing, seed, Stream::Fencing);
        let faults = &mut Draw::new(Profile::Fencing, seed, Stream::FencingFaults);
        let seed_of_the_world = draw.word() >> 32;
        let shape = Shape::draw(seed_of_the_world);
        let mut plan = ServicePlan::with_sessions(&shape, seed_of_the_world);
        let each = ATTEMPTS_MAX.div_ceil(plan.clients.len());
        for client in &mut plan.clients {
            client.attempts.truncate(each);
        }
        plan.store = Some(store(&plan, draw));
        let paths = plan.paths();
        let eager = draw.between(3, 10);
        for attempt in plan.clients.iter_mut().flat_map(|one| &mut one.attempts) {
            if draw.chance(eager, 10) {
                attempt.accesses = accesses(&attempt.claims, &paths, draw);
            }
        }
        for _ in 0..draw.between(1, 4) {
            stalk(&mut plan, faults);
        }
        wear(&mut plan, faults);
        come_last(&mut plan, &paths);
        plan.shape += ", a store";
        plan.validate()
            .expect("the generator draws plans that can be run");
        plan
    }

    /// All paths that are claimed, but for `/`.
    fn paths(&self) -> BTreeSet<Text> {
        let claims = self.attempts().flat_map(|attempt| &attempt.claims);
        let paths = claims.map(|claim| claim.path.clone());
        paths.filter(|path| path != "/").collect()
    }
}

fn store(plan: &ServicePlan, draw: &mut Draw) -> StorePlan {
    let sync_us_min = u64::from(draw.between_skewed(1, 3_000));
    let drift = draw.between(0, 2 * DRIFT_PPM_MAX.unsigned_abs());
    StorePlan {
        checked: true,
        clock: ClockPlan {
            offset_ms: draw.between(0, 1_000_000).into(),
            drift_ppm: i32::try_from(drift).expect("small") - DRIFT_PPM_MAX,
            jumps: Vec::new(),
        },
        sync_us_min,
        sync_us_max: sync_us_min + u64::from(draw.between_skewed(1, 15_000)) - 1,
        compact_above: draw.between_skewed(64, 4_096).into(),
        call_timeout_ms: 6 * plan.latency.max_ms + u64::from(draw.between_skewed(50, 1_000)),
        faults: Vec::new(),
    }
}

/// What a holder of these claims does.
fn accesses(claims: &[OpClaim], paths: &BTreeSet<Text>, draw: &mut Draw) -> Vec<AccessPlan> {
    (0..draw.between_skewed(1, 4))
        .map(|_| {
            let claim = &claims[draw.index(claims.len())];
            AccessPlan {
                after_ms: (draw.between_skewed(1, 100) - 1).into(),
                think_ms: (draw.between_skewed(1, 300) - 1).into(),
                key: key(claim, paths, draw),
                reads: !claim.write || draw.chance(1, 8),
            }
        })
        .collect()
}

/// Something that the claim covers: a path that others claim, or none that anybody does.
fn key(claim: &OpClaim, paths: &BTreeSet<Text>, draw: &mut Draw) -> Text {
    let mut below: Vec<Text> = paths
        .iter()
        .filter(|path| Path::parse((*path).clone()).is_ok_and(|key| is_below(&key, &claim.path)))
        .cloned()
        .collect();
    if claim.path != "/" {
        below.push(format!("{}/x", claim.path).into());
    }
    if below.is_empty() {
        return "x".into();
    }
    draw.pick(&below).clone()
}

/// Lets a holder look, and then be away for longer than its lease, while another one comes and
/// writes: it stops to think, its host stops, or its way to the store does.
fn stalk(plan: &mut ServicePlan, draw: &mut Draw) {
    let [late, next] = [0, 1].map(|_| draw.index(plan.clients.len()));
    if late == next || plan.clients[late].namespace != plan.clients[next].namespace {
        return;
    }
    let latency = plan.latency.max_ms;
    let ttl_ms = 4 * latency + u64::from(draw.between_skewed(20, 600));
    let store_dies_twice = draw.chance(1, 4);
    let away_ms = 2 * ttl_ms
        + u64::from(draw.between_skewed(1, 600))
        + if store_dies_twice { 1_000 } else { 0 };
    let at_ms = u64::from(draw.below(u32::try_from(plan.active_ms).unwrap_or(u32::MAX)));
    let attempts = plan.attempts().filter(|one| !one.claims.is_empty());
    let all: Vec<OpClaim> = attempts.flat_map(|one| one.claims.clone()).collect();
    if all.is_empty() {
        return;
    }
    let claim = OpClaim {
        write: true,
        path: draw.pick(&all).path.clone(),
    };
    let key = key(&claim, &BTreeSet::new(), draw);
    let host = plan.clients[late].host;
    let about_granted = at_ms + u64::from(draw.between(1, 6)) * latency;
    let thinks = draw.below(3);
    let think_ms = match thinks {
        0 => away_ms,
        _ => u64::from(draw.between_skewed(1, 50)) + 2 * latency,
    };
    let hold = |accesses, ttl_ms, hold_ms| Attempt {
        at_ms,
        claims: vec![claim.clone()],
        ttl_ms,
        wait: OpWait::Forever,
        cancel_after_ms: None,
        renew: None,
        hold_ms: Some(hold_ms),
        accesses,
    };
    let access = |think_ms, reads| AccessPlan {
        after_ms: 0,
        think_ms,
        key: key.clone(),
        reads,
    };
    let first = hold(vec![access(think_ms, false)], Some(ttl_ms), 2 * away_ms);
    let mut second = hold(
        vec![access(0, draw.chance(1, 4))],
        None,
        u64::from(draw.below(200)),
    );
    second.at_ms += u64::from(draw.below(u32::try_from(2 * latency).unwrap_or(1))) + 1;
    // Healing would end it too early.
    plan.active_ms = plan.active_ms.max(about_granted + away_ms + 1);
    plan.clients[late].attempts.push(first);
    plan.clients[next].attempts.push(second);
    let fault = |kind| StoreFault {
        at_ms: about_granted,
        for_ms: away_ms,
        kind,
    };
    let store = plan.store.as_mut().expect("it was drawn before");
    match thinks {
        0 => {}
        1 => plan.faults.push(Fault {
            at_ms: about_granted,
            for_ms: away_ms,
            kind: FaultKind::Pause {
                place: Place::Host(host),
            },
        }),
        _ => store.faults.push(fault(StoreFaultKind::Hold { host })),
    }
    if store_dies_twice {
        let next_comes = about_granted + ttl_ms + u64::from(draw.between(2, 6)) * latency;
        store.faults.extend(two_deaths(next_comes, draw));
    } else if draw.chance(1, 3) {
        // What the next one had remembered there must be remembered still.
        let kind = *draw.pick(&[StoreFaultKind::Crash, StoreFaultKind::PowerLoss]);
        store.faults.push(StoreFault {
            at_ms: about_granted + ttl_ms + u64::from(draw.below(200)),
            for_ms: draw.between_skewed(1, 100).into(),
            kind,
        });
    }
}

/// The store is killed while it writes down who has come, which its disk makes last; and is gone with
/// its power when it has had the time to believe what it finds of that, and to say so.
fn two_deaths(comes_ms: u64, draw: &mut Draw) -> [StoreFault; 3] {
    let slow = StoreFault {
        at_ms: comes_ms.saturating_sub(100),
        for_ms: 250,
        kind: StoreFaultKind::DiskSlow {
            by_ms: draw.between(50, 200).into(),
        },
    };
    let crash = StoreFault {
        at_ms: comes_ms + u64::from(draw.below(100)),
        for_ms: draw.between_skewed(1, 20).into(),
        kind: StoreFaultKind::Crash,
    };
    let power_loss = StoreFault {
        at_ms: crash.at_ms + crash.for_ms + u64::from(draw.between(50, 500)),
        for_ms: draw.between_skewed(1, 50).into(),
        kind: StoreFaultKind::PowerLoss,
    };
    [slow, crash, power_loss]
}

/// What goes wrong with the store besides.
fn wear(plan: &mut ServicePlan, draw: &mut Draw) {
    let hosts = plan.hosts.len();
    let active_ms = u32::try_from(plan.active_ms).unwrap_or(u32::MAX);
    let store = plan.store.as_mut().expect("it was drawn before");
    let mut weight = |often: u32| {
        if draw.chance(often, 10) {
            draw.between(1, 4)
        } else {
            0
        }
    };
    let often = [4, 3, 4, 4, 7, 4, 7, 2, 2, 3];
    let weights = often.map(&mut weight);
    let count = if draw.chance(1, 6) || weights.iter().all(|weight| *weight == 0) {
        0
    } else {
        draw.between_skewed(1, 16)
    };
    for _ in 0..count {
        let host = draw.index(hosts);
        let kind = match draw.weighted(&weights) {
            0 => {
                let to_store = draw.chance(2, 3);
                StoreFaultKind::Cut {
                    host,
                    to_store,
                    from_store: !to_store || draw.chance(1, 2),
                }
            }
            1 => StoreFaultKind::Hold { host },
            2 => StoreFaultKind::Slow {
                host,
                max_ms: draw.between(100, 600).into(),
            },
            3 => StoreFaultKind::Reset,
            4 => StoreFaultKind::Crash,
            5 => StoreFaultKind::Pause,
            6 => StoreFaultKind::PowerLoss,
            7 => StoreFaultKind::DiskFull,
            8 => StoreFaultKind::DiskFails,
            _ => StoreFaultKind::DiskSlow {
                by_ms: draw.between_skewed(1, 200).into(),
            },
        };
        store.faults.push(StoreFault {
            at_ms: draw.below(active_ms).into(),
            for_ms: draw.between_skewed(1, 1_500).into(),
            kind,
        });
    }
    store.faults.sort_by_key(|fault| fault.at_ms);
    plan.faults.sort_by_key(|fault| fault.at_ms);
}

/// In each namespace, somebody who comes when all is about to heal, gets what all others have had,
/// and writes everywhere: who is fresh must be let in.
fn come_last(plan: &mut ServicePlan, paths: &BTreeSet<Text>) {
    if paths.is_empty() {
        return;
    }
    let namespaces = plan.clients.iter().map(|client| client.namespace.clone());
    let namespaces: BTreeSet<Text> = namespaces.collect();
    let latency = plan.latency.max_ms;
    if let Some(max) = &mut plan.server.connections_max {
        *max += u32::try_from(namespaces.len()).unwrap_or(u32::MAX);
    }
    for namespace in namespaces {
        let last = Attempt {
            at_ms: plan.active_ms - 1,
            claims: vec![OpClaim {
                write: true,
                path: "/".into(),
            }],
            ttl_ms: None,
            wait: OpWait::Forever,
            cancel_after_ms: None,
            renew: None,
            hold_ms: Some(40 * latency + 1_000),
            accesses: paths
                .iter()
                .map(|key| AccessPlan {
                    after_ms: 0,
                    think_ms: 0,
                    key: key.clone(),
                    reads: false,
                })
                .collect(),
        };
        let like = plan.clients[0].clone();
        plan.clients.push(ClientPlan {
            namespace,
            attempts: vec![last],
            closes_at_ms: None,
            ..like
        });
    }
}
