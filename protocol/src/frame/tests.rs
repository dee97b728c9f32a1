use super::*;
use crate::{ClaimText, LockStatus, Secret, WaitMs};
use lockwright_engine::{DurationMs, EndReason, LimitName, Name, Token, Wait};
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn ms(ms: u64) -> DurationMs {
    DurationMs::new(ms).unwrap()
}

fn requests() -> Vec<(Request, &'static str)> {
    let secret = || Secret::new("0123456789abcdef").unwrap();
    vec![
        (
            Request::Open {
                namespace: name("default"),
                session: name("s"),
                secret: secret(),
                abandon_ms: Some(ms(5000)),
                label: None,
            },
            r#"{"seq":7,"type":"open","namespace":"default","session":"s","secret":"0123456789abcdef","abandon_ms":5000}"#,
        ),
        (
            Request::Resume {
                namespace: name("default"),
                session: name("s"),
                secret: secret(),
            },
            r#"{"seq":7,"type":"resume","namespace":"default","session":"s","secret":"0123456789abcdef"}"#,
        ),
        (
            Request::Acquire {
                id: name("L1"),
                claims: vec![ClaimText::new("w a/b"), ClaimText::new("r c")],
                ttl_ms: Some(ms(1000)),
                wait: WaitMs(Wait::No),
                label: None,
            },
            r#"{"seq":7,"type":"acquire","id":"L1","claims":["w a/b","r c"],"ttl_ms":1000,"wait":"no"}"#,
        ),
        (
            Request::Acquire {
                id: name("L1"),
                claims: Vec::new(),
                ttl_ms: None,
                wait: WaitMs(Wait::Forever),
                label: Some("a@b".to_owned()),
            },
            r#"{"seq":7,"type":"acquire","id":"L1","claims":[],"wait":"forever","label":"a@b"}"#,
        ),
        (
            Request::Cancel { id: name("L1") },
            r#"{"seq":7,"type":"cancel","id":"L1"}"#,
        ),
        (
            Request::Release {
                id: name("L1"),
                token: Token(3),
            },
            r#"{"seq":7,"type":"release","id":"L1","token":3}"#,
        ),
        (
            Request::Renew {
                id: name("L1"),
                token: Token(3),
                ttl_ms: ms(10),
            },
            r#"{"seq":7,"type":"renew","id":"L1","token":3,"ttl_ms":10}"#,
        ),
        (
            Request::Done {
                ids: vec![name("L1"), name("L2")],
            },
            r#"{"seq":7,"type":"done","ids":["L1","L2"]}"#,
        ),
        (Request::KeepAlive {}, r#"{"seq":7,"type":"keep_alive"}"#),
        (Request::Close {}, r#"{"seq":7,"type":"close"}"#),
    ]
}

#[test]
fn requests_are_written_as_documented() {
    for (request, text) in requests() {
        let frame = ClientFrame {
            seq: Seq(7),
            request,
        };
        assert_eq!(frame.encode(), text);
        assert_eq!(ClientFrame::decode(text), Ok(frame));
    }
}

/// Fails to compile when there is a request that [`requests`] may not have.
fn is_in_requests(request: &Request) {
    match request {
        Request::Open { .. }
        | Request::Resume { .. }
        | Request::Acquire { .. }
        | Request::Cancel { .. }
        | Request::Release { .. }
        | Request::Renew { .. }
        | Request::Done { .. }
        | Request::KeepAlive {}
        | Request::Close {} => {}
    }
}

/// The JSON text of an object with these fields.
fn object_of<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let fields = fields.map(|(name, value)| format!("{name:?}:{value}"));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// A request with a mistake, and what is to be said of it.
fn mistakes(text: &str) -> Vec<(String, String)> {
    let Value::Object(right) = serde_json::from_str(text).unwrap() else {
        panic!("{text} is an object");
    };
    let right: Vec<(String, String)> = right
        .iter()
        .map(|(name, value)| (name.clone(), value.to_string()))
        .collect();
    let fields = || right.iter().map(|(name, value)| (&**name, &**value));
    let mut wrong = vec![
        (format!("[{text}]"), "expected one JSON object".to_owned()),
        (format!("{text}{text}"), "trailing characters".to_owned()),
    ];
    let values: Vec<&str> = fields().map(|(_, value)| value).collect();
    let values = format!("[{}]", values.join(","));
    wrong.push((values, "expected one JSON object".to_owned()));
    let unknown = fields().chain([("ttl_msx", "5")]);
    wrong.push((object_of(unknown), "unknown field `ttl_msx`".to_owned()));
    for (name, value) in fields() {
        let twice = object_of(fields().chain([(name, value)]));
        wrong.push((twice, format!("at `{name}`: it comes twice")));
        let with = |value| {
            let rest = fields().filter(move |(other, _)| *other != name);
            object_of(rest.chain([(name, value)]))
        };
        let place = match name {
            "seq" => "`seq`".to_owned(),
            "type" => String::new(),
            _ => format!("at `{name}"),
        };
        for value in [
            "null",
            "true",
            "-1",
            "1.5",
            "{}",
            "[7]",
            "[null]",
            r#"[{"a":1}]"#,
        ] {
            wrong.push((with(value), place.clone()));
        }
    }
    wrong
}

#[test]
fn every_request_with_any_mistake_is_refused_with_its_place() {
    for (request, text) in requests() {
        is_in_requests(&request);
        for (wrong, expected) in mistakes(text) {
            let error = ClientFrame::decode(&wrong).expect_err(&wrong).to_string();
            assert!(error.contains(&expected), "{wrong}: {error}");
        }
    }
}

#[test]
fn answers_and_pushes_are_written_as_documented() {
    let granted = Message::Granted {
        id: name("L1"),
        token: Token(9),
        lease_ms: None,
        waited_ms: ms(12),
    };
    let messages = [
        (
            ServerFrame::answer(
                Seq(1),
                Message::Opened {
                    idle_timeout_ms: ms(10_000),
                    abandon_ms: None,
                },
            ),
            r#"{"seq":1,"type":"opened","idle_timeout_ms":10000}"#,
        ),
        (
            ServerFrame::answer(
                Seq(1),
                Message::Resumed {
                    idle_timeout_ms: ms(10_000),
                    locks: Vec::new(),
                    more: true,
                },
            ),
            r#"{"seq":1,"type":"resumed","idle_timeout_ms":10000,"locks":[],"more":true}"#,
        ),
        (
            ServerFrame::answer(
                Seq(1),
                Message::Resumed {
                    idle_timeout_ms: ms(10_000),
                    locks: vec![
                        LockStatus::Held {
                            id: name("L1"),
                            token: Token(4),
                            lease_ms: Some(ms(20)),
                            waited_ms: ms(0),
                        },
                        LockStatus::Queued {
                            id: name("L2"),
                            waited_ms: ms(5),
                        },
                    ],
                    more: false,
                },
            ),
            r#"{"seq":1,"type":"resumed","idle_timeout_ms":10000,"locks":[{"state":"held","id":"L1","token":4,"lease_ms":20,"waited_ms":0},{"state":"queued","id":"L2","waited_ms":5}]}"#,
        ),
        (
            ServerFrame::push(granted),
            r#"{"type":"granted","id":"L1","token":9,"waited_ms":12}"#,
        ),
        (
            ServerFrame::push(Message::Ended {
                id: name("L1"),
                reason: EndReason::TimedOut,
            }),
            r#"{"type":"ended","id":"L1","reason":"timed_out"}"#,
        ),
        (
            ServerFrame::answer(
                Seq(2),
                Message::Error {
                    error: ErrorCode::LimitExceeded,
                    message: "too much".into(),
                    limit: Some(LimitName::Sessions),
                    claims: Vec::new(),
                    claims_left_out: 0,
                    ended: None,
                },
            ),
            r#"{"seq":2,"type":"error","error":"limit_exceeded","message":"too much","limit":"sessions"}"#,
        ),
        (
            ServerFrame::answer(
                Seq(2),
                Message::Error {
                    error: ErrorCode::RequestMismatch,
                    message: "other".into(),
                    limit: None,
                    claims: vec![ClaimText::new("w a/b"), ClaimText::new("r c")],
                    claims_left_out: 0,
                    ended: None,
                },
            ),
            r#"{"seq":2,"type":"error","error":"request_mismatch","message":"other","claims":["w a/b","r c"]}"#,
        ),
        (
            ServerFrame::answer(
                Seq(2),
                Message::Error {
                    error: ErrorCode::RequestMismatch,
                    message: "other".into(),
                    limit: None,
                    claims: Vec::new(),
                    claims_left_out: 0,
                    ended: Some(EndReason::Released),
                },
            ),
            r#"{"seq":2,"type":"error","error":"request_mismatch","message":"other","ended":"released"}"#,
        ),
        (
            ServerFrame::answer(Seq(2), Message::Done {}),
            r#"{"seq":2,"type":"done"}"#,
        ),
    ];
    for (frame, text) in messages {
        assert_eq!(frame.encode(), text);
        assert_eq!(ServerFrame::decode(text), Ok(frame));
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    let frame = ClientFrame::decode(r#"{"type":"acquire","seq":1,"id":"L","claims":["r /"]}"#);
    let Ok(ClientFrame {
        request: Request::Acquire { ttl_ms, wait, .. },
        ..
    }) = frame
    else {
        panic!("got {frame:?}");
    };
    assert_eq!(ttl_ms, None);
    assert_eq!(wait, WaitMs(Wait::Forever));
}

#[test]
fn a_malformed_frame_says_what_is_wrong_and_to_which_seq() {
    let cases = [
        ("", None, "expected one JSON object"),
        ("[1]", None, "expected one JSON object"),
        ("{", None, "expected one JSON object"),
        (r#"{"type":"close"}"#, None, "got nothing"),
        (r#"{"type":"close","seq":-1}"#, None, "got -1"),
        (r#"{"type":"close","seq":"1"}"#, None, "got \"1\""),
        (r#"{"seq":1}"#, Some(1), "missing field `type`"),
        (
            r#"{"seq":1,"type":5}"#,
            Some(1),
            "at `type`: expected a word, got a number",
        ),
        (
            r#"{"seq":1,"type":{"keep_alive":null}}"#,
            Some(1),
            "at `type.keep_alive`: null is no value",
        ),
        (
            r#"{"seq":1,"type":"acquire","id":"a","claims":["r a",7]}"#,
            Some(1),
            "at `claims[1]`: ",
        ),
        (
            r#"{"seq":1,"type":"lock"}"#,
            Some(1),
            "at `type`: unknown variant `lock`",
        ),
        (
            r#"{"seq":1,"type":"cancel"}"#,
            Some(1),
            "missing field `id`",
        ),
        (
            r#"{"seq":1,"type":"cancel","id":"a","tll":1}"#,
            Some(1),
            "unknown field `tll`",
        ),
        (
            r#"{"seq":1,"type":"close","x":1}"#,
            Some(1),
            "unknown field `x`",
        ),
        (
            r#"{"seq":1,"type":"cancel","id":""}"#,
            Some(1),
            "must not be empty",
        ),
        (
            r#"{"seq":1,"type":"renew","id":"a","token":1,"ttl_ms":9007199254740992}"#,
            Some(1),
            "out of range",
        ),
        (
            r#"{"seq":1,"type":"resume","namespace":"n","session":"s","secret":"x"}"#,
            Some(1),
            "a secret has 16 to 255 bytes",
        ),
    ];
    for (text, seq, part) in cases {
        let error = ClientFrame::decode(text).expect_err(text);
        assert_eq!(error.seq(), seq.map(Seq), "{text}");
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
}

#[test]
fn a_long_wrong_seq_is_shown_in_short() {
    let text = format!(r#"{{"seq":"{}"}}"#, "é".repeat(1000));
    let error = ClientFrame::decode(&text).unwrap_err().to_string();
    assert!(error.len() < 200, "{error}");
}

#[test]
fn a_newer_server_may_say_more() {
    let frame = ServerFrame::decode(r#"{"type":"queued","id":"L","position":3}"#);
    assert_eq!(
        frame,
        Ok(ServerFrame::push(Message::Queued { id: name("L") }))
    );
}

proptest! {
    #[test]
    fn reading_never_panics(text in ".{0,200}") {
        let _ = ClientFrame::decode(&text);
        let _ = ServerFrame::decode(&text);
    }

    #[test]
    fn a_damaged_frame_never_panics(which in 0..8usize, at in 0..200usize, byte in 32u8..127) {
        let mut bytes = requests()[which].1.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let text = String::from_utf8(bytes).expect("ASCII stays ASCII");
        let _ = ClientFrame::decode(&text);
    }
}
