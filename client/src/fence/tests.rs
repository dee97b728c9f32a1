use super::*;
use proptest::prelude::*;

fn stale(key: &str, got: u64, largest: u64) -> Result<(), Stale> {
    Err(Stale {
        key: key.into(),
        got: Token(got),
        largest: Token(largest),
    })
}

#[test]
fn a_smaller_token_is_refused_and_an_equal_one_passes() {
    let mut fence = Fence::default();
    assert_eq!(fence.check("k", Token(5)), Ok(()));
    assert_eq!(fence.check("k", Token(5)), Ok(()));
    assert_eq!(fence.check("k", Token(4)), stale("k", 4, 5));
    assert_eq!(fence.check("k", Token(6)), Ok(()));
    assert_eq!(fence.check("k", Token(5)), stale("k", 5, 6));
}

#[test]
fn keys_do_not_touch_each_other() {
    let mut fence = Fence::default();
    fence.check("a", Token(9)).unwrap();
    assert_eq!(fence.check("a/b", Token(2)), Ok(()));
    assert_eq!(fence.largest("a"), Some(Token(9)));
    assert_eq!(fence.largest("c"), None);
}

#[test]
fn who_comes_without_a_token_is_refused() {
    let mut fence = Fence::default();
    assert_eq!(fence.check("k", Token(0)), stale("k", 0, 1));
    assert_eq!(fence.check_read("k", Token(0)), stale("k", 0, 1));
}

#[test]
fn readers_share_in_any_order_and_are_protected_from_earlier_writers() {
    let mut fence = Fence::default();
    fence.check("k", Token(3)).unwrap();
    assert_eq!(fence.check_read("k", Token(5)), Ok(()));
    assert_eq!(fence.check_read("k", Token(4)), Ok(()));
    assert_eq!(fence.check("k", Token(3)), stale("k", 3, 5));
    assert_eq!(fence.check("k", Token(6)), Ok(()));
    assert_eq!(fence.check_read("k", Token(5)), stale("k", 5, 6));
}

#[test]
fn what_is_refused_is_not_remembered() {
    let mut fence = Fence::default();
    fence.check("k", Token(5)).unwrap();
    let before = fence.clone();
    fence.check("k", Token(4)).unwrap_err();
    fence.check("other", Token(0)).unwrap_err();
    assert_eq!(fence, before);
}

#[test]
fn a_floor_takes_the_place_of_what_is_below_it() {
    let mut fence = Fence::default();
    fence.check("old", Token(5)).unwrap();
    fence.check("new", Token(7)).unwrap();
    fence.raise_floor(Token(6));
    assert_eq!(fence.len(), 1);
    assert_eq!(fence.check("old", Token(5)), stale("old", 5, 6));
    assert_eq!(
        fence.check("never seen", Token(5)),
        stale("never seen", 5, 6)
    );
    assert_eq!(fence.check("old", Token(6)), Ok(()));
    assert_eq!(fence.check("new", Token(6)), stale("new", 6, 7));
    fence.raise_floor(Token(2));
    assert_eq!(fence.floor(), Token(6));
}

#[derive(Debug, Clone)]
enum Step {
    Access(Access, u8, u64),
    Floor(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let access = prop_oneof![Just(Access::Read), Just(Access::Write)];
    prop_oneof![
        20 => (access, 0..3u8, 0..12u64).prop_map(|(access, key, token)| Step::Access(access, key, token)),
        1 => (0..12u64).prop_map(Step::Floor),
    ]
}

proptest! {
    /// The rule itself, on the list of all that was ever accepted.
    #[test]
    fn a_check_passes_exactly_when_nobody_later_was_there(steps in prop::collection::vec(step(), 0..60)) {
        let mut fence = Fence::default();
        let mut accepted: Vec<(Access, u8, u64)> = Vec::new();
        let mut floor = 1;
        for step in steps {
            match step {
                Step::Floor(token) => {
                    floor = floor.max(token);
                    fence.raise_floor(Token(token));
                }
                Step::Access(access, key, token) => {
                    let is_later = |(other, at, than): &(Access, u8, u64)| {
                        *at == key && *than > token && (access == Access::Write || *other == Access::Write)
                    };
                    let expected = token >= floor && !accepted.iter().any(is_later);
                    let key_text = key.to_string();
                    let got = match access {
                        Access::Write => fence.check(&key_text, Token(token)),
                        Access::Read => fence.check_read(&key_text, Token(token)),
                    };
                    prop_assert_eq!(got.is_ok(), expected, "{:?}", got);
                    if expected {
                        accepted.push((access, key, token));
                    }
                }
            }
            prop_assert_eq!(&fence.marks().collect::<Fence>(), &fence);
        }
    }

    /// Marks may be lost to a crash only before they were acted upon; what is left may be applied
    /// in any order, and twice.
    #[test]
    fn marks_make_the_same_fence_in_any_order(
        steps in prop::collection::vec(step(), 0..40),
        shuffle in any::<prop::sample::Index>(),
    ) {
        let mut fence = Fence::default();
        let mut marks = Vec::new();
        for step in steps {
            let mark = match step {
                Step::Floor(token) => Some(Mark::Floor(Token(token))),
                Step::Access(access, key, token) => {
                    fence.examine(access, &key.to_string(), Token(token)).unwrap_or(None)
                }
            };
            if let Some(mark) = mark {
                fence.remember(mark.clone());
                marks.push(mark);
            }
        }
        if !marks.is_empty() {
            let middle = shuffle.index(marks.len());
            marks.rotate_left(middle);
            marks.push(marks[0].clone());
        }
        let again: Fence = marks.into_iter().collect();
        prop_assert_eq!(again, fence);
    }
}
