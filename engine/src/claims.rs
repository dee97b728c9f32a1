//! Which claims of a request count, and how little is kept of them when it has ended.

use crate::{Claim, Mode};

/// The claims that no other one of them covers, each once, in the order of their paths (SEMANTICS
/// section 2). Cost: that of sorting them.
pub(crate) fn uncovered(claims: &[Claim]) -> Vec<&Claim> {
    let mut sorted: Vec<&Claim> = claims.iter().collect();
    // By segments, so that all below a path comes right after it, and there who writes first.
    sorted.sort_unstable_by(|one, other| {
        let paths = one.path.segments().cmp(other.path.segments());
        paths.then(other.mode.cmp(&one.mode))
    });
    let mut kept: Vec<&Claim> = Vec::with_capacity(sorted.len());
    // The kept ones at or above the claim that is looked at: two at most, one that reads and below
    // it one that writes.
    let mut above: Vec<&Claim> = Vec::with_capacity(2);
    for claim in sorted {
        while above
            .last()
            .is_some_and(|last| !last.path.covers(&claim.path))
        {
            above.pop();
        }
        if !above.iter().any(|other| other.covers(claim)) {
            above.push(claim);
            kept.push(claim);
        }
    }
    kept
}

/// Stands for the claims of a request that has ended, the same in every engine, whatever its hash key, and
/// whatever the order of the claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ClaimsDigest(pub(crate) u64);

impl ClaimsDigest {
    /// The digest of claims as they are asked for.
    pub(crate) fn of(claims: &[Claim]) -> ClaimsDigest {
        let mut digest = ClaimsDigest::default();
        for claim in uncovered(claims) {
            let text = if claim.path.is_root() {
                ""
            } else {
                claim.path.as_str()
            };
            // The empty path has no segments, and no other one has an empty segment.
            let segments = text.rsplit('/').filter(|segment| !segment.is_empty());
            digest.add(claim.mode, segments);
        }
        digest
    }

    /// What is kept of it: that other claims have the same is an accident of one in 2^32. An owner that
    /// brings it about on purpose, which no key prevents, is answered with how its own earlier request
    /// ended.
    pub(crate) fn kept(self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let folded = (self.0 ^ (self.0 >> 32)) as u32;
        folded
    }

    /// Adds a claim that counts, with the segments of its path from the last one up.
    pub(crate) fn add<'a>(&mut self, mode: Mode, upwards: impl Iterator<Item = &'a str>) {
        let begin = match mode {
            Mode::Read => BEGIN_READ,
            Mode::Write => BEGIN_WRITE,
        };
        let claim = upwards.fold(begin, |state, segment| {
            add_segment(state, segment.as_bytes())
        });
        // A sum has no order. Of equal claims, which would make it even, there is only one.
        self.0 = self.0.wrapping_add(mix(claim ^ END));
    }
}

/// Digits of pi, which were not chosen for what they do. The multiplier is odd.
const MULTIPLIER: u64 = 0xc0ac_29b7_c97c_50dd;
const BEGIN_READ: u64 = 0x243f_6a88_85a3_08d3;
const BEGIN_WRITE: u64 = 0x1319_8a2e_0370_7344;
const END: u64 = 0xa409_3822_299f_31d0;
const LENGTH: u64 = 0x4528_21e6_38d0_1377;

/// Adds a segment: its length, its words of eight bytes, and its last bytes as one more word.
fn add_segment(state: u64, segment: &[u8]) -> u64 {
    let (words, rest) = segment.as_chunks::<8>();
    let state = state ^ (segment.len() as u64).wrapping_mul(LENGTH);
    let add = |state: u64, word: &[u8; 8]| mix(state ^ u64::from_le_bytes(*word));
    let state = words.iter().fold(state, add);
    match (segment.last_chunk::<8>(), rest.is_empty()) {
        (Some(_), true) => state,
        // They overlap the word before, which the length tells.
        (Some(last), false) => add(state, last),
        (None, _) => mix(state ^ short_word(segment)),
    }
}

/// Less than eight bytes as a word that no others of the same number are.
fn short_word(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => bytes
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// The two halves of the product with a constant, each bit of the word in many places. A keyed hash of
/// the same bytes takes several times as long, and would be felt in each release.
fn mix(word: u64) -> u64 {
    let product = u128::from(word) * u128::from(MULTIPLIER);
    let high = product >> 64;
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    let folded = (high ^ product) as u64;
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Path;
    use std::collections::BTreeSet;

    fn claims(text: &str) -> Vec<Claim> {
        let claim = |text: &str| {
            let path = Path::parse(&text[2..]).unwrap();
            match &text[..1] {
                "w" => Claim::write(path),
                _ => Claim::read(path),
            }
        };
        text.split(", ").map(claim).collect()
    }

    #[test]
    fn claims_that_another_one_covers_do_not_count() {
        for (given, kept) in [
            ("w b, w a", "w a, w b"),
            ("w a, w a, r a", "w a"),
            ("r a/b, w a/b, r a", "r a, w a/b"),
            (
                "r a/c, w a/b, r a/b/x, w a/b/y, r a, r b",
                "r a, w a/b, r b",
            ),
            ("w a/b/c, w a-b, w a", "w a, w a-b"),
            (
                "r a, r a/b, w a/b/c, r a/b/c/d, w a/d, r a/e",
                "r a, w a/b/c, w a/d",
            ),
            ("w x/y, r a, w /", "w /"),
            ("w x/y, r a, r /", "r /, w x/y"),
            ("r a/b/c/d, r a/b, w a/x, w b, r b/c", "r a/b, w a/x, w b"),
        ] {
            let expected = claims(kept);
            let expected: Vec<&Claim> = expected.iter().collect();
            assert_eq!(uncovered(&claims(given)), expected, "{given}");
        }
    }

    #[test]
    fn digests_are_those_of_what_counts() {
        for (one, other) in [
            ("w a, r b", "r b, w a"),
            ("w a", "w a, w a, r a/b"),
            ("w /", "w /, r a"),
        ] {
            let digests = [one, other].map(|text| ClaimsDigest::of(&claims(text)));
            assert_eq!(digests[0], digests[1], "{one} and {other}");
        }
    }

    /// A snapshot has it, so that another value is another format.
    #[test]
    fn digests_are_the_same_for_ever() {
        for (text, digest) in [
            ("w a", 0x6f0c_ec99_c879_e1ff),
            ("r a", 0x33e4_ea4e_55a7_6a1d),
            ("w /", 0x430d_d677_90e2_3c33),
            ("w deploy/production/db, r a", 0x60d9_a83c_2a84_f76c),
        ] {
            assert_eq!(ClaimsDigest::of(&claims(text)).0, digest, "{text}");
        }
    }

    #[test]
    fn other_claims_have_other_digests() {
        let mut paths: Vec<String> = (0..2000).map(|n| format!("{}/{n}", n % 7)).collect();
        paths.extend((0..2000).map(|n| format!("{n}")));
        paths.extend((1..255).map(|length| "x".repeat(length)));
        paths.extend((1..32).map(|depth| vec!["x"; depth].join("/")));
        paths.extend(
            [
                "/",
                "a/bc",
                "ab/c",
                "a/b/c",
                "a/c/b",
                "abc",
                "12345678/9",
                "123456789",
            ]
            .map(str::to_owned),
        );
        let paths: BTreeSet<&String> = paths.iter().collect();
        let mut digests = BTreeSet::new();
        for path in &paths {
            for mode in ["r", "w"] {
                digests.insert(ClaimsDigest::of(&claims(&format!("{mode} {path}"))).0);
            }
        }
        assert_eq!(digests.len(), 2 * paths.len());
        let before = digests.len();
        for one in 0..60 {
            for other in one + 1..60 {
                for modes in [["r", "r"], ["r", "w"], ["w", "r"], ["w", "w"]] {
                    let [first, second] = modes;
                    let two = format!("{first} p/{one}, {second} p/{other}");
                    digests.insert(ClaimsDigest::of(&claims(&two)).0);
                }
            }
        }
        assert_eq!(digests.len(), before + 4 * 60 * 59 / 2);
        // A change of one bit changes half of them.
        let digest = |text: &str| ClaimsDigest::of(&claims(text)).0;
        let changed = digest("w deploy/a") ^ digest("w deploy/c");
        assert!((16..=48).contains(&changed.count_ones()), "{changed:x}");
    }
}
