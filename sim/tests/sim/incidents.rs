//! The incidents of other lock services that are told again in `traces/incidents`: what each of them
//! is about happens in it. That no rule is broken there is for `bug-finder regress` to see.

use lockwright_sim::{
    plan::{self, RunOptions},
    trace::Trace,
};
use std::{collections::BTreeSet, fs, path::PathBuf};

/// What is in the history of each, in this order.
const HAPPENS: [(&str, &[&str]); 16] = [
    (
        "a-dead-waiter-at-the-head-does-not-stall",
        &[
            "c0-0-1 is told: queued",
            "host 1 dies",
            "h0-1 calls release",
            r#""granted","id":"c0-0-1""#,
            r#""id":"c0-0-1","reason":"session_ended""#,
            "h1-1 is answered: granted",
        ],
    ),
    (
        "a-former-leader-that-is-stuck-ends-no-lease",
        &[
            "c0-0-1 is answered: renew done",
            "Isolate { node: Leader, to: true, from: true }",
            "the server leads from",
            "c0-0-1 is answered: renew done",
            "Isolate { node: Leader, to: true, from: true }",
            "Truncated",
            "c0-0-1 calls release",
            "c1-0-1 is told: granted with token 2",
        ],
    ),
    (
        "a-holder-whose-lease-ran-out-is-told",
        &[
            r#""reason":"expired""#,
            "h1-1 is answered: granted",
            "h0-1 is answered: renew with token 65536: stale_token",
            "h0-1 is answered: release with token 65536: stale_token",
            "h1-1 is answered: release with token 65537: done",
        ],
    ),
    (
        "a-late-unlock-does-not-touch-a-newer-lock",
        &[
            r#""reason":"expired""#,
            "h1-1 is answered: granted",
            "h0-1 is answered: release with token 65536: stale_token",
            "h0-1 is answered: release with token 65536: stale_token",
            "h1-1 is answered: release with token 65537: done",
        ],
    ),
    (
        "a-lease-goes-on-over-a-restart",
        &[
            "h0-1 is answered: granted with token 65536",
            "the server dies; its disk stays",
            "the server leads from",
            "h2-1 asks over HTTP",
            r#""queued","id":"h2-1""#,
            r#""reason":"expired""#,
            // The server started again at 221 ms, and its tokens go on from there: 221 * 2^16.
            "h2-1 is answered: granted with token 14483456",
        ],
    ),
    (
        "a-lease-outlives-a-failover-by-no-more-than-that",
        &[
            "h0-1 is answered: granted with token 1",
            "Crash { node: Leader }",
            "the server leads from",
            r#""reason":"expired""#,
            "h1-1 is answered: granted with token 2",
        ],
    ),
    (
        "a-path-that-another-claim-covers-releases",
        &[
            "h0-1 asks over HTTP, for alice.h0-1, for [w a/b, w a]",
            "h0-1 is answered: release with token 65536: done",
            "h2-1 asks over HTTP, for alice.h2-1, for [w a, w a/b, w a/c]",
            "h2-1 is answered: release with token 65538: done",
        ],
    ),
    (
        "a-retry-after-a-lost-answer-locks-once",
        &[
            r#""granted","id":"h0-1","token":65536"#,
            "h0-1 has no answer, and hangs up",
            "h0-1 asks over HTTP",
            "h0-1 is answered: granted with token 65536",
            "h1-1 is answered: granted with token 65537",
        ],
    ),
    (
        "a-session-that-died-while-it-waited-is-not-granted-by-the-next-leader",
        &[
            "c1-0-1 is told: queued",
            "c2-0-1 is told: queued",
            "host 1 dies",
            "Crash { node: Leader }",
            "the server leads from",
            r#""id":"c1-0-1","reason":"session_ended""#,
            "c0-0-1 calls release",
            "c2-0-1 is told: granted with token 2",
        ],
    ),
    (
        "a-storm-of-waiters-that-hang-up",
        &[
            "h1-1 has no answer, and hangs up",
            "h60-1 has no answer, and hangs up",
            "h61-1 asks over HTTP",
            "h0-1 calls release",
            "h61-1 is answered: granted with token 65537",
        ],
    ),
    (
        "a-storm-of-waiters-that-hang-up-while-the-leader-dies",
        &[
            "h0-1 is answered: granted with token 1",
            "Crash { node: Leader }",
            "h1-1 has no answer, and hangs up",
            "the server leads from",
            r#""reason":"cancelled""#,
            "h0-1 calls release",
            "h61-1 is answered: granted with token 2",
        ],
    ),
    (
        "a-wait-that-timed-out-is-no-success",
        &[
            "h2-1 is answered: refused: busy",
            r#""reason":"timed_out""#,
            "h1-1 is answered: refused: timed_out",
            "h0-1 is answered: release with token 65536: done",
        ],
    ),
    (
        "a-waiter-that-hung-up-is-not-granted",
        &[
            "h1-1 has no answer, and hangs up",
            r#""id":"h2-1","reason":"cancelled""#,
            "h2-1 is answered: refused: cancelled",
            "h0-1 calls release",
            "h3-1 is answered: granted with token 65537",
        ],
    ),
    (
        "a-waiter-with-a-shorter-lease-than-the-holder",
        &[
            "h1-1 asks over HTTP, for bob.h1-1, for [w a] in default, ttl 50 ms",
            "h0-1 is answered: release with token 65536: done",
            "h1-1 calls release with token 65537",
            "h2-1 is answered: granted with token 65538",
            r#""reason":"expired""#,
        ],
    ),
    (
        "an-id-that-comes-again-for-something-else-locks-nothing",
        &[
            "h0-1 is answered: granted with token 65536",
            "h0-1 again, for [w b], is answered: 422 request_mismatch, the first is for [w a]",
            "h0-1 again, for [r a], is answered: 422 request_mismatch, the first is for [w a]",
            "h1-1 is answered: granted with token 65537",
            r#""id":"h0-1","reason":"released""#,
            "h0-1 again, for [w b], is answered: 422 request_mismatch, the first is for [] and ended as released",
        ],
    ),
    (
        "what-waited-when-the-server-died-is-not-granted",
        &[
            r#""queued","id":"h1-1""#,
            "h2-1 asks over HTTP, for bob.h2-1, for [r a]",
            "the server dies; its disk stays",
            r#""owner":"bob.h2-1"}"#,
            r#""reason":"cancelled""#,
            r#""id":"h1-1","reason":"cancelled""#,
            // 221 * 2^16, as above.
            "h3-1 is answered: granted with token 14483456",
        ],
    ),
];

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../traces/incidents")
}

#[test]
fn each_is_told() {
    let files = fs::read_dir(directory()).unwrap();
    let files: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let told = HAPPENS.map(|(name, _)| format!("{name}.json"));
    assert_eq!(files, BTreeSet::from(told));
}

#[test]
fn what_an_incident_is_about_happens_in_it() {
    for (name, happens) in HAPPENS {
        let trace: Trace = Trace::read(&directory().join(format!("{name}.json"))).unwrap();
        let outcome = plan::run(&trace.plan, RunOptions { keep_history: true });
        assert_eq!(outcome.violation, None, "{name}");
        let mut history = outcome.history.unwrap().into_iter();
        for what in happens {
            let is_there = history.any(|line| line.contains(what));
            assert!(is_there, "{name}: `{what}` does not happen, or too early");
        }
    }
}
