//! What makes a server a node of a cluster.

use crate::{cli, exit::Failure, secrets, units};
use lockwright_client::DurationMs;
use lockwright_server::{ClusterConfig, Member, Storage};
use std::{path::PathBuf, time::Duration};

/// The shortest time between two signs of life of a leader.
const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

/// Signs of life that may get lost before a leader is missed.
const HEARTBEATS: u32 = 3;

/// One of several nodes that are one service.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct Cluster {
    /// Be node N of a cluster: 1 or more, and never the number of another node. Needs --data, a
    /// directory of its own
    #[arg(long, value_name = "N", value_parser = units::number(1..=u64::MAX))]
    id: Option<u64>,

    /// Those who form the cluster when it starts for the first time, this node among them, and the
    /// same at all of them: of each its number, where other nodes reach it, and where clients do.
    /// Without it the node waits until `lockwright cluster add` adds it. What a node has stored
    /// counts more
    #[arg(long, value_name = "N=ADDR/CLIENT_ADDR,..", value_delimiter = ',', value_parser = cli::member)]
    peers: Vec<Member>,

    /// Where to listen for other nodes, as host:port [default: its address in --peers]
    #[arg(long, value_name = "ADDR", value_parser = cli::address)]
    peer_listen: Option<String>,

    /// The name of the cluster: nodes of another one are refused [default: lockwright]
    #[arg(long, value_name = "NAME")]
    cluster_name: Option<String>,

    /// The file that has what only the nodes of this cluster know, the same at all of them: who does not is
    /// no node. Without it whoever reaches the address for nodes can take part
    #[arg(long, value_name = "FILE")]
    cluster_secret_file: Option<PathBuf>,

    /// How often a leader says that it is there; at least 10ms [default: 100ms]
    #[arg(long, value_name = "D", value_parser = units::duration_above_zero)]
    heartbeat: Option<DurationMs>,

    /// A node that hears of no leader for this long, or up to twice as long, tries to become one;
    /// at least three heartbeats [default: 400ms]
    #[arg(long, value_name = "D", value_parser = units::duration_above_zero)]
    election_timeout: Option<DurationMs>,

    /// Sessions of a node that is not heard of for this long count as detached; at least the
    /// election timeout [default: 5s]
    #[arg(long, value_name = "D", value_parser = units::duration_above_zero)]
    node_timeout: Option<DurationMs>,
}

impl Cluster {
    /// The cluster that the server is to be a node of, if it is to be one.
    pub(super) fn config(&self, storage: &Storage) -> Result<Option<ClusterConfig>, Failure> {
        let Some(id) = self.id else {
            return match self.given_without_id() {
                Some(option) => Err(Failure::usage(format!(
                    "{option} is for a node of a cluster: give --id too, the node's number"
                ))),
                None => Ok(None),
            };
        };
        if *storage == Storage::Memory {
            return Err(Failure::usage(
                "a node of a cluster cannot keep its state in memory: one that forgets for whom it \
                 voted, and what it has acknowledged, breaks the promises of all; give --data DIR",
            ));
        }
        let listen = self.listen(id)?;
        let mut config = ClusterConfig::new(id, listen, self.peers.clone());
        if let Some(name) = &self.cluster_name {
            config.name.clone_from(name);
        }
        let secret = self.cluster_secret_file.as_deref();
        config.secret = secrets::read_if_given("--cluster-secret-file", secret)?;
        let set = |to: &mut Duration, given: Option<DurationMs>| {
            if let Some(given) = given {
                *to = units::std(given);
            }
        };
        set(&mut config.heartbeat, self.heartbeat);
        set(&mut config.election_timeout, self.election_timeout);
        set(&mut config.node_timeout, self.node_timeout);
        check(&config).map_err(Failure::usage)?;
        Ok(Some(config))
    }

    /// Where clients reach this node, by what --peers says.
    pub(super) fn client_address(&self) -> Option<&str> {
        let ours = self.peers.iter().find(|peer| Some(peer.id) == self.id)?;
        Some(&ours.client_address)
    }

    fn listen(&self, id: u64) -> Result<String, Failure> {
        let ours = self.peers.iter().find(|peer| peer.id == id);
        let told = self.peer_listen.clone();
        told.or_else(|| ours.map(|ours| ours.address.clone()))
            .ok_or_else(|| {
                Failure::usage(if self.peers.is_empty() {
                    "where should other nodes reach this one? Give --peer-listen HOST:PORT, and \
                     --peers unless the node is to be added to a cluster that is there"
                        .to_owned()
                } else {
                    not_among_them(id, &self.peers)
                })
            })
    }

    fn given_without_id(&self) -> Option<&'static str> {
        let given = [
            ("--peers", !self.peers.is_empty()),
            ("--peer-listen", self.peer_listen.is_some()),
            ("--cluster-name", self.cluster_name.is_some()),
            ("--cluster-secret-file", self.cluster_secret_file.is_some()),
            ("--heartbeat", self.heartbeat.is_some()),
            ("--election-timeout", self.election_timeout.is_some()),
            ("--node-timeout", self.node_timeout.is_some()),
        ];
        given
            .into_iter()
            .find_map(|(name, given)| given.then_some(name))
    }
}

fn not_among_them(id: u64, members: &[Member]) -> String {
    let ids: Vec<String> = members.iter().map(|member| member.id.to_string()).collect();
    format!(
        "--id is {id}, and --peers has {}: a node that helps to form the cluster is one of its \
         peers; one that is to be added later is given no --peers",
        ids.join(", ")
    )
}

/// Says what makes no sense.
fn check(config: &ClusterConfig) -> Result<(), String> {
    let members = &config.members;
    if !members.is_empty() && members.iter().all(|member| member.id != config.id) {
        return Err(not_among_them(config.id, members));
    }
    if let Some(twice) = twice(members.iter().map(|member| member.id.to_string())) {
        return Err(format!(
            "--peers has node {twice} twice: number them differently"
        ));
    }
    let addresses = members
        .iter()
        .flat_map(|member| [member.address.clone(), member.client_address.clone()]);
    if let Some(twice) = twice(addresses) {
        return Err(format!(
            "--peers has the address {twice} twice: each node has one for other nodes and another \
             one for clients, and shares them with nobody"
        ));
    }
    if config.name.is_empty() || config.name.chars().any(char::is_control) {
        return Err("--cluster-name is empty, or has control characters".to_owned());
    }
    let (heartbeat, election) = (config.heartbeat, config.election_timeout);
    if heartbeat < HEARTBEAT_MIN {
        return Err(format!(
            "--heartbeat is {heartbeat:?}, expected at least {HEARTBEAT_MIN:?}"
        ));
    }
    if election < heartbeat * HEARTBEATS {
        return Err(format!(
            "--election-timeout is {election:?}, expected at least three times --heartbeat, which \
             is {heartbeat:?}: a leader must not be missed because one or two signs of life get lost"
        ));
    }
    if config.node_timeout < election {
        return Err(format!(
            "--node-timeout is {:?}, expected at least --election-timeout, which is {election:?}",
            config.node_timeout
        ));
    }
    Ok(())
}

/// The first that was there before.
fn twice(all: impl Iterator<Item = String>) -> Option<String> {
    let mut seen = std::collections::BTreeSet::new();
    all.into_iter().find(|one| !seen.insert(one.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches};

    fn config(args: &[&str]) -> Result<Option<ClusterConfig>, String> {
        let command = Cluster::augment_args(clap::Command::new("serve").no_binary_name(true));
        let matches = command
            .try_get_matches_from(args)
            .map_err(|error| error.to_string())?;
        let cluster = Cluster::from_arg_matches(&matches).unwrap();
        cluster
            .config(&Storage::Directory("data".into()))
            .map_err(|failure| failure.message().unwrap_or_default().to_owned())
    }

    const THREE: &str = "1=a:1/a:2,2=b:1/b:2,3=[::1]:1/[::1]:2";

    #[test]
    fn a_server_without_an_id_is_alone() {
        assert_eq!(config(&[]), Ok(None));
        for option in [
            ["--peers", THREE],
            ["--peer-listen", "a:1"],
            ["--heartbeat", "1s"],
        ] {
            let error = config(&option).unwrap_err();
            assert!(
                error.contains(option[0]) && error.contains("--id"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let ours = config(&["--id", "2", "--peers", THREE]).unwrap().unwrap();
        assert_eq!(ours, ClusterConfig::new(2, "b:1", ours.members.clone()));
        assert_eq!(ours.members.len(), 3);
        assert_eq!(ours.members[2].client_address, "[::1]:2");
        // The help says what they are.
        let mut command = Cluster::augment_args(clap::Command::new("serve"));
        let help = command.render_long_help().to_string();
        let help: Vec<&str> = help.split_whitespace().collect();
        let help = help.join(" ");
        for default in [ours.heartbeat, ours.election_timeout, ours.node_timeout] {
            let told = format!("[default: {default:?}]");
            assert_eq!(help.matches(&told).count(), 1, "{told}: {help}");
        }
        let waits = config(&["--id", "4", "--peer-listen", "d:1"]).unwrap();
        assert_eq!(waits, Some(ClusterConfig::new(4, "d:1", Vec::new())));
    }

    #[test]
    fn all_can_be_set() {
        let mut expected = ClusterConfig::new(1, "0.0.0.0:7401", Vec::new());
        expected.name = "ours".to_owned();
        expected.heartbeat = Duration::from_millis(20);
        expected.election_timeout = Duration::from_millis(60);
        expected.node_timeout = Duration::from_secs(1);
        let args = "--id 1 --peer-listen 0.0.0.0:7401 --cluster-name ours --heartbeat 20ms \
                    --election-timeout 60ms --node-timeout 1s";
        let args: Vec<&str> = args.split(' ').filter(|arg| !arg.is_empty()).collect();
        assert_eq!(config(&args), Ok(Some(expected)));
    }

    #[test]
    fn what_makes_no_sense_is_told_with_what_to_do() {
        for (args, expected) in [
            (&["--id", "4", "--peers", THREE][..], "has 1, 2, 3"),
            (
                &["--id", "4", "--peers", THREE, "--peer-listen", "d:1"],
                "has 1, 2, 3",
            ),
            (&["--id", "1"], "--peer-listen"),
            (&["--id", "0"], "expected a whole number from 1 to "),
            (
                &["--id", "1", "--peers", "1=a:1/a:2,1=b:1/b:2"],
                "node 1 twice",
            ),
            (
                &["--id", "1", "--peers", "1=a:1/a:2,2=a:2/b:2"],
                "a:2 twice",
            ),
            (
                &["--id", "1", "--peers", "1=a:1"],
                "10.0.0.1:7401/10.0.0.1:9009",
            ),
            (&["--id", "1", "--peers", "0=a:1/a:2"], "is no node"),
            (&["--id", "1", "--peers", "1=a:1/a"], "is no node"),
            (
                &["--id", "1", "--peers", THREE, "--heartbeat", "9ms"],
                "at least 10ms",
            ),
            (
                &["--id", "1", "--peers", THREE, "--heartbeat", "201ms"],
                "three times",
            ),
            (
                &["--id", "1", "--peers", THREE, "--node-timeout", "10ms"],
                "--election-timeout",
            ),
            (
                &["--id", "1", "--peers", THREE, "--cluster-name", ""],
                "--cluster-name",
            ),
        ] {
            let error = config(args).expect_err(expected);
            assert!(error.contains(expected), "{args:?}: {error}");
        }
    }
}
