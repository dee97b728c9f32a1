//! What one thread can see of the rules, and the errors.

use lockwright_local::*;
use std::{
    thread,
    time::{Duration, Instant},
};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_lock_covers_its_subtree_and_nothing_beside_it() {
    let locks = LocalLocks::new();
    let guard = locks.try_lock(write("a/b")).unwrap();
    for conflicting in ["a/b", "a/b/c", "a", "/"] {
        let outcome = locks.try_lock(read(conflicting));
        assert_eq!(outcome.unwrap_err(), LockError::Busy, "{conflicting}");
    }
    drop(locks.try_lock(write("a/bc")).unwrap());
    drop(guard);
    drop(locks.try_lock(write("/")).unwrap());
}

#[test]
fn readers_share_and_all_claims_are_held_or_none() {
    let locks = LocalLocks::new();
    let first = locks.try_lock([read("a"), write("b")]).unwrap();
    let second = locks.try_lock(read("a/x")).unwrap();
    let outcome = locks.try_lock([write("c"), read("b")]);
    assert_eq!(outcome.unwrap_err(), LockError::Busy);
    drop(locks.try_lock(write("c")).unwrap());
    assert!(first.token() < second.token());
    assert_eq!(first.claims().len(), 2);
}

#[test]
fn reader_does_not_pass_queued_writer() {
    let locks = LocalLocks::new();
    let reader = locks.try_lock(read("a")).unwrap();
    let writer = {
        let locks = locks.clone();
        thread::spawn(move || locks.lock_blocking(write("a")).unwrap().token())
    };
    while locks.usage().live_requests < 2 {
        thread::yield_now();
    }
    assert_eq!(locks.try_lock(read("a")).unwrap_err(), LockError::Busy);
    drop(reader);
    assert_eq!(writer.join().unwrap(), Token(2));
    drop(locks.try_lock(read("a")).unwrap());
}

#[test]
fn requests_are_granted_in_the_order_of_their_arrival() {
    let locks = LocalLocks::new();
    let held = locks.try_lock(write("a")).unwrap();
    let waiting: Vec<_> = (0..5)
        .map(|arrival| {
            let waiter = thread::spawn({
                let locks = locks.clone();
                move || locks.lock_blocking(write("a")).unwrap().token().0
            });
            while locks.usage().live_requests < arrival + 2 {
                thread::yield_now();
            }
            waiter
        })
        .collect();
    drop(held);
    let tokens: Vec<u64> = waiting
        .into_iter()
        .map(|waiter| waiter.join().unwrap())
        .collect();
    assert_eq!(tokens, [2, 3, 4, 5, 6]);
}

#[test]
fn a_wait_ends_in_time_and_never_before() {
    let locks = LocalLocks::new();
    let _held = locks.try_lock(write("a")).unwrap();
    let timed_out = LockError::TimedOut { after: 20 * MS };
    let begun = Instant::now();
    let outcome = locks.lock_timeout_blocking(write("a"), 20 * MS);
    assert_eq!(outcome.unwrap_err(), timed_out);
    assert!(begun.elapsed() >= 20 * MS);
    let begun = Instant::now();
    let outcome = pollster::block_on(locks.lock_timeout(write("a"), 20 * MS));
    assert_eq!(outcome.unwrap_err(), timed_out);
    assert!(begun.elapsed() >= 20 * MS);
    let outcome = locks.lock_timeout_blocking(write("a"), Duration::ZERO);
    assert_eq!(outcome.unwrap_err(), LockError::Busy);
}

#[test]
fn a_lease_ends_by_itself_and_who_waits_is_granted_then() {
    let locks = LocalLocks::new();
    let guard = locks.request(write("a")).ttl(300 * MS).try_lock().unwrap();
    let deadline = guard.deadline().unwrap();
    assert!(guard.is_held());
    drop(locks.lock_blocking(write("a/b")).unwrap());
    assert!(Instant::now() >= deadline);
    assert!(!guard.is_held());
    assert_eq!(guard.deadline(), None);
    let reason = EndReason::Expired;
    assert_eq!(
        guard.renew(MS),
        Err(RenewError::NotHeld(NotHeld { reason }))
    );
    assert_eq!(guard.release(), Err(NotHeld { reason }));
}

#[test]
fn a_renewed_lease_lasts_longer() {
    let locks = LocalLocks::new();
    let guard = locks.try_lock(write("a")).unwrap();
    assert_eq!(guard.deadline(), None);
    assert_eq!(guard.renew(Duration::ZERO), Err(RenewError::ZeroTtl));
    let first = guard.renew(300 * MS).unwrap().unwrap();
    let second = guard.renew(1000 * 60 * MS).unwrap().unwrap();
    assert_eq!(guard.deadline(), Some(second));
    thread::sleep(first - Instant::now() + 5 * MS);
    guard.release().unwrap();
}

#[test]
fn a_lease_that_runs_out_before_anybody_looks_is_told() {
    let locks = LocalLocks::new();
    let held = locks.try_lock(write("a")).unwrap();
    let mut future = locks.request(write("a")).ttl(5 * MS).lock();
    let poll = |future: &mut Locking| {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::Pin::new(future).poll(&mut context)
    };
    assert!(poll(&mut future).is_pending());
    drop(held);
    thread::sleep(10 * MS);
    match poll(&mut future) {
        std::task::Poll::Ready(Err(LockError::Expired)) => {}
        other => panic!("{other:?}"),
    }
    assert!(locks.usage().is_zero());
}

#[test]
fn errors_say_what_is_wrong() {
    let locks = LocalLocks::new();
    let message = |request: Request| request.try_lock().unwrap_err().to_string();
    let malformed = message(locks.request([write("a"), read("b//c")]));
    assert!(
        malformed.starts_with("`b//c` is not a path: segment 2"),
        "{malformed}"
    );
    assert!(message(locks.request(Vec::<Claim>::new())).contains("at least one claim"));
    assert!(message(locks.request(write("a")).ttl(Duration::ZERO)).contains("at least 1 ms"));
    assert!(message(locks.request(write("a")).owner("")).contains("must not be empty"));
    let many: Claims = (0..65).map(|n| write(format!("a/{n}"))).collect();
    let outcome = locks.try_lock(&many);
    assert!(matches!(
        outcome,
        Err(LockError::LimitExceeded {
            limit: LimitName::ClaimsPerRequest,
            max: 64,
            got: 65
        })
    ));
    assert!(locks.usage().is_zero());
}

#[test]
fn an_owners_locks_are_limited_where_that_is_wanted() {
    let limits = Limits {
        locks_per_owner: 1,
        ..Limits::default()
    };
    let locks = LocalLocks::with_limits(limits);
    let guard = locks.request(write("a")).owner("alice").try_lock().unwrap();
    let refused = locks.request(write("b")).owner("alice").try_lock();
    assert_eq!(refused.unwrap_err().code(), Some(ErrorCode::LimitExceeded));
    drop(locks.request(write("b")).owner("bob").try_lock().unwrap());
    drop(guard);
    drop(locks.request(write("b")).owner("alice").try_lock().unwrap());
}

#[test]
fn who_is_in_the_way_can_be_seen() {
    let locks = LocalLocks::new();
    let guard = locks
        .request([write("a/b"), read("c")])
        .owner("alice")
        .ttl(1000 * 60 * MS);
    let guard = guard.try_lock().unwrap();
    let mut queued = locks.lock(read("a"));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(
        std::pin::Pin::new(&mut queued)
            .poll(&mut context)
            .is_pending()
    );
    let found = locks.inspect("a/b/c").unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].owner.as_ref().map(Name::as_str), Some("alice"));
    assert_eq!(found[0].claims, guard.claims());
    assert_eq!(
        (found[0].token, found[0].deadline),
        (Some(Token(1)), guard.deadline())
    );
    assert_eq!(
        (&found[1].owner, found[1].token, found[1].deadline),
        (&None, None, None)
    );
    assert!(locks.inspect("d").unwrap().is_empty());
    assert!(locks.inspect("d/").is_err());
    drop(guard);
    let found = locks.inspect("/").unwrap();
    assert_eq!((found.len(), found[0].token), (1, Some(Token(2))));
    // The slot of the named one is used again.
    let unnamed = locks.try_lock(write("d")).unwrap();
    assert_eq!(locks.inspect("d").unwrap()[0].owner, None);
    assert!(!format!("{locks:?} {unnamed:?}").contains("hash_key"));
}

#[test]
fn lock_spaces_know_nothing_of_each_other() {
    let (here, there) = (LocalLocks::new(), LocalLocks::new());
    let _one = here.try_lock(write("/")).unwrap();
    let _two = there.try_lock(write("/")).unwrap();
}

#[test]
fn a_panic_while_a_lock_is_held_releases_it() {
    let locks = LocalLocks::new();
    let inner = locks.clone();
    let panicked = thread::spawn(move || {
        let _guard = inner.lock_blocking(write("a")).unwrap();
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    drop(locks.try_lock(write("a")).unwrap());
}

#[test]
fn handles_guards_and_futures_go_from_thread_to_thread() {
    fn goes<T: Send + Sync + 'static>() {}
    goes::<LocalLocks>();
    goes::<LockGuard>();
    goes::<Locking>();
    goes::<Request>();
    goes::<Claims>();
    goes::<LockError>();
}
