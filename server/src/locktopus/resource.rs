//! Locktopus' paths are lists of any texts; those of the engine have segments that are never
//! empty, and without `/` and control characters.

use super::wire::{LockType, Resource};
use lockwright_protocol::ClaimText;
use std::fmt::Write as _;

/// Stands for an empty segment. Nothing else is written like this, since a `%` of the client's is
/// escaped.
const EMPTY_SEGMENT: &str = "%";

/// The claim that a resource stands for.
pub(super) fn claim(resource: &Resource) -> ClaimText {
    let mut text = match resource.kind {
        LockType::Read => "r ".to_owned(),
        LockType::Write => "w ".to_owned(),
    };
    for (index, segment) in resource.path.iter().enumerate() {
        if index > 0 {
            text.push('/');
        }
        push_segment(&mut text, segment);
    }
    if resource.path.is_empty() {
        text.push('/');
    }
    ClaimText::new(text)
}

/// Appends a segment of the engine's that stands for `segment` and for no other. What is allowed
/// there as it is stays as it is, so that clients of both protocols mean the same by it.
fn push_segment(text: &mut String, segment: &str) {
    if segment.is_empty() {
        text.push_str(EMPTY_SEGMENT);
    }
    for c in segment.chars() {
        if c == '/' || c == '%' || c.is_control() {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                write!(text, "%{byte:02X}").expect("a text takes what is written to it");
            }
        } else {
            text.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn written(path: &[&str]) -> String {
        let resource = Resource {
            kind: LockType::Write,
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
        };
        let claim = claim(&resource);
        claim.parse().expect("the engine takes it");
        claim.to_string()
    }

    #[test]
    fn what_the_engine_allows_stays_as_it_is() {
        assert_eq!(written(&["a", "b c", "ä"]), "w a/b c/ä");
        assert_eq!(written(&[]), "w /", "the whole namespace");
        let read = Resource {
            kind: LockType::Read,
            path: vec!["a".to_owned()],
        };
        assert_eq!(claim(&read).to_string(), "r a");
    }

    #[test]
    fn what_the_engine_does_not_allow_is_escaped() {
        assert_eq!(written(&["department/IT"]), "w department%2FIT");
        assert_eq!(written(&["a\n", "\u{85}"]), "w a%0A/%C2%85");
        assert_eq!(written(&["100%", ""]), "w 100%25/%");
        assert_eq!(written(&["/"]), "w %2F", "not the whole namespace");
    }

    #[test]
    fn different_paths_stay_different() {
        let segments = ["", "%", "/", "%2F", "%25", "a", "a/b", "%%", "\u{0}", "%00"];
        let mut paths: Vec<Vec<&str>> = vec![vec![]];
        for one in segments {
            paths.push(vec![one]);
            paths.extend(segments.map(|two| vec![one, two]));
        }
        let texts: BTreeSet<String> = paths.iter().map(|path| written(path)).collect();
        assert_eq!(texts.len(), paths.len());
    }
}
