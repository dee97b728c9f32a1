//! An operator: changes which nodes a cluster has, and who leads, over HTTP, as the documentation says
//! that it is done (docs/cluster.md), and as patiently as a person.

use super::{
    env::SimEnv,
    host::{Host, simulated},
    http_wire::{self, Answer, Question},
    server_host::{ADMIN_TOKEN, address_of, id_of, member},
    stage::{Busy, Stage, Worker},
};
use crate::{
    op::Text,
    oracle::service::{
        Happening,
        members::{ChangeAnswer, NodeChange, index_of},
    },
    plan::{OperatorDeed, OperatorPlan, OperatorStep},
};
use lockwright_env::{Env as _, timeout};
use lockwright_protocol::cluster::{ClusterView, NewLeader, NewNode, NodeRole};
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// An answer that takes longer is not waited for. The server's patience is longer: what is given up
/// here may still be done there.
const PATIENCE: Duration = Duration::from_secs(3);

/// After an answer that says that it is not done.
const PAUSE: Duration = Duration::from_millis(100);

/// Nobody tries more often.
const TRIES_MAX: u32 = 100;

/// How long a node has to be gone, or to be there, before the operator goes on.
const MOMENT: Duration = Duration::from_millis(20);

/// The operator of a plan.
pub(super) struct Operator {
    stage: Arc<Stage>,
    host: Host,
    plan: OperatorPlan,
    /// The node that is asked first.
    asked: usize,
    /// Nodes that are certainly none of the cluster.
    gone: BTreeSet<usize>,
    _busy: Busy,
}

impl Operator {
    /// On a host in its life number `start`.
    pub(super) fn new(stage: &Arc<Stage>, plan: &OperatorPlan, start: u32) -> Operator {
        let nodes = stage.nodes.len();
        // Who starts again does not know what was confirmed before.
        let newcomers = if start == 1 { plan.newcomers } else { 0 };
        Operator {
            stage: stage.clone(),
            host: stage.hosts[plan.host].clone(),
            plan: plan.clone(),
            asked: 0,
            gone: (nodes - newcomers..nodes).collect(),
            _busy: stage.busy(Worker::Attempt(Text::from(format!("operator-{start}")))),
        }
    }

    /// Does what is to be done from now on, one thing after the other.
    pub(super) async fn run(mut self) {
        let born = simulated();
        for (number, step) in self.plan.steps.clone().into_iter().enumerate() {
            let at = Duration::from_millis(step.at_ms);
            if at < born {
                continue;
            }
            self.host.sleep_until_simulated(at).await;
            let until = simulated() + Duration::from_millis(step.for_ms);
            let is_done = self.take(step, until).await.is_some();
            let what = Text::from(step.deed.to_string());
            self.happen(&Happening::StepOver {
                number,
                what,
                is_done,
            });
        }
    }

    /// One step; none when it is given up.
    async fn take(&mut self, step: OperatorStep, until: Duration) -> Option<()> {
        match step.deed {
            OperatorDeed::Transfer { node } => {
                self.change(NodeChange::Lead(node), until).await?;
            }
            OperatorDeed::Remove { node, linger_ms } => {
                self.remove(node, until).await?;
                let linger = Duration::from_millis(linger_ms);
                self.host.sleep_until_simulated(simulated() + linger).await;
                self.stage.nodes[node].stop_for_good();
            }
            OperatorDeed::Add { node } => self.add(node, until).await?,
            OperatorDeed::Rebuild { node } => {
                self.remove(node, until).await?;
                // From here on it is not asked to promise anything.
                self.stage.replace(node);
                self.host.sleep_until_simulated(simulated() + MOMENT).await;
                self.add(node, until).await?;
            }
        }
        Some(())
    }

    /// Until the cluster confirms that the node is none of it any more.
    async fn remove(&mut self, node: usize, until: Duration) -> Option<()> {
        if !self.gone.contains(&node) {
            self.change(NodeChange::Remove(node), until).await?;
            self.gone.insert(node);
        }
        Some(())
    }

    async fn add(&mut self, node: usize, until: Duration) -> Option<()> {
        self.gone.remove(&node);
        // One that runs stays as it is: it may be among those that are about to form the cluster.
        if self.stage.nodes[node].is_stopped() {
            self.stage.nodes[node].start_as_newcomer();
        }
        self.change(NodeChange::Add(node), until).await?;
        self.change(NodeChange::Promote(node), until).await?;
        Some(())
    }

    /// Asks until it is done; none when it is given up.
    async fn change(&mut self, change: NodeChange, until: Duration) -> Option<ClusterView> {
        for _ in 0..TRIES_MAX {
            if simulated() >= until {
                return None;
            }
            match self.round(change, until).await {
                ChangeAnswer::Done(view) => return Some(view),
                // Time does not bring it.
                ChangeAnswer::Refused { why, .. } if why.contains("the cluster has no node") => {
                    return None;
                }
                ChangeAnswer::Refused { status: 409, .. } => {
                    if let NodeChange::Remove(node) = change {
                        self.hand_over(node, until).await;
                    }
                }
                ChangeAnswer::Refused { .. } | ChangeAnswer::Nothing => self.turn_to_the_next(),
            }
            self.host.sleep_until_simulated(simulated() + PAUSE).await;
        }
        None
    }

    /// Asks a node, and then the leader that it points at.
    async fn round(&mut self, change: NodeChange, until: Duration) -> ChangeAnswer {
        let (answer, leader) = self.once(change, until).await;
        match leader {
            Some(leader) if leader != self.asked => {
                self.asked = leader;
                self.once(change, until).await.0
            }
            _ => answer,
        }
    }

    /// One try, at one node; and which node it says leads.
    async fn once(&mut self, change: NodeChange, until: Duration) -> (ChangeAnswer, Option<usize>) {
        let node = self.asked;
        self.happen(&Happening::ChangeAsked { node, change });
        let answer = self.ask(node, &self.question(change), until).await;
        let leader = answer.as_ref().and_then(|answer| self.leader_in(answer));
        let answer = answer.as_ref().map_or(ChangeAnswer::Nothing, understood);
        let answered = Happening::ChangeAnswered {
            change,
            answer: answer.clone(),
        };
        self.happen(&answered);
        (answer, leader)
    }

    /// A leader that is to be removed has to be replaced first.
    async fn hand_over(&mut self, node: usize, until: Duration) {
        let Some(view) = self.look(until).await else {
            return;
        };
        if view.leader.map(index_of) != Some(node) {
            return;
        }
        let voters = view.nodes.iter();
        let voters = voters.filter(|one| one.role == NodeRole::Voter);
        let others = voters.map(|one| index_of(one.id));
        let others: Vec<usize> = others.filter(|other| *other != node).collect();
        let after = others.iter().find(|other| **other > node);
        if let Some(other) = after.or(others.first()) {
            self.round(NodeChange::Lead(*other), until).await;
        }
    }

    /// The cluster as the node sees it that was asked last.
    async fn look(&self, until: Duration) -> Option<ClusterView> {
        let question = Question {
            method: "GET",
            target: "/v1/cluster".to_owned(),
            body: None,
            headers: String::new(),
        };
        let answer = self.ask(self.asked, &question, until).await?;
        (answer.status == 200).then(|| viewed(&answer))
    }

    async fn ask(&self, node: usize, question: &Question, until: Duration) -> Option<Answer> {
        let env = SimEnv::new(self.host.clone());
        let asking = async {
            let mut stream = env.connect(&address_of(&self.stage, node)).await?;
            http_wire::ask(&mut stream, question).await
        };
        let patience = PATIENCE.min(until.saturating_sub(simulated()) + PAUSE);
        timeout(&env, patience, asking).await.ok()?.ok()
    }

    fn question(&self, change: NodeChange) -> Question {
        let id = id_of(change.node());
        let (method, target, body) = match change {
            NodeChange::Lead(_) => ("POST", "leader".to_owned(), Some(json!(NewLeader { id }))),
            NodeChange::Add(node) => {
                let member = member(&self.stage, node);
                let new = NewNode {
                    id: member.id,
                    address: member.address,
                    client_address: member.client_address,
                };
                ("POST", "nodes".to_owned(), Some(json!(new)))
            }
            NodeChange::Promote(_) => ("POST", format!("nodes/{id}/promote"), None),
            NodeChange::Remove(_) => ("DELETE", format!("nodes/{id}"), None),
        };
        Question {
            method,
            target: format!("/v1/cluster/{target}"),
            body,
            headers: format!("Authorization: Bearer {ADMIN_TOKEN}\r\n"),
        }
    }

    fn leader_in(&self, answer: &Answer) -> Option<usize> {
        let leader = answer.body["leader"]
            .as_str()
            .filter(|_| answer.status == 503)?;
        let mut nodes = 0..self.stage.nodes.len();
        nodes.find(|node| address_of(&self.stage, *node) == leader)
    }

    /// Nodes that the operator has stopped are not asked.
    fn turn_to_the_next(&mut self) {
        let nodes = self.stage.nodes.len();
        let mut others = (1..=nodes).map(|more| (self.asked + more) % nodes);
        let next = others.find(|node| !self.stage.nodes[*node].is_stopped());
        self.asked = next.unwrap_or(self.asked);
    }

    fn happen(&self, happening: &Happening) {
        self.stage.happen(simulated(), happening);
    }
}

/// What an answer says about a change.
fn understood(answer: &Answer) -> ChangeAnswer {
    if answer.status == 200 {
        return ChangeAnswer::Done(viewed(answer));
    }
    let why = answer.body["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let perhaps_done = match answer.status {
        409 => false,
        _ => answer.body["done"] != false,
    };
    ChangeAnswer::Refused {
        status: answer.status,
        why,
        perhaps_done,
    }
}

fn viewed(answer: &Answer) -> ClusterView {
    let view = serde_json::from_value(answer.body.clone());
    view.expect("what is answered with 200 is a view of the cluster")
}
