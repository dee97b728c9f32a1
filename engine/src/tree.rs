//! The tree of resources and who comes first on it.
//!
//! Multi-granularity locking (Gray, Lorie, Putzolu, Traiger 1976): a claim leaves an *entry* in
//! its own mode on its node and an entry in an intention mode on each ancestor, so that any two
//! claims that conflict meet at exactly one node, the one of the shorter path. Each node has one
//! list of entries per mode, in arrival order. An entry is *blocked* while the head of a list of
//! an incompatible mode has arrived before it. Within a list being blocked is monotone (a later
//! entry has every conflict of an earlier one), so that one pointer per list, to its first blocked
//! entry, is all there is to know; it only moves forward, which makes the work constant per entry
//! over its life. Rules: SEMANTICS sections 1, 2 and 6.

use crate::{
    Claim, Mode, Path,
    claims::ClaimsDigest,
    requests::{Request, RequestId},
    slab::{Id, Slab},
    table::{HashKey, Hashed, Table},
};
use smol_str::SmolStr;

#[cfg(test)]
mod tests;

pub(crate) type NodeId = Id<Node>;
pub(crate) type EntryId = Id<Entry>;

/// The number of a request in the order of arrival, over the whole engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival(pub(crate) u64);

/// The mode of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryMode {
    /// The request reads something below.
    IntentRead = 0,
    /// The request writes something below.
    IntentWrite = 1,
    /// The request reads this node and all below.
    Read = 2,
    /// The request writes this node and all below.
    Write = 3,
}

pub(crate) const MODES: [EntryMode; 4] = [
    EntryMode::IntentRead,
    EntryMode::IntentWrite,
    EntryMode::Read,
    EntryMode::Write,
];

impl EntryMode {
    pub(crate) fn of_claim(mode: Mode) -> EntryMode {
        match mode {
            Mode::Read => EntryMode::Read,
            Mode::Write => EntryMode::Write,
        }
    }

    pub(crate) fn of_intention(mode: Mode) -> EntryMode {
        match mode {
            Mode::Read => EntryMode::IntentRead,
            Mode::Write => EntryMode::IntentWrite,
        }
    }

    /// The mode of the claim that this entry stands for on its own node, if it is no intention.
    pub(crate) fn claimed(self) -> Option<Mode> {
        match self {
            EntryMode::IntentRead | EntryMode::IntentWrite => None,
            EntryMode::Read => Some(Mode::Read),
            EntryMode::Write => Some(Mode::Write),
        }
    }

    /// The modes that cannot be granted beside this one to another request. Intentions never
    /// exclude each other: what they intend is decided further down.
    pub(crate) const fn incompatible(self) -> &'static [EntryMode] {
        use EntryMode::{IntentRead, IntentWrite, Read, Write};
        match self {
            IntentRead => &[Write],
            IntentWrite => &[Read, Write],
            Read => &[IntentWrite, Write],
            Write => &[IntentRead, IntentWrite, Read, Write],
        }
    }
}

/// One request at one node in one mode.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) arrival: Arrival,
    pub(crate) request: RequestId,
    pub(crate) node: NodeId,
    pub(crate) mode: EntryMode,
    prev: Option<EntryId>,
    pub(crate) next: Option<EntryId>,
    /// The chain of all entries of the request.
    pub(crate) next_of_request: Option<EntryId>,
}

/// The entries of one node in one mode, in arrival order.
#[derive(Debug, Clone, Default)]
pub(crate) struct List {
    pub(crate) head: Option<EntryId>,
    tail: Option<EntryId>,
    first_blocked: Option<EntryId>,
}

/// A resource on which, or below which, somebody has a claim.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    parent: Option<NodeId>,
    /// The last segment of its path; empty for a root. Up to 23 bytes stand in the record itself.
    segment: SmolStr,
    hash: u64,
    pub(crate) lists: [List; 4],
    /// Queued requests with a claim on exactly this node.
    pub(crate) queued: u32,
}

impl Node {
    /// The node above, and the last segment; none for a root.
    pub(crate) fn place(&self) -> Option<(NodeId, &SmolStr)> {
        self.parent.map(|parent| (parent, &self.segment))
    }

    fn is_idle(&self) -> bool {
        self.lists.iter().all(|list| list.head.is_none())
    }
}

impl Hashed for Node {
    fn hash(&self) -> u64 {
        self.hash
    }
}

/// All nodes of all namespaces that are in use, and their entries.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    key: HashKey,
    nodes: Slab<Node>,
    children: Table<Node>,
    entries: Slab<Entry>,
    /// Room for [`Tree::place`] to sort claims in; empty in between.
    order: Vec<PlacingOrder>,
    /// Room for the nodes above a claim that is being placed; empty in between.
    above: Vec<NodeId>,
}

impl Entry {
    /// Whether its request arrived before one with this place among all, if one is given.
    pub(crate) fn came(&self, before: Option<u64>) -> bool {
        before.is_none_or(|before| self.arrival.0 < before)
    }
}

/// Where a claim comes in the order of placing: its depth, whether it only reads, and its index.
type PlacingOrder = (usize, bool, usize);

/// Who is placed: a request with its arrival.
#[derive(Clone, Copy)]
pub(crate) struct Newcomer {
    pub(crate) request: RequestId,
    pub(crate) arrival: Arrival,
}

/// What placing a request came to.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    /// The chain of the request's entries.
    pub(crate) first_entry: Option<EntryId>,
    /// How many of them are blocked.
    pub(crate) blocked: u32,
}

impl Tree {
    pub(crate) fn new(key: HashKey) -> Tree {
        Tree {
            key,
            nodes: Slab::new(),
            children: Table::new(),
            entries: Slab::new(),
            order: Vec::new(),
            above: Vec::new(),
        }
    }

    /// A copy in which nothing is found by its name.
    pub(crate) fn share(&mut self) -> Tree {
        Tree {
            nodes: self.nodes.share(),
            entries: self.entries.share(),
            ..Tree::new(self.key)
        }
    }

    /// Makes room for the names of so many more nodes.
    pub(crate) fn reserve(&mut self, nodes: usize) {
        self.children.reserve(nodes, &self.nodes);
    }

    /// How many places for nodes there are, in use or not.
    pub(crate) fn node_places(&self) -> usize {
        self.nodes.places()
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn entry_count(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id]
    }

    pub(crate) fn entry(&self, id: EntryId) -> &Entry {
        &self.entries[id]
    }

    pub(crate) fn get_entry(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// The nodes from `root` down to `path`, as far as they are in use.
    pub(crate) fn way_to(&self, root: NodeId, path: &Path) -> Vec<NodeId> {
        let mut way = vec![root];
        let mut parent = root;
        for segment in path.segments() {
            let hash = self.key.of_segment(parent.raw(), segment);
            let found = self.children.find(hash, &self.nodes, |node| {
                node.parent == Some(parent) && node.segment == segment
            });
            let Some(node) = found else { break };
            way.push(node);
            parent = node;
        }
        way
    }

    /// The path of a node, put together from the segments above it.
    pub(crate) fn path(&self, id: NodeId) -> Path {
        let bytes: usize = self.segments_up(id).map(|segment| segment.len() + 1).sum();
        if bytes == 0 {
            return Path::root();
        }
        let mut text = vec![b'/'; bytes - 1];
        let mut end = text.len();
        for segment in self.segments_up(id) {
            let start = end - segment.len();
            text[start..end].copy_from_slice(segment.as_bytes());
            end = start.saturating_sub(1);
        }
        let text = String::from_utf8(text).expect("segments are UTF-8");
        Path::parse(text).expect("segments joined by `/` are a path")
    }

    /// The segments of a node's path, from the last one up.
    fn segments_up(&self, id: NodeId) -> impl Iterator<Item = &str> {
        let mut next = Some(id);
        std::iter::from_fn(move || {
            let node = &self.nodes[next?];
            next = node.parent;
            // The root has none.
            next.map(|_| node.segment.as_str())
        })
    }

    /// Places the newest request on the tree: an entry for each claim, and intentions above.
    /// `root` is the root node of its namespace, made here when it is not in use.
    ///
    /// Shallow claims are placed first and, at equal depth, those that write: a claim that another
    /// one covers then finds the covering one placed, and is dropped (SEMANTICS section 2).
    pub(crate) fn place(
        &mut self,
        root: &mut Option<NodeId>,
        newcomer: Newcomer,
        claims: &[Claim],
    ) -> Placed {
        let mut placed = Placed::default();
        let root = self.root_or_new(root);
        if let [claim] = claims {
            self.place_only(root, newcomer, claim, &mut placed);
        } else {
            let mut order = std::mem::take(&mut self.order);
            order.extend(
                claims
                    .iter()
                    .enumerate()
                    .map(|(index, claim)| (claim.path.depth(), claim.mode == Mode::Read, index)),
            );
            order.sort_unstable();
            for (_, _, index) in order.drain(..) {
                self.place_claim(root, newcomer, &claims[index], &mut placed);
            }
            self.order = order;
        }
        assert!(
            placed.first_entry.is_some(),
            "a placed request has an entry"
        );
        placed
    }

    pub(crate) fn root_or_new(&mut self, root: &mut Option<NodeId>) -> NodeId {
        *root.get_or_insert_with(|| self.nodes.insert(Node::root()))
    }

    /// Places the only claim of a request, which no other one can cover.
    fn place_only(&mut self, root: NodeId, newcomer: Newcomer, claim: &Claim, placed: &mut Placed) {
        let intention = EntryMode::of_intention(claim.mode);
        let mut node = root;
        for segment in claim.path.segments() {
            self.append(node, intention, newcomer, placed);
            node = self.child_or_new(node, segment);
        }
        self.append(node, EntryMode::of_claim(claim.mode), newcomer, placed);
    }

    fn place_claim(
        &mut self,
        root: NodeId,
        newcomer: Newcomer,
        claim: &Claim,
        placed: &mut Placed,
    ) {
        let mut above = std::mem::take(&mut self.above);
        assert!(
            above.is_empty(),
            "what was above another claim is forgotten"
        );
        if let Some(node) = self.make_way(root, newcomer.request, claim, &mut above) {
            self.append_all(&above, node, claim.mode, newcomer, placed);
        }
        above.clear();
        self.above = above;
    }

    /// Places a claim of the newest request on a node that is there. The claims of a request come in
    /// the order of [`Tree::place`]. Returns whether none of them covers this one.
    pub(crate) fn place_at(
        &mut self,
        node: NodeId,
        mode: Mode,
        newcomer: Newcomer,
        placed: &mut Placed,
    ) -> bool {
        let mut above = std::mem::take(&mut self.above);
        let mut covered = self.covers(node, newcomer.request, mode);
        let mut next = self.nodes[node].parent;
        while let Some(id) = next {
            covered |= self.covers(id, newcomer.request, mode);
            above.push(id);
            next = self.nodes[id].parent;
        }
        above.reverse();
        if !covered {
            self.append_all(&above, node, mode, newcomer, placed);
        }
        above.clear();
        self.above = above;
        !covered
    }

    fn append_all(
        &mut self,
        above: &[NodeId],
        node: NodeId,
        mode: Mode,
        newcomer: Newcomer,
        placed: &mut Placed,
    ) {
        for above in above {
            self.append(*above, EntryMode::of_intention(mode), newcomer, placed);
        }
        self.append(node, EntryMode::of_claim(mode), newcomer, placed);
    }

    /// The node of a claim, and those above it, made where they are not in use; none if another
    /// claim of the same request covers it. Then nothing was made: below who covers it, either all
    /// is in use or nothing was looked for.
    fn make_way(
        &mut self,
        root: NodeId,
        request: RequestId,
        claim: &Claim,
        above: &mut Vec<NodeId>,
    ) -> Option<NodeId> {
        let mut node = root;
        for segment in claim.path.segments() {
            if self.covers(node, request, claim.mode) {
                return None;
            }
            above.push(node);
            node = self.child_or_new(node, segment);
        }
        (!self.covers(node, request, claim.mode)).then_some(node)
    }

    /// Whether `request`, the newest, has a claim on this very node that covers one of `mode`
    /// here or below. The newest request's entries are the last of their lists.
    fn covers(&self, node: NodeId, request: RequestId, mode: Mode) -> bool {
        self.is_last(node, EntryMode::Write, request)
            || (mode == Mode::Read && self.is_last(node, EntryMode::Read, request))
    }

    fn is_last(&self, node: NodeId, mode: EntryMode, request: RequestId) -> bool {
        let tail = self.nodes[node].lists[mode as usize].tail;
        tail.is_some_and(|tail| self.entries[tail].request == request)
    }

    pub(crate) fn child_or_new(&mut self, parent: NodeId, segment: &str) -> NodeId {
        let hash = self.key.of_segment(parent.raw(), segment);
        self.children.find_or_add(
            hash,
            &mut self.nodes,
            |node| node.parent == Some(parent) && node.segment == segment,
            || Node {
                parent: Some(parent),
                segment: SmolStr::new(segment),
                hash,
                lists: Default::default(),
                queued: 0,
            },
        )
    }

    /// Appends an entry of the newest request, unless it has one here in this mode.
    fn append(&mut self, node: NodeId, mode: EntryMode, newcomer: Newcomer, placed: &mut Placed) {
        let here = &self.nodes[node];
        let tail = here.lists[mode as usize].tail;
        if let Some(tail) = tail {
            let last = &self.entries[tail];
            if last.request == newcomer.request {
                return;
            }
            assert!(
                last.arrival < newcomer.arrival,
                "arrivals are appended in order"
            );
        }
        let blocked = self
            .first_incompatible(here, mode)
            .is_some_and(|a| a < newcomer.arrival);
        let id = self.entries.insert(Entry {
            arrival: newcomer.arrival,
            request: newcomer.request,
            node,
            mode,
            prev: tail,
            next: None,
            next_of_request: placed.first_entry,
        });
        if let Some(tail) = tail {
            self.entries[tail].next = Some(id);
        }
        let list = &mut self.nodes[node].lists[mode as usize];
        list.head = list.head.or(Some(id));
        list.tail = Some(id);
        if blocked {
            list.first_blocked = list.first_blocked.or(Some(id));
            placed.blocked += 1;
        } else {
            assert!(
                list.first_blocked.is_none(),
                "who comes after a blocked entry is blocked"
            );
        }
        placed.first_entry = Some(id);
    }

    /// The arrival of the first entry at `node` whose mode is incompatible with `mode`.
    fn first_incompatible(&self, node: &Node, mode: EntryMode) -> Option<Arrival> {
        let heads = mode
            .incompatible()
            .iter()
            .filter_map(|other| node.lists[*other as usize].head);
        heads.map(|head| self.entries[head].arrival).min()
    }

    /// Takes all entries of a request off the tree. Requests of which no entry is blocked any
    /// more are appended to `freed`. Clears `root` when its node has become idle. What the request
    /// claims is added to `digest`, where it is to be remembered.
    pub(crate) fn remove(
        &mut self,
        root: &mut Option<NodeId>,
        first_entry: EntryId,
        requests: &mut Slab<Request>,
        freed: &mut Vec<RequestId>,
        mut digest: Option<&mut ClaimsDigest>,
    ) {
        let mut next = Some(first_entry);
        while let Some(id) = next {
            let entry = self.entries.remove(id);
            next = entry.next_of_request;
            // The nodes above a claim have entries of the request that come later in the chain.
            if let (Some(digest), Some(mode)) = (&mut digest, entry.mode.claimed()) {
                digest.add(mode, self.segments_up(entry.node));
            }
            self.unlink(id, &entry, requests, freed);
            self.drop_if_idle(root, entry.node);
        }
    }

    fn unlink(
        &mut self,
        id: EntryId,
        entry: &Entry,
        requests: &mut Slab<Request>,
        freed: &mut Vec<RequestId>,
    ) {
        if let Some(prev) = entry.prev {
            self.entries[prev].next = entry.next;
        }
        if let Some(next) = entry.next {
            self.entries[next].prev = entry.prev;
        }
        let lists = &mut self.nodes[entry.node].lists;
        let list = &mut lists[entry.mode as usize];
        if list.first_blocked == Some(id) {
            list.first_blocked = entry.next;
        }
        if list.tail == Some(id) {
            list.tail = entry.prev;
        }
        if list.head == Some(id) {
            list.head = entry.next;
            // Only a head holds others back.
            let incompatible = entry.mode.incompatible();
            // Mostly nothing waits, and then the node need not be looked up for each mode.
            let is_blocked = |mode: &EntryMode| lists[*mode as usize].first_blocked.is_some();
            if incompatible.iter().any(is_blocked) {
                for mode in incompatible {
                    self.unblock(entry.node, *mode, requests, freed);
                }
            }
        }
    }

    /// Moves a list's pointer past the entries that nobody holds back any more.
    fn unblock(
        &mut self,
        node: NodeId,
        mode: EntryMode,
        requests: &mut Slab<Request>,
        freed: &mut Vec<RequestId>,
    ) {
        let here = &self.nodes[node];
        if here.lists[mode as usize].first_blocked.is_none() {
            return;
        }
        let bound = self.first_incompatible(here, mode);
        let list = &mut self.nodes[node].lists[mode as usize];
        while let Some(id) = list.first_blocked {
            let entry = &self.entries[id];
            if bound.is_some_and(|bound| bound < entry.arrival) {
                break;
            }
            list.first_blocked = entry.next;
            let request = &mut requests[entry.request];
            assert!(
                request.blocked > 0,
                "a blocked entry is counted by its request"
            );
            request.blocked -= 1;
            if request.blocked == 0 {
                freed.push(entry.request);
            }
        }
    }

    fn drop_if_idle(&mut self, root: &mut Option<NodeId>, id: NodeId) {
        let node = &self.nodes[id];
        if !node.is_idle() {
            return;
        }
        assert_eq!(node.queued, 0, "an idle node has nobody queued");
        if node.parent.is_some() {
            self.children.remove(id, &self.nodes);
        } else {
            assert_eq!(
                *root,
                Some(id),
                "a node without a parent is its namespace's root"
            );
            *root = None;
        }
        self.nodes.remove(id);
    }

    /// The entries of a request.
    pub(crate) fn chain(&self, first: Option<EntryId>) -> impl Iterator<Item = &Entry> {
        let follow = |id: Option<EntryId>| id.map(|id| &self.entries[id]);
        std::iter::successors(follow(first), move |entry| follow(entry.next_of_request))
    }

    /// The entries of one list, from the head.
    pub(crate) fn list(&self, node: NodeId, mode: EntryMode) -> impl Iterator<Item = &Entry> {
        let follow = |id: Option<EntryId>| id.map(|id| &self.entries[id]);
        let head = self.nodes[node].lists[mode as usize].head;
        std::iter::successors(follow(head), move |entry| follow(entry.next))
    }

    /// The arrival of the entry before `entry` in its list.
    pub(crate) fn arrival_before(&self, entry: &Entry) -> Option<Arrival> {
        entry.prev.map(|prev| self.entries[prev].arrival)
    }

    /// The place of `entry`, which its neighbours know.
    pub(crate) fn id_of(&self, entry: &Entry) -> Option<EntryId> {
        match entry.prev {
            Some(prev) => self.entries[prev].next,
            None => self.nodes[entry.node].lists[entry.mode as usize].head,
        }
    }

    /// Checks every node and list in full: for tests and for the finder, at the cost of a walk
    /// over everything.
    ///
    /// # Panics
    /// When an invariant does not hold.
    pub(crate) fn check(&self) {
        assert_eq!(self.children.len() + self.roots().count(), self.nodes.len());
        let mut listed = 0;
        for (id, node) in self.nodes.iter() {
            assert!(!node.is_idle(), "node {} is idle and kept", self.path(id));
            if let Some(parent) = node.parent {
                assert!(
                    self.nodes.get(parent).is_some(),
                    "{} has no parent",
                    self.path(id)
                );
            }
            for mode in MODES {
                listed += self.check_list(id, mode);
            }
        }
        assert_eq!(listed, self.entries.len(), "every entry is in one list");
    }

    /// Whether no node is without a use.
    pub(crate) fn is_tidy(&self) -> bool {
        self.nodes.iter().all(|(_, node)| !node.is_idle())
    }

    fn roots(&self) -> impl Iterator<Item = NodeId> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.parent.is_none())
            .map(|(id, _)| id)
    }

    fn check_list(&self, node: NodeId, mode: EntryMode) -> usize {
        let here = &self.nodes[node];
        let list = &here.lists[mode as usize];
        let bound = self.first_incompatible(here, mode);
        let (mut count, mut prev, mut next) = (0, None, list.head);
        let mut first_blocked = None;
        while let Some(id) = next {
            let entry = &self.entries[id];
            assert_eq!((entry.node, entry.mode, entry.prev), (node, mode, prev));
            if let Some(prev) = prev {
                assert!(
                    self.entries[prev].arrival < entry.arrival,
                    "a list is in arrival order"
                );
            }
            if first_blocked.is_none() && bound.is_some_and(|bound| bound < entry.arrival) {
                first_blocked = Some(id);
            }
            (count, prev, next) = (count + 1, Some(id), entry.next);
        }
        assert_eq!(list.tail, prev, "a list ends at its tail");
        assert_eq!(
            list.first_blocked, first_blocked,
            "the pointer is at the first blocked entry"
        );
        count
    }
}

impl Node {
    fn root() -> Node {
        Node {
            parent: None,
            segment: SmolStr::default(),
            hash: 0,
            lists: Default::default(),
            queued: 0,
        }
    }
}
