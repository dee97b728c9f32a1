//! The report that a process leaves of itself when it dies. One test, since a process has one report.

use lockwright_sim::crash_report::{CrashReport, LEN, at, begin, event, keep_in, panicked, so_far};
use std::sync::atomic::AtomicU8;

#[test]
fn the_last_events_the_time_and_all_panics_are_read_back() {
    let memory: Vec<AtomicU8> = (0..LEN).map(|_| AtomicU8::new(0)).collect();
    keep_in(Vec::leak(memory));
    begin();
    at(7);
    event("one");
    panicked("first");
    panicked("second");
    let report = so_far().expect("there is memory");
    assert_eq!((report.at_ms, &*report.panics), (7, "first\nsecond"));
    assert_eq!(report.events, ["one"]);

    for number in 0..20_000 {
        event(&format!("number {number}"));
    }
    panicked(&"x".repeat(LEN));
    let report = so_far().expect("there is memory");
    let last = report.events.last().expect("there are events");
    assert_eq!(last, "number 19999");
    assert!(report.events.len() > 1_000, "{}", report.events.len());
    let follow = |pair: &[String]| {
        let of = |line: &str| -> u32 { line[7..].parse().expect("a whole line") };
        of(&pair[0]) + 1 == of(&pair[1])
    };
    assert!(report.events.windows(2).all(follow));
    assert!(report.panics.starts_with("first\nsecond\nxxx"));

    begin();
    assert_eq!(so_far(), Some(CrashReport::default()));
}
