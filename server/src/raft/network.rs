//! The links of a cluster of one: there are none.

use super::types::{Snapshot, Types, Vote};
use openraft::{
    BasicNode, OptionalSend, RaftNetworkFactory,
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, v2::RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
    },
};
use std::{future::Future, io};

/// Reaches nobody.
pub(super) struct NoNetwork;

/// A link to nobody.
pub(super) struct NoLink;

fn alone() -> Unreachable<Types> {
    Unreachable::new(&io::Error::other("this server is a cluster of one"))
}

impl RaftNetworkFactory<Types> for NoNetwork {
    type Network = NoLink;

    async fn new_client(&mut self, _target: u64, _node: &BasicNode) -> NoLink {
        NoLink
    }
}

impl RaftNetworkV2<Types> for NoLink {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        Err(alone().into())
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Err(alone().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Err(alone().into())
    }
}
