//! Plans of profiles `service`, `fencing` and `cluster`, told to a person: the world, the clients, and then all that they
//! try and all that goes wrong, in the order of time.

use super::{breaker, cluster, http, store};
use lockwright_sim::op::{OpClaim, OpWait};
use lockwright_sim::plan::{
    Attempt, ClockPlan, Fault, FaultKind, Place, RenewPlan, ServicePlan, Stranger, WatcherPlan,
};

/// A plan, a line for each thing in it.
pub(super) fn of_service(plan: &ServicePlan) -> Vec<String> {
    let mut lines = Vec::new();
    if !plan.shape.is_empty() {
        lines.push(format!("drawn as: {}", plan.shape));
    }
    let latency = plan.latency;
    lines.push(if latency.min_ms == latency.max_ms {
        format!("every message takes {} ms", latency.min_ms)
    } else {
        format!(
            "a message takes {} to {} ms",
            latency.min_ms, latency.max_ms
        )
    });
    lines.push(of_server(plan));
    lines.extend(plan.store.as_ref().map(store::of_store));
    lines.extend(plan.cluster.iter().flat_map(cluster::of_cluster));
    for (index, clock) in plan.hosts.iter().enumerate() {
        if *clock != ClockPlan::default() {
            lines.push(format!("host {index}{}", of_clock(clock)));
        }
    }
    for (index, client) in plan.clients.iter().enumerate() {
        let namespace = &client.namespace;
        lines.push(format!(
            "client {index} on host {} in {namespace}: abandoned after {} ms, a sign of life \
             every {} ms, {} ms for an answer",
            client.host, client.abandon_ms, client.keep_alive_ms, client.call_timeout_ms
        ));
    }
    let mut events = events(plan);
    events.sort_by_key(|(at_ms, _)| *at_ms);
    lines.extend(
        events
            .into_iter()
            .map(|(at_ms, what)| format!("{at_ms:>8} ms  {what}")),
    );
    lines
}

fn of_server(plan: &ServicePlan) -> String {
    let server = &plan.server;
    let who = match plan.cluster {
        Some(_) => "each node",
        None => "the server",
    };
    let mut line = format!(
        "{who} gives up who is silent for {} ms",
        server.idle_timeout_ms
    );
    if let Some(max) = server.connections_max {
        line += &format!(", takes {max} connections");
    }
    if !server.limits.is_empty() {
        let limits = serde_json::to_string(&server.limits).unwrap_or_default();
        line += &format!(", has the limits {limits}");
    }
    match server.disk {
        Some(disk) => {
            line += &format!(
                ", has a disk that takes {} to {} us to sync, takes a snapshot after {} entries",
                disk.sync_us_min, disk.sync_us_max, disk.snapshot_entries
            );
            if let Some(bytes) = disk.log_segment_bytes {
                line += &format!(", begins a file of its log after {bytes} bytes");
            }
        }
        None if plan.cluster.is_some() => {}
        None => line += ", keeps everything in memory",
    }
    line + &of_clock(&server.clock)
}

/// How a clock differs from a perfect one; nothing if it does not.
pub(super) fn of_clock(clock: &ClockPlan) -> String {
    let mut text = String::new();
    if clock.offset_ms != 0 {
        text += &format!(", its clock starts at {} ms", clock.offset_ms);
    }
    if clock.drift_ppm != 0 {
        let (by, how) = (
            clock.drift_ppm.abs(),
            if clock.drift_ppm > 0 { "fast" } else { "slow" },
        );
        text += &format!(", its clock is {by} millionths {how}");
    }
    for jump in &clock.jumps {
        text += &format!(
            ", its clock leaps by {} ms at {} ms",
            jump.by_ms, jump.at_ms
        );
    }
    text
}

/// What happens when, in no order.
fn events(plan: &ServicePlan) -> Vec<(u64, String)> {
    let mut events = Vec::new();
    for (index, client) in plan.clients.iter().enumerate() {
        for (number, attempt) in client.attempts.iter().enumerate() {
            let what = of_attempt(attempt);
            // As the history calls it, at its host's first start.
            events.push((attempt.at_ms, format!("c{index}-{number}-1: {what}")));
        }
        if let Some(at_ms) = client.closes_at_ms {
            events.push((at_ms, format!("client {index} closes its session")));
        }
    }
    events.extend(
        plan.faults
            .iter()
            .map(|fault| (fault.at_ms, of_fault(fault))),
    );
    let of_store = plan.store.iter().flat_map(|store| &store.faults);
    events.extend(of_store.map(|fault| (fault.at_ms, store::of_fault(fault))));
    let of_cluster = plan.cluster.iter().flat_map(|one| &one.faults);
    events.extend(of_cluster.map(|fault| (fault.at_ms, cluster::of_fault(fault))));
    let operator = plan.cluster.iter().filter_map(|one| one.operator.as_ref());
    let steps = operator.flat_map(|one| &one.steps);
    events.extend(steps.map(|step| (step.at_ms, cluster::of_step(*step))));
    events.extend(plan.strangers.iter().map(of_stranger));
    let of_watcher = |watcher| of_watcher(watcher, plan.nodes());
    events.extend(plan.watchers.iter().map(of_watcher));
    let breakers = plan.breakers.iter().enumerate();
    events
        .extend(breakers.map(|(index, breaker)| breaker::of_breaker(index, breaker, plan.nodes())));
    let http = plan.http.iter().enumerate();
    events.extend(http.map(|(index, attempt)| (attempt.at_ms, http::of_attempt(index, attempt))));
    events.push((
        plan.active_ms,
        "everything heals, and all must end".to_owned(),
    ));
    events
}

fn of_attempt(attempt: &Attempt) -> String {
    let mut text = format!("asks for {}", of_claims(&attempt.claims));
    if let Some(ttl_ms) = attempt.ttl_ms {
        text += &format!(", a lease of {ttl_ms} ms");
    }
    text += &of_wait(attempt.wait);
    if let Some(ms) = attempt.cancel_after_ms {
        text += &format!(", gives up after {ms} ms");
    }
    text += &of_hold(attempt.renew, attempt.hold_ms);
    let accesses = attempt.accesses.iter().map(store::of_access);
    accesses.fold(text, |text, access| text + "; " + &access)
}

/// For what.
pub(super) fn of_claims(claims: &[OpClaim]) -> String {
    let claims: Vec<String> = claims.iter().map(ToString::to_string).collect();
    claims.join(" and ")
}

/// How long somebody waits, after a comma.
pub(super) fn of_wait(wait: OpWait) -> String {
    match wait {
        OpWait::No => ", at once or not at all".to_owned(),
        OpWait::For(ms) => format!(", waiting up to {ms} ms"),
        OpWait::Forever => String::new(),
    }
}

/// What a holder does, after a comma.
pub(super) fn of_hold(renew: Option<RenewPlan>, hold_ms: Option<u64>) -> String {
    let renews = renew.map(|RenewPlan { every_ms, ttl_ms }| {
        format!(", renews for {ttl_ms} ms every {every_ms} ms")
    });
    let releases = match hold_ms {
        Some(ms) => format!(", releases {ms} ms after the grant"),
        None => ", never releases".to_owned(),
    };
    renews.unwrap_or_default() + &releases
}

fn of_fault(fault: &Fault) -> String {
    let for_ms = fault.for_ms.max(1);
    match fault.kind {
        FaultKind::Cut {
            host,
            to_server,
            from_server,
        } => {
            let way = match (to_server, from_server) {
                (true, false) => format!("from host {host} to the server"),
                (false, true) => format!("from the server to host {host}"),
                _ => format!("between host {host} and the server"),
            };
            format!("messages {way} get lost for {for_ms} ms")
        }
        FaultKind::Hold { host } => {
            format!("messages between host {host} and the server are held back for {for_ms} ms")
        }
        FaultKind::Slow { host, max_ms } => format!(
            "messages between host {host} and the server take up to {max_ms} ms, for {for_ms} ms"
        ),
        FaultKind::Reset { place } => format!("all connections of {} break", of_place(place)),
        FaultKind::Crash { place } => {
            format!(
                "{} dies, and starts again after {for_ms} ms",
                of_place(place)
            )
        }
        FaultKind::Pause { place } => {
            format!("{} computes nothing for {for_ms} ms", of_place(place))
        }
        FaultKind::PowerLoss => {
            format!("the server's host loses its power, and has it again after {for_ms} ms")
        }
        FaultKind::DiskFull => format!("the server's disk is full for {for_ms} ms"),
        FaultKind::DiskFails => format!("the server's disk fails to sync for {for_ms} ms"),
        FaultKind::DiskSlow { by_ms } => {
            format!("each sync of the server's disk takes {by_ms} ms longer, for {for_ms} ms")
        }
        FaultKind::Drain => format!(
            "the server is told to stop when no locks are held any more, and starts again after \
             {for_ms} ms, or when it has stopped"
        ),
        FaultKind::LogLoss { kept } => {
            let lost = match kept {
                None => "the newest segment of its log is gone".to_owned(),
                Some(kept) => format!("its newest segment is cut to {kept} thousandths"),
            };
            format!("the server is told to stop for {for_ms} ms, and meanwhile {lost}")
        }
    }
}

fn of_place(place: Place) -> String {
    match place {
        Place::Server => "the server".to_owned(),
        Place::Host(host) => format!("host {host}"),
    }
}

fn of_stranger(stranger: &Stranger) -> (u64, String) {
    let (host, what) = (stranger.host, stranger.what);
    let text = format!("a stranger on host {host} tries: {what}");
    (stranger.at_ms, text)
}

fn of_watcher(watcher: &WatcherPlan, nodes: usize) -> (u64, String) {
    let WatcherPlan {
        at_ms,
        for_ms,
        host,
        node,
        namespace,
        prefix,
    } = watcher;
    let node = node % nodes.max(1);
    let text = format!(
        "a watcher on host {host} asks node {node} what happens at and below {prefix} in {namespace}, for \
         {for_ms} ms"
    );
    (*at_ms, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_store_is_told_of() {
        let plan: ServicePlan = serde_json::from_value(json!({
            "seed": 7, "active_ms": 500,
            "latency": {"min_ms": 1, "max_ms": 1, "curve_tenths": 10},
            "server": {"idle_timeout_ms": 200},
            "hosts": [{}],
            "clients": [{
                "host": 0, "namespace": "default",
                "abandon_ms": 90, "keep_alive_ms": 30, "call_timeout_ms": 60,
                "attempts": [{
                    "at_ms": 20, "claims": ["w a"], "wait": "forever", "hold_ms": 70,
                    "accesses": [
                        {"after_ms": 3, "think_ms": 40, "key": "a/b"},
                        {"after_ms": 0, "think_ms": 0, "key": "a", "reads": true},
                    ],
                }],
            }],
            "store": {
                "checked": false, "sync_us_min": 1, "sync_us_max": 5, "compact_above": 64,
                "call_timeout_ms": 50,
                "faults": [{"at_ms": 10, "for_ms": 30, "kind": "power_loss"}],
            },
        }))
        .expect("it is a plan");
        assert_eq!(
            of_service(&plan)[1..],
            [
                "the server gives up who is silent for 200 ms, keeps everything in memory",
                "the store does not check tokens",
                "client 0 on host 0 in default: abandoned after 90 ms, a sign of life every 30 ms, 60 ms for an answer",
                "      10 ms  the store's host loses its power, and has it again after 30 ms",
                "      20 ms  c0-0-1: asks for w a, releases 70 ms after the grant; looks 3 ms after the grant, and 40 ms later goes to write a/b; looks 0 ms after the grant, and 0 ms later goes to read a",
                "     500 ms  everything heals, and all must end",
            ]
        );
    }

    #[test]
    fn a_plan_is_told_in_the_order_of_time() {
        let plan: ServicePlan = serde_json::from_value(json!({
            "seed": 7, "active_ms": 500,
            "latency": {"min_ms": 1, "max_ms": 9, "curve_tenths": 10},
            "server": {"idle_timeout_ms": 200, "clock": {"drift_ppm": -5}},
            "hosts": [{}],
            "clients": [{
                "host": 0, "namespace": "default",
                "abandon_ms": 90, "keep_alive_ms": 30, "call_timeout_ms": 60,
                "attempts": [
                    {"at_ms": 20, "claims": ["w a", "r b"], "wait": "forever", "ttl_ms": 70},
                    {"at_ms": 5, "claims": ["r /"], "wait": 10, "hold_ms": 0},
                ],
            }],
            "faults": [{"at_ms": 10, "for_ms": 30, "kind": {"pause": {"place": "server"}}}],
            "strangers": [{"at_ms": 15, "host": 0, "what": "silence"}],
            "http": [{
                "at_ms": 17, "host": 0, "holder": "bob", "namespace": "n1", "claims": ["w a/b"],
                "by_path": true, "ttl_ms": 60, "wait": 30, "patience_ms": 40, "retries": 2,
                "twice": true, "renew": {"every_ms": 4, "ttl_ms": 6}, "hold_ms": 9, "again_ms": 8,
                "mistakes": [{"after_ms": 3, "claims": ["r c"], "twice": true}],
            }],
        }))
        .expect("it is a plan");
        assert_eq!(
            of_service(&plan),
            [
                "a message takes 1 to 9 ms",
                "the server gives up who is silent for 200 ms, keeps everything in memory, its clock is 5 millionths slow",
                "client 0 on host 0 in default: abandoned after 90 ms, a sign of life every 30 ms, 60 ms for an answer",
                "       5 ms  c0-1-1: asks for r /, waiting up to 10 ms, releases 0 ms after the grant",
                "      10 ms  the server computes nothing for 30 ms",
                "      15 ms  a stranger on host 0 tries: connect and say nothing",
                "      17 ms  h0-1: bob on host 0 asks over HTTP for w a/b in n1, a lease of 60 ms, by its path, waiting up to 30 ms, on two connections at once, hangs up after 40 ms, asks again up to 2 times, renews for 6 ms every 4 ms, releases 9 ms after the grant, and once more 8 ms later, asks with its id for r c 3 ms after the grant, on two connections at once",
                "      20 ms  c0-0-1: asks for w a and r b, a lease of 70 ms, never releases",
                "     500 ms  everything heals, and all must end",
            ]
        );
    }
}
