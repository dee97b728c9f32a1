//! Questions to the engine: they change nothing.

use crate::{
    Claim, DurationMs, Engine, LockKey, LockState, Name, Path, SessionKey, TimeMs, Token,
    index::Known,
    requests::{Request, RequestId, from_on},
    slab::Id,
    tree::{Arrival, Entry, EntryMode, MODES, NodeId},
};
use serde::{Deserialize, Serialize};

/// What can be told of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockInfo {
    /// Whose it is, and its id.
    pub key: LockKey,
    /// What it claims, without duplicates and covered claims; empty once it has ended.
    pub claims: Vec<Claim>,
    /// Where it is in its life.
    pub state: LockState,
    /// When it arrived; when it ended once it has, since its arrival is not remembered.
    pub arrived_at: TimeMs,
}

/// When a request arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// The time.
    pub at: TimeMs,
    /// How many requests of this engine had arrived before: of two live requests, the one with the smaller
    /// number came first, though it be within the same millisecond.
    pub place: u64,
}

/// What can be told of an open session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Which session.
    pub key: SessionKey,
    /// When its end begins if nobody returns; none while it is attached.
    pub ends_at: Option<TimeMs>,
    /// How long it lives without a connection.
    pub abandon: DurationMs,
    /// Its live requests, held or queued.
    pub live_requests: u32,
}

/// How much of everything is in use: all zero when nothing is live or remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Requests that are held or queued.
    pub live_requests: usize,
    /// Requests that have ended and are remembered.
    pub remembered_requests: usize,
    /// Nodes of the tree of resources.
    pub nodes: usize,
    /// Entries of requests at nodes.
    pub entries: usize,
    /// Owners with a live or remembered request or a session.
    pub owners: usize,
    /// Sessions that are open, ending, or ended and not given back.
    pub sessions: usize,
    /// Namespaces in use.
    pub namespaces: usize,
    /// Leases, wait deadlines and abandon timeouts that are running, and ends of sessions that go on.
    pub deadlines: usize,
}

impl Usage {
    /// Whether nothing at all is in use.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Usage::default()
    }
}

/// Where a page of [`Engine::locks_under`] ended. Opaque; valid for the same namespace and prefix,
/// also after the engine has changed: the next page starts after the last request of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    after: u64,
    /// Where each list of the node went on, so that it need not be walked from its head.
    places: [u32; 4],
}

/// One page of locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Live requests in arrival order.
    pub locks: Vec<LockInfo>,
    /// Where to go on; none at the end.
    pub next: Option<Cursor>,
}

impl Engine {
    /// A live or remembered request. Cost: that of its claims.
    #[must_use]
    pub fn lock(&self, key: &LockKey) -> Option<LockInfo> {
        Some(match self.find(key)? {
            Known::Live(id) => self.info(id),
            Known::Ended(id) => {
                let ended = &self.ended[id];
                LockInfo {
                    key: key.clone(),
                    claims: Vec::new(),
                    state: ended.state(),
                    arrived_at: ended.at(),
                }
            }
        })
    }

    /// A number that grows from each request to the next one to arrive, for ordering those of the
    /// same millisecond; none for a request that is over.
    #[must_use]
    pub fn arrival(&self, key: &LockKey) -> Option<u64> {
        match self.find(key)? {
            Known::Live(id) => Some(self.requests[id].arrival.0),
            Known::Ended(_) => None,
        }
    }

    /// The live requests, held or queued, with a claim that overlaps `path`, in arrival order.
    /// Cost: that of what is found.
    #[must_use]
    pub fn overlapping(&self, namespace: &Name, path: &Path) -> Vec<LockInfo> {
        let mut found: Vec<(Arrival, RequestId)> = Vec::new();
        let mut collect = |node, modes: &[EntryMode]| {
            for mode in modes {
                let entries = self.tree.list(node, *mode);
                found.extend(entries.map(|entry| (entry.arrival, entry.request)));
            }
        };
        let Some(root) = self.root(namespace) else {
            return Vec::new();
        };
        for (depth, node) in self.tree.way_to(root, path).into_iter().enumerate() {
            if depth == path.depth() {
                collect(node, &MODES);
            } else {
                collect(node, &[EntryMode::Read, EntryMode::Write]);
            }
        }
        found.sort_unstable_by_key(|(arrival, _)| *arrival);
        found.dedup_by_key(|(arrival, _)| *arrival);
        found.into_iter().map(|(_, id)| self.info(id)).collect()
    }

    /// Who holds a lock that overlaps `path`, in the order of arrival.
    #[must_use]
    pub fn holders(&self, namespace: &Name, path: &Path) -> Vec<LockInfo> {
        let mut locks = self.overlapping(namespace, path);
        locks.retain(|lock| matches!(lock.state, LockState::Held { .. }));
        locks
    }

    /// Who is queued with a claim that overlaps `path`, in the order of arrival.
    #[must_use]
    pub fn queue(&self, namespace: &Name, path: &Path) -> Vec<LockInfo> {
        let mut locks = self.overlapping(namespace, path);
        locks.retain(|lock| matches!(lock.state, LockState::Queued { .. }));
        locks
    }

    /// When a request arrived; none if it is not live.
    #[must_use]
    pub fn arrived(&self, lock: &LockKey) -> Option<Arrived> {
        match self.find(lock)? {
            Known::Live(id) => Some(Arrived {
                at: self.requests[id].arrived_at,
                place: self.requests[id].arrival.0,
            }),
            Known::Ended(_) => None,
        }
    }

    /// The live requests, held or queued, that a request for `claims` conflicts with, in arrival
    /// order: the `most` earliest of them, and no more than came before one with the
    /// [place](Arrived::place) `before`. Cost: that of the ways to the claims and of `most` for each
    /// claim.
    #[must_use]
    pub fn conflicting(
        &self,
        namespace: &Name,
        claims: &[Claim],
        before: Option<u64>,
        most: usize,
    ) -> Vec<LockInfo> {
        let Some(root) = self.root(namespace) else {
            return Vec::new();
        };
        let mut found: Vec<(Arrival, RequestId)> = Vec::new();
        for (node, mode) in self.lists_in_the_way(root, claims) {
            let entries = self.tree.list(node, mode).take(most);
            let entries = entries.take_while(|entry| entry.came(before));
            found.extend(entries.map(|entry| (entry.arrival, entry.request)));
        }
        found.sort_unstable_by_key(|(arrival, _)| *arrival);
        found.dedup_by_key(|(arrival, _)| *arrival);
        found.truncate(most);
        found.into_iter().map(|(_, id)| self.info(id)).collect()
    }

    /// The earliest live request that is held and that a request for `claims` conflicts with, if it came
    /// before one with the [place](Arrived::place) `before`. Cost: that of the ways to the claims and of
    /// the queued requests that arrived before it.
    #[must_use]
    pub fn held_in_the_way(
        &self,
        namespace: &Name,
        claims: &[Claim],
        before: Option<u64>,
    ) -> Option<LockInfo> {
        let lists = self.lists_in_the_way(self.root(namespace)?, claims);
        let firsts = lists.filter_map(|(node, mode)| self.held_in(node, mode).next());
        let firsts = firsts.filter(|(entry, _)| entry.came(before));
        let earliest = firsts.min_by_key(|(entry, _)| entry.arrival);
        earliest.map(|(entry, _)| self.info(entry.request))
    }

    /// The lists of which each entry is of a request that one for `claims` conflicts with.
    fn lists_in_the_way(
        &self,
        root: NodeId,
        claims: &[Claim],
    ) -> impl Iterator<Item = (NodeId, EntryMode)> {
        claims.iter().flat_map(move |claim| {
            let way = self.tree.way_to(root, &claim.path).into_iter();
            way.enumerate().flat_map(move |(depth, node)| {
                let own = match depth == claim.path.depth() {
                    true => EntryMode::of_claim(claim.mode),
                    false => EntryMode::of_intention(claim.mode),
                };
                own.incompatible().iter().map(move |mode| (node, *mode))
            })
        })
    }

    /// The held locks that claim exactly `path`: the one that writes it, or all that read it, these in
    /// arrival order. Cost: that of what is taken from it and of the queued requests in between, up to
    /// the first one that writes it.
    pub fn held_at(&self, namespace: &Name, path: &Path) -> impl Iterator<Item = LockInfo> {
        let node = self.node_of(namespace, path);
        let held = node.into_iter().flat_map(move |node| {
            let claimed = [EntryMode::Write, EntryMode::Read];
            claimed
                .into_iter()
                .flat_map(move |mode| self.held_in(node, mode))
        });
        held.map(|(entry, _)| self.info(entry.request))
    }

    /// The largest token of the held locks with a claim that covers `path`; none when none does. Cost:
    /// that of the requests, held and queued, that claim the path or one above it, for each of these up to
    /// the first one that writes it.
    #[must_use]
    pub fn covering_token(&self, namespace: &Name, path: &Path) -> Option<Token> {
        let way = self.tree.way_to(self.root(namespace)?, path);
        let claimed = [EntryMode::Write, EntryMode::Read];
        let lists = way
            .into_iter()
            .flat_map(|node| claimed.map(|mode| (node, mode)));
        lists
            .flat_map(|(node, mode)| self.held_in(node, mode))
            .map(|(_, token)| token)
            .max()
    }

    /// The entries of a list whose requests are held, with the tokens of these. What came to a node after
    /// one that writes it is in conflict with that, and waits: it is not looked at.
    fn held_in(&self, node: NodeId, mode: EntryMode) -> impl Iterator<Item = (&Entry, Token)> {
        let token = |entry: &Entry| match self.requests[entry.request].state() {
            LockState::Held { token, .. } => Some(token),
            _ => None,
        };
        let writes = self.tree.list(node, EntryMode::Write).next();
        let writes = writes.map(|entry| entry.arrival);
        let may_be_held = move |entry: &&Entry| writes.is_none_or(|first| entry.arrival <= first);
        let entries = self.tree.list(node, mode).take_while(may_be_held);
        entries.filter_map(move |entry| Some((entry, token(entry)?)))
    }

    /// The live requests with a claim at or below `prefix`, in arrival order, at most `most` of
    /// them (at least 1), from the start or from where a page ended. Cost: that of the page, unless
    /// the request at which a page ended has itself ended; then the lists are walked to its place.
    #[must_use]
    pub fn locks_under(
        &self,
        namespace: &Name,
        prefix: &Path,
        from: Option<Cursor>,
        most: usize,
    ) -> Page {
        let Some(node) = self.node_of(namespace, prefix) else {
            return Page {
                locks: Vec::new(),
                next: None,
            };
        };
        let mut lists = MODES.map(|mode| self.list_from(node, mode, from));
        let mut locks = Vec::new();
        let mut last = None;
        while let Some(entry) = lists.iter().flatten().min_by_key(|entry| entry.arrival) {
            if locks.len() == most.max(1) {
                break;
            }
            let (arrival, request) = (entry.arrival, entry.request);
            locks.push(self.info(request));
            last = Some(arrival);
            for list in &mut lists {
                if list.is_some_and(|entry| entry.arrival == arrival) {
                    *list = list
                        .and_then(|entry| entry.next)
                        .map(|id| self.tree.entry(id));
                }
            }
        }
        let more = lists.iter().any(Option::is_some);
        let next = last.filter(|_| more).map(|last| self.cursor(last, &lists));
        Page { locks, next }
    }

    fn cursor(&self, last: Arrival, lists: &[Option<&Entry>; 4]) -> Cursor {
        let place = |entry: &Entry| self.tree.id_of(entry).map_or(0, Id::raw);
        Cursor {
            after: last.0,
            places: lists.map(|entry| entry.map_or(0, place)),
        }
    }

    /// The first entry of a list that comes after a cursor.
    fn list_from(&self, node: NodeId, mode: EntryMode, from: Option<Cursor>) -> Option<&Entry> {
        let Some(cursor) = from else {
            return self.tree.list(node, mode).next();
        };
        let after = Arrival(cursor.after);
        let hinted = Id::from_raw(cursor.places[mode as usize])
            .and_then(|id| self.tree.get_entry(id))
            .filter(|entry| entry.node == node && entry.mode == mode && entry.arrival > after)
            .filter(|entry| {
                self.tree
                    .arrival_before(entry)
                    .is_none_or(|before| before <= after)
            });
        hinted.or_else(|| {
            self.tree
                .list(node, mode)
                .find(|entry| entry.arrival > after)
        })
    }

    /// Whether an open session holds a lock. Cost: linear in its requests that wait and came before that one.
    #[must_use]
    pub fn session_holds(&self, key: &SessionKey) -> bool {
        let Ok(owner) = self.find_session(key) else {
            return false;
        };
        from_on(&self.requests, self.owners[owner].first).any(|request| !request.is_queued())
    }

    /// The live requests of a session, in arrival order, also of one whose end has begun: what its turn has not
    /// come for is there and can be broken. Cost: that of what is taken from it.
    pub fn session_locks(&self, key: &SessionKey) -> impl Iterator<Item = LockInfo> {
        let owner = self.find_owner(key);
        let first = owner.and_then(|owner| self.owners[owner].first);
        from_on(&self.requests, first).map(|request| self.info_of(request))
    }

    /// The sessions that have not ended, in the order of opening: those that are open, and those whose end
    /// has begun and is not told yet.
    pub fn sessions_to_end(&self) -> impl Iterator<Item = SessionKey> {
        let all = self.sessions.values();
        let left = all.filter(|owner| !self.session(**owner).has_ended);
        left.map(|owner| self.owners.session_key(*owner))
    }

    /// An open session; none of one whose end has begun.
    #[must_use]
    pub fn session_info(&self, key: &SessionKey) -> Option<SessionInfo> {
        let owner = self.find_session(key).ok()?;
        Some(SessionInfo {
            key: key.clone(),
            ends_at: self.session(owner).ends_at,
            abandon: self.session(owner).abandon,
            live_requests: self.owners[owner].live,
        })
    }

    /// The open sessions in the order of opening.
    pub fn sessions(&self) -> impl Iterator<Item = SessionInfo> {
        let all = self.sessions.values();
        let open = all.filter(|owner| self.owners[**owner].is_open());
        open.map(|owner| SessionInfo {
            key: self.owners.session_key(*owner),
            ends_at: self.session(*owner).ends_at,
            abandon: self.session(*owner).abandon,
            live_requests: self.owners[*owner].live,
        })
    }

    /// Whether a namespace is in use. Cost: constant.
    #[must_use]
    pub fn is_namespace_in_use(&self, namespace: &Name) -> bool {
        self.owners.find_namespace(namespace).is_some()
    }

    /// The namespaces in use, by name.
    #[must_use]
    pub fn namespaces(&self) -> Vec<Name> {
        let mut names: Vec<Name> = self
            .owners
            .namespaces()
            .map(|namespace| namespace.name.clone())
            .collect();
        names.sort_unstable();
        names
    }

    /// How much of everything is in use. Cost: constant.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            live_requests: self.requests.len(),
            remembered_requests: self.remembered,
            nodes: self.tree.node_count(),
            entries: self.tree.entry_count(),
            owners: self.owners.owner_count(),
            sessions: self.sessions.len(),
            namespaces: self.owners.namespace_count(),
            deadlines: self.due.len(),
        }
    }

    fn root(&self, namespace: &Name) -> Option<NodeId> {
        let namespace = self.owners.find_namespace(namespace)?;
        self.owners.namespace(namespace).root
    }

    fn node_of(&self, namespace: &Name, path: &Path) -> Option<NodeId> {
        let way = self.tree.way_to(self.root(namespace)?, path);
        way.get(path.depth()).copied()
    }

    fn info(&self, id: RequestId) -> LockInfo {
        self.info_of(&self.requests[id])
    }

    /// What a live request claims, in the order of the texts of their paths.
    pub(crate) fn claims_of(&self, request: &Request) -> Vec<Claim> {
        let mut claims: Vec<Claim> = self
            .tree
            .chain(request.first_entry)
            .filter_map(|entry| {
                let path = |mode| Claim {
                    path: self.tree.path(entry.node),
                    mode,
                };
                entry.mode.claimed().map(path)
            })
            .collect();
        claims.sort_unstable();
        claims
    }

    pub(crate) fn info_of(&self, request: &Request) -> LockInfo {
        LockInfo {
            key: self.owners.lock_key(request.owner, &request.id),
            claims: self.claims_of(request),
            state: request.state(),
            arrived_at: request.arrived_at,
        }
    }
}
