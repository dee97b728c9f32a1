//! `lockwright bench`: it measures something, and cleans up after itself.

use crate::support::{Dir, Server, code, run, stderr, stdout};
use serde_json::Value;
use std::process::Output;

fn measured(output: &Output) -> Vec<Value> {
    assert_eq!(code(output), 0, "{}", stderr(output));
    let text = stdout(output);
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    lines.collect()
}

fn is_plausible(measured: &Value) {
    let number = |name: &str| {
        measured[name]
            .as_f64()
            .unwrap_or_else(|| panic!("{measured}"))
    };
    assert!(number("count") > 0.0, "{measured}");
    assert!(
        number("p50_us") > 0.0 && number("p50_us") <= number("p90_us"),
        "{measured}"
    );
    assert!(number("p90_us") <= number("p99_us") && number("p99_us") <= number("max_us"));
    assert!((number("count") / number("seconds") - number("per_second")).abs() < 0.1);
}

#[test]
fn pairs_and_hand_offs_are_measured_on_a_server_that_runs() {
    let server = Server::in_memory();
    let span = [
        "--server",
        &server.address,
        "--for",
        "2s",
        "--warm-up",
        "0s",
        "--json",
    ];
    let pairs = measured(&run(&[
        &["bench", "--clients", "1,3", "--keys", "2"],
        &span[..],
    ]
    .concat()));
    assert_eq!(pairs.len(), 2);
    assert_eq!(
        (&pairs[0]["clients"], &pairs[1]["clients"]),
        (&1.into(), &3.into())
    );
    pairs.iter().for_each(is_plausible);
    let grants = measured(&run(&[
        &["bench", "--hand-off", "--clients", "3"],
        &span[..],
    ]
    .concat()));
    assert_eq!(grants[0]["measured"], "grants");
    is_plausible(&grants[0]);
}

#[test]
fn a_server_is_started_for_the_occasion_and_nothing_is_left_of_it() {
    let dir = Dir::new();
    let here = dir.path("");
    let short = ["--clients", "1", "--for", "1s", "--warm-up", "0s"];
    let output = run(&[&["bench", "--spawn-data", &here], &short[..]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stdout(&output).lines().count(), 2);
    assert_eq!(std::fs::read_dir(&here).unwrap().count(), 0);
}

#[test]
fn nobody_to_measure_is_told() {
    let output = run(&["bench", "--server", "127.0.0.1:1", "--clients", "1"]);
    assert_eq!(code(&output), 69);
    assert!(
        stderr(&output).contains("127.0.0.1:1"),
        "{}",
        stderr(&output)
    );
}
