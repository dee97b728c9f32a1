//! Nothing in a snapshot is believed: each thing that cannot be is refused, by what it is.

use crate::common::*;
use lockwright_engine::*;
use serde_json::{Value, json};
use std::num::NonZeroU32;

/// At 100: `s1` is open and attached, `s2` detached until 110. `L1` holds `a/b` and `x`, with a lease
/// until 150; `L2` of `s1` is queued for `a` until 160; `L3` holds `c`; `L4` has ended at 10, `L5` at
/// 20, and `s1` has kept `L0`.
fn good() -> Value {
    let mut world = World::with(Limits {
        retention: span(95),
        ..Limits::default()
    });
    world.open(0, "s1", 10);
    world.open(0, "s2", 10);
    world.wants(1, "s1:L0", "w z");
    world.release(2, "s1:L0");
    world.wants(10, "L4", "w z");
    world.release(10, "L4");
    world.wants(20, "L5", "w z");
    world.release(20, "L5");
    world.leases(50, "L1", "w a/b, w x", 100);
    world.apply(60, &acquire("s1:L2", "w a", None, Wait::For(span(100))));
    world.wants(70, "L3", "r c");
    let detach = Command::Detach {
        session: session("s2"),
    };
    world.apply(100, &detach);
    serde_json::to_value(world.engine.snapshot()).unwrap()
}

fn restored(value: Value) -> Result<Engine, String> {
    let snapshot = serde_json::from_value::<Snapshot>(value).map_err(|e| e.to_string())?;
    let engine = Engine::restore(&snapshot, HashKey::default()).map_err(|e| e.to_string())?;
    engine.check();
    assert_eq!(engine.snapshot(), snapshot);
    Ok(engine)
}

/// Sets what the pointers point to, each in the same copy of the good snapshot, and restores it.
fn with(changes: &[(&str, Value)]) -> Result<Engine, String> {
    let mut value = good();
    for (pointer, new) in changes {
        let place = value.pointer_mut(pointer);
        *place.unwrap_or_else(|| panic!("there is no {pointer}")) = new.clone();
    }
    restored(value)
}

fn refused(why: &str, changes: &[(&str, Value)]) {
    match with(changes) {
        Err(error) => assert!(error.contains(why), "{error}, and not {why}: {changes:?}"),
        Ok(_) => panic!("not refused as {why}: {changes:?}"),
    }
}

fn accepted(changes: &[(&str, Value)]) {
    if let Err(error) = with(changes) {
        panic!("{error}: {changes:?}");
    }
}

/// The good snapshot with one more record in a list.
fn with_one_more(list: &str, record: Value) -> Result<Engine, String> {
    let mut value = good();
    let list = value.pointer_mut(list).and_then(Value::as_array_mut);
    list.expect("it is a list").push(record);
    restored(value)
}

fn one_more_is_refused(why: &str, list: &str, record: Value) {
    let error = with_one_more(list, record).expect_err(why);
    assert!(error.contains(why), "{error}, and not {why}");
}

/// A live request of `o` that reads `c`, and arrived last.
fn one_more_live() -> Value {
    let mut live = good()["live"][2].clone();
    live["id"] = "L9".into();
    live["arrival"] = 5.into();
    live["state"]["held"]["token"] = 1.into();
    live
}

#[test]
fn what_cannot_be_distinguished_from_a_snapshot_is_restored() {
    accepted(&[]);
    assert!(with(&[("/owners", Value::Null)]).is_err());
}

#[test]
fn counters_begin_at_most_at_two_to_the_sixty_second() {
    const MOST: u64 = 1 << 62;
    for counter in ["/next_token", "/next_arrival", "/next_opening"] {
        accepted(&[(counter, MOST.into())]);
        for beyond in [MOST + 1, u64::MAX] {
            refused(
                "a counter that is 0 or beyond 2^62",
                &[(counter, beyond.into())],
            );
        }
    }
    refused("a counter", &[("/next_token", 0.into())]);
}

#[test]
fn engine_time_is_at_most_the_latest() {
    let mut value = serde_json::to_value(World::new().engine.snapshot()).unwrap();
    for (now, fits) in [(MAX_MS, true), (MAX_MS + 1, false), (2 * MAX_MS, false)] {
        value["now"] = now.into();
        let engine = restored(value.clone());
        assert_eq!(engine.is_ok(), fits);
        if let Err(error) = engine {
            assert!(error.contains("a time after the latest"), "{error}");
        }
    }
}

#[test]
fn numbers_stay_below_the_counters_that_gave_them() {
    accepted(&[("/next_arrival", 6.into())]);
    refused("request L3 out of order", &[("/next_arrival", 5.into())]);
    refused("request L1 out of order", &[("/next_arrival", 0.into())]);
    refused("request L3 out of order", &[("/next_token", 5.into())]);
    refused(
        "request L5 out of order",
        &[("/remembered/1/token", 6.into())],
    );
    refused("session s2 out of order", &[("/next_opening", 1.into())]);
    for token in [
        "/live/0/state/held/token",
        "/remembered/0/token",
        "/sessions/0/kept/0/token",
    ] {
        refused("a token of 0", &[(token, 0.into())]);
    }
}

#[test]
fn no_two_locks_have_the_same_token() {
    let token = "/live/0/state/held/token";
    refused("token 5 twice", &[(token, 5.into())]);
    accepted(&[(token, 3.into())]);
}

#[test]
fn live_requests_come_in_the_order_of_arrival() {
    let arrival = "/live/1/arrival";
    refused("request L2 out of order", &[(arrival, 3.into())]);
    refused("request L3 out of order", &[(arrival, 5.into())]);
    refused("request L2 out of order", &[(arrival, 0.into())]);
}

#[test]
fn sessions_come_in_the_order_of_opening() {
    let first = "/sessions/0/opening";
    refused("session s2 out of order", &[(first, 1.into())]);
    refused(
        "out of order",
        &[(first, 1.into()), ("/sessions/1/opening", 0.into())],
    );
}

#[test]
fn what_has_ended_comes_in_the_order_of_its_end() {
    let first = "/remembered/0/at";
    accepted(&[(first, 20.into())]);
    refused("request L5 out of order", &[(first, 21.into())]);
    refused("request L5 out of order", &[(first, 100.into())]);
}

#[test]
fn what_a_session_keeps_comes_in_the_order_of_its_end() {
    let earlier = json!([
        {"owner": 0, "id": "K1", "reason": "released", "at": 3, "token": 1, "digest": 0},
        {"owner": 0, "id": "K2", "reason": "released", "at": 2, "token": 1, "digest": 0},
    ]);
    refused("request K2 out of order", &[("/sessions/0/kept", earlier)]);
}

#[test]
fn nothing_has_happened_in_the_future() {
    let arrived_at = "/live/2/arrived_at";
    accepted(&[(arrived_at, 100.into())]);
    refused("out of order", &[(arrived_at, 101.into())]);
    let granted_at = "/live/2/state/held/granted_at";
    accepted(&[(granted_at, 100.into())]);
    refused("granted in the future", &[(granted_at, 101.into())]);
    for ended_at in ["/remembered/1/at", "/sessions/0/kept/0/at"] {
        accepted(&[(ended_at, 100.into())]);
        refused("ends in the future", &[(ended_at, 101.into())]);
    }
}

#[test]
fn what_is_due_has_happened() {
    for due in [
        "/live/0/state/held/expires",
        "/live/1/state/queued/deadline",
    ] {
        accepted(&[(due, 101.into())]);
        for past in [99, 100] {
            refused("a live request past its deadline", &[(due, past.into())]);
        }
    }
    let ends_at = "/sessions/1/ends_at";
    accepted(&[(ends_at, 101.into())]);
    for past in [99, 100] {
        refused("session s2 past its end", &[(ends_at, past.into())]);
    }
}

#[test]
fn a_ttl_is_never_zero() {
    accepted(&[("/live/0/ttl", 1.into())]);
    refused("a ttl of 0", &[("/live/0/ttl", 0.into())]);
}

#[test]
fn every_owner_is_of_a_namespace_and_there_once_for_something() {
    refused(
        "an owner without a namespace",
        &[("/owners/0/namespace", 1.into())],
    );
    refused(
        "owner s1 of default twice",
        &[("/owners/1", good()["owners"][0].clone())],
    );
    let idle = json!({ "namespace": 0, "owner": { "named": "idle" } });
    one_more_is_refused("an owner of nothing", "/owners", idle);
}

#[test]
fn every_namespace_is_there_once_and_has_an_owner() {
    let why = "a namespace twice, or one without owners";
    one_more_is_refused(why, "/namespaces", "other".into());
    refused(
        why,
        &[
            ("/namespaces", json!(["default", "default"])),
            ("/owners/0/namespace", 1.into()),
        ],
    );
}

#[test]
fn every_node_stands_once_below_one_before_it_or_is_the_root_of_a_namespace() {
    refused(
        "a root without a namespace",
        &[("/nodes/0/root/namespace", 1.into())],
    );
    one_more_is_refused(
        "a root twice",
        "/nodes",
        json!({ "root": { "namespace": 0 } }),
    );
    let parent = "/nodes/1/below/parent";
    for later in [1, 2, 99] {
        refused("a node below none before it", &[(parent, later.into())]);
    }
    refused("node a twice", &[("/nodes/3/below/segment", "a".into())]);
}

#[test]
fn the_segment_of_a_node_is_one() {
    let segment = "/nodes/2/below/segment";
    accepted(&[(segment, "ß".into())]);
    for none in ["", "a/b", "/", "\n"] {
        refused("a node whose path is none", &[(segment, none.into())]);
    }
}

#[test]
fn a_claim_leads_to_every_node() {
    let node = |parent: u32| json!({ "below": { "parent": parent, "segment": "y" } });
    one_more_is_refused("a node that no claim leads to", "/nodes", node(0));
    one_more_is_refused("a node that no claim leads to", "/nodes", node(2));
}

#[test]
fn every_claim_is_on_a_node_of_its_namespace() {
    let why = "a claim on a node that is not there";
    refused(why, &[("/live/0/claims/0/node", 5.into())]);
    // `L3` moves to another namespace, and its claim does not.
    refused(
        why,
        &[
            ("/namespaces", json!(["default", "other"])),
            (
                "/owners",
                json!([
                    { "namespace": 0, "owner": { "session": "s1" } },
                    { "namespace": 0, "owner": { "session": "s2" } },
                    { "namespace": 0, "owner": { "named": "o" } },
                    { "namespace": 1, "owner": { "named": "o" } },
                ]),
            ),
            ("/live/2/owner", 3.into()),
        ],
    );
}

#[test]
fn no_claim_of_a_request_covers_another() {
    let why = "a claim that another one covers";
    let claims = "/live/2/claims";
    let claim = |mode: &str, node: u32| json!({ "mode": mode, "node": node });
    for covered in ["read", "write"] {
        refused(
            why,
            &[(claims, json!([claim("write", 4), claim(covered, 4)]))],
        );
        refused(
            why,
            &[(claims, json!([claim(covered, 4), claim("write", 4)]))],
        );
    }
    refused(
        why,
        &[(claims, json!([claim("read", 4), claim("read", 4)]))],
    );
    // Above: `r /` covers `r c`, and not `w c`.
    let without_the_others = |claims: Value| {
        let mut value = good();
        value["live"] = json!([good()["live"][2]]);
        value["nodes"] = json!([
            { "root": { "namespace": 0 } },
            { "below": { "parent": 0, "segment": "c" } },
            { "below": { "parent": 1, "segment": "d" } },
        ]);
        value["live"][0]["claims"] = claims;
        restored(value)
    };
    let covered = |claims: Value| without_the_others(claims).unwrap_err().contains(why);
    for top in [0, 1] {
        assert!(covered(json!([claim("read", top), claim("read", 2)])));
        assert!(covered(json!([claim("read", 2), claim("read", top)])));
        assert!(covered(json!([claim("write", top), claim("read", 2)])));
        assert!(covered(json!([claim("write", top), claim("write", 2)])));
        assert!(without_the_others(json!([claim("read", top), claim("write", 2)])).is_ok());
    }
}

#[test]
fn who_is_live_has_claims() {
    refused(
        "a live request without claims",
        &[("/live/2/claims", json!([]))],
    );
}

#[test]
fn who_is_live_has_not_ended() {
    let over = json!({"ended": {"reason": "released", "at": 10, "token": 1}});
    refused("a live request that has ended", &[("/live/2/state", over)]);
}

#[test]
fn who_waits_waits_for_somebody_and_who_holds_waits_for_nobody() {
    let why = "waits for nothing, or holds what it may not";
    let queued = json!({ "queued": { "deadline": 160 } });
    refused(why, &[("/live/2/state", queued)]);
    let held = json!({ "held": { "token": 1, "granted_at": 60, "expires": null } });
    refused(why, &[("/live/1/state", held)]);
}

#[test]
fn every_request_is_of_an_owner_and_there_once() {
    refused("a request without an owner", &[("/live/0/owner", 3.into())]);
    refused("request L1 twice", &[("/live/2/id", "L1".into())]);
    refused("request L4 twice", &[("/remembered/1/id", "L4".into())]);
    // The same id of another owner is another request.
    accepted(&[("/live/2/id", "L2".into())]);
    let error = with_one_more("/live", one_more_live()).unwrap_err();
    assert!(error.contains("request L9 out of order"), "{error}");
}

#[test]
fn a_session_is_of_an_owner_that_is_one_and_open_once() {
    refused(
        "a session without an owner",
        &[("/sessions/1/owner", 3.into())],
    );
    refused(
        "a session whose owner is none",
        &[("/sessions/1/owner", 2.into())],
    );
    refused("session s1 twice", &[("/sessions/1/owner", 0.into())]);
}

#[test]
fn a_live_request_is_of_nobody_whose_session_is_over() {
    let mut value = good();
    value["sessions"].as_array_mut().unwrap().remove(0);
    let error = restored(value).unwrap_err();
    assert!(error.contains("a session that is over"), "{error}");
}

#[test]
fn a_session_keeps_only_its_own_requests() {
    let why = "a request that is kept by a session of another";
    refused(why, &[("/sessions/0/kept/0/owner", 2.into())]);
    refused(why, &[("/sessions/0/kept/0/owner", 1.into())]);
}

#[test]
fn what_was_queued_counts_for_the_limits_of_a_restored_engine() {
    let mut value = good();
    value["limits"]["queued_requests_per_path"] = 2.into();
    let mut world = World {
        engine: restored(value).unwrap(),
    };
    assert_eq!(world.wants(100, "L6", "w a"), ["100 queued L6"]);
    assert_eq!(world.wants(100, "L7", "w a"), ["100 limit_exceeded"]);
    assert_eq!(world.cancel(100, "L6"), ["100 cancelled L6"]);
    assert_eq!(world.wants(100, "L7", "w a"), ["100 queued L7"]);
    assert_eq!(world.engine.usage().remembered_requests, 4);
}

#[test]
fn what_is_beyond_lower_limits_stays() {
    let before: Snapshot = serde_json::from_value(good()).unwrap();
    let limits = Limits {
        claims_per_request: 1,
        segments_per_path: 1,
        bytes_per_segment: 1,
        queued_requests_per_path: 0,
        locks_per_owner: 0,
        sessions: 0,
        namespaces: 0,
        retention: span(0),
        session_ends_per_ms: NonZeroU32::MIN,
    };
    let lowered = before.with_limits(limits.clone());
    let engine = Engine::restore(&lowered, HashKey::default()).unwrap();
    engine.check();
    assert_eq!(engine.usage().live_requests, 3);
    assert_eq!(engine.limits(), &limits);
    let mut world = World { engine };
    assert_eq!(world.wants(100, "L6", "w k"), ["100 limit_exceeded"]);
}

#[test]
fn the_end_of_a_session_goes_on_in_the_next_millisecond() {
    let (life, ends_at) = ("/sessions/1/life", "/sessions/1/ends_at");
    accepted(&[(life, "ending".into()), (ends_at, 101.into())]);
    for at in [Value::Null, 102.into(), 110.into(), (2 * MAX_MS).into()] {
        refused(
            "session s2 whose end does not go on",
            &[(life, "ending".into()), (ends_at, at)],
        );
    }
    refused(
        "past its end",
        &[(life, "ending".into()), (ends_at, 100.into())],
    );
    refused(
        "session s1 whose end does not go on",
        &[("/sessions/0/life", "ending".into())],
    );
    refused("nonzero", &[("/limits/session_ends_per_ms", 0.into())]);
}

#[test]
fn only_a_request_of_an_ending_session_waits_for_nothing() {
    let mut world = World::with(Limits {
        session_ends_per_ms: NonZeroU32::MIN,
        ..Limits::default()
    });
    world.open(0, "s1", 10);
    world.wants(0, "s1:L1", "w a");
    world.wants(0, "s1:L2", "w b");
    world.wants(0, "s1:L3", "w a");
    world.wants(0, "M", "w a");
    let close = Command::CloseSession {
        session: session("s1"),
    };
    world.apply(5, &close);
    let ending = serde_json::to_value(world.engine.snapshot()).unwrap();
    assert!(restored(ending.clone()).is_ok());
    let mut open = ending.clone();
    open["sessions"][0]["life"] = "open".into();
    let error = restored(open).expect_err("what is open is granted");
    assert!(
        error.contains("a request that waits for nothing"),
        "{error}"
    );
    // Nothing is live of one that has ended.
    let mut ended = ending.clone();
    ended["sessions"][0]["life"] = "ended".into();
    let error = restored(ended).expect_err("it left nothing");
    assert!(error.contains("has ended and left nothing"), "{error}");
    let mut value = good();
    value["sessions"][0]["life"] = "ended".into();
    value["sessions"][0]["ends_at"] = 101.into();
    let error = restored(value).expect_err("it has a live request");
    assert!(
        error.contains("a live request of a session that is over"),
        "{error}"
    );
    // Nor does it hold what it may not.
    let mut held = ending;
    held["live"][2]["state"] = held["live"][0]["state"].clone();
    held["live"][2]["state"]["held"]["token"] = 1.into();
    let error = restored(held).expect_err("another one is in the way");
    assert!(error.contains("holds what it may not"), "{error}");
}
