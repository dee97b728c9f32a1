//! Saving an engine and bringing it back.
//!
//! A snapshot is the state without its indexes, in an order that depends on nothing but the
//! commands that were applied: equal engines give equal bytes in any serialization.

use crate::{
    Claim, DurationMs, Engine, EngineConfig, HashKey, Limits, LockInfo, LockKey, LockState,
    SessionKey, TimeMs, Token,
    engine::{COUNTER_MAX, Rank, Subject},
    owners::{Opening, OwnerId, Session},
    requests::{Phase, Request, RequestId},
    tree::{Arrival, Newcomer},
};
use serde::{Deserialize, Serialize};

/// The whole state of an [`Engine`], to be serialized as the caller likes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    limits: Limits,
    now: TimeMs,
    next_token: Token,
    next_arrival: u64,
    next_opening: u64,
    /// Open sessions in the order of opening.
    sessions: Vec<SavedSession>,
    /// Live requests in arrival order.
    live: Vec<SavedRequest>,
    /// Ended requests in the order of their ends.
    remembered: Vec<SavedRequest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedSession {
    key: SessionKey,
    opening: u64,
    abandon: DurationMs,
    ends_at: Option<TimeMs>,
    /// Ended requests that are remembered only because the session lives.
    kept: Vec<SavedRequest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedRequest {
    key: LockKey,
    arrival: u64,
    arrived_at: TimeMs,
    claims: Vec<Claim>,
    ttl: Option<DurationMs>,
    state: LockState,
}

/// Why a snapshot is not the state of an engine: it was damaged, or made by something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Two records of one request, or of one session.
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
    /// A request is of a session that is not open, or in a state that it cannot be in.
    #[error("the snapshot has {what}, which cannot be")]
    Impossible {
        /// What cannot be.
        what: String,
    },
}

impl PartialEq for Engine {
    fn eq(&self, other: &Engine) -> bool {
        self.snapshot() == other.snapshot()
    }
}

impl Eq for Engine {}

impl Engine {
    /// The whole state, but for the hash key. Cost: linear in what is in use.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut live: Vec<&Request> = self
            .requests
            .iter()
            .map(|(_, r)| r)
            .filter(|r| r.is_live())
            .collect();
        live.sort_unstable_by_key(|request| request.arrival);
        Snapshot {
            limits: self.limits.clone(),
            now: self.now,
            next_token: self.next_token,
            next_arrival: self.next_arrival.0,
            next_opening: self.next_opening.0,
            sessions: self
                .sessions
                .values()
                .map(|owner| self.save_session(*owner))
                .collect(),
            live: live
                .into_iter()
                .map(|request| self.save_request(request))
                .collect(),
            remembered: self
                .forget
                .iter()
                .map(|(_, id)| self.save_ended(*id))
                .collect(),
        }
    }

    fn save_session(&self, owner: OwnerId) -> SavedSession {
        let session = self.session(owner);
        SavedSession {
            key: self.owners.session_key(owner),
            opening: session.opening.0,
            abandon: session.abandon,
            ends_at: session.ends_at,
            kept: session.kept.iter().map(|id| self.save_ended(*id)).collect(),
        }
    }

    fn save_ended(&self, id: RequestId) -> SavedRequest {
        self.save_request(&self.requests[id])
    }

    fn save_request(&self, request: &Request) -> SavedRequest {
        let LockInfo {
            key,
            claims,
            state,
            arrived_at,
        } = self.info_of(request);
        let (arrival, ttl) = (request.arrival.0, request.ttl);
        SavedRequest {
            key,
            arrival,
            arrived_at,
            claims,
            ttl,
            state,
        }
    }

    /// The engine of a snapshot, with a hash key of its own.
    ///
    /// # Errors
    /// [`SnapshotError`] when the snapshot cannot be the state of an engine.
    pub fn restore(snapshot: &Snapshot, hash_key: HashKey) -> Result<Engine, SnapshotError> {
        if !(1..=COUNTER_MAX).contains(&snapshot.next_token.0)
            || snapshot.next_arrival > COUNTER_MAX
            || snapshot.next_opening > COUNTER_MAX
        {
            return Err(impossible("a counter that is 0 or beyond 2^62"));
        }
        if snapshot.now > TimeMs::LATEST {
            return Err(impossible("a time after the latest"));
        }
        let mut engine = Engine::new(EngineConfig {
            limits: snapshot.limits.clone(),
            hash_key,
            first_token: snapshot.next_token,
        });
        engine.now = snapshot.now;
        for saved in &snapshot.sessions {
            engine.restore_session(saved, snapshot)?;
        }
        let mut before = None;
        check_tokens(&snapshot.live)?;
        for saved in &snapshot.live {
            if before.is_some_and(|before| before >= saved.arrival) {
                return Err(out_of_order(&saved.key));
            }
            before = Some(saved.arrival);
            engine.restore_live(saved, snapshot)?;
        }
        for saved in &snapshot.remembered {
            let (id, at) = engine.restore_ended(saved, snapshot)?;
            let forget_at = at.after(engine.limits.retention);
            if engine
                .forget
                .back()
                .is_some_and(|(last, _)| *last > forget_at)
            {
                return Err(out_of_order(&saved.key));
            }
            engine.forget.push_back((forget_at, id));
        }
        engine.next_arrival = Arrival(snapshot.next_arrival);
        engine.next_opening = Opening(snapshot.next_opening);
        Ok(engine)
    }

    fn restore_session(
        &mut self,
        saved: &SavedSession,
        snapshot: &Snapshot,
    ) -> Result<(), SnapshotError> {
        let name = || format!("session {} of {}", saved.key.session, saved.key.namespace);
        if self.find_session(&saved.key).is_ok() {
            return Err(SnapshotError::Twice { what: name() });
        }
        let opening = Opening(saved.opening);
        let last = self.sessions.last_key_value().map(|(last, _)| *last);
        if saved.opening >= snapshot.next_opening || last.is_some_and(|last| last >= opening) {
            return Err(SnapshotError::OutOfOrder { what: name() });
        }
        if saved.ends_at.is_some_and(|ends_at| ends_at <= snapshot.now) {
            return Err(SnapshotError::Impossible {
                what: format!("{} past its end", name()),
            });
        }
        let owner = crate::Owner::Session(saved.key.session.clone());
        let id = self.owners.find_or_add(&saved.key.namespace, &owner);
        let (abandon, ends_at) = (saved.abandon, saved.ends_at);
        let session = Session {
            opening,
            abandon,
            ends_at,
            kept: Vec::new(),
        };
        self.owners[id].session = Some(Box::new(session));
        self.sessions.insert(opening, id);
        if let Some(ends_at) = ends_at {
            self.due
                .insert((ends_at, Rank::Session(opening)), Subject::Session(id));
        }
        for ended in &saved.kept {
            let (request, _) = self.restore_ended(ended, snapshot)?;
            if self.requests[request].owner != id {
                return Err(impossible("a request that is kept by a session of another"));
            }
            self.owners[id]
                .session
                .as_mut()
                .expect("just opened")
                .kept
                .push(request);
            self.kept += 1;
        }
        Ok(())
    }

    fn restore_live(
        &mut self,
        saved: &SavedRequest,
        snapshot: &Snapshot,
    ) -> Result<(), SnapshotError> {
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
        let id = self.restore_record(saved, phase, snapshot)?;
        if self.requests[id]
            .due()
            .is_some_and(|due| due <= snapshot.now)
        {
            return Err(impossible("a live request past its deadline"));
        }
        let owner = self.requests[id].owner;
        let record = &self.owners[owner];
        if record.owner.is_session() && record.session.is_none() {
            return Err(impossible("a live request of a session that is not open"));
        }
        self.put_on_tree(id, &saved.claims);
        let request = &self.requests[id];
        if request.is_queued() != (request.blocked > 0) {
            return Err(impossible(
                "a request that waits for nothing, or holds what it may not",
            ));
        }
        if request.is_queued() {
            self.count_queued(id, |queued| queued + 1);
        }
        self.owners.link(&mut self.requests, id);
        self.schedule(id);
        Ok(())
    }

    fn put_on_tree(&mut self, id: RequestId, claims: &[Claim]) {
        let request = &self.requests[id];
        let newcomer = Newcomer {
            request: id,
            arrival: request.arrival,
        };
        let root = self.owners.root_mut(request.owner);
        let placed = self
            .tree
            .place(root, newcomer, crate::acquire::in_placing_order(claims));
        let request = &mut self.requests[id];
        request.first_entry = placed.first_entry;
        request.blocked = placed.blocked;
    }

    fn restore_ended(
        &mut self,
        saved: &SavedRequest,
        snapshot: &Snapshot,
    ) -> Result<(RequestId, TimeMs), SnapshotError> {
        let LockState::Ended { reason, at, token } = saved.state else {
            return Err(impossible("a remembered request that has not ended"));
        };
        if at > snapshot.now {
            return Err(impossible("a request that ends in the future"));
        }
        let id = self.restore_record(saved, Phase::Ended { reason, at, token }, snapshot)?;
        let owner = self.requests[id].owner;
        self.owners[owner].remembered += 1;
        Ok((id, at))
    }

    fn restore_record(
        &mut self,
        saved: &SavedRequest,
        phase: Phase,
        snapshot: &Snapshot,
    ) -> Result<RequestId, SnapshotError> {
        if saved.arrival >= snapshot.next_arrival || saved.arrived_at > snapshot.now {
            return Err(out_of_order(&saved.key));
        }
        if saved.ttl.is_some_and(DurationMs::is_zero) {
            return Err(impossible("a ttl of 0"));
        }
        if matches!(phase, Phase::Held { granted_at, .. } if granted_at > snapshot.now) {
            return Err(impossible("a lock that is granted in the future"));
        }
        let owner = self
            .owners
            .find_or_add(&saved.key.namespace, &saved.key.owner);
        let hash = self.hash_of(owner, &saved.key.id);
        if self.find_of(owner, &saved.key.id, hash).is_some() {
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
            .is_some_and(|token| token >= snapshot.next_token)
        {
            return Err(out_of_order(&saved.key));
        }
        let id = self.requests.insert(request);
        self.by_id.insert(id, &self.requests);
        Ok(id)
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
