//! Asking for locks.

use crate::{
    Claim, DurationMs, Engine, Event, EventKind, FirstRequest, InvalidRequest, LimitName, LockKey,
    LockState, Refusal, Reply, TimeMs, Wait,
    claims::{ClaimsDigest, uncovered},
    index::{Hashes, Known},
    owners::{OwnerId, OwnerRecord},
    requests::{Phase, Request, RequestId},
    tree::{Arrival, Newcomer},
};

impl Engine {
    /// Carries out [`Command::Acquire`](crate::Command::Acquire) (SEMANTICS section 2).
    pub(crate) fn acquire(
        &mut self,
        lock: &LockKey,
        claims: &[Claim],
        ttl: Option<DurationMs>,
        wait: Wait,
        events: &mut Vec<Event>,
    ) -> Result<Reply, Refusal> {
        self.check_shape(claims, ttl)?;
        let hash = self.owners.hash_of(&lock.namespace, &lock.owner);
        let owner = self
            .owners
            .find_hashed(hash.finish(), &lock.namespace, &lock.owner);
        let hash = hash.of_request(&lock.id);
        if owner.is_some()
            && let Some(known) = self.find_hashed(lock, hash)
        {
            return self.again(known, claims);
        }
        self.check_owner(lock, owner)?;
        let owner = owner.unwrap_or_else(|| self.owners.find_or_add(&lock.namespace, &lock.owner));
        let id = self.place(owner, lock, hash, claims, ttl);
        let state = if self.requests[id].blocked == 0 {
            self.admit(id);
            self.grant(id, events);
            self.requests[id].state()
        } else {
            match self.may_queue(id, wait) {
                Ok(deadline) => self.enqueue(id, deadline, lock, events),
                Err(refusal) => {
                    self.withdraw(id);
                    return Err(refusal);
                }
            }
        };
        Ok(Reply::Acquired { state, fresh: true })
    }

    /// The answer to an id that is known: the state of its request if that asked for the same claims,
    /// and a refusal that names it if not (SEMANTICS section 4).
    fn again(&self, known: Known, claims: &[Claim]) -> Result<Reply, Refusal> {
        let (is_retry, first, state) = match known {
            Known::Ended(id) => {
                let ended = &self.ended[id];
                let is_retry = ended.digest == ClaimsDigest::of(claims).kept();
                let first = FirstRequest::over(ended.reason());
                (is_retry, first, ended.state())
            }
            Known::Live(id) => {
                let request = &self.requests[id];
                let first = self.claims_of(request);
                let mut asked = uncovered(claims);
                asked.sort_unstable();
                let is_retry = asked.into_iter().eq(&first);
                (is_retry, FirstRequest::live(first), request.state())
            }
        };
        if !is_retry {
            return Err(Refusal::RequestMismatch(Box::new(first)));
        }
        Ok(Reply::Acquired {
            state,
            fresh: false,
        })
    }

    /// What can be said of a request without looking at anything else.
    fn check_shape(&self, claims: &[Claim], ttl: Option<DurationMs>) -> Result<(), Refusal> {
        if claims.is_empty() {
            return Err(Refusal::InvalidRequest(InvalidRequest::NoClaims));
        }
        let limits = &self.limits;
        within(
            LimitName::ClaimsPerRequest,
            limits.claims_per_request,
            claims.len(),
        )?;
        for claim in claims {
            let (depth, longest) = claim
                .path
                .segments()
                .fold((0, 0), |(depth, longest), segment| {
                    (depth + 1, segment.len().max(longest))
                });
            within(LimitName::SegmentsPerPath, limits.segments_per_path, depth)?;
            within(
                LimitName::BytesPerSegment,
                limits.bytes_per_segment,
                longest,
            )?;
        }
        if ttl.is_some_and(DurationMs::is_zero) {
            return Err(Refusal::InvalidRequest(InvalidRequest::ZeroTtl));
        }
        Ok(())
    }

    /// Whether this owner may have one more request. `owner` is its record, if it has one.
    fn check_owner(&self, lock: &LockKey, owner: Option<OwnerId>) -> Result<(), Refusal> {
        let record = owner.map(|owner| &self.owners[owner]);
        if lock.owner.is_session() && !record.is_some_and(OwnerRecord::is_open) {
            return Err(Refusal::UnknownSession);
        }
        if record.is_none() {
            self.check_namespace(&lock.namespace)?;
        }
        let live = record.map_or(0, |record| record.live as usize);
        within(
            LimitName::LocksPerOwner,
            self.limits.locks_per_owner,
            live + 1,
        )
    }

    /// Makes the record of a new request and places it on the tree, as yet without a trace
    /// elsewhere.
    fn place(
        &mut self,
        owner: OwnerId,
        lock: &LockKey,
        hash: u64,
        claims: &[Claim],
        ttl: Option<DurationMs>,
    ) -> RequestId {
        let arrival = self.next_arrival;
        let id = self.requests.insert(Request {
            owner,
            id: lock.id.clone(),
            hash,
            arrival,
            arrived_at: self.now,
            ttl,
            phase: Phase::Queued { deadline: None },
            blocked: 0,
            first_entry: None,
            prev_of_owner: None,
            next_of_owner: None,
        });
        let newcomer = Newcomer {
            request: id,
            arrival,
        };
        let root = self.owners.root_mut(owner);
        let placed = self.tree.place(root, newcomer, claims);
        let request = &mut self.requests[id];
        request.first_entry = placed.first_entry;
        request.blocked = placed.blocked;
        id
    }

    /// Takes back a request that was placed and is refused: nothing of it is left.
    fn withdraw(&mut self, id: RequestId) {
        let request = &mut self.requests[id];
        let owner = request.owner;
        let entry = request
            .first_entry
            .take()
            .expect("a placed request is on the tree");
        self.tree.remove(
            self.owners.root_mut(owner),
            entry,
            &mut self.requests,
            &mut self.freed,
            None,
        );
        assert!(self.freed.is_empty(), "nobody waits for the newest request");
        self.requests.remove(id);
        self.owners.drop_if_idle(owner);
    }

    /// The request is accepted: from now on it can be found, and counts.
    fn admit(&mut self, id: RequestId) {
        assert_eq!(
            self.requests[id].arrival, self.next_arrival,
            "requests arrive one by one"
        );
        self.next_arrival = Arrival(self.next_arrival.0 + 1);
        let hashes = Hashes {
            requests: &self.requests,
            ended: &self.ended,
            owners: &self.owners,
        };
        let hash = self.requests[id].hash;
        self.by_id.insert(hash, Known::Live(id), &hashes);
        self.owners.link(&mut self.requests, id);
    }

    /// Whether a blocked request may be queued, and its wait deadline then.
    fn may_queue(&self, id: RequestId, wait: Wait) -> Result<Option<TimeMs>, Refusal> {
        let deadline = match wait {
            Wait::No => return Err(Refusal::Busy),
            Wait::For(duration) if duration.is_zero() => return Err(Refusal::Busy),
            Wait::For(duration) => Some(self.now.after(duration)),
            Wait::Forever => None,
        };
        let claimed = self.tree.chain(self.requests[id].first_entry);
        for entry in claimed.filter(|entry| entry.mode.claimed().is_some()) {
            let queued = self.tree.node(entry.node).queued as usize;
            let max = self.limits.queued_requests_per_path;
            within(LimitName::QueuedRequestsPerPath, max, queued + 1)?;
        }
        Ok(deadline)
    }

    fn enqueue(
        &mut self,
        id: RequestId,
        deadline: Option<TimeMs>,
        lock: &LockKey,
        events: &mut Vec<Event>,
    ) -> LockState {
        self.requests[id].phase = Phase::Queued { deadline };
        self.admit(id);
        self.count_queued(id, |queued| queued + 1);
        self.schedule(id);
        self.tell(EventKind::Queued { lock: lock.clone() }, events);
        self.requests[id].state()
    }

    /// Whether a namespace is in use or may come into use.
    pub(crate) fn check_namespace(&self, name: &crate::Name) -> Result<(), Refusal> {
        if self.owners.find_namespace(name).is_some() {
            return Ok(());
        }
        let namespaces = self.owners.namespace_count() + 1;
        within(LimitName::Namespaces, self.limits.namespaces, namespaces)
    }
}

/// Refuses what is above a limit.
pub(crate) fn within(limit: LimitName, max: u32, got: usize) -> Result<(), Refusal> {
    if got <= max as usize {
        return Ok(());
    }
    Err(Refusal::LimitExceeded {
        limit,
        max,
        got: got as u64,
    })
}
