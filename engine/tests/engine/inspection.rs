//! What can be asked of the engine, and of many things at once.

use crate::common::*;
use lockwright_engine::*;

fn ids(locks: &[LockInfo]) -> Vec<&str> {
    locks.iter().map(|lock| lock.key.id.as_str()).collect()
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

#[test]
fn an_engine_tells_the_limits_that_it_was_given() {
    let limits = Limits {
        sessions: 7,
        ..Limits::default()
    };
    assert_eq!(World::with(limits.clone()).engine.limits(), &limits);
}

#[test]
fn sessions_are_listed_in_the_order_of_opening_with_their_locks_in_arrival_order() {
    let mut world = World::new();
    world.open(0, "s2", 10);
    world.open(0, "s1", 10);
    world.wants(1, "s1:L1", "w a");
    world.wants(2, "s2:L2", "w a");
    world.wants(3, "s2:L3", "r b");
    world.wants(4, "s2:L4", "r c");
    world.release(4, "s2:L3");
    let detach = Command::Detach {
        session: session("s2"),
    };
    world.apply(5, &detach);
    let engine = &world.engine;
    let info = |text: &str, ends_at: Option<u64>, live_requests| SessionInfo {
        key: session(text),
        ends_at: ends_at.map(ms),
        abandon: DurationMs::new(10).unwrap(),
        live_requests,
    };
    let open = [info("s2", Some(15), 2), info("s1", None, 1)];
    assert_eq!(engine.sessions().collect::<Vec<_>>(), open);
    for info in &open {
        assert_eq!(engine.session_info(&info.key).as_ref(), Some(info));
    }
    assert_eq!(engine.session_info(&session("s3")), None);
    let locks: Vec<LockInfo> = engine.session_locks(&session("s2")).collect();
    assert_eq!(ids(&locks), ["L2", "L4"]);
    assert_eq!(locks[0].state, LockState::Queued { deadline: None });
    assert_eq!(locks[0].arrived_at, ms(2));
    assert_eq!(locks[1].claims, claims("r c"));
    assert_eq!(engine.session_locks(&session("s3")).next(), None);
}

#[test]
fn namespaces_in_use_are_listed_by_name() {
    let mut world = World::new();
    assert_eq!(world.engine.namespaces(), []);
    for (at, namespace) in ["north", "east", "south"].into_iter().enumerate() {
        let mut lock = key("L1");
        lock.namespace = name(namespace);
        let acquire = Command::Acquire {
            lock: lock.clone(),
            claims: claims("w a"),
            ttl: None,
            wait: Wait::No,
        };
        assert_eq!(world.apply(0, &acquire).len(), 1);
        if namespace == "east" {
            let token = Token(at as u64 + 1);
            world.apply(0, &Command::Release { lock, token });
        }
    }
    let names = ["east", "north", "south"].map(name);
    assert_eq!(world.engine.namespaces(), names);
    // What ended is remembered until its retention has passed, and keeps its namespace in use.
    world.tick(60_000);
    assert_eq!(world.engine.namespaces(), names[1..]);
}

#[test]
fn usage_counts_each_thing_in_use_and_an_idle_engine_uses_nothing() {
    let mut world = World::new();
    assert!(world.engine.usage().is_zero());
    world.open(0, "s1", 10);
    world.leases(0, "L1", "w a/b", 100);
    world.wants(0, "L2", "r a");
    world.wants(0, "s1:L3", "w x, r y");
    world.release(0, "s1:L3");
    world.wants(0, "L4", "w z");
    world.release(0, "L4");
    let usage = Usage {
        live_requests: 2,
        remembered_requests: 2,
        nodes: 3,
        entries: 5,
        owners: 2,
        sessions: 1,
        namespaces: 1,
        deadlines: 1,
    };
    assert_eq!(world.engine.usage(), usage);
    assert!(!usage.is_zero());
    // The session's request is remembered with it beyond the retention.
    world.tick(60_000);
    let usage = Usage {
        live_requests: 1,
        remembered_requests: 2,
        nodes: 2,
        entries: 2,
        deadlines: 0,
        ..usage
    };
    assert_eq!(world.engine.usage(), usage);
    world.release(60_000, "L2");
    let close = Command::CloseSession {
        session: session("s1"),
    };
    world.apply(60_000, &close);
    world.tick(120_000);
    assert!(world.engine.usage().is_zero());
    assert_eq!(world.engine.usage(), Usage::default());
}

/// Wherever its places point: the lists change between two pages, and places are used again.
#[test]
fn a_page_starts_after_the_last_request_of_the_one_before_whatever_its_cursor_points_to() {
    let mut world = World::new();
    let wanted = [
        "r p", "w p/x", "r q", "r p/x", "w q/x", "r p", "w p", "r p/y", "w q", "r q/y", "w p/z",
        "w p", "r p", "w p/x", "r q", "r p/z", "w q",
    ];
    for (n, wanted) in wanted.iter().enumerate() {
        world.wants(0, &format!("L{n}"), wanted);
    }
    let entries = u32::try_from(world.engine.usage().entries).unwrap();
    let under_p = |n: &usize| wanted[*n].starts_with("r p") || wanted[*n].starts_with("w p");
    for after in 0..wanted.len() {
        let expected: Vec<String> = (after + 1..wanted.len())
            .filter(under_p)
            .map(|n| format!("L{n}"))
            .collect();
        for place in 0..entries + 2 {
            let cursor = serde_json::json!({ "after": after, "places": vec![place; 4] });
            let cursor: Cursor = serde_json::from_value(cursor).unwrap();
            let page = world
                .engine
                .locks_under(&name("default"), &path("p"), Some(cursor), 100);
            assert_eq!(ids(&page.locks), expected, "after {after}, place {place}");
            assert_eq!(page.next, None);
        }
    }
}

#[test]
fn a_page_has_at_least_one_lock_and_the_last_one_leads_nowhere() {
    let mut world = World::new();
    world.wants(0, "L1", "w a/b, r a/c");
    world.wants(0, "L2", "r a");
    let default = name("default");
    let first = world.engine.locks_under(&default, &path("a"), None, 0);
    assert_eq!(ids(&first.locks), ["L1"]);
    let last = world
        .engine
        .locks_under(&default, &path("a"), first.next, 1);
    assert_eq!((ids(&last.locks), last.next), (vec!["L2"], None));
    let nowhere = Page {
        locks: Vec::new(),
        next: None,
    };
    let at = |namespace: &str, text: &str| {
        world
            .engine
            .locks_under(&name(namespace), &path(text), None, 9)
    };
    assert_eq!(at("default", "a/b/c"), nowhere);
    assert_eq!(at("default", "b"), nowhere);
    assert_eq!(at("other", "/"), nowhere);
}

/// So many that in a hash table each is compared with others.
#[test]
fn thousands_of_namespaces_owners_ids_and_paths_are_never_mixed_up() {
    const EACH: usize = 16;
    let mut world = World::new();
    let keys: Vec<LockKey> = (0..EACH * EACH * EACH)
        .map(|n| LockKey {
            namespace: name(&format!("n{}", n / EACH / EACH)),
            owner: Owner::Named(name(&format!("o{}", n / EACH % EACH))),
            id: name(&format!("L{}", n % EACH)),
        })
        .collect();
    let path_of = |n: usize| path(&format!("{}/{}", n / EACH % EACH, n % EACH));
    for (n, key) in keys.iter().enumerate() {
        let acquire = Command::Acquire {
            lock: key.clone(),
            claims: vec![Claim::write(path_of(n))],
            ttl: None,
            wait: Wait::No,
        };
        let mut events = Vec::new();
        let reply = world.engine.apply(ms(0), &acquire, &mut events);
        assert!(matches!(reply, Ok(Reply::Acquired { fresh: true, .. })));
    }
    world.engine.check();
    let restored = Engine::restore(&world.engine.snapshot(), HashKey([3, 4])).unwrap();
    restored.check();
    for engine in [&world.engine, &restored] {
        assert_eq!(engine.usage().owners, EACH * EACH);
        assert_eq!(engine.usage().nodes, EACH * (1 + EACH + EACH * EACH));
        for (n, key) in keys.iter().enumerate() {
            let lock = engine.lock(key).unwrap();
            assert_eq!((&lock.key, &lock.claims[0].path), (key, &path_of(n)));
            let holders = engine.holders(&key.namespace, &path_of(n));
            assert_eq!(holders, [lock]);
            let mut stranger = key.clone();
            stranger.owner = Owner::Named(name(&format!("stranger{n}")));
            assert_eq!(engine.lock(&stranger), None);
            let elsewhere = name(&format!("elsewhere{n}"));
            assert_eq!(engine.overlapping(&elsewhere, &path_of(n)), []);
        }
    }
}

#[test]
fn what_has_ended_is_remembered_for_its_retention_and_then_forgotten_however_many_there_are() {
    let mut world = World::new();
    for n in 0..3000_u64 {
        let id = format!("L{n}");
        let lock = key(&id);
        let token = Token(n + 1);
        for command in [
            acquire(&id, "w a", None, Wait::No),
            Command::Release { lock, token },
        ] {
            let done = world.engine.apply(ms(n), &command, &mut Vec::new());
            assert!(done.is_ok());
        }
    }
    for gone in [0, 1, 1500, 2999] {
        world.tick(60_000 + gone);
        let left = usize::try_from(2999 - gone).unwrap();
        assert_eq!(world.engine.usage().remembered_requests, left);
        assert_eq!(world.engine.lock(&key(&format!("L{gone}"))), None);
        let next = (left > 0).then(|| ms(60_001 + gone));
        assert_eq!(world.engine.next_forget(), next);
    }
    assert!(world.engine.usage().is_zero());
}

#[test]
fn whoever_conflicts_with_claims_is_found_on_the_way_to_them_and_below_in_arrival_order() {
    let mut world = World::new();
    let wanted = [
        "r /",
        "w a",
        "r a/b",
        "w a/b/c",
        "r a/b",
        "w a/d",
        "w b",
        "r b/c",
        "w a",
        "r c, w d/e",
    ];
    for (at, claims) in wanted.iter().enumerate() {
        let id = format!("L{at}");
        world.wants(at as u64, &id, claims);
    }
    let all = world.engine.overlapping(&name("default"), &Path::root());
    assert_eq!(all.len(), wanted.len());
    let asked = [
        "r /",
        "w /",
        "r a",
        "w a",
        "r a/b",
        "w a/b",
        "r a/b/c/x",
        "w a/b/c/x",
        "r b",
        "r b/c/d",
        "w c/x, r d",
        "w e",
    ];
    for text in asked {
        let asked = claims(text);
        let conflicts = |lock: &&LockInfo| {
            let of_lock = |claim: &Claim| lock.claims.iter().any(|held| held.conflicts(claim));
            asked.iter().any(of_lock)
        };
        let expected: Vec<LockInfo> = all.iter().filter(conflicts).cloned().collect();
        let engine = &world.engine;
        for most in 0..=expected.len() + 1 {
            let found = engine.conflicting(&name("default"), &asked, None, most);
            let end = most.min(expected.len());
            assert_eq!(found, expected[..end], "{text}, {most}");
        }
        for (earlier, lock) in expected.iter().enumerate() {
            let place = engine.arrived(&lock.key).map(|arrived| arrived.place);
            assert!(place.is_some());
            let found = engine.conflicting(&name("default"), &asked, place, expected.len());
            assert_eq!(found, expected[..earlier], "{text}, before {:?}", lock.key);
        }
        assert_eq!(engine.conflicting(&name("other"), &asked, None, 9), []);
    }
}

#[test]
fn what_is_held_at_a_path_and_in_the_way_is_what_going_through_all_of_it_finds() {
    let mut world = World::new();
    world.open(0, "s", 1_000);
    let wanted = [
        "r a", "r a/b", "r a, w z", "w a/b/c", "r /", "w a", "r a/b", "w b", "r b, w z", "r a",
    ];
    for (at, claims) in (1..).zip(wanted) {
        let id = match at % 3 {
            0 => format!("s:L{at}"),
            _ => format!("L{at}"),
        };
        world.wants(at, &id, claims);
    }
    let engine = &world.engine;
    let space = name("default");
    let mut found = 0;
    for text in ["/", "a", "a/b", "a/b/c", "a/x", "b", "z", "none"] {
        let path = path(text);
        let held = engine.holders(&space, &path);
        let at = held
            .iter()
            .filter(|lock| lock.claims.iter().any(|claim| claim.path == path));
        let at: Vec<LockInfo> = at.cloned().collect();
        let found_at: Vec<LockInfo> = engine.held_at(&space, &path).collect();
        assert_eq!(ids(&found_at), ids(&at), "{text}");
        found += at.len();
        let covers = |lock: &&LockInfo| lock.claims.iter().any(|claim| claim.path.covers(&path));
        let token = |lock: &LockInfo| match lock.state {
            LockState::Held { token, .. } => Some(token),
            _ => None,
        };
        let covering = held.iter().filter(covers).filter_map(token).max();
        assert_eq!(engine.covering_token(&space, &path), covering, "{text}");
        for claim in [Claim::write(path.clone()), Claim::read(path.clone())] {
            let claims = [claim];
            let in_the_way = engine.conflicting(&space, &claims, None, 100);
            let first = in_the_way.into_iter().find(|lock| token(lock).is_some());
            let arrived = first.as_ref().and_then(|lock| engine.arrived(&lock.key));
            let place = arrived.map(|arrived| arrived.place);
            let before = |place| engine.held_in_the_way(&space, &claims, place);
            assert_eq!(before(None), first, "{text}");
            if let Some(place) = place {
                assert_eq!(before(Some(place)), None, "{text}");
                assert_eq!(before(Some(place + 1)), first, "{text}");
            }
        }
    }
    assert!(found >= 4, "{found} were held");
}
