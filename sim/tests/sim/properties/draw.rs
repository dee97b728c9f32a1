//! What scripts are drawn from: few names, small trees, short times, so that commands meet.

use lockwright_engine::{DurationMs, Limits};
use lockwright_sim::op::{Action, Op, OpClaim, OpLock, OpOwner, OpWait, Text};
use proptest::prelude::*;
use std::num::NonZeroU32;

/// The limits of a script: usually the defaults, sometimes so tight that they are met.
pub(crate) fn limits() -> impl Strategy<Value = Limits> {
    let retention = prop_oneof![Just(60_000), Just(0), Just(5)];
    let ends = prop_oneof![Just(1000), Just(1), Just(2)];
    (any::<bool>(), retention, ends).prop_map(|(tight, retention, ends)| {
        let limits = Limits {
            retention: DurationMs::new(retention).expect("it is in range"),
            session_ends_per_ms: NonZeroU32::new(ends).expect("it is not 0"),
            ..Limits::default()
        };
        if !tight {
            return limits;
        }
        Limits {
            claims_per_request: 2,
            segments_per_path: 2,
            queued_requests_per_path: 2,
            locks_per_owner: 3,
            sessions: 2,
            namespaces: 2,
            ..limits
        }
    })
}

/// How much later than the one before a command comes, in ms.
pub(crate) fn pause() -> impl Strategy<Value = u64> {
    prop_oneof![12 => Just(0), 12 => 1..=2_u64, 4 => 3..=9_u64, 1 => 50..=70_u64]
}

/// A command, `pause` after `latest`.
pub(crate) fn op_after(latest: u64) -> impl Strategy<Value = Op> {
    (pause(), namespace(), action()).prop_map(move |(pause, namespace, action)| {
        let mut op = Op {
            at: latest + pause,
            namespace: namespace.map(Text::from),
            action,
        };
        make_id_unique(&mut op);
        op
    })
}

fn namespace() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![30 => Just(None), 1 => Just(Some("n")), 1 => Just(Some("m"))]
}

/// In a script an id belongs to one owner in one namespace, so that it says whose it is.
fn make_id_unique(op: &mut Op) {
    let namespace = op.namespace.as_deref().unwrap_or("").to_owned();
    let unique =
        |owner: &OpOwner, id: &Text| Text::from(format!("{namespace}{}{id}", owner.name()));
    match &mut op.action {
        Action::Acquire { id, owner, .. } => *id = unique(owner, id),
        Action::Release { lock, .. }
        | Action::Renew { lock, .. }
        | Action::Cancel { lock }
        | Action::Break { lock, .. } => {
            // The id alone finds it.
            let owner = lock.owner.take().expect("it was drawn with one");
            lock.id = unique(&owner, &lock.id);
        }
        Action::Done { session, ids } => {
            let owner = OpOwner::Session(session.clone());
            ids.iter_mut().for_each(|id| *id = unique(&owner, id));
        }
        Action::OpenSession { .. }
        | Action::Attach { .. }
        | Action::Detach { .. }
        | Action::KeepAlive { .. }
        | Action::CloseSession { .. }
        | Action::Tick
        | Action::Inspect { .. } => {}
    }
}

fn action() -> impl Strategy<Value = Action> {
    let renewal = prop_oneof![1 => Just(0), 9 => 1..=20_u64];
    prop_oneof![
        18 => acquire(),
        6 => (lock(), token()).prop_map(|(lock, token)| Action::Release { lock, token }),
        4 => (lock(), token(), renewal)
            .prop_map(|(lock, token, ttl)| Action::Renew { lock, token, ttl }),
        6 => lock().prop_map(|lock| Action::Cancel { lock }),
        2 => (lock(), token()).prop_map(|(lock, token)| Action::Break { lock, token }),
        3 => (session(), 0..=20_u64)
            .prop_map(|(session, abandon)| Action::OpenSession { session, abandon }),
        1 => session().prop_map(|session| Action::Attach { session }),
        2 => session().prop_map(|session| Action::Detach { session }),
        1 => session().prop_map(|session| Action::KeepAlive { session }),
        2 => (session(), proptest::collection::vec(id(), 0..=3))
            .prop_map(|(session, ids)| Action::Done { session, ids }),
        1 => session().prop_map(|session| Action::CloseSession { session }),
        1 => Just(Action::Tick),
        1 => path().prop_map(|path| Action::Inspect { path }),
    ]
}

fn acquire() -> impl Strategy<Value = Action> {
    let ttl = prop_oneof![4 => Just(None), 1 => Just(Some(0)), 12 => (1..=30_u64).prop_map(Some)];
    let wait = prop_oneof![
        5 => Just(OpWait::Forever),
        1 => Just(OpWait::No),
        4 => (0..=20_u64).prop_map(OpWait::For),
    ];
    (id(), owner(), claims(), ttl, wait).prop_map(|(id, owner, claims, ttl, wait)| {
        Action::Acquire {
            id,
            owner,
            claims,
            ttl,
            wait,
        }
    })
}

fn claims() -> impl Strategy<Value = Vec<OpClaim>> {
    let claim = (any::<bool>(), path()).prop_map(|(write, path)| OpClaim { write, path });
    prop_oneof![
        12 => proptest::collection::vec(claim.clone(), 1),
        8 => proptest::collection::vec(claim.clone(), 2..=3),
        1 => proptest::collection::vec(claim, 0..=9),
    ]
}

/// Prefixes by segment, and one that is a prefix by bytes only.
fn path() -> impl Strategy<Value = Text> + Clone {
    prop_oneof![
        4 => Just("/"), 12 => Just("a"), 12 => Just("a/b"), 6 => Just("a/c"), 4 => Just("ab"),
        6 => Just("a/b/c"), 4 => Just("d/e"), 1 => Just("a//b"),
    ]
    .prop_map(Text::from)
}

fn owner() -> impl Strategy<Value = OpOwner> {
    prop_oneof![
        2 => Just(OpOwner::Named(Text::from("x"))),
        1 => Just(OpOwner::Named(Text::from("y"))),
        2 => session().prop_map(OpOwner::Session),
    ]
}

fn session() -> impl Strategy<Value = Text> {
    prop_oneof![12 => Just("s"), 3 => Just("t"), 1 => Just("u")].prop_map(Text::from)
}

fn id() -> impl Strategy<Value = Text> {
    (1..=4_u32).prop_map(|id| Text::from(id.to_string()))
}

fn lock() -> impl Strategy<Value = OpLock> {
    (id(), owner()).prop_map(|(id, owner)| OpLock {
        id,
        owner: Some(owner),
    })
}

/// Usually the one that the request got.
fn token() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![6 => Just(None), 1 => (0..=8_u64).prop_map(Some)]
}
