//! Bringing an engine back from a snapshot, of which nothing is believed.

use crate::{
    DurationMs, Engine, EngineConfig, HashKey, LockState, Mode, Name, Owner, Snapshot,
    SnapshotError, TimeMs, Token,
    ended::{Ended, EndedId, Ends},
    engine::{COUNTER_MAX, Rank, Subject},
    index::{Hashes, Known},
    owners::{Opening, OwnerId, Session},
    path::is_segment,
    requests::{Phase, Request, RequestId},
    sessions::NEXT_SLICE,
    snapshot::{SavedEnded, SavedLife, SavedNode, SavedRequest, SavedSession},
    tree::{Arrival, Newcomer, NodeId, Placed},
};

#[cfg(test)]
mod tests;

/// See [`Engine::restore`].
pub(crate) fn restore(from: &Snapshot, hash_key: HashKey) -> Result<Engine, SnapshotError> {
    if !(1..=COUNTER_MAX).contains(&from.next_token.0)
        || from.next_arrival > COUNTER_MAX
        || from.next_opening > COUNTER_MAX
    {
        return Err(impossible("a counter that is 0 or beyond 2^62"));
    }
    if from.now > TimeMs::LATEST {
        return Err(impossible("a time after the latest"));
    }
    let mut engine = Engine::new(EngineConfig {
        limits: from.limits.clone(),
        hash_key,
        first_token: from.next_token,
    });
    engine.now = from.now;
    let mut restoring = Restoring {
        engine,
        from,
        owners: Vec::with_capacity(from.owners.len()),
        nodes: Vec::with_capacity(from.nodes.len()),
        order: Vec::new(),
    };
    restoring.reserve();
    restoring.all()?;
    let mut engine = restoring.engine;
    engine.next_arrival = Arrival(from.next_arrival);
    engine.next_opening = Opening(from.next_opening);
    Ok(engine)
}

/// An engine on its way back.
struct Restoring<'a> {
    engine: Engine,
    from: &'a Snapshot,
    /// The owners by their numbers.
    owners: Vec<OwnerId>,
    nodes: Vec<RestoredNode>,
    /// Room for the claims of a request, as the tree wants them; empty in between.
    order: Vec<(usize, bool, NodeId)>,
}

#[derive(Clone, Copy)]
struct RestoredNode {
    id: NodeId,
    /// The number of its namespace.
    namespace: u32,
    depth: usize,
}

impl Restoring<'_> {
    /// Makes room at once in the tables for what will come: growing bit by bit would hash it many times. Records
    /// do not move.
    fn reserve(&mut self) {
        let live = &self.from.live;
        let kept = self.from.sessions.iter().map(|saved| saved.kept.len());
        let ended = self.from.remembered.len() + kept.sum::<usize>();
        let engine = &mut self.engine;
        let hashes = Hashes {
            requests: &engine.requests,
            ended: &engine.ended,
            owners: &engine.owners,
        };
        engine.by_id.reserve(live.len() + ended, &hashes);
        engine.tree.reserve(self.from.nodes.len());
    }

    fn all(&mut self) -> Result<(), SnapshotError> {
        self.owners()?;
        for saved in &self.from.nodes {
            self.node(saved)?;
        }
        for saved in &self.from.sessions {
            self.session(saved)?;
        }
        check_tokens(&self.from.live)?;
        let mut before = None;
        for saved in &self.from.live {
            if before.is_some_and(|before| before >= saved.arrival) {
                return Err(out_of_order(&saved.id));
            }
            before = Some(saved.arrival);
            self.live(saved)?;
        }
        for saved in &self.from.remembered {
            self.remembered(saved)?;
        }
        if !self.engine.tree.is_tidy() {
            return Err(impossible("a node that no claim leads to"));
        }
        let mut owners = self.owners.iter();
        if !owners.all(|id| self.engine.owners[*id].is_in_use()) {
            return Err(impossible("an owner of nothing"));
        }
        Ok(())
    }

    fn owners(&mut self) -> Result<(), SnapshotError> {
        let from = self.from;
        for saved in &from.owners {
            let namespace = from.namespaces.get(saved.namespace as usize);
            let namespace = namespace.ok_or_else(|| impossible("an owner without a namespace"))?;
            let owners = &mut self.engine.owners;
            if owners.find(namespace, &saved.owner).is_some() {
                return Err(SnapshotError::Twice {
                    what: format!("owner {} of {namespace}", saved.owner.name()),
                });
            }
            let id = owners.find_or_add(namespace, &saved.owner);
            self.owners.push(id);
        }
        // Names that are there twice are one namespace.
        if self.engine.owners.namespace_count() != from.namespaces.len() {
            return Err(impossible("a namespace twice, or one without owners"));
        }
        Ok(())
    }

    fn node(&mut self, saved: &SavedNode) -> Result<(), SnapshotError> {
        let restored = match saved {
            SavedNode::Root { namespace } => {
                let name = self.from.namespaces.get(*namespace as usize);
                let found = name.and_then(|name| self.engine.owners.find_namespace(name));
                let id = found.ok_or_else(|| impossible("a root without a namespace"))?;
                let root = self.engine.owners.root_of(id);
                if root.is_some() {
                    return Err(SnapshotError::Twice {
                        what: "a root".to_owned(),
                    });
                }
                RestoredNode {
                    id: self.engine.tree.root_or_new(root),
                    namespace: *namespace,
                    depth: 0,
                }
            }
            SavedNode::Below { parent, segment } => self.node_below(*parent, segment)?,
        };
        self.nodes.push(restored);
        Ok(())
    }

    fn node_below(&mut self, parent: u32, segment: &str) -> Result<RestoredNode, SnapshotError> {
        let parent = self.nodes.get(parent as usize).copied();
        let parent = parent.ok_or_else(|| impossible("a node below none before it"))?;
        // It may be deeper than the limits allow: they may have been lowered since.
        if !is_segment(segment) {
            return Err(impossible("a node whose path is none"));
        }
        let before = self.engine.tree.node_count();
        let id = self.engine.tree.child_or_new(parent.id, segment);
        if self.engine.tree.node_count() == before {
            return Err(SnapshotError::Twice {
                what: format!("node {}", self.engine.tree.path(id)),
            });
        }
        Ok(RestoredNode {
            id,
            namespace: parent.namespace,
            depth: parent.depth + 1,
        })
    }

    fn remembered(&mut self, saved: &SavedEnded) -> Result<(), SnapshotError> {
        let last = self.engine.forget.last();
        if last.is_some_and(|last| self.engine.ended[last].at() > saved.at) {
            return Err(out_of_order(&saved.id));
        }
        let id = self.ended(saved)?;
        self.engine.forget.push(id);
        Ok(())
    }

    fn session(&mut self, saved: &SavedSession) -> Result<(), SnapshotError> {
        let id = self.owners.get(saved.owner as usize).copied();
        let id = id.ok_or_else(|| impossible("a session without an owner"))?;
        let record = &self.engine.owners[id];
        let name = || format!("session {}", record.owner.name());
        if !matches!(record.owner, Owner::Session(_)) {
            return Err(impossible("a session whose owner is none"));
        }
        if record.session.is_some() {
            return Err(SnapshotError::Twice { what: name() });
        }
        let opening = Opening(saved.opening);
        let last = self.engine.sessions.last_key_value().map(|(last, _)| *last);
        if saved.opening >= self.from.next_opening || last.is_some_and(|last| last >= opening) {
            return Err(SnapshotError::OutOfOrder { what: name() });
        }
        if saved.ends_at.is_some_and(|at| at <= self.from.now) {
            return Err(SnapshotError::Impossible {
                what: format!("{} past its end", name()),
            });
        }
        // A slice of its end comes in each millisecond.
        let is_ending = saved.life != SavedLife::Open;
        if is_ending && saved.ends_at != Some(self.from.now.after(NEXT_SLICE)) {
            return Err(SnapshotError::Impossible {
                what: format!("{} whose end does not go on", name()),
            });
        }
        let has_ended = saved.life == SavedLife::Ended;
        if has_ended && saved.kept.is_empty() {
            return Err(SnapshotError::Impossible {
                what: format!("{} that has ended and left nothing", name()),
            });
        }
        if let Some(ends_at) = saved.ends_at {
            let due = (ends_at, Rank::Session(opening));
            self.engine.due.insert(due, Subject::Session(id));
        }
        self.engine.sessions.insert(opening, id);
        let mut kept = Ends::default();
        for ended in &saved.kept {
            if ended.owner != saved.owner {
                return Err(impossible("a request that is kept by a session of another"));
            }
            let last = kept.last();
            if last.is_some_and(|last| self.engine.ended[last].at() > ended.at) {
                return Err(out_of_order(&ended.id));
            }
            let id = self.ended(ended)?;
            self.engine.ended[id].keep();
            kept.push(id);
        }
        if is_ending {
            self.engine.uncount_remembered(id, kept.len());
            self.engine.owners[id].is_ending = true;
        }
        self.engine.owners[id].session = Some(Box::new(Session {
            opening,
            abandon: saved.abandon,
            ends_at: saved.ends_at,
            has_ended,
            kept,
        }));
        Ok(())
    }

    fn live(&mut self, saved: &SavedRequest) -> Result<(), SnapshotError> {
        let phase = match saved.state {
            LockState::Queued { deadline } => Phase::Queued { deadline },
            LockState::Held {
                token,
                granted_at,
                expires,
            } => Phase::Held {
                token,
                granted_at,
                expires,
            },
            LockState::Ended { .. } => return Err(impossible("a live request that has ended")),
        };
        let id = self.record(saved, phase)?;
        if self.engine.requests[id]
            .due()
            .is_some_and(|due| due <= self.from.now)
        {
            return Err(impossible("a live request past its deadline"));
        }
        let owner = self.engine.requests[id].owner;
        let record = &self.engine.owners[owner];
        let lives = |session: &Session| !session.has_ended;
        if record.owner.is_session() && !record.session.as_deref().is_some_and(lives) {
            return Err(impossible("a live request of a session that is over"));
        }
        let is_ending = record.is_ending;
        self.put_on_tree(id, saved)?;
        let request = &self.engine.requests[id];
        let is_free = request.blocked == 0;
        // Nothing of an ending session is granted.
        let fits = request.is_queued() != is_free || (is_ending && is_free);
        if !fits {
            return Err(impossible(
                "a request that waits for nothing, or holds what it may not",
            ));
        }
        if request.is_queued() {
            self.engine.count_queued(id, |queued| queued + 1);
        }
        self.engine.owners.link(&mut self.engine.requests, id);
        self.engine.schedule(id);
        Ok(())
    }

    fn put_on_tree(&mut self, id: RequestId, saved: &SavedRequest) -> Result<(), SnapshotError> {
        let request = &self.engine.requests[id];
        let newcomer = Newcomer {
            request: id,
            arrival: request.arrival,
        };
        let namespace = self.from.owners[saved.owner as usize].namespace;
        for claim in &saved.claims {
            let node = self.nodes.get(claim.node as usize);
            let node = node.filter(|node| node.namespace == namespace);
            let node = node.ok_or_else(|| impossible("a claim on a node that is not there"))?;
            self.order
                .push((node.depth, claim.mode == Mode::Read, node.id));
        }
        // The nodes of one depth stand in no order of their own, and need none.
        self.order.sort_by_key(|(depth, reads, _)| (*depth, *reads));
        let mut placed = Placed::default();
        for (_, reads, node) in self.order.drain(..) {
            let mode = if reads { Mode::Read } else { Mode::Write };
            let tree = &mut self.engine.tree;
            if !tree.place_at(node, mode, newcomer, &mut placed) {
                return Err(impossible("a claim that another one covers"));
            }
        }
        let request = &mut self.engine.requests[id];
        request.first_entry = placed.first_entry;
        request.blocked = placed.blocked;
        if placed.first_entry.is_none() {
            return Err(impossible("a live request without claims"));
        }
        Ok(())
    }

    fn ended(&mut self, saved: &SavedEnded) -> Result<EndedId, SnapshotError> {
        if saved.at > self.from.now {
            return Err(impossible("a request that ends in the future"));
        }
        self.check_token(saved.token, &saved.id)?;
        let (owner, hash) = self.free_key(saved.owner, &saved.id)?;
        let end = (saved.reason, saved.at, saved.token);
        let engine = &mut self.engine;
        let ended = Ended::new(owner, saved.id.clone(), end, saved.digest);
        let id = engine.ended.insert(ended);
        self.index(hash, Known::Ended(id));
        self.engine.remembered += 1;
        self.engine.owners[owner].remembered += 1;
        Ok(id)
    }

    fn record(&mut self, saved: &SavedRequest, phase: Phase) -> Result<RequestId, SnapshotError> {
        if saved.arrival >= self.from.next_arrival || saved.arrived_at > self.from.now {
            return Err(out_of_order(&saved.id));
        }
        if saved.ttl.is_some_and(DurationMs::is_zero) {
            return Err(impossible("a ttl of 0"));
        }
        if matches!(phase, Phase::Held { granted_at, .. } if granted_at > self.from.now) {
            return Err(impossible("a lock that is granted in the future"));
        }
        let (owner, hash) = self.free_key(saved.owner, &saved.id)?;
        let request = Request {
            owner,
            id: saved.id.clone(),
            hash,
            arrival: Arrival(saved.arrival),
            arrived_at: saved.arrived_at,
            ttl: saved.ttl,
            phase,
            blocked: 0,
            first_entry: None,
            prev_of_owner: None,
            next_of_owner: None,
        };
        self.check_token(request.token(), &saved.id)?;
        let id = self.engine.requests.insert(request);
        self.index(hash, Known::Live(id));
        Ok(id)
    }

    fn check_token(&self, token: Option<Token>, id: &Name) -> Result<(), SnapshotError> {
        match token {
            Some(Token(0)) => Err(impossible("a token of 0")),
            Some(token) if token >= self.from.next_token => Err(out_of_order(id)),
            _ => Ok(()),
        }
    }

    /// The owner of a number, and the hash of the key of its request of this id, which no other one has.
    fn free_key(&self, owner: u32, id: &Name) -> Result<(OwnerId, u64), SnapshotError> {
        let owner = self.owners.get(owner as usize).copied();
        let owner = owner.ok_or_else(|| impossible("a request without an owner"))?;
        let hash = self.engine.owners.hash_of_request(owner, id);
        match self.engine.find_of(owner, id, hash) {
            Some(_) => Err(SnapshotError::Twice {
                what: format!("request {id}"),
            }),
            None => Ok((owner, hash)),
        }
    }

    fn index(&mut self, hash: u64, known: Known) {
        let engine = &mut self.engine;
        let hashes = Hashes {
            requests: &engine.requests,
            ended: &engine.ended,
            owners: &engine.owners,
        };
        engine.by_id.insert(hash, known, &hashes);
    }
}

/// No two live requests have the same token.
fn check_tokens(live: &[SavedRequest]) -> Result<(), SnapshotError> {
    let token_of = |saved: &SavedRequest| match saved.state {
        LockState::Held { token, .. } => Some(token),
        LockState::Queued { .. } | LockState::Ended { .. } => None,
    };
    let mut tokens: Vec<Token> = live.iter().filter_map(token_of).collect();
    tokens.sort_unstable();
    match tokens.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(SnapshotError::Twice {
            what: format!("token {}", pair[0]),
        }),
        None => Ok(()),
    }
}

fn out_of_order(id: &Name) -> SnapshotError {
    SnapshotError::OutOfOrder {
        what: format!("request {id}"),
    }
}

fn impossible(what: &str) -> SnapshotError {
    SnapshotError::Impossible {
        what: what.to_owned(),
    }
}
