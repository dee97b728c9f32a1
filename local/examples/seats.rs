//! Reserves seats: each customer wants several at once, or none. Two counters sell the same hall
//! and name the seats in opposite orders, which with a mutex for each seat would end in a deadlock.
//!
//! `cargo run -p lockwright-local --example seats`

use lockwright_local::{Claims, LocalLocks, LockError, Token, write};
use std::{collections::BTreeMap, sync::Mutex, thread, time::Duration};

const SEATS: usize = 60;
const GROUP: usize = 4;

/// Who sits where, and the fencing token with which it was written down.
type Hall = Mutex<BTreeMap<usize, (String, Token)>>;

/// Sells these seats to a customer if all of them are free; says whether they were.
fn sell(
    locks: &LocalLocks,
    hall: &Hall,
    customer: &str,
    seats: &[usize],
) -> Result<bool, LockError> {
    let claims: Claims = seats
        .iter()
        .map(|seat| write(format!("hall/seat/{seat}")))
        .collect();
    let guard = locks
        .request(claims)
        .owner(customer)
        .timeout(Duration::from_secs(10))
        .lock_blocking()?;
    if seats
        .iter()
        .any(|seat| hall.lock().expect("nobody panics").contains_key(seat))
    {
        return Ok(false);
    }
    // The customer looks for their purse. The seats are locked, the hall is not.
    thread::sleep(Duration::from_micros(200));
    for seat in seats {
        let sold = (customer.to_owned(), guard.token());
        let before = hall.lock().expect("nobody panics").insert(*seat, sold);
        assert!(
            before.is_none(),
            "seat {seat} is sold twice, to {before:?} and {customer}"
        );
    }
    Ok(true)
}

fn main() -> Result<(), LockError> {
    let (locks, hall) = (LocalLocks::new(), Hall::default());
    let counter = |name: &'static str, seats: Vec<usize>| {
        let mut sold = 0;
        for (number, group) in seats.windows(GROUP).enumerate() {
            let customer = format!("{name} {number}");
            sold += usize::from(sell(&locks, &hall, &customer, group)?);
        }
        Ok::<usize, LockError>(sold)
    };
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(|| counter("one", (0..SEATS).collect()));
        let other = scope.spawn(|| counter("other", (0..SEATS).rev().collect()));
        (
            one.join().expect("no panic"),
            other.join().expect("no panic"),
        )
    });
    let (one, other) = (one?, other?);
    let hall = hall.into_inner().expect("nobody panics");
    assert_eq!(
        hall.len(),
        GROUP * (one + other),
        "a group sits together or not at all"
    );
    println!(
        "{} groups asked, from both ends of {SEATS} seats",
        2 * (SEATS - GROUP + 1)
    );
    println!(
        "one counter served {one} groups, the other {other}: {} seats, none twice",
        hall.len()
    );
    println!(
        "no deadlock: {} locks are left",
        locks.usage().live_requests
    );
    Ok(())
}
