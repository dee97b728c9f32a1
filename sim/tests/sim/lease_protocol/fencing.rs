//! With the store's check nobody writes after a later holder (SEMANTICS 7.3). Without it somebody
//! does, as Martin Kleppmann describes in "How to do distributed locking" (2016): a lease and a
//! client that looks at its clock are not enough, since it may pause after the look.

use super::{
    client::{Counting, CountsFrom},
    holds,
    protocol::{FENCING, Protocol, Step, World, Writes},
    shortest_way_to_break, story,
};
use lockwright_client::ClockRateBound;

/// Two clients that count their leases as they should, with clocks of one pace: none of what goes
/// wrong is a matter of clocks.
fn protocol() -> Protocol {
    Protocol {
        clients: 2,
        rival: false,
        messages_max: 1,
        lease_ms: 3,
        server_pace_us: [500, 500],
        client_pace_us: [500, 500],
        counting: Counting {
            from: CountsFrom::Sending,
            bound: ClockRateBound::default(),
            forgets_whole_ms: false,
        },
        renews: false,
        releases: true,
        writes: Writes::AtOnce,
        store_checks: true,
        tokens_increase: true,
    }
}

#[test]
fn a_store_that_checks_tokens_takes_no_write_of_an_earlier_holder() {
    holds(protocol());
}

#[test]
fn nor_does_it_when_writes_are_late_and_repeated() {
    holds(Protocol {
        writes: Writes::Travel,
        ..protocol()
    });
}

#[test]
fn nor_does_it_with_a_third_client_in_the_queue() {
    holds(Protocol {
        rival: true,
        lease_ms: 2,
        server_pace_us: [1000, 1000],
        client_pace_us: [1000, 1000],
        ..protocol()
    });
}

#[test]
fn a_store_that_does_not_check_takes_the_write_of_a_client_that_paused() {
    let way = shortest_way_to_break(
        FENCING,
        Protocol {
            store_checks: false,
            releases: false,
            ..protocol()
        },
    );
    let steps = way.clone().into_vec();
    let finds = |client| Step::FindsThatItHolds { client };
    let writes = |client| Step::Writes { client };
    let place = |what: &str, is_it: &dyn Fn(&World, Option<&Step>) -> bool| {
        let place = steps
            .iter()
            .position(|(world, step)| is_it(world, step.as_ref()));
        place.unwrap_or_else(|| panic!("nowhere in the story: {what}\n{}", story(&way)))
    };
    let first = steps.last().expect("it has states").0.server.grants[0];
    let second = 1 - first;
    // The places in the story at which each thing has happened or is about to.
    let order = [
        place("the first is granted", &|world, _| {
            world.server.grants == [first]
        }),
        place("it finds that it holds the lock", &|_, step| {
            step == Some(&finds(first))
        }),
        place("its lease runs out", &|world, _| {
            world.server.is_over(first)
        }),
        place("the second finds that it holds the lock", &|_, step| {
            step == Some(&finds(second))
        }),
        place("the second writes", &|_, step| {
            step == Some(&writes(second))
        }),
        place("the first writes", &|_, step| step == Some(&writes(first))),
    ];
    assert!(
        order.is_sorted(),
        "another story: {order:?}\n{}",
        story(&way)
    );
    let (at_its_write, _) = &steps[order[5]];
    let first_client = &at_its_write.clients[usize::from(first)];
    assert_eq!(
        first_client.believes(),
        None,
        "a second look would have told it"
    );
}

/// The check is worth what the tokens are: from a server that gives one out again, it protects
/// from nothing.
#[test]
fn tokens_that_do_not_increase_protect_from_nothing() {
    shortest_way_to_break(
        FENCING,
        Protocol {
            tokens_increase: false,
            ..protocol()
        },
    );
}
