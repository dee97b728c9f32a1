//! Draws what an operator does in plans of profile `cluster`, from a stream of its own: whatever else a
//! seed means stays as it is without one.

use super::{
    ClusterPlan, NODES_MAX, NodePlan, OperatorDeed, OperatorPlan, OperatorStep, ServicePlan,
};
use crate::draw::Draw;

impl ServicePlan {
    /// Gives one cluster in three an operator.
    pub(super) fn operate(&mut self, draw: &mut Draw) {
        if !draw.chance(1, 3) {
            return;
        }
        let hosts = self.hosts.len();
        let active_ms = u32::try_from(self.active_ms).unwrap_or(u32::MAX);
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        let founders = cluster.nodes.len();
        let newcomers = newcomers(founders, draw);
        for _ in 0..newcomers {
            let node = newcomer(cluster, draw);
            cluster.nodes.push(node);
        }
        let deeds = deeds(founders, newcomers, draw);
        let steps = times(cluster, deeds, active_ms, draw);
        self.shape += &format!(", {newcomers} more, {} steps of an operator", steps.len());
        cluster.operator = Some(OperatorPlan {
            host: draw.index(hosts),
            newcomers,
            steps,
        });
    }
}

/// How many nodes wait to be added.
fn newcomers(founders: usize, draw: &mut Draw) -> usize {
    let room = NODES_MAX - founders;
    let wanted = match founders {
        1 => *draw.pick(&[2, 2, 1]),
        _ => *draw.pick(&[0, 1, 2, 2]),
    };
    room.min(wanted)
}

/// A node as slow as one that is there, so that no timer is too short for it.
fn newcomer(cluster: &ClusterPlan, draw: &mut Draw) -> NodePlan {
    let mut node = draw.pick(&cluster.nodes).clone();
    node.clock.offset_ms = draw.between(0, 1_000_000).into();
    node.clock.drift_ppm = -node.clock.drift_ppm;
    node
}

/// What is done, in order: one of the tasks that operators have, or some of everything.
fn deeds(founders: usize, newcomers: usize, draw: &mut Draw) -> Vec<OperatorDeed> {
    let all = founders + newcomers;
    let mut deeds = Vec::new();
    match draw.weighted(&[3, 2, 2, 1, 3]) {
        // It grows, and sometimes shrinks again.
        0 if newcomers > 0 => {
            deeds.extend((founders..all).map(|node| OperatorDeed::Add { node }));
            if draw.chance(1, 2) {
                let first = draw.index(all);
                let gone = (0..newcomers).map(|more| (first + more) % all);
                deeds.extend(gone.map(|node| removal(node, draw)).collect::<Vec<_>>());
            }
        }
        // It shrinks, from five to three, say; and sometimes grows again.
        1 if founders > 1 => {
            let first = draw.index(founders);
            let gone = (0..founders / 2).map(|more| (first + more) % founders);
            let gone: Vec<usize> = gone.collect();
            deeds.extend(gone.iter().map(|node| removal(*node, draw)));
            if draw.chance(1, 2) {
                deeds.extend(gone.iter().map(|node| OperatorDeed::Add { node: *node }));
            }
        }
        // One disk after the other is replaced.
        2 if founders > 1 => {
            let (first, count) = (draw.index(founders), draw.index(founders) + 1);
            let nodes = (0..count).map(|more| (first + more) % founders);
            deeds.extend(nodes.map(|node| OperatorDeed::Rebuild { node }));
        }
        // Each node is let lead, as before the next one is updated.
        3 if founders > 1 => {
            let first = draw.index(founders);
            let nodes = (0..founders).map(|more| (first + more) % founders);
            deeds.extend(nodes.map(|node| OperatorDeed::Transfer { node }));
        }
        _ => {
            for _ in 0..draw.between_skewed(1, 10) {
                let node = draw.index(all);
                deeds.push(match draw.weighted(&[3, 3, 3, 3]) {
                    0 => OperatorDeed::Transfer { node },
                    1 => removal(node, draw),
                    2 => OperatorDeed::Add { node },
                    _ => OperatorDeed::Rebuild { node },
                });
            }
        }
    }
    if draw.chance(1, 3) {
        let transfer = OperatorDeed::Transfer {
            node: draw.index(all),
        };
        deeds.insert(draw.index(deeds.len() + 1), transfer);
    }
    deeds
}

fn removal(node: usize, draw: &mut Draw) -> OperatorDeed {
    let linger_ms = match draw.chance(1, 2) {
        true => 0,
        false => draw.between_skewed(1, 3_000).into(),
    };
    OperatorDeed::Remove { node, linger_ms }
}

/// When each is done: all at once, or over the time in which the clients work.
fn times(
    cluster: &ClusterPlan,
    deeds: Vec<OperatorDeed>,
    active_ms: u32,
    draw: &mut Draw,
) -> Vec<OperatorStep> {
    let patience = u32::try_from(cluster.recovery_ms()).unwrap_or(u32::MAX);
    let early = draw.chance(1, 3);
    let mut steps: Vec<OperatorStep> = deeds
        .into_iter()
        .map(|deed| OperatorStep {
            at_ms: match early {
                true => draw.between_skewed(1, active_ms.max(1)) - 1,
                false => draw.below(active_ms.max(1)),
            }
            .into(),
            for_ms: u64::from(draw.between(500, patience.clamp(1_000, 20_000))),
            deed,
        })
        .collect();
    // What is drawn keeps its order, and so do the times.
    let mut at_ms: Vec<u64> = steps.iter().map(|step| step.at_ms).collect();
    at_ms.sort_unstable();
    for (step, at_ms) in steps.iter_mut().zip(at_ms) {
        step.at_ms = at_ms;
    }
    steps
}
