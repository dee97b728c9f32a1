//! What replicas ask each other for Raft, and its way over a link: a call, then its answer.

use super::{
    facts::Readiness,
    state::place,
    types::{LogId, Raft, Snapshot, SnapshotMeta, Types, Vote},
};
use crate::{
    peer::{Link, wire},
    readiness::Receiving,
};
use lockwright_env::{Env, sleep, timeout};
use openraft::{
    async_runtime::WatchReceiver,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use serde::{Deserialize, Serialize};
use std::{future::Future, io, time::Duration};
use tracing::warn;

/// Bytes of a part of a snapshot on a link.
pub(super) const PART_BYTES: usize = 1 << 20;

/// The largest snapshot that is taken from another node.
const SNAPSHOT_BYTES_MAX: u64 = 4 << 30;

/// After this long without a call a link is used to say that this side is still there.
pub(super) const QUIET_MAX: Duration = Duration::from_secs(10);

/// A link on which nothing came for this long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How far the term of another node may be ahead. Terms go up by one with each election, so even nodes that
/// hold one each millisecond for a month are no further; and there is no election after the last number.
const TERMS_AHEAD_MAX: u64 = 1 << 32;

/// What is asked for.
#[derive(Serialize, Deserialize)]
pub(super) enum Call {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    TransferLeader(TransferLeaderRequest<Types>),
    /// Is the other side there?
    Ping,
    /// A snapshot of so many bytes follows in parts. This and each part is answered by
    /// [`Answer::Taken`], but the last.
    Snapshot {
        vote: Vote,
        meta: SnapshotMeta,
        bytes: u64,
    },
    SnapshotPart(Vec<u8>),
}

/// What is answered.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    TransferLeader(TransferLeaderResponse<Types>),
    Taken,
    /// It takes longer. Another answer follows.
    Working,
    Snapshot(SnapshotResponse<Types>),
    /// The replica cannot go on.
    Failed(String),
}

impl Call {
    /// Whether it makes sense without a call before it.
    pub(super) fn is_whole(&self) -> bool {
        !matches!(self, Call::SnapshotPart(_))
    }

    /// The term that whoever takes the call goes on in.
    pub(super) fn term(&self) -> Option<u64> {
        let vote = match self {
            Call::Append(request) => &request.vote,
            Call::Vote(request) | Call::PreVote(request) => &request.vote,
            Call::TransferLeader(request) => request.from_leader(),
            Call::Snapshot { vote, .. } => vote,
            Call::Ping | Call::SnapshotPart(_) => return None,
        };
        Some(vote.leader_id.term)
    }

    /// What is wrong with the ids of entries in it, if no node can have said that: one that leads or wants to has
    /// nothing of a later term, and sends what follows each other.
    fn contradiction(&self) -> Option<&'static str> {
        let own = self.term()?;
        let is_later =
            |id: &Option<LogId>| id.is_some_and(|id| id.committed_leader_id().term > own);
        let named = match self {
            Call::Append(request) => {
                let ids = request.entries.iter().map(|entry| entry.log_id);
                if !follow_each_other(request.prev_log_id, ids) {
                    return Some("entries do not follow each other");
                }
                let last = request.entries.last().map(|entry| entry.log_id);
                [request.prev_log_id, last, request.leader_commit]
            }
            Call::Vote(request) | Call::PreVote(request) => [request.last_log_id, None, None],
            Call::TransferLeader(request) => [request.last_log_id().copied(), None, None],
            Call::Snapshot { meta, .. } => [meta.last_log_id, None, None],
            Call::Ping | Call::SnapshotPart(_) => return None,
        };
        let is_later = named.iter().any(is_later);
        is_later.then_some("it has entries of a term after its own")
    }

    /// Whether it is about who leads.
    fn is_of_elections(&self) -> bool {
        matches!(
            self,
            Call::Vote(_) | Call::PreVote(_) | Call::TransferLeader(_)
        )
    }
}

/// Answers the calls of another node until it goes, or says nothing any more. While something takes
/// long it says so after each `pause`. What has to do with elections is refused while this node may
/// not take part in any.
pub(crate) async fn serve<E: Env>(
    env: E,
    raft: Raft,
    mut link: Link<E>,
    pause: Duration,
    may_elect: impl Fn() -> bool,
    readiness: &Readiness,
) {
    let metrics = raft.server_metrics();
    // What goes wrong here is told to the other side by the end of the link.
    while let Ok(Ok(call)) = timeout(&env, SILENCE_MAX, wire::read::<Call, _>(&mut link)).await {
        let own = metrics.borrow_watched().vote.leader_id.term;
        if let Some(term) = call.term().filter(|term| leaps(own, *term)) {
            warn!(
                term,
                own, "a link is ended: a term cannot have leapt so far"
            );
            return;
        }
        if let Some(what) = call.contradiction() {
            warn!("a link is ended: {what}");
            return;
        }
        let answer = match call {
            Call::Snapshot { vote, meta, bytes } => {
                let receiving = readiness.notes().snapshot(bytes);
                let taken = take_snapshot(&env, &mut link, bytes, &receiving).await;
                let Ok(snapshot) = taken else { return };
                receiving.installs();
                let installing = raft.install_full_snapshot(vote, Snapshot { meta, snapshot });
                let installed = patiently(&env, &mut link, pause, installing).await;
                let Ok(installed) = installed else { return };
                answer_of(installed, Answer::Snapshot)
            }
            call if call.is_of_elections() && !may_elect() => {
                Answer::Failed("this node was added, and has not joined yet".to_owned())
            }
            call => {
                if let Call::Append(request) = &call {
                    readiness.heard(request);
                }
                answer(&raft, call).await
            }
        };
        if wire::write(&mut link, &answer).await.is_err() {
            return;
        }
    }
}

impl Answer {
    /// The term that whoever asked goes on in.
    fn term(&self) -> Option<u64> {
        let vote = match self {
            Answer::Append(AppendEntriesResponse::HigherVote(vote)) => vote,
            Answer::Vote(response) => &response.vote,
            Answer::Snapshot(response) => &response.vote,
            _ => return None,
        };
        Some(vote.leader_id.term)
    }

    /// Whether it cannot be an answer to a call of this term.
    pub(super) fn leaps_from(&self, asked: Option<u64>) -> bool {
        matches!((asked, self.term()), (Some(own), Some(term)) if leaps(own, term))
    }
}

/// Whether the ids are those of a part of a log that begins after an entry; without one at its beginning.
fn follow_each_other(before: Option<LogId>, ids: impl Iterator<Item = LogId>) -> bool {
    let mut before = before.map(|id| place(&id));
    for id in ids {
        let (index, term) = place(&id);
        let is_next = match before {
            Some((last, of)) => last.checked_add(1) == Some(index) && of <= term,
            None => index == 0,
        };
        if !is_next {
            return false;
        }
        before = Some((index, term));
    }
    true
}

/// Whether no elections can have brought nodes from one term to another.
fn leaps(own: u64, term: u64) -> bool {
    term.saturating_sub(own) > TERMS_AHEAD_MAX
}

/// Waits for what takes long, and tells the other side meanwhile that it does.
async fn patiently<E: Env, T>(
    env: &E,
    link: &mut Link<E>,
    pause: Duration,
    work: impl Future<Output = T>,
) -> io::Result<T> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            () = sleep(env, pause) => wire::write(link, &Answer::Working).await?,
        }
    }
}

async fn answer(raft: &Raft, call: Call) -> Answer {
    match call {
        Call::Append(request) => answer_of(raft.append_entries(request).await, Answer::Append),
        Call::Vote(request) => answer_of(raft.vote(request).await, Answer::Vote),
        Call::PreVote(request) => answer_of(raft.pre_vote(request).await, Answer::Vote),
        Call::TransferLeader(request) => {
            let taken = raft.handle_transfer_leader(request).await;
            answer_of(taken, Answer::TransferLeader)
        }
        Call::Ping => Answer::Taken,
        Call::Snapshot { .. } | Call::SnapshotPart(_) => {
            Answer::Failed("a part of a snapshot came alone".to_owned())
        }
    }
}

fn answer_of<T, E: ToString>(result: Result<T, E>, of: impl FnOnce(T) -> Answer) -> Answer {
    match result {
        Ok(answer) => of(answer),
        Err(error) => Answer::Failed(error.to_string()),
    }
}

async fn take_snapshot<E: Env>(
    env: &E,
    link: &mut Link<E>,
    bytes: u64,
    receiving: &Receiving,
) -> io::Result<Vec<u8>> {
    if bytes > SNAPSHOT_BYTES_MAX {
        return Err(io::Error::other("a snapshot that is too large"));
    }
    let mut snapshot = Vec::new();
    wire::write(link, &Answer::Taken).await?;
    while (snapshot.len() as u64) < bytes {
        let part = timeout(env, SILENCE_MAX, wire::read::<Call, _>(link)).await;
        let Call::SnapshotPart(part) = part.map_err(io::Error::other)?? else {
            return Err(io::Error::other("something else than a part of a snapshot"));
        };
        if part.is_empty() || (snapshot.len() + part.len()) as u64 > bytes {
            return Err(io::Error::other("the parts of a snapshot do not add up"));
        }
        snapshot.extend_from_slice(&part);
        receiving.has(snapshot.len() as u64);
        if (snapshot.len() as u64) < bytes {
            wire::write(link, &Answer::Taken).await?;
        }
    }
    Ok(snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::Entry;
    use openraft::entry::RaftEntry;

    #[test]
    fn only_terms_that_elections_can_bring_are_believed() {
        for (own, term) in [(0, 0), (7, 3), (0, 1 << 32), (u64::MAX - 1, u64::MAX)] {
            assert!(!leaps(own, term), "{own} {term}");
        }
        for (own, term) in [(0, u64::MAX), (5, (1 << 32) + 6)] {
            assert!(leaps(own, term), "{own} {term}");
        }
    }

    fn append(vote: u64, before: Option<(u64, u64)>, entries: &[(u64, u64)], commit: u64) -> Call {
        let id = |(term, index): (u64, u64)| LogId::new_term_index(term, index);
        Call::Append(AppendEntriesRequest {
            vote: Vote::new_committed(vote, 1),
            prev_log_id: before.map(id),
            entries: entries.iter().map(|at| Entry::new_blank(id(*at))).collect(),
            leader_commit: Some(id((commit, 0))),
        })
    }

    #[test]
    fn what_no_leader_can_send_is_seen() {
        for (before, entries, commit) in [
            (None, &[][..], 3),
            (None, &[(1, 0), (1, 1), (3, 2)], 1),
            (Some((2, 7)), &[(2, 8), (3, 9)], 3),
        ] {
            let call = append(3, before, entries, commit);
            assert_eq!(call.contradiction(), None, "{before:?} {entries:?}");
        }
        let (gap, later) = (
            Some("entries do not follow each other"),
            Some("it has entries of a term after its own"),
        );
        for (before, entries, commit, expected) in [
            (None, &[(1, 1)][..], 1, gap),
            (Some((2, 7)), &[(2, 9)], 1, gap),
            (Some((2, 7)), &[(2, 7)], 1, gap),
            (Some((2, 7)), &[(1, 8)], 1, gap),
            (Some((2, 7)), &[(3, 8), (2, 9)], 1, gap),
            (Some((2, u64::MAX)), &[(2, 0)], 1, gap),
            (Some((2, 7)), &[(4, 8)], 1, later),
            (Some((4, 7)), &[], 1, later),
            (None, &[], u64::MAX, later),
        ] {
            let call = append(3, before, entries, commit);
            assert_eq!(call.contradiction(), expected, "{before:?} {entries:?}");
        }
        for (term, expected) in [(3, None), (4, later)] {
            let vote = VoteRequest::new(Vote::new(3, 1), Some(LogId::new_term_index(term, 9)));
            assert_eq!(Call::Vote(vote.clone()).contradiction(), expected);
            assert_eq!(Call::PreVote(vote).contradiction(), expected);
        }
    }
}
