//! What crosses plain HTTP about the nodes of a cluster: for operators.
//!
//! `GET /v1/cluster` tells of them. `POST /v1/cluster/nodes` ([`NewNode`]) adds a node as a
//! learner, `POST /v1/cluster/nodes/{id}/promote` makes a learner a voter,
//! `DELETE /v1/cluster/nodes/{id}` removes a node, and `POST /v1/cluster/leader` ([`NewLeader`])
//! hands leadership over. Each is answered with [`ClusterView`] as it is after the change.

use serde::{Deserialize, Serialize};

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
    fn a_misspelt_body_is_refused() {
        assert!(serde_json::from_str::<NewLeader>(r#"{"id":1,"force":true}"#).is_err());
        assert!(serde_json::from_str::<NewNode>(r#"{"id":1,"address":"h:1"}"#).is_err());
    }
}
