//! `lockwright cluster`, with nodes that are played.

use crate::played::Played;
use crate::support::{code, run, stderr, stdout};
use serde_json::{Value, json};

fn view(id: u64, leader: Option<u64>, addresses: [&str; 2], matched: Option<u64>) -> String {
    let node = |id: u64, role: &str, client: &str| {
        json!({
            "id": id,
            "address": format!("10.0.0.{id}:7401"),
            "client_address": client,
            "role": role,
            "matched": matched,
        })
    };
    json!({
        "id": id,
        "leader": leader,
        "term": 7,
        "nodes": [
            node(1, "voter", addresses[0]),
            node(2, "voter", addresses[1]),
            node(3, "learner", "10.0.0.3:9009"),
        ],
        "last_applied": 1234,
    })
    .to_string()
}

/// A view of a node that says that it waits for something, or does something.
fn with_state(view: &str, reason: Option<&str>, text: &str) -> String {
    let mut view: Value = serde_json::from_str(view).unwrap();
    view["state"] = json!({
        "ready": reason.is_none(),
        "reason": reason,
        "text": text,
        "for_ms": 36_000,
        "behind": 936,
    });
    view.to_string()
}

fn played(body: String) -> Played {
    Played::says("200 OK", body)
}

#[test]
fn the_nodes_are_shown_as_the_leader_sees_them() {
    let leader = played(view(2, Some(2), ["10.0.0.1:9009", "x:1"], Some(1233)));
    let follower = played(view(1, Some(2), ["x:1", &leader.address], None));
    let output = run(&["cluster", "status", "--server", &follower.address]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "node 2 leads; 3 nodes, 2 of them voters; term 7, entry 1234 applied, says node 2",
            "NODE  ROLE     STATE  HEARD  LAG  MATCHED  ADDRESS        CLIENTS",
            "1     voter    -      -      -    1233     10.0.0.1:7401  10.0.0.1:9009",
            "2     leader   -      -      -    1233     10.0.0.2:7401  x:1",
            "3     learner  -      -      -    1233     10.0.0.3:7401  10.0.0.3:9009",
        ]
    );
    let json = run(&["cluster", "--server", &follower.address, "--json", "status"]);
    let json: Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(json["id"], 2);
    assert_eq!(leader.heard(), ["GET /v1/cluster", "GET /v1/cluster"]);
}

#[test]
fn the_node_that_was_asked_and_the_leader_say_what_they_wait_for() {
    let leads = view(2, Some(2), ["x:1", "y:1"], Some(5));
    let leader = played(with_state(&leads, None, "serves: leads in term 7"));
    let follows = view(1, Some(2), ["x:1", &leader.address], None);
    let text = "follows node 2 in term 7, and has not joined for 36 s; behind by 936 entries";
    let follower = played(with_state(&follows, Some("vote_gate"), text));
    let output = run(&["cluster", "status", "--server", &follower.address]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let said = stdout(&output);
    let lines: Vec<&str> = said.lines().rev().take(2).collect();
    let expected = [
        "node 2: serves: leads in term 7",
        &format!("node 1: {text}"),
    ];
    assert_eq!(lines, expected);
    let json = run(&["cluster", "--server", &follower.address, "--json", "status"]);
    let json: Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(json["state"]["ready"], true, "the leader's: {json}");
    assert_eq!(json["asked"]["id"], 1);
    assert_eq!(json["asked"]["state"]["reason"], "vote_gate");

    // Without a leader there is only the node that was asked.
    let text = "knows of no leader in term 7 for 41 s";
    let lonely = with_state(
        &view(1, None, ["x:1", "y:1"], None),
        Some("no_leader"),
        text,
    );
    let lonely = played(lonely);
    let output = run(&["cluster", "status", "--server", &lonely.address]);
    assert_eq!(code(&output), 1);
    let said = stdout(&output);
    assert_eq!(said.lines().last(), Some(&*format!("node 1: {text}")));
    assert_eq!(said.matches("node 1:").count(), 1, "{said}");
}

#[test]
fn a_leader_that_is_gone_or_unknown_is_told() {
    // Nobody listens where the leader was: what the follower knows is shown.
    let follower = played(view(1, Some(2), ["x:1", "127.0.0.1:1"], None));
    let output = run(&["cluster", "status", "--server", &follower.address]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("node 2, which node 1 takes for the leader, does not answer"),
        "{said}"
    );
    assert!(stdout(&output).contains("says node 1") && stdout(&output).contains(" -  "));
    let lonely = played(view(1, None, ["x:1", "y:1"], None));
    for format in [&[][..], &["--json"]] {
        let args = ["cluster", "status", "--server", &lonely.address];
        let output = run(&[&args, format].concat());
        assert_eq!(code(&output), 1, "{}", stderr(&output));
        assert!(!stdout(&output).is_empty());
    }
    let nobody = run(&["cluster", "status", "--server", "127.0.0.1:1"]);
    assert_eq!(code(&nobody), 69);
}

#[test]
fn changes_are_asked_of_the_leader() {
    let leader = played(view(2, Some(2), ["x:1", "y:1"], Some(5)));
    let hint = json!({
        "error": "unavailable", "message": "node 2 leads", "leader": leader.address,
    });
    let follower = Played::says("503 Service Unavailable", hint.to_string());
    for args in [
        &["add", "4=h:7401/h:9009"][..],
        &["promote", "4", "--wait", "0ms"],
        &["remove", "1"],
        &["transfer-leader", "2"],
    ] {
        let output = run(&[&["cluster", "--server", &follower.address], args].concat());
        assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
        assert!(stdout(&output).starts_with("node 2 leads"));
    }
    let expected = [
        r#"POST /v1/cluster/nodes {"address":"h:7401","client_address":"h:9009","id":4}"#,
        "POST /v1/cluster/nodes/4/promote",
        "DELETE /v1/cluster/nodes/1",
        r#"POST /v1/cluster/leader {"id":2}"#,
    ];
    assert_eq!(follower.heard(), expected);
    assert_eq!(leader.heard(), expected);
}

#[test]
fn what_is_refused_is_told() {
    let body = json!({"error": "conflict", "message": "node 9 is no learner"});
    let node = Played::says("409 Conflict", body.to_string());
    let output = run(&[
        "cluster",
        "promote",
        "9",
        "--wait",
        "0ms",
        "--server",
        &node.address,
    ]);
    assert_eq!(code(&output), 1);
    assert_eq!(stderr(&output), "error: conflict: node 9 is no learner\n");
    // Its answer gets lost: whether it was done is not known.
    let gone = Played::hangs_up();
    let output = run(&["cluster", "remove", "9", "--server", &gone.address]);
    assert_eq!(code(&output), 69);
    assert!(
        stderr(&output).contains("lockwright cluster status"),
        "{}",
        stderr(&output)
    );
    for args in [&["promote", "0"][..], &["add", "4"], &["add", "4=a:1"], &[]] {
        let output = run(&[&["cluster"], args].concat());
        assert_eq!(code(&output), 2, "{args:?}");
    }
}
