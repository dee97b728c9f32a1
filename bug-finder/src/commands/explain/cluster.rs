//! The nodes of profile `cluster`, and what goes wrong with them, told to a person.

use super::service::of_clock;
use lockwright_sim::plan::{
    ClusterFault, ClusterFaultKind, ClusterPlan, OperatorDeed, OperatorStep, Way,
};

/// A line about the cluster, and one for each node.
pub(super) fn of_cluster(cluster: &ClusterPlan) -> Vec<String> {
    let mut lines = vec![format!(
        "{} nodes: a leader says every {} ms that it is there, a node waits {} ms for one, and is \
         taken for dead after {} ms",
        cluster.nodes.len(),
        cluster.heartbeat_ms,
        cluster.election_timeout_ms,
        cluster.node_timeout_ms
    )];
    lines.extend(cluster.nodes.iter().enumerate().map(|(index, node)| {
        let disk = node.disk;
        let mut line = format!(
            "node {index} has a disk that takes {} to {} us to sync, takes a snapshot after {} \
             entries",
            disk.sync_us_min, disk.sync_us_max, disk.snapshot_entries
        );
        if let Some(bytes) = disk.log_segment_bytes {
            line += &format!(", begins a file of its log after {bytes} bytes");
        }
        line += &of_clock(&node.clock);
        if index >= cluster.founders() {
            line += ", and waits to be added";
        }
        line
    }));
    lines
}

/// What an operator does.
pub(super) fn of_step(step: OperatorStep) -> String {
    let later = match step.deed {
        OperatorDeed::Remove { linger_ms, .. } if linger_ms > 0 => {
            format!(", and stops it {linger_ms} ms later")
        }
        _ => String::new(),
    };
    let for_ms = step.for_ms;
    format!(
        "the operator begins to {}{later}, for {for_ms} ms at most",
        step.deed
    )
}

/// What goes wrong with the nodes.
pub(super) fn of_fault(fault: &ClusterFault) -> String {
    let for_ms = fault.for_ms.max(1);
    match &fault.kind {
        ClusterFaultKind::Cut { ways } => {
            let ways: Vec<String> = ways.iter().map(Way::to_string).collect();
            format!("messages get lost {}, for {for_ms} ms", ways.join(", "))
        }
        ClusterFaultKind::Isolate { node, to, from } => {
            let which = match (to, from) {
                (true, false) => format!("what other nodes send to {node}"),
                (false, true) => format!("what {node} sends to other nodes"),
                _ => format!("messages between {node} and the others"),
            };
            format!("{which} gets lost for {for_ms} ms")
        }
        ClusterFaultKind::Hold { a, b } => {
            format!("messages between {a} and {b} are held back for {for_ms} ms")
        }
        ClusterFaultKind::Slow { a, b, max_ms } => {
            format!("messages between {a} and {b} take up to {max_ms} ms, for {for_ms} ms")
        }
        ClusterFaultKind::Reset { node } => format!("all connections of {node} break"),
        ClusterFaultKind::Crash { node } => {
            format!("{node} is killed, and starts again after {for_ms} ms")
        }
        ClusterFaultKind::Restart { node } => {
            format!("{node} is told to stop, and starts again after {for_ms} ms")
        }
        ClusterFaultKind::Pause { node } => format!("{node} computes nothing for {for_ms} ms"),
        ClusterFaultKind::PowerLoss { node } => {
            format!("the host of {node} loses its power, and has it again after {for_ms} ms")
        }
        ClusterFaultKind::DiskFull { node } => {
            format!("the disk of {node} is full for {for_ms} ms")
        }
        ClusterFaultKind::DiskFails { node } => {
            format!("the disk of {node} fails to sync for {for_ms} ms")
        }
        ClusterFaultKind::DiskSlow { node, by_ms } => {
            format!("each sync of the disk of {node} takes {by_ms} ms longer, for {for_ms} ms")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_and_their_faults_are_told_of() {
        let disk = json!({"sync_us_min": 1, "sync_us_max": 5, "snapshot_entries": 9});
        let cluster: ClusterPlan = serde_json::from_value(json!({
            "nodes": [{"disk": disk}, {"disk": disk, "clock": {"drift_ppm": 5}}],
            "heartbeat_ms": 20, "election_timeout_ms": 60, "node_timeout_ms": 80,
            "operator": {"host": 0, "newcomers": 1, "steps": [
                {"at_ms": 1, "for_ms": 9, "deed": {"remove": {"node": 0, "linger_ms": 7}}},
            ]},
            "faults": [
                {"at_ms": 1, "for_ms": 2, "kind": {"crash": {"node": "leader"}}},
                {"at_ms": 1, "for_ms": 3, "kind": {"isolate": {
                    "node": {"node": 1}, "to": true, "from": false,
                }}},
                {"at_ms": 1, "for_ms": 4, "kind": {"cut": {"ways": [
                    {"from": {"node": 0}, "to": {"node": 1}},
                    {"from": {"host": 2}, "to": {"node": 1}},
                ]}}},
            ],
        }))
        .expect("it is a cluster");
        let lines = of_cluster(&cluster);
        assert_eq!(
            lines[2],
            "node 1 has a disk that takes 1 to 5 us to sync, takes a snapshot after 9 entries, its \
             clock is 5 millionths fast, and waits to be added"
        );
        assert!(lines[2].ends_with("and waits to be added"), "{}", lines[2]);
        let operator = cluster.operator.as_ref().expect("there is one");
        assert_eq!(
            of_step(operator.steps[0]),
            "the operator begins to remove node 0, and stops it 7 ms later, for 9 ms at most"
        );
        let faults: Vec<String> = cluster.faults.iter().map(of_fault).collect();
        assert_eq!(
            faults,
            [
                "the leader is killed, and starts again after 2 ms",
                "what other nodes send to node 1 gets lost for 3 ms",
                "messages get lost from node 0 to node 1, from host 2 to node 1, for 4 ms",
            ]
        );
    }
}
