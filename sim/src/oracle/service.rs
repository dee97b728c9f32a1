//! Oracles of a whole service: what clients were told and may believe, held against what the
//! server's engine did. What the engine itself does is judged by the [`Panel`](super::Panel).

pub mod breaks;
mod calm;
pub mod client_lease;
pub mod closing;
pub mod connections;
pub mod drain;
pub mod durability;
pub mod failover;
pub mod fencing;
pub mod fidelity;
pub mod http_answers;
pub mod http_gone;
pub mod http_lease;
pub mod http_mismatch;
pub mod http_prompt;
pub mod http_retries;
pub mod labels;
pub mod leader_time;
pub mod linearizability;
pub mod liveness;
pub mod members;
pub mod membership;
pub mod news;
pub mod prompt_news;
pub mod raft_invariants;
pub mod reads;
pub mod real_time_order;
pub mod replica_agreement;
pub mod restarts;
pub mod stamps;
pub mod strangers;
mod unwanted;
pub mod watch;

use super::Verdict;
use crate::{
    op::{OpClaim, OpWait, Text},
    outcome::Violation,
    plan::{Knock, ServicePlan},
};
use lockwright_engine::{Command, Event, Refusal, Reply, TimeMs};
use lockwright_server::{DrainEvent, RaftEvent};
use members::{ChangeAnswer, Members, NodeChange};
use std::{fmt, sync::Arc, time::Duration};

/// Something that happened in the world. Requests are named by ids that are unique in the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// The server has started, empty.
    ServerUp {
        /// The token of its first grant.
        first_token: u64,
    },
    /// The server died, with all that it had in memory, and that was all it had.
    ServerDown,
    /// The server died, or ended by itself, and what it had on its disk is still there.
    ServerHalted,
    /// A stop that waits for locks has come so far.
    Drains {
        /// Of which node; 0 of a server that is alone.
        node: usize,
        /// How far.
        event: DrainEvent,
    },
    /// A server starts, although the end of its log was lost after the one before had stopped.
    StartedAfterLogLoss,
    /// A server begins with what an earlier one had on its disk.
    ServerBack {
        /// Where its log ends.
        entries: u64,
        /// The last entry of the log that the earlier one had applied.
        last: u64,
        /// Whether its engine is as if no server had ever died.
        is_same: bool,
    },
    /// The server leads: it gives the commands their time.
    ServerLeads {
        /// From which time of the engine on, in ms.
        at: u64,
        /// The latest time that was applied, in ms.
        last: u64,
    },
    /// A node of a cluster died, or ended by itself. Its disk is still there.
    NodeDown {
        /// Its index.
        node: usize,
    },
    /// A node of a cluster has got an empty disk, and begins as one that waits to be added.
    NodeNew {
        /// Its index.
        node: usize,
    },
    /// A node has appended an entry that says which nodes the cluster has. Told only when somebody
    /// changes them.
    Members {
        /// Its index.
        node: usize,
        /// The entry's place in the log.
        index: u64,
        /// Its term.
        term: u64,
        /// Which.
        members: Arc<Members>,
    },
    /// An operator asks a node for a change of the cluster.
    ChangeAsked {
        /// The index of the node that it asks.
        node: usize,
        /// What for.
        change: NodeChange,
    },
    /// It has an answer, or waits no more for one.
    ChangeAnswered {
        /// What it asked for.
        change: NodeChange,
        /// What it was told.
        answer: ChangeAnswer,
    },
    /// What an operator was to do is done, or given up.
    StepOver {
        /// Its place in the plan.
        number: usize,
        /// What it was.
        what: Text,
        /// Whether it is done.
        is_done: bool,
    },
    /// A node of a cluster has done something in Raft.
    Raft {
        /// Its index.
        node: usize,
        /// What.
        event: RaftEvent,
    },
    /// A node comes to the entry with which a leader begins.
    Began {
        /// Its index.
        node: usize,
        /// The entry.
        index: u64,
        /// Whether its engine is as the first node's was that came to it; or, for the first, as if
        /// one engine had applied all that was applied by anybody.
        is_same: bool,
    },
    /// What follows was done by an entry that no node had applied before.
    Entry {
        /// Its place in the log.
        index: u64,
    },
    /// A node has done as part of an entry what another one did before, or it itself in another
    /// life.
    Replayed {
        /// Its index.
        node: usize,
        /// The entry.
        index: u64,
        /// What it did.
        here: Arc<Deed>,
        /// What was done before; none if the entry did less.
        first: Option<Arc<Deed>>,
    },
    /// A node went on to the next entry before it had done all of one.
    PassedOver {
        /// Its index.
        node: usize,
        /// The entry.
        index: u64,
        /// How much it did.
        done: usize,
        /// How much others did.
        of: usize,
    },
    /// A clients' host died.
    HostDown {
        /// Which.
        host: usize,
    },
    /// A fault begins or ends.
    Fault {
        /// Which, and where.
        what: String,
    },
    /// A fault of the cluster begins at a node.
    Struck {
        /// The index of the fault in the plan.
        fault: usize,
        /// Which node.
        node: usize,
    },
    /// All faults are over.
    Healed,
    /// A client asked for locks.
    Asked {
        /// The request.
        id: Text,
        /// Who.
        client: Client,
        /// What it asked for.
        wanted: Wanted,
    },
    /// A client asked for something about one of its locks.
    Called {
        /// The request.
        id: Text,
        /// What.
        call: Call,
    },
    /// A client got the answer to that.
    Answered {
        /// The request.
        id: Text,
        /// What was asked.
        call: Call,
        /// Why not, if not.
        error: Option<String>,
    },
    /// A client closes its session.
    Closing {
        /// Who.
        client: Client,
    },
    /// A client got the answer to that.
    Closed {
        /// Who.
        client: Client,
        /// Why not, if not.
        error: Option<String>,
    },
    /// A caller without a session asks with the id of a request that it was granted, for something
    /// else.
    HttpMistaken {
        /// The request.
        id: Text,
        /// What it asks for with that id.
        claims: Vec<OpClaim>,
    },
    /// It has the answer to that.
    HttpMistakenAnswered {
        /// The request.
        id: Text,
        /// What it asked for with that id.
        claims: Vec<OpClaim>,
        /// The answer.
        answer: MistakenAnswer,
    },
    /// Somebody without a session asked for locks over HTTP, on a connection of its own.
    HttpAsked {
        /// The request.
        id: Text,
        /// The host.
        host: usize,
        /// The server that it asks.
        node: usize,
        /// Since when the connection is being made.
        since: Duration,
        /// Who is to hold the lock.
        holder: Text,
        /// What it asked for.
        wanted: Wanted,
    },
    /// It got the answer to that.
    HttpAnswered {
        /// The request.
        id: Text,
        /// What.
        answer: HttpAnswer,
    },
    /// A server handed over the answer that says that a request without a `request_id` is granted.
    HttpTold {
        /// The request.
        id: Text,
        /// Whether the server's host had been told by then that the caller has hung up.
        is_gone: bool,
    },
    /// It has no answer, and its connection is gone.
    HttpGone {
        /// The request.
        id: Text,
    },
    /// Somebody looks at what is locked.
    LookAsked {
        /// Names the look.
        look: Text,
    },
    /// It got an answer.
    Looked {
        /// The look.
        look: Text,
        /// Where it looked.
        namespace: Text,
        /// The tokens of all that is held there.
        tokens: Vec<u64>,
    },
    /// It saw a lock.
    LabelSeen {
        /// The look.
        look: Text,
        /// The lock's token.
        token: u64,
        /// What it was told of it.
        label: Option<Text>,
    },
    /// Something happened to a lock that can be watched. Told only in worlds with watchers.
    Watchable {
        /// What.
        event: watch::Watched,
    },
    /// A watcher asks a server.
    WatchAsked {
        /// Names the watch.
        watch: Text,
        /// Where.
        namespace: Text,
        /// At and below which path.
        prefix: Text,
    },
    /// Its answer begins.
    WatchBegins {
        /// The watch.
        watch: Text,
    },
    /// It was told what is no answer.
    WatchOdd {
        /// The watch.
        watch: Text,
        /// What.
        what: Text,
    },
    /// It was told of something.
    WatchTold {
        /// The watch.
        watch: Text,
        /// What.
        line: watch::Watched,
    },
    /// It is over, or never began.
    WatchOver {
        /// The watch.
        watch: Text,
        /// Why.
        why: Text,
    },
    /// The engine did something that operators must be told the truth about. Told only in worlds in which
    /// some break locks.
    Seen {
        /// As part of which entry of the log.
        entry: u64,
        /// What.
        what: breaks::Seen,
    },
    /// A request for what operators do, or for the token that counts.
    BreakAsked {
        /// Names the question: each is asked once.
        ask: Text,
        /// The host that it comes from.
        host: usize,
        /// What is asked.
        question: breaks::Question,
        /// Whether it comes with the token of the operators.
        by_operator: bool,
    },
    /// It has the answer to that.
    BreakAnswered {
        /// The question.
        ask: Text,
        /// What.
        answer: breaks::Answer,
    },
    /// It waits for the answer no longer.
    BreakGone {
        /// The question.
        ask: Text,
    },
    /// It asked for something about its lock.
    HttpCalled {
        /// The request.
        id: Text,
        /// What.
        call: Call,
        /// The token that it showed.
        token: u64,
    },
    /// It got the answer to that.
    HttpDone {
        /// The request.
        id: Text,
        /// What was asked.
        call: Call,
        /// The token that it showed.
        token: u64,
        /// Why not, if not.
        error: Option<Text>,
    },
    /// An acquire of a named holder among the engine's commands.
    HttpApplied {
        /// The request.
        id: Text,
        /// Who is to hold the lock.
        holder: Text,
        /// What reached the engine.
        wanted: Wanted,
    },
    /// The engine refused a request because its id is that of another one, for something else.
    Mismatched {
        /// The request that has the id.
        id: Text,
        /// What reached the engine with that id.
        claims: Vec<OpClaim>,
    },
    /// Somebody who has no session tried to get at one, or only kept the server busy.
    Knocked {
        /// What was tried.
        what: Knock,
        /// What the server said to it, if it said anything.
        answer: Option<String>,
    },
    /// A client was told of one of its locks.
    Told {
        /// The request.
        id: Text,
        /// What.
        news: News,
    },
    /// A client has no more interest in a request.
    Left {
        /// The request.
        id: Text,
    },
    /// A holder goes to the store; it does so again until it has an answer.
    Goes {
        /// Under which request.
        id: Text,
        /// To do what.
        visit: Visit,
    },
    /// The store has let somebody in, or not.
    Judged {
        /// Under which request it came.
        id: Text,
        /// To do what.
        visit: Visit,
        /// The token that the store says it has seen, when it refused.
        refused: Option<u64>,
    },
    /// The store is there, and remembers what it had seen of so many keys.
    StoreUp {
        /// How many.
        keys: usize,
    },
    /// The server has given a command its time.
    Stamped {
        /// That time, in ms.
        at: u64,
        /// The engine's time by the server's clock, in ms.
        shown: u64,
    },
    /// The server's engine has applied a command.
    Late {
        /// The engine's time by the server's clock, in ms.
        shown: u64,
        /// How long ago on that clock the earliest thing happened that this command let happen.
        late_ms: u64,
    },
    /// An acquire among the engine's commands.
    Applied {
        /// The request.
        id: Text,
        /// Whose.
        session: Text,
        /// What reached the engine.
        wanted: Wanted,
    },
    /// A renewal among the engine's commands.
    Renewed {
        /// The request.
        id: Text,
        /// The lease that reached the engine, in ms.
        ttl: u64,
    },
    /// A session was opened in the engine; it is attached.
    Opened {
        /// Its name.
        session: Text,
        /// Its namespace.
        namespace: Text,
        /// The abandon timeout that reached the engine, in ms.
        abandon: u64,
    },
    /// A session was attached to a connection.
    Attached {
        /// Its name.
        session: Text,
    },
    /// A session lost its connection.
    Detached {
        /// Its name.
        session: Text,
    },
    /// A command ends a session: what ends next ends with it.
    Closes {
        /// Its name.
        session: Text,
    },
    /// A command of a session's client is applied.
    Heard {
        /// The session.
        session: Text,
        /// The simulated instant at which a server gave it its time.
        at: Duration,
    },
    /// The end of a session begins: it is over for everybody, though requests of it may live on for a while.
    EndBegins {
        /// Its name.
        session: Text,
    },
    /// Nothing of a session is live any more.
    SessionEnded {
        /// Its name.
        session: Text,
    },
    /// The engine queued a request.
    Queued {
        /// The request.
        id: Text,
    },
    /// The engine granted a request.
    Granted {
        /// The request.
        id: Text,
        /// The token.
        token: u64,
    },
    /// The engine refused a request.
    Refused {
        /// The request.
        id: Text,
        /// The error code.
        code: &'static str,
    },
    /// The engine ended a request.
    Ended {
        /// The request.
        id: Text,
        /// Why.
        reason: &'static str,
        /// The simulated instant at which the server's clock showed the time of the end.
        ended_at: Duration,
        /// The simulated instant up to which its client believes that it holds it, if it does.
        believed_until: Option<Duration>,
    },
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Happening::ServerUp { first_token } => {
                write!(f, "the server starts; its first token is {first_token}")
            }
            Happening::ServerDown => f.write_str("the server dies"),
            Happening::StartedAfterLogLoss => {
                f.write_str("the server starts without the end of its log")
            }
            Happening::Drains { event, .. } => f.write_str(match event {
                DrainEvent::Begins => "the server stops when no locks are held any more",
                DrainEvent::GrantsNothing => "the server grants nothing any more",
                DrainEvent::Over => "the server waits for locks no longer",
                DrainEvent::CutShort => "the server is told to stop at once",
            }),
            Happening::ServerHalted => f.write_str("the server dies; its disk stays"),
            Happening::ServerBack {
                entries, is_same, ..
            } => write!(
                f,
                "the server is back with {entries} entries, {}",
                if *is_same {
                    "as if it had never died"
                } else {
                    "not as it was"
                }
            ),
            Happening::ServerLeads { at, .. } => write!(f, "the server leads from {at} ms on"),
            Happening::NodeDown { node } => write!(f, "node {node} is down; its disk stays"),
            Happening::NodeNew { node } => write!(f, "node {node} has an empty disk"),
            Happening::Members {
                node,
                index,
                members,
                ..
            } => write!(f, "node {node}: from entry {index} on: {members}"),
            Happening::ChangeAsked { node, change } => {
                write!(f, "the operator asks node {node} to {change}")
            }
            Happening::ChangeAnswered { change, answer } => {
                write!(f, "the operator is answered: {change}: {answer}")
            }
            Happening::StepOver {
                number,
                what,
                is_done,
            } => {
                let end = if *is_done { "done" } else { "given up" };
                write!(f, "the operator's step {number} is {end}: {what}")
            }
            Happening::Raft { node, event } => write!(f, "node {node}: {event:?}"),
            Happening::Began {
                node,
                index,
                is_same,
            } => write!(
                f,
                "node {node} comes to entry {index}, with which a leader begins, {}",
                if *is_same { "as all" } else { "as no other" }
            ),
            Happening::Entry { index } => write!(f, "entry {index}"),
            Happening::Replayed {
                node, index, here, ..
            } => {
                write!(f, "node {node} applies entry {index}: {here}")
            }
            Happening::PassedOver { node, index, .. } => {
                write!(f, "node {node} leaves entry {index} unfinished")
            }
            Happening::HostDown { host } => write!(f, "host {host} dies"),
            Happening::Fault { what } => f.write_str(what),
            Happening::Struck { fault, node } => write!(f, "fault {fault} strikes node {node}"),
            Happening::Healed => f.write_str("all faults are over"),
            Happening::Asked { id, client, wanted } => {
                write!(f, "{id} on host {} asks for {wanted}", client.host)
            }
            Happening::Called { id, call } => write!(f, "{id} calls {call}"),
            Happening::Answered {
                id,
                call,
                error: None,
            } => {
                write!(f, "{id} is answered: {call} done")
            }
            Happening::Answered {
                id,
                call,
                error: Some(error),
            } => {
                write!(f, "{id} is answered: {call}: {error}")
            }
            Happening::Closing { client } => write!(f, "{client} closes its session"),
            Happening::Closed {
                client,
                error: None,
            } => write!(f, "the session of {client} is closed"),
            Happening::Closed {
                client,
                error: Some(error),
            } => write!(f, "{client} is answered: close: {error}"),
            Happening::Knocked { what, answer } => {
                let answer = answer.as_deref().unwrap_or("nothing");
                write!(f, "a stranger tries: {what}; the server says: {answer}")
            }
            Happening::HttpAsked {
                id, holder, wanted, ..
            } => write!(f, "{id} asks over HTTP, for {holder}, for {wanted}"),
            Happening::LookAsked { look } => write!(f, "{look} looks at what is locked"),
            Happening::Looked {
                look,
                namespace,
                tokens,
            } => write!(f, "{look} sees in {namespace} the tokens {tokens:?}"),
            Happening::LabelSeen { look, token, label } => {
                let label = label.as_deref().unwrap_or("nothing");
                write!(f, "{look} is told of the lock with token {token}: {label}")
            }
            Happening::Watchable { event } => write!(f, "to be watched: {event}"),
            Happening::WatchAsked {
                watch,
                namespace,
                prefix,
            } => write!(f, "{watch} watches {prefix} in {namespace}"),
            Happening::WatchBegins { watch } => write!(f, "{watch} begins"),
            Happening::WatchOdd { watch, what } => write!(f, "{watch} is answered: {what}"),
            Happening::WatchTold { watch, line } => write!(f, "{watch} is told that {line}"),
            Happening::WatchOver { watch, why } => write!(f, "{watch} is over: {why}"),
            Happening::Seen { what, .. } => write!(f, "operators may know: {what}"),
            Happening::BreakAsked {
                ask,
                question,
                by_operator,
                ..
            } => {
                let who = if *by_operator {
                    "an operator"
                } else {
                    "no operator"
                };
                write!(f, "{ask}, {who}, asks to {question}")
            }
            Happening::BreakAnswered { ask, answer } => write!(f, "{ask} is answered: {answer}"),
            Happening::BreakGone { ask } => write!(f, "{ask} has no answer, and hangs up"),
            Happening::HttpTold { id, is_gone: false } => write!(f, "{id} is sent its grant"),
            Happening::HttpTold { id, is_gone: true } => {
                write!(f, "{id} is sent its grant, and its caller is gone")
            }
            Happening::HttpAnswered { id, answer } => write!(f, "{id} is answered: {answer}"),
            Happening::HttpMistaken { id, claims } => {
                write!(f, "{id} is asked for again, for {}", listed(claims))
            }
            Happening::HttpMistakenAnswered { id, claims, answer } => {
                write!(
                    f,
                    "{id} again, for {}, is answered: {answer}",
                    listed(claims)
                )
            }
            Happening::Mismatched { id, claims } => {
                write!(
                    f,
                    "{id} is refused as another request, for {}",
                    listed(claims)
                )
            }
            Happening::HttpGone { id } => write!(f, "{id} has no answer, and hangs up"),
            Happening::HttpCalled { id, call, token } => {
                write!(f, "{id} calls {call} with token {token}")
            }
            Happening::HttpDone {
                id,
                call,
                token,
                error,
            } => {
                let error = error.as_deref().unwrap_or("done");
                write!(f, "{id} is answered: {call} with token {token}: {error}")
            }
            Happening::HttpApplied { id, wanted, .. } => write!(f, "{id} is applied: {wanted}"),
            Happening::Told { id, news } => write!(f, "{id} is told: {news}"),
            Happening::Left { id } => write!(f, "{id} is left"),
            Happening::Goes { id, visit } => write!(f, "{id} goes to the store to {visit}"),
            Happening::Judged { id, visit, refused } => match refused {
                None => write!(f, "the store lets {id} {visit}"),
                Some(largest) => write!(
                    f,
                    "the store does not let {id} {visit}: it has seen {largest}"
                ),
            },
            Happening::StoreUp { keys } => {
                write!(f, "the store is there, and knows of {keys} keys")
            }
            Happening::Stamped { at, .. } => write!(f, "a command at {at} ms"),
            Happening::Late { late_ms, .. } => write!(f, "what was due happens {late_ms} ms late"),
            Happening::Applied { id, wanted, .. } => write!(f, "{id} is applied: {wanted}"),
            Happening::Renewed { id, ttl } => write!(f, "{id} is renewed for {ttl} ms"),
            Happening::Opened {
                session, abandon, ..
            } => write!(f, "session {session} opens, abandoned after {abandon} ms"),
            Happening::Attached { session } => write!(f, "session {session} is attached"),
            Happening::Detached { session } => write!(f, "session {session} is detached"),
            Happening::Closes { session } => write!(f, "session {session} is closed"),
            Happening::Heard { session, .. } => write!(f, "session {session} is heard of"),
            Happening::EndBegins { session } => write!(f, "the end of session {session} begins"),
            Happening::SessionEnded { session } => write!(f, "session {session} ends"),
            Happening::Queued { id } => write!(f, "{id} is queued"),
            Happening::Granted { id, token } => write!(f, "{id} is granted: {token}"),
            Happening::Refused { id, code } => write!(f, "{id} is refused: {code}"),
            Happening::Ended { id, reason, .. } => write!(f, "{id} ends: {reason}"),
        }
    }
}

/// What a node did as part of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// The time of the command.
    pub at: TimeMs,
    /// The command.
    pub command: Command,
    /// What its engine answered.
    pub result: Result<Reply, Refusal>,
    /// What happened.
    pub events: Vec<Event>,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} at {} ms came to {:?}, with {:?}",
            self.command,
            self.at.as_ms(),
            self.result,
            self.events
        )
    }
}

/// What somebody does at the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Where: a namespace, a colon, and a path.
    pub key: Text,
    /// The token that it shows.
    pub token: u64,
    /// Whether it reads; it writes otherwise.
    pub reads: bool,
}

impl fmt::Display for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.reads { "read" } else { "write" };
        write!(f, "{what} {} with token {}", self.key, self.token)
    }
}

/// A client, by its place in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client {
    /// Its index.
    pub index: usize,
    /// That of its host.
    pub host: usize,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}", self.index)
    }
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The namespace.
    pub namespace: Text,
    /// The claims.
    pub claims: Vec<OpClaim>,
    /// The lease in ms, if any.
    pub ttl: Option<u64>,
    /// How long it waits.
    pub wait: OpWait,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[")?;
        for (index, claim) in self.claims.iter().enumerate() {
            write!(f, "{}{claim}", if index == 0 { "" } else { ", " })?;
        }
        write!(f, "] in {}", self.namespace)?;
        if let Some(ttl) = self.ttl {
            write!(f, ", ttl {ttl} ms")?;
        }
        match self.wait {
            OpWait::No => f.write_str(", not waiting"),
            OpWait::For(ms) => write!(f, ", waiting {ms} ms"),
            OpWait::Forever => Ok(()),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Call::Release => "release",
            Call::Renew { .. } => "renew",
            Call::Cancel => "cancel",
        })
    }
}

/// What a client can ask about a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The end of a held lock.
    Release,
    /// Another lease.
    Renew {
        /// In ms.
        ttl: u64,
    },
    /// The end of a queued request.
    Cancel,
}

/// The answer to one who asks with the id of another request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MistakenAnswer {
    /// The status.
    pub status: u16,
    /// The error code, if it is an error.
    pub error: Option<Text>,
    /// What the answer says that the first request asked for.
    pub claims: Vec<OpClaim>,
    /// How it says that the first request ended.
    pub ended: Option<Text>,
    /// The names of all else that it says.
    pub others: Vec<String>,
}

impl fmt::Display for MistakenAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.error.as_deref().unwrap_or("no error");
        write!(
            f,
            "{} {error}, the first is for {}",
            self.status,
            listed(&self.claims)
        )?;
        match &self.ended {
            Some(reason) => write!(f, " and ended as {reason}"),
            None => Ok(()),
        }
    }
}

/// Claims in a message.
fn listed(claims: &[OpClaim]) -> String {
    let claims: Vec<String> = claims.iter().map(ToString::to_string).collect();
    format!("[{}]", claims.join(", "))
}

/// The answer to a request over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpAnswer {
    /// The locks are held.
    Granted {
        /// With this token.
        token: u64,
        /// The simulated instant up to which its caller may believe so; for ever without a lease.
        believed_until: Option<Duration>,
    },
    /// They are not, and will not be.
    Refused {
        /// The error code.
        code: Text,
    },
}

impl fmt::Display for HttpAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpAnswer::Granted { token, .. } => write!(f, "granted with token {token}"),
            HttpAnswer::Refused { code } => write!(f, "refused: {code}"),
        }
    }
}

/// What a client is told of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It waits.
    Queued,
    /// It is held.
    Granted {
        /// With this token.
        token: u64,
    },
    /// It was refused.
    Refused {
        /// The error code.
        code: &'static str,
    },
    /// The server says that it ended.
    Ended {
        /// Why.
        reason: &'static str,
    },
    /// The client must not believe in it any more.
    Lost {
        /// Why, as the client says.
        why: String,
        /// Whether that says that the lock is gone on the server's side.
        gone: bool,
        /// Whether that says that there is no such session.
        over: bool,
    },
}

impl News {
    /// Whether it is the last of its request.
    #[must_use]
    pub fn is_last(&self) -> bool {
        !matches!(self, News::Queued | News::Granted { .. })
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            News::Queued => f.write_str("queued"),
            News::Granted { token } => write!(f, "granted with token {token}"),
            News::Refused { code } => write!(f, "refused: {code}"),
            News::Ended { reason } => write!(f, "ended: {reason}"),
            News::Lost { why, .. } => write!(f, "lost: {why}"),
        }
    }
}

/// One rule of a service and its judge.
pub trait ServiceOracle: Send {
    /// The oracle's name, which is its file's.
    fn name(&self) -> &'static str;

    /// The rule that it guards, with its section of SEMANTICS.md.
    fn rule(&self) -> &'static str;

    /// Judges what happens at `now`, simulated time since the start.
    ///
    /// # Errors
    /// The rule is broken: what happened, to whom.
    fn see(&mut self, now: Duration, happening: &Happening) -> Verdict;
}

/// All oracles of a service.
pub struct ServicePanel {
    oracles: Vec<Box<dyn ServiceOracle>>,
}

impl ServicePanel {
    /// The oracles that a plan's world is judged by.
    #[must_use]
    pub fn new(plan: &Arc<ServicePlan>) -> ServicePanel {
        let mut oracles: Vec<Box<dyn ServiceOracle>> = vec![
            Box::new(stamps::Stamps::new(plan)),
            Box::new(fidelity::Fidelity::new(plan)),
            Box::new(durability::Durability),
            Box::new(leader_time::LeaderTime),
            Box::new(restarts::Restarts::default()),
            Box::new(news::TrueNews::default()),
            Box::new(prompt_news::PromptNews::new(plan.clone())),
            Box::new(connections::Connections::new(plan.clone())),
            Box::new(closing::Closing::default()),
            Box::new(strangers::Strangers),
            Box::new(http_answers::HttpAnswers::default()),
            Box::new(http_retries::HttpRetries::new(plan)),
            Box::new(http_mismatch::HttpMismatch::default()),
            Box::new(http_gone::HttpGone::new(plan.clone())),
            Box::new(http_prompt::HttpPrompt::new(plan.clone())),
            Box::new(drain::Drain::new(plan)),
        ];
        if !plan.watchers.is_empty() {
            oracles.push(Box::new(watch::Watch::default()));
        }
        if !plan.breakers.is_empty() {
            oracles.push(Box::new(breaks::Breaks::default()));
        }
        if plan.store.is_some() {
            oracles.push(Box::new(fencing::Fencing::default()));
        }
        if let Some(cluster) = &plan.cluster {
            oracles.push(Box::new(replica_agreement::ReplicaAgreement));
            oracles.push(Box::new(raft_invariants::RaftInvariants::new(cluster)));
            oracles.push(Box::new(real_time_order::RealTimeOrder::default()));
            oracles.push(Box::new(reads::Reads::default()));
            oracles.push(Box::new(labels::Labels::default()));
            oracles.push(Box::new(linearizability::Linearizability::new(plan)));
            oracles.push(Box::new(membership::Membership::new(cluster)));
            // An operator disturbs what it bounds.
            if cluster.operator.is_none() {
                oracles.push(Box::new(failover::Failover::new(plan, cluster)));
            }
        }
        if plan.server_clock_is_steady() {
            oracles.push(Box::new(client_lease::ClientLease::new(plan.clone())));
            oracles.push(Box::new(http_lease::HttpLease::default()));
        }
        ServicePanel { oracles }
    }

    /// Judges what happens.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn see(&mut self, now: Duration, happening: &Happening) -> Result<(), Violation> {
        for oracle in &mut self.oracles {
            oracle.see(now, happening).map_err(|message| Violation {
                oracle: oracle.name().to_owned(),
                rule: oracle.rule().to_owned(),
                at_ms: in_ms(now),
                message,
            })?;
        }
        Ok(())
    }
}

/// Whole milliseconds.
pub(crate) fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
