//! What goes wrong, drawn from a seed.

use super::link::{Link, Mode};
use super::programs::ms;
use super::servers::Servers;
use super::stage::{Phase, Stage};
use lockwright_sim::draw::Draw;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Makes faults until the phase of work is over; then all are over.
pub(super) struct Faults {
    pub(super) stage: Rc<Stage>,
    pub(super) servers: Rc<Servers>,
    /// The ways of each client to each server.
    pub(super) clients: Vec<Vec<Link>>,
    pub(super) draw: Draw,
}

impl Faults {
    pub(super) async fn run(mut self) {
        let mut under_way = JoinSet::new();
        let nodes = self.servers.nodes.len();
        loop {
            let gap = ms(self.draw.between(100, 1_500));
            self.stage.wait(gap, Phase::Settle).await;
            if self.stage.phase() != Phase::Work {
                break;
            }
            let peers = if nodes > 1 { 3 } else { 0 };
            let client = self.draw.index(self.clients.len().max(1));
            match self.draw.weighted(&[4, 3, 3, 1, peers, peers]) {
                0 => self.kill(&mut under_way),
                1 => self.stop(&mut under_way),
                2 => {
                    let links = vec![self.draw.pick(&self.clients[client]).clone()];
                    self.cut(
                        &mut under_way,
                        links,
                        &format!("client {client} and a node"),
                    );
                }
                3 => {
                    let links = self.clients[client].clone();
                    self.cut(
                        &mut under_way,
                        links,
                        &format!("client {client} and all nodes"),
                    );
                }
                4 => {
                    let (from, to) = self.pair(nodes);
                    let mut links = vec![self.servers.link(from, to).clone()];
                    let both = self.draw.chance(1, 2);
                    if both {
                        links.push(self.servers.link(to, from).clone());
                    }
                    let arrow = if both { "and" } else { "to" };
                    let what = format!("node {} {arrow} node {}", from + 1, to + 1);
                    self.cut(&mut under_way, links, &what);
                }
                _ => {
                    let alone = self.draw.index(nodes);
                    let links = (0..nodes)
                        .filter(|other| *other != alone)
                        .flat_map(|other| {
                            [
                                self.servers.link(alone, other).clone(),
                                self.servers.link(other, alone).clone(),
                            ]
                        })
                        .collect();
                    let what = format!("node {} and all others", alone + 1);
                    self.cut(&mut under_way, links, &what);
                }
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    fn pair(&mut self, nodes: usize) -> (usize, usize) {
        let from = self.draw.index(nodes);
        let to = (from + 1 + self.draw.index(nodes - 1)) % nodes;
        (from, to)
    }

    fn kill(&mut self, under_way: &mut JoinSet<()>) {
        let time = ms(self.draw.between_skewed(1, 2_048) - 1);
        let all = self.draw.chance(1, 6);
        let one = self.draw.index(self.servers.nodes.len());
        let victims: Vec<usize> = (0..self.servers.nodes.len())
            .filter(|&node| all || node == one)
            .filter(|&node| !self.servers.nodes[node].busy.replace(true))
            .collect();
        for &victim in &victims {
            let number = self.servers.nodes[victim].number;
            self.stage
                .fault(format!("node {number} is killed for {time:?}"));
            self.stage.count(|counts| counts.kills += 1);
            self.servers.nodes[victim].kill();
        }
        let (stage, servers) = (self.stage.clone(), self.servers.clone());
        under_way.spawn_local(async move {
            stage.wait(time, Phase::Settle).await;
            for victim in victims {
                let node = &servers.nodes[victim];
                if let Err(error) = servers.run(node) {
                    stage.fault(format!("node {} cannot be started: {error}", node.number));
                }
                node.busy.set(false);
                stage.fault(format!("node {} is started", node.number));
            }
        });
    }

    fn stop(&mut self, under_way: &mut JoinSet<()>) {
        let time = ms(self.draw.between_skewed(1, 4_096));
        let victim = self.draw.index(self.servers.nodes.len());
        let node = &self.servers.nodes[victim];
        if node.busy.replace(true) {
            return;
        }
        self.stage
            .fault(format!("node {} is stopped for {time:?}", node.number));
        self.stage.count(|counts| counts.stops += 1);
        node.pause(true);
        let (stage, servers) = (self.stage.clone(), self.servers.clone());
        under_way.spawn_local(async move {
            stage.wait(time, Phase::Settle).await;
            let node = &servers.nodes[victim];
            node.pause(false);
            node.busy.set(false);
            stage.fault(format!("node {} goes on", node.number));
        });
    }

    fn cut(&mut self, under_way: &mut JoinSet<()>, links: Vec<Link>, what: &str) {
        let (mode, how) = if self.draw.chance(1, 2) {
            (Mode::Cut, "cut")
        } else {
            (Mode::Silent, "silent")
        };
        let time: Duration = ms(self.draw.between_skewed(1, 4_096));
        self.stage.fault(format!("{what}: {how} for {time:?}"));
        self.stage.count(|counts| counts.cuts += 1);
        for link in &links {
            link.begin(mode);
        }
        let (stage, what) = (self.stage.clone(), what.to_owned());
        under_way.spawn_local(async move {
            stage.wait(time, Phase::Settle).await;
            for link in &links {
                link.end();
            }
            stage.fault(format!("{what}: no longer {how}"));
        });
    }
}
