//! openraft with our types.

use super::{state::State, ticket::Ticket};
use crate::{Member, proposal::Proposal};
use openraft::{
    EntryPayload, OptionalSend, RaftTypeConfig,
    impls::{BoxedErrorSource, InlineBatch, leader_id_std},
    vote::RaftLeaderId,
};
use openraft_rt_tokio::TokioRuntime;
use std::sync::Arc;

/// openraft's choice of types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Types;

impl RaftTypeConfig for Types {
    /// Shared: an entry is in the log, and on its way to the machine, at the same time.
    type D = Arc<Proposal>;
    /// Nothing: what a proposal comes to is told to the node that wants it, which need not be the
    /// leader.
    type R = ();
    type NodeId = u64;
    type Node = Member;
    type Term = u64;
    /// At most one node leads in a term.
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Arc<Proposal>, u64, Member>;
    type Entry = openraft::impls::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = TokioRuntime;
    type Responder<T>
        = Ticket<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

pub(super) type Raft = openraft::Raft<Types, State>;
pub(super) type Entry = openraft::alias::EntryOf<Types>;
pub(super) type LogId = openraft::alias::LogIdOf<Types>;
pub(super) type Vote = openraft::alias::VoteOf<Types>;
pub(super) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
pub(super) type Snapshot = openraft::alias::SnapshotOf<Types, Vec<u8>>;
pub(super) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;

/// The replica does not run any more.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the replica has stopped: {why}")]
pub(crate) struct Stopped {
    pub(crate) why: String,
}
