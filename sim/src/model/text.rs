//! Names, paths and claims as texts (SEMANTICS sections 1 and 2).

use super::Code;
use crate::op::OpClaim;

const ROOT: &str = "/";
const NAME_BYTES_MAX: usize = 255;

/// A name has 1 to 255 bytes and no control characters.
pub(super) fn check_name(name: &str) -> Result<(), Code> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err("invalid_request");
    }
    Ok(())
}

/// A path is `/`, or segments joined by `/`, none of them empty and without control characters.
pub(super) fn check_path(path: &str) -> Result<(), Code> {
    let has_empty_segment = segments(path).any(str::is_empty);
    if has_empty_segment || path.chars().any(char::is_control) {
        return Err("invalid_path");
    }
    Ok(())
}

/// The segments of a path; none of the whole namespace.
pub(super) fn segments(path: &str) -> impl Iterator<Item = &str> + Clone {
    path.split('/').skip(if path == ROOT { 2 } else { 0 })
}

/// Whether `path` is `other` or an ancestor of it: a prefix that ends where a segment ends.
fn covers(path: &str, other: &str) -> bool {
    path == ROOT
        || other
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Section 1: two paths overlap when one is a prefix of the other.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    covers(a, b) || covers(b, a)
}

/// Section 2: two requests conflict when any claim of one conflicts with any claim of the other;
/// section 1: two claims do when their paths overlap and they are not both `read`.
pub(super) fn conflict(ours: &[OpClaim], theirs: &[OpClaim]) -> bool {
    ours.iter().any(|a| {
        theirs
            .iter()
            .any(|b| (a.write || b.write) && overlap(&a.path, &b.path))
    })
}

/// Section 2: drops duplicates, and every claim that another covers with an equal or ancestor
/// path and an equal or stronger mode.
pub(super) fn without_covered(claims: &[OpClaim]) -> Vec<OpClaim> {
    let is_covered = |place: usize, claim: &OpClaim| {
        claims.iter().enumerate().any(|(other_place, other)| {
            let covered = (other.write || !claim.write) && covers(&other.path, &claim.path);
            // Of equal claims the first stays.
            covered && (other != claim || other_place < place)
        })
    };
    let kept = claims
        .iter()
        .enumerate()
        .filter(|(place, claim)| !is_covered(*place, claim));
    kept.map(|(_, claim)| claim.clone()).collect()
}

/// Whether two lists without covered claims are the same claims, in whatever order.
pub(super) fn are_same(ours: &[OpClaim], theirs: &[OpClaim]) -> bool {
    ours.len() == theirs.len() && ours.iter().all(|claim| theirs.contains(claim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Text;

    fn claims(texts: &[&str]) -> Vec<OpClaim> {
        let claim = |text: &&str| OpClaim {
            write: text.starts_with('w'),
            path: Text::from(&text[2..]),
        };
        texts.iter().map(claim).collect()
    }

    #[test]
    fn overlap_is_by_segment_not_by_byte() {
        assert!(overlap("a/b", "a"));
        assert!(overlap("a", "a/b"));
        assert!(overlap("a/b", "a/b"));
        assert!(overlap("/", "a"));
        assert!(!overlap("a/b", "a/bc"));
        assert!(!overlap("a", "b"));
    }

    #[test]
    fn segments_of_a_path() {
        assert_eq!(segments("/").count(), 0);
        assert_eq!(segments("a/b").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn malformed_paths_are_refused() {
        for path in ["", "//", "/a", "a/", "a//b", "a\n"] {
            assert_eq!(check_path(path), Err("invalid_path"), "{path:?}");
        }
        for path in ["/", "a", "a b/ü"] {
            assert_eq!(check_path(path), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn covered_claims_and_duplicates_are_dropped() {
        for (given, kept) in [
            (&["w a", "w a"][..], &["w a"][..]),
            (&["r a", "w a"], &["w a"]),
            (&["r a/b", "r a"], &["r a"]),
            (&["w a/b", "r a"], &["w a/b", "r a"]),
            (&["w /", "r a", "w b/c"], &["w /"]),
            (&["w a/b", "w a/bc"], &["w a/b", "w a/bc"]),
        ] {
            assert_eq!(without_covered(&claims(given)), claims(kept), "{given:?}");
        }
    }

    #[test]
    fn claims_are_the_same_in_any_order() {
        for (one, other, same) in [
            (&["w a", "r b"][..], &["r b", "w a"][..], true),
            (&["w a"], &["r a"], false),
            (&["w a"], &["w b"], false),
            (&["w a"], &["w a", "w b"], false),
            (&["w a", "w b"], &["w a"], false),
        ] {
            assert_eq!(
                are_same(&claims(one), &claims(other)),
                same,
                "{one:?} {other:?}"
            );
        }
    }
}
