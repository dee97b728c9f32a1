//! An id that comes again: for the same claims it is a retry, for others it is refused (SEMANTICS
//! section 4).

use crate::common::*;
use lockwright_engine::*;

/// What the first request asked for, what the second asks for with its id, and whether that is the
/// same.
const CASES: [(&str, &str, bool); 19] = [
    ("w a", "w a", true),
    ("w a, r b", "r b, w a", true),
    ("w a, w a", "w a", true),
    ("w a", "w a, w a, r a, w a/b, r a/b/c", true),
    ("w a, r a/b", "w a, r a/c", true),
    ("r a, w a/b", "w a/b, r a, r a/b, r a/d", true),
    ("w /", "r x, w y/z, w /", true),
    ("w a", "w b", false),
    ("w a", "r a", false),
    ("r a", "w a", false),
    ("w a", "w a/b", false),
    ("w a/b", "w a", false),
    ("w a/b", "w a/bc", false),
    ("w a/b, w c", "w a, w b/c", false),
    ("w a", "w a, w b", false),
    ("w a, w b", "w a", false),
    ("w a, r b", "r a, w b", false),
    ("r a, w a/b", "r a, w a/c", false),
    ("w /", "r /", false),
];

/// How far the first request has come.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Held,
    Queued,
    Released,
    TimedOut,
    /// Ended, and kept by its session beyond the retention.
    Kept,
    /// Ended, in an engine that was saved and brought back since.
    Restored,
}

const STAGES: [Stage; 6] = [
    Stage::Held,
    Stage::Queued,
    Stage::Released,
    Stage::TimedOut,
    Stage::Kept,
    Stage::Restored,
];

/// A world at 70,000 ms in which `s1:L1` asked for `first` and has come to `stage`.
fn world(stage: Stage, first: &str) -> World {
    let mut world = World::new();
    world.open(0, "s1", 1);
    if matches!(stage, Stage::Queued | Stage::TimedOut) {
        world.wants(0, "L0", "w /");
    }
    let wait = match stage {
        Stage::TimedOut => Wait::For(span(69_000)),
        _ => Wait::Forever,
    };
    world.apply(0, &acquire("s1:L1", first, None, wait));
    match stage {
        Stage::Released | Stage::Restored => world.release(69_000, "s1:L1"),
        Stage::Kept => world.release(5, "s1:L1"),
        Stage::Held | Stage::Queued | Stage::TimedOut => Vec::new(),
    };
    world.tick(70_000);
    if stage == Stage::Restored {
        let snapshot = world.engine.snapshot();
        let key = HashKey([3, 4]);
        world.engine = Engine::restore(&snapshot, key).expect("it was an engine");
    }
    world
}

/// The claims of `text` that count, in the order of their paths.
fn sorted(text: &str) -> Vec<Claim> {
    let mut world = World::new();
    world.wants(0, "L1", text);
    world.engine.lock(&key("L1")).expect("it is held").claims
}

#[test]
fn an_id_that_comes_again_for_other_claims_is_refused_at_every_stage_and_changes_nothing() {
    for stage in STAGES {
        for (first, second, is_retry) in CASES {
            let case = format!("{stage:?}: {first}, then {second}");
            let mut world = world(stage, first);
            let before = world.engine.clone();
            let mut events = Vec::new();
            let again = acquire("s1:L1", second, Some(1), Wait::No);
            let reply = world.engine.apply(ms(70_000), &again, &mut events);
            assert_eq!((world.engine, events), (before.clone(), vec![]), "{case}");
            let state = before.lock(&key("s1:L1")).expect("it is known").state;
            if is_retry {
                let fresh = false;
                assert_eq!(reply, Ok(Reply::Acquired { state, fresh }), "{case}");
                continue;
            }
            let ended = match state {
                LockState::Ended { reason, .. } => Some(reason),
                LockState::Queued { .. } | LockState::Held { .. } => None,
            };
            assert_eq!(
                ended.is_some(),
                !matches!(stage, Stage::Held | Stage::Queued)
            );
            let first = match ended {
                Some(reason) => FirstRequest::over(reason),
                None => FirstRequest::live(sorted(first)),
            };
            let refusal = Refusal::RequestMismatch(Box::new(first));
            assert_eq!(refusal.code().as_str(), "request_mismatch");
            assert_eq!(reply, Err(refusal), "{case}");
        }
    }
}

#[test]
fn an_id_that_is_forgotten_is_free_for_other_claims() {
    let mut world = World::new();
    world.wants(0, "L1", "w a");
    world.release(10, "L1");
    assert_eq!(world.wants(60_009, "L1", "w b"), ["60009 request_mismatch"]);
    assert_eq!(world.wants(60_010, "L1", "w b"), ["60010 granted L1 2"]);
}

#[test]
fn ids_belong_to_their_owners() {
    let mut world = World::new();
    world.open(0, "s1", 1);
    world.wants(0, "L1", "w a");
    assert_eq!(world.wants(0, "s1:L1", "w b"), ["0 granted L1 2"]);
}

#[test]
fn what_cannot_be_a_request_is_told_before_its_id_is_looked_at() {
    let mut world = World::with(Limits {
        claims_per_request: 1,
        ..Limits::default()
    });
    world.wants(0, "L1", "w a");
    assert_eq!(world.wants(0, "L1", "w a, w a"), ["0 limit_exceeded"]);
    assert_eq!(world.leases(0, "L1", "w b", 0), ["0 invalid_request"]);
}

#[test]
fn the_refusal_says_what_the_first_request_asked_for_and_how_it_ended() {
    for (stage, told) in [
        (
            Stage::Held,
            "the id is that of an earlier request, for r a, w a/b: another request needs another id",
        ),
        (
            Stage::Released,
            "the id is that of an earlier request, for other claims, which ended as released: \
             another request needs another id",
        ),
    ] {
        let mut world = world(stage, "w a/b, r a");
        let again = acquire("s1:L1", "w c", None, Wait::Forever);
        let refusal = world.engine.apply(ms(70_000), &again, &mut Vec::new());
        assert_eq!(refusal.expect_err("other claims").to_string(), told);
    }
}

#[test]
fn a_refusal_names_no_more_of_long_paths_than_fits() {
    let claims = |count: usize, segment: &str, segments: usize| -> Vec<Claim> {
        let place =
            |number| [&*format!("{number:02}"), &vec![segment; segments].join("/")].join("/");
        let claim = |number| Claim::write(Path::parse(place(number)).unwrap());
        (0..count).map(claim).collect()
    };
    let long = "x".repeat(255);
    for (asked, named) in [
        (claims(1, &long, 31), 1),
        (claims(64, &long, 31), 1),
        (claims(64, &long, 1), 3),
        (claims(64, "x", 1), 64),
    ] {
        let first = FirstRequest::live(asked.clone());
        assert_eq!(first.claims, asked[..named]);
        assert_eq!(first.left_out, asked.len() - named);
        let is_told = first
            .to_string()
            .contains(&format!(" and {} more", first.left_out));
        assert_eq!(is_told, first.left_out > 0, "{first}");
    }
}
