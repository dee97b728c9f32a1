//! Paths as numbers, with what overlaps worked out once per pair.

use crate::op::{OpClaim, Text};
use crate::table::Table;

/// A path, in the order in which they were first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PathId(u32);

/// All paths seen so far, and which of them overlap.
#[derive(Debug, Default)]
pub(super) struct Paths {
    ids: Table<Text, u32>,
    texts: Vec<Text>,
    /// Bit `j` of row `i`: paths `i` and `j` overlap.
    overlaps: Vec<Vec<u64>>,
}

impl Paths {
    /// The number of a path.
    pub(super) fn id(&mut self, path: &Text) -> PathId {
        if let Some(&id) = self.ids.get(path) {
            return PathId(id);
        }
        let id = u32::try_from(self.texts.len()).expect("fewer than 2^32 paths in a run");
        self.ids.insert(path.clone(), id);
        self.texts.push(path.clone());
        self.overlaps.push(Vec::new());
        for other in 0..=id {
            if overlap(path, &self.texts[other as usize]) {
                self.set(id, other);
                self.set(other, id);
            }
        }
        PathId(id)
    }

    /// Whether one is the other or lies below it (SEMANTICS section 1).
    pub(super) fn overlap(&self, one: PathId, other: PathId) -> bool {
        let row = &self.overlaps[one.0 as usize];
        row.get(other.0 as usize / 64)
            .is_some_and(|word| word >> (other.0 % 64) & 1 == 1)
    }

    /// The text of a path.
    pub(super) fn text(&self, id: PathId) -> &str {
        &self.texts[id.0 as usize]
    }

    fn set(&mut self, row: u32, column: u32) {
        let row = &mut self.overlaps[row as usize];
        let word = column as usize / 64;
        if row.len() <= word {
            row.resize(word + 1, 0);
        }
        row[word] |= 1 << (column % 64);
    }
}

/// By segment, not by byte: `a/b` and `a/bc` do not overlap.
fn overlap(one: &str, other: &str) -> bool {
    if one == "/" || other == "/" {
        return true;
    }
    let (short, long) = if one.len() <= other.len() {
        (one, other)
    } else {
        (other, one)
    };
    match long.strip_prefix(short) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// Whether whoever locks the first locks the second, too.
pub(super) fn covers(above: &str, below: &str) -> bool {
    let is_no_longer = above == "/" || (below != "/" && above.len() <= below.len());
    is_no_longer && overlap(above, below)
}

/// Whether two requests claim the same: an owner with all claims of one has all of the other, and the
/// other way round (SEMANTICS section 2). A claim is a path, and whether it writes.
pub(super) fn come_to_the_same(one: &[(&str, bool)], other: &[(&str, bool)]) -> bool {
    let has_all = |these: &[(&str, bool)], those: &[(&str, bool)]| {
        those.iter().all(|&(path, write)| {
            let mut these = these.iter();
            these.any(|&(above, writes)| (writes || !write) && covers(above, path))
        })
    };
    has_all(one, other) && has_all(other, one)
}

/// The same of claims of the command language.
pub(crate) fn same_claims(one: &[OpClaim], other: &[OpClaim]) -> bool {
    let one: Vec<(&str, bool)> = one.iter().map(|c| (&*c.path, c.write)).collect();
    let other: Vec<(&str, bool)> = other.iter().map(|c| (&*c.path, c.write)).collect();
    come_to_the_same(&one, &other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_come_to_the_same_when_each_covers_the_other() {
        for (one, other, same) in [
            (&[("a", true)][..], &[("a", true), ("a/b", false)][..], true),
            (
                &[("a", true), ("b", false)],
                &[("b", false), ("a", true)],
                true,
            ),
            (&[("a", true)], &[("a", false)], false),
            (&[("a", true)], &[("a/b", true)], false),
            (&[("a", false), ("a/b", true)], &[("a", false)], false),
            (&[("/", true)], &[("a", true)], false),
        ] {
            assert_eq!(come_to_the_same(one, other), same, "{one:?} {other:?}");
            assert_eq!(come_to_the_same(other, one), same, "{other:?} {one:?}");
        }
    }

    #[test]
    fn overlap_is_by_segment() {
        assert!(overlap("/", "a/b") && overlap("a/b", "/") && overlap("/", "/"));
        assert!(overlap("q", "/") && overlap("/", "q"));
        assert!(overlap("a", "a") && overlap("a", "a/b") && overlap("a/b/c", "a"));
        assert!(!overlap("a/b", "a/bc") && !overlap("ab", "a") && !overlap("a/b", "a/c"));
    }

    #[test]
    fn a_path_covers_itself_and_what_is_below() {
        assert!(covers("a", "a") && covers("a", "a/b") && covers("/", "a") && covers("/", "/"));
        assert!(
            !covers("a/b", "a") && !covers("a", "/") && !covers("a", "ab") && !covers("a", "b")
        );
    }

    #[test]
    fn rows_grow_with_the_paths() {
        let mut paths = Paths::default();
        let root = paths.id(&"/".into());
        let many: Vec<PathId> = (0..200)
            .map(|n| paths.id(&format!("p{n}").into()))
            .collect();
        assert!(many.iter().all(|&path| paths.overlap(root, path)));
        assert!(many.iter().all(|&path| paths.overlap(path, root)));
        assert!(!paths.overlap(many[3], many[199]) && !paths.overlap(many[199], many[3]));
        assert!(paths.overlap(many[199], many[199]));
        assert_eq!(paths.id(&"p7".into()), many[7]);
        assert_eq!(paths.text(many[7]), "p7");
    }
}
