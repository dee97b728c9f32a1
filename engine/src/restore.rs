//! Bringing an engine back from a snapshot, of which nothing is believed.

use crate::{
    Claim, DurationMs, Engine, EngineConfig, HashKey, LockKey, LockState, Owner, Snapshot,
    SnapshotError, TimeMs, Token,
    engine::{COUNTER_MAX, Rank, Subject},
    owners::{Opening, OwnerId, Session},
    requests::{Phase, Request, RequestId},
    snapshot::{SavedRequest, SavedSession},
    table::OwnerHash,
    tree::{Arrival, Newcomer},
};

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
        latest_owner: None,
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
    /// The owner of the request that was restored last: most often the next one's too.
    latest_owner: Option<(&'a LockKey, OwnerId, OwnerHash)>,
}

impl<'a> Restoring<'a> {
    /// Makes room at once for what will come: growing bit by bit takes as long as all the rest.
    fn reserve(&mut self) {
        let live = &self.from.live;
        let kept = self.from.sessions.iter().map(|saved| saved.kept.len());
        let requests = live.len() + self.from.remembered.len() + kept.sum::<usize>();
        let claims = live.iter().flat_map(|saved| &saved.claims);
        let (claims, entries) = claims.fold((0, 0), |(claims, entries), claim| {
            (claims + 1, entries + claim.path.depth() + 1)
        });
        self.engine.requests.reserve(requests);
        let engine = &mut self.engine;
        engine.by_id.reserve(requests, &engine.requests);
        self.engine.tree.reserve(claims, entries);
    }

    fn all(&mut self) -> Result<(), SnapshotError> {
        for saved in &self.from.sessions {
            self.session(saved)?;
        }
        check_tokens(&self.from.live)?;
        let mut before = None;
        for saved in &self.from.live {
            if before.is_some_and(|before| before >= saved.arrival) {
                return Err(out_of_order(&saved.key));
            }
            before = Some(saved.arrival);
            self.live(saved)?;
        }
        for saved in &self.from.remembered {
            self.remembered(saved)?;
        }
        Ok(())
    }

    fn remembered(&mut self, saved: &'a SavedRequest) -> Result<(), SnapshotError> {
        let (id, at) = self.ended(saved)?;
        let forget_at = at.after(self.engine.limits.retention);
        let forget = &mut self.engine.forget;
        if forget.back().is_some_and(|(last, _)| *last > forget_at) {
            return Err(out_of_order(&saved.key));
        }
        forget.push_back((forget_at, id));
        Ok(())
    }

    fn session(&mut self, saved: &'a SavedSession) -> Result<(), SnapshotError> {
        let name = || format!("session {} of {}", saved.key.session, saved.key.namespace);
        if self.engine.find_session(&saved.key).is_ok() {
            return Err(SnapshotError::Twice { what: name() });
        }
        let opening = Opening(saved.opening);
        let last = self.engine.sessions.last_key_value().map(|(last, _)| *last);
        if saved.opening >= self.from.next_opening || last.is_some_and(|last| last >= opening) {
            return Err(SnapshotError::OutOfOrder { what: name() });
        }
        if saved
            .ends_at
            .is_some_and(|ends_at| ends_at <= self.from.now)
        {
            return Err(SnapshotError::Impossible {
                what: format!("{} past its end", name()),
            });
        }
        let owner = Owner::Session(saved.key.session.clone());
        let id = self.engine.owners.find_or_add(&saved.key.namespace, &owner);
        let (abandon, ends_at) = (saved.abandon, saved.ends_at);
        let session = Session {
            opening,
            abandon,
            ends_at,
            kept: Vec::new(),
        };
        self.engine.owners[id].session = Some(Box::new(session));
        self.engine.sessions.insert(opening, id);
        if let Some(ends_at) = ends_at {
            self.engine
                .due
                .insert((ends_at, Rank::Session(opening)), Subject::Session(id));
        }
        for ended in &saved.kept {
            let (request, _) = self.ended(ended)?;
            if self.engine.requests[request].owner != id {
                return Err(impossible("a request that is kept by a session of another"));
            }
            self.engine.owners[id]
                .session
                .as_mut()
                .expect("just opened")
                .kept
                .push(request);
            self.engine.kept += 1;
        }
        Ok(())
    }

    fn live(&mut self, saved: &'a SavedRequest) -> Result<(), SnapshotError> {
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
        if saved.claims.is_empty() {
            return Err(impossible("a live request without claims"));
        }
        let id = self.record(saved, phase)?;
        if self.engine.requests[id]
            .due()
            .is_some_and(|due| due <= self.from.now)
        {
            return Err(impossible("a live request past its deadline"));
        }
        let owner = self.engine.requests[id].owner;
        let record = &self.engine.owners[owner];
        if record.owner.is_session() && record.session.is_none() {
            return Err(impossible("a live request of a session that is not open"));
        }
        self.put_on_tree(id, &saved.claims);
        let request = &self.engine.requests[id];
        if request.is_queued() != (request.blocked > 0) {
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

    fn put_on_tree(&mut self, id: RequestId, claims: &[Claim]) {
        let request = &self.engine.requests[id];
        let newcomer = Newcomer {
            request: id,
            arrival: request.arrival,
        };
        let root = self.engine.owners.root_mut(request.owner);
        let placed = self.engine.tree.place(root, newcomer, claims);
        let request = &mut self.engine.requests[id];
        request.first_entry = placed.first_entry;
        request.blocked = placed.blocked;
    }

    fn ended(&mut self, saved: &'a SavedRequest) -> Result<(RequestId, TimeMs), SnapshotError> {
        let LockState::Ended { reason, at, token } = saved.state else {
            return Err(impossible("a remembered request that has not ended"));
        };
        if at > self.from.now {
            return Err(impossible("a request that ends in the future"));
        }
        let id = self.record(saved, Phase::Ended { reason, at, token })?;
        let owner = self.engine.requests[id].owner;
        self.engine.owners[owner].remembered += 1;
        Ok((id, at))
    }

    fn record(
        &mut self,
        saved: &'a SavedRequest,
        phase: Phase,
    ) -> Result<RequestId, SnapshotError> {
        if saved.arrival >= self.from.next_arrival || saved.arrived_at > self.from.now {
            return Err(out_of_order(&saved.key));
        }
        if saved.ttl.is_some_and(DurationMs::is_zero) {
            return Err(impossible("a ttl of 0"));
        }
        if matches!(phase, Phase::Held { granted_at, .. } if granted_at > self.from.now) {
            return Err(impossible("a lock that is granted in the future"));
        }
        let (owner, hash) = self.owner(&saved.key);
        let hash = hash.of_request(&saved.key.id);
        if self.engine.find_hashed(&saved.key, hash).is_some() {
            return Err(SnapshotError::Twice {
                what: format!("request {}", saved.key.id),
            });
        }
        let request = Request {
            owner,
            id: saved.key.id.clone(),
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
        if request.token() == Some(Token(0)) {
            return Err(impossible("a token of 0"));
        }
        if request
            .token()
            .is_some_and(|token| token >= self.from.next_token)
        {
            return Err(out_of_order(&saved.key));
        }
        let id = self.engine.requests.insert(request);
        self.engine.by_id.insert(id, &self.engine.requests);
        Ok(id)
    }

    /// The record and the hash of a request's owner.
    fn owner(&mut self, key: &'a LockKey) -> (OwnerId, OwnerHash) {
        if let Some((latest, id, hash)) = &self.latest_owner
            && latest.owner == key.owner
            && latest.namespace == key.namespace
        {
            return (*id, hash.clone());
        }
        let owners = &mut self.engine.owners;
        let id = owners.find_or_add(&key.namespace, &key.owner);
        let hash = owners.hash_of(&key.namespace, &key.owner);
        self.latest_owner = Some((key, id, hash.clone()));
        (id, hash)
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

fn out_of_order(key: &LockKey) -> SnapshotError {
    SnapshotError::OutOfOrder {
        what: format!("request {}", key.id),
    }
}

fn impossible(what: &str) -> SnapshotError {
    SnapshotError::Impossible {
        what: what.to_owned(),
    }
}
