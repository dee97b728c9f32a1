//! The records of namespaces, owners and sessions.

use crate::{
    DurationMs, LockKey, Name, Owner, SessionKey, TimeMs,
    ended::{Ended, Ends},
    requests::{Request, RequestId},
    slab::{Id, Slab},
    table::{HashKey, Hashed, OwnerHash, Table},
    tree::NodeId,
};

#[cfg(test)]
mod tests;

pub(crate) type NamespaceId = Id<Namespace>;
pub(crate) type OwnerId = Id<OwnerRecord>;

/// One independent lock space, kept while it has an owner.
#[derive(Debug, Clone)]
pub(crate) struct Namespace {
    pub(crate) name: Name,
    hash: u64,
    /// The root of its tree; none while nobody has a claim in it.
    pub(crate) root: Option<NodeId>,
    owners: u32,
}

/// The number of a session in the order of opening, over the whole engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Opening(pub(crate) u64);

/// What a session adds to its owner, until all of it is given back (SEMANTICS section 4).
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) opening: Opening,
    pub(crate) abandon: DurationMs,
    /// When its end begins if nobody returns; none while it is attached. When its end goes on, once that
    /// has begun.
    pub(crate) ends_at: Option<TimeMs>,
    /// Its end has been told: it has no live requests any more.
    pub(crate) has_ended: bool,
    /// Its ended requests whose retention has passed: they are remembered until its end begins, and then
    /// only there to be given back.
    pub(crate) kept: Ends,
}

/// Who has requests: kept while one is live or remembered, or there is a session.
#[derive(Debug, Clone)]
pub(crate) struct OwnerRecord {
    pub(crate) namespace: NamespaceId,
    pub(crate) owner: Owner,
    hash: u64,
    pub(crate) session: Option<Box<Session>>,
    /// Whether the end of its session has begun. It stands here, where each grant looks anyway.
    pub(crate) is_ending: bool,
    /// Live requests, in arrival order.
    pub(crate) first: Option<RequestId>,
    last: Option<RequestId>,
    pub(crate) live: u32,
    pub(crate) remembered: u32,
}

impl Hashed for Namespace {
    fn hash(&self) -> u64 {
        self.hash
    }
}

impl OwnerRecord {
    /// Whether it has a live or remembered request, or a session.
    pub(crate) fn is_in_use(&self) -> bool {
        self.live > 0 || self.remembered > 0 || self.session.is_some()
    }

    /// Whether it is a session that commands may name: one whose end has begun is over for them.
    pub(crate) fn is_open(&self) -> bool {
        self.session.is_some() && !self.is_ending
    }
}

impl Hashed for OwnerRecord {
    fn hash(&self) -> u64 {
        self.hash
    }
}

/// All namespaces and owners that are in use.
#[derive(Debug, Clone)]
pub(crate) struct Owners {
    key: HashKey,
    namespaces: Slab<Namespace>,
    by_name: Table<Namespace>,
    owners: Slab<OwnerRecord>,
    by_owner: Table<OwnerRecord>,
}

impl Owners {
    pub(crate) fn new(key: HashKey) -> Owners {
        Owners {
            key,
            namespaces: Slab::new(),
            by_name: Table::new(),
            owners: Slab::new(),
            by_owner: Table::new(),
        }
    }

    /// A copy in which nothing is found by its name.
    pub(crate) fn share(&mut self) -> Owners {
        Owners {
            namespaces: self.namespaces.share(),
            owners: self.owners.share(),
            ..Owners::new(self.key)
        }
    }

    pub(crate) fn owner_count(&self) -> usize {
        self.owners.len()
    }

    pub(crate) fn namespace_count(&self) -> usize {
        self.namespaces.len()
    }

    /// How many places for namespaces and for owners there are, in use or not.
    pub(crate) fn places(&self) -> (usize, usize) {
        (self.namespaces.places(), self.owners.places())
    }

    /// The root of a namespace's tree.
    pub(crate) fn root_of(&mut self, namespace: NamespaceId) -> &mut Option<NodeId> {
        &mut self.namespaces[namespace].root
    }

    /// The owners that have an open session, in the order of opening.
    pub(crate) fn with_session(&self) -> Vec<OwnerId> {
        let opened =
            |(id, owner): (OwnerId, &OwnerRecord)| Some((owner.session.as_ref()?.opening, id));
        let mut opened: Vec<_> = self.owners.iter().filter_map(opened).collect();
        opened.sort_unstable_by_key(|(opening, _)| *opening);
        opened.into_iter().map(|(_, id)| id).collect()
    }

    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.namespaces.iter().map(|(_, namespace)| namespace)
    }

    pub(crate) fn find_namespace(&self, name: &Name) -> Option<NamespaceId> {
        let hash = self.key.of_name(name);
        self.by_name
            .find(hash, &self.namespaces, |namespace| namespace.name == *name)
    }

    pub(crate) fn find(&self, namespace: &Name, owner: &Owner) -> Option<OwnerId> {
        self.find_hashed(self.hash_of(namespace, owner).finish(), namespace, owner)
    }

    pub(crate) fn find_hashed(
        &self,
        hash: u64,
        namespace: &Name,
        owner: &Owner,
    ) -> Option<OwnerId> {
        self.by_owner.find(hash, &self.owners, |record| {
            self.is(record, namespace, owner)
        })
    }

    pub(crate) fn hash_of(&self, namespace: &Name, owner: &Owner) -> OwnerHash {
        self.key.of_owner(namespace, owner)
    }

    fn is(&self, record: &OwnerRecord, namespace: &Name, owner: &Owner) -> bool {
        record.owner == *owner && self.namespaces[record.namespace].name == *namespace
    }

    /// Whether a lock's key names a request of this owner.
    pub(crate) fn names(&self, lock: &LockKey, owner: OwnerId) -> bool {
        self.is(&self.owners[owner], &lock.namespace, &lock.owner)
    }

    /// The owner's record, made here (and its namespace's, too) when there is none.
    pub(crate) fn find_or_add(&mut self, name: &Name, owner: &Owner) -> OwnerId {
        let hash = self.hash_of(name, owner).finish();
        if let Some(id) = self.find_hashed(hash, name, owner) {
            return id;
        }
        let namespace = self
            .find_namespace(name)
            .unwrap_or_else(|| self.add_namespace(name));
        self.namespaces[namespace].owners += 1;
        let id = self.owners.insert(OwnerRecord {
            namespace,
            owner: owner.clone(),
            hash,
            session: None,
            is_ending: false,
            first: None,
            last: None,
            live: 0,
            remembered: 0,
        });
        self.by_owner.insert(id, &self.owners);
        id
    }

    fn add_namespace(&mut self, name: &Name) -> NamespaceId {
        let id = self.namespaces.insert(Namespace {
            name: name.clone(),
            hash: self.key.of_name(name),
            root: None,
            owners: 0,
        });
        self.by_name.insert(id, &self.namespaces);
        id
    }

    /// Drops an owner's record, and its namespace's, when nothing needs it any more.
    pub(crate) fn drop_if_idle(&mut self, id: OwnerId) {
        let owner = &self.owners[id];
        if owner.is_in_use() {
            return;
        }
        assert!(
            owner.first.is_none() && owner.last.is_none(),
            "an idle owner has no live request"
        );
        self.by_owner.remove(id, &self.owners);
        let namespace_id = self.owners.remove(id).namespace;
        let namespace = &mut self.namespaces[namespace_id];
        namespace.owners -= 1;
        if namespace.owners == 0 {
            assert!(
                namespace.root.is_none(),
                "a namespace without owners has no claims"
            );
            self.by_name.remove(namespace_id, &self.namespaces);
            self.namespaces.remove(namespace_id);
        }
    }

    pub(crate) fn namespace(&self, id: NamespaceId) -> &Namespace {
        &self.namespaces[id]
    }

    pub(crate) fn root_mut(&mut self, owner: OwnerId) -> &mut Option<NodeId> {
        &mut self.namespaces[self.owners[owner].namespace].root
    }

    /// The key of an owner's request.
    pub(crate) fn lock_key(&self, owner: OwnerId, id: &Name) -> LockKey {
        let owner = &self.owners[owner];
        LockKey {
            namespace: self.namespaces[owner.namespace].name.clone(),
            owner: owner.owner.clone(),
            id: id.clone(),
        }
    }

    /// The hash of the key of an owner's request.
    pub(crate) fn hash_of_request(&self, owner: OwnerId, id: &Name) -> u64 {
        OwnerHash::of(self.key, self.owners[owner].hash).of_request(id)
    }

    /// The hash of the key of a request that has ended.
    pub(crate) fn hash_of_ended(&self, ended: &Ended) -> u64 {
        self.hash_of_request(ended.owner, &ended.id)
    }

    pub(crate) fn session_key(&self, owner: OwnerId) -> SessionKey {
        let owner = &self.owners[owner];
        SessionKey {
            namespace: self.namespaces[owner.namespace].name.clone(),
            session: owner.owner.name().clone(),
        }
    }

    /// Adds the newest request to the end of its owner's live ones.
    pub(crate) fn link(&mut self, requests: &mut Slab<Request>, id: RequestId) {
        let owner = &mut self.owners[requests[id].owner];
        requests[id].prev_of_owner = owner.last;
        match owner.last {
            Some(last) => requests[last].next_of_owner = Some(id),
            None => owner.first = Some(id),
        }
        owner.last = Some(id);
        owner.live += 1;
    }

    /// Takes a request out of its owner's live ones.
    pub(crate) fn unlink(&mut self, requests: &mut Slab<Request>, id: RequestId) {
        let request = &mut requests[id];
        let owner = &mut self.owners[request.owner];
        assert!(owner.live > 0, "a live request is counted by its owner");
        let (prev, next) = (request.prev_of_owner.take(), request.next_of_owner.take());
        match prev {
            Some(prev) => requests[prev].next_of_owner = next,
            None => owner.first = next,
        }
        match next {
            Some(next) => requests[next].prev_of_owner = prev,
            None => owner.last = prev,
        }
        owner.live -= 1;
    }
}

impl std::ops::Index<OwnerId> for Owners {
    type Output = OwnerRecord;
    fn index(&self, id: OwnerId) -> &OwnerRecord {
        &self.owners[id]
    }
}

impl std::ops::IndexMut<OwnerId> for Owners {
    fn index_mut(&mut self, id: OwnerId) -> &mut OwnerRecord {
        &mut self.owners[id]
    }
}
