//! Names whose hashes collide: the tables compare what the hash leaves open.

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[test]
fn owners_whose_hashes_collide_are_told_apart() {
    let mut owners = Owners::new(HashKey::default());
    let (here, there) = (name("here"), name("there"));
    let (alice, bob) = (Owner::Named(name("alice")), Owner::Named(name("bob")));
    let session = Owner::Session(name("alice"));
    let id = owners.find_or_add(&here, &alice);
    // What is asked for has the hash of another one.
    let hash = owners.hash_of(&here, &alice).finish();
    assert_eq!(owners.find_hashed(hash, &here, &alice), Some(id));
    assert_eq!(owners.find_hashed(hash, &here, &bob), None);
    assert_eq!(owners.find_hashed(hash, &here, &session), None);
    assert_eq!(owners.find_hashed(hash, &there, &alice), None);
    assert_eq!(owners.find_hashed(hash, &there, &bob), None);
}

#[test]
fn a_lock_is_of_the_owner_and_the_namespace_that_its_key_names() {
    let mut owners = Owners::new(HashKey::default());
    let key = |namespace: &str, owner: &str| LockKey {
        namespace: name(namespace),
        owner: Owner::Named(name(owner)),
        id: name("L1"),
    };
    let id = owners.find_or_add(&name("here"), &Owner::Named(name("alice")));
    assert!(owners.names(&key("here", "alice"), id));
    assert!(!owners.names(&key("here", "bob"), id));
    assert!(!owners.names(&key("there", "alice"), id));
}
