//! Saving an engine and bringing it back.
//!
//! A snapshot is the state without its indexes, in an order that depends on nothing but the
//! commands that were applied: equal engines give equal bytes in any serialization.

use crate::{
    DurationMs, EndReason, Engine, HashKey, Limits, LockState, Mode, Name, Owner, TimeMs, Token,
    ended::{EndedId, Ends},
    owners::{NamespaceId, OwnerId},
    requests::Request,
    tree::NodeId,
};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// The whole state of an [`Engine`], to be serialized as the caller likes.
///
/// Namespaces, owners and the nodes of the tree are numbered in the order in which sessions and
/// requests lead to them, each after what it stands below. So a name is written once, and what
/// reads it need look nothing up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub(crate) limits: Limits,
    pub(crate) now: TimeMs,
    pub(crate) next_token: Token,
    pub(crate) next_arrival: u64,
    pub(crate) next_opening: u64,
    pub(crate) namespaces: Vec<Name>,
    pub(crate) owners: Vec<SavedOwner>,
    pub(crate) nodes: Vec<SavedNode>,
    /// Sessions in the order of opening.
    pub(crate) sessions: Vec<SavedSession>,
    /// Live requests in arrival order.
    pub(crate) live: Vec<SavedRequest>,
    /// Ended requests in the order of their ends.
    pub(crate) remembered: Vec<SavedEnded>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedOwner {
    pub(crate) namespace: u32,
    pub(crate) owner: Owner,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SavedNode {
    /// The root of a namespace, given by its number.
    Root { namespace: u32 },
    /// A node below another one, given by its number.
    Below { parent: u32, segment: SmolStr },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedSession {
    /// The number of its owner.
    pub(crate) owner: u32,
    pub(crate) opening: u64,
    pub(crate) abandon: DurationMs,
    pub(crate) ends_at: Option<TimeMs>,
    /// Whether its end has begun, which goes on at `ends_at` then.
    pub(crate) life: SavedLife,
    /// Ended requests that are remembered only because the session lives, or are forgotten and yet to be
    /// given back.
    pub(crate) kept: Vec<SavedEnded>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SavedLife {
    Open,
    /// It has live requests, or had some at its last slice.
    Ending,
    /// Its end is told, and what it kept is not all given back.
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedRequest {
    /// The number of its owner.
    pub(crate) owner: u32,
    pub(crate) id: Name,
    pub(crate) arrival: u64,
    pub(crate) arrived_at: TimeMs,
    /// Those that no other one covers, in the order of their paths.
    pub(crate) claims: Vec<SavedClaim>,
    pub(crate) ttl: Option<DurationMs>,
    pub(crate) state: LockState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedEnded {
    /// The number of its owner.
    pub(crate) owner: u32,
    pub(crate) id: Name,
    pub(crate) reason: EndReason,
    pub(crate) at: TimeMs,
    /// None if it was never granted.
    pub(crate) token: Option<Token>,
    /// What is kept of its claims.
    pub(crate) digest: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedClaim {
    /// The number of its node.
    pub(crate) node: u32,
    pub(crate) mode: Mode,
}

/// Why a snapshot is not the state of an engine: it was damaged, or made by something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Two records of one thing.
    #[error("the snapshot has {what} twice")]
    Twice {
        /// What is there twice.
        what: String,
    },
    /// A number is out of order or beyond the counter that gives such numbers.
    #[error("the snapshot has {what} out of order")]
    OutOfOrder {
        /// What is out of order.
        what: String,
    },
    /// Something refers to what is not there, or is in a state that it cannot be in.
    #[error("the snapshot has {what}, which cannot be")]
    Impossible {
        /// What cannot be.
        what: String,
    },
}

impl Snapshot {
    /// The same state under other limits. What is beyond them stays: they only refuse what comes.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Snapshot {
        Snapshot { limits, ..self }
    }
}

impl PartialEq for Engine {
    fn eq(&self, other: &Engine) -> bool {
        self.snapshot() == other.snapshot()
    }
}

impl Eq for Engine {}

impl Engine {
    /// The whole state, but for the hash key. Cost: linear in the most that was in use at once since
    /// the engine was last empty, and sorting the live requests.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Saving::new(self).snapshot()
    }

    /// The engine of a snapshot, with a hash key of its own. Cost: linear in what is saved.
    ///
    /// # Errors
    /// [`SnapshotError`] when the snapshot cannot be the state of an engine.
    pub fn restore(snapshot: &Snapshot, hash_key: HashKey) -> Result<Engine, SnapshotError> {
        crate::restore::restore(snapshot, hash_key)
    }
}

/// An engine while it is saved: what has a number already.
struct Saving<'a> {
    engine: &'a Engine,
    namespaces: Vec<Name>,
    owners: Vec<SavedOwner>,
    nodes: Vec<SavedNode>,
    /// The numbers, by the place of the record; [`NO_NUMBER`] where there is none yet.
    namespace_numbers: Vec<u32>,
    owner_numbers: Vec<u32>,
    node_numbers: Vec<u32>,
    /// Room for the nodes that are numbered at once; empty in between.
    unnumbered: Vec<NodeId>,
}

const NO_NUMBER: u32 = u32::MAX;

impl<'a> Saving<'a> {
    fn new(engine: &'a Engine) -> Saving<'a> {
        let (namespaces, owners) = engine.owners.places();
        Saving {
            engine,
            namespaces: Vec::with_capacity(engine.owners.namespace_count()),
            owners: Vec::with_capacity(engine.owners.owner_count()),
            nodes: Vec::with_capacity(engine.tree.node_count()),
            namespace_numbers: vec![NO_NUMBER; namespaces],
            owner_numbers: vec![NO_NUMBER; owners],
            node_numbers: vec![NO_NUMBER; engine.tree.node_places()],
            unnumbered: Vec::new(),
        }
    }

    fn snapshot(mut self) -> Snapshot {
        let engine = self.engine;
        let sessions = engine.owners.with_session().into_iter();
        let sessions = sessions.map(|owner| self.session(owner)).collect();
        let requests = engine.requests.iter().map(|(_, request)| request);
        let mut live: Vec<&Request> = requests.collect();
        live.sort_unstable_by_key(|request| request.arrival);
        let live = live.into_iter().map(|request| self.request(request));
        let live = live.collect();
        let remembered = self.all_ended(&engine.forget);
        assert_eq!(
            self.nodes.len(),
            engine.tree.node_count(),
            "every node is on the way to a claim"
        );
        Snapshot {
            limits: engine.limits.clone(),
            now: engine.now,
            next_token: engine.next_token,
            next_arrival: engine.next_arrival.0,
            next_opening: engine.next_opening.0,
            namespaces: self.namespaces,
            owners: self.owners,
            nodes: self.nodes,
            sessions,
            live,
            remembered,
        }
    }

    fn session(&mut self, owner: OwnerId) -> SavedSession {
        let session = self.engine.session(owner);
        SavedSession {
            owner: self.owner(owner),
            opening: session.opening.0,
            abandon: session.abandon,
            ends_at: session.ends_at,
            life: match session.has_ended {
                true => SavedLife::Ended,
                false if self.engine.owners[owner].is_ending => SavedLife::Ending,
                false => SavedLife::Open,
            },
            kept: self.all_ended(&session.kept),
        }
    }

    fn all_ended(&mut self, list: &Ends) -> Vec<SavedEnded> {
        let mut all = Vec::with_capacity(list.len());
        all.extend(list.iter(&self.engine.ended).map(|id| self.ended(id)));
        all
    }

    fn ended(&mut self, id: EndedId) -> SavedEnded {
        let ended = &self.engine.ended[id];
        SavedEnded {
            owner: self.owner(ended.owner),
            id: ended.id.clone(),
            reason: ended.reason(),
            at: ended.at(),
            token: ended.token(),
            digest: ended.digest,
        }
    }

    fn request(&mut self, request: &Request) -> SavedRequest {
        SavedRequest {
            owner: self.owner(request.owner),
            id: request.id.clone(),
            arrival: request.arrival.0,
            arrived_at: request.arrived_at,
            claims: self.claims(request),
            ttl: request.ttl,
            state: request.state(),
        }
    }

    fn claims(&mut self, request: &Request) -> Vec<SavedClaim> {
        let Some(first) = request.first_entry else {
            return Vec::new();
        };
        let namespace = self.namespace(self.engine.owners[request.owner].namespace);
        let tree = &self.engine.tree;
        let claimed = tree
            .chain(Some(first))
            .filter_map(|entry| entry.mode.claimed().map(|mode| (entry.node, mode)));
        let mut claimed: Vec<(NodeId, Mode)> = claimed.collect();
        if claimed.len() > 1 {
            // The chain has them in the order in which they were asked for.
            claimed.sort_by_cached_key(|(node, _)| tree.path(*node));
        }
        let saved = |(node, mode)| SavedClaim {
            node: self.node(node, namespace),
            mode,
        };
        claimed.into_iter().map(saved).collect()
    }

    fn namespace(&mut self, id: NamespaceId) -> u32 {
        let number = &mut self.namespace_numbers[id.index()];
        if *number == NO_NUMBER {
            *number = next_number(&self.namespaces);
            let name = &self.engine.owners.namespace(id).name;
            self.namespaces.push(name.clone());
        }
        *number
    }

    fn owner(&mut self, id: OwnerId) -> u32 {
        let known = self.owner_numbers[id.index()];
        if known != NO_NUMBER {
            return known;
        }
        let record = &self.engine.owners[id];
        let saved = SavedOwner {
            namespace: self.namespace(record.namespace),
            owner: record.owner.clone(),
        };
        let number = next_number(&self.owners);
        self.owners.push(saved);
        self.owner_numbers[id.index()] = number;
        number
    }

    /// The number of a node of this namespace; those above it get theirs first.
    fn node(&mut self, id: NodeId, namespace: u32) -> u32 {
        let mut next = Some(id);
        while let Some(id) = next
            && self.node_numbers[id.index()] == NO_NUMBER
        {
            self.unnumbered.push(id);
            next = self.engine.tree.node(id).place().map(|(parent, _)| parent);
        }
        while let Some(id) = self.unnumbered.pop() {
            let saved = match self.engine.tree.node(id).place() {
                Some((parent, segment)) => SavedNode::Below {
                    parent: self.node_numbers[parent.index()],
                    segment: segment.clone(),
                },
                None => SavedNode::Root { namespace },
            };
            self.node_numbers[id.index()] = next_number(&self.nodes);
            self.nodes.push(saved);
        }
        self.node_numbers[id.index()]
    }
}

fn next_number<T>(records: &[T]) -> u32 {
    u32::try_from(records.len()).expect("there are fewer records than ids")
}
