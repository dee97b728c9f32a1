//! `lockwright cluster`: the nodes of a cluster.

use crate::{
    cli,
    exit::{Exit, Failure},
    http::{Api, Table, understood},
    output, units,
};
use clap::Subcommand;
use lockwright_client::DurationMs;
use lockwright_protocol::cluster::{ClusterView, NewLeader, NewNode, NodeRole};
use lockwright_server::Member;
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// Show the nodes of a cluster, add and remove some, and say who leads.
///
/// Any node can be asked. What changes something is done by the leader, which the others point at.
/// Each prints the nodes as they are then.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where nodes listen for clients, as host:port; each is asked when those before it cannot be
    #[arg(id = "server", long = "server", value_name = "ADDR,..", value_delimiter = ',',
          default_value = "127.0.0.1:9009", value_parser = cli::reachable, global = true)]
    servers: Vec<String>,

    /// Print JSON, an object a line
    #[arg(long, global = true)]
    json: bool,

    /// The file that has the nodes' admin token, for nodes that ask for one; `status` needs none
    #[arg(long, value_name = "FILE", global = true)]
    admin_token_file: Option<PathBuf>,

    #[command(subcommand)]
    what: What,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum What {
    /// Show the nodes, who leads, and how far each has come
    Status,
    /// Add a node, which gets a copy of all and has no vote yet
    ///
    /// Start it first, with --id and --peer-listen and without --peers. Promote it when it has caught
    /// up, as MATCHED of `status` tells.
    Add {
        /// The node: its number, where other nodes reach it, and where clients do
        #[arg(value_name = "N=ADDR/CLIENT_ADDR", value_parser = cli::member)]
        node: Member,
    },
    /// Give a node that was added a vote
    ///
    /// It has to have almost all that the leader has.
    Promote {
        /// Its number
        #[arg(value_name = "N", value_parser = units::number(1..=u64::MAX))]
        id: u64,

        /// Give it this long to be heard of first
        #[arg(long, value_name = "D", default_value = "10s", value_parser = units::duration)]
        wait: DurationMs,
    },
    /// Remove a node that does not lead; stop it when that is done
    ///
    /// A node that has lost its disk is removed, and added again with an empty one: until then the
    /// others do not listen to it, since it has forgotten what it has promised.
    Remove {
        /// Its number
        #[arg(value_name = "N", value_parser = units::number(1..=u64::MAX))]
        id: u64,
    },
    /// Let another node lead, as before the machine of the leader is switched off
    TransferLeader {
        /// Its number
        #[arg(value_name = "N", value_parser = units::number(1..=u64::MAX))]
        id: u64,
    },
}

const EXAMPLES: &str = "\
Examples:
  lockwright cluster status --server lock1:9009,lock2:9009,lock3:9009
  lockwright cluster add 4=lock4:7401/lock4:9009 && lockwright cluster promote 4
  lockwright cluster transfer-leader 2 && lockwright cluster remove 1

STATE is up when the node that answers (the leader, if it can be asked) has heard of a node within the
election timeout, HEARD when that was last; MATCHED is the entry of the log up to which a node is known to
have what the leader has, LAG how many are missing; `-` is what is not known. The last lines say what the node that was asked, and the leader, do or wait for;
ask a node that does not serve by its own address. A cluster of three or four voters serves while one of them is gone, one of five
while two are.

Exit codes: 0 done; 1 refused (conflict, ...), or `status` knows of no leader that answers; 2 usage; 69 no server.";

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let api = Api::of_cluster(args.servers.clone(), args.json);
    let token = args.admin_token_file.as_deref();
    // Who only looks may not be able to read it.
    let token = token.filter(|_| !matches!(args.what, What::Status));
    let api = api.for_operator(token)?;
    let mut asked = None;
    let answer = match &args.what {
        What::Status => {
            let (first, answer) = status(args, &api)?;
            asked = first;
            answer
        }
        What::Add { node } => {
            let node = NewNode {
                id: node.id,
                address: node.address.clone(),
                client_address: node.client_address.clone(),
            };
            api.change("/v1/cluster/nodes", Some(&json!(node)))?
        }
        What::Promote { id, wait } => {
            wait_for(args, &api, *id, units::std(*wait))?;
            api.change(&format!("/v1/cluster/nodes/{id}/promote"), None)?
        }
        What::Remove { id } => api.remove(&format!("/v1/cluster/nodes/{id}"))?,
        What::TransferLeader { id } => {
            let leader = NewLeader { id: *id };
            api.change("/v1/cluster/leader", Some(&json!(leader)))?
        }
    };
    let view: ClusterView = understood(&answer)?;
    let status = matches!(args.what, What::Status);
    match said(args, &view, asked.as_ref(), answer) {
        Err(failure) if !status => return Err(failure.but_done("the cluster was changed")),
        said => said?,
    }
    match view.leader {
        None if status => Err(Failure::Silent(Exit::REFUSED)),
        // Another node has heard of it within the election timeout, and it does not answer now.
        Some(leader) if status && leader != view.id => Err(Failure::new(
            Exit::REFUSED,
            format!(
                "node {leader}, which node {} takes for the leader, does not answer",
                view.id
            ),
        )),
        _ => Ok(Exit::DONE),
    }
}

fn said(
    args: &Args,
    view: &ClusterView,
    asked: Option<&ClusterView>,
    mut answer: Value,
) -> Result<(), Failure> {
    if args.json {
        if let Some(asked) = asked {
            answer["asked"] = json!({"id": asked.id, "state": asked.state});
        }
        return output::say(&answer.to_string());
    }
    show(view)?;
    for view in asked.into_iter().chain([view]) {
        say_state(view)?;
    }
    Ok(())
}

/// The cluster as its leader sees it, who alone knows how far the others have come; without a
/// leader as it is seen by the node that answers. If the leader was asked after another node, what
/// that one said comes first.
fn status(args: &Args, api: &Api) -> Result<(Option<ClusterView>, Value), Failure> {
    const PATH: &str = "/v1/cluster";
    let answer = api.look(PATH)?;
    let view: ClusterView = understood(&answer)?;
    let leader = view.leader.filter(|leader| *leader != view.id);
    let leader = view.nodes.iter().find(|node| Some(node.id) == leader);
    let Some(leader) = leader else {
        return Ok((None, answer));
    };
    let address = leader.client_address.clone();
    let asked = Api::of_cluster(vec![address], args.json);
    Ok(match asked.look_if_there(PATH) {
        Some(of_leader) => (Some(view), of_leader),
        None => (None, answer),
    })
}

/// Waits until the leader has heard of a node that was added. If it does not, the leader says why the
/// node cannot be promoted.
fn wait_for(args: &Args, api: &Api, id: u64, wait: Duration) -> Result<(), Failure> {
    const AGAIN: Duration = Duration::from_millis(100);
    let until = Instant::now() + wait;
    while Instant::now() < until {
        let view: ClusterView = understood(&status(args, api)?.1)?;
        let node = view.nodes.iter().find(|node| node.id == id);
        if node.is_none_or(|node| node.role == NodeRole::Voter || node.matched.is_some()) {
            return Ok(());
        }
        std::thread::sleep(AGAIN);
    }
    Ok(())
}

fn show(view: &ClusterView) -> Result<(), Failure> {
    let voters = view
        .nodes
        .iter()
        .filter(|node| node.role == NodeRole::Voter);
    let leader = match view.leader {
        Some(leader) => format!("node {leader} leads"),
        None => "no leader is known".to_owned(),
    };
    output::say(&format!(
        "{leader}; {} nodes, {} of them voters; term {}, entry {} applied, says node {}",
        view.nodes.len(),
        voters.count(),
        view.term,
        view.last_applied,
        view.id
    ))?;
    table(view).print()
}

/// What a node does or waits for, if it tells.
fn say_state(view: &ClusterView) -> Result<(), Failure> {
    match &view.state {
        Some(state) => output::say(&format!("node {}: {}", view.id, state.text)),
        None => Ok(()),
    }
}

fn table(view: &ClusterView) -> Table {
    let mut table = Table::new(&[
        "NODE", "ROLE", "STATE", "HEARD", "LAG", "MATCHED", "ADDRESS", "CLIENTS",
    ]);
    for node in &view.nodes {
        let role = match node.role {
            _ if view.leader == Some(node.id) => "leader",
            NodeRole::Voter => "voter",
            NodeRole::Learner => "learner",
        };
        let or_dash =
            |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let state = match node.up {
            Some(true) => "up",
            Some(false) => "down",
            None => "-",
        };
        let heard = node.heard_ms.map(|ms| format!("{ms}ms ago"));
        table.row(vec![
            node.id.to_string(),
            role.to_owned(),
            state.to_owned(),
            heard.unwrap_or_else(|| "-".to_owned()),
            or_dash(node.lag),
            or_dash(node.matched),
            node.address.clone(),
            node.client_address.clone(),
        ]);
    }
    table
}
