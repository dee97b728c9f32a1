//! Saving, restoring, and asking.

use crate::common::*;
use lockwright_engine::*;

fn busy_world() -> World {
    let mut world = World::new();
    world.open(0, "s1", 10);
    world.open(0, "s2", 0);
    world.wants(0, "s1:L1", "w a, r b/c");
    world.release(0, "s1:L1");
    world.wants(1, "s1:L2", "r a, w a/b/c");
    world.leases(2, "L3", "w a/b", 100);
    world.wants(3, "s2:L4", "r /");
    world.leases(4, "L5", "w z", 9);
    world.tick(60_005);
    world.apply(60_006, &acquire("L6", "w b", None, Wait::For(span(50))));
    world.leases(60_007, "L7", "r q", 80);
    world.apply(
        60_008,
        &Command::Detach {
            session: session("s1"),
        },
    );
    world
}

#[test]
fn a_restored_engine_is_equal_and_goes_on_equally() {
    let mut world = busy_world();
    let snapshot = world.engine.snapshot();
    let restored = Engine::restore(&snapshot, HashKey([7, 9])).unwrap();
    restored.check();
    assert!(restored == world.engine);
    assert_eq!(restored.usage(), world.engine.usage());
    let mut other = World { engine: restored };
    for at in 60_008..60_200 {
        assert_eq!(world.tick(at), other.tick(at));
    }
    assert_eq!(
        world.wants(60_200, "L8", "w a"),
        other.wants(60_200, "L8", "w a")
    );
    assert!(other.engine == world.engine);
}

#[test]
fn a_snapshot_that_cannot_be_is_refused() {
    let world = busy_world();
    let good = serde_json::to_value(world.engine.snapshot()).unwrap();
    let restore = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = good.clone();
        change(&mut value);
        let snapshot = serde_json::from_value::<Snapshot>(value).map_err(|e| e.to_string())?;
        Engine::restore(&snapshot, HashKey::default()).map_err(|e| e.to_string())
    };
    assert!(restore(&|_| {}).is_ok());
    assert!(restore(&|v| v["next_token"] = 1.into()).is_err());
    for counter in ["next_token", "next_arrival", "next_opening"] {
        assert!(restore(&|v| v[counter] = u64::MAX.into()).is_err());
    }
    assert!(restore(&|v| v["live"][0]["state"]["held"]["token"] = 0.into()).is_err());
    assert!(restore(&|v| v["live"][0]["state"]["held"]["granted_at"] = 60_009.into()).is_err());
    assert!(restore(&|v| v["live"][0]["arrived_at"] = 60_009.into()).is_err());
    assert!(restore(&|v| v["live"][0]["ttl"] = 0.into()).is_err());
    assert!(restore(&|v| v["next_arrival"] = 1.into()).is_err());
    assert!(restore(&|v| v["next_opening"] = 0.into()).is_err());
    assert!(restore(&|v| v["live"][0] = v["live"][1].clone()).is_err());
    assert!(restore(&|v| v["live"][0]["claims"] = serde_json::json!([])).is_err());
    assert!(restore(&|v| v["sessions"] = serde_json::json!([])).is_err());
    assert!(restore(&|v| v["now"] = 70_000.into()).is_err());
    assert!(restore(&|v| v["live"].as_array_mut().unwrap().reverse()).is_err());
}

#[test]
fn the_longest_lease_survives_a_snapshot() {
    let mut world = World::new();
    world.leases(1, "L1", "w a", MAX_MS);
    world.apply(1, &acquire("L2", "w a", None, Wait::For(span(MAX_MS))));
    let text = serde_json::to_string(&world.engine.snapshot()).unwrap();
    let snapshot: Snapshot = serde_json::from_str(&text).unwrap();
    let restored = Engine::restore(&snapshot, HashKey::default()).unwrap();
    assert!(restored == world.engine);
    assert!(World { engine: restored }.tick(MAX_MS).is_empty());
}

#[test]
fn equal_engines_serialize_equally_whatever_their_hash_key() {
    let text = |engine: &Engine| serde_json::to_string(&engine.snapshot()).unwrap();
    let one = busy_world().engine;
    let two = Engine::restore(&one.snapshot(), HashKey([1, 2])).unwrap();
    assert_eq!(text(&one), text(&two));
}

#[test]
fn engines_that_were_told_different_things_are_not_equal() {
    let told = |command: &Command| {
        let mut world = busy_world();
        world.apply(60_008, command);
        world.engine
    };
    let same = told(&Command::Tick);
    assert!(same == busy_world().engine);
    let others = [
        told(&acquire("L8", "r q", None, Wait::Forever)),
        told(&Command::Cancel { lock: key("L6") }),
        told(&Command::KeepAlive {
            session: session("s3"),
        }),
        told(&Command::Attach {
            session: session("s1"),
        }),
    ];
    let differ = others.each_ref().map(|other| *other != same);
    // Nothing was changed by the sign of life of a session that is not open.
    assert_eq!(differ, [true, true, false, true]);
}

#[test]
fn a_question_about_a_path_finds_what_overlaps_it() {
    let mut world = World::new();
    world.wants(0, "L1", "w a/b");
    world.wants(0, "L2", "r a");
    world.wants(0, "L3", "r a/c, r x");
    world.wants(0, "L4", "w y");
    let ids = |locks: Vec<LockInfo>| -> Vec<String> {
        locks.iter().map(|lock| lock.key.id.to_string()).collect()
    };
    let path = |text: &str| Path::parse(text).unwrap();
    let default = name("default");
    assert_eq!(
        ids(world.engine.overlapping(&default, &path("/"))),
        ["L1", "L2", "L3", "L4"]
    );
    assert_eq!(
        ids(world.engine.overlapping(&default, &path("a/b/z"))),
        ["L1", "L2"]
    );
    assert_eq!(
        ids(world.engine.overlapping(&default, &path("a/c"))),
        ["L2", "L3"]
    );
    assert_eq!(
        ids(world.engine.holders(&default, &path("a"))),
        ["L1", "L3"]
    );
    assert_eq!(ids(world.engine.queue(&default, &path("a"))), ["L2"]);
    assert!(
        world
            .engine
            .overlapping(&name("other"), &path("/"))
            .is_empty()
    );
}

#[test]
fn pages_go_on_where_the_last_one_ended_even_if_that_lock_has_ended() {
    let mut world = World::new();
    for n in 0..25 {
        let wanted = if n % 3 == 0 {
            format!("r p, w q{n}")
        } else {
            format!("w p/{n}/x")
        };
        world.wants(0, &format!("L{n}"), &wanted);
    }
    world.wants(0, "elsewhere", "w z");
    let prefix = Path::parse("p").unwrap();
    let (mut seen, mut from) = (Vec::new(), None);
    loop {
        let page = world.engine.locks_under(&name("default"), &prefix, from, 4);
        seen.extend(page.locks.iter().map(|lock| lock.key.id.to_string()));
        let Some(next) = page.next else { break };
        from = Some(next);
        if seen.len() == 8 {
            assert_eq!(seen.last().unwrap(), "L7");
            world.cancel(1, "L7");
            world.cancel(1, "L8");
        }
    }
    let expected: Vec<String> = (0..25)
        .filter(|n| *n != 8)
        .map(|n| format!("L{n}"))
        .collect();
    assert_eq!(seen, expected);
}
