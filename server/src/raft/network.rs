//! Calling other replicas.
//!
//! A link is opened when something is to be said, used for one call after the other, and dropped when
//! a call fails or is not answered in time: nobody knows then where in it the other side is.

use super::{
    calls::{self, Answer, Call, PART_BYTES},
    lost::Lost,
    types::{Snapshot, Types, Vote},
};
use crate::{
    Member,
    peer::{Dialer, Link, Purpose, wire},
    proposal::DiskId,
    readiness::Notes,
};
use lockwright_env::{Env, timeout};
use openraft::{
    OptionalSend, RaftNetworkFactory,
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{Backoff, RPCOption, v2::RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use std::{future::Future, io, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

/// Opens links to other replicas; none in a cluster of one.
pub(super) struct Network<E> {
    pub(super) lost: Lost,
    pub(super) notes: Notes,
    pub(super) dialer: Option<Dialer<E>>,
    /// How long an answer may take.
    pub(super) patience: Duration,
    /// How long to wait before another try when a node cannot be reached.
    pub(super) pause: Duration,
}

/// A link to another replica, which a task of its own keeps. openraft gives calls up that take
/// long, and a link that was given up with each of them would never be open for long enough where
/// messages are slow.
pub(super) struct RaftLink {
    lost: Lost,
    notes: Notes,
    to: u64,
    pause: Duration,
    calls: mpsc::UnboundedSender<Asked>,
    keeper: Option<AbortHandle>,
}

/// An answer, and the disk of the node that gave it.
type Answered = (Answer, DiskId);

/// A call on its way to whoever keeps the link.
struct Asked {
    call: Call,
    answer: oneshot::Sender<io::Result<Answered>>,
}

impl<E: Env> RaftNetworkFactory<Types> for Network<E> {
    type Network = RaftLink;

    async fn new_client(&mut self, target: u64, node: &Member) -> RaftLink {
        let (calls, asked) = mpsc::unbounded_channel();
        let keeper = self.dialer.clone().map(|dialer| {
            let keeper = Keeper {
                dialer,
                patience: self.patience,
                to: target,
                address: node.address.clone(),
                link: None,
            };
            tokio::spawn(keeper.keep(asked)).abort_handle()
        });
        RaftLink {
            lost: self.lost.clone(),
            notes: self.notes.clone(),
            to: target,
            pause: self.pause,
            calls,
            keeper,
        }
    }
}

impl Drop for RaftLink {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

/// Keeps a link.
struct Keeper<E: Env> {
    dialer: Dialer<E>,
    patience: Duration,
    to: u64,
    address: String,
    /// With the disk of the node that it leads to.
    link: Option<(Link<E>, DiskId)>,
}

impl<E: Env> Keeper<E> {
    async fn keep(mut self, mut asked: mpsc::UnboundedReceiver<Asked>) {
        let env = self.dialer.env.clone();
        loop {
            match timeout(&env, calls::QUIET_MAX, asked.recv()).await {
                // What was given up meanwhile need not be said.
                Ok(Some(Asked { answer, .. })) if answer.is_closed() => {}
                Ok(Some(Asked { call, answer })) => {
                    // It fails when the call was given up.
                    let _ = answer.send(self.call(&call).await);
                }
                Ok(None) => return,
                // The other side need not wonder whether this one is still there.
                Err(_) => {
                    if self.link.is_some() && self.call(&Call::Ping).await.is_err() {
                        self.link = None;
                    }
                }
            }
        }
    }

    async fn call(&mut self, call: &Call) -> io::Result<Answered> {
        let was_open = self.link.is_some();
        let answer = match self.call_once(call).await {
            // The other side may have closed it long ago, and has not heard of the call then.
            Err(error)
                if was_open && call.is_whole() && error.kind() != io::ErrorKind::TimedOut =>
            {
                self.call_once(call).await
            }
            answer => answer,
        };
        match answer? {
            (Answer::Failed(why), _) => Err(io::Error::other(why)),
            (answer, _) if answer.leaps_from(call.term()) => {
                self.link = None;
                Err(io::Error::other("a term cannot have leapt so far"))
            }
            answered => Ok(answered),
        }
    }

    /// A call that fails leaves no link.
    async fn call_once(&mut self, call: &Call) -> io::Result<Answered> {
        let env = self.dialer.env.clone();
        let patience = self.patience;
        let asking = async {
            let (mut link, disk) = match self.link.take() {
                Some(link) => link,
                None => {
                    let (to, address) = (self.to, &self.address);
                    let opened = self.dialer.open(to, address, Purpose::Raft).await?;
                    let (link, known) = opened;
                    (link, known.disk)
                }
            };
            wire::write(&mut link, call).await?;
            Ok::<_, io::Error>((link, disk))
        };
        let (mut link, disk) = in_time(&env, patience, asking).await?;
        loop {
            match in_time(&env, patience, wire::read(&mut link)).await? {
                Answer::Working => {}
                answer => {
                    self.link = Some((link, disk));
                    return Ok((answer, disk));
                }
            }
        }
    }
}

async fn in_time<E: Env, T>(
    env: &E,
    patience: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let done = timeout(env, patience, work).await;
    done.unwrap_or_else(|elapsed| Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)))
}

impl RaftLink {
    async fn call(&self, call: Call) -> io::Result<Answered> {
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::other("there is no link to other nodes");
        let asked = self.calls.send(Asked { call, answer });
        asked.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    async fn ask<T>(
        &self,
        call: Call,
        answer_of: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<T, Unreachable<Types>> {
        let answered = self.ask_disk(call, answer_of).await;
        answered.map(|(answer, _)| answer)
    }

    /// The answer, and the disk of the node that gave it.
    async fn ask_disk<T>(
        &self,
        call: Call,
        answer_of: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<(T, DiskId), Unreachable<Types>> {
        self.notes.asks(self.to);
        let answered = self.call(call).await.and_then(|(answer, disk)| {
            let answer = answer_of(answer);
            let answer = answer.ok_or_else(|| io::Error::other("an answer to something else"))?;
            Ok((answer, disk))
        });
        match &answered {
            Ok(_) => self.notes.answered(self.to),
            Err(error) => self.notes.failed(self.to, error),
        }
        answered.map_err(|error| Unreachable::new(&error))
    }

    fn note_vote(&self, what: &str, answer: &VoteResponse<Types>) {
        let (verb, vote) = match answer.vote_granted {
            true => ("gave", &answer.vote),
            false => ("refused", &answer.vote),
        };
        let leader = vote.leader_id;
        let last = answer.last_log_id.map_or(0, |last| last.index);
        let text = format!(
            "{verb} {what} (it is in term {}, voted for node {}{}, its log ends at {last})",
            leader.term,
            leader.voted_for,
            if vote.committed { " which leads" } else { "" },
        );
        self.notes.voted(self.to, text);
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<Types>, Unreachable<Types>> {
        let bytes = snapshot.snapshot;
        let begin = Call::Snapshot {
            vote,
            meta: snapshot.meta,
            bytes: bytes.len() as u64,
        };
        let taken = |answer| matches!(answer, Answer::Taken).then_some(());
        self.ask(begin, taken).await?;
        let mut parts = bytes.chunks(PART_BYTES).collect::<Vec<_>>();
        let last = parts.pop().expect("a snapshot has bytes");
        for part in parts {
            self.ask(Call::SnapshotPart(part.to_vec()), taken).await?;
        }
        let installed = |answer| match answer {
            Answer::Snapshot(response) => Some(response),
            _ => None,
        };
        self.ask(Call::SnapshotPart(last.to_vec()), installed).await
    }
}

impl RaftNetworkV2<Types> for RaftLink {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let term = request.vote.leader_id.term;
        let before = request.prev_log_id.map(|id| id.index);
        let last = request.entries.last().map(|entry| entry.log_id.index);
        let answer = self.ask_disk(Call::Append(request), |answer| match answer {
            Answer::Append(response) => Some(response),
            _ => None,
        });
        let (answer, disk) = answer.await?;
        match (&answer, before) {
            (AppendEntriesResponse::Conflict, Some(before)) => {
                self.lost.misses(self.to, disk, (term, before));
            }
            (AppendEntriesResponse::Success, before) => {
                if let Some(last) = last.or(before) {
                    self.lost.acknowledged(self.to, disk, (term, last));
                }
            }
            _ => {}
        }
        Ok(answer)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let answer = self.ask(Call::Vote(request), vote_of).await?;
        self.note_vote("its vote", &answer);
        Ok(answer)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let answer = self.ask(Call::PreVote(request), vote_of).await?;
        self.note_vote("that it would vote", &answer);
        Ok(answer)
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
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, snapshot) => Ok(sent?),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(self.pause)))
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
