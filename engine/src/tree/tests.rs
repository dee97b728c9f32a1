//! Damage that `check` finds, nodes whose hashes collide, and room that is made at once.

use super::*;

/// A tree with a node `a` below the root, and a node `b` below `a`; 1 writes `a/b`, 2 and 3 read `a`.
struct World {
    tree: Tree,
    root: Option<NodeId>,
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

impl World {
    fn new() -> World {
        let mut world = World {
            tree: Tree::new(HashKey::default()),
            root: None,
        };
        world.place(1, &[Claim::write(path("a/b"))]);
        world.place(2, &[Claim::read(path("a"))]);
        world.place(3, &[Claim::read(path("a"))]);
        world.tree.check();
        world
    }

    fn place(&mut self, number: u32, claims: &[Claim]) -> Placed {
        let newcomer = Newcomer {
            request: Id::from_raw(number).unwrap(),
            arrival: Arrival(number.into()),
        };
        self.tree.place(&mut self.root, newcomer, claims)
    }

    fn node(&self, text: &str) -> NodeId {
        let way = self.tree.way_to(self.root.unwrap(), &path(text));
        *way.last().unwrap()
    }

    fn list(&mut self, text: &str, mode: EntryMode) -> &mut List {
        let node = self.node(text);
        &mut self.tree.node_mut(node).lists[mode as usize]
    }
}

#[test]
#[should_panic(expected = "node x is idle and kept")]
fn check_finds_a_node_that_nobody_needs() {
    let mut world = World::new();
    world.tree.child_or_new(world.root.unwrap(), "x");
    world.tree.check();
}

#[test]
#[should_panic(expected = "the pointer is at the first blocked entry")]
fn check_finds_a_blocked_entry_that_counts_as_free() {
    let mut world = World::new();
    world.list("a", EntryMode::Read).first_blocked = None;
    world.tree.check();
}

#[test]
#[should_panic(expected = "a list ends at its tail")]
fn check_finds_a_list_that_does_not_end_at_its_tail() {
    let mut world = World::new();
    let list = world.list("a", EntryMode::Read);
    list.tail = list.head;
    world.tree.check();
}

#[test]
#[should_panic(expected = "a list is in arrival order")]
fn check_finds_a_list_out_of_order() {
    let mut world = World::new();
    let tail = world.list("a", EntryMode::Read).tail.unwrap();
    world.tree.entries[tail].arrival = Arrival(0);
    world.tree.check();
}

#[test]
#[should_panic(expected = "every entry is in one list")]
fn check_finds_an_entry_in_no_list() {
    let mut world = World::new();
    let head = world.list("a", EntryMode::Read).head.unwrap();
    let copy = world.tree.entries[head].clone();
    world.tree.entries.insert(copy);
    world.tree.check();
}

#[test]
fn room_for_what_is_restored_is_made_at_once() {
    let mut tree = Tree::new(HashKey::default());
    tree.reserve(200_000);
    assert!(tree.children.capacity() >= 200_000);
}

/// What a page's cursor needs, so that its list is not walked from the head.
#[test]
fn an_entry_is_found_again_by_its_place() {
    let mut world = World::new();
    let (head, tail) = {
        let list = world.list("a", EntryMode::Read);
        (list.head.unwrap(), list.tail.unwrap())
    };
    for id in [head, tail] {
        let entry = world.tree.get_entry(id).unwrap();
        assert_eq!(world.tree.id_of(entry), Some(id));
    }
    let arrival_before = |id| world.tree.arrival_before(world.tree.entry(id));
    assert_eq!(arrival_before(head), None);
    assert_eq!(arrival_before(tail), Some(Arrival(2)));
    let nobody = Id::from_raw(1000).unwrap();
    assert!(world.tree.get_entry(nobody).is_none());
}
