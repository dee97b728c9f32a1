//! The resource trees that plans of profile `engine` fight over.

use super::shape::Size;
use crate::{draw::Draw, op::Text};

/// Kinds of trees. Each finds other bugs: chains those between ancestors and descendants, fans
/// those with many claims, look-alikes those of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TreeKind {
    /// One to three paths without children.
    Hot,
    /// One path of up to 32 segments, and its ancestors.
    Chain,
    /// A path and many children.
    Fan,
    /// Two or three children each, a few levels.
    Bushy,
    /// Siblings of which one's text begins with the other's, and a few descendants.
    LookAlikes,
}

const KINDS: [TreeKind; 5] = [
    TreeKind::Hot,
    TreeKind::Chain,
    TreeKind::Fan,
    TreeKind::Bushy,
    TreeKind::LookAlikes,
];

/// The paths that a plan's requests claim.
#[derive(Debug)]
pub(super) struct Tree {
    /// What kind it is.
    pub(super) kind: TreeKind,
    /// The paths; the last is the whole namespace.
    paths: Vec<Text>,
    /// Whether two of them overlap, row by row.
    overlaps: Vec<bool>,
    /// How many of a hundred claims are on the whole namespace.
    root_percent: u32,
    /// Whether the first paths are claimed more often than the last.
    skewed: bool,
}

impl Tree {
    /// Draws one that suits a world of this size.
    pub(super) fn draw(draw: &mut Draw, size: Size) -> Tree {
        let large = size == Size::Large;
        let kind = *match size {
            Size::Usual => draw.pick(&KINDS),
            Size::Large => draw.pick(&[TreeKind::Fan, TreeKind::Bushy]),
            Size::Long => draw.pick(&[TreeKind::Hot, TreeKind::Chain, TreeKind::LookAlikes]),
        };
        let mut paths = match kind {
            TreeKind::Hot => hot(draw),
            TreeKind::Chain => chain(draw),
            TreeKind::Fan => fan(draw, large),
            TreeKind::Bushy => bushy(draw, large),
            TreeKind::LookAlikes => look_alikes(),
        };
        paths.push(Text::from("/"));
        Tree {
            kind,
            overlaps: overlaps(&paths),
            paths,
            root_percent: if large {
                0
            } else {
                *draw.pick(&[0, 0, 1, 3, 10])
            },
            skewed: draw.chance(1, 3),
        }
    }

    /// How many paths it has beside the whole namespace.
    pub(super) fn len(&self) -> usize {
        self.paths.len() - 1
    }

    /// The text of a path.
    pub(super) fn text(&self, path: PathIndex) -> &Text {
        &self.paths[usize::from(path.0)]
    }

    /// One of its paths, or the whole namespace.
    pub(super) fn draw_path(&self, draw: &mut Draw) -> PathIndex {
        if self.root_percent > 0 && draw.chance(self.root_percent, 100) {
            return index(self.len());
        }
        let mut place = draw.index(self.len());
        if self.skewed {
            place = place.min(draw.index(self.len()));
        }
        index(place)
    }

    /// Whether two of its paths overlap.
    pub(super) fn overlap(&self, one: PathIndex, other: PathIndex) -> bool {
        self.overlaps[usize::from(one.0) * self.paths.len() + usize::from(other.0)]
    }
}

/// A path of a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PathIndex(u16);

fn index(place: usize) -> PathIndex {
    PathIndex(u16::try_from(place).expect("a tree has a few hundred paths"))
}

fn overlaps(paths: &[Text]) -> Vec<bool> {
    let covers = |one: &str, other: &str| {
        let rest = other.strip_prefix(one);
        one == "/" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    paths
        .iter()
        .flat_map(|one| {
            paths
                .iter()
                .map(move |other| covers(one, other) || covers(other, one))
        })
        .collect()
}

/// A segment for each number: `a` to `z`, then `a1` and so on.
fn segment(number: u32) -> String {
    let letter = char::from(b'a' + u8::try_from(number % 26).expect("26 is below 256"));
    match number / 26 {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}

fn hot(draw: &mut Draw) -> Vec<Text> {
    (0..draw.between(1, 3))
        .map(|number| segment(number).into())
        .collect()
}

fn chain(draw: &mut Draw) -> Vec<Text> {
    let depth = *draw.pick(&[2, 3, 5, 9, 17, 32]);
    let mut path = String::new();
    let mut paths = Vec::new();
    for number in 0..depth {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(&segment(number));
        paths.push(Text::from(path.as_str()));
    }
    paths
}

fn fan(draw: &mut Draw, large: bool) -> Vec<Text> {
    let width = if large {
        draw.between(100, 400)
    } else {
        draw.between(3, 30)
    };
    let below = if draw.chance(1, 2) { "a/" } else { "" };
    let mut paths = Vec::new();
    if !large && draw.chance(2, 3) {
        paths.push(Text::from("a"));
    }
    paths.extend((0..width).map(|number| Text::from(format!("{below}{}", segment(number)))));
    paths
}

fn bushy(draw: &mut Draw, large: bool) -> Vec<Text> {
    let (children, levels) = if large {
        (draw.between(4, 6), 3)
    } else {
        (draw.between(2, 3), draw.between(2, 3))
    };
    let mut paths: Vec<Text> = Vec::new();
    let mut level = vec![String::new()];
    for depth in 0..levels {
        let mut next = Vec::new();
        for parent in &level {
            for number in 0..children {
                let name = segment(number);
                next.push(if parent.is_empty() {
                    name
                } else {
                    format!("{parent}/{name}")
                });
            }
        }
        // Claims near the root of a large tree would make it one queue.
        if !large || depth + 1 == levels {
            paths.extend(next.iter().map(|path| Text::from(path.as_str())));
        }
        level = next;
    }
    paths
}

fn look_alikes() -> Vec<Text> {
    ["a/b", "a/bc", "a/b/c", "a", "ab", "ab/b", "a/b/cc"]
        .map(Text::from)
        .to_vec()
}
