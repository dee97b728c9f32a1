//! Calling other replicas.
//!
//! A link is opened when something is to be said, used for one call after the other, and dropped when
//! a call fails or is not answered in time: nobody knows then where in it the other side is.

use super::{
    calls::{Answer, Call, PART_BYTES},
    types::{Snapshot, Types, Vote},
};
use crate::{
    Member,
    peer::{Dialer, Link, Purpose, wire},
};
use lockwright_env::{Env, timeout};
use openraft::{
    OptionalSend, RaftNetworkFactory,
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, v2::RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use std::{future::Future, io, sync::Mutex, time::Duration};

/// Opens links to other replicas; none in a cluster of one.
pub(super) struct Network<E> {
    pub(super) dialer: Option<Dialer<E>>,
    /// How long an answer may take.
    pub(super) patience: Duration,
}

/// A link to another replica, open or not.
pub(super) struct RaftLink<E: Env> {
    dialer: Option<Dialer<E>>,
    patience: Duration,
    to: u64,
    address: String,
    /// In a lock, which is never waited for, since openraft wants to share it.
    link: Mutex<Option<Link<E>>>,
}

impl<E: Env> RaftNetworkFactory<Types> for Network<E> {
    type Network = RaftLink<E>;

    async fn new_client(&mut self, target: u64, node: &Member) -> RaftLink<E> {
        RaftLink {
            dialer: self.dialer.clone(),
            patience: self.patience,
            to: target,
            address: node.address.clone(),
            link: Mutex::new(None),
        }
    }
}

impl<E: Env> RaftLink<E> {
    fn link(&mut self) -> &mut Option<Link<E>> {
        let link = self.link.get_mut();
        link.expect("nobody panics while it is locked")
    }

    async fn call(&mut self, call: &Call, is_answered: bool) -> io::Result<Option<Answer>> {
        let Some(dialer) = self.dialer.clone() else {
            return Err(io::Error::other("this server is a cluster of one"));
        };
        let patience = self.patience;
        let asking = async {
            // A call that fails or is given up leaves no link.
            let mut link = match self.link().take() {
                Some(link) => link,
                None => {
                    let opened = dialer.open(self.to, &self.address, Purpose::Raft).await?;
                    opened.0
                }
            };
            wire::write(&mut link, call).await?;
            let answer = match is_answered {
                true => Some(wire::read(&mut link).await?),
                false => None,
            };
            *self.link() = Some(link);
            Ok::<_, io::Error>(answer)
        };
        let answer = timeout(&dialer.env, patience, asking).await;
        match answer.map_err(|elapsed| io::Error::new(io::ErrorKind::TimedOut, elapsed))?? {
            Some(Answer::Failed(why)) => Err(io::Error::other(why)),
            answer => Ok(answer),
        }
    }

    async fn ask<T>(
        &mut self,
        call: Call,
        answer_of: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<T, Unreachable<Types>> {
        let answer = self.call(&call, true).await;
        let answer = answer.and_then(|answer| {
            let answer = answer.and_then(answer_of);
            answer.ok_or_else(|| io::Error::other("an answer to something else"))
        });
        answer.map_err(|error| {
            *self.link() = None;
            Unreachable::new(&error)
        })
    }

    async fn send_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<Types>, Unreachable<Types>> {
        let bytes = snapshot.snapshot;
        let begin = Call::Snapshot {
            vote,
            meta: snapshot.meta,
            bytes: bytes.len() as u64,
        };
        self.tell(&begin).await?;
        let mut parts = bytes.chunks(PART_BYTES).collect::<Vec<_>>();
        let last = parts.pop().expect("a snapshot has bytes");
        for part in parts {
            let taken = |answer| matches!(answer, Answer::Taken).then_some(());
            self.ask(Call::SnapshotPart(part.to_vec()), taken).await?;
        }
        let installed = |answer| match answer {
            Answer::Snapshot(response) => Some(response),
            _ => None,
        };
        self.ask(Call::SnapshotPart(last.to_vec()), installed).await
    }

    /// Says something that is not answered.
    async fn tell(&mut self, call: &Call) -> Result<(), Unreachable<Types>> {
        let told = self.call(call, false).await;
        told.map_err(|error| Unreachable::new(&error))?;
        Ok(())
    }
}

impl<E: Env> RaftNetworkV2<Types> for RaftLink<E> {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let answer = self.ask(Call::Append(request), |answer| match answer {
            Answer::Append(response) => Some(response),
            _ => None,
        });
        Ok(answer.await?)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(self.ask(Call::Vote(request), vote_of).await?)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(self.ask(Call::PreVote(request), vote_of).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            biased;
            closed = cancel => {
                *self.link() = None;
                Err(closed.into())
            }
            sent = self.send_snapshot(vote, snapshot) => Ok(sent?),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let answer = self.ask(Call::TransferLeader(request), |answer| match answer {
            Answer::TransferLeader(response) => Some(response),
            _ => None,
        });
        Ok(answer.await?)
    }
}

fn vote_of(answer: Answer) -> Option<VoteResponse<Types>> {
    match answer {
        Answer::Vote(response) => Some(response),
        _ => None,
    }
}
