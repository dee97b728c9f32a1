//! What crosses plain HTTP about the nodes of a cluster: for operators.
//!
//! `GET /v1/cluster` tells of them. `POST /v1/cluster/nodes` ([`NewNode`]) adds a node as a
//! learner, `POST /v1/cluster/nodes/{id}/promote` makes a learner a voter,
//! `DELETE /v1/cluster/nodes/{id}` removes a node, and `POST /v1/cluster/leader` ([`NewLeader`])
//! hands leadership over. Each is answered with [`ClusterView`] as it is after the change.

use serde::{Deserialize, Serialize};
use std::net::{Ipv6Addr, SocketAddrV6};

/// A cluster as one of its nodes sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterView {
    /// The node that answers.
    pub id: u64,
    /// The leader; null when the node knows of none.
    pub leader: Option<u64>,
    /// The term that the node is in.
    pub term: u64,
    /// All nodes, by their ids.
    pub nodes: Vec<NodeView>,
    /// The last entry of the log that the node has applied; 0 when there is none.
    pub last_applied: u64,
    /// What the node that answers does, or waits for; left out by servers that do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<NodeState>,
}

/// What a node does, or what it waits for before it serves clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeState {
    /// Whether it serves clients.
    pub ready: bool,
    /// What it waits for; null when it serves.
    pub reason: Option<Waiting>,
    /// All that it knows of this, for people.
    pub text: String,
    /// For how long this has been so, in ms by the node's own clock.
    pub for_ms: u64,
    /// How many entries that are committed, as far as the node has heard, it has not applied yet.
    pub behind: u64,
}

/// What a node waits for before it serves clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// Its replica has ended: it never serves again.
    Stopped,
    /// The cluster is not formed: not all of its members have answered.
    NotFormed,
    /// It is no member of the cluster, as far as it knows: it was removed, or is not added yet.
    NotMember,
    /// It hears of no leader.
    NoLeader,
    /// It leads, and hears of no majority.
    NoMajority,
    /// It leads, and the entry with which it begins is not applied yet.
    Preparing,
    /// It is sent a snapshot, or installs one.
    Snapshot,
    /// It follows a leader, and its link to the leader is not open.
    LinkDown,
    /// It follows a leader, and the leader does not take its proposals yet.
    NotWelcome,
    /// It was added, has not joined yet, and takes no part in elections before it has.
    VoteGate,
    /// It has not joined: the entry that says so is not applied.
    NotJoined,
    /// What it has proposed is not agreed on for too long.
    NothingAgreed,
    /// It was told to stop, and grants nothing new.
    Draining,
}

impl Waiting {
    /// The code, as it is in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Waiting::Stopped => "stopped",
            Waiting::NotFormed => "not_formed",
            Waiting::NotMember => "not_member",
            Waiting::NoLeader => "no_leader",
            Waiting::NoMajority => "no_majority",
            Waiting::Preparing => "preparing",
            Waiting::Snapshot => "snapshot",
            Waiting::LinkDown => "link_down",
            Waiting::NotWelcome => "not_welcome",
            Waiting::VoteGate => "vote_gate",
            Waiting::NotJoined => "not_joined",
            Waiting::NothingAgreed => "nothing_agreed",
            Waiting::Draining => "draining",
        }
    }
}

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeView {
    /// Its id, 1 or more.
    pub id: u64,
    /// Where other nodes reach it, written `host:port`.
    pub address: String,
    /// Where clients reach it, written `host:port`.
    pub client_address: String,
    /// What it counts for.
    pub role: NodeRole,
    /// Up to which entry its log is known to be that of the leader; null unless the leader
    /// answers and has heard of it.
    pub matched: Option<u64>,
    /// Whether the node that answers has heard of it within the election timeout; left out when it has
    /// no reason to hear of it: only the leader, and a node that stands for election, ask all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// How long ago the node that answers heard of it last, in ms by its own clock; left out when it
    /// never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_ms: Option<u64>,
    /// How many entries of the leader's log it is not known to have; left out unless the leader answers
    /// and has heard of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
}

/// What a node counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    /// It votes, and what a majority of those has stored is acknowledged.
    Voter,
    /// It has a copy of all, and no vote.
    Learner,
}

/// Body of `POST /v1/cluster/nodes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewNode {
    /// Its id, 1 or more, and never that of another node.
    pub id: u64,
    /// Where other nodes reach it, written `host:port`.
    pub address: String,
    /// Where clients reach it, written `host:port`.
    pub client_address: String,
}

/// Body of `POST /v1/cluster/leader`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewLeader {
    /// The voter that is to lead.
    pub id: u64,
}

/// What is wrong with a text as `host:port`, if anything is.
#[must_use]
pub fn address_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("there is nothing");
    }
    if text.contains(char::is_whitespace) {
        return Some("it has a blank");
    }
    if text.contains('/') {
        return Some("it has a `/`, and no other scheme than http:// is known");
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Some("the port is missing");
    };
    if let Some(inside) = host.strip_prefix('[') {
        // One of the link has a number of its interface behind it.
        let is_whole = format!("[{inside}:0").parse::<SocketAddrV6>().is_ok();
        if !is_whole {
            return Some("what is in brackets is no IPv6 address");
        }
    } else if host.contains(':') || text.parse::<Ipv6Addr>().is_ok() {
        return Some("an IPv6 address stands in brackets");
    } else if host.is_empty() {
        return Some("the host is missing");
    } else if !is_host_name(host) {
        return Some("the host has a character that no name has");
    }
    match port.parse::<u16>() {
        Ok(_) => None,
        Err(_) => Some("the port is no number up to 65535"),
    }
}

/// What is wrong with a text as an address at which a server is reached, if anything is.
#[must_use]
pub fn reachable_fault(text: &str) -> Option<&'static str> {
    let port = || text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match address_fault(text) {
        None if port() == Some(Ok(0)) => Some("nothing is ever reached at port 0"),
        fault => fault,
    }
}

/// Whether a text has only what names of hosts consist of, and is not empty.
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.bytes().all(is_of_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_the_json_that_is_documented() {
        let text = r#"{"id":1,"leader":null,"term":7,"nodes":[{"id":1,"address":"h:7401","client_address":"h:7301","role":"voter","matched":null},{"id":2,"address":"i:7401","client_address":"i:7301","role":"learner","matched":12}],"last_applied":1234}"#;
        let view: ClusterView = serde_json::from_str(text).unwrap();
        assert_eq!(view.nodes[1].role, NodeRole::Learner);
        assert_eq!(serde_json::to_string(&view).unwrap(), text);
    }

    #[test]
    fn a_node_tells_its_state_in_the_json_that_is_documented() {
        let text = r#"{"ready":false,"reason":"vote_gate","text":"has not joined","for_ms":36000,"behind":936}"#;
        let state: NodeState = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&state).unwrap(), text);
        let ready = NodeState {
            ready: true,
            reason: None,
            ..state
        };
        let json = serde_json::to_string(&ready).unwrap();
        assert!(json.contains(r#""ready":true,"reason":null"#), "{json}");
    }

    #[test]
    fn a_reason_has_the_same_name_in_json_and_in_text() {
        for reason in [
            Waiting::Stopped,
            Waiting::NotFormed,
            Waiting::NotMember,
            Waiting::NoLeader,
            Waiting::NoMajority,
            Waiting::Preparing,
            Waiting::Snapshot,
            Waiting::LinkDown,
            Waiting::NotWelcome,
            Waiting::VoteGate,
            Waiting::NotJoined,
            Waiting::NothingAgreed,
            Waiting::Draining,
        ] {
            assert_eq!(serde_json::json!(reason), reason.as_str());
        }
    }

    #[test]
    fn a_misspelt_body_is_refused() {
        assert!(serde_json::from_str::<NewLeader>(r#"{"id":1,"force":true}"#).is_err());
        assert!(serde_json::from_str::<NewNode>(r#"{"id":1,"address":"h:1"}"#).is_err());
    }

    #[test]
    fn an_address_that_is_reached_is_one_with_a_port() {
        for address in ["h:1", "h:65535", "[::1]:9009", "10.0.0.1:7401", "a_b-c.d:1"] {
            assert_eq!(reachable_fault(address), None, "{address}");
        }
        for address in ["h:0", "[::1]:0", "h:00"] {
            assert_eq!(address_fault(address), None, "{address}");
            let fault = reachable_fault(address).unwrap_or_default();
            assert!(fault.contains("port 0"), "{address}: {fault}");
        }
        for address in [
            "", "h", "h:", ":1", "h:65536", "h:-1", "h :1", "h:1/", "::1:1", "[h]:1",
        ] {
            assert!(reachable_fault(address).is_some(), "{address}");
        }
    }
}
