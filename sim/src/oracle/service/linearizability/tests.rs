use super::*;
use crate::op::OpWait;

/// A plan in which somebody looks at namespace `n`, where path `a/b` is claimed most.
fn plan() -> ServicePlan {
    let attempt = |path: &str| serde_json::json!({"at_ms": 1, "claims": [path], "wait": "forever", "ttl_ms": 9});
    let node =
        serde_json::json!({"disk": {"sync_us_min": 1, "sync_us_max": 1, "snapshot_entries": 9}});
    let reader = serde_json::json!({
        "at_ms": 1, "every_ms": 1, "times": 20, "host": 0, "node": 0, "namespace": "n",
    });
    let client = |namespace: &str, paths: &[&str]| {
        let attempts: Vec<_> = paths.iter().map(|path| attempt(path)).collect();
        serde_json::json!({
            "host": 0, "namespace": namespace, "abandon_ms": 90, "keep_alive_ms": 30,
            "call_timeout_ms": 50, "attempts": attempts,
        })
    };
    serde_json::from_value(serde_json::json!({
        "seed": 1, "active_ms": 200_000,
        "latency": {"min_ms": 1, "max_ms": 5, "curve_tenths": 10},
        "server": {"idle_timeout_ms": 500},
        "hosts": [{}],
        "clients": [client("m", &["w x", "w x", "w x"]), client("n", &["w a", "w a/b", "r a/b"])],
        "cluster": {
            "nodes": [node], "heartbeat_ms": 20, "election_timeout_ms": 60,
            "node_timeout_ms": 60, "readers": [reader],
        },
    }))
    .unwrap()
}

/// What happens, a word or two each:
/// - `ask X`, `ask X r` (to read), `answer X 1` (granted with token 1), `gone X`;
/// - `release X 1`, `released X 1`, `renew X 1`, `renewed X 1`;
/// - `look L`, `saw L 1 2` (the tokens);
/// - `in X S` (X came in session S), `over S` (its end begins);
/// - `append 5`, `grant 5 X 1`, `end 5 X` (in entry 5).
fn judge(story: &[&str]) -> Verdict {
    let mut oracle = Linearizability::new(&plan());
    let mut at = Duration::ZERO;
    for words in story {
        at += Duration::from_millis(1);
        for happening in happenings(words) {
            oracle.see(at, &happening)?;
        }
    }
    oracle.see(at, &Happening::Healed)
}

fn happenings(words: &str) -> Vec<Happening> {
    let words: Vec<&str> = words.split(' ').collect();
    let id = Text::from(words[1]);
    let number = |place: usize| -> u64 { words[place].parse().unwrap() };
    let entry = || Happening::Entry { index: number(1) };
    let called = |call| Happening::HttpCalled {
        id: id.clone(),
        call,
        token: number(2),
    };
    let done = |call| Happening::HttpDone {
        id: id.clone(),
        call,
        token: number(2),
        error: None,
    };
    match words[0] {
        "ask" => vec![Happening::HttpAsked {
            holder: id.clone(),
            id,
            host: 0,
            node: 0,
            since: Duration::ZERO,
            wanted: Wanted {
                namespace: "n".into(),
                claims: vec![OpClaim {
                    write: words.len() < 3,
                    path: "a".into(),
                }],
                ttl: None,
                wait: OpWait::Forever,
            },
        }],
        "answer" => vec![Happening::HttpAnswered {
            id,
            answer: HttpAnswer::Granted {
                token: number(2),
                believed_until: None,
            },
        }],
        "gone" => vec![Happening::HttpGone { id }],
        "release" => vec![called(Call::Release)],
        "released" => vec![done(Call::Release)],
        "renew" => vec![called(Call::Renew { ttl: 1 })],
        "renewed" => vec![done(Call::Renew { ttl: 1 })],
        "in" => vec![Happening::Applied {
            id,
            session: words[2].into(),
            wanted: Wanted {
                namespace: "n".into(),
                claims: Vec::new(),
                ttl: None,
                wait: OpWait::Forever,
            },
        }],
        "over" => vec![Happening::EndBegins { session: id }],
        "look" => vec![Happening::LookAsked { look: id }],
        "saw" => vec![Happening::Looked {
            look: id,
            namespace: "n".into(),
            tokens: words[2..]
                .iter()
                .map(|word| word.parse().unwrap())
                .collect(),
        }],
        "append" => vec![Happening::Raft {
            node: 0,
            event: RaftEvent::Appended {
                index: number(1),
                term: 1,
            },
        }],
        "grant" => {
            let (id, token) = (words[2].into(), number(3));
            vec![entry(), Happening::Granted { id, token }]
        }
        "end" => vec![
            entry(),
            Happening::Ended {
                id: words[2].into(),
                reason: "released",
                ended_at: Duration::ZERO,
                believed_until: None,
            },
        ],
        other => panic!("no such word: {other}"),
    }
}

/// X is granted in entry 5, and its client knows.
const HELD: [&str; 4] = ["ask X", "append 5", "grant 5 X 1", "answer X 1"];
/// After that it is released, in entry 6, and its client knows.
const RELEASED: [&str; 4] = ["release X 1", "append 6", "end 6 X", "released X 1"];

fn after(before: &[&[&str]], then: &[&str]) -> Verdict {
    judge(&[&before.concat(), then].concat())
}

fn is_refused(verdict: &Verdict) -> bool {
    matches!(verdict, Err(message) if message.starts_with("no order explains"))
}

#[test]
fn the_path_is_the_one_that_is_claimed_most_where_somebody_looks() {
    let focus = Focus::of(&plan()).unwrap();
    assert_eq!((&*focus.namespace, &*focus.path), ("n", "a/b"));
    let claim = |write, path: &str| OpClaim {
        write,
        path: path.into(),
    };
    assert_eq!(focus.claims(&[claim(true, "a/c")]), None);
    assert_eq!(focus.claims(&[claim(false, "a")]), Some(false));
    let both = [claim(false, "a"), claim(true, "a/b")];
    assert_eq!(focus.claims(&both), Some(true));
}

#[test]
fn two_holders_are_refused() {
    let other = ["ask Y", "grant 6 Y 2", "answer Y 2"];
    assert!(is_refused(&after(&[&HELD], &other)));
    assert_eq!(after(&[&HELD, &RELEASED], &other), Ok(()));
    // The one may have ended before the other is told, and not after.
    let late = ["append 6", "ask Y", "grant 7 Y 2", "answer Y 2", "end 8 X"];
    assert_eq!(after(&[&HELD], &late), Ok(()));
    let late = ["ask Y", "grant 7 Y 2", "answer Y 2", "append 8", "end 8 X"];
    assert!(is_refused(&after(&[&HELD], &late)));
}

#[test]
fn those_who_read_hold_together_and_one_who_writes_does_not() {
    let readers = [
        "ask X r",
        "grant 5 X 1",
        "answer X 1",
        "ask Y r",
        "grant 5 Y 2",
        "answer Y 2",
    ];
    let seen = ["look L", "saw L 1 2"];
    assert_eq!(after(&[&readers], &seen), Ok(()));
    assert!(is_refused(&after(&[&readers], &["look L", "saw L 2"])));
    assert!(is_refused(&after(
        &[&readers],
        &["ask Z", "grant 6 Z 3", "answer Z 3"]
    )));
}

#[test]
fn a_look_that_misses_what_was_answered_is_refused() {
    assert_eq!(after(&[&HELD], &["look L", "saw L 1"]), Ok(()));
    assert!(is_refused(&after(&[&HELD], &["look L", "saw L"])));
    // Who looked before the answer may have seen what was before.
    let overlapping = ["look L", "ask X", "grant 5 X 1", "answer X 1", "saw L"];
    assert_eq!(judge(&overlapping), Ok(()));
}

#[test]
fn a_stale_look_after_an_answered_release_is_refused() {
    let stale = after(&[&HELD, &RELEASED], &["look L", "saw L 1"]);
    assert!(is_refused(&stale));
    let during = [
        "release X 1",
        "look L",
        "append 6",
        "end 6 X",
        "released X 1",
        "saw L 1",
    ];
    assert_eq!(after(&[&HELD], &during), Ok(()));
}

#[test]
fn a_release_that_the_end_of_its_session_answers_shows_nothing_of_others() {
    let looks = |between: &[&str]| {
        let before = [
            "ask X",
            "in X S",
            "grant 1 X 1",
            "answer X 1",
            "release X 1",
        ];
        let after = ["released X 1", "look L", "saw L 1"];
        judge(&[&before[..], between, &after[..]].concat())
    };
    assert!(is_refused(&looks(&[])));
    assert_eq!(looks(&["over S"]), Ok(()));
    assert!(is_refused(&looks(&["over T"])));
    // Its turn has come before it is answered.
    assert!(is_refused(&looks(&["over S", "append 2", "end 2 X"])));
}

#[test]
fn looks_that_go_back_are_refused() {
    let under_way = ["release X 1", "append 6", "look L", "look M", "saw L"];
    let one = after(
        &[&HELD, &under_way],
        &["look N", "saw N", "saw M 1", "end 6 X"],
    );
    assert_eq!(one, Ok(()), "M began before L was over");
    let back = after(&[&HELD, &under_way], &["look N", "saw N 1", "end 6 X"]);
    assert!(is_refused(&back));
}

#[test]
fn an_end_is_not_felt_before_its_entry_nor_missed_after_it_was_applied() {
    let early = ["look L", "saw L", "append 6", "end 6 X"];
    assert!(is_refused(&after(&[&HELD], &early)));
    let late = ["append 6", "end 6 X", "look L", "saw L 1"];
    assert!(is_refused(&after(&[&HELD], &late)));
    let between = ["append 6", "look L", "saw L", "end 6 X"];
    assert_eq!(after(&[&HELD], &between), Ok(()));
}

#[test]
fn a_grant_that_came_back_after_its_release_is_refused() {
    let again = ["ask X", "answer X 1"];
    assert!(is_refused(&after(&[&HELD, &RELEASED], &again)));
    assert_eq!(after(&[&HELD], &again), Ok(()), "it is held still");
    let seen = ["look L", "saw L", "look M", "saw M 1"];
    assert!(is_refused(&after(&[&HELD, &RELEASED], &seen)));
}

#[test]
fn a_request_without_an_answer_may_be_granted_at_any_time_after_it() {
    let unknown = ["ask X", "gone X", "grant 5 X 1"];
    assert_eq!(after(&[&unknown], &["look L", "saw L"]), Ok(()));
    assert_eq!(after(&[&unknown], &["look L", "saw L 1"]), Ok(()));
    let back = ["look L", "saw L 1", "look M", "saw M"];
    assert!(is_refused(&after(&[&unknown], &back)));
    let over = [
        "look L", "saw L 1", "append 6", "look M", "saw M", "end 6 X",
    ];
    assert_eq!(after(&[&unknown], &over), Ok(()));
    // Its first try may have been heard, and the answer to the second says so.
    let tried = ["ask X", "gone X", "grant 5 X 1", "look L", "saw L 1"];
    assert_eq!(after(&[&tried], &["ask X", "answer X 1"]), Ok(()));
}

#[test]
fn a_renewal_of_what_is_over_is_refused() {
    let renewed = ["renew X 1", "renewed X 1"];
    assert_eq!(after(&[&HELD], &renewed), Ok(()));
    assert!(is_refused(&after(&[&HELD, &RELEASED], &renewed)));
    let during = ["renew X 1", "append 6", "end 6 X", "renewed X 1"];
    assert_eq!(after(&[&HELD], &during), Ok(()));
}

#[test]
fn a_release_that_is_answered_before_its_end_is_refused() {
    let early = ["release X 1", "released X 1", "append 6", "end 6 X"];
    assert!(is_refused(&after(&[&HELD], &early)));
}

#[test]
fn what_is_told_is_as_little_as_contradicts_itself() {
    let long = [
        "ask V",
        "grant 1 V 7",
        "end 2 V",
        "ask W",
        "grant 3 W 8",
        "append 4",
        "end 4 W",
    ];
    let then = [
        "ask X",
        "grant 5 X 9",
        "answer X 9",
        "look L",
        "saw L 9",
        "look M",
        "saw M",
    ];
    let told = judge(&[&long[..], &then].concat()).unwrap_err();
    assert_eq!(
        told,
        "no order explains these answers: X (writes, token 9) is asked for at 8 ms, answered as \
         granted from 8 ms to 10 ms; M sees [] from 13 ms to 14 ms"
    );
}

#[test]
fn many_windows_of_a_long_and_crowded_history_are_judged_within_the_steps() {
    let mut oracle = Linearizability::new(&plan());
    let mut see = |words: &str| {
        let told = happenings(words);
        let told = told
            .iter()
            .try_for_each(|one| oracle.see(Duration::ZERO, one));
        (told, oracle.windows)
    };
    for round in 0..100 {
        let (before, token) = (round, round + 1);
        for words in [
            format!("ask X{token}"),
            format!("append {token}"),
            format!("look K{token}"),
            format!("look L{token}"),
            format!("look M{token}"),
            format!("end {token} X{before}"),
            format!("grant {token} X{token} {token}"),
            if round == 0 {
                format!("saw K{token}")
            } else {
                format!("saw K{token} {before}")
            },
            format!("saw L{token}"),
            format!("saw M{token} {token}"),
            format!("answer X{token} {token}"),
        ] {
            assert_eq!(see(&words).0, Ok(()), "{words}");
        }
    }
    see("look Z").0.unwrap();
    see("saw Z 99").0.unwrap();
    let (told, windows) = see("look Z");
    assert_eq!(told, Ok(()));
    assert!(windows > 30, "{windows}");
    let told = oracle.see(Duration::ZERO, &Happening::Healed);
    assert!(is_refused(&told), "{told:?}");
}
