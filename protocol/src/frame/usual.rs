//! Reads the requests that come all the time without a detour.
//!
//! Reading a frame into a JSON tree first, as [`ClientFrame::decode`] does, finds out what is wrong
//! with any of them, and costs several times as much as to read one that is right.

use super::{ClientFrame, Seq};
use crate::{ClaimText, Request, WaitMs, request::there};
use lockwright_engine::{DurationMs, Name, Token};
use serde::Deserialize;
use std::borrow::Cow;

/// All fields that such requests have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    /// A text, and not an enum, which would be read from an object, too.
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    seq: Seq,
    #[serde(default, deserialize_with = "there")]
    id: Option<Name>,
    #[serde(default, deserialize_with = "there")]
    claims: Option<Vec<ClaimText>>,
    #[serde(default, deserialize_with = "there")]
    ttl_ms: Option<DurationMs>,
    #[serde(default, deserialize_with = "there")]
    wait: Option<WaitMs>,
    #[serde(default, deserialize_with = "there")]
    token: Option<Token>,
    #[serde(default, deserialize_with = "there")]
    label: Option<String>,
}

/// The frame, if it is one of these requests and nothing about it is strange.
pub(super) fn decode(text: &str) -> Option<ClientFrame> {
    // The fields of a struct are read from an array, too.
    if !text.trim_ascii_start().starts_with('{') {
        return None;
    }
    let Fields {
        kind,
        seq,
        id,
        claims,
        ttl_ms,
        wait,
        token,
        label,
    } = serde_json::from_str(text).ok()?;
    let request = match (&*kind, id, claims, ttl_ms, wait, token) {
        ("acquire", Some(id), Some(claims), ttl_ms, wait, None) => Request::Acquire {
            id,
            claims,
            ttl_ms,
            wait: wait.unwrap_or_default(),
            label,
        },
        // Nothing else has one.
        _ if label.is_some() => return None,
        ("cancel", Some(id), None, None, None, None) => Request::Cancel { id },
        ("release", Some(id), None, None, None, Some(token)) => Request::Release { id, token },
        ("renew", Some(id), None, Some(ttl_ms), None, Some(token)) => {
            Request::Renew { id, token, ttl_ms }
        }
        ("keep_alive", None, None, None, None, None) => Request::KeepAlive {},
        _ => return None,
    };
    Some(ClientFrame { seq, request })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What this module reads, and all that is a little different.
    fn texts() -> Vec<String> {
        let requests = [
            r#""seq":1,"type":"acquire","id":"L","claims":["w a"],"ttl_ms":5,"wait":"no""#,
            r#""seq":1,"type":"acquire","id":"L","claims":[]"#,
            r#""seq":1,"type":"cancel","id":"L""#,
            r#""seq":1,"type":"release","id":"L","token":3"#,
            r#""seq":1,"type":"renew","id":"L","token":3,"ttl_ms":5"#,
            r#""seq":1,"type":"keep_alive""#,
            r#""seq":1,"type":"close""#,
            r#""seq":1,"type":"resume","namespace":"n","session":"s","secret":"0123456789abcdef""#,
        ];
        let fields = [
            r#""id":"L""#,
            r#""id":"""#,
            r#""claims":["w b"]"#,
            r#""ttl_ms":7"#,
            r#""ttl_ms":0"#,
            r#""ttl_ms":1.5"#,
            r#""wait":"forever""#,
            r#""wait":9"#,
            r#""wait":"never""#,
            r#""token":4"#,
            r#""token":-4"#,
            r#""label":"x""#,
            r#""label":null"#,
            r#""seq":2"#,
            r#""seq":18446744073709551616"#,
            r#""type":"cancel""#,
            r#""type":3"#,
            r#""type":{"keep_alive":null}"#,
            r#""type":"keep\u005falive""#,
            r#""secret":"x""#,
            r#""id":null"#,
            r#""claims":null"#,
            r#""ttl_ms":null"#,
            r#""wait":null"#,
            r#""token":null"#,
            r#""seq":null"#,
        ];
        let mut texts = vec![
            r#"["cancel",1,"L"]"#.to_owned(),
            r#" ["keep_alive",1]"#.to_owned(),
        ];
        for request in requests {
            texts.push(format!("{{{request}}}"));
            texts.push(format!("{{{request}}} x"));
            for field in fields {
                texts.push(format!("{{{request},{field}}}"));
                texts.push(format!("{{{field},{request}}}"));
            }
            let rest = request.split_once("\"type\"").unwrap().1;
            let rest = rest.split_once(',').map_or("", |(_, rest)| rest);
            for kind in [r#"{"keep_alive":null}"#, "3", r#""keep\u005falive""#] {
                texts.push(format!(r#"{{"seq":1,"type":{kind},{rest}}}"#).replace(",}", "}"));
            }
            // Each field away, and each twice.
            for field in request.split(",\"") {
                let field = format!("\"{}", field.trim_start_matches('"'));
                texts.push(format!(
                    "{{{},\"x\":0}}",
                    request.replace(&field, "\"y\":0")
                ));
                texts.push(format!("{{{request},{field}}}"));
            }
        }
        texts
    }

    #[test]
    fn what_is_read_here_is_read_the_same_by_the_tree() {
        let (mut read, mut left) = (0, 0);
        for text in texts() {
            match decode(&text) {
                Some(frame) => {
                    read += 1;
                    assert_eq!(ClientFrame::decode_any(&text), Ok(frame), "{text}");
                }
                None => left += 1,
            }
        }
        assert!(read > 10 && left > 100, "{read} read, {left} left");
        assert_eq!(decode(r#"["cancel",1,"L"]"#), None);
    }
}
