//! A client believes itself the holder only while it is, as long as the rates of its clock and the
//! server's differ by no more than the bound (SEMANTICS 7.4); and each part of the margin that it
//! keeps is needed.

use super::{
    client::{Counting, CountsFrom},
    holds,
    protocol::{BELIEF, Protocol, Writes},
    shortest_way_to_break,
};
use lockwright_client::ClockRateBound;

fn bound(percent: u32) -> ClockRateBound {
    ClockRateBound::from_ppm(percent * 10_000).expect("it is less than the whole")
}

/// Any clock may go half as fast as any other, at any moment: a bound of 50 percent. The larger it
/// is, the fewer steps drift needs to show.
fn protocol() -> Protocol {
    Protocol {
        clients: 1,
        rival: true,
        messages_max: 2,
        lease_ms: 3,
        server_pace_us: [400, 800],
        client_pace_us: [400, 800],
        counting: Counting {
            from: CountsFrom::Sending,
            bound: bound(50),
            forgets_whole_ms: false,
        },
        renews: true,
        releases: true,
        writes: Writes::Never,
        store_checks: false,
        tokens_increase: true,
    }
}

fn counting(change: impl FnOnce(&mut Counting)) -> Protocol {
    let mut protocol = protocol();
    change(&mut protocol.counting);
    protocol
}

#[test]
fn who_counts_from_the_sending_believes_only_while_it_holds() {
    holds(protocol());
}

#[test]
fn who_counts_from_the_receipt_believes_too_long() {
    let from_receipt = counting(|counting| counting.from = CountsFrom::Receipt);
    shortest_way_to_break(BELIEF, from_receipt);
}

#[test]
fn a_clock_slower_than_the_bound_allows_believes_too_long() {
    let slow = Protocol {
        client_pace_us: [200, 800],
        ..protocol()
    };
    shortest_way_to_break(BELIEF, slow);
}

#[test]
fn who_takes_the_clocks_for_equally_fast_believes_too_long() {
    let trusting = counting(|counting| counting.bound = bound(0));
    shortest_way_to_break(BELIEF, trusting);
}

#[test]
fn who_forgets_that_the_server_counts_whole_milliseconds_believes_too_long() {
    let forgetful = counting(|counting| counting.forgets_whole_ms = true);
    shortest_way_to_break(BELIEF, forgetful);
}
